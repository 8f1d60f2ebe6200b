//! What people asked for in comments and by buttons: looked at once, whatever crashes in between.

use chrono::{DateTime, Utc};
use sqlx::Row;

use super::patience::InTime;
use super::{Store, StoreError, Tx};
use crate::access::command::Outcome;
use crate::access::grant::GrantId;
use crate::policy::name::{RepositoryName, UserId};

/// A command that was decided, and whose consequences may be left to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heeded {
    /// The comment.
    pub comment: u64,
    /// What was done.
    pub verb: String,
    /// What became of it.
    pub outcome: Outcome,
    /// Whether the pull request is to be closed.
    pub closes: bool,
}

/// A button that was pressed, by GitHub's word alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Press {
    /// The webhook that told.
    pub delivery: String,
    /// The pull request, as the check run's own name for it tells. To be verified.
    pub pull_request: u64,
    /// The check run. To be verified.
    pub check_run: u64,
    /// Which button.
    pub button: String,
    /// Who pressed it.
    pub account: UserId,
}

impl Store {
    /// What was decided about the commands of a pull request, and whether nothing is left to do about each.
    pub async fn heeded(&self, repository: &RepositoryName, pull: u64) -> Result<Vec<(Heeded, bool)>, StoreError> {
        let rows = sqlx::query(
            "SELECT comment, verb, outcome, closes, done_at FROM commands WHERE repository = $1 AND pull_request = $2",
        )
        .bind(repository.as_str())
        .bind(pull.cast_signed())
        .fetch_all(&self.pool)
        .in_time()
        .await?;
        let heeded = rows.iter().map(|row| {
            let command = Heeded {
                comment: row.try_get::<i64, _>("comment")?.cast_unsigned(),
                verb: row.try_get("verb")?,
                // A word of another version: it was dealt with.
                outcome: Outcome::from_word(&row.try_get::<String, _>("outcome")?).unwrap_or(Outcome::Ignored),
                closes: row.try_get::<i64, _>("closes")? != 0,
            };
            Ok((command, row.try_get::<Option<i64>, _>("done_at")?.is_some()))
        });
        heeded.collect()
    }

    /// The buttons that were pressed for a pull request and not looked at, the first one first.
    pub async fn waiting_presses(&self, repository: &RepositoryName, pull: u64) -> Result<Vec<Press>, StoreError> {
        let rows = sqlx::query(
            "SELECT delivery, check_run, button, account FROM presses WHERE repository = $1 AND pull_request = $2 \
             AND done_at IS NULL ORDER BY pressed_at, delivery",
        )
        .bind(repository.as_str())
        .bind(pull.cast_signed())
        .fetch_all(&self.pool)
        .in_time()
        .await?;
        let presses = rows.iter().map(|row| {
            Ok(Press {
                delivery: row.try_get("delivery")?,
                pull_request: pull,
                check_run: row.try_get::<i64, _>("check_run")?.cast_unsigned(),
                button: row.try_get("button")?,
                account: UserId(row.try_get::<i64, _>("account")?.cast_unsigned()),
            })
        });
        presses.collect()
    }
}

impl Tx {
    /// Remembers what was decided about a command. What was decided first stays.
    pub async fn heed(
        &mut self,
        repository: &RepositoryName,
        pull: u64,
        command: &Heeded,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO commands (repository, comment, pull_request, verb, outcome, closes, decided_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (repository, comment) DO NOTHING",
        )
        .bind(repository.as_str())
        .bind(command.comment.cast_signed())
        .bind(pull.cast_signed())
        .bind(&command.verb)
        .bind(command.outcome.as_str())
        .bind(i64::from(command.closes))
        .bind(now.timestamp_millis())
        .execute(&mut *self.tx)
        .in_time()
        .await?;
        Ok(())
    }

    /// Nothing is left to do about a command.
    pub async fn heeded(
        &mut self,
        repository: &RepositoryName,
        comment: u64,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        sqlx::query("UPDATE commands SET done_at = $3 WHERE repository = $1 AND comment = $2")
            .bind(repository.as_str())
            .bind(comment.cast_signed())
            .bind(now.timestamp_millis())
            .execute(&mut *self.tx)
            .in_time()
            .await?;
        Ok(())
    }

    /// Keeps a press until it is looked at; one that is known is left as it is.
    pub async fn press(
        &mut self,
        repository: &RepositoryName,
        press: &Press,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO presses (delivery, repository, pull_request, check_run, button, account, pressed_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (delivery) DO NOTHING",
        )
        .bind(&press.delivery)
        .bind(repository.as_str())
        .bind(press.pull_request.cast_signed())
        .bind(press.check_run.cast_signed())
        .bind(&press.button)
        .bind(press.account.0.cast_signed())
        .bind(now.timestamp_millis())
        .execute(&mut *self.tx)
        .in_time()
        .await?;
        Ok(())
    }

    /// A press was looked at.
    pub async fn pressed(&mut self, delivery: &str, now: DateTime<Utc>) -> Result<(), StoreError> {
        sqlx::query("UPDATE presses SET done_at = $2 WHERE delivery = $1")
            .bind(delivery)
            .bind(now.timestamp_millis())
            .execute(&mut *self.tx)
            .in_time()
            .await?;
        Ok(())
    }

    /// Forgets presses that were looked at before `before`.
    pub async fn forget_presses(&mut self, before: DateTime<Utc>) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM presses WHERE done_at < $1")
            .bind(before.timestamp_millis())
            .execute(&mut *self.tx)
            .in_time()
            .await?;
        Ok(())
    }

    /// Remembers which pull request asks to extend a grant.
    pub async fn set_extension(
        &mut self,
        repository: &RepositoryName,
        grant: &GrantId,
        pull: u64,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO extensions (repository, grant_id, pull_request) VALUES ($1, $2, $3) \
             ON CONFLICT (repository, grant_id) DO UPDATE SET pull_request = excluded.pull_request",
        )
        .bind(repository.as_str())
        .bind(grant.to_string())
        .bind(pull.cast_signed())
        .execute(&mut *self.tx)
        .in_time()
        .await?;
        Ok(())
    }

    /// The pull request that asks to extend a grant, as of this transaction.
    pub async fn extension_of(
        &mut self,
        repository: &RepositoryName,
        grant: &GrantId,
    ) -> Result<Option<u64>, StoreError> {
        let pull: Option<i64> =
            sqlx::query_scalar("SELECT pull_request FROM extensions WHERE repository = $1 AND grant_id = $2")
                .bind(repository.as_str())
                .bind(grant.to_string())
                .fetch_optional(&mut *self.tx)
                .in_time()
                .await?;
        Ok(pull.map(i64::cast_unsigned))
    }
}
