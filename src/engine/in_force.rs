//! The policy in force: the newest one that was verified (I7). What lies on the default branch is not it by lying there.
//!
//! The first is the one that is there when Daypass first looks: it is adopted, which is on record. Each later one was approved under
//! the one before it, or an operator said that it counts. Which is in force is told by the record alone, so a new database knows it
//! from the ledger. See `docs/decisions/0013-verified-policy.md`.

use std::sync::Arc;

use serde_json::json;

use super::provenance::{Origin, Step};
use super::{Engine, EngineError, LEASE};
use crate::access::change::merged;
use crate::access::facts::TreeFile;
use crate::access::in_force::{Files, POLICIES, differing, same_policy};
use crate::github::{GithubError, Repository};
use crate::ledger::details::policy_tree;
use crate::ledger::{Event, EventKind, InForceSince};
use crate::mutants::{self, Mutant};
use crate::policy::Loaded;
use crate::policy::name::{CommitId, RepositoryName};
use crate::store::{Claim, Job, Refusal, Tx};

/// The folder, as the path of what is refused and taken back when it is not in force.
pub(super) const FOLDER: &str = "policies";

/// What is known of a policy that no step brought.
const NOT_IN_FORCE: &str = "it is not the one in force: nobody approved it, or the default branch was set back to it";

/// The policy something is judged under.
#[derive(Clone)]
pub(super) struct InForce {
    /// A commit at which it can be read.
    pub commit: CommitId,
    /// The files at that commit.
    pub files: Files,
    /// The policy, or what is wrong with it.
    pub loaded: Arc<Loaded>,
    /// Whether the default branch holds it.
    pub standing: Standing,
}

/// What the default branch holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// The policy in force.
    InForce,
    /// A policy nobody approved.
    Unverified,
    /// Something that was not read yet: the next policy perhaps.
    Unread,
}

/// What a step makes of the policy.
pub(super) enum PolicyStep {
    /// It is in force from here on.
    InForce,
    /// It is not, and why.
    Unverified(String),
}

impl Engine {
    /// The policies that are, or were, in force, oldest first.
    pub(super) async fn policies_on_record(
        &self,
        repository: &RepositoryName,
    ) -> Result<Vec<InForceSince>, EngineError> {
        let events = self.inner.store.events_in_order(repository, EventKind::PolicyInForce).await?;
        // Those of another version do not say it like this.
        Ok(events.into_iter().filter_map(|event| serde_json::from_value(event.details).ok()).collect())
    }

    /// The policy in force while the default branch is at `head`.
    pub(super) async fn in_force(
        &self,
        github: &Repository,
        repository: &RepositoryName,
        head: &CommitId,
    ) -> Result<InForce, EngineError> {
        let files = self.files(github, head).await?;
        let newest = self.policies_on_record(repository).await?.pop();
        let newest = newest.filter(|_| !mutants::is(Mutant::TrustEveryPolicy));
        let is_read = async || self.has_read(repository, head).await;
        match newest {
            Some(newest) if policy_tree(&files).as_ref() != Some(&newest.policy) => {
                let standing = if is_read().await? { Standing::Unverified } else { Standing::Unread };
                let files = self.files_in_force(github, &newest).await?;
                let loaded = self.policy_of(github, &files).await?;
                Ok(InForce { commit: newest.commit, files, loaded, standing })
            }
            newest => {
                let known = newest.is_some() || is_read().await?;
                let standing = if known { Standing::InForce } else { Standing::Unread };
                let loaded = self.policy_of(github, &files).await?;
                Ok(InForce { commit: head.clone(), files, loaded, standing })
            }
        }
    }

    /// The files of a policy that is, or was, in force.
    pub(super) async fn files_in_force(
        &self,
        github: &Repository,
        policy: &InForceSince,
    ) -> Result<Files, EngineError> {
        match self.files(github, &policy.commit).await {
            Err(EngineError::Github(GithubError::NotFound { .. })) => Err(EngineError::NotYet(format!(
                "GitHub does not have commit {} any more, which holds the policy in force; say which one counts with \
                 `daypass policy trust COMMIT`",
                policy.commit
            ))),
            files => files,
        }
    }

    /// Sees that it is known what earlier databases put on record: which policy is in force is told there.
    pub(super) async fn know_the_record(&self, repository: &RepositoryName) -> Result<(), EngineError> {
        if self.inner.store.ledger(repository).await?.is_some_and(|position| position.complete) {
            return Ok(());
        }
        let (store, now, job) = (&self.inner.store, self.inner.clock.now(), Job::Ledger(repository.clone()));
        let mut tx = store.begin().await?;
        tx.schedule(&job, now).await?;
        tx.commit().await?;
        let Some(claim) = store.claim_job(&job, now, LEASE).await? else {
            return Err(EngineError::NotYet(format!("another process takes in the ledger of {repository}")));
        };
        match self.read_whole_ledger(&claim, repository).await {
            Ok(_) => self.again(&claim).await,
            Err(error) => {
                self.postpone(&claim, &error).await?;
                Err(error)
            }
        }
    }

    /// Adopts the policy at `head` if none ever was in force; whether none was. One that cannot be read is not adopted: nobody could
    /// change it.
    pub(super) async fn adopt(
        &self,
        claim: &Claim,
        github: &Repository,
        repository: &RepositoryName,
        head: &CommitId,
    ) -> Result<bool, EngineError> {
        if !self.policies_on_record(repository).await?.is_empty() {
            return Ok(false);
        }
        let files = self.files(github, head).await?;
        let (Some(tree), true) = (policy_tree(&files), self.policy_of(github, &files).await?.policy.is_some()) else {
            return Ok(true);
        };
        tracing::info!(%repository, commit = %head, "the policy that is there is adopted");
        let now = self.inner.clock.now();
        let details = json!({ "commit": head, "policy": tree, "how": "adopted" });
        let mut tx = self.inner.store.begin().await?;
        tx.assert_held(claim).await?;
        tx.record(&Event::new(repository, EventKind::PolicyInForce, "policy", head, now, details)).await?;
        tx.schedule(&Job::Sweep(repository.clone()), now).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// The newest policy on record that was in force at `commit` or before it.
    pub(super) async fn in_force_at(
        &self,
        github: &Repository,
        record: &[InForceSince],
        commit: &CommitId,
    ) -> Result<Option<InForceSince>, EngineError> {
        for policy in record.iter().rev() {
            let before = match github.is_ancestor(policy.since(), commit).await {
                // No commit in common, or it is gone.
                Err(GithubError::NotFound { .. }) => false,
                before => before?,
            };
            if before {
                return Ok(Some(policy.clone()));
            }
        }
        Ok(None)
    }

    /// What a step makes of the policy; nothing if that stays, or goes back to what is in force. `origin` is asked for where the step
    /// came from.
    pub(super) async fn policy_step(
        &self,
        github: &Repository,
        repository: &RepositoryName,
        step: &Step,
        in_force: &InForceSince,
        origin: &Origin,
    ) -> Result<PolicyStep, EngineError> {
        let why = match origin {
            Origin::Due(judged, _) => {
                let approved = self.files_in_force(github, in_force).await?;
                if same_policy(&merged(&approved, &judged.changed, &judged.head_files), &step.after) {
                    return Ok(PolicyStep::InForce);
                }
                let number = judged.facts.pull.number;
                format!("it is not what was approved in pull request {number}")
            }
            Origin::Unverified { reason, .. } => reason.clone(),
        };
        tracing::warn!(%repository, commit = %step.tip, why, "the policy was changed, and is not in force");
        Ok(PolicyStep::Unverified(why))
    }

    /// Whether a step changes the policy to another one than is in force, and nobody has looked at that yet.
    pub(super) async fn is_new_policy(
        &self,
        github: &Repository,
        repository: &RepositoryName,
        step: &Step,
        in_force: &InForceSince,
    ) -> Result<bool, EngineError> {
        if same_policy(&step.before, &step.after) || policy_tree(&step.after).as_ref() == Some(&in_force.policy) {
            return Ok(false);
        }
        let known = unverified(repository, &step.tip);
        if self.inner.store.event(&known).await?.is_some() {
            return Ok(false);
        }
        let record = self.policies_on_record(repository).await?;
        if record.iter().any(|policy| policy.commit == step.tip) {
            return Ok(false);
        }
        // History is read again: what came before a policy that was verified says nothing about it.
        let Some(newest) = record.last() else { return Ok(true) };
        match github.is_ancestor(&step.tip, &newest.commit).await {
            Err(GithubError::NotFound { .. }) => Ok(true),
            before => Ok(!before?),
        }
    }

    /// What is to be taken back if the default branch holds another policy than the one in force, and that is not known yet.
    pub(super) async fn stray_policy(
        &self,
        github: &Repository,
        repository: &RepositoryName,
        head: &CommitId,
    ) -> Result<Option<Refusal>, EngineError> {
        let Some(newest) = self.policies_on_record(repository).await?.pop() else { return Ok(None) };
        let tree = policy_tree(&self.files(github, head).await?).unwrap_or_default();
        let known = self.inner.store.refusals(repository).await?;
        let is_known = known.iter().any(|refusal| refusal.path == FOLDER && refusal.blob == tree);
        if tree == newest.policy || is_known || mutants::is(Mutant::TrustEveryPolicy) {
            return Ok(None);
        }
        Ok(Some(stray(tree, head, NOT_IN_FORCE.to_owned())))
    }

    /// The changes that bring the policy at `head` back to the one in force.
    pub(super) async fn restoration(
        &self,
        github: &Repository,
        in_force: &InForceSince,
        at_head: &Files,
    ) -> Result<Vec<(String, Option<Vec<u8>>)>, EngineError> {
        let wanted = self.files_in_force(github, in_force).await?;
        let mut changes = Vec::new();
        for path in differing(&wanted, at_head) {
            let content = match wanted.get(path) {
                Some(file) => Some(self.policy_text(github, file).await?),
                None => None,
            };
            changes.push((path.to_owned(), content));
        }
        Ok(changes)
    }

    /// Whether a commit of ours takes the policy back to the one in force, and does nothing else.
    pub(super) async fn restores_policy(
        &self,
        github: &Repository,
        repository: &RepositoryName,
        commit: &CommitId,
        paths: impl Iterator<Item = &str>,
    ) -> Result<bool, EngineError> {
        let Some(newest) = self.policies_on_record(repository).await?.pop() else { return Ok(false) };
        let files = self.files(github, commit).await?;
        Ok(paths.into_iter().all(|path| path.starts_with(POLICIES)) && policy_tree(&files) == Some(newest.policy))
    }

    /// An operator says that the policy at `commit` is in force from now on, whoever approved it. The tree it has.
    ///
    /// # Errors
    ///
    /// If it cannot be read, or is broken: under that nobody could ask for anything.
    pub async fn trust_policy(
        &self,
        repository: &RepositoryName,
        commit: &CommitId,
        reason: &str,
    ) -> Result<String, EngineError> {
        let (github, branch) = self.open(repository).await?;
        let since = github.head(&branch).await?;
        self.know_the_record(repository).await?;
        let files = self.files(&github, commit).await?;
        let loaded = self.policy_of(&github, &files).await?;
        let (Some(tree), Some(_)) = (policy_tree(&files), &loaded.policy) else {
            let first = loaded.findings.first().map_or("there is none".to_owned(), |first| {
                format!("{}:{}: {}", first.file, first.place.line, first.message)
            });
            return Err(EngineError::NotYet(format!("the policy at {commit} cannot be used: {first}")));
        };
        let (before, now) = (self.policies_on_record(repository).await?.pop(), self.inner.clock.now());
        let details = json!({ "commit": commit, "policy": tree, "how": "trusted", "reason": reason, "since": since,
            "before": before.map(|before| before.commit) });
        let occasion = format!("{commit}-{}", now.timestamp());
        let mut tx = self.inner.store.begin().await?;
        tx.record(&Event::new(repository, EventKind::PolicyInForce, "policy", occasion, now, details)).await?;
        tx.schedule(&Job::Sync(repository.clone()), now).await?;
        tx.schedule(&Job::Sweep(repository.clone()), now).await?;
        tx.commit().await?;
        Ok(tree)
    }

    async fn policy_text(&self, github: &Repository, file: &TreeFile) -> Result<Vec<u8>, EngineError> {
        self.text(github, file, super::snapshot::POLICY_LIMIT).await
    }
}

/// The id of the event that tells that the policy a commit brought is not in force.
fn unverified(repository: &RepositoryName, commit: &CommitId) -> String {
    format!("{repository}/policy/{}/{commit}", EventKind::PolicyUnverified)
}

/// A policy that is not in force, as it is taken back.
pub(super) fn stray(tree: String, commit: &CommitId, reason: String) -> Refusal {
    Refusal { path: FOLDER.to_owned(), blob: tree, commit: commit.to_string(), reason, revert_pull: None, issue: None }
}

/// Puts it on record, and asks for it to be taken back.
pub(super) async fn note_stray(
    tx: &mut Tx,
    repository: &RepositoryName,
    refusal: &Refusal,
    (pull, in_force): (Option<u64>, &CommitId),
    now: chrono::DateTime<chrono::Utc>,
) -> Result<(), EngineError> {
    tx.put_refusal(repository, refusal).await?;
    let details = json!({ "commit": refusal.commit, "pull_request": pull, "policy": refusal.blob,
        "in_force": in_force, "reason": refusal.reason });
    tx.record(&Event::new(repository, EventKind::PolicyUnverified, "policy", &refusal.commit, now, details)).await?;
    tx.schedule(&Job::Cleanse(repository.clone()), now).await?;
    Ok(())
}
