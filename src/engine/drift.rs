//! Drift: access that Daypass gave and that somebody else took away on the target. It is told, and given again where the target's
//! setting says so. What somebody else gives is not Daypass's to see: it knows what it gave, not all there is.

use std::collections::BTreeSet;

use chrono::TimeDelta;
use serde_json::json;

use super::markdown::code;
use super::{Engine, EngineError};
use crate::access::grant::GrantRef;
use crate::access::plan::{Applied, Progress};
use crate::ledger::{Event, EventKind};
use crate::policy::entitlement::Entitlement;
use crate::policy::kind::TargetKind;
use crate::policy::name::TargetName;
use crate::store::{Claim, Held, Job, Tx};
use crate::target::{Drift, Observed};

/// How the mark begins that tells when a target was looked at last.
const MARK: &str = "drift";

/// How often a target is looked at: services count what they are asked.
const fn interval(kind: TargetKind) -> TimeDelta {
    match kind {
        TargetKind::Github | TargetKind::Gitlab | TargetKind::Okta | TargetKind::Scim => TimeDelta::hours(1),
        TargetKind::Postgres
        | TargetKind::Ssh
        | TargetKind::Vault
        | TargetKind::Hoop
        | TargetKind::Webhook
        | TargetKind::Exec => TimeDelta::minutes(5),
    }
}

impl Engine {
    /// Asks for a look whether what was given on a target is still there, if that can be seen.
    pub(super) async fn ask_for_drift(
        &self,
        tx: &mut Tx,
        name: &TargetName,
        at: chrono::DateTime<chrono::Utc>,
    ) -> Result<(), EngineError> {
        if self.inner.targets.get(name).is_some_and(|target| target.drift() != Drift::Ignore) {
            tx.schedule(&Job::Drift(name.clone()), at).await?;
        }
        Ok(())
    }

    /// Looks whether what was given on a target is still there.
    pub(super) async fn look_for_drift(&self, claim: &Claim, name: &TargetName) -> Result<(), EngineError> {
        let Some(target) = self.inner.targets.get(name).filter(|target| target.drift() != Drift::Ignore) else {
            return self.done(claim).await;
        };
        let (mark, every) = (format!("{MARK} {name}"), interval(target.kind()));
        let last = self.inner.store.mark(&mark).await?;
        if last.is_some_and(|last| self.inner.clock.now() < last + every) {
            // The next look at everything asks again.
            return self.done(claim).await;
        }
        let given = |held: &Held| held.applied.progress == Progress::Granted && !held.applied.holders.is_empty();
        let held = self.inner.store.held(name).await?.held;
        for (entitlement, held) in held.iter().filter(|(_, held)| given(held) && !held.applied.standing) {
            match self.called(entitlement, "observe", target.observe(entitlement)).await {
                Ok(Observed::Present | Observed::Unknown) => {}
                Ok(Observed::Absent) => self.drifted(claim, entitlement, held, target.drift()).await?,
                Err(error) => {
                    tracing::debug!(%entitlement, %error, "it cannot be seen whether it is still there");
                    break;
                }
            }
        }
        let mut tx = self.inner.store.begin().await?;
        tx.set_mark(&mark, self.inner.clock.now()).await?;
        self.finish(claim, tx, None).await
    }

    async fn drifted(
        &self,
        claim: &Claim,
        entitlement: &Entitlement,
        held: &Held,
        drift: Drift,
    ) -> Result<(), EngineError> {
        let holders: &BTreeSet<GrantRef> = &held.applied.holders;
        let mut rows = Vec::new();
        for grant in holders {
            rows.extend(self.inner.store.grant(&grant.repository, &grant.id).await?);
        }
        let (repaired, now) = (drift == Drift::Repair, self.inner.clock.now());
        // Only if nobody began to take it away, or to give it anew, since before the look.
        let as_before = self.inner.store.held_one(entitlement).await?.is_some_and(|now| now.revision == held.revision);
        let mut tx = self.inner.store.begin().await?;
        tx.assert_held(claim).await?;
        let state = Applied { progress: Progress::Granting, ..held.applied.clone() };
        if !as_before || repaired && !tx.update_held(entitlement, held.revision, &state, None, now).await? {
            return Ok(());
        }
        tracing::warn!(%entitlement, repaired, "somebody else took away what Daypass had given");
        for row in rows {
            let details = json!({ "grant": row.grant.id, "subject": row.grant.subject, "role": row.grant.role,
                "entitlement": entitlement, "repaired": repaired });
            // Told once for as long as nothing else is written about it.
            let occasion = format!("{entitlement} {}", if repaired { held.revision } else { 0 });
            let event = Event::new(&row.repository, EventKind::Drifted, &row.grant.id, &occasion, now, details);
            if tx.record(&event).await? {
                let then = if repaired { "Daypass gives it again." } else { "Daypass leaves it so." };
                let body = format!(
                    "🟠 {} was taken away on the target by somebody else. {then}",
                    code(&entitlement.to_string())
                );
                self.say(&mut tx, &row.repository, &row.grant, &format!("drifted-{occasion}"), body, now).await?;
            }
        }
        if repaired {
            tx.schedule(&Job::Target(entitlement.target.clone()), now).await?;
        }
        Ok(tx.commit().await?)
    }
}
