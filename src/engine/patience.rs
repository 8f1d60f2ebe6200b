//! Patience with GitHub, which does not always find what is there. What follows from a 404 is final only once the same was found
//! for a while, by whatever processes there were meanwhile.

use chrono::TimeDelta;

use super::{Engine, EngineError};
use crate::store::digest;

/// How the marks begin that tell when something was found first.
pub(super) const DOUBT: &str = "doubt ";
/// For how long the same must have been found.
const PATIENCE: TimeDelta = TimeDelta::minutes(2);
/// What was found longer ago than this, and not looked at since, was found at another occasion.
const FORGOTTEN: TimeDelta = TimeDelta::minutes(30);

impl Engine {
    /// Whether `finding` about `what` has been found for [`PATIENCE`]. The first time is remembered durably; whoever is told that it
    /// is not certain looks again.
    pub(super) async fn is_certain(&self, what: &str, finding: &str) -> Result<bool, EngineError> {
        let (name, now) = (format!("{DOUBT}{}", digest(&[what, finding])), self.inner.clock.now());
        let first = self.inner.store.mark(&name).await?;
        if let Some(first) = first.filter(|first| *first <= now && now - *first < FORGOTTEN) {
            return Ok(now - first >= PATIENCE);
        }
        let mut tx = self.inner.store.begin().await?;
        tx.set_mark(&name, now).await?;
        tx.commit().await?;
        Ok(false)
    }
}
