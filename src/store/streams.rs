//! Where each stream of events is, and who sends it at present.

use chrono::{DateTime, Utc};
use sqlx::Row;

use super::patience::InTime;
use super::{Store, StoreError, Tx, read_json, time};
use crate::ledger::Event;
use crate::policy::name::StreamName;

/// What waits for a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamBacklog {
    /// The stream.
    pub name: String,
    /// How many events.
    pub waiting: i64,
    /// When the first of them happened.
    pub oldest: Option<DateTime<Utc>>,
}

impl Store {
    /// Becomes, or stays, the one who sends a stream until `until`: the number of the last event that it took. None if somebody else
    /// is, or if nobody began the stream.
    pub async fn hold_stream(
        &self,
        name: &StreamName,
        holder: &str,
        (now, until): (DateTime<Utc>, DateTime<Utc>),
    ) -> Result<Option<i64>, StoreError> {
        sqlx::query_scalar(
            "UPDATE streams SET holder = $2, held_until = $4 WHERE name = $1 \
             AND (holder IS NULL OR holder = $2 OR held_until <= $3) RETURNING nth",
        )
        .bind(name.as_str())
        .bind(holder)
        .bind(now.timestamp_millis())
        .bind(until.timestamp_millis())
        .fetch_optional(&self.pool)
        .in_time()
        .await
    }

    /// Events after number `nth`, in the order in which they were recorded, `limit` at most; with their numbers. One that cannot be
    /// read is said so, and holds up no other.
    pub async fn events_after(&self, nth: i64, limit: u32) -> Result<Vec<(i64, Option<Event>)>, StoreError> {
        let rows = sqlx::query("SELECT nth, id, body FROM events WHERE nth > $1 ORDER BY nth LIMIT $2")
            .bind(nth)
            .bind(i64::from(limit))
            .fetch_all(&self.pool)
            .in_time()
            .await?;
        let event = |row: &sqlx::any::AnyRow| {
            let (nth, id, body): (i64, String, String) =
                (row.try_get("nth")?, row.try_get("id")?, row.try_get("body")?);
            let event = read_json("events", &body);
            if let Err(error) = &event {
                tracing::error!(%error, row = id, "an event cannot be read, and is in no stream");
            }
            Ok((nth, event.ok()))
        };
        rows.iter().map(event).collect()
    }

    /// What waits for each stream.
    pub async fn stream_backlogs(&self) -> Result<Vec<StreamBacklog>, StoreError> {
        let sql =
            "SELECT s.name, COUNT(e.id), MIN(e.at) FROM streams s LEFT JOIN events e ON e.nth > s.nth GROUP BY s.name";
        let rows = sqlx::query(sql).fetch_all(&self.pool).in_time().await?;
        rows.iter()
            .map(|row| {
                let oldest = row.try_get::<Option<i64>, _>(2)?.map(|at| time("events", at)).transpose()?;
                Ok(StreamBacklog { name: row.try_get(0)?, waiting: row.try_get(1)?, oldest })
            })
            .collect()
    }
}

impl Tx {
    /// Begins a stream with the next event that is recorded; one that has begun stays where it is.
    pub async fn begin_stream(&mut self, name: &StreamName) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO streams (name, nth) SELECT $1, COALESCE(MAX(nth), 0) FROM events WHERE TRUE \
             ON CONFLICT (name) DO NOTHING",
        )
        .bind(name.as_str())
        .execute(&mut *self.tx)
        .in_time()
        .await?;
        Ok(())
    }

    /// Remembers that a stream took the events up to number `nth`, if the holder is still the one who sends it.
    pub async fn move_stream(&mut self, name: &StreamName, holder: &str, nth: i64) -> Result<(), StoreError> {
        sqlx::query("UPDATE streams SET nth = $3 WHERE name = $1 AND holder = $2 AND nth < $3")
            .bind(name.as_str())
            .bind(holder)
            .bind(nth)
            .execute(&mut *self.tx)
            .in_time()
            .await?;
        Ok(())
    }

    /// Leaves a stream to whoever comes next.
    pub async fn leave_stream(&mut self, name: &StreamName, holder: &str) -> Result<(), StoreError> {
        sqlx::query("UPDATE streams SET holder = NULL, held_until = NULL WHERE name = $1 AND holder = $2")
            .bind(name.as_str())
            .bind(holder)
            .execute(&mut *self.tx)
            .in_time()
            .await?;
        Ok(())
    }
}
