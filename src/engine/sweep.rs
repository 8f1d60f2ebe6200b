//! Looking at everything without being asked, so that lost webhooks do no harm; and throwing away what is no longer needed.

use chrono::TimeDelta;

use super::{Engine, EngineError, commands, patience, pending};
use crate::access::change::grant_files;
use crate::github::GithubError;
use crate::mutants::{self, Mutant};
use crate::policy::name::RepositoryName;
use crate::store::{Claim, Job};

/// How long delivery ids are remembered: longer than GitHub offers redeliveries.
const DELIVERIES_KEPT: TimeDelta = TimeDelta::days(14);
/// How long it is remembered which approvals were returned.
const RETURNS_KEPT: TimeDelta = TimeDelta::days(90);
/// How long it is remembered who pushed: longer than any grant lasts, for what gave it may be judged again.
const PUSHES_KEPT: TimeDelta = TimeDelta::days(400);
/// How the mark begins that tells until when comments were looked for.
const COMMENTS: &str = "comments";
/// How far back a new database looks for comments that nobody told it of.
const LONGEST_SILENCE: TimeDelta = TimeDelta::days(7);
/// How much earlier than the last look comments are looked for: they are dated by GitHub's clock.
const OVERLAP: TimeDelta = TimeDelta::minutes(10);
/// How long it is remembered what was not certain.
const DOUBTS_KEPT: TimeDelta = TimeDelta::days(1);

impl Engine {
    /// Asks for a look at every open pull request, the default branch and every target. Every live grant has a look coming anyway.
    pub(super) async fn sweep(&self, claim: &Claim, repository: &RepositoryName) -> Result<(), EngineError> {
        let now = self.inner.clock.now();
        // What does not need GitHub comes first and is durable by itself: expiry must not wait for an outage.
        let targets = self.inner.store.targets_in_use().await?;
        let mut tx = self.inner.store.begin().await?;
        let forgotten = tx.schedule_forgotten_grants(repository, now).await?;
        if forgotten > 0 {
            tracing::warn!(%repository, forgotten, "live grants were looked at by nobody");
        }
        for name in targets {
            self.ask_for_sessions(&mut tx, &name, now).await?;
            self.ask_for_drift(&mut tx, &name, now).await?;
            tx.schedule(&Job::Target(name), now).await?;
        }
        tx.assert_held(claim).await?;
        tx.commit().await?;
        if mutants::is(Mutant::TrustWebhooks) {
            let tx = self.inner.store.begin().await?;
            return self.finish(claim, tx, Some(now + self.inner.options.resync)).await;
        }
        self.inner.branches.lock().await.remove(repository);
        let (github, branch) = self.open(repository).await?;
        if let Some(until) = github.scarce_until() {
            tracing::warn!(%repository, %until, "little is left of what GitHub allows; the rest is kept for what cannot wait");
            let tx = self.inner.store.begin().await?;
            return self.finish(claim, tx, Some(until.max(now + self.inner.options.resync))).await;
        }
        let pulls = github.open_pulls().await?;
        let head = github.head(&branch).await?;
        // Open pull requests are looked at anyway.
        let heard = format!("{COMMENTS} {repository}");
        let since = self.inner.store.mark(&heard).await?.unwrap_or(now - LONGEST_SILENCE) - OVERLAP;
        let emergencies = self.emergencies(repository).await?;
        let mut about_grants = Vec::new();
        let commented = match github.commented_since(since).await {
            // Then each of them is found by its webhook, or not; the next look is at fewer.
            Err(GithubError::Invalid { message }) => {
                tracing::warn!(%repository, message, "there are too many new comments to look at all");
                Default::default()
            }
            commented => commented?,
        };
        for number in commented {
            if !self.inner.store.live_grants_about(repository, number).await?.is_empty() {
                about_grants.push(number);
            }
        }
        let mut over = Vec::new();
        for (slug, file) in grant_files(&self.files(&github, &head).await?) {
            over.extend(self.inner.store.ended_grant(repository, &slug, &file.blob).await?);
        }
        let mut tx = self.inner.store.begin().await?;
        tx.schedule(&Job::Sync(repository.clone()), now).await?;
        tx.schedule(&Job::Cleanse(repository.clone()), now).await?;
        self.schedule_emergencies(&mut tx, repository, emergencies).await?;
        tx.schedule(&Job::Ledger(repository.clone()), now).await?;
        for id in over {
            tx.schedule(&Job::Revert(repository.clone(), id), now).await?;
        }
        for pull in pulls.iter().filter(|pull| pull.base_branch == branch) {
            tx.schedule(&Job::Pull(repository.clone(), pull.number), now).await?;
        }
        for number in about_grants {
            tx.schedule(&Job::Pull(repository.clone(), number), now).await?;
        }
        tx.set_mark(&heard, now).await?;
        self.finish(claim, tx, Some(now + self.inner.options.resync)).await
    }

    /// Forgets old deliveries, and what was doubted.
    pub(super) async fn tidy(&self, claim: &Claim) -> Result<(), EngineError> {
        let now = self.inner.clock.now();
        let mut tx = self.inner.store.begin().await?;
        let forgotten = tx.forget_deliveries(now - DELIVERIES_KEPT).await?;
        tx.forget_presses(now - DELIVERIES_KEPT).await?;
        tx.forget_marks(patience::DOUBT, now - DOUBTS_KEPT).await?;
        tx.forget_marks(pending::RETURNED, now - RETURNS_KEPT).await?;
        tx.forget_marks(commands::EDITED, now - RETURNS_KEPT).await?;
        tx.forget_pushes(now - PUSHES_KEPT).await?;
        tracing::debug!(forgotten, "old deliveries forgotten");
        self.finish(claim, tx, Some(now + TimeDelta::hours(6))).await
    }
}
