//! The log of webhook deliveries. GitHub does not try again by itself what could not be delivered:
//! <https://docs.github.com/en/webhooks/using-webhooks/handling-failed-webhook-deliveries>.

use chrono::{DateTime, Utc};
use http::Method;
use serde::Deserialize;

use super::{App, GithubError};

/// Where the log begins.
const NEWEST: &str = "/app/hook/deliveries?per_page=100";

/// One attempt to deliver a webhook.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Attempt {
    /// The attempt.
    pub id: u64,
    /// The webhook; the same for all attempts.
    pub guid: String,
    /// When it was made.
    pub delivered_at: DateTime<Utc>,
    /// What was answered; 0 or 5xx if nobody did.
    pub status_code: u16,
    /// Whether it was asked for, after others had failed.
    #[serde(default)]
    pub redelivery: bool,
}

/// A place in the log.
#[derive(Debug, Clone)]
pub struct LogPage(String);

impl LogPage {
    /// The newest attempts.
    pub fn newest() -> Self {
        Self(NEWEST.to_owned())
    }
}

impl Attempt {
    /// Whether the webhook arrived by it.
    pub fn arrived(&self) -> bool {
        (200..300).contains(&self.status_code)
    }
}

impl App {
    /// Some attempts, newest first, and where older ones are.
    pub async fn attempts(&self, page: &LogPage) -> Result<(Vec<Attempt>, Option<LogPage>), GithubError> {
        let (attempts, older) = self.ask_page(&page.0).await?;
        Ok((attempts, older.map(LogPage)))
    }

    /// Asks GitHub to deliver a webhook once more; false if the attempt is no longer in its log.
    pub async fn deliver_again(&self, attempt: u64) -> Result<bool, GithubError> {
        match self.act(Method::POST, &format!("/app/hook/deliveries/{attempt}/attempts")).await {
            Ok(()) => Ok(true),
            Err(GithubError::NotFound { .. } | GithubError::Invalid { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }
}
