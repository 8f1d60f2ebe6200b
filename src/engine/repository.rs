//! Reading the default branch, step by step, and turning each step into grants, ends and refusals.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde_json::json;

use super::in_force::{FOLDER, PolicyStep, note_stray, stray};
use super::messages::message_id;
use super::provenance::{Origin, Step};
use super::record::record_merge;
use super::{Engine, EngineError, words};
use crate::access::change::grant_files;
use crate::access::facts::{FileMode, PullRequest, PullState, TreeFile};
use crate::access::grant::{EndReason, Grant, GrantId, GrantRef, State};
use crate::access::plan::{Applied, Progress};
use crate::github::Repository;
use crate::ledger::{Event, EventKind, InForceSince, details};
use crate::mutants::{self, Mutant};
use crate::policy::entitlement::Entitlement;
use crate::policy::model::Settings;
use crate::policy::name::{BlobId, CommitId, RepositoryName, Slug};
use crate::store::{Claim, GrantRow, Job, Message, ReadSoFar, Refusal, Tx};

/// What a step does to the grants.
enum Effect {
    /// A grant begins.
    Begin(Box<Grant>),
    /// A file was removed.
    Remove(Slug),
    /// A file is not applied.
    Refuse(Refusal),
    /// A file is not applied, but what it would give may have been, before the database was lost.
    Doubt(Box<Grant>),
    /// The file of a grant that is over came back.
    Over(GrantId),
    /// The policy is another one, which is in force from here on; or is not, and why.
    Policy(PolicyStep),
}

/// How many steps are looked at while it is not certain what an earlier one means.
const LOOKED_AHEAD: usize = 50;

/// How the default branch is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reading {
    /// By a new database: what is found may be applied already.
    First,
    /// On from where it was left.
    Onward,
    /// Once more, because history does not go on from where it was left.
    Again,
}

/// Tells a pull request that it was merged, and gives nothing all the same.
async fn say_refused(
    tx: &mut Tx,
    repository: &RepositoryName,
    pull: u64,
    refusal: &Refusal,
    now: DateTime<Utc>,
) -> Result<(), EngineError> {
    let id = format!("{repository}/pull-{pull}/refused/{}", refusal.path);
    let body = match refusal.path == FOLDER {
        true => words::policy_merged_but_refused(&refusal.reason),
        false => words::merged_but_refused(&refusal.path, &refusal.reason),
    };
    let message = Message { id, body };
    if tx.say(repository, pull, &message, now).await? {
        tx.schedule(&Job::Messages(repository.clone(), pull), now).await?;
    }
    Ok(())
}

impl Engine {
    /// Reads what is new on the default branch.
    pub(super) async fn sync(&self, claim: &Claim, repository: &RepositoryName) -> Result<(), EngineError> {
        self.read_on(claim, repository).await?;
        let tx = self.inner.store.begin().await?;
        self.finish(claim, tx, None).await
    }

    /// Reads on to the head of the default branch, and remembers that.
    pub(super) async fn read_on(&self, claim: &Claim, repository: &RepositoryName) -> Result<(), EngineError> {
        self.know_the_record(repository).await?;
        let (github, branch) = self.open(repository).await?;
        let head = github.head(&branch).await?;
        let mut so_far = self.first_sight(repository, &head).await?;
        let adopted = self.adopt(claim, &github, repository, &head).await?;
        let known = so_far.head.clone();
        let read_already = known.as_deref() == Some(head.as_str());
        let unread = !read_already || !self.all_accounted_for(&github, repository, &head).await?;
        if unread && !(so_far.first_until.is_some() && mutants::is(Mutant::RebuildNothing)) {
            let since = known.as_deref().filter(|_| !read_already);
            let (steps, joined) = self.steps(&github, &branch, &head, since).await?;
            let was_first = so_far.first_until.is_some();
            so_far.first_until = self.first_ends(&github, so_far.first_until, &head, &steps).await?;
            if was_first {
                self.recall(claim, &github, repository, (&branch, &head), &steps).await?;
            }
            let onward = if joined || was_first { Reading::Onward } else { Reading::Again };
            let mut policies = self.policies(&github, repository, &steps, (was_first, adopted)).await?;
            for (nth, step) in steps.iter().enumerate() {
                let reading = if so_far.first_until.is_some() { Reading::First } else { onward };
                so_far.first_until.take_if(|first_until| first_until == step.tip.as_str());
                let in_force = policies.before(step);
                let taken = self.take_in(claim, &github, repository, step, (reading, &so_far), in_force).await;
                if matches!(taken, Err(EngineError::Uncertain(_))) {
                    let later = steps.iter().skip(nth + 1).take(LOOKED_AHEAD);
                    self.look_ahead(&github, repository, later, (reading, in_force)).await?;
                }
                if let Some(next) = taken? {
                    policies.now = Some(next);
                }
            }
            if let (false, Some(known)) = (joined, &known) {
                tracing::warn!(%repository, known, %head, "the history of the default branch was rewritten; it was read anew");
                self.end_what_is_gone(claim, &github, repository, (Some(known), &head)).await?;
            }
        }
        let stray = self.stray_policy(&github, repository, &head).await?;
        let newest = self.policies_on_record(repository).await?.pop();
        let now = self.inner.clock.now();
        let mut tx = self.inner.store.begin().await?;
        tx.assert_held(claim).await?;
        if let (Some(stray), Some(newest)) = (stray, newest) {
            note_stray(&mut tx, repository, &stray, (None, &newest.commit), now).await?;
        }
        if known.is_none() {
            // Whatever waited for the first reading goes on.
            tx.schedule(&Job::Sweep(repository.clone()), now).await?;
        }
        let so_far = ReadSoFar { head: Some(head.to_string()), first_until: None };
        tx.set_read_so_far(repository.as_str(), &so_far, now).await?;
        Ok(tx.commit().await?)
    }

    /// Which policies were in force while these steps were made: on a first reading as the record has it, otherwise the newest. Before the
    /// first one each step has the policy it was made on.
    async fn policies(
        &self,
        github: &Repository,
        repository: &RepositoryName,
        steps: &[Step],
        (first, adopted): (bool, bool),
    ) -> Result<Policies, EngineError> {
        let record = self.policies_on_record(repository).await?;
        if adopted || mutants::is(Mutant::TrustEveryPolicy) {
            return Ok(Policies { now: None, record: Vec::new() });
        }
        if !first {
            return Ok(Policies { now: record.last().cloned(), record: Vec::new() });
        }
        let on_the_line = |policy: &&InForceSince| steps.iter().any(|step| step.tip == *policy.since());
        let (later, earlier): (Vec<_>, Vec<_>) = record.iter().partition(on_the_line);
        let earlier: Vec<InForceSince> = earlier.into_iter().cloned().collect();
        let now = match steps.first().and_then(|step| step.base.as_ref()) {
            Some(base) => self.in_force_at(github, &earlier, base).await?,
            None => None,
        };
        Ok(Policies { now, record: later.into_iter().cloned().collect() })
    }

    /// How far the default branch was read. A new database notes where it is: what is merged later, it has seen coming.
    pub(super) async fn first_sight(
        &self,
        repository: &RepositoryName,
        head: &CommitId,
    ) -> Result<ReadSoFar, EngineError> {
        if let Some(so_far) = self.inner.store.read_so_far(repository.as_str()).await? {
            return Ok(so_far);
        }
        let so_far = ReadSoFar { head: None, first_until: Some(head.to_string()) };
        let mut tx = self.inner.store.begin().await?;
        tx.set_read_so_far(repository.as_str(), &so_far, self.inner.clock.now()).await?;
        tx.commit().await?;
        Ok(so_far)
    }

    /// Whether every grant file at `head` is known for what it is. History can be set back to where it was read before, after what
    /// was to be done about it was done, and forgotten.
    async fn all_accounted_for(
        &self,
        github: &Repository,
        repository: &RepositoryName,
        head: &CommitId,
    ) -> Result<bool, EngineError> {
        let refused = self.inner.store.refusals(repository).await?;
        for (slug, file) in grant_files(&self.files(github, head).await?) {
            let path = crate::policy::request::path_of(&slug);
            let is_refused = refused.iter().any(|known| known.path == path && known.blob == file.blob.as_str());
            if !is_refused && !self.inner.store.knows_grant(repository, &slug, &file.blob).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Applies one step to what is known, durably. The policy that is in force since, if the step brought one.
    async fn take_in(
        &self,
        claim: &Claim,
        github: &Repository,
        repository: &RepositoryName,
        step: &Step,
        (reading, so_far): (Reading, &ReadSoFar),
        in_force: Option<&InForceSince>,
    ) -> Result<Option<InForceSince>, EngineError> {
        let first = reading == Reading::First;
        github.take_not_found();
        let effects = self.effects(github, repository, step, first, in_force).await?;
        if github.take_not_found() {
            self.wait_for_certainty(repository, step, &effects).await?;
        }
        let effects = self.news(repository, effects, reading).await?;
        let mut found = Vec::new();
        for effect in &effects {
            if let Effect::Begin(grant) | Effect::Doubt(grant) = effect {
                // What Daypass itself merged was due then, whatever it looks like now. A database that was put back from a backup
                // does not know that it was; the pull request does.
                let was_due = first && (matches!(effect, Effect::Begin(_)) || self.merged_it(step).await?);
                found.extend(self.perhaps_applied(github, repository, grant, was_due).await?);
            }
        }
        let mut revoked = BTreeSet::new();
        for effect in effects.iter().filter(|_| first) {
            if let Effect::Begin(grant) = effect
                && self.was_revoked(github, repository, &grant.id).await?
            {
                revoked.insert(grant.id.clone());
            }
        }
        let known = self.known_of(&found).await?;
        let mut rows = BTreeMap::new();
        for slug in effects.iter().filter_map(Effect::slug) {
            if let Some(row) = self.inner.store.live_grant(repository, &slug).await? {
                rows.insert(slug, row);
            }
        }
        let now = self.inner.clock.now();
        let policy = match in_force {
            Some(one) if details::policy_tree(&step.before).as_ref() != Some(&one.policy) => {
                Some(json!({ "commit": one.commit, "tree": one.policy }))
            }
            _ => step.base.as_ref().map(|base| details::policy_version(base, &step.before)),
        };
        let mut next = None;
        let access_reviews = self.merged_reviews(github, repository, step, now).await?;
        let policy_changed = policy_files(&step.before) != policy_files(&step.after);
        let mut tx = self.inner.store.begin().await?;
        tx.assert_held(claim).await?;
        if policy_changed || grant_files(&step.before) != grant_files(&step.after) {
            record_merge(&mut tx, repository, step, now).await?;
        }
        for event in &access_reviews {
            tx.record(event).await?;
        }
        put_perhaps(&mut tx, found, known, now).await?;
        for effect in effects {
            match effect {
                Effect::Begin(grant) => {
                    let replaced = rows.remove(&grant.id.slug).filter(|row| row.grant.id != grant.id);
                    let more = json!({ "policy": policy, "replaces": replaced.as_ref().map(|row| &row.grant.id) });
                    if let Some(row) = replaced {
                        self.end(&mut tx, row, EndReason::Replaced, now).await?;
                    }
                    let over = revoked.contains(&grant.id).then(|| grant.clone());
                    self.begin_grant(&mut tx, repository, *grant, more, now).await?;
                    if let Some(grant) = over {
                        let row = GrantRow { repository: repository.clone(), grant: *grant, revert_pull: None };
                        self.end(&mut tx, row, EndReason::Revoked, now).await?;
                    }
                }
                Effect::Remove(slug) => {
                    if let Some(row) = rows.remove(&slug) {
                        self.end(&mut tx, row, EndReason::Revoked, now).await?;
                    }
                }
                Effect::Refuse(refusal) => {
                    tx.put_refusal(repository, &refusal).await?;
                    let pull = step.pull.as_ref().map(|pull| pull.number);
                    let details = json!({ "path": refusal.path, "blob": refusal.blob, "commit": refusal.commit,
                        "reason": refusal.reason, "pull_request": pull });
                    let event =
                        Event::new(repository, EventKind::Refused, &refusal.path, &refusal.commit, now, details);
                    tx.record(&event).await?;
                    tx.schedule(&Job::Cleanse(repository.clone()), now).await?;
                    if let Some(pull) = &step.pull {
                        say_refused(&mut tx, repository, pull.number, &refusal, now).await?;
                    }
                }
                Effect::Over(id) => tx.schedule(&Job::Revert(repository.clone(), id), now).await?,
                Effect::Policy(PolicyStep::InForce) => {
                    next = details::policy_tree(&step.after).map(|policy| InForceSince {
                        commit: step.tip.clone(),
                        policy,
                        since: None,
                    });
                    let details = json!({ "commit": step.tip, "policy": details::policy_tree(&step.after), "how": "approved",
                        "pull_request": step.pull.as_ref().map(|pull| pull.number),
                        "before": in_force.map(|one| &one.commit) });
                    tx.record(&Event::new(repository, EventKind::PolicyInForce, "policy", &step.tip, now, details))
                        .await?;
                }
                Effect::Policy(PolicyStep::Unverified(reason)) => {
                    let tree = details::policy_tree(&step.after).unwrap_or_default();
                    let stray = stray(tree, &step.tip, reason);
                    let pull = step.pull.as_ref().map(|pull| pull.number);
                    let stays = in_force.map_or(&step.tip, |one| &one.commit);
                    note_stray(&mut tx, repository, &stray, (pull, stays), now).await?;
                    if let Some(pull) = pull {
                        say_refused(&mut tx, repository, pull, &stray, now).await?;
                    }
                }
                Effect::Doubt(_) => {}
            }
        }
        if policy_changed {
            let pull = step.pull.as_ref().map(|pull| pull.number);
            let tree = details::policy_tree(&step.after);
            let details = json!({ "commit": step.tip, "pull_request": pull, "policy": tree });
            tx.record(&Event::new(repository, EventKind::PolicyChanged, "policy", &step.tip, now, details)).await?;
            // Every open request is judged again under the new policy.
            tx.schedule(&Job::Sweep(repository.clone()), now).await?;
        }
        // Reading again ends with a comparison of the whole: a crash in between must not make it look like reading on.
        if reading != Reading::Again {
            let so_far = ReadSoFar { head: Some(step.tip.to_string()), ..so_far.clone() };
            tx.set_read_so_far(repository.as_str(), &so_far, now).await?;
        }
        tx.commit().await?;
        Ok(next)
    }

    /// Notes what is not certain about later steps, so that it need not be waited for one after the other.
    async fn look_ahead(
        &self,
        github: &Repository,
        repository: &RepositoryName,
        steps: impl Iterator<Item = &Step>,
        (reading, in_force): (Reading, Option<&InForceSince>),
    ) -> Result<(), EngineError> {
        for step in steps {
            github.take_not_found();
            let effects = self.effects(github, repository, step, reading == Reading::First, in_force).await?;
            if github.take_not_found() {
                match self.wait_for_certainty(repository, step, &effects).await {
                    Ok(()) | Err(EngineError::Uncertain(_)) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(())
    }

    /// Fails, so that it is looked at again, while a refusal rests on something GitHub did not find just now.
    async fn wait_for_certainty(
        &self,
        repository: &RepositoryName,
        step: &Step,
        effects: &[Effect],
    ) -> Result<(), EngineError> {
        let refused = effects.iter().filter_map(|effect| match effect {
            Effect::Refuse(refusal) => Some(format!("{}: {}", refusal.path, refusal.reason)),
            Effect::Policy(PolicyStep::Unverified(reason)) => Some(format!("{FOLDER}: {reason}")),
            _ => None,
        });
        let refused: Vec<String> = refused.collect();
        let Some(first) = refused.first() else { return Ok(()) };
        match self.is_certain(&format!("{repository} {}", step.tip), &refused.join("\n")).await? {
            true => Ok(()),
            false => Err(EngineError::Uncertain(format!(
                "GitHub did not find all that {} rests on; unless it does, this is refused: {first}",
                step.tip.short()
            ))),
        }
    }

    /// What is new among the effects of a step. A grant begins once: whoever puts an old commit in the line again, or rewrites
    /// history, does not begin it again, and ends nobody else's by it.
    async fn news(
        &self,
        repository: &RepositoryName,
        effects: Vec<Effect>,
        reading: Reading,
    ) -> Result<Vec<Effect>, EngineError> {
        let mut news = Vec::new();
        for effect in effects {
            match effect {
                Effect::Begin(grant) if mutants::is(Mutant::BeginAgain) => news.push(Effect::Begin(grant)),
                Effect::Begin(grant) => match self.inner.store.grant(repository, &grant.id).await? {
                    None => news.push(Effect::Begin(grant)),
                    Some(row) if matches!(row.grant.state, State::Ended { .. }) => news.push(Effect::Over(grant.id)),
                    Some(_) => {}
                },
                // What was removed in between may have come back since; the whole is compared afterwards.
                Effect::Remove(_) if reading == Reading::Again => {}
                effect => news.push(effect),
            }
        }
        Ok(news)
    }

    /// Ends live grants whose file is not on the default branch; how many. If its history was rewritten since `known`, that goes on
    /// record.
    pub(super) async fn end_what_is_gone(
        &self,
        claim: &Claim,
        github: &Repository,
        repository: &RepositoryName,
        (known, head): (Option<&str>, &CommitId),
    ) -> Result<usize, EngineError> {
        let files = self.files(github, head).await?;
        let there = grant_files(&files);
        let live = self.inner.store.live_grants().await?;
        let gone: Vec<GrantRow> = live
            .into_iter()
            .filter(|row| row.repository == *repository && !there.contains_key(&row.grant.id.slug))
            .collect();
        let (now, ended) = (self.inner.clock.now(), gone.len());
        let mut tx = self.inner.store.begin().await?;
        tx.assert_held(claim).await?;
        if let Some(known) = known {
            let details = json!({ "before": known, "after": head });
            tx.record(&Event::new(repository, EventKind::HistoryRewritten, known, head, now, details)).await?;
        }
        for row in gone {
            self.end(&mut tx, row, EndReason::Revoked, now).await?;
        }
        tx.commit().await?;
        Ok(ended)
    }

    /// Whether Daypass merged the pull request of a step.
    pub(super) async fn merged_it(&self, step: &Step) -> Result<bool, EngineError> {
        let Some(PullRequest { state: PullState::Merged { by: Some(by), .. }, .. }) = &step.pull else {
            return Ok(false);
        };
        Ok(by.bot && by.login.as_str() == self.inner.github.me().await?.login())
    }

    /// What may be applied for a grant that a new database finds: a database before this one may have done it, and then it
    /// has to be taken away at the end. What was there before any grant, the pull request tells. Of a file that is not
    /// verified (now), it also tells whether it ever was, unless Daypass merged it (`was_due`). What is told there never
    /// gives access; it only ends some, or leaves alone what was there before.
    pub(super) async fn perhaps_applied(
        &self,
        github: &Repository,
        repository: &RepositoryName,
        grant: &Grant,
        was_due: bool,
    ) -> Result<Vec<(Entitlement, Applied)>, EngineError> {
        if self.inner.clock.now() < grant.window.starts_at || mutants::is(Mutant::ForgetAppliedWithDatabase) {
            return Ok(Vec::new());
        }
        let id = message_id(repository, &grant.id, "applied");
        let told = self.posted(github, grant.id.pull_request, &id).await?;
        if told.is_none() && !was_due {
            return Ok(Vec::new());
        }
        // An edited comment could claim that access was always there, and so keep it for ever.
        let told = told.filter(|comment| !comment.edited).map(|comment| comment.body).unwrap_or_default();
        let holders = BTreeSet::from([GrantRef { repository: repository.clone(), id: grant.id.clone() }]);
        let perhaps = |entitlement: &Entitlement| {
            let line = words::left_alone(&entitlement.to_string());
            let standing = told.lines().any(|told| told == line);
            (entitlement.clone(), Applied { progress: Progress::Granting, standing, holders: holders.clone() })
        };
        Ok(grant.entitlements.iter().map(perhaps).collect())
    }

    /// Whether a grant was ended by a command before the database was lost, and its file is still there: the pull request was told so.
    /// Whoever can write that there ends access, and gives none.
    async fn was_revoked(
        &self,
        github: &Repository,
        repository: &RepositoryName,
        id: &GrantId,
    ) -> Result<bool, EngineError> {
        Ok(self.posted(github, id.pull_request, &message_id(repository, id, "revoked")).await?.is_some())
    }

    /// What is known of what may be applied.
    pub(super) async fn known_of(
        &self,
        found: &[(Entitlement, Applied)],
    ) -> Result<BTreeMap<Entitlement, Applied>, EngineError> {
        let mut known = BTreeMap::new();
        for (entitlement, _) in found {
            known.extend(self.inner.store.held_one(entitlement).await?.map(|held| (entitlement.clone(), held.applied)));
        }
        Ok(known)
    }

    async fn effects(
        &self,
        github: &Repository,
        repository: &RepositoryName,
        step: &Step,
        first: bool,
        in_force: Option<&InForceSince>,
    ) -> Result<Vec<Effect>, EngineError> {
        let (before, after) = (grant_files(&step.before), grant_files(&step.after));
        let mut effects: Vec<Effect> =
            before.keys().filter(|slug| !after.contains_key(*slug)).cloned().map(Effect::Remove).collect();
        let mut origin = None;
        for (slug, file) in
            after.iter().filter(|(slug, file)| before.get(*slug).map(|file| &file.blob) != Some(&file.blob))
        {
            let live = self.inner.store.live_grant(repository, slug).await?;
            if let Some(row) = live.filter(|row| row.grant.blob == file.blob) {
                // Verified when it was merged; approvers may have left since. Or back to what was approved, after a refused edit.
                let verified = row.grant.merge_commit == step.tip;
                if verified || step.pull.is_none() || self.is_own_step(step).await? {
                    continue;
                }
            }
            if origin.is_none() {
                origin = Some(self.origin(github, repository, step, in_force).await?);
            }
            let verified = match &origin {
                Some(Origin::Due(judged, settings)) => self.grant_of(step, judged, settings, slug, &file.blob),
                Some(Origin::Unverified { reason, judged }) => {
                    let doubt = judged.as_ref().filter(|_| first);
                    let doubt = doubt.map(|judged| self.grant_of(step, judged, &Settings::default(), slug, &file.blob));
                    effects.extend(doubt.and_then(Result::ok).map(|grant| Effect::Doubt(Box::new(grant))));
                    Err(reason.clone())
                }
                None => Err("its origin is unknown".to_owned()),
            };
            if verified.is_err() && mutants::is(Mutant::IgnoreUnverified) {
                continue;
            }
            effects.push(match verified {
                Ok(grant) => Effect::Begin(Box::new(grant)),
                Err(reason) => Effect::refuse(&crate::policy::request::path_of(slug), &file.blob, step, reason),
            });
        }
        if let Some(in_force) = in_force
            && self.is_new_policy(github, repository, step, in_force).await?
        {
            let origin = match origin {
                Some(origin) => origin,
                None => self.origin(github, repository, step, Some(in_force)).await?,
            };
            effects.push(Effect::Policy(self.policy_step(github, repository, step, in_force, &origin).await?));
        }
        // What lies in `grants/` but can be no grant.
        for (path, file) in step.after.iter().filter(|(path, _)| path.to_ascii_lowercase().starts_with("grants/")) {
            let is_grant = file.mode == FileMode::Regular && crate::access::change::slug_of(path).is_ok();
            if !is_grant && step.before.get(path) != Some(file) && !is_placeholder(path) {
                effects.push(Effect::refuse(path, &file.blob, step, "it is no grant file".to_owned()));
            }
        }
        Ok(effects)
    }

    async fn is_own_step(&self, step: &Step) -> Result<bool, EngineError> {
        match &step.pull {
            Some(pull) => self.is_own(pull).await,
            None => Ok(false),
        }
    }

    /// A verified grant begins, is scheduled, or, found too late, is over already. `details` are what else goes on record.
    async fn begin_grant(
        &self,
        tx: &mut Tx,
        repository: &RepositoryName,
        grant: Grant,
        mut details: serde_json::Value,
        now: DateTime<Utc>,
    ) -> Result<(), EngineError> {
        let of_grant = json!({ "grant": grant.id, "subject": grant.subject, "requester": grant.requester,
            "role": grant.role, "window": grant.window, "approvers": grant.approvers, "merge_commit": grant.merge_commit,
            "blob": grant.blob, "reason": grant.reason, "ticket": grant.ticket, "break_glass": grant.break_glass,
            "entitlements": grant.entitlements, "chain": grant.chain });
        if let (Some(details), serde_json::Value::Object(of_grant)) = (details.as_object_mut(), of_grant) {
            details.extend(of_grant);
        }
        tx.record(&Event::new(repository, EventKind::Granted, &grant.id, &grant.merge_commit, now, details)).await?;
        tx.schedule(&Job::Grant(repository.clone(), grant.id.clone()), now).await?;
        for entitlement in &grant.entitlements {
            tx.schedule(&Job::Target(entitlement.target.clone()), now).await?;
        }
        if grant.break_glass {
            tx.schedule(&Job::Emergency(repository.clone(), grant.id.clone()), now).await?;
        }
        // Its check run gets its buttons.
        tx.schedule(&Job::Pull(repository.clone(), grant.id.pull_request), now).await?;
        if grant.state == State::Scheduled {
            let body = words::scheduled(&grant);
            self.say(tx, repository, &grant, "scheduled", body, now).await?;
        }
        tx.put_grant(&GrantRow { repository: repository.clone(), grant, revert_pull: None }).await?;
        Ok(())
    }

    /// Asks for a message on the pull request a grant came from.
    pub(super) async fn say(
        &self,
        tx: &mut Tx,
        repository: &RepositoryName,
        grant: &Grant,
        occasion: &str,
        body: String,
        now: DateTime<Utc>,
    ) -> Result<(), EngineError> {
        let pull = grant.id.pull_request;
        let message = Message { id: message_id(repository, &grant.id, occasion), body };
        if tx.say(repository, pull, &message, now).await? {
            tx.schedule(&Job::Messages(repository.clone(), pull), now).await?;
        }
        Ok(())
    }
}

impl Effect {
    fn slug(&self) -> Option<Slug> {
        match self {
            Self::Begin(grant) => Some(grant.id.slug.clone()),
            Self::Remove(slug) => Some(slug.clone()),
            Self::Refuse(_) | Self::Doubt(_) | Self::Over(_) | Self::Policy(_) => None,
        }
    }

    fn refuse(path: &str, blob: &BlobId, step: &Step, reason: String) -> Self {
        Self::Refuse(Refusal {
            path: path.to_owned(),
            blob: blob.to_string(),
            commit: step.tip.to_string(),
            reason,
            revert_pull: None,
            issue: None,
        })
    }
}

/// The policies in force while a line of steps was made.
struct Policies {
    now: Option<InForceSince>,
    /// Those that came by one of the steps, as the record tells.
    record: Vec<InForceSince>,
}

impl Policies {
    /// The one in force before a step; those the steps before it brought are known from the record.
    fn before(&mut self, step: &Step) -> Option<&InForceSince> {
        let brought = self.record.iter().rposition(|policy| Some(policy.since()) == step.base.as_ref());
        if let Some(brought) = brought {
            self.now = Some(self.record.remove(brought));
        }
        self.now.as_ref()
    }
}

/// Writes what may be applied, together with what is known of it, and asks for a look at its targets.
pub(super) async fn put_perhaps(
    tx: &mut Tx,
    found: Vec<(Entitlement, Applied)>,
    mut known: BTreeMap<Entitlement, Applied>,
    now: DateTime<Utc>,
) -> Result<(), EngineError> {
    for (entitlement, applied) in found {
        let applied = perhaps(applied, known.remove(&entitlement));
        tx.put_held(&entitlement, &applied, None, now).await?;
        tx.schedule(&Job::Target(entitlement.target.clone()), now).await?;
    }
    Ok(())
}

/// What may be applied, together with what is known of it.
fn perhaps(applied: Applied, known: Option<Applied>) -> Applied {
    let Some(known) = known else { return applied };
    let holders = known.holders.union(&applied.holders).cloned().collect();
    Applied { holders, ..known }
}

/// A file that keeps an otherwise empty `grants/` in git, or explains it.
pub(super) fn is_placeholder(path: &str) -> bool {
    matches!(path, "grants/.gitkeep" | "grants/README.md")
}

fn policy_files(files: &BTreeMap<String, TreeFile>) -> Vec<(&String, &BlobId)> {
    files.iter().filter(|(path, _)| path.starts_with("policies/")).map(|(path, file)| (path, &file.blob)).collect()
}
