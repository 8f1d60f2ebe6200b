//! Provenance: whether content of the default branch came by a pull request that was due.
//!
//! A merge proves nothing by itself: administrators can merge past a red check, and whoever may push can push. So each step of
//! the default branch is judged again, after the fact, under the policy that was in force before it, with the reviews that GitHub
//! reports for the merged head (I1, I7).

use std::collections::BTreeMap;

use super::facts::{Ground, Judged};
use super::{Engine, EngineError};
use crate::access::decide::{Decision, Verdict};
use crate::access::facts::{PullRequest, PullState, TreeFile};
use crate::access::grant::{Grant, GrantId, State};
use crate::github::{GithubError, Repository};
use crate::ledger::InForceSince;
use crate::ledger::details::policy_tree;
use crate::mutants::{self, Mutant};
use crate::policy::Severity;
use crate::policy::model::Settings;
use crate::policy::name::{BlobId, CommitId, RepositoryName, Slug};
use crate::policy::request::path_of;

/// One step of the default branch: a merge, a squashed commit, a rebased series, or a direct push.
#[derive(Debug, Clone)]
pub(super) struct Step {
    /// The commit before it.
    pub base: Option<CommitId>,
    /// The commit it ends at.
    pub tip: CommitId,
    /// The merged pull request that made it, if any.
    pub pull: Option<PullRequest>,
    /// The files before it.
    pub before: BTreeMap<String, TreeFile>,
    /// The files after it.
    pub after: BTreeMap<String, TreeFile>,
}

/// What was found out about a step.
pub(super) enum Origin {
    /// It came by a pull request that was due; here is the judgement.
    Due(Box<Judged>, Box<Settings>),
    /// It did not.
    Unverified {
        /// Why, as a sentence.
        reason: String,
        /// The judgement of the pull request that brought it, if one did.
        judged: Option<Box<Judged>>,
    },
}

impl Origin {
    fn unverified(reason: impl Into<String>) -> Self {
        Self::Unverified { reason: reason.into(), judged: None }
    }
}

impl Engine {
    /// Finds out where a step came from. It is judged under the policy that was `in_force` before it; where none was on record yet, under
    /// the one of the commit before it.
    pub(super) async fn origin(
        &self,
        github: &Repository,
        repository: &RepositoryName,
        step: &Step,
        in_force: Option<&InForceSince>,
    ) -> Result<Origin, EngineError> {
        let Some(pull) = &step.pull else {
            return Ok(Origin::unverified("no merged pull request brought it"));
        };
        let Some(base) = &step.base else {
            return Ok(Origin::unverified("there is no policy before it"));
        };
        let (commit, files) = match in_force {
            Some(one) if policy_tree(&step.before).as_ref() != Some(&one.policy) => {
                (&one.commit, self.files_in_force(github, one).await?)
            }
            _ => (base, step.before.clone()),
        };
        let loaded = self.policy_of(github, &files).await?;
        let Some(policy) = &loaded.policy else {
            return Ok(Origin::unverified(format!("the policy at {} was broken when it was merged", commit.short())));
        };
        let ground = Ground { policy, in_force: &files, base, before: &step.before };
        let judged = match self.judge(github, repository, pull.clone(), ground).await {
            Err(EngineError::Github(error @ GithubError::Invalid { .. })) => {
                return Ok(Origin::unverified(format!("pull request {} cannot be read in full: {error}", pull.number)));
            }
            judged => judged?,
        };
        let why = match judged.judgement.verdict() {
            _ if mutants::is(Mutant::TrustEveryMerge) => {
                return Ok(Origin::Due(Box::new(judged), Box::new(policy.settings.clone())));
            }
            Some(Verdict::Approved) => return Ok(Origin::Due(Box::new(judged), Box::new(policy.settings.clone()))),
            Some(Verdict::Refused) => {
                let findings = judged.judgement.all_findings();
                let first = findings.iter().find(|finding| finding.severity == Severity::Error);
                first.map_or("it breaks a rule".to_owned(), |finding| finding.message.clone())
            }
            Some(Verdict::Objected) => "an approver had requested changes".to_owned(),
            Some(Verdict::Waiting) => "its approvals were missing when it was merged".to_owned(),
            None => "it changes nothing Daypass decides".to_owned(),
        };
        let reason = format!("pull request {} was merged although {why}", pull.number);
        Ok(Origin::Unverified { reason, judged: Some(Box::new(judged)) })
    }

    /// The grant that a due step gives for one file, or why it gives none.
    pub(super) fn grant_of(
        &self,
        step: &Step,
        judged: &Judged,
        settings: &Settings,
        slug: &Slug,
        blob: &BlobId,
    ) -> Result<Grant, String> {
        let (Some(PullRequest { number, .. }), Some(requester)) = (&step.pull, judged.facts.requester()) else {
            return Err("no merged pull request with a living author brought it".to_owned());
        };
        let decided: Option<&Decision> =
            judged.judgement.requests.iter().find(|decision| decision.request.slug == *slug);
        // What was approved is the head of the pull request. A merge can be made to say something else.
        let approved = judged.head_files.get(&path_of(slug)).map(|file| &file.blob);
        let is_approved = approved == Some(blob) || mutants::is(Mutant::ApplyOtherContent);
        let (Some(decision), true) = (decided, is_approved) else {
            return Err(format!("its content is not what was approved in pull request {number}"));
        };
        let Some(subject) = &decision.subject else { return Err("it names nobody".to_owned()) };
        let request = &decision.request;
        let revert_at = Grant::revert_at(decision.window, settings.revert_lead_for(request.duration));
        let begins =
            matches!(&judged.facts.pull.state, PullState::Merged { at, .. } if *at < decision.window.starts_at);
        Ok(Grant {
            id: GrantId { slug: slug.clone(), pull_request: *number },
            subject: subject.clone(),
            requester: requester.clone(),
            role: request.role.clone(),
            reason: request.reason.clone(),
            ticket: request.ticket.clone(),
            break_glass: request.break_glass,
            approvers: decision.approval.iter().flat_map(|approval| approval.approvers().cloned()).collect(),
            window: decision.window,
            revert_at,
            merge_commit: step.tip.clone(),
            blob: blob.clone(),
            entitlements: decision.entitlements.clone(),
            chain: decision.extends.as_ref().map(|extension| extension.chain.clone()),
            state: if begins { State::Scheduled } else { State::Active },
        })
    }
}
