//! Where events go besides the ledger: one file per kind of receiver.
//!
//! What a receiver owes: [`Sink::send`] returns when the receiver has taken all of the batch, as far as its protocol can tell, or
//! fails; then the same batch is sent again, so that each event arrives at least once, in the order in which events were recorded.
//! Events have ids by which a receiver tells what it has already. A sink may be dropped at any await.

mod file;
mod otlp;
pub mod settings;
mod syslog;
mod webhook;

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use crate::ledger::Event;

/// A receiver of events.
#[async_trait]
pub trait Sink: Send + Sync + std::fmt::Debug {
    /// Hands over events, in this order, at `now`.
    async fn send(&self, events: &[Event], now: DateTime<Utc>) -> Result<(), StreamError>;
}

/// Why a receiver did not take events. The text is for the log, and carries no secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct StreamError(pub String);

impl StreamError {
    fn new(error: impl std::fmt::Display) -> Self {
        Self(error.to_string())
    }
}

/// An event as one line of JSON.
fn line(event: &Event) -> String {
    // Our own type has no maps with keys that are no texts: this cannot fail.
    serde_json::to_string(event).unwrap_or_default()
}

/// What went wrong with a request, without the address: that may hold a secret.
fn request_error(error: &reqwest::Error) -> StreamError {
    StreamError::new(match error {
        error if error.is_timeout() => "it did not answer in time",
        error if error.is_connect() => "it cannot be reached",
        _ => "the connection broke",
    })
}
