//! Passing events on to streams: from the database, in the order in which they were recorded, and from where each stream was left.
//!
//! Each stream has a task of its own, which nobody waits for: a receiver that is down, slow or gone holds up neither access nor
//! other streams. Where a stream is, is written after its receiver has taken a batch; whoever crashes in between sends that batch
//! again. Of several processes one sends a stream at a time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use futures::FutureExt;

use super::clock::Clock;
use super::{Engine, EngineError};
use crate::policy::name::StreamName;
use crate::store::Store;
use crate::stream::{Sink, StreamError};

/// How many events are handed over at a time.
const BATCH: u32 = 100;
/// How often a stream that has taken everything is looked at.
const IDLE: Duration = Duration::from_secs(1);
/// The longest pause between two attempts.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// How long after its process died another one goes on with a stream: longer than handing over a batch takes.
const HELD: TimeDelta = TimeDelta::seconds(45);

/// One stream, as one process sends it.
#[derive(Debug)]
pub struct Stream {
    name: StreamName,
    sink: Arc<dyn Sink>,
    store: Store,
    clock: Clock,
    /// What this process calls itself.
    holder: String,
}

/// Why events were not passed on.
#[derive(Debug, thiserror::Error)]
pub enum NotPassedOn {
    /// The database.
    #[error(transparent)]
    Store(#[from] crate::store::StoreError),
    /// The receiver.
    #[error(transparent)]
    Receiver(#[from] StreamError),
}

impl Engine {
    /// Begins the streams that are configured. They run by [`Stream::run`].
    pub async fn streams(&self, sinks: BTreeMap<StreamName, Arc<dyn Sink>>) -> Result<Vec<Stream>, EngineError> {
        let mut tx = self.inner.store.begin().await?;
        for name in sinks.keys() {
            tx.begin_stream(name).await?;
        }
        tx.commit().await?;
        self.inner.metrics.has_streams(sinks.keys().cloned().collect());
        let stream = |(name, sink)| Stream {
            name,
            sink,
            store: self.inner.store.clone(),
            clock: self.inner.clock.clone(),
            holder: uuid::Uuid::new_v4().to_string(),
        };
        Ok(sinks.into_iter().map(stream).collect())
    }
}

impl Stream {
    /// Passes events on until `stop` completes. A batch that is under way then is sent again by whoever comes next.
    pub async fn run(&self, stop: impl Future<Output = ()>) {
        let mut stop = std::pin::pin!(stop.fuse());
        let mut failed = 0_u32;
        loop {
            let passed = tokio::select! { passed = self.pass_on() => passed, () = &mut stop => break };
            let pause = match &passed {
                Ok(true) => Duration::ZERO,
                Ok(false) => IDLE,
                Err(error) => {
                    let pause = IDLE.saturating_mul(1 << failed.min(6)).min(LONGEST_PAUSE);
                    if failed == 0 {
                        tracing::warn!(stream = %self.name, %error, "events cannot be passed on; they wait in the database");
                    }
                    pause
                }
            };
            failed = match (&passed, failed) {
                (Err(_), failed) => failed.saturating_add(1),
                (Ok(_), 0) => 0,
                (Ok(_), _) => {
                    tracing::info!(stream = %self.name, "events are passed on again");
                    0
                }
            };
            tokio::select! { () = tokio::time::sleep(pause) => {}, () = &mut stop => break }
        }
        if let Err(error) = self.leave().await {
            tracing::debug!(stream = %self.name, %error, "the stream could not be given back; another process waits a moment for it");
        }
    }

    async fn leave(&self) -> Result<(), crate::store::StoreError> {
        let mut tx = self.store.begin().await?;
        tx.leave_stream(&self.name, &self.holder).await?;
        tx.commit().await
    }

    /// Passes on the next batch. Whether there may be more.
    ///
    /// # Errors
    ///
    /// If the receiver did not take it, or the database cannot be read or written; then the same batch comes again.
    pub async fn pass_on(&self) -> Result<bool, NotPassedOn> {
        let now = self.clock.now();
        let Some(last) = self.store.hold_stream(&self.name, &self.holder, (now, now + HELD)).await? else {
            return Ok(false);
        };
        let next = self.store.events_after(last, BATCH).await?;
        let Some((upto, _)) = next.last() else { return Ok(false) };
        let (upto, read) = (*upto, next.len());
        let events: Vec<_> = next.into_iter().filter_map(|(_, event)| event).collect();
        if !events.is_empty() {
            self.sink.send(&events, now).await?;
        }
        let mut tx = self.store.begin().await?;
        tx.move_stream(&self.name, &self.holder, upto).await?;
        tx.commit().await?;
        Ok(read >= usize::try_from(BATCH).unwrap_or(usize::MAX))
    }
}
