//! `POST` of JSON, signed: `{"stream": …, "events": […]}`. Any answer of 2xx means that all of them were taken.

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use secrecy::SecretString;
use serde_json::json;

use super::{Sink, StreamError, request_error};
use crate::ledger::Event;
use crate::policy::name::StreamName;
use crate::signature;

/// How long a receiver may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// A receiver of signed requests.
pub(super) struct Webhook {
    name: StreamName,
    url: url::Url,
    secret: SecretString,
    client: reqwest::Client,
}

impl std::fmt::Debug for Webhook {
    /// Not the address: it may hold a secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Webhook({})", self.name)
    }
}

/// A client that follows nobody elsewhere.
pub(super) fn client() -> Result<reqwest::Client, StreamError> {
    let agent = concat!("daypass/", env!("CARGO_PKG_VERSION"));
    let builder = reqwest::Client::builder().timeout(PATIENCE).redirect(reqwest::redirect::Policy::none());
    builder.user_agent(agent).build().map_err(StreamError::new)
}

impl Webhook {
    pub fn new(name: StreamName, url: url::Url, secret: SecretString) -> Result<Self, StreamError> {
        Ok(Self { name, url, secret, client: client()? })
    }
}

#[async_trait]
impl Sink for Webhook {
    async fn send(&self, events: &[Event], now: DateTime<Utc>) -> Result<(), StreamError> {
        let body = json!({ "stream": self.name, "events": events }).to_string();
        let signed = signature::sign(&self.secret, now, body.as_bytes());
        let request = self.client.post(self.url.clone()).header("content-type", "application/json");
        let answer = request.header(signature::HEADER, signed).body(body).send().await;
        match answer.map_err(|error| request_error(&error))?.status() {
            status if status.is_success() => Ok(()),
            status => Err(StreamError(format!("it answers {}", status.as_u16()))),
        }
    }
}
