//! I3 on the branch: every event once, in an unbroken chain; and the ledger alone says who has what, and, where nothing went wrong,
//! exactly from when to when they had it.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use daypass::ledger::Entry;
use daypass::ledger::replay::{Interval, Lives};

use crate::history::PEOPLE;
use crate::model::TEAM;
use crate::play::{Player, is_standing};

/// Something a target gave, or took.
#[derive(Debug)]
pub struct Seen {
    pub at: DateTime<Utc>,
    pub what: String,
    pub login: String,
    pub given: bool,
}

/// A role of the database or the team, and who has it.
type Access = (String, String);

impl Player {
    pub async fn check_ledger(&mut self) -> Result<(), String> {
        // What happened last waits for others, and something may happen meanwhile. A process that had nothing to ask of GitHub since
        // the clocks were set right learns of it by its first failure.
        for _ in 0..5 {
            let queue = self.world.engine().store().queue().await.map_err(|error| error.to_string())?;
            if self.world.ledger_differs().await.is_none() && queue.iter().all(|job| job.attempts == 0) {
                break;
            }
            self.world.advance(TimeDelta::seconds(31));
            self.carry_post().await;
            while self.step().await? || !self.post.is_empty() {
                self.look().await?;
                self.carry_post().await;
            }
            self.look().await?;
        }
        if let Some(how) = self.world.ledger_differs().await {
            return Err(format!("I3: the ledger is not what is on record: {how}"));
        }
        let mut lives = Lives::default();
        let lines = self.world.ledger().await;
        self.sky.add("I3 checked: events in the ledger", u64::try_from(lines.len()).unwrap());
        for line in lines {
            lives.take(&Entry::read(line.as_bytes()).unwrap().event);
        }
        let told = told(&lives);
        let held: BTreeSet<Access> = told
            .iter()
            .filter(|(_, all)| all.iter().any(|one| one.to.is_none()))
            .map(|(access, _)| access.clone())
            .collect();
        let mut is: BTreeSet<Access> = self.world.orders.members().into_iter().collect();
        is.extend(
            PEOPLE
                .into_iter()
                .filter(|login| self.world.sandbox.is_in_team(TEAM, login))
                .map(|login| (TEAM.to_owned(), login.to_owned())),
        );
        is.retain(|(what, login)| !is_standing(what, login));
        if let Some((what, login)) = held.symmetric_difference(&is).next() {
            let has = is.contains(&(what.clone(), login.clone()));
            return Err(format!(
                "I3: {login} {} {what}, and the ledger alone says otherwise",
                if has { "has" } else { "does not have" }
            ));
        }
        let untroubled =
            self.sky.troubles() == (0, 0) && self.model.databases_lost == 0 && self.model.clocks.is_empty();
        if untroubled {
            self.sky.add("I3 checked: intervals of access", u64::try_from(told.len()).unwrap());
            let seen = self.intervals_seen();
            if told != seen {
                return Err(format!("I3: the ledger alone says {told:#?}\nand the targets saw {seen:#?}"));
            }
        }
        Ok(())
    }

    /// From when to when people had what, as the targets saw it.
    fn intervals_seen(&self) -> BTreeMap<Access, Vec<Interval>> {
        let mut intervals: BTreeMap<Access, Vec<Interval>> = BTreeMap::new();
        for Seen { at, what, login, given } in &self.seen {
            if is_standing(what, login) {
                continue;
            }
            let all = intervals.entry((what.clone(), login.clone())).or_default();
            match (given, all.last_mut().filter(|last| last.to.is_none())) {
                (true, None) => all.push(Interval { from: *at, to: None }),
                (false, Some(open)) => open.to = Some(*at),
                _ => {}
            }
        }
        intervals.into_iter().map(|(access, all)| (access, joined(all))).filter(|(_, all)| !all.is_empty()).collect()
    }
}

/// The same as the ledger alone tells it: what several grants give is one piece of access.
fn told(lives: &Lives) -> BTreeMap<Access, Vec<Interval>> {
    let mut intervals: BTreeMap<Access, Vec<Interval>> = BTreeMap::new();
    for life in lives.0.values() {
        for (name, all) in &life.access {
            let access = match name
                .strip_prefix("role ")
                .and_then(|rest| rest.strip_suffix(" on orders-db")?.split_once(" for "))
            {
                Some((role, login)) => (role.to_owned(), login.to_owned()),
                None => (TEAM.to_owned(), life.subject.as_ref().unwrap().login.to_string()),
            };
            if !is_standing(&access.0, &access.1) {
                intervals.entry(access).or_default().extend(all.iter().cloned());
            }
        }
    }
    intervals.into_iter().map(|(access, all)| (access, joined(all))).filter(|(_, all)| !all.is_empty()).collect()
}

/// Intervals in order, those that meet as one, and none of no length.
fn joined(mut all: Vec<Interval>) -> Vec<Interval> {
    all.sort_by_key(|one| one.from);
    let mut joined: Vec<Interval> = Vec::new();
    for next in all {
        match joined.last_mut() {
            Some(last) if last.to.is_none_or(|to| next.from <= to) => {
                last.to = last.to.zip(next.to).map(|(one, other)| one.max(other));
            }
            _ => joined.push(next),
        }
    }
    joined.retain(|one| one.to != Some(one.from));
    joined
}
