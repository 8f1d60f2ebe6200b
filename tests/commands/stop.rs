//! SIGTERM: `daypass serve` leaves in good order, and in time, whatever the targets do.

use std::process::Stdio;
use std::time::{Duration, Instant};

use daypass::sandbox::sign;
use reqwest::StatusCode;
use secrecy::SecretString;

use crate::installation::Installation;
use crate::support::{Process, eventually};

const GRANT: &str = "GRANT orders_readonly TO alice";
const REQUEST: &str = "role: orders-db-reader\nduration: 1h\nticket: INC-1\nreason: Checkouts hang\n";
/// Stopping takes 25 seconds at most; a machine has something else to do as well.
const BOUND: Duration = Duration::from_secs(28);

impl Installation {
    /// Hands `daypass serve` a webhook, as GitHub would; what it answers, if it does.
    async fn deliver(&self, id: &str) -> Option<StatusCode> {
        let secret = std::fs::read_to_string(self.facts["webhook_secret_file"].as_str().unwrap()).unwrap();
        let body = r#"{"zen":"Keep it logically awesome."}"#;
        let request = self.client.post(format!("http://127.0.0.1:{}/webhooks/github", self.ports[0]));
        let request = request
            .header("x-github-delivery", id)
            .header("x-github-event", "ping")
            .header("x-hub-signature-256", sign(&SecretString::from(secret.trim().to_owned()), body.as_bytes()));
        Some(request.body(body).send().await.ok()?.status())
    }

    /// Delivers webhooks until nobody takes them; the ids of those that were acknowledged, and how many were answered otherwise.
    async fn deliver_until_closed(&self) -> (Vec<String>, usize) {
        let (mut acknowledged, mut refused) = (Vec::new(), 0);
        for number in 0.. {
            let id = format!("ping-{number}");
            match self.deliver(&id).await {
                Some(StatusCode::ACCEPTED) => acknowledged.push(id),
                Some(_) => refused += 1,
                None => break,
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        (acknowledged, refused)
    }

    /// What `/readyz` says; nothing if nobody listens.
    async fn says_ready(&self) -> Option<(StatusCode, String)> {
        let answer = self.client.get(format!("http://127.0.0.1:{}/readyz", self.ports[0])).send().await.ok()?;
        Some((answer.status(), answer.text().await.ok()?))
    }

    /// Memberships can be read, and whoever changes one waits.
    fn lock_memberships(&self) -> Process {
        let mut session = self.postgres.psql_command("admin");
        session.args(["-c", "BEGIN; LOCK pg_auth_members IN SHARE MODE; SELECT pg_sleep(600)"]);
        let session = Process(session.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
        let locks = "SELECT count(*) FROM pg_locks WHERE relation = 1261 AND mode = 'ShareLock' AND granted";
        eventually("memberships are locked", || self.postgres.psql("admin", locks) == Ok("1".to_owned()));
        session
    }

    fn unlock_memberships(&self, session: Process) {
        drop(session);
        let sleepers = "SELECT count(*) FILTER (WHERE pg_terminate_backend(pid)) FROM pg_stat_activity \
                        WHERE query LIKE '%pg_sleep(600)%' AND pid <> pg_backend_pid()";
        self.postgres.psql("admin", sleepers).unwrap();
    }

    /// Alice's request is merged, and a call of the orders database hangs.
    async fn merged_and_hanging(&self) -> u64 {
        let number = self.alice_asks("alice-orders", REQUEST).await;
        self.dave_approves(number).await;
        self.until_merged(number).await;
        let waiting = "SELECT count(*) FROM pg_locks WHERE relation = 1261 AND NOT granted";
        eventually("a call hangs", || self.postgres.psql("admin", waiting) == Ok("1".to_owned()));
        assert!(!self.postgres.can_read_orders("alice"));
        number
    }
}

#[tokio::test]
#[ignore = "needs PostgreSQL; ./test runs it"]
async fn asked_to_stop_it_ends_the_step_that_has_begun_on_postgres() {
    let mut daypass = Installation::start(false);
    let lock = daypass.lock_memberships();
    let number = daypass.merged_and_hanging().await;
    let asked = Instant::now();
    daypass.signal(0, "TERM");
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(
        daypass.says_ready().await,
        Some((StatusCode::SERVICE_UNAVAILABLE, "stopping\n".to_owned())),
        "load balancers are told to leave"
    );
    assert!(daypass.ended(0, Duration::ZERO).await.is_none(), "it waits for the call");
    daypass.unlock_memberships(lock);

    let status = daypass.ended(0, BOUND).await.expect("it ends");
    println!(
        "it ended {:.1} seconds after it was asked to, the call having hung for 4 of them",
        asked.elapsed().as_secs_f64()
    );
    assert!(status.success(), "{status}\n{}", daypass.log());
    assert!(asked.elapsed() < Duration::from_secs(15), "as soon as the call was answered");
    assert!(daypass.postgres.can_read_orders("alice"), "the step was ended, not dropped");
    assert_eq!(daypass.orders_were_told(GRANT), 1);

    daypass.serve();
    for _ in 0..600 {
        if daypass.comments_with(number, "🟢").await == 1 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(daypass.comments_with(number, "🟢").await, 1);
    assert_eq!(daypass.orders_were_told(GRANT), 1);
}

#[tokio::test]
#[ignore = "needs PostgreSQL; ./test runs it"]
async fn asked_to_stop_while_a_target_hangs_it_lets_go_in_time_and_loses_no_webhook_on_postgres() {
    let mut daypass = Installation::start(false);
    let lock = daypass.lock_memberships();
    daypass.merged_and_hanging().await;
    let asked = Instant::now();
    let stopping = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        daypass.signal(0, "TERM");
        daypass.ended(0, BOUND).await
    };
    let ((acknowledged, refused), status) = tokio::join!(daypass.deliver_until_closed(), stopping);
    let took = asked.elapsed() - Duration::from_secs(1);
    let status = status.expect("it ends within the bound, although the call never does");
    assert!(status.success(), "{status}\n{}", daypass.log());
    println!("it ended after {:.1} seconds; {} webhooks were acknowledged", took.as_secs_f64(), acknowledged.len());
    assert_eq!(refused, 0, "while the entrance was open it took everything");
    assert!(acknowledged.len() > 50, "some before, some afterwards");
    daypass.unlock_memberships(lock);

    let again = Instant::now();
    daypass.serve();
    eventually("the next process carries on", || daypass.postgres.can_read_orders("alice"));
    // The server names a statement again when it gives it up.
    let log = daypass.postgres.log();
    let (given_up, told): (Vec<&str>, Vec<&str>) =
        log.lines().filter(|line| line.contains(GRANT)).partition(|line| line.contains("STATEMENT:"));
    assert_eq!(
        told.len() - given_up.len(),
        1,
        "what hung was given up by the server, and only the next one took effect"
    );
    println!("the next process had granted {:.1} seconds after it began", again.elapsed().as_secs_f64());
    daypass.signal(0, "TERM");
    assert!(daypass.ended(0, BOUND).await.expect("it ends").success());
    let url = format!("sqlite://{}", daypass.dir.path().join("daypass.db").display());
    let store = daypass::store::Store::open(&url).await.unwrap();
    let ping = |id: &String| daypass::store::Delivery { id: id.clone(), event: "ping".to_owned(), body: String::new() };
    for id in &acknowledged {
        assert!(!store.accept(&ping(id), chrono::Utc::now()).await.unwrap(), "{id} was acknowledged, and is known");
    }
}

#[tokio::test]
#[ignore = "needs PostgreSQL; ./test runs it"]
async fn asked_to_stop_while_postgres_stands_still() {
    let mut daypass = Installation::start(false);
    daypass.postgres.pause();
    let number = daypass.alice_asks("alice-orders", REQUEST).await;
    daypass.dave_approves(number).await;
    daypass.until_merged(number).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let asked = Instant::now();
    daypass.signal(0, "TERM");
    let status = daypass.ended(0, BOUND).await.expect("it ends within the bound");
    assert!(status.success(), "{status}\n{}", daypass.log());
    assert!(asked.elapsed() > Duration::from_secs(4), "it gave the call its time");
    println!("it ended after {:.1} seconds", asked.elapsed().as_secs_f64());

    daypass.postgres.go_on();
    daypass.serve();
    eventually("the next process carries on", || daypass.postgres.can_read_orders("alice"));
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(daypass.orders_were_told(GRANT), 1);
}

#[tokio::test]
#[ignore = "needs PostgreSQL; ./test runs it"]
async fn asked_twice_it_ends_at_once_on_postgres() {
    let daypass = Installation::start(false);
    let _lock = daypass.lock_memberships();
    daypass.merged_and_hanging().await;
    daypass.signal(0, "TERM");
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(daypass.ended(0, Duration::ZERO).await.is_none());
    daypass.signal(0, "INT");
    let status = daypass.ended(0, Duration::from_secs(3)).await.expect("it ends at once");
    assert_eq!(status.code(), Some(3), "not everything was finished, and whoever started it can tell");
}
