//! An organisation in which much is asked for: a policy with many small roles on two databases, so that each request is about
//! something of its own, and the database server's log tells which request each statement belongs to.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};

use crate::installation::{Installation, Setup};

/// Who asks.
const PEOPLE: [&str; 3] = ["alice", "bob", "carol"];
/// How many parts either database has.
const PARTS: usize = 6;

/// How long nothing may change: twice what a lease lasts.
const STANDSTILL: Duration = Duration::from_secs(60);

/// A request and what became of it.
pub struct Asked {
    pub slug: String,
    pub number: u64,
    pub login: &'static str,
    /// The role on the database server.
    pub role: String,
    /// For how long.
    pub duration: TimeDelta,
}

/// What the database server was told about a request, by its own log.
pub struct Told {
    pub granted: Vec<DateTime<Utc>>,
    pub revoked: Vec<DateTime<Utc>>,
}

/// Several processes, with their database on PostgreSQL.
pub fn several(processes: usize) -> Installation {
    let daypass = Installation::set_up(Setup {
        store_in_postgres: true,
        processes,
        policy: policy(),
        resync: "5s",
        ..Setup::default()
    });
    daypass.postgres.admin("CREATE ROLE carol LOGIN");
    for kind in ["orders", "logs"] {
        for part in 0..PARTS {
            daypass.postgres.admin(&format!(
                "CREATE ROLE {kind}_p{part} NOLOGIN; GRANT {kind}_p{part} TO daypass WITH ADMIN OPTION"
            ));
        }
    }
    daypass
}

fn policy() -> Vec<(&'static str, String)> {
    let parts: Vec<String> = (0..PARTS).map(|part| format!("p{part}")).collect();
    let role = |kind: &str| {
        format!(
            "  {kind}-reader:\n    description: Read one part of the {kind}\n    risk: medium\n    requesters: [team:engineering]\n    \
             max_duration: 4h\n    approval: owner\n    params:\n      part: {{ one_of: [{}], description: The part }}\n    \
             entitlements:\n      - postgres: {{ target: {kind}-db, role: '{kind}_${{params.part}}' }}\n",
            parts.join(", ")
        )
    };
    let people: String = PEOPLE.iter().map(|login| format!("  {login}: {{ postgres: {login} }}\n")).collect();
    let settings = "version: 1\n\nsettings:\n  merge: auto\n  policy_approval: policy-owners\n";
    let approvals = "approvals:\n  owner:\n    stages:\n      - name: owner\n        approvers: [team:data-platform]\n  policy-owners:\n    \
                     stages:\n      - name: security\n        approvers: [team:security]\n";
    vec![
        ("policies/settings.yaml", settings.to_owned()),
        ("policies/targets.yaml", "targets:\n  orders-db: postgres\n  logs-db: postgres\n".to_owned()),
        ("policies/people.yaml", format!("people:\n{people}")),
        ("policies/approvals.yaml", approvals.to_owned()),
        ("policies/roles/parts.yaml", format!("roles:\n{}{}", role("orders"), role("logs"))),
        ("grants/.gitkeep", String::new()),
    ]
}

impl Installation {
    /// The `nth` request: somebody asks for something nobody else asks for, and dave approves.
    pub async fn ask_nth(&self, nth: usize, seconds: u32) -> Asked {
        let login = PEOPLE[nth % PEOPLE.len()];
        let kind = ["orders", "logs"][(nth / PEOPLE.len()) % 2];
        let part = nth / PEOPLE.len() / 2;
        assert!(part < PARTS, "there is no more to ask for");
        let slug = format!("{login}-{kind}-p{part}");
        let request =
            format!("role: {kind}-reader\nduration: {seconds}s\nreason: Checkouts hang\nparams: {{ part: p{part} }}\n");
        let number = self.asks(login, &slug, &request).await;
        self.dave_approves(number).await;
        Asked { slug, number, login, role: format!("{kind}_p{part}"), duration: TimeDelta::seconds(i64::from(seconds)) }
    }

    /// What the database server's log says about each request.
    pub fn told(&self, asked: &[Asked]) -> Vec<Told> {
        let log = self.postgres.log();
        let times = |statement: String| log.lines().filter(|line| line.ends_with(&statement)).map(time).collect();
        asked
            .iter()
            .map(|asked| Told {
                granted: times(format!(": GRANT {} TO {}", asked.role, asked.login)),
                revoked: times(format!(": REVOKE {} FROM {}", asked.role, asked.login)),
            })
            .collect()
    }

    /// What Daypass's own database answers, one row a line.
    pub fn store_says(&self, sql: &str) -> Vec<String> {
        let output =
            self.postgres.psql_command("admin").args(["-d", "daypass", "-F", " ", "-c", sql]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
    }

    /// When each grant ended, by its slug.
    pub fn ends(&self) -> BTreeMap<String, DateTime<Utc>> {
        let rows = self.store_says("SELECT slug, ends_at FROM grants WHERE state = 'ended'");
        let row = |row: &String| {
            let (slug, millis) = row.split_once(' ').unwrap();
            (slug.to_owned(), DateTime::from_timestamp_millis(millis.parse().unwrap()).unwrap())
        };
        rows.iter().map(row).collect()
    }

    /// Waits until every request is merged, over, and off the default branch, and has been told so: for as long as it goes on, however
    /// slow the machine is.
    pub async fn until_all_is_over(&self, asked: &[Asked]) {
        let (mut seen, mut since) = (Vec::new(), std::time::Instant::now());
        let over = "SELECT count(*) FROM messages WHERE posted_at IS NOT NULL AND id LIKE '%/removed'";
        loop {
            let tree = self.get("/git/trees/main?recursive=1").await;
            let paths = tree["tree"].as_array().unwrap().iter().map(|entry| entry["path"].as_str().unwrap());
            let there = paths.filter(|path| path.starts_with("grants/") && *path != "grants/.gitkeep").count();
            let told: usize = self.store_says(over)[0].parse().unwrap();
            if there == 0 && told == asked.len() {
                return;
            }
            // Leases that are renewed are no progress, and waiting for the end of a grant is no standstill.
            let mut now = self.store_says("SELECT kind, count(*) FROM events GROUP BY kind ORDER BY kind");
            now.extend(self.store_says("SELECT count(*) FROM messages WHERE posted_at IS NOT NULL"));
            now.push(format!("{there} files, {told} told"));
            let last_end = self.store_says("SELECT coalesce(max(ends_at), 0) FROM grants")[0].parse().unwrap();
            if now != seen || Utc::now().timestamp_millis() < last_end {
                (seen, since) = (now, std::time::Instant::now());
            }
            let left =
                self.store_says("SELECT job, due_at, held_until, attempts, last_error FROM work ORDER BY due_at");
            assert!(
                since.elapsed() < STANDSTILL,
                "nothing changed for {} seconds: {there} files are still there, {told} of {} were told that it is over; the queue:\n{}",
                STANDSTILL.as_secs(),
                asked.len(),
                left.join("\n")
            );
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
    }

    /// What must hold at the end, whatever happened in between. `spared` tells which requests nothing happened to: those were told
    /// that they were applied; the others may have been over by then.
    pub async fn everything_came_together(&self, asked: &[Asked], spared: impl Fn(&Asked) -> bool) {
        for asked in asked {
            assert_eq!(self.get(&format!("/pulls/{}", asked.number)).await["merged"], true, "{}", asked.slug);
            let (applied, removed) =
                (self.comments_with(asked.number, "🟢").await, self.comments_with(asked.number, "⚫").await);
            assert_eq!(removed, 1, "comments that {} was removed", asked.slug);
            let right = if spared(asked) { applied == 1 } else { applied <= 1 };
            assert!(right, "{applied} comments that {} was applied\n{}", asked.slug, self.log());
        }
        let members = "SELECT count(*) FROM pg_auth_members m JOIN pg_roles l ON l.oid = m.member \
                       WHERE l.rolname IN ('alice', 'bob', 'carol')";
        assert_eq!(self.postgres.psql("admin", members), Ok("0".to_owned()), "nobody keeps anything");
        assert_eq!(self.store_says("SELECT count(*) FROM entitlements"), ["0"]);
        for kind in ["granted", "ended"] {
            let events = self.store_says(&format!("SELECT count(*) FROM events WHERE kind = '{kind}'"));
            assert_eq!(events, [asked.len().to_string()], "{kind}");
        }
        let log = self.log();
        // Whoever stood still in the middle of talking to the database finds that it did not wait; or held up the others for a while.
        let was_away = |line: &str| {
            [
                "idle-in-transaction timeout",
                "it said nothing for",
                "pool timed out",
                "the database does not answer",
                "due to lock timeout",
            ]
            .iter()
            .any(|words| line.contains(words))
        };
        let errors: Vec<&str> = log.lines().filter(|line| line.contains("ERROR daypass") && !was_away(line)).collect();
        assert!(errors.is_empty(), "{}", errors.join("\n"));
        assert!(!log.contains("open-sesame") && !log.contains("PRIVATE KEY") && !log.contains("ghs_"), "no secret");
    }
}

/// How late each revocation came, shortest first.
pub fn lateness(asked: &[Asked], told: &[Told], ends: &BTreeMap<String, DateTime<Utc>>) -> Vec<TimeDelta> {
    let late = |(asked, told): (&Asked, &Told)| Some(*told.revoked.first()? - *ends.get(&asked.slug)?);
    let mut late: Vec<TimeDelta> = asked.iter().zip(told).filter_map(late).collect();
    late.sort();
    late
}

/// Median, 95th percentile and the worst, in words.
pub fn in_words(late: &[TimeDelta]) -> String {
    let seconds = |part: f64| {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
        let at = ((late.len() - 1) as f64 * part).round() as usize;
        #[allow(clippy::cast_precision_loss)]
        let seconds = late[at].num_milliseconds() as f64 / 1_000.0;
        seconds
    };
    format!("median {:.2} s, p95 {:.2} s, max {:.2} s", seconds(0.5), seconds(0.95), seconds(1.0))
}

/// When a line of the database server's log was written.
fn time(line: &str) -> DateTime<Utc> {
    NaiveDateTime::parse_from_str(&line[..23], "%Y-%m-%d %H:%M:%S%.3f").unwrap().and_utc()
}
