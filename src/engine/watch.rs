//! Looking again at what was taken away. A process that stood still while it gave access may go on at any time, and die before it
//! says so: what it gave then is found here, and taken away again.
//!
//! Only access is watched for which a call was made whose outcome nobody has written: after a crash or a standstill in the middle
//! of it, not in the ordinary course of things.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::TimeDelta;

use super::{Engine, EngineError};
use crate::mutants::{self, Mutant};
use crate::policy::entitlement::{Access, Entitlement};
use crate::policy::name::TargetName;
use crate::store::{Claim, Tx};
use crate::target::{Observed, Target};

/// For how long it is looked at.
const WATCHED: TimeDelta = TimeDelta::hours(24);
/// How often, at most; every target is looked at as often as everything is.
const EVERY: TimeDelta = TimeDelta::minutes(4);
/// For how long it is looked at one after the other: access that ends meanwhile waits.
const SHORT: Duration = Duration::from_secs(5);
/// How many looks are taken at a time.
const MOST_AT_ONCE: u32 = 50;

impl Engine {
    /// Sees that what is about to be forgotten is watched, if a call that gives it may still be on its way.
    pub(super) async fn watch(&self, tx: &mut Tx, entitlement: &Entitlement) -> Result<(), EngineError> {
        let now = self.inner.clock.now();
        if mutants::is(Mutant::IgnoreLostLease) {
            return Ok(());
        }
        Ok(tx.watch_if_open(entitlement, now + EVERY, now + WATCHED).await?)
    }

    /// Looks at what is watched on a target, for a short while. What is there and is nobody's was given by a call that came late.
    /// Whether there is more to look at.
    pub(super) async fn look_again(
        &self,
        claim: &Claim,
        name: &TargetName,
        target: &Arc<dyn Target>,
        is_due: impl Fn(&Entitlement) -> bool,
    ) -> Result<bool, EngineError> {
        let (began, most) = (Instant::now(), usize::try_from(MOST_AT_ONCE).unwrap_or(usize::MAX));
        let watched = self.inner.store.watched(name, self.inner.clock.now(), MOST_AT_ONCE).await?;
        for one in &watched {
            let entitlement = &one.entitlement;
            // What is held, or is to be, is taken away in due course.
            let known = is_due(entitlement) || !matches!(self.inner.store.held_one(entitlement).await, Ok(None));
            let seen = match known {
                true => Ok(Observed::Absent),
                false => self.called(entitlement, "observe", target.observe(entitlement)).await,
            };
            if matches!(seen, Ok(Observed::Present)) {
                tracing::warn!(%entitlement, "a call that gives it came after it was taken away; it is taken away again");
                self.put_stray(entitlement, Some(&one.holders)).await?;
            }
            let mut tx = self.inner.store.begin().await?;
            tx.assert_held(claim).await?;
            tx.watch_on(entitlement, self.inner.clock.now() + EVERY).await?;
            tx.commit().await?;
            if let Err(error) = seen {
                tracing::warn!(%entitlement, %error, "it is not certain that it stayed away; it is looked at again");
                return Ok(false);
            }
            if began.elapsed() > SHORT {
                return Ok(true);
            }
        }
        Ok(watched.len() == most)
    }

    /// Whether somebody had what is there already: unless a call of ours that came late may have given it.
    pub(super) async fn is_standing(&self, entitlement: &Entitlement, observed: Observed) -> Result<bool, EngineError> {
        Ok(observed == Observed::Present
            && !forgets_standing(entitlement)
            && !self.inner.store.is_watched(entitlement).await?)
    }
}

/// Whether this process is a mutant to which nothing was there before it.
fn forgets_standing(entitlement: &Entitlement) -> bool {
    let is_team = matches!(entitlement.access, Access::Github { .. });
    mutants::is(Mutant::ForgetStanding) || is_team && mutants::is(Mutant::ForgetStandingTeam)
}
