//! What sshd logs of logins with certificates: the certificate's key id, which names the grant.
//!
//! Lines of sshd hold what anybody who connects calls himself. So a line counts only if it is of the one form from its beginning to
//! its end: a name cannot make another line of it.

use std::collections::HashMap;
use std::sync::LazyLock;

use chrono::{DateTime, Utc};
use regex::{Captures, Regex};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::access::grant::GrantId;
use crate::policy::name::{RepositoryName, TargetName};

/// How many open sessions are kept in mind. Of what is more, nobody hears that it is over.
const MOST_OPEN: usize = 10_000;

/// What stands before the message: the time and host of syslog or journald, and the program; or nothing, as with `sshd -e`.
const HEAD: &str = r"^(?:(?:(?P<time>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:[.,]\d{1,9})?(?:Z|[+-]\d\d:?\d\d))|[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d) [\w.-]+ sshd(?:-session)?(?:\[\d+\])?: )?";

fn pattern(message: &str) -> Option<Regex> {
    Regex::new(&format!("{HEAD}{message}$")).ok()
}

static ACCEPTED: LazyLock<Option<Regex>> = LazyLock::new(|| {
    pattern(
        r"Accepted publickey for (?P<user>\S{1,64}) from (?P<from>\S{1,64}) port (?P<port>\d{1,5}) ssh2: \S+-CERT \S+ ID daypass:(?P<grant>[^\s:]+):\S+ \(serial (?P<serial>\d{1,20})\) CA \S+ \S+",
    )
});
static OVER: LazyLock<Option<Regex>> = LazyLock::new(|| {
    pattern(
        r"(?:Disconnected from user \S{1,64}|Connection (?:closed|reset) by|Connection (?:closed|reset) by user \S{1,64}) (?P<from>\S{1,64}) port (?P<port>\d{1,5})",
    )
});

/// Reads the lines of one sshd.
pub(super) struct Reader {
    source: String,
    target: Option<TargetName>,
    repository: Option<RepositoryName>,
    /// What was reported as open, by address and port of the client.
    open: HashMap<(String, String), Value>,
}

impl Reader {
    pub fn new(host: &str, target: Option<TargetName>, repository: Option<RepositoryName>) -> Self {
        let host: String = host.chars().filter(|c| !c.is_control()).take(80).collect();
        Self { source: format!("sshd on {host}"), target, repository, open: HashMap::new() }
    }

    /// Takes a line that is read at `now`: what is to be reported, if anything.
    pub fn take(&mut self, line: &str, now: DateTime<Utc>) -> Option<Value> {
        if let Some(found) = ACCEPTED.as_ref().and_then(|pattern| pattern.captures(line)) {
            return self.accepted(&found, now);
        }
        let found = OVER.as_ref()?.captures(line)?;
        let mut report = self.open.remove(&connection(&found))?;
        // Clocks of lines and of this machine may differ.
        let opened: DateTime<Utc> = report["opened_at"].as_str()?.parse().ok()?;
        report["closed_at"] = json!(time(&found).unwrap_or(now).max(opened));
        Some(report)
    }

    fn accepted(&mut self, found: &Captures<'_>, now: DateTime<Utc>) -> Option<Value> {
        let grant: GrantId = found["grant"].parse().ok()?;
        let logged = time(found);
        let connection = connection(found);
        let mut report = json!({ "source": self.source, "key": self.key(found, logged, &connection), "grant": grant,
            "opened_at": logged.unwrap_or(now), "what": format!("login {}", &found["user"]) });
        if let Some(target) = &self.target {
            report["target"] = json!(target);
        }
        if let Some(repository) = &self.repository {
            report["repository"] = json!(repository);
        }
        if self.open.len() < MOST_OPEN {
            self.open.insert(connection, report.clone());
        }
        Some(report)
    }

    /// The same for the same line, and no address in it: that is personal data, and sshd's own log has it.
    fn key(&self, found: &Captures<'_>, logged: Option<DateTime<Utc>>, (from, port): &(String, String)) -> String {
        let mut hash = Sha256::new();
        let logged = logged.map(|time| time.to_rfc3339()).unwrap_or_default();
        for part in [&self.source, &found["serial"], from, port, &logged] {
            hash.update(part.as_bytes());
            hash.update([0]);
        }
        hex::encode(hash.finalize()).chars().take(32).collect()
    }
}

fn connection(found: &Captures<'_>) -> (String, String) {
    (found["from"].to_owned(), found["port"].to_owned())
}

/// The time of a line, if it has a whole one.
fn time(found: &Captures<'_>) -> Option<DateTime<Utc>> {
    let text = found.name("time")?.as_str().replace(',', ".");
    let parsed =
        DateTime::parse_from_rfc3339(&text).or_else(|_| DateTime::parse_from_str(&text, "%Y-%m-%dT%H:%M:%S%.f%z"));
    Some(parsed.ok()?.with_timezone(&Utc))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOGIN: &str = "Accepted publickey for root from 192.0.2.7 port 40100 ssh2: ED25519-CERT SHA256:abc ID daypass:alice-prod#12:alice (serial 81726) CA ED25519 SHA256:def";

    fn now() -> DateTime<Utc> {
        "2026-11-30T10:00:00Z".parse().unwrap()
    }

    fn reader() -> Reader {
        Reader::new("web-1", Some("prod-servers".parse().unwrap()), None)
    }

    #[test]
    fn a_login_names_its_grant_and_its_end_the_same_session() {
        let mut reader = reader();
        let opened = reader.take(LOGIN, now()).unwrap();
        assert_eq!(opened["grant"], "alice-prod#12");
        assert_eq!((&opened["source"], &opened["what"]), (&json!("sshd on web-1"), &json!("login root")));
        assert!(!opened.to_string().contains("192.0.2.7"), "{opened}");
        assert_eq!(reader.take("Disconnected from user root 192.0.2.7 port 40101", now()), None, "another connection");
        let later = now() + chrono::TimeDelta::minutes(5);
        let closed = reader.take("Disconnected from user root 192.0.2.7 port 40100", later).unwrap();
        assert_eq!((&closed["key"], &closed["closed_at"]), (&opened["key"], &json!(later)));
        assert_eq!(reader.take("Disconnected from user root 192.0.2.7 port 40100", later), None, "once");
        for over in ["Connection closed by 192.0.2.7 port 40100", "Connection reset by user root 192.0.2.7 port 40100"]
        {
            reader.take(LOGIN, now());
            assert!(reader.take(over, later).is_some(), "{over}");
        }
    }

    #[test]
    fn lines_come_from_syslog_journald_and_sshd_itself() {
        for (head, time) in [
            ("", "2026-11-30T10:00:00Z"),
            ("Nov 30 09:59:58 web-1 sshd[4711]: ", "2026-11-30T10:00:00Z"),
            ("2026-11-30T09:59:58+0000 web-1 sshd-session[4711]: ", "2026-11-30T09:59:58Z"),
            ("2026-11-30T10:59:58.250+01:00 web-1.example.com sshd[4711]: ", "2026-11-30T09:59:58.250Z"),
        ] {
            let mut reader = reader();
            let report = reader.take(&format!("{head}{LOGIN}"), now()).unwrap();
            assert_eq!(
                report["opened_at"].as_str().unwrap().parse::<DateTime<Utc>>().unwrap(),
                time.parse::<DateTime<Utc>>().unwrap()
            );
            let again = Reader::new("web-1", None, None).take(&format!("{head}{LOGIN}"), now()).unwrap();
            assert_eq!(report["key"], again["key"], "after a restart it is the same session");
        }
    }

    #[test]
    fn what_somebody_calls_himself_is_no_login() {
        for line in [
            format!("Invalid user {LOGIN} from 203.0.113.9 port 1"),
            format!("Invalid user x sshd[1]: {LOGIN}"),
            format!("Nov 30 09:59:58 web-1 sshd[4711]: Failed publickey for {LOGIN}"),
            format!("Nov 30 09:59:58 web-1 evil[4711]: {LOGIN}"),
            format!("{LOGIN} and more"),
            LOGIN.replace("daypass:alice-prod#12:alice", "somebody-else"),
            LOGIN.replace("alice-prod#12", "../../x#12"),
            LOGIN.replace("ED25519-CERT", "ED25519"),
            "Accepted password for root from 192.0.2.7 port 40100 ssh2".to_owned(),
            String::new(),
        ] {
            assert_eq!(reader().take(&line, now()), None, "{line}");
        }
    }
}
