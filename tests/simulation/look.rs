//! The model looks on: what must always hold, and what must hold once everything has come to rest.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, TimeDelta, Utc};
use http::Method;
use serde_json::Value;

use crate::history::{PEOPLE, ROLES, SLUGS};
use crate::ledger::Seen;
use crate::model::{Model, TEAM, database_roles, gives};
use crate::play::{Player, STANDING, STANDING_IN_TEAM, is_standing};

/// How long after its end, and after the last trouble, access may still be there: longer than the longest pause between two attempts.
const LATE: TimeDelta = TimeDelta::minutes(8);

impl Player {
    /// Learns from GitHub what was merged and closed.
    pub async fn observe(&mut self) {
        let pulls = self.world.get("/pulls?state=all&per_page=100").await;
        let by_number: BTreeMap<u64, &Value> =
            pulls.as_array().unwrap().iter().map(|pull| (pull["number"].as_u64().unwrap(), pull)).collect();
        let merged_at = |pull: &Value| pull["merged_at"].as_str().and_then(|at| at.parse::<DateTime<Utc>>().ok());
        for pull in &mut self.model.pulls {
            let Some(seen) = by_number.get(&pull.number) else { continue };
            pull.open = seen["state"] == "open";
            if pull.merged.is_none()
                && let Some(at) = merged_at(seen)
            {
                let version = pull.versions.iter().rposition(|version| seen["head"]["sha"] == version.commit.as_str());
                pull.merged = version.map(|version| (version, at));
                pull.policy = self.model.policy;
            }
        }
        let merged = |number: &u64| by_number.get(number).and_then(|pull| merged_at(pull));
        let removed: Vec<_> =
            self.removal_pulls.iter().filter_map(|(number, slug)| merged(number).map(|at| (*slug, at))).collect();
        for removal in removed {
            if !self.model.removals.contains(&removal) {
                self.model.removals.push(removal);
            }
        }
    }

    /// I1 and I5, always: nothing is given that is not due, what was there before stays, and what two give goes with the last.
    pub async fn look(&mut self) -> Result<(), String> {
        // A process that went on acts on the plan it had made before it stood still, for as long as it holds its lease.
        let before = std::mem::replace(&mut self.resumed, self.sky.count_of("process went on"));
        let resumed = self.resumed > before;
        let calls = self.world.orders.calls();
        let team: BTreeSet<&'static str> =
            PEOPLE.into_iter().filter(|login| self.world.sandbox.is_in_team(TEAM, login)).collect();
        if calls.len() > self.calls_seen || team != self.team_seen {
            self.observe().await;
            let (now, over, granted) =
                (self.world.now(), self.on_record("ended").await?, self.on_record("granted").await?);
            // A new database gives again what an earlier one ended.
            let over = if self.model.databases_lost > 0 { BTreeSet::new() } else { over };
            for call in calls.iter().skip(self.calls_seen) {
                let (late, call) = call.strip_prefix("late ").map_or((false, call.as_str()), |call| (true, call));
                if let Some((what, login)) = call.strip_prefix("grant ").and_then(|rest| rest.split_once(" to ")) {
                    self.seen.push(Seen { at: now, what: what.to_owned(), login: login.to_owned(), given: true });
                    self.may_be_given(what, login, late || resumed, &over)?;
                }
                if let Some((what, login)) = call.strip_prefix("revoke ").and_then(|rest| rest.split_once(" from ")) {
                    self.seen.push(Seen { at: now, what: what.to_owned(), login: login.to_owned(), given: false });
                    self.may_be_taken(what, login, late || resumed, now, &granted)?;
                }
            }
            for login in team.difference(&self.team_seen) {
                self.seen.push(Seen { at: now, what: TEAM.to_owned(), login: (*login).to_owned(), given: true });
                self.may_be_given(TEAM, login, resumed, &over)?;
            }
            for login in self.team_seen.difference(&team) {
                self.seen.push(Seen { at: now, what: TEAM.to_owned(), login: (*login).to_owned(), given: false });
                self.may_be_taken(TEAM, login, resumed, now, &granted)?;
            }
            (self.calls_seen, self.team_seen) = (calls.len(), team);
        }
        if !self.model.standing_unknown && !self.world.orders.is_member(STANDING.0, STANDING.1) {
            return Err("I5: bob had role r before Daypass, and lost it".to_owned());
        }
        if !self.model.standing_unknown && !self.team_seen.contains(STANDING_IN_TEAM) {
            return Err("I5: carol was in team docs before Daypass, and is not any more".to_owned());
        }
        Ok(())
    }

    /// I1. What is given `late`, by a process that stood still, must have been due at some time; and goes again, if it no longer is.
    fn may_be_given(&self, what: &str, login: &str, late: bool, over: &BTreeSet<u64>) -> Result<(), String> {
        self.sky.count("I1 checked: access that was given");
        let now = self.world.now();
        let right = match late {
            true => self.model.last_end(what, login).is_some(),
            false => self.model.justifies(what, login, now, over),
        };
        let late = if late { "late, " } else { "" };
        match right {
            true => Ok(()),
            false => {
                Err(format!("I1: {login} is given {what} at {now}, {late}and no approved, merged request allows it"))
            }
        }
    }

    /// I5. What is taken away late was planned when it was right.
    fn may_be_taken(
        &self,
        what: &str,
        login: &str,
        late: bool,
        now: DateTime<Utc>,
        granted: &BTreeSet<u64>,
    ) -> Result<(), String> {
        if late {
            return Ok(());
        }
        self.sky.count("I5 checked: access that was taken away");
        match self.model.surely_keeps(what, login, now, granted) {
            true => Err(format!("I5: {what} is taken from {login} at {now}, and another grant still gives it")),
            false => Ok(()),
        }
    }

    /// I2, whenever nothing is left to do: access is gone soon after its end, whether or not GitHub can be reached.
    pub async fn nothing_is_overdue(&mut self) -> Result<(), String> {
        let now = self.world.now();
        // A new database must hear from GitHub first, and a clock that is behind ends later.
        if self.model.databases_lost > 0 || self.model.clocks_behind(now) > TimeDelta::zero() {
            return Ok(());
        }
        self.observe().await;
        let (trouble, trouble_on_github) = self.trouble_at;
        let members = self.world.orders.members().into_iter().map(|(role, login)| (role, login, trouble));
        let team = self.team_seen.iter();
        let team = team.map(|login| (TEAM.to_owned(), (*login).to_owned(), trouble.max(trouble_on_github)));
        for (what, login, trouble) in members.chain(team) {
            let Some(end) = self.model.last_end(&what, &login).filter(|end| *end <= now) else { continue };
            if is_standing(&what, &login) {
                continue;
            }
            if now - end.max(trouble) > LATE {
                return Err(format!("I2: {login} still has {what} at {now}; it should have gone at {end}"));
            }
        }
        let ended =
            self.model.pulls.iter().filter(|pull| Model::window(pull).is_some_and(|(_, end)| end <= now)).count();
        self.sky.add("I2 checked: ends, while it went on", u64::try_from(ended).unwrap());
        Ok(())
    }

    /// The requests whose grants are over, by Daypass's own record: they never come back. With another database they may.
    async fn over(&self) -> Result<BTreeSet<u64>, String> {
        match self.model.databases_lost {
            0 => self.on_record("ended").await,
            _ => Ok(BTreeSet::new()),
        }
    }

    /// The requests about whose grants that is on record.
    async fn on_record(&self, kind: &str) -> Result<BTreeSet<u64>, String> {
        let events = self.world.engine().store().events().await.map_err(|error| error.to_string())?;
        let events = events.iter().filter(|event| event.kind.as_str() == kind);
        Ok(events.filter_map(|event| event.details["grant"].as_str()?.split_once('#')?.1.parse().ok()).collect())
    }

    /// All is well again, and Daypass has had time: now everything must be as promised.
    pub async fn come_to_rest(&mut self) -> Result<(), String> {
        self.sky.seed(0);
        self.sky.set_weather(0, 0);
        self.sky.set_luck(0, 0, 0);
        self.world.set_machine_clocks(TimeDelta::zero());
        self.processes.resume_all(&self.world, &self.sky).await?;
        // Longer than the longest pause between two attempts, and than the time between two looks at everything.
        let mut restless = false;
        for _ in 0..8 {
            if restless {
                break;
            }
            self.world.advance(TimeDelta::minutes(1));
            let mut steps = 0;
            loop {
                self.carry_post().await;
                let worked = self.step().await?;
                self.look().await?;
                if !worked && self.post.is_empty() {
                    break;
                }
                steps += 1;
                restless = steps > 1_000;
                if restless {
                    break;
                }
            }
        }
        self.observe().await;
        // What it wakes itself up for is told first.
        self.check_access().await?;
        if !restless {
            self.check_ledger().await?;
        }
        self.check_record().await?;
        match restless {
            true => Err("it does not come to rest: Daypass wakes itself up for ever".to_owned()),
            false => Ok(()),
        }
    }

    async fn check_access(&self) -> Result<(), String> {
        let (now, over) = (self.world.now(), self.over().await?);
        let mut due: BTreeSet<(String, String)> = BTreeSet::from([(STANDING.0.to_owned(), STANDING.1.to_owned())]);
        let mut docs = BTreeSet::from([STANDING_IN_TEAM]);
        let mut live = BTreeSet::new();
        for (slug, name) in SLUGS.iter().enumerate() {
            let Some(text) = self.content(slug).await else { continue };
            let Some(pull) = self.model.origin(slug, &text) else {
                return Err(format!("I7: {name} is on main, and no merged request brought it:\n{text}"));
            };
            if !self.model.was_due(pull, false) {
                return Err(format!("I7: {name} is on main by #{}, which was not due", pull.number));
            }
            let (start, end) = Model::window(pull).unwrap();
            if over.contains(&pull.number) {
                return Err(format!("I7: {name} is on main by #{}, whose grant had ended", pull.number));
            }
            if end <= now {
                return Err(format!("I2: {name} is on main, and its time was up at {end}; it is {now}"));
            }
            live.insert(pull.number);
            self.sky.count("I4 checked: grants that run at the end");
            let version = &pull.versions[pull.merged.unwrap().0];
            let subject = PEOPLE[version.subject.unwrap_or(pull.author)];
            if start <= now {
                due.extend(database_roles(version.role).iter().map(|role| ((*role).to_owned(), subject.to_owned())));
                if ROLES[version.role] == "helper" {
                    docs.insert(subject);
                }
            }
        }
        if let Some(in_force) = self.policy_in_force() {
            self.sky.count("I7 checked: the policy at the end");
            if self.policy_on_main().await.as_ref() != Some(&in_force) {
                return Err("I7: the policy on main is another one than was approved".to_owned());
            }
        }
        let mut is = self.world.orders.members();
        if self.model.standing_unknown {
            let standing = (STANDING.0.to_owned(), STANDING.1.to_owned());
            is.insert(standing.clone());
            due.insert(standing);
        }
        self.count_checks(now);
        if let Some((role, login)) = is.difference(&due).next() {
            return Err(format!("I2: {login} still has {role} at {now}, and no live grant gives it"));
        }
        if let Some((role, login)) = due.difference(&is).next() {
            return Err(format!("I4: {login} does not have {role} at {now}, although a live grant gives it"));
        }
        for login in PEOPLE {
            if self.model.standing_unknown && login == STANDING_IN_TEAM {
                continue;
            }
            match (self.world.sandbox.is_in_team(TEAM, login), docs.contains(login)) {
                (true, false) => {
                    return Err(format!("I2: {login} is still in team docs at {now}, and no live grant gives it"));
                }
                (false, true) => {
                    return Err(format!("I4: {login} is not in team docs at {now}, although a live grant gives it"));
                }
                _ => {}
            }
        }
        for pull in &self.model.pulls {
            let Some((_, end)) = Model::window(pull) else { continue };
            let lasts = now < end
                && self.model.was_due(pull, true)
                && !self.model.may_have_ended_early(pull)
                && !self.model.may_be_refused(pull);
            if lasts && !live.contains(&pull.number) {
                return Err(format!(
                    "I4: the grant of #{} lasts until {end}, but its file is gone at {now}",
                    pull.number
                ));
            }
        }
        Ok(())
    }

    /// Counts what there was to check.
    fn count_checks(&self, now: DateTime<Utc>) {
        let merged = self.model.pulls.iter().filter_map(|pull| Some((pull, Model::window(pull)?.1)));
        for (pull, end) in merged {
            let due = self.model.was_due(pull, false);
            self.sky.count(match (due, end <= now) {
                (true, true) => "I2 checked: grants that are over at the end",
                (true, false) => "I4 checked: grants that last at the end",
                (false, _) => "I7 checked: merges that were not due",
            });
            let version = &pull.versions[pull.merged.map_or(0, |(merged, _)| merged)];
            let subject = PEOPLE[version.subject.unwrap_or(pull.author)];
            if due && [STANDING.0, TEAM].iter().any(|what| gives(version.role, what) && is_standing(what, subject)) {
                self.sky.count("I5 checked: grants of what somebody had before");
            }
            if due && self.model.databases_lost > 0 {
                self.sky.count("I6 checked: grants beside a database that was lost");
            }
        }
    }

    /// I3, I8, and that nothing is stuck.
    async fn check_record(&self) -> Result<(), String> {
        let events = self.world.engine().store().events().await.map_err(|error| error.to_string())?;
        let mut told: BTreeMap<(String, String), usize> = BTreeMap::new();
        for event in &events {
            if let Some(grant) = event.details["grant"].as_str() {
                *told.entry((event.kind.as_str().to_owned(), grant.to_owned())).or_default() += 1;
            }
        }
        let now = self.world.now();
        for pull in &self.model.pulls {
            let Some((_, end)) = Model::window(pull) else { continue };
            let grant = format!("{}#{}", SLUGS[pull.slug], pull.number);
            let count = |kind: &str| told.get(&(kind.to_owned(), grant.clone())).copied().unwrap_or(0);
            let (granted, ended) = (count("granted"), count("ended"));
            if granted + ended > 0 {
                self.sky.count("I3 checked: grants on record");
            }
            if granted > 1 || ended > 1 {
                return Err(format!("I3: {grant} was granted {granted} times and ended {ended} times on record"));
            }
            let surely = self.model.databases_lost == 0
                && self.model.was_due(pull, true)
                && !self.model.may_be_unseen(pull)
                && !self.model.may_be_refused(pull);
            if surely && granted != 1 {
                return Err(format!("I3: {grant} was due, and is on record as granted {granted} times"));
            }
            if surely && end <= now && ended != 1 {
                return Err(format!("I3: {grant} is over, and is on record as ended {ended} times"));
            }
        }
        let queue = self.world.engine().store().queue().await.map_err(|error| error.to_string())?;
        if let Some(stuck) = queue.iter().find(|job| job.attempts > 0) {
            return Err(format!("I4: stuck: {} fails: {}", stuck.job, stuck.last_error.as_deref().unwrap_or_default()));
        }
        let record = serde_json::to_string(&events).unwrap();
        let mut texts = vec![record];
        for pull in &self.model.pulls {
            texts.extend(self.world.comments(pull.number).await);
        }
        self.sky.add("I8 checked: records and comments", u64::try_from(texts.len()).unwrap());
        match texts.iter().any(|text| ["ghs_", "eyJ", "PRIVATE KEY"].iter().any(|secret| text.contains(secret))) {
            true => Err("I8: a secret is in the record or in a comment".to_owned()),
            false => Ok(()),
        }
    }

    /// What a file on the default branch says.
    async fn content(&self, slug: usize) -> Option<String> {
        let path = format!("/contents/grants/{}.yaml?ref=main", SLUGS[slug]);
        let file = self.call(5, Method::GET, &path, Value::Null).await?;
        let encoded: String = file["content"].as_str()?.split_whitespace().collect();
        String::from_utf8(STANDARD.decode(encoded).ok()?).ok()
    }
}
