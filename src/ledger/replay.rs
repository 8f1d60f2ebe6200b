//! What the ledger alone says about who had what when: grants, and intervals of access as the targets confirmed them.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;

use super::event::{Event, EventKind};
use crate::access::facts::Account;
use crate::access::grant::Window;
use crate::policy::entitlement::Entitlement;

/// From when to when; without an end it goes on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Interval {
    /// The first instant.
    pub from: DateTime<Utc>,
    /// The first instant after it.
    pub to: Option<DateTime<Utc>>,
}

impl Interval {
    /// Whether it contains a time.
    pub fn contains(&self, at: DateTime<Utc>) -> bool {
        self.from <= at && self.to.is_none_or(|to| at < to)
    }
}

/// A session of the subject while a grant of theirs ran.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Used {
    /// Who saw it.
    pub source: String,
    /// Tells it apart from others of the source.
    pub session: String,
    /// The target, as far as it is known.
    pub target: Option<String>,
    /// What it was, in the words of the source.
    pub what: String,
    /// When it began, or was seen first.
    pub opened_at: DateTime<Utc>,
    /// By when it was over.
    pub closed_at: Option<DateTime<Utc>>,
    /// Whether the access was taken away while it was open.
    pub revoked: bool,
}

/// How many sessions of a grant are kept in mind; the others are only counted.
const MOST_SESSIONS: usize = 1_000;

/// The life of a grant.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Life {
    /// Who has the access.
    pub subject: Option<Account>,
    /// Who asked.
    pub requester: Option<Account>,
    /// The role.
    pub role: Option<String>,
    /// Whose approvals it rests on.
    pub approvers: Vec<Account>,
    /// Why.
    pub reason: Option<String>,
    /// When access is due.
    pub window: Option<Window>,
    /// When the grant ended, and why.
    pub ended: Option<(DateTime<Utc>, String)>,
    /// Access the grant gave, as the targets confirmed it, by entitlement as people read it. What the subject had before Daypass is
    /// not in it; what another grant gave as well is.
    pub access: BTreeMap<String, Vec<Interval>>,
    /// The targets of these.
    pub targets: BTreeMap<String, String>,
    /// Access the subject had before Daypass, by entitlement, and since when that is known. It does not end with the grant.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub standing: BTreeMap<String, DateTime<Utc>>,
    /// What the subject was seen to do with it, in order of time.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sessions: Vec<Used>,
    /// Sessions that are not among these, because there are too many.
    #[serde(skip_serializing_if = "is_zero")]
    pub more_sessions: u64,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde hands over references")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// Every grant, by its id.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Lives(pub BTreeMap<String, Life>);

impl Lives {
    /// Takes in the next event.
    pub fn take(&mut self, event: &Event) {
        let Some(grant) = event.details["grant"].as_str() else { return };
        let life = self.0.entry(grant.to_owned()).or_default();
        let details = &event.details;
        if life.subject.is_none() {
            life.subject = read(&details["subject"]);
        }
        match event.kind {
            EventKind::Granted => {
                life.subject = read(&details["subject"]);
                life.requester = read(&details["requester"]);
                life.role = read(&details["role"]);
                life.approvers = read(&details["approvers"]).unwrap_or_default();
                life.reason = read(&details["reason"]);
                life.window = read(&details["window"]);
            }
            EventKind::Ended => {
                let at = read(&details["ended_at"]).unwrap_or(event.at);
                life.ended = Some((at, details["reason"].as_str().unwrap_or_default().to_owned()));
            }
            EventKind::Applied | EventKind::Joined => {
                let Some(entitlement) = read::<Entitlement>(&details["entitlement"]) else { return };
                let name = entitlement.to_string();
                life.targets.insert(name.clone(), entitlement.target.to_string());
                if details["standing"] == true {
                    life.standing.entry(name).or_insert(event.at);
                    return;
                }
                let intervals = life.access.entry(name).or_default();
                if intervals.last().is_none_or(|last| last.to.is_some()) {
                    intervals.push(Interval { from: event.at, to: None });
                }
            }
            // What is not given again is gone, since some time before it was noticed.
            EventKind::Drifted if details["repaired"] == true => {}
            EventKind::Removed | EventKind::Left | EventKind::Drifted => {
                let Some(entitlement) = read::<Entitlement>(&details["entitlement"]) else { return };
                let name = entitlement.to_string();
                life.targets.insert(name.clone(), entitlement.target.to_string());
                if let Some(open) =
                    life.access.get_mut(&name).and_then(|all| all.last_mut()).filter(|last| last.to.is_none())
                {
                    open.to = Some(event.at);
                }
            }
            EventKind::SessionOpened if life.sessions.len() >= MOST_SESSIONS => life.more_sessions += 1,
            EventKind::SessionOpened => life.sessions.push(Used::opened(event)),
            EventKind::SessionClosed => {
                let (source, session) = (details["source"].as_str(), details["session"].as_str());
                let is_it = |used: &&mut Used| {
                    Some(used.source.as_str()) == source
                        && Some(used.session.as_str()) == session
                        && used.closed_at.is_none()
                };
                if let Some(used) = life.sessions.iter_mut().rev().find(is_it) {
                    used.closed_at = read(&details["closed_at"]).or(Some(event.at));
                    used.revoked = details["revoked"] == true;
                }
            }
            _ => {}
        }
    }

    /// Forgets the grants that were over at `at`: they answer no question about that time.
    pub fn forget_over(&mut self, at: DateTime<Utc>) {
        self.0.retain(|_, life| {
            let ended = life.ended.as_ref().is_some_and(|(ended, _)| *ended <= at);
            let open = life.access.values().flatten().any(|interval| interval.to.is_none_or(|to| at < to));
            !ended || open || !life.standing.is_empty()
        });
    }
}

impl Used {
    fn opened(event: &Event) -> Self {
        let text = |name: &str| event.details[name].as_str().unwrap_or_default().to_owned();
        Self {
            source: text("source"),
            session: text("session"),
            target: read(&event.details["target"]),
            what: text("what"),
            opened_at: read(&event.details["opened_at"]).unwrap_or(event.at),
            closed_at: None,
            revoked: false,
        }
    }
}

impl Life {
    /// Whether the grant was live at a time: its window had begun, and it had not ended.
    pub fn is_live(&self, at: DateTime<Utc>) -> bool {
        let begun = self.window.is_some_and(|window| window.starts_at <= at);
        begun && self.ended.as_ref().is_none_or(|(ended, _)| at < *ended)
    }

    /// What the subject had at a time, by the targets' word.
    pub fn had(&self, at: DateTime<Utc>) -> impl Iterator<Item = (&String, &Interval)> {
        let intervals = self.access.iter().flat_map(|(name, intervals)| intervals.iter().map(move |one| (name, one)));
        intervals.filter(move |(_, interval)| interval.contains(at))
    }
}

/// What a value of the details holds, if it is of that kind.
pub fn read<T: serde::de::DeserializeOwned>(value: &Value) -> Option<T> {
    serde_json::from_value(value.clone()).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn at(minutes: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + minutes * 60, 0).unwrap()
    }

    #[test]
    fn what_alice_had_before_stays_and_what_somebody_took_from_her_is_gone() {
        let event = |kind, minutes, mut details: Value| {
            details["grant"] = json!("alice-orders#1");
            details["entitlement"] =
                json!({ "target": "orders-db", "access": { "postgres": { "role": "r", "login": "alice" } } });
            Event::new(&"acme/access".parse().unwrap(), kind, "alice-orders#1", "x", at(minutes), details)
        };
        let had = |events: &[Event], minutes: i64| {
            let mut lives = Lives::default();
            events.iter().for_each(|event| lives.take(event));
            lives.forget_over(at(minutes));
            lives.0.get("alice-orders#1").map(|life| (life.had(at(minutes)).count(), life.standing.len()))
        };
        let given = event(EventKind::Applied, 1, json!({}));
        let ended = event(EventKind::Ended, 120, json!({ "reason": "expired", "ended_at": at(120) }));
        let standing = event(EventKind::Applied, 1, json!({ "standing": true }));
        assert_eq!(had(&[standing, ended], 130), Some((0, 1)));
        let drifted = |repaired: bool| event(EventKind::Drifted, 60, json!({ "repaired": repaired }));
        assert_eq!(had(&[given.clone(), drifted(false)], 61), Some((0, 0)));
        assert_eq!(had(&[given, drifted(true)], 61), Some((1, 0)));
    }

    #[test]
    fn alice_had_the_orders_from_when_the_target_said_so_until_it_said_otherwise() {
        let repository = "acme/access".parse().unwrap();
        let event = |kind, minutes, mut details: Value| {
            details["grant"] = json!("alice-orders#1");
            Event::new(&repository, kind, "alice-orders#1", "x", at(minutes), details)
        };
        let entitlement = json!({ "target": "orders-db", "access": { "postgres": { "role": "r", "login": "alice" } } });
        let alice = json!({ "id": 7, "login": "alice" });
        let window = json!({ "starts_at": at(0), "ends_at": at(120) });
        let mut lives = Lives::default();
        for event in [
            event(EventKind::Granted, 0, json!({ "subject": alice, "role": "reader", "window": window })),
            event(EventKind::Applied, 1, json!({ "entitlement": entitlement })),
            event(EventKind::Ended, 120, json!({ "reason": "expired", "ended_at": at(120) })),
            event(EventKind::Removed, 121, json!({ "entitlement": entitlement })),
        ] {
            lives.take(&event);
        }
        let life = &lives.0["alice-orders#1"];
        assert_eq!(life.access["role r for alice on orders-db"], [Interval { from: at(1), to: Some(at(121)) }]);
        assert!(!life.is_live(at(-1)) && life.is_live(at(0)) && life.is_live(at(119)) && !life.is_live(at(120)));
        assert_eq!((life.had(at(0)).count(), life.had(at(1)).count(), life.had(at(121)).count()), (0, 1, 0));
        lives.forget_over(at(120));
        assert_eq!(lives.0.len(), 1, "the target had not let go of it yet");
        lives.forget_over(at(121));
        assert!(lives.0.is_empty());
    }
}
