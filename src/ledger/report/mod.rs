//! The ledger in figures: how much access there was, how long people waited for it, and what stands out.
//!
//! Events are taken in one by one; what is kept is a few words for each grant.

mod page;
mod plot;

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Datelike, TimeDelta, Timelike, Utc, Weekday};

use super::event::{Event, EventKind};
use super::replay::read;
use crate::access::facts::Account;
use crate::access::grant::Window;

pub use page::page;

/// When most people work, in UTC: what is outside is told, not judged.
const WORK: std::ops::Range<u32> = 6..20;
/// So many grants of one person in a day are a burst.
const BURST: usize = 5;
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
    at: DateTime<Utc>,
    subject: String,
    role: String,
    approvers: Vec<String>,
    emergency: bool,
    window: Option<Window>,
    ended: Option<DateTime<Utc>>,
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
}

/// Something that stands out, with what shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remark {
    /// What to think about.
    pub what: String,
    /// What shows it.
    pub evidence: String,
}

fn login(value: &serde_json::Value) -> String {
    read::<Account>(value).map_or_else(|| "somebody".to_owned(), |account| account.login.to_string())
}

impl Report {
    /// Takes in the next event.
    pub fn take(&mut self, event: &Event) {
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
                    at: event.at,
                    subject: login(&details["subject"]),
                    role: details["role"].as_str().unwrap_or_default().to_owned(),
                    approvers,
                    emergency: details["break_glass"] == true,
                    window: read(&details["window"]),
                    ended: None,
                };
                self.given.insert(grant.to_owned(), given);
            }
            (EventKind::Ended, _, Some(grant)) => {
                if let Some(given) = self.given.get_mut(grant) {
                    given.ended = read(&details["ended_at"]).or(Some(event.at));
                }
            }
            (EventKind::Applied, ..) if details["standing"] == true => {
                let target = details["entitlement"]["target"].as_str().unwrap_or_default().to_owned();
                self.standing.entry(target).or_default().insert(login(&details["subject"]));
            }
            _ => {}
        }
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

    /// Grants by week, without gaps: the Monday, those that were approved, and emergencies.
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
        let (mut at, last, mut all) = (*first, *last, Vec::new());
        while at <= last {
            let (normal, emergency) = weeks.get(&at).copied().unwrap_or_default();
            all.push((at, normal, emergency));
            at += TimeDelta::weeks(1);
        }
        all
    }

    /// For how long access was asked, and for how long it was kept, by role.
    fn used(&self) -> BTreeMap<&str, (Vec<TimeDelta>, Vec<TimeDelta>)> {
        let mut used: BTreeMap<&str, (Vec<TimeDelta>, Vec<TimeDelta>)> = BTreeMap::new();
        for given in self.given.values() {
            if let (Some(window), Some(ended)) = (given.window, given.ended) {
                let of_role = used.entry(&given.role).or_default();
                of_role.0.push(window.ends_at - window.starts_at);
                of_role.1.push((ended.min(window.ends_at) - window.starts_at).max(TimeDelta::zero()));
            }
        }
        used
    }

    /// What may be worth a change of the policy, each with what shows it.
    pub fn suggestions(&self) -> Vec<Remark> {
        let mut remarks = Vec::new();
        for (role, (asked, kept)) in self.used() {
            let (Some(longest), Some(half)) = (kept.iter().max(), percentile(&asked, 50)) else { continue };
            if kept.len() >= ENOUGH && *longest * 2 <= half {
                let (what, longest) = (format!("Lower the ceiling of `{role}`"), length(*longest));
                let evidence = format!(
                    "{} grants were asked for {} (median), and none was kept for longer than {longest}",
                    kept.len(),
                    length(half)
                );
                remarks.push(Remark { what, evidence });
            }
        }
        for (stage, times) in &self.stages {
            let (Some(half), Some(slow)) = (percentile(times, 50), percentile(times, 95)) else { continue };
            if times.len() >= ENOUGH && slow > TimeDelta::hours(4) {
                let what = format!("Name more approvers for stage `{stage}`, or let it escalate");
                let evidence = format!(
                    "{} approvals took {} (median); one of twenty took longer than {}",
                    times.len(),
                    length(half),
                    length(slow)
                );
                remarks.push(Remark { what, evidence });
            }
        }
        for (target, people) in &self.standing {
            let what = format!("See whether access on `{target}` that was there before Daypass is still needed");
            let names: Vec<&str> = people.iter().map(String::as_str).collect();
            remarks.push(Remark { what, evidence: format!("asked for, though they had it: {}", names.join(", ")) });
        }
        remarks
    }

    /// What is unusual.
    pub fn anomalies(&self) -> Vec<Remark> {
        let mut remarks = Vec::new();
        let mut days: BTreeMap<(String, chrono::NaiveDate), usize> = BTreeMap::new();
        let mut approved: BTreeMap<(&str, &str), usize> = BTreeMap::new();
        for given in self.given.values() {
            *days.entry((given.subject.clone(), given.at.date_naive())).or_default() += 1;
            for approver in &given.approvers {
                *approved.entry((approver, &given.subject)).or_default() += 1;
            }
        }
        for ((person, day), count) in days.iter().filter(|(_, count)| **count >= BURST) {
            remarks.push(Remark {
                what: format!("Many grants of {person} in a day"),
                evidence: format!("{count} on {day}"),
            });
        }
        for ((one, other), count) in &approved {
            let Some(back) = approved.get(&(*other, *one)).filter(|_| one < other) else { continue };
            let only = |approver: &str, subject: &str| {
                let given = self.given.values().filter(|given| given.subject == subject);
                given.filter(|given| !given.approvers.is_empty()).all(|given| given.approvers == [approver])
            };
            if only(one, other) && only(other, one) && count + back >= ENOUGH {
                let what = format!("{one} and {other} approve only each other");
                remarks.push(Remark {
                    what,
                    evidence: format!("{count} and {back} grants, and nobody else approved any of theirs"),
                });
            }
        }
        let late = self.given.values().filter(|given| !in_hours(given.at)).count();
        if late > 0 {
            let what = format!("Grants outside of {} to {} UTC on working days", WORK.start, WORK.end);
            remarks.push(Remark { what, evidence: format!("{late} of {}", self.given.len()) });
        }
        remarks
    }
}

fn in_hours(at: DateTime<Utc>) -> bool {
    !matches!(at.weekday(), Weekday::Sat | Weekday::Sun) && WORK.contains(&at.hour())
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
            report.take(&event(kind, hour + hours, details));
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
