//! What was published on each pull request, so that it is edited in place instead of being repeated.

use chrono::{DateTime, Utc};
use sqlx::Row;

use super::patience::InTime;
use super::{Store, StoreError, Tx, time};
use crate::policy::name::CommitId;

/// What stands on a pull request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Published {
    /// The head the check run is on.
    pub head: Option<String>,
    /// The check run.
    pub check_id: Option<u64>,
    /// The comment.
    pub comment_id: Option<u64>,
    /// A digest of what they say: equal means there is nothing to send.
    pub digest: Option<String>,
    /// Whether the check run has the buttons of a running grant.
    pub buttons: bool,
}

/// Whether people are asked to approve a pull request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asking {
    /// The head they are asked about.
    pub head: CommitId,
    /// Since when; `None`: they are not, for it is a draft, or refused.
    pub since: Option<DateTime<Utc>>,
}

impl Store {
    /// Whether people are asked to approve a pull request; `None` if that is not known.
    pub async fn asking(&self, repository: &str, number: u64) -> Result<Option<Asking>, StoreError> {
        let row = sqlx::query("SELECT asked_head, asked_since FROM pulls WHERE repository = $1 AND number = $2")
            .bind(repository)
            .bind(number.cast_signed())
            .fetch_optional(&self.pool)
            .in_time()
            .await?;
        let Some(row) = row else { return Ok(None) };
        let Some(head) = row.try_get::<Option<String>, _>("asked_head")? else { return Ok(None) };
        let head = head
            .parse()
            .map_err(|_| StoreError::Corrupt { table: "pulls", problem: format!("{head:?} is no commit") })?;
        let since = row.try_get::<Option<i64>, _>("asked_since")?.map(|at| time("pulls", at)).transpose()?;
        Ok(Some(Asking { head, since }))
    }

    /// What was published on a pull request; empty if nothing is known.
    pub async fn published(&self, repository: &str, number: u64) -> Result<Published, StoreError> {
        let row = sqlx::query(
            "SELECT head, check_id, comment_id, digest, buttons FROM pulls WHERE repository = $1 AND number = $2",
        )
        .bind(repository)
        .bind(number.cast_signed())
        .fetch_optional(&self.pool)
        .in_time()
        .await?;
        let Some(row) = row else { return Ok(Published::default()) };
        let id = |column: &str| -> Result<Option<u64>, StoreError> {
            Ok(row.try_get::<Option<i64>, _>(column)?.map(i64::cast_unsigned))
        };
        Ok(Published {
            head: row.try_get("head")?,
            check_id: id("check_id")?,
            comment_id: id("comment_id")?,
            digest: row.try_get("digest")?,
            buttons: row.try_get::<i64, _>("buttons")? != 0,
        })
    }
}

impl Tx {
    /// Remembers whether people are asked to approve a pull request.
    pub async fn set_asking(&mut self, repository: &str, number: u64, asking: &Asking) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO pulls (repository, number, asked_head, asked_since) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (repository, number) DO UPDATE SET asked_head = excluded.asked_head, \
             asked_since = excluded.asked_since",
        )
        .bind(repository)
        .bind(number.cast_signed())
        .bind(asking.head.as_str())
        .bind(asking.since.map(|since| since.timestamp_millis()))
        .execute(&mut *self.tx)
        .in_time()
        .await?;
        Ok(())
    }

    /// Remembers what was published on a pull request.
    pub async fn set_published(&mut self, repository: &str, number: u64, what: &Published) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO pulls (repository, number, head, check_id, comment_id, digest, buttons) \
             VALUES ($1, $2, $3, $4, $5, $6, $7) \
             ON CONFLICT (repository, number) DO UPDATE SET head = excluded.head, check_id = excluded.check_id, \
             comment_id = excluded.comment_id, digest = excluded.digest, buttons = excluded.buttons",
        )
        .bind(repository)
        .bind(number.cast_signed())
        .bind(&what.head)
        .bind(what.check_id.map(u64::cast_signed))
        .bind(what.comment_id.map(u64::cast_signed))
        .bind(&what.digest)
        .bind(i64::from(what.buttons))
        .execute(&mut *self.tx)
        .in_time()
        .await?;
        Ok(())
    }
}
