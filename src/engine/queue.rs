//! Merge queues: what is about to be merged is judged once more, under the policy it will be merged into, and gets the required
//! check. <https://docs.github.com/en/webhooks/webhook-events-and-payloads#merge_group>

use super::publish::plain_check;
use super::words::{self, Next};
use super::{Engine, EngineError};
use crate::access::decide::Verdict;
use crate::access::facts::PullState;
use crate::github::{Conclusion, GithubError};
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
        let loaded = self.policy_at(&github, base).await?;
        let before = self.files(&github, base).await?;
        let (verdict, words) = match &loaded.policy {
            None => (Some(Verdict::Refused), words::broken_policy(&loaded.findings)),
            Some(policy) => match self.judge(&github, repository, pull, policy, &before).await {
                Err(EngineError::Github(GithubError::Invalid { message })) => {
                    (Some(Verdict::Refused), words::unread(&message))
                }
                judged => {
                    let judgement = judged?.judgement;
                    (judgement.verdict(), words::publication(&judgement, policy, Next::Queued, ""))
                }
            },
        };
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
}
