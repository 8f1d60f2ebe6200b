//! Comments to be posted on pull requests, each once.

use chrono::{DateTime, Utc};
use sqlx::Row;

use super::patience::InTime;
use super::{Store, StoreError, Tx, clean, key};
use crate::policy::name::RepositoryName;

/// A comment to be posted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Deterministic: the same message has the same id. Becomes a marker in the comment.
    pub id: String,
    /// Markdown.
    pub body: String,
}

impl Store {
    /// The messages that wait for a pull request, oldest first.
    pub async fn waiting_messages(&self, repository: &RepositoryName, pull: u64) -> Result<Vec<Message>, StoreError> {
        let rows = sqlx::query(
            "SELECT id, body FROM messages WHERE repository = $1 AND pull_request = $2 AND posted_at IS NULL \
             ORDER BY written_at, id",
        )
        .bind(repository.as_str())
        .bind(pull.cast_signed())
        .fetch_all(&self.pool)
        .in_time()
        .await?;
        rows.iter().map(|row| Ok(Message { id: row.try_get("id")?, body: row.try_get("body")? })).collect()
    }
}

impl Tx {
    /// Asks for a message; one that was asked for already is left as it is. True if it was new.
    pub async fn say(
        &mut self,
        repository: &RepositoryName,
        pull: u64,
        message: &Message,
        now: DateTime<Utc>,
    ) -> Result<bool, StoreError> {
        let done = sqlx::query(
            "INSERT INTO messages (key, repository, pull_request, written_at, body, id) VALUES ($1, $2, $3, $4, $5, $6) \
             ON CONFLICT (key) DO NOTHING",
        )
        .bind(key(&message.id))
        .bind(repository.as_str())
        .bind(pull.cast_signed())
        .bind(now.timestamp_millis())
        .bind(clean(&message.body))
        .bind(clean(&message.id))
        .execute(&mut *self.tx)
        .in_time()
        .await?;
        Ok(done.rows_affected() > 0)
    }

    /// Marks a message as posted.
    pub async fn said(&mut self, id: &str, now: DateTime<Utc>) -> Result<(), StoreError> {
        sqlx::query("UPDATE messages SET posted_at = $2 WHERE key = $1")
            .bind(key(id))
            .bind(now.timestamp_millis())
            .execute(&mut *self.tx)
            .in_time()
            .await?;
        Ok(())
    }
}
