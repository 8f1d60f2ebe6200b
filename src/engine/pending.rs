//! Requests that wait: too long, for what is over, or with approvals that were given for something else.

use chrono::{DateTime, Utc};

use super::facts::Judged;
use super::pull_request::ignore_refusal;
use super::{Engine, EngineError, answers};
use crate::access::change::Subject;
use crate::access::decide::Verdict;
use crate::access::extension::NoExtension;
use crate::access::facts::PullRequest;
use crate::access::forfeit::Forfeit;
use crate::github::Repository;
use crate::ledger::{Event, EventKind};
use crate::policy::Policy;
use crate::policy::name::RepositoryName;
use crate::store::{Claim, Job, Message};

/// How the marks begin that tell which approvals were returned.
pub(super) const RETURNED: &str = "returned";

/// When an open pull request is given up, unless it is approved.
pub(super) fn given_up_at(judged: &Judged, policy: &Policy) -> Option<DateTime<Utc>> {
    let is_request = matches!(judged.judgement.subject, Subject::Grants(_)) && !judged.judgement.requests.is_empty();
    let is_pending = judged.judgement.verdict() != Some(Verdict::Approved);
    let timeout = policy.settings.pending_timeout.delta();
    let after = judged.facts.pull.created_at.checked_add_signed(timeout).filter(|_| is_request && is_pending);
    // Approved or not, what is over cannot be extended.
    let over = judged.facts.extends.as_ref().map(|extension| extension.until);
    [after, over].into_iter().flatten().min()
}

impl Engine {
    /// Closes a request that is given up; false if it is not.
    pub(super) async fn give_up(
        &self,
        claim: &Claim,
        github: &Repository,
        repository: &RepositoryName,
        judged: &Judged,
        policy: &Policy,
    ) -> Result<bool, EngineError> {
        let (pull, now) = (&judged.facts.pull, self.inner.clock.now());
        let over = judged.no_extension == Some(NoExtension::Over);
        if !over && given_up_at(judged, policy).is_none_or(|at| now < at) {
            return Ok(false);
        }
        let body = match over {
            true => answers::EXTENSION_OVER.to_owned(),
            false => answers::timed_out(policy.settings.pending_timeout),
        };
        let why = if over { "what it extends is over" } else { "nobody approved it in time" };
        // As old as its last opening: whoever opens it again gets the whole time again.
        let since = pull.created_at.timestamp();
        let details = serde_json::json!({ "pull_request": pull.number, "head": pull.head, "reason": why });
        let event = Event::new(repository, EventKind::Rejected, format!("pull-{}", pull.number), since, now, details);
        let message = Message { id: format!("{repository}/pull-{}/rejected-{since}", pull.number), body };
        let mut tx = self.inner.store.begin().await?;
        tx.assert_held(claim).await?;
        tx.record(&event).await?;
        if tx.say(repository, pull.number, &message, now).await? {
            tx.schedule(&Job::Messages(repository.clone(), pull.number), now).await?;
        }
        tx.commit().await?;
        github.close_pull(pull.number).await?;
        Ok(true)
    }

    /// Tells whose approvals no longer count and why, dismisses them, and asks again. What is told is durable first: a dismissed
    /// review no longer shows that it was one.
    pub(super) async fn return_approvals(
        &self,
        github: &Repository,
        repository: &RepositoryName,
        judged: &Judged,
        policy: &Policy,
    ) -> Result<(), EngineError> {
        let (pull, now) = (&judged.facts.pull, self.inner.clock.now());
        for (review, why) in &judged.forfeited {
            let Some(by) = &review.author else { continue };
            if !judged.may_be_denied_by(by, policy, &judged.directory) {
                continue;
            }
            let word = if *why == Forfeit::Pushed { "pushed" } else { "reopened" };
            let id = format!("{repository}/pull-{}/review-{}-{word}", pull.number, review.id);
            // GitHub may refuse to dismiss it; that is not tried for ever.
            let mark = format!("{RETURNED} {id}");
            if self.inner.store.mark(&mark).await?.is_some() {
                continue;
            }
            let message = Message { id, body: answers::forfeited(review, by, *why) };
            let mut tx = self.inner.store.begin().await?;
            if tx.say(repository, pull.number, &message, now).await? {
                tx.schedule(&Job::Messages(repository.clone(), pull.number), now).await?;
            }
            tx.commit().await?;
            ignore_refusal(github.request_reviewers(pull.number, std::slice::from_ref(&by.login), &[]).await)?;
            ignore_refusal(github.dismiss_review(pull.number, review.id, answers::dismissal(*why)).await)?;
            let mut tx = self.inner.store.begin().await?;
            tx.set_mark(&mark, now).await?;
            tx.commit().await?;
        }
        Ok(())
    }

    /// Notes that somebody closed a request. What Daypass closed itself is on record with its reason.
    pub(super) async fn note_closed(
        &self,
        claim: &Claim,
        github: &Repository,
        repository: &RepositoryName,
        pull: &PullRequest,
    ) -> Result<(), EngineError> {
        let extension = self.asks_to_extend(pull).await?;
        let own = !extension && pull.head_branch.starts_with(super::pull_request::OWN_BRANCH);
        let by = if own { None } else { github.closings(pull.number).await?.closed_by };
        let me = self.inner.github.me().await?.login();
        let by_us = by.as_ref().is_some_and(|by| by.bot && by.login.as_str() == me);
        if extension {
            github.delete_branch(&pull.head_branch).await?;
        }
        let mut tx = self.inner.store.begin().await?;
        if !own && !by_us {
            let details = serde_json::json!({ "pull_request": pull.number, "head": pull.head, "by": by });
            let about = format!("pull-{}", pull.number);
            let now = self.inner.clock.now();
            let event = Event::new(repository, EventKind::Withdrawn, about, &pull.head, now, details);
            tx.record(&event).await?;
        }
        self.finish(claim, tx, None).await
    }
}
