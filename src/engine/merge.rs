//! Merging what is approved, where the policy leaves it to Daypass.

use chrono::{DateTime, TimeDelta, Utc};

use super::facts::Judged;
use super::words::{self, Next};
use super::{Engine, EngineError};
use crate::access::facts::PullRequest;
use crate::access::judgement::Judgement;
use crate::github::{MergeOutcome, Repository};
use crate::policy::Policy;
use crate::policy::model::Settings;
use crate::policy::name::{CommitId, RepositoryName};
use crate::store::{Claim, Job, Message, Tx};

/// How long a request waits for the count of those who have the role already.
const COUNT_AGAIN: TimeDelta = TimeDelta::seconds(1);
/// How soon a merge that GitHub refused is tried again.
const TRY_AGAIN: TimeDelta = TimeDelta::minutes(1);

/// A pull request that was judged, and is approved.
pub(super) struct Approved<'a> {
    pub github: &'a Repository,
    pub repository: &'a RepositoryName,
    /// The default branch.
    pub branch: &'a str,
    /// Its head, under whose policy it was judged.
    pub base: &'a CommitId,
    pub judged: &'a Judged,
    pub policy: &'a Policy,
    /// What it would let people do, if it changes the policy.
    pub effect: &'a str,
}

impl Engine {
    /// Merges it at the head that was judged, and says so; or says what keeps it from being merged.
    pub(super) async fn merge_approved(&self, claim: &Claim, approved: &Approved<'_>) -> Result<(), EngineError> {
        let Approved { github, repository, judged, policy, .. } = approved;
        let (judgement, pull, now) = (&judged.judgement, &judged.facts.pull, self.inner.clock.now());
        // What was judged under another policy than the one it would be merged into would be refused afterwards.
        if github.head(approved.branch).await? != *approved.base {
            let tx = self.inner.store.begin().await?;
            return self.finish(claim, tx, Some(now)).await;
        }
        // Where only so many may have a role, what was merged a moment ago counts too.
        if is_limited(judgement, policy) && !self.has_read(repository, approved.base).await? {
            let mut tx = self.inner.store.begin().await?;
            tx.schedule(&Job::Sync((*repository).clone()), now).await?;
            return self.finish(claim, tx, Some(now + COUNT_AGAIN)).await;
        }
        if let Some(obstacle) = self.merge(github, pull, &policy.settings).await? {
            let mut tx = self.inner.store.begin().await?;
            say_obstacle(&mut tx, repository, pull, &obstacle, now).await?;
            return self.finish(claim, tx, Some(now + TRY_AGAIN)).await;
        }
        // First things first: whoever waits for access need not wait for words.
        let mut tx = self.inner.store.begin().await?;
        tx.schedule(&Job::Sync((*repository).clone()), now).await?;
        tx.commit().await?;
        self.wake();
        let words = words::publication(judgement, policy, Next::Merged, approved.effect);
        let findings = judgement.all_findings();
        let published = self.publish(github, repository, pull, judgement.verdict(), &findings, &words).await?;
        let mut tx = self.inner.store.begin().await?;
        tx.set_published(repository.as_str(), pull.number, &published).await?;
        if self.asks_to_extend(pull).await? {
            github.delete_branch(&pull.head_branch).await?;
        }
        self.finish(claim, tx, None).await
    }

    /// Merges an approved pull request at the head that was judged; what keeps GitHub from it, if something does.
    async fn merge(
        &self,
        github: &Repository,
        pull: &PullRequest,
        settings: &Settings,
    ) -> Result<Option<String>, EngineError> {
        Ok(match github.merge(pull.number, &pull.head, settings.merge_method).await? {
            MergeOutcome::Merged(_) => None,
            MergeOutcome::HeadMoved => Some("the branch has moved on; it is judged again".to_owned()),
            MergeOutcome::Refused(message) => Some(format!("GitHub refuses the merge: {message}")),
        })
    }
}

/// Whether it asks for a role of which only so many grants may run.
fn is_limited(judgement: &Judgement, policy: &Policy) -> bool {
    let mut asked = judgement.requests.iter().filter_map(|decision| policy.roles.get(&decision.request.role));
    asked.any(|role| role.limit.is_some())
}

/// Tells what keeps a pull request from being merged: once for each head and reason, and in a comment of its own. In the status
/// comment it would take turns with what is said before each attempt, and each edit would make Daypass look again, for ever.
async fn say_obstacle(
    tx: &mut Tx,
    repository: &RepositoryName,
    pull: &PullRequest,
    obstacle: &str,
    now: DateTime<Utc>,
) -> Result<(), EngineError> {
    let id = format!("{repository}/pull-{}/{}/{obstacle}", pull.number, pull.head);
    if tx.say(repository, pull.number, &Message { id, body: words::obstacle(obstacle) }, now).await? {
        tx.schedule(&Job::Messages(repository.clone(), pull.number), now).await?;
    }
    Ok(())
}
