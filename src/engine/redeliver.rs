//! Webhooks that went astray: GitHub does not try again by itself, but it keeps a log, and delivers again what it is asked for.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};

use super::{Engine, EngineError};
use crate::github::{Attempt, LogPage};
use crate::mutants::{self, Mutant};
use crate::store::Claim;

/// How far back GitHub's log goes:
/// <https://docs.github.com/en/webhooks/testing-and-troubleshooting-webhooks/redelivering-webhooks>.
const LOG: TimeDelta = TimeDelta::days(3);
/// What was looked at is looked at again for this long: an attempt may still have been on its way.
const OVERLAP: TimeDelta = TimeDelta::minutes(30);
/// Attempts that are made for one webhook. What fails so often is left to the look at everything.
const MOST_ATTEMPTS: usize = 4;
/// Webhooks that are asked for in one step; the rest in the next ones.
const MOST_AT_ONCE: usize = 200;
/// Pages of the log that are read in one step.
const PAGES_AT_ONCE: usize = 20;
/// A look through the log that took longer is begun anew.
const STALE: TimeDelta = TimeDelta::hours(1);

/// A look through GitHub's log, from the newest attempt to the oldest, as far as it has come. Forgotten when the process ends: then
/// another one begins where the last complete one did.
#[derive(Debug)]
pub(super) struct Look {
    began: DateTime<Utc>,
    since: DateTime<Utc>,
    /// What is to be read next; nothing if all is.
    next: Option<LogPage>,
    /// Webhooks that arrived by a later attempt.
    arrived: BTreeSet<String>,
    /// The last attempt of each webhook that did not, and how many there were.
    failed: BTreeMap<String, (Attempt, usize)>,
}

impl Look {
    fn new(since: DateTime<Utc>, now: DateTime<Utc>) -> Self {
        let next = Some(LogPage::newest());
        Self { began: now, since, next, arrived: BTreeSet::new(), failed: BTreeMap::new() }
    }

    /// Takes in a page, which is older than those before it.
    fn take(&mut self, page: Vec<Attempt>, older: Option<LogPage>) {
        let is_last = page.last().is_none_or(|oldest| oldest.delivered_at < self.since);
        self.next = older.filter(|_| !is_last);
        for attempt in page.into_iter().filter(|attempt| attempt.delivered_at >= self.since) {
            if attempt.arrived() {
                // A first attempt has none before it.
                if attempt.redelivery {
                    self.arrived.insert(attempt.guid);
                }
            } else if !self.arrived.contains(&attempt.guid) {
                self.failed.entry(attempt.guid.clone()).or_insert((attempt, 0)).1 += 1;
            }
        }
        self.failed.retain(|_, (_, attempts)| *attempts < MOST_ATTEMPTS || self.next.is_some());
    }

    /// Some attempts of webhooks that never arrived, oldest first; without those that were tried often enough. Empty before all is
    /// read.
    fn astray(&self) -> Vec<Attempt> {
        if self.next.is_some() {
            return Vec::new();
        }
        let mut astray: Vec<Attempt> = self.failed.values().map(|(attempt, _)| attempt.clone()).collect();
        astray.sort_by_key(|attempt| (attempt.delivered_at, attempt.id));
        astray.truncate(MOST_AT_ONCE);
        astray
    }

    fn is_over(&self) -> bool {
        self.next.is_none() && self.failed.is_empty()
    }
}

impl Engine {
    /// Asks for every webhook that was sent and never arrived, some at a time.
    pub(super) async fn redeliver(&self, claim: &Claim) -> Result<(), EngineError> {
        let mut place = self.inner.looking_for_webhooks.lock().await;
        // Should anything fail, it begins anew: places in the log do not last.
        let look = match place.take().filter(|look| self.inner.clock.now() - look.began < STALE) {
            Some(look) => self.look_on(look).await?,
            None => {
                let now = self.inner.clock.now();
                let looked = self.inner.store.mark("redeliver").await?;
                let since = looked.map_or(now - LOG, |looked| looked - OVERLAP).max(now - LOG);
                self.look_on(Look::new(since, now)).await?
            }
        };
        let now = self.inner.clock.now();
        let mut tx = self.inner.store.begin().await?;
        if look.is_over() {
            tx.set_mark("redeliver", look.began).await?;
            return self.finish(claim, tx, Some(now + self.inner.options.resync)).await;
        }
        self.finish(claim, tx, Some(now)).await?;
        *place = Some(look);
        Ok(())
    }

    async fn look_on(&self, mut look: Look) -> Result<Look, EngineError> {
        for _ in 0..PAGES_AT_ONCE {
            let Some(page) = &look.next else { break };
            let (page, older) = self.inner.github.attempts(page).await?;
            look.take(page, older);
        }
        let mut asked = 0;
        for attempt in look.astray() {
            look.failed.remove(&attempt.guid);
            // It may have arrived, though GitHub did not hear the answer.
            if mutants::is(Mutant::TrustWebhooks) || self.inner.store.knows_delivery(&attempt.guid).await? {
                continue;
            }
            asked += usize::from(self.inner.github.deliver_again(attempt.id).await?);
        }
        if asked > 0 {
            tracing::warn!(webhooks = asked, "did not arrive; GitHub was asked to deliver them again");
        }
        Ok(look)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempt(id: u64, guid: &str, status_code: u16) -> Attempt {
        let delivered_at = chrono::DateTime::from_timestamp(1_800_000_000 + id.cast_signed(), 0).unwrap();
        Attempt { id, guid: guid.to_owned(), delivered_at, status_code, redelivery: guid == "late" }
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
        let epoch = DateTime::UNIX_EPOCH;
        for page in [1, 3, 10] {
            let mut look = Look::new(epoch, epoch);
            for attempts in log.chunks(page) {
                assert!(look.astray().is_empty(), "not all is read");
                look.take(attempts.to_vec(), Some(LogPage::newest()));
            }
            look.take(Vec::new(), None);
            let ids: Vec<u64> = look.astray().iter().map(|attempt| attempt.id).collect();
            assert_eq!(ids, [0, 8]);
        }
    }
}
