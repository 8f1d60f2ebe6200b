//! Merge queues: what is about to be merged is judged once more, under the policy it will be merged into, and gets the required
//! check. <https://docs.github.com/en/webhooks/webhook-events-and-payloads#merge_group>

use super::facts::Ground;
use super::in_force::InForce;
use super::publish::plain_check;
use super::words::{self, Next, Publication};
use super::{Engine, EngineError};
use crate::access::decide::Verdict;
use crate::access::facts::{PullRequest, PullState};
use crate::access::in_force::{Files, same_policy};
use crate::github::{Conclusion, GithubError, Repository};
use crate::policy::name::{CommitId, RepositoryName};
use crate::store::{Claim, Published};

impl Engine {
    /// Puts the check on the commit a merge queue made of a pull request. What is merged is verified again afterwards, as anything is:
    /// this only keeps what would be refused then from being merged.
    pub(super) async fn look_at_queue(
        &self,
        claim: &Claim,
        repository: &RepositoryName,
        number: u64,
        commit: &CommitId,
    ) -> Result<(), EngineError> {
        let (github, branch) = self.open(repository).await?;
        // The queue may have moved on since.
        let Some(group) = github.find_commit(commit).await? else { return self.done(claim).await };
        let pull = match github.pull(number).await {
            Err(GithubError::NotFound { .. }) => return self.done(claim).await,
            pull => pull?,
        };
        let Some(base) = group.parents.first().filter(|_| pull.base_branch == branch && pull.state == PullState::Open)
        else {
            return self.done(claim).await;
        };
        let in_force = self.in_force(&github, repository, base).await?;
        let before = self.files(&github, base).await?;
        let ground = (base, &before);
        let (mut verdict, mut words) = self.judge_queued(&github, repository, &pull, ground, &in_force).await?;
        let at_head = self.files(&github, &github.head(&branch).await?).await?;
        if !same_policy(&in_force.files, &before) && !same_policy(&at_head, &before) {
            // A change of the policy is in the queue before it: then it has to pass under that one as well.
            let next = InForce {
                commit: base.clone(),
                files: before.clone(),
                loaded: self.policy_of(&github, &before).await?,
                standing: in_force.standing,
            };
            let then = self.judge_queued(&github, repository, &pull, ground, &next).await?;
            if then.0 < verdict {
                (verdict, words) = then;
            }
        }
        // A queue waits for an answer, and only what is approved gets into it.
        let conclusion = match verdict {
            None => Conclusion::Neutral,
            Some(Verdict::Approved) => Conclusion::Success,
            Some(_) => Conclusion::Failure,
        };
        let check = plain_check(commit, conclusion, &words, format!("queue-{number}"));
        self.publish_check(&github, &Published::default(), commit, check).await?;
        self.done(claim).await
    }

    async fn judge_queued(
        &self,
        github: &Repository,
        repository: &RepositoryName,
        pull: &PullRequest,
        (base, before): (&CommitId, &Files),
        in_force: &InForce,
    ) -> Result<(Option<Verdict>, Publication), EngineError> {
        let Some(policy) = &in_force.loaded.policy else {
            return Ok((Some(Verdict::Refused), words::broken_policy(&in_force.loaded.findings)));
        };
        let ground = Ground { policy, in_force: &in_force.files, base, before };
        match self.judge(github, repository, pull.clone(), ground).await {
            Err(EngineError::Github(GithubError::Invalid { message })) => {
                Ok((Some(Verdict::Refused), words::unread(&message)))
            }
            judged => {
                let judgement = judged?.judgement;
                Ok((judgement.verdict(), words::publication(&judgement, policy, Next::Queued, "")))
            }
        }
    }
}
