//! The model looks on: what must always hold, and what must hold once everything has come to rest.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, TimeDelta, Utc};
use http::Method;
use serde_json::Value;

use crate::history::{PEOPLE, ROLES, SLUGS};
use crate::model::{Model, database_roles};
use crate::play::{Player, STANDING};

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

    /// I1 and I5, always: nothing is given that is not due, and what was there before stays.
    pub async fn look(&mut self) -> Result<(), String> {
        self.sky.add("promises checked", 2);
        let calls = self.world.orders.calls();
        if calls.len() > self.calls_seen {
            self.observe().await;
            let (now, over) = (self.world.now(), self.over().await?);
            for call in &calls[self.calls_seen..] {
                let Some((role, login)) = call.strip_prefix("grant ").and_then(|rest| rest.split_once(" to ")) else {
                    continue;
                };
                if !self.model.justifies(role, login, now, &over) {
                    return Err(format!("I1: {call} at {now}, which no approved, merged request allows"));
                }
            }
            self.calls_seen = calls.len();
        }
        if !self.model.standing_unknown && !self.world.orders.is_member(STANDING.0, STANDING.1) {
            return Err("I5: bob had role r before Daypass, and lost it".to_owned());
        }
        Ok(())
    }

    /// The requests whose grants are over, by Daypass's own record: they never come back. With another database they may.
    async fn over(&self) -> Result<BTreeSet<u64>, String> {
        if self.model.databases_lost > 0 {
            return Ok(BTreeSet::new());
        }
        let events = self.world.engine().store().events().await.map_err(|error| error.to_string())?;
        let ended = events.iter().filter(|event| event.kind.as_str() == "ended");
        Ok(ended.filter_map(|event| event.details["grant"].as_str()?.split_once('#')?.1.parse().ok()).collect())
    }

    /// All is well again, and Daypass has had time: now everything must be as promised.
    pub async fn come_to_rest(&mut self) -> Result<(), String> {
        self.sky.seed(0);
        self.sky.set_weather(0, 0);
        self.sky.set_luck(0, 0, 0);
        self.world.set_machine_clocks(TimeDelta::zero());
        self.processes.resume_all(&self.world, &self.sky).await?;
        // Longer than the longest pause between two attempts, and than the time between two looks at everything.
        for _ in 0..8 {
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
                if steps > 1_000 {
                    return Err("it does not come to rest: Daypass wakes itself up for ever".to_owned());
                }
            }
        }
        self.observe().await;
        // I2, I4, I5, I7; then I3 and I8. With a lost database, all of them are I6.
        self.sky.add("promises checked", 6);
        self.check_access().await?;
        self.check_record().await
    }

    async fn check_access(&self) -> Result<(), String> {
        let (now, over) = (self.world.now(), self.over().await?);
        let mut due: BTreeSet<(String, String)> = BTreeSet::from([(STANDING.0.to_owned(), STANDING.1.to_owned())]);
        let mut docs = BTreeSet::new();
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
            let version = &pull.versions[pull.merged.unwrap().0];
            let subject = PEOPLE[version.subject.unwrap_or(pull.author)];
            if start <= now {
                due.extend(database_roles(version.role).iter().map(|role| ((*role).to_owned(), subject.to_owned())));
                if ROLES[version.role] == "helper" {
                    docs.insert(subject);
                }
            }
        }
        let mut is = self.world.orders.members();
        if self.model.standing_unknown {
            let standing = (STANDING.0.to_owned(), STANDING.1.to_owned());
            is.insert(standing.clone());
            due.insert(standing);
        }
        if let Some((role, login)) = is.difference(&due).next() {
            return Err(format!("I2: {login} still has {role} at {now}, and no live grant gives it"));
        }
        if let Some((role, login)) = due.difference(&is).next() {
            return Err(format!("I4: {login} does not have {role} at {now}, although a live grant gives it"));
        }
        for login in PEOPLE {
            if self.world.sandbox.is_in_team("docs", login) != docs.contains(login) {
                return Err(format!("I2/I4: {login} in team docs should be {}, at {now}", docs.contains(login)));
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
            return Err(format!("stuck: {} fails: {}", stuck.job, stuck.last_error.as_deref().unwrap_or_default()));
        }
        let record = serde_json::to_string(&events).unwrap();
        let mut texts = vec![record];
        for pull in &self.model.pulls {
            texts.extend(self.world.comments(pull.number).await);
        }
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
