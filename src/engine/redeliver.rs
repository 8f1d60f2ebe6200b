//! Webhooks that went astray: GitHub does not try again by itself, but it keeps a log, and delivers again what it is asked for.

use std::collections::BTreeMap;

use chrono::TimeDelta;

use super::{Engine, EngineError};
use crate::github::Attempt;
use crate::mutants::{self, Mutant};
use crate::store::Claim;

/// How far back GitHub's log goes:
/// <https://docs.github.com/en/webhooks/testing-and-troubleshooting-webhooks/redelivering-webhooks>.
const LOG: TimeDelta = TimeDelta::days(3);
/// What was looked at is looked at again for this long: an attempt may still have been on its way.
const OVERLAP: TimeDelta = TimeDelta::minutes(30);
/// Attempts that are made for one webhook. What fails so often is left to the look at everything.
const MOST_ATTEMPTS: usize = 4;
/// Webhooks that are asked for at a time.
const MOST_AT_ONCE: usize = 200;

impl Engine {
    /// Asks for every webhook that was sent and never arrived.
    pub(super) async fn redeliver(&self, claim: &Claim) -> Result<(), EngineError> {
        let now = self.inner.clock.now();
        let again = now + self.inner.options.resync;
        let looked = self.inner.store.mark("redeliver").await?;
        let since = looked.map_or(now - LOG, |looked| looked - OVERLAP).max(now - LOG);
        let attempts = self.inner.github.attempts(since).await?;
        let mut asked = 0;
        for attempt in astray(&attempts) {
            if asked == MOST_AT_ONCE || mutants::is(Mutant::TrustWebhooks) {
                break;
            }
            // It may have arrived, though GitHub did not hear the answer.
            if self.inner.store.knows_delivery(&attempt.guid).await? {
                continue;
            }
            asked += usize::from(self.inner.github.deliver_again(attempt.id).await?);
        }
        if asked > 0 {
            tracing::warn!(webhooks = asked, "did not arrive; GitHub was asked to deliver them again");
        }
        let mut tx = self.inner.store.begin().await?;
        tx.set_mark("redeliver", now).await?;
        self.finish(claim, tx, Some(again)).await
    }
}

/// The last attempt of each webhook that never arrived, oldest first; without those that were tried often enough.
fn astray(newest_first: &[Attempt]) -> Vec<&Attempt> {
    let mut by_webhook: BTreeMap<&str, Vec<&Attempt>> = BTreeMap::new();
    for attempt in newest_first {
        by_webhook.entry(&attempt.guid).or_default().push(attempt);
    }
    let failed = by_webhook.into_values().filter(|attempts| !attempts.iter().any(|attempt| attempt.arrived()));
    let mut failed: Vec<&Attempt> = failed
        .filter(|attempts| attempts.len() < MOST_ATTEMPTS)
        .filter_map(|attempts| attempts.first().copied())
        .collect();
    failed.sort_by_key(|attempt| (attempt.delivered_at, attempt.id));
    failed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempt(id: u64, guid: &str, status_code: u16) -> Attempt {
        let delivered_at = chrono::DateTime::from_timestamp(1_800_000_000 + id.cast_signed(), 0).unwrap();
        Attempt { id, guid: guid.to_owned(), delivered_at, status_code }
    }

    #[test]
    fn what_never_arrived_is_asked_for_and_nothing_else() {
        let log = [
            attempt(9, "late", 202),
            attempt(8, "lost", 0),
            attempt(7, "hopeless", 500),
            attempt(6, "hopeless", 500),
            attempt(5, "hopeless", 500),
            attempt(4, "hopeless", 500),
            attempt(3, "late", 503),
            attempt(2, "lost", 502),
            attempt(1, "fine", 202),
            attempt(0, "other", 401),
        ];
        let ids: Vec<u64> = astray(&log).into_iter().map(|attempt| attempt.id).collect();
        assert_eq!(ids, [0, 8]);
    }
}
