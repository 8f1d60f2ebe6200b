//! Looking again at what was taken away. A process that stood still while it gave access may go on at any time, and die before it
//! says so: what it gave then is found here, and taken away again.
//!
//! Only access is watched for which a call was made whose outcome nobody has written: after a crash or a standstill in the middle
//! of it, not in the ordinary course of things.

use std::sync::Arc;

use chrono::TimeDelta;

use super::{Engine, EngineError};
use crate::mutants::{self, Mutant};
use crate::policy::entitlement::Entitlement;
use crate::policy::name::TargetName;
use crate::store::{Claim, Tx};
use crate::target::{Observed, Target};

/// For how long it is looked at.
const WATCHED: TimeDelta = TimeDelta::hours(24);
/// How often, at most; every target is looked at as often as everything is.
const EVERY: TimeDelta = TimeDelta::minutes(4);
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

    /// Looks at what is watched on a target. What is there and is nobody's was given by a call that came late.
    pub(super) async fn look_again(
        &self,
        claim: &Claim,
        name: &TargetName,
        target: &Arc<dyn Target>,
        is_known: impl Fn(&Entitlement) -> bool,
    ) -> Result<(), EngineError> {
        for watched in self.inner.store.watched(name, self.inner.clock.now(), MOST_AT_ONCE).await? {
            let entitlement = &watched.entitlement;
            // What is held, or is to be, is taken away in due course.
            let known = is_known(entitlement) || self.inner.store.held_one(entitlement).await?.is_some();
            let there = match known {
                true => false,
                false => match self.called(entitlement, "observe", target.observe(entitlement)).await {
                    Ok(observed) => observed == Observed::Present,
                    Err(error) => {
                        tracing::warn!(%entitlement, %error, "it is not certain that it stayed away; it is looked at again");
                        false
                    }
                },
            };
            if there {
                tracing::warn!(%entitlement, "a call that gives it came after it was taken away; it is taken away again");
                self.put_stray(entitlement, Some(&watched.holders)).await?;
            }
            let mut tx = self.inner.store.begin().await?;
            tx.assert_held(claim).await?;
            tx.watch_on(entitlement, self.inner.clock.now() + EVERY).await?;
            tx.commit().await?;
        }
        Ok(())
    }

    /// Whether somebody had what is there already: unless a call of ours that came late may have given it.
    pub(super) async fn is_standing(&self, entitlement: &Entitlement, observed: Observed) -> Result<bool, EngineError> {
        Ok(observed == Observed::Present
            && !mutants::is(Mutant::ForgetStanding)
            && !self.inner.store.is_watched(entitlement).await?)
    }
}
