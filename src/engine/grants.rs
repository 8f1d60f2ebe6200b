//! The clock of each grant: start, revert pull request, end. Nothing here needs GitHub: access ends whether or not it answers.

use chrono::{DateTime, Utc};

use super::{Engine, EngineError};
use crate::access::facts::Account;
use crate::access::grant::{EndReason, GrantId, GrantRef, State, Transition};
use crate::ledger::{Event, EventKind};
use crate::mutants::{self, Mutant};
use crate::policy::name::RepositoryName;
use crate::store::{Claim, GrantRow, Job, Tx};

impl Engine {
    /// Does what is due for a grant, and asks to be called when the next thing is.
    pub(super) async fn look_at_grant(
        &self,
        claim: &Claim,
        repository: &RepositoryName,
        id: &GrantId,
    ) -> Result<(), EngineError> {
        let row = self.inner.store.grant(repository, id).await?;
        // Whoever applied it tells; if they died before, it is told now.
        let holder = GrantRef { repository: repository.clone(), id: id.clone() };
        self.tell(&holder).await?;
        // Targets look at windows themselves; ten thousand ends are not ten thousand looks.
        let gone = match &row {
            Some(row) => self.is_gone(&holder, &row.grant.entitlements).await?,
            None => true,
        };
        let instant = self.inner.clock.instant();
        let now = instant.likely;
        let mut tx = self.inner.store.begin().await?;
        let Some(row) = row else { return self.finish(claim, tx, None).await };
        let again = match row.grant.next(instant, row.revert_pull.is_some()) {
            Transition::Nothing => None,
            Transition::Wait { until } => Some(until),
            Transition::Start => {
                // That takes GitHub, which must not hold up the clock.
                tx.schedule(&Job::Start(repository.clone(), id.clone()), now).await?;
                Some(instant.when_over(row.grant.over_at()))
            }
            Transition::OpenRevert => {
                tx.schedule(&Job::Revert(repository.clone(), id.clone()), now).await?;
                Some(instant.when_over(row.grant.over_at()))
            }
            Transition::Expire => {
                if !gone {
                    ask_targets(&mut tx, &row, now).await?;
                }
                self.end(&mut tx, row, EndReason::Expired, now).await?;
                // Access may be gone already: then that is told.
                Some(now)
            }
        };
        self.finish(claim, tx, again).await
    }

    /// Ends a grant: from here on its entitlements are no longer due.
    pub(super) async fn end(
        &self,
        tx: &mut Tx,
        row: GrantRow,
        reason: EndReason,
        now: DateTime<Utc>,
    ) -> Result<(), EngineError> {
        self.end_by(tx, row, reason, None, now).await
    }

    /// Ends a grant because somebody said so.
    pub(super) async fn end_by(
        &self,
        tx: &mut Tx,
        mut row: GrantRow,
        reason: EndReason,
        by: Option<&Account>,
        now: DateTime<Utc>,
    ) -> Result<(), EngineError> {
        // A grant that was found to be over late ended when its time was up, not when it was noticed.
        let at = if reason == EndReason::Expired { row.grant.window.ends_at.min(now) } else { now };
        let mut details = serde_json::json!({ "grant": row.grant.id, "subject": row.grant.subject, "role": row.grant.role,
            "reason": reason, "ended_at": at });
        if let Some(by) = by {
            details["by"] = serde_json::json!(by);
        }
        let id = row.grant.id.clone();
        if !mutants::is(Mutant::ForgetEndEvent) {
            tx.record(&Event::new(&row.repository, EventKind::Ended, &id, &row.grant.merge_commit, now, details))
                .await?;
        }
        row.grant.state = State::Ended { at, reason: reason.clone() };
        tx.put_grant(&row).await?;
        if reason != EndReason::Expired {
            ask_targets(tx, &row, now).await?;
        }
        // The buttons go, and what would have extended it.
        tx.schedule(&Job::Pull(row.repository.clone(), id.pull_request), now).await?;
        if let Some(extension) = tx.extension_of(&row.repository, &id).await? {
            tx.schedule(&Job::Pull(row.repository.clone(), extension), now).await?;
        }
        // Without entitlements no target will say that it is done.
        tx.schedule(&Job::Revert(row.repository.clone(), id), now).await?;
        Ok(())
    }
}

pub(super) async fn ask_targets(tx: &mut Tx, row: &GrantRow, now: DateTime<Utc>) -> Result<(), EngineError> {
    for entitlement in &row.grant.entitlements {
        tx.schedule(&Job::Target(entitlement.target.clone()), now).await?;
    }
    Ok(())
}
