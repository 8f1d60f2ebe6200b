//! PostgreSQL servers that stop, restart, fall silent or take no writes; and processes that hold what others need.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use daypass::ledger::{Event, EventKind};
use daypass::store::{Claim, Delivery, Job, Lane, Reason, Store, StoreError, Waiting};
use serde_json::json;

use crate::support::postgres::Postgres;
use crate::{LEASE, acme, ask, finish, noon, sync, take};

async fn open(server: &Postgres) -> Store {
    Store::open(&server.url("daypass")).await.unwrap()
}

fn delivery(id: &str) -> Delivery {
    Delivery { id: id.to_owned(), event: "push".to_owned(), body: "{}".to_owned() }
}

/// Until the store takes writes again.
async fn until_well(store: &Store) {
    let started = Instant::now();
    while let Err(error) = store.ping().await {
        assert!(started.elapsed() < Duration::from_secs(30), "{error}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
#[ignore = "needs PostgreSQL; ./test runs it"]
async fn a_process_that_stops_in_a_transaction_holds_up_the_others_for_seconds_on_postgres() {
    let server = Postgres::start();
    let (stopped, other) = (open(&server).await, open(&server).await);
    ask(&stopped, &sync(), noon()).await;
    let claim = take(&stopped, noon()).await.unwrap();
    let mut tx = stopped.begin().await.unwrap();
    tx.assert_held(&claim).await.unwrap();
    tx.schedule(&Job::Tidy, noon()).await.unwrap();

    let started = Instant::now();
    let taken = take(&other, noon() + LEASE).await.unwrap();
    assert!(started.elapsed() > Duration::from_secs(2), "it had to wait for the one that holds the row");
    finish(&other, &taken, None).await.unwrap();
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());

    let error = tx.commit().await.unwrap_err();
    assert!(error.to_string().contains("idle-in-transaction timeout"), "{error}");
    assert!(matches!(error.reason(), Reason::Busy), "{error}");
    assert!(other.queue().await.unwrap().is_empty(), "nothing of it happened");
    ask(&stopped, &Job::Tidy, noon()).await;
}

#[tokio::test]
#[ignore = "needs PostgreSQL; ./test runs it"]
async fn whoever_waits_for_a_stopped_process_gets_its_turn_on_postgres() {
    let server = Postgres::start();
    let (stopped, other) = (open(&server).await, open(&server).await);
    let mut tx = stopped.begin().await.unwrap();
    tx.schedule(&sync(), noon()).await.unwrap();
    // Another transaction, of things that have nothing to do with it: transactions come one after the other.
    ask(&other, &Job::Tidy, noon()).await;
    assert!(tx.schedule(&sync(), noon()).await.is_err());
    drop(tx);
    assert_eq!(other.queue().await.unwrap().len(), 1);
}

#[tokio::test]
#[ignore = "needs PostgreSQL; ./test runs it"]
async fn a_server_that_is_away_is_named_and_found_again_on_postgres() {
    let mut server = Postgres::start();
    let store = open(&server).await;
    assert!(store.accept(&delivery("d-1"), noon()).await.unwrap());
    server.crash();
    let started = Instant::now();
    let error = store.ping().await.unwrap_err();
    assert!(started.elapsed() < Duration::from_secs(6), "{:?}", started.elapsed());
    assert_eq!(error.reason(), Reason::NoAnswer, "{error}");
    let error = store.accept(&delivery("d-2"), noon()).await.unwrap_err();
    assert_eq!(error.reason(), Reason::NoAnswer, "{error}");
    let error = Store::open(&server.url("daypass")).await.unwrap_err();
    assert!(error.to_string().starts_with("the database does not answer: "), "{error}");
    assert!(!format!("{error:?}").contains("open-sesame"), "{error:?}");
    server.resume();
    until_well(&store).await;
    assert_eq!(store.waiting_deliveries(10).await.unwrap(), [delivery("d-1")]);
    assert!(store.accept(&delivery("d-2"), noon()).await.unwrap());
}

#[tokio::test]
#[ignore = "needs PostgreSQL; ./test runs it"]
async fn a_server_that_says_nothing_is_given_up_in_time_on_postgres() {
    let server = Postgres::start();
    let store = open(&server).await;
    server.pause();
    let started = Instant::now();
    let error = store.ping().await.unwrap_err();
    assert_eq!(error.reason(), Reason::NoAnswer, "{error}");
    assert!(started.elapsed() < Duration::from_secs(6), "{:?}", started.elapsed());
    server.go_on();
    until_well(&store).await;
}

/// Whether a job is to write the ledger, which is due half a minute later.
fn is_ledger(waiting: &Waiting) -> bool {
    waiting.job.starts_with("ledger ")
}

/// Does one job, as the engine does: the record and the end of the job are one transaction.
async fn do_it(store: &Store, claim: &Claim) -> Result<(), StoreError> {
    let mut tx = store.begin().await?;
    if matches!(claim.job, Job::Ledger(_)) {
        // What was recorded asks for it.
        tx.finish(claim, None).await?;
        return tx.commit().await;
    }
    tx.record(&Event::new(&acme(), EventKind::Applied, &claim.job, "once", noon(), json!({}))).await?;
    tx.finish(claim, None).await?;
    tx.commit().await
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL; ./test runs it"]
async fn a_server_that_restarts_under_load_costs_time_and_nothing_else_on_postgres() {
    let mut server = Postgres::start();
    let mut stores = Vec::new();
    for _ in 0..4 {
        stores.push(Arc::new(open(&server).await));
    }
    let mut tx = stores[0].begin().await.unwrap();
    for number in 0..600 {
        tx.schedule(&Job::Pull(acme(), number), noon()).await.unwrap();
    }
    tx.commit().await.unwrap();
    let workers = stores.iter().map(|store| {
        let store = store.clone();
        tokio::spawn(async move {
            let (mut failures, started) = (0, Instant::now());
            while started.elapsed() < Duration::from_secs(60) {
                // What was held when the server went is free when the lease ends: here after two real seconds.
                let now = noon() + chrono::TimeDelta::from_std(started.elapsed()).unwrap();
                let claim = match store.claim(Lane::Any, now, chrono::TimeDelta::seconds(2)).await {
                    Ok(Some(claim)) => claim,
                    Ok(None) if store.queue().await.is_ok_and(|queue| queue.iter().all(is_ledger)) => return failures,
                    Ok(None) | Err(_) => {
                        tokio::time::sleep(Duration::from_millis(50)).await;
                        continue;
                    }
                };
                if do_it(&store, &claim).await.is_err() {
                    failures += 1;
                }
            }
            panic!("the work was never done");
        })
    });
    let workers: Vec<_> = workers.collect();
    for _ in 0..2 {
        tokio::time::sleep(Duration::from_millis(300)).await;
        server.crash();
        server.resume();
    }
    let failures: usize = futures::future::join_all(workers).await.into_iter().map(Result::unwrap).sum();
    let events = stores[0].events().await.unwrap();
    assert_eq!(events.iter().map(|event| &event.id).collect::<BTreeSet<_>>().len(), 600);
    assert_eq!(events.len(), 600);
    println!("{failures} transactions failed");
}

#[tokio::test]
#[ignore = "needs PostgreSQL; ./test runs it"]
async fn a_read_only_database_is_named_and_used_again_when_it_is_not_on_postgres() {
    let server = Postgres::start();
    let store = open(&server).await;
    ask(&store, &sync(), noon()).await;
    let claim = take(&store, noon()).await.unwrap();
    server.make_read_only(true);
    for error in [
        store.ping().await.unwrap_err(),
        store.accept(&delivery("d-1"), noon()).await.unwrap_err(),
        store.claim(Lane::Any, noon() + LEASE, LEASE).await.unwrap_err(),
        finish(&store, &claim, None).await.unwrap_err(),
        Store::open(&server.url("daypass")).await.unwrap_err(),
    ] {
        assert_eq!(error.reason(), Reason::ReadOnly, "{error}");
        assert!(error.to_string().starts_with("the database is read-only: "), "{error}");
    }
    server.make_read_only(false);
    until_well(&store).await;
    assert!(store.accept(&delivery("d-1"), noon()).await.unwrap());
    finish(&store, &claim, None).await.unwrap();
}

#[tokio::test]
#[ignore = "needs PostgreSQL; ./test runs it"]
async fn a_damaged_table_is_named_on_postgres() {
    let mut server = Postgres::start();
    let store = open(&server).await;
    ask(&store, &sync(), noon()).await;
    let path = server
        .psql_command("admin")
        .args(["-d", "daypass", "-c", "CHECKPOINT", "-c"])
        .arg("SELECT pg_relation_filepath('work')")
        .output();
    let path = String::from_utf8(path.unwrap().stdout).unwrap();
    server.crash();
    server.overwrite(path.trim(), &[0xa5; 8_192]);
    server.resume();
    until_well(&store).await;
    let error = store.claim(Lane::Any, noon(), LEASE).await.unwrap_err();
    assert_eq!(error.reason(), Reason::Damaged, "{error}");
    assert!(store.queue().await.is_err(), "no half of a queue");
}

#[tokio::test]
#[ignore = "needs PostgreSQL; ./test runs it"]
async fn a_newer_version_has_been_here_on_postgres() {
    let server = Postgres::start();
    open(&server).await.close().await;
    let mut command = server.psql_command("daypass");
    let later = "INSERT INTO _sqlx_migrations VALUES (99990101, 'later', now(), true, '\\x00', 0)";
    let done = command.args(["-d", "daypass", "-c", later]).env("PGPASSWORD", "open-sesame").output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let error = Store::open(&server.url("daypass")).await.unwrap_err();
    assert!(matches!(error, StoreError::Newer(99_990_101)), "{error}");
}

/// A way to the server that can be cut: what goes through it then gets no answer and no word that there will be none.
struct Way {
    port: u16,
    cut: Arc<tokio::sync::watch::Sender<u32>>,
}

impl Way {
    async fn to(server: &Postgres) -> Self {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let (port, there) = (listener.local_addr().unwrap().port(), server.port);
        let cut = Arc::new(tokio::sync::watch::channel(0).0);
        let cuts = cut.clone();
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let mut cut = cuts.subscribe();
                tokio::spawn(async move {
                    let mut server = tokio::net::TcpStream::connect(("127.0.0.1", there)).await.unwrap();
                    tokio::select! {
                        _ = tokio::io::copy_bidirectional(&mut client, &mut server) => return,
                        _ = cut.changed() => {}
                    }
                    // The server's side notices, ours does not.
                    drop(server);
                    std::future::pending::<()>().await;
                    drop(client);
                });
            }
        });
        Self { port, cut }
    }

    /// Whatever is connected now hears nothing any more; who connects from now on is served.
    fn cut(&self) {
        self.cut.send_modify(|cuts| *cuts += 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL; ./test runs it"]
async fn a_server_that_vanished_without_a_word_is_given_up_and_the_next_one_used_on_postgres() {
    let server = Postgres::start();
    let way = Way::to(&server).await;
    let store =
        Store::open(&server.url("daypass").replace(&server.port.to_string(), &way.port.to_string())).await.unwrap();
    ask(&store, &sync(), noon()).await;
    // As many connections as the pool may have.
    futures::future::join_all((0..64).map(|_| store.queue())).await;
    let mut tx = store.begin().await.unwrap();
    way.cut();
    let started = Instant::now();
    let error = tx.schedule(&Job::Tidy, noon()).await.unwrap_err();
    assert_eq!(error.reason(), Reason::NoAnswer, "{error}");
    drop(tx);
    until_well(&store).await;
    ask(&store, &Job::Tidy, noon()).await;
    assert!(started.elapsed() < Duration::from_secs(45), "{:?}", started.elapsed());
}
