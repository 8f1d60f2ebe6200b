//! The log of webhook deliveries. GitHub does not try again by itself what could not be delivered:
//! <https://docs.github.com/en/webhooks/using-webhooks/handling-failed-webhook-deliveries>.

use chrono::{DateTime, Utc};
use http::Method;
use serde::Deserialize;

use super::{App, GithubError};

/// Pages of the log that are read at most; the rest is found by looking at everything.
const MOST_PAGES: usize = 50;

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
}

impl Attempt {
    /// Whether the webhook arrived by it.
    pub fn arrived(&self) -> bool {
        (200..300).contains(&self.status_code)
    }
}

impl App {
    /// The attempts since `since`, newest first.
    pub async fn attempts(&self, since: DateTime<Utc>) -> Result<Vec<Attempt>, GithubError> {
        let mut attempts: Vec<Attempt> = Vec::new();
        let mut next = Some("/app/hook/deliveries?per_page=100".to_owned());
        for _ in 0..MOST_PAGES {
            let Some(path) = next else { break };
            let (page, onward) = self.ask_page::<Vec<Attempt>>(&path).await?;
            let is_last = page.last().is_none_or(|oldest| oldest.delivered_at < since);
            attempts.extend(page.into_iter().filter(|attempt| attempt.delivered_at >= since));
            next = onward.filter(|_| !is_last);
        }
        Ok(attempts)
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
