//! What stands out, each with what shows it: what may be worth a change of the policy, and what is unusual.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Datelike, TimeDelta, Timelike, Utc, Weekday};

use super::{ENOUGH, Given, Report, length, percentile};

/// When most people work, in UTC: what is outside is told, not judged.
const WORK: std::ops::Range<u32> = 6..20;
/// So many grants of one person in a day are a burst.
const BURST: usize = 5;
/// From so many grants of somebody on, it is known at which hours they ask.
const HABIT: usize = 10;
/// Hours that are near to each other.
const NEAR: u32 = 3;
/// For so long it is learned who has what; after that, what is new is told.
const LEARNED: TimeDelta = TimeDelta::days(30);
/// What was approved within this time every time was hardly looked at.
const AT_ONCE: TimeDelta = TimeDelta::minutes(2);
/// How many of one kind are told.
const MOST: usize = 10;

/// Something that stands out, with what shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remark {
    /// What to think about.
    pub what: String,
    /// What shows it.
    pub evidence: String,
}

fn remark(what: impl Into<String>, evidence: impl Into<String>) -> Remark {
    Remark { what: what.into(), evidence: evidence.into() }
}

impl Report {
    /// What may be worth a change of the policy, each with what shows it.
    pub fn suggestions(&self) -> Vec<Remark> {
        let mut remarks = self.ceilings();
        for (stage, times) in &self.stages {
            let (Some(half), Some(slow)) = (percentile(times, 50), percentile(times, 95)) else { continue };
            if times.len() >= ENOUGH && slow > TimeDelta::hours(4) {
                let evidence = format!(
                    "{} approvals took {} (median); one of twenty took longer than {}",
                    times.len(),
                    length(half),
                    length(slow)
                );
                remarks.push(remark(format!("Name more approvers for stage `{stage}`, or let it escalate"), evidence));
            }
        }
        remarks.extend(self.roles_to_change());
        for (target, people) in &self.standing {
            let names: Vec<&str> = people.iter().map(String::as_str).collect();
            remarks.push(remark(
                format!("See whether access on `{target}` that was there before Daypass is still needed"),
                format!("asked for, though they had it: {}", names.join(", ")),
            ));
        }
        remarks
    }

    fn ceilings(&self) -> Vec<Remark> {
        let mut remarks = Vec::new();
        for (role, (asked, kept)) in self.used() {
            let (Some(longest), Some(half)) = (kept.iter().max(), percentile(&asked, 50)) else { continue };
            if kept.len() >= ENOUGH && *longest * 2 <= half {
                let evidence = format!(
                    "{} grants were asked for {} (median), and none was kept for longer than {}",
                    kept.len(),
                    length(half),
                    length(*longest)
                );
                remarks.push(remark(format!("Lower the ceiling of `{role}`"), evidence));
            }
        }
        remarks
    }

    /// Roles to drop, to split, to make automatic, or to add a stage to.
    fn roles_to_change(&self) -> Vec<Remark> {
        let mut of_role: BTreeMap<&str, Vec<&Given>> = BTreeMap::new();
        self.given.values().for_each(|given| of_role.entry(&given.role).or_default().push(given));
        let mut remarks = Vec::new();
        for (role, all) in of_role {
            let observed: Vec<&&Given> = all.iter().filter(|given| self.could_be_seen(given)).collect();
            let unused = observed.iter().filter(|given| !given.used).count();
            if observed.len() >= ENOUGH && unused * 2 > observed.len() {
                let evidence = format!("{unused} of {} grants ended without a session that was seen", observed.len());
                remarks.push(remark(format!("Drop `{role}`, or give less by it"), evidence));
            }
            let by_target: BTreeSet<&String> = all.iter().flat_map(|given| &given.used_targets).collect();
            let idle: BTreeSet<&String> = observed
                .iter()
                .flat_map(|given| &given.targets)
                .filter(|target| self.seen_targets.contains(*target) && !by_target.contains(target))
                .collect();
            if observed.len() >= ENOUGH && !by_target.is_empty() && !idle.is_empty() {
                let names: Vec<&str> = idle.into_iter().map(String::as_str).collect();
                let evidence = format!("in {} grants nobody was seen on {}", observed.len(), names.join(", "));
                remarks.push(remark(format!("Split `{role}` by target"), evidence));
            }
            let waits: Vec<TimeDelta> = all.iter().filter_map(|given| given.waited).collect();
            if waits.len() >= 2 * ENOUGH
                && waits.iter().all(|wait| *wait <= AT_ONCE)
                && !self.denied_roles.contains(role)
            {
                let evidence = format!(
                    "each of {} grants was approved within {}, and no request was denied",
                    waits.len(),
                    length(AT_ONCE)
                );
                remarks.push(remark(format!("Make `{role}` automatic, or have approvals of it looked at"), evidence));
            }
            let emergencies = all.iter().filter(|given| given.emergency).count();
            if all.len() >= ENOUGH && emergencies * 4 >= all.len() && emergencies > 1 {
                let evidence = format!("{emergencies} of {} grants were emergencies", all.len());
                remarks.push(remark(
                    format!("Name more approvers for `{role}`, so that nobody has to break the glass"),
                    evidence,
                ));
            }
            let single = all.iter().filter(|given| given.approvers.len() == 1);
            let approvers: BTreeSet<&String> = single.clone().flat_map(|given| &given.approvers).collect();
            if single.count() >= 2 * ENOUGH && approvers.len() == 1 {
                let who = approvers.first().map(|name| name.as_str()).unwrap_or_default();
                let evidence = format!("{who} alone approved each of {} grants", all.len());
                remarks.push(remark(format!("Add a stage or an approver to `{role}`"), evidence));
            }
        }
        remarks
    }

    /// What is unusual.
    pub fn anomalies(&self) -> Vec<Remark> {
        let mut remarks = self.bursts();
        remarks.extend(self.pairs());
        let late = self.given.values().filter(|given| !in_hours(given.at)).count();
        if late > 0 {
            remarks.push(remark(
                format!("Grants outside of {} to {} UTC on working days", WORK.start, WORK.end),
                format!("{late} of {}", self.given.len()),
            ));
        }
        remarks.extend(self.first_times());
        remarks.extend(self.unusual_hours());
        remarks
    }

    fn bursts(&self) -> Vec<Remark> {
        let mut days: BTreeMap<(&str, chrono::NaiveDate), usize> = BTreeMap::new();
        for given in self.given.values() {
            *days.entry((&given.subject, given.at.date_naive())).or_default() += 1;
        }
        let bursts = days.iter().filter(|(_, count)| **count >= BURST);
        bursts
            .map(|((person, day), count)| {
                remark(format!("Many grants of {person} in a day"), format!("{count} on {day}"))
            })
            .collect()
    }

    fn pairs(&self) -> Vec<Remark> {
        let mut approved: BTreeMap<(&str, &str), usize> = BTreeMap::new();
        for given in self.given.values() {
            for approver in &given.approvers {
                *approved.entry((approver, &given.subject)).or_default() += 1;
            }
        }
        let mut remarks = Vec::new();
        for ((one, other), count) in &approved {
            let Some(back) = approved.get(&(*other, *one)).filter(|_| one < other) else { continue };
            let only = |approver: &str, subject: &str| {
                let given = self.given.values().filter(|given| given.subject == subject);
                given.filter(|given| !given.approvers.is_empty()).all(|given| given.approvers == [approver])
            };
            if only(one, other) && only(other, one) && count + back >= ENOUGH {
                remarks.push(remark(
                    format!("{one} and {other} approve only each other"),
                    format!("{count} and {back} grants, and nobody else approved any of theirs"),
                ));
            }
        }
        remarks
    }

    /// In order of time.
    fn in_order(&self) -> Vec<&Given> {
        let mut all: Vec<&Given> = self.given.values().collect();
        all.sort_by_key(|given| given.at);
        all
    }

    /// People who had a role for the first time, once it was known who has what.
    fn first_times(&self) -> Vec<Remark> {
        let Some(known_since) = self.first.map(|first| first + LEARNED) else { return Vec::new() };
        let mut met: BTreeSet<(&str, &str)> = BTreeSet::new();
        let (mut new, mut more) = (Vec::new(), 0);
        for given in self.in_order() {
            if met.insert((&given.subject, &given.role)) && given.at >= known_since {
                match new.len() < MOST {
                    true => new.push(format!("{} with `{}` on {}", given.subject, given.role, given.at.date_naive())),
                    false => more += 1,
                }
            }
        }
        if more > 0 {
            new.push(format!("and {more} more"));
        }
        let what = "Somebody had a role for the first time";
        if new.is_empty() { Vec::new() } else { vec![remark(what, new.join("; "))] }
    }

    /// Grants at an hour at which somebody who asks often never asked before.
    fn unusual_hours(&self) -> Vec<Remark> {
        let mut hours: BTreeMap<&str, Vec<u32>> = BTreeMap::new();
        let mut remarks = Vec::new();
        for given in self.in_order() {
            let (hour, known) = (given.at.hour(), hours.entry(&given.subject).or_default());
            let near = |other: &u32| (hour.abs_diff(*other)).min(24 - hour.abs_diff(*other)) <= NEAR;
            if known.len() >= HABIT && !known.iter().any(near) && remarks.len() < MOST {
                remarks.push(remark(
                    format!("An unusual hour for {}", given.subject),
                    format!(
                        "`{}` at {} UTC; none of the {} grants before was near that hour",
                        given.role,
                        given.at.format("%Y-%m-%d %H:%M"),
                        known.len()
                    ),
                ));
            }
            known.push(hour);
        }
        remarks
    }
}

pub(super) fn in_hours(at: DateTime<Utc>) -> bool {
    !matches!(at.weekday(), Weekday::Sat | Weekday::Sun) && WORK.contains(&at.hour())
}
