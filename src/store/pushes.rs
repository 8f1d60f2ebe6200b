//! Who pushed which commit. Authors and committers are what whoever pushes writes; only GitHub's webhooks tell who that was.

use chrono::{DateTime, Utc};
use sqlx::Row;

use super::patience::InTime;
use super::{Store, StoreError, Tx};
use crate::access::facts::Account;
use crate::policy::name::{CommitId, RepositoryName, UserId};

impl Store {
    /// Who pushed a commit, or something that ends with it, as far as webhooks told.
    pub async fn pushers(&self, repository: &RepositoryName, commit: &CommitId) -> Result<Vec<Account>, StoreError> {
        let rows = sqlx::query(
            "SELECT account, login FROM pushes WHERE repository = $1 AND commit_id = $2 ORDER BY pushed_at, account",
        )
        .bind(repository.as_str())
        .bind(commit.as_str())
        .fetch_all(&self.pool)
        .in_time()
        .await?;
        let account = |row: &sqlx::any::AnyRow| {
            let login: String = row.try_get("login")?;
            let login = login
                .parse()
                .map_err(|_| StoreError::Corrupt { table: "pushes", problem: format!("{login:?} is no login") })?;
            Ok(Account { id: UserId(row.try_get::<i64, _>("account")?.cast_unsigned()), login, bot: false })
        };
        rows.iter().map(account).collect()
    }
}

impl Tx {
    /// Remembers who pushed a commit.
    pub async fn pushed(
        &mut self,
        repository: &RepositoryName,
        commit: &CommitId,
        by: &Account,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO pushes (repository, commit_id, account, login, pushed_at) VALUES ($1, $2, $3, $4, $5) \
             ON CONFLICT (repository, commit_id, account) DO NOTHING",
        )
        .bind(repository.as_str())
        .bind(commit.as_str())
        .bind(by.id.0.cast_signed())
        .bind(by.login.as_str())
        .bind(now.timestamp_millis())
        .execute(&mut *self.tx)
        .in_time()
        .await?;
        Ok(())
    }

    /// Forgets who pushed before that.
    pub async fn forget_pushes(&mut self, before: DateTime<Utc>) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM pushes WHERE pushed_at < $1")
            .bind(before.timestamp_millis())
            .execute(&mut *self.tx)
            .in_time()
            .await?;
        Ok(())
    }
}
