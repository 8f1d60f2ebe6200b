//! The ledger in figures: how much access there was, how long people waited for it, and what stands out.
//!
//! Events are taken in one by one; what is kept is a few words for each grant.

pub mod controls;
mod page;
mod plot;
mod remarks;

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Datelike, TimeDelta, Utc};

use super::event::{Event, EventKind};
use super::replay::read;
use super::tell;
use crate::access::facts::Account;
use crate::access::grant::Window;

pub use page::page;
pub use remarks::Remark;

/// From so many requests on, figures say something.
const ENOUGH: usize = 5;

/// A request, from the first time it was seen.
#[derive(Debug, Clone)]
struct Asked {
    at: DateTime<Utc>,
    approved: bool,
}

/// A grant.
#[derive(Debug, Clone)]
struct Given {
    /// The event that says so.
    seq: u64,
    at: DateTime<Utc>,
    subject: String,
    role: String,
    approvers: Vec<String>,
    emergency: bool,
    window: Option<Window>,
    ended: Option<DateTime<Utc>>,
    /// Whether it ended because another took its place: it was extended, or changed.
    replaced: bool,
    /// When a target last confirmed that something of it was taken away.
    removed: Option<DateTime<Utc>>,
    /// From the request to the grant, if somebody had to approve it.
    waited: Option<TimeDelta>,
    /// What it gives something on.
    targets: BTreeSet<String>,
    /// Whether a session was seen, and on which targets.
    used: bool,
    used_targets: BTreeSet<String>,
}

/// The review of an emergency.
#[derive(Debug, Clone, Default)]
struct Review {
    due_at: Option<DateTime<Utc>>,
    by: Option<String>,
    at: Option<DateTime<Utc>>,
}

/// How long something took, by what.
type Times = BTreeMap<String, Vec<TimeDelta>>;

/// What the events come to.
#[derive(Debug, Default)]
pub struct Report {
    first: Option<DateTime<Utc>>,
    last: Option<DateTime<Utc>>,
    events: BTreeMap<EventKind, u64>,
    asked: BTreeMap<u64, Asked>,
    given: BTreeMap<String, Given>,
    stages: Times,
    /// Access people had before Daypass, by target: standing, where it need not be.
    standing: BTreeMap<String, BTreeSet<String>>,
    /// Entitlements that targets gave, and those people had before.
    applied: (u64, u64),
    /// Targets on which any session was seen: only there can the lack of one mean something.
    seen_targets: BTreeSet<String>,
    denied_roles: BTreeSet<String>,
    reviews: BTreeMap<String, Review>,
    noted: BTreeMap<EventKind, Vec<Noted>>,
}

/// An event that is listed as it is.
#[derive(Debug, Clone)]
struct Noted {
    seq: u64,
    at: DateTime<Utc>,
    about: String,
    what: String,
}

/// The longest time that is shown week by week.
const LONGEST_SPAN: TimeDelta = TimeDelta::weeks(1_040);

/// How many events of a kind are kept as they are.
const MOST_NOTED: usize = 1_000;

fn login(value: &serde_json::Value) -> String {
    read::<Account>(value).map_or_else(|| "somebody".to_owned(), |account| account.login.to_string())
}

fn approvers_are_none(details: &serde_json::Value) -> bool {
    details["approvers"].as_array().is_none_or(Vec::is_empty)
}

/// The targets of a list of entitlements.
fn targets(entitlements: &serde_json::Value) -> BTreeSet<String> {
    let all = entitlements.as_array().into_iter().flatten();
    all.filter_map(|one| one["target"].as_str()).map(str::to_owned).collect()
}

impl Report {
    /// Takes in the next event, which has this number.
    pub fn take(&mut self, seq: u64, event: &Event) {
        let details = &event.details;
        self.first.get_or_insert(event.at);
        self.last = self.last.max(Some(event.at));
        *self.events.entry(event.kind).or_default() += 1;
        let pull = details["pull_request"].as_u64();
        match (event.kind, pull, details["grant"].as_str()) {
            (EventKind::Requested, Some(pull), _)
                if details["requests"].as_array().is_some_and(|all| !all.is_empty()) =>
            {
                self.asked.entry(pull).or_insert(Asked { at: event.at, approved: false });
            }
            (EventKind::Approved, Some(pull), _) => {
                let stage = details["stage"].as_str().unwrap_or_default().to_owned();
                if let Some(asked) = self.asked.get(&pull) {
                    self.stages.entry(stage).or_default().push(event.at - asked.at);
                }
            }
            (EventKind::Merged, Some(pull), _) => {
                if let Some(asked) = self.asked.get_mut(&pull) {
                    asked.approved = true;
                }
            }
            (EventKind::Granted, _, Some(grant)) => {
                let approvers = details["approvers"].as_array().into_iter().flatten().map(login).collect();
                let given = Given {
                    seq,
                    at: event.at,
                    subject: login(&details["subject"]),
                    role: details["role"].as_str().unwrap_or_default().to_owned(),
                    approvers,
                    emergency: details["break_glass"] == true,
                    window: read(&details["window"]),
                    ended: None,
                    replaced: false,
                    removed: None,
                    waited: self.waited(grant, event.at).filter(|_| !approvers_are_none(details)),
                    targets: targets(&details["entitlements"]),
                    used: false,
                    used_targets: BTreeSet::new(),
                };
                self.given.insert(grant.to_owned(), given);
            }
            (EventKind::Ended, _, Some(grant)) => {
                if let Some(given) = self.given.get_mut(grant) {
                    given.ended = read(&details["ended_at"]).or(Some(event.at));
                    given.replaced = details["reason"] == "replaced";
                }
            }
            (EventKind::Removed, _, Some(grant)) => {
                if let Some(given) = self.given.get_mut(grant) {
                    given.removed = Some(event.at);
                }
            }
            (EventKind::Denied | EventKind::Refused | EventKind::PolicyChanged | EventKind::AccessReviewed, ..) => {
                self.note(seq, event);
            }
            (EventKind::SessionOpened, _, Some(grant)) => self.seen(grant, details["target"].as_str()),
            (EventKind::Emergency | EventKind::Reviewed, _, Some(grant)) => self.review(grant, event),
            (EventKind::Applied, ..) if details["standing"] == true => {
                self.applied.1 += 1;
                let target = details["entitlement"]["target"].as_str().unwrap_or_default().to_owned();
                self.standing.entry(target).or_default().insert(login(&details["subject"]));
            }
            (EventKind::Applied, ..) => self.applied.0 += 1,
            _ => {}
        }
    }

    /// Keeps what is rare enough to be listed.
    fn note(&mut self, seq: u64, event: &Event) {
        if event.kind == EventKind::Denied {
            let asked = event.details["requests"].as_array().into_iter().flatten();
            self.denied_roles.extend(asked.filter_map(|one| one["role"].as_str()).map(str::to_owned));
        }
        let noted = self.noted.entry(event.kind).or_default();
        if noted.len() < MOST_NOTED {
            noted.push(Noted { seq, at: event.at, about: tell::about(event), what: tell::sentence(event) });
        }
    }

    /// How long it took from the request to the grant.
    fn waited(&self, grant: &str, at: DateTime<Utc>) -> Option<TimeDelta> {
        let pull: u64 = grant.split_once('#')?.1.parse().ok()?;
        self.asked.get(&pull).map(|asked| at - asked.at)
    }

    fn seen(&mut self, grant: &str, target: Option<&str>) {
        self.seen_targets.extend(target.map(str::to_owned));
        if let Some(given) = self.given.get_mut(grant) {
            given.used = true;
            given.used_targets.extend(target.map(str::to_owned));
        }
    }

    fn review(&mut self, grant: &str, event: &Event) {
        let review = self.reviews.entry(grant.to_owned()).or_default();
        review.due_at = read(&event.details["due_at"]).or(review.due_at);
        if event.kind == EventKind::Reviewed {
            review.by = Some(login(&event.details["by"]));
            review.at = read(&event.details["at"]).or(Some(event.at));
        }
    }

    /// Whether somebody would have seen the use of a grant that is over.
    fn could_be_seen(&self, given: &Given) -> bool {
        given.ended.is_some() && given.targets.iter().any(|target| self.seen_targets.contains(target))
    }

    /// Of each role: grants that are over and whose use would have been seen, and how many of them were not used.
    fn unused(&self) -> BTreeMap<&str, (usize, usize)> {
        let mut unused: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
        for given in self.given.values().filter(|given| self.could_be_seen(given)) {
            let of_role = unused.entry(&given.role).or_default();
            of_role.0 += 1;
            of_role.1 += usize::from(!given.used);
        }
        unused
    }

    fn count(&self, kind: EventKind) -> u64 {
        self.events.get(&kind).copied().unwrap_or(0)
    }

    /// How often something is so, the most frequent first.
    fn ranked(&self, name: impl Fn(&Given) -> &str) -> Vec<(String, usize)> {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        self.given.values().for_each(|given| *counts.entry(name(given)).or_default() += 1);
        let mut ranked: Vec<(String, usize)> =
            counts.into_iter().map(|(name, count)| (name.to_owned(), count)).collect();
        ranked.sort_by(|one, other| other.1.cmp(&one.1).then_with(|| one.0.cmp(&other.0)));
        ranked
    }

    /// Grants by week, without gaps unless it is about decades: the Monday, those that were approved, and emergencies.
    fn weeks(&self) -> Vec<(DateTime<Utc>, usize, usize)> {
        let monday = |at: DateTime<Utc>| {
            let day = at.date_naive() - TimeDelta::days(i64::from(at.weekday().num_days_from_monday()));
            day.and_time(chrono::NaiveTime::MIN).and_utc()
        };
        let mut weeks: BTreeMap<DateTime<Utc>, (usize, usize)> = BTreeMap::new();
        for given in self.given.values() {
            let week = weeks.entry(monday(given.at)).or_default();
            if given.emergency { week.1 += 1 } else { week.0 += 1 }
        }
        let (Some((first, _)), Some((last, _))) = (weeks.first_key_value(), weeks.last_key_value()) else {
            return Vec::new();
        };
        if *last - *first > LONGEST_SPAN {
            return weeks.into_iter().map(|(week, (normal, emergency))| (week, normal, emergency)).collect();
        }
        let (mut at, last, mut all) = (*first, *last, Vec::new());
        while at <= last {
            let (normal, emergency) = weeks.get(&at).copied().unwrap_or_default();
            all.push((at, normal, emergency));
            at += TimeDelta::weeks(1);
        }
        all
    }

    /// For how long access was asked, and for how long it was kept, by role. What was extended was not given back early.
    fn used(&self) -> BTreeMap<&str, (Vec<TimeDelta>, Vec<TimeDelta>)> {
        let mut used: BTreeMap<&str, (Vec<TimeDelta>, Vec<TimeDelta>)> = BTreeMap::new();
        for given in self.given.values().filter(|given| !given.replaced) {
            if let (Some(window), Some(ended)) = (given.window, given.ended) {
                let of_role = used.entry(&given.role).or_default();
                of_role.0.push(window.ends_at - window.starts_at);
                of_role.1.push((ended.min(window.ends_at) - window.starts_at).max(TimeDelta::zero()));
            }
        }
        used
    }
}

/// The smallest that so many of a hundred do not exceed.
fn percentile(times: &[TimeDelta], percent: usize) -> Option<TimeDelta> {
    let mut sorted = times.to_vec();
    sorted.sort();
    sorted.get((sorted.len() * percent).div_ceil(100).saturating_sub(1)).copied()
}

/// A length of time, in a word.
fn length(time: TimeDelta) -> String {
    match time.num_minutes() {
        0 => format!("{} s", time.num_seconds()),
        minutes @ 1..120 => format!("{minutes} min"),
        minutes @ 120..2_880 => format!("{} h {} min", minutes / 60, minutes % 60),
        minutes => format!("{} days", minutes / 1_440),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn event(kind: EventKind, hour: i64, details: Value) -> Event {
        let monday: DateTime<Utc> = "2026-11-30T08:00:00Z".parse().unwrap();
        let at = monday + TimeDelta::hours(hour);
        Event::new(&"acme/access".parse().unwrap(), kind, hour, "x", at, details)
    }

    fn person(login: &str) -> Value {
        json!({ "id": login.len(), "login": login })
    }

    /// `subject` is granted the orders for four hours, approved by `approver`, and gives them back after one.
    fn life(report: &mut Report, number: u64, hour: i64, subject: &str, approver: &str) {
        let grant = format!("g{number}#{number}");
        let at = |hours: i64| event(EventKind::Ended, hour + hours, Value::Null).at;
        for (kind, hours, details) in [
            (EventKind::Requested, 0, json!({ "pull_request": number, "requests": [{}] })),
            (EventKind::Approved, 5, json!({ "pull_request": number, "stage": "owner" })),
            (
                EventKind::Granted,
                5,
                json!({ "grant": grant, "subject": person(subject), "role": "orders", "approvers": [person(approver)],
                "window": { "starts_at": at(5), "ends_at": at(9) } }),
            ),
            (EventKind::Ended, 6, json!({ "grant": grant, "ended_at": at(6) })),
        ] {
            report.take(number, &event(kind, hour + hours, details));
        }
    }

    #[test]
    fn what_stands_out_is_told_with_what_shows_it() {
        let mut report = Report::default();
        for number in 0..6_u64 {
            let (subject, approver) = if number % 2 == 0 { ("alice", "bob") } else { ("bob", "alice") };
            life(&mut report, number + 1, i64::try_from(number).unwrap() * 24, subject, approver);
        }
        let told = |remarks: Vec<Remark>| remarks.into_iter().map(|one| one.what).collect::<Vec<_>>();
        assert_eq!(
            told(report.suggestions()),
            ["Lower the ceiling of `orders`", "Name more approvers for stage `owner`, or let it escalate"]
        );
        assert_eq!(
            told(report.anomalies()),
            ["alice and bob approve only each other", "Grants outside of 6 to 20 UTC on working days"]
        );
        assert_eq!(report.weeks().iter().map(|week| week.1).collect::<Vec<_>>(), [6]);
    }

    #[test]
    fn what_was_extended_was_not_given_back_early() {
        let mut report = Report::default();
        life(&mut report, 1, 0, "alice", "bob");
        assert_eq!(report.used()["orders"].1, [TimeDelta::hours(1)]);
        let ended = event(EventKind::Ended, 6, Value::Null).at;
        let replaced = json!({ "grant": "g1#1", "reason": "replaced", "ended_at": ended });
        report.take(9, &event(EventKind::Ended, 6, replaced));
        assert!(report.used().is_empty());
    }

    #[test]
    fn a_grant_of_another_age_makes_no_endless_page() {
        let mut report = Report::default();
        life(&mut report, 1, 0, "alice", "bob");
        life(&mut report, 2, 24 * 365 * 7_900, "alice", "bob");
        assert_eq!(report.weeks().len(), 2);
    }

    /// Whether a role is used is judged only where a use would have been seen.
    #[test]
    fn what_nobody_was_seen_to_use_is_told_where_it_would_have_been_seen() {
        let told = |target: &str| {
            let mut report = Report::default();
            for number in 0..6_u64 {
                life(&mut report, number + 1, i64::try_from(number).unwrap() * 24, "alice", "bob");
            }
            for given in report.given.values_mut() {
                given.targets.insert("orders-db".to_owned());
            }
            let session = json!({ "grant": "g1#1", "target": target });
            report.take(99, &event(EventKind::SessionOpened, 5, session));
            report.suggestions().into_iter().find(|one| one.what.starts_with("Drop")).map(|one| one.evidence)
        };
        assert_eq!(told("orders-db").unwrap(), "5 of 6 grants ended without a session that was seen");
        assert_eq!(told("prod-servers"), None, "nobody looks at the database");
    }

    #[test]
    fn who_asks_at_night_for_the_first_time_stands_out() {
        let mut report = Report::default();
        for number in 0..12_u64 {
            life(&mut report, number + 1, i64::try_from(number).unwrap() * 24, "alice", &format!("approver-{number}"));
        }
        life(&mut report, 13, 40 * 24 + 14, "alice", "bob");
        life(&mut report, 14, 41 * 24, "carol", "bob");
        let told: Vec<String> =
            report.anomalies().into_iter().map(|one| format!("{}: {}", one.what, one.evidence)).collect();
        assert!(
            told.iter().any(|one| one.starts_with("An unusual hour for alice: `orders` at 2027-01-10 03:00")),
            "{told:#?}"
        );
        assert!(
            told.contains(&"Somebody had a role for the first time: carol with `orders` on 2027-01-10".to_owned()),
            "{told:#?}"
        );
    }

    #[test]
    fn half_of_them_and_all_but_one_of_twenty() {
        let times: Vec<TimeDelta> = (1..=20).map(TimeDelta::minutes).collect();
        assert_eq!(percentile(&times, 50), Some(TimeDelta::minutes(10)));
        assert_eq!(percentile(&times, 95), Some(TimeDelta::minutes(19)));
        assert_eq!(percentile(&[], 50), None);
        assert_eq!(
            (length(TimeDelta::minutes(90)), length(TimeDelta::hours(5))),
            ("90 min".to_owned(), "5 h 0 min".to_owned())
        );
    }
}
