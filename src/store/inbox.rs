//! The inbox: webhook deliveries, durable before they are acknowledged, each taken once.

use chrono::{DateTime, Utc};
use sqlx::Row;

use super::patience::InTime;
use super::{Store, StoreError, Tx, clean};

/// A delivery that waits to be looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// `X-GitHub-Delivery`.
    pub id: String,
    /// `X-GitHub-Event`.
    pub event: String,
    /// The payload.
    pub body: String,
}

impl Store {
    /// Stores a delivery; false if its id is known already.
    pub async fn accept(&self, delivery: &Delivery, now: DateTime<Utc>) -> Result<bool, StoreError> {
        self.is_kept()?;
        let done = sqlx::query(
            "INSERT INTO deliveries (id, event, body, received_at) VALUES ($1, $2, $3, $4) ON CONFLICT (id) DO NOTHING",
        )
        .bind(&delivery.id)
        .bind(&delivery.event)
        .bind(clean(&delivery.body))
        .bind(now.timestamp_millis())
        .execute(&self.pool)
        .in_time()
        .await?;
        Ok(done.rows_affected() > 0)
    }

    /// Whether a delivery arrived, whenever that was.
    pub async fn knows_delivery(&self, id: &str) -> Result<bool, StoreError> {
        let known: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM deliveries WHERE id = $1")
            .bind(id)
            .fetch_one(&self.pool)
            .in_time()
            .await?;
        Ok(known > 0)
    }

    /// How many deliveries were not looked at yet.
    pub async fn count_waiting_deliveries(&self) -> Result<i64, StoreError> {
        let count = sqlx::query_scalar("SELECT COUNT(*) FROM deliveries WHERE done_at IS NULL");
        count.fetch_one(&self.pool).in_time().await
    }

    /// The oldest deliveries nobody has looked at, `limit` at most.
    pub async fn waiting_deliveries(&self, limit: u32) -> Result<Vec<Delivery>, StoreError> {
        let rows = sqlx::query(
            "SELECT id, event, body FROM deliveries WHERE done_at IS NULL ORDER BY received_at, id LIMIT $1",
        )
        .bind(i64::from(limit))
        .fetch_all(&self.pool)
        .in_time()
        .await?;
        rows.iter()
            .map(|row| {
                Ok(Delivery { id: row.try_get("id")?, event: row.try_get("event")?, body: row.try_get("body")? })
            })
            .collect()
    }
}

impl Tx {
    /// Marks a delivery as looked at; false if somebody else did. Its payload is no longer needed; the id stays, to recognise a
    /// redelivery.
    pub async fn done_with(&mut self, delivery: &str, now: DateTime<Utc>) -> Result<bool, StoreError> {
        let done = sqlx::query("UPDATE deliveries SET done_at = $2, body = '' WHERE id = $1 AND done_at IS NULL")
            .bind(delivery)
            .bind(now.timestamp_millis())
            .execute(&mut *self.tx)
            .in_time()
            .await?;
        Ok(done.rows_affected() > 0)
    }

    /// Forgets deliveries that were done before `before`.
    pub async fn forget_deliveries(&mut self, before: DateTime<Utc>) -> Result<u64, StoreError> {
        let done = sqlx::query("DELETE FROM deliveries WHERE done_at < $1")
            .bind(before.timestamp_millis())
            .execute(&mut *self.tx)
            .in_time()
            .await?;
        Ok(done.rows_affected())
    }
}
