//! What reading everything anew needs: forgetting what was read, and throwing away what cannot be.

use chrono::{DateTime, Utc};
use sqlx::Row;

use super::patience::InTime;
use super::{Store, StoreError, Tx, read_json, write_json};
use crate::access::grant::{Grant, GrantRef};
use crate::access::plan::Progress;
use crate::policy::entitlement::Entitlement;
use crate::policy::name::RepositoryName;
use crate::target::Receipt;

/// A row that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    /// The table.
    pub table: &'static str,
    /// Which row.
    pub row: String,
    /// What became of it, or what is wrong with it.
    pub outcome: String,
}

/// The mark a serving process leaves.
const SERVING: &str = "serving";

impl Store {
    /// Whether some process has served from this database since `since`.
    pub async fn is_served(&self, since: DateTime<Utc>) -> Result<bool, StoreError> {
        Ok(self.mark(SERVING).await?.is_some_and(|at| at > since))
    }

    /// Says that this process serves from the database, or, if nobody else can, that it does no longer.
    pub async fn say_serving(&self, serves: bool, now: DateTime<Utc>) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        match serves {
            true => tx.set_mark(SERVING, now).await?,
            false if self.is_shared() => {}
            false => tx.set_mark(SERVING, DateTime::UNIX_EPOCH).await?,
        }
        tx.commit().await
    }
}

impl Tx {
    /// Forgets how far a repository was read, and which of its files were refused: all of that is read anew.
    pub async fn forget_reading(&mut self, repository: &RepositoryName) -> Result<(), StoreError> {
        for sql in ["DELETE FROM repositories WHERE name = $1", "DELETE FROM refusals WHERE repository = $1"] {
            sqlx::query(sql).bind(repository.as_str()).execute(&mut *self.tx).in_time().await?;
        }
        Ok(())
    }

    /// Throws away grants that cannot be read; they are read anew from git. Of an entitlement, what can be read is kept: it counts as
    /// perhaps applied, so that it is taken away unless it is due.
    pub async fn discard_unreadable(&mut self) -> Result<Vec<Unreadable>, StoreError> {
        let mut found = self.discard_grants().await?;
        found.extend(self.mend_entitlements().await?);
        found.extend(self.discard_watched().await?);
        Ok(found)
    }

    async fn discard_watched(&mut self) -> Result<Vec<Unreadable>, StoreError> {
        let rows =
            sqlx::query("SELECT key, entitlement, holders FROM watched").fetch_all(&mut *self.tx).in_time().await?;
        let mut found = Vec::new();
        for row in rows {
            let (key, entitlement, holders): (String, String, String) =
                (row.try_get("key")?, row.try_get("entitlement")?, row.try_get("holders")?);
            if read_json::<Entitlement>("watched", &entitlement).is_ok()
                && read_json::<std::collections::BTreeSet<GrantRef>>("watched", &holders).is_ok()
            {
                continue;
            }
            sqlx::query("DELETE FROM watched WHERE key = $1").bind(&key).execute(&mut *self.tx).in_time().await?;
            let outcome = "thrown away; it was to be looked at once more, after it had been taken away".to_owned();
            found.push(Unreadable { table: "watched", row: entitlement, outcome });
        }
        Ok(found)
    }

    async fn discard_grants(&mut self) -> Result<Vec<Unreadable>, StoreError> {
        let rows = sqlx::query("SELECT repository, id, body FROM grants").fetch_all(&mut *self.tx).in_time().await?;
        let mut found = Vec::new();
        for row in rows {
            let (repository, id): (String, String) = (row.try_get("repository")?, row.try_get("id")?);
            let body: Result<Grant, _> = read_json("grants", &row.try_get::<String, _>("body")?);
            let whose = repository.parse::<RepositoryName>();
            if body.is_ok_and(|grant| grant.id.to_string() == id) && whose.is_ok() {
                continue;
            }
            for sql in [
                "DELETE FROM grants WHERE repository = $1 AND id = $2",
                "DELETE FROM grant_targets WHERE repository = $1 AND id = $2",
            ] {
                sqlx::query(sql).bind(&repository).bind(&id).execute(&mut *self.tx).in_time().await?;
            }
            let row = format!("{repository} {id}");
            found.push(Unreadable {
                table: "grants",
                row,
                outcome: "thrown away; it is read anew from git".to_owned(),
            });
        }
        Ok(found)
    }

    async fn mend_entitlements(&mut self) -> Result<Vec<Unreadable>, StoreError> {
        let rows = sqlx::query("SELECT key, entitlement, progress, holders, receipt FROM entitlements")
            .fetch_all(&mut *self.tx)
            .in_time()
            .await?;
        let mut found = Vec::new();
        for row in rows {
            let text = |name: &str| row.try_get::<Option<String>, _>(name).map(Option::unwrap_or_default);
            let key = text("key")?;
            let entitlement: Result<Entitlement, _> = read_json("entitlements", &text("entitlement")?);
            if entitlement.is_err() {
                sqlx::query("DELETE FROM entitlements WHERE key = $1")
                    .bind(&key)
                    .execute(&mut *self.tx)
                    .in_time()
                    .await?;
                found.push(Unreadable {
                    table: "entitlements",
                    row: text("entitlement")?,
                    outcome: UNNAMEABLE.to_owned(),
                });
                continue;
            }
            let receipt = text("receipt")?;
            let readable = read_json::<Progress>("entitlements", &text("progress")?).is_ok()
                && read_json::<std::collections::BTreeSet<GrantRef>>("entitlements", &text("holders")?).is_ok()
                && (receipt.is_empty() || read_json::<Receipt>("entitlements", &receipt).is_ok());
            if readable {
                continue;
            }
            sqlx::query(
                "UPDATE entitlements SET progress = $2, holders = '[]', receipt = NULL, revision = revision + 1 WHERE key = $1",
            )
            .bind(&key)
            .bind(write_json(&Progress::Granting))
            .execute(&mut *self.tx)
            .in_time()
            .await?;
            let row = text("entitlement")?;
            found.push(Unreadable { table: "entitlements", row, outcome: "counts as perhaps applied".to_owned() });
        }
        Ok(found)
    }
}

/// What becomes of an entitlement whose very name is damaged.
const UNNAMEABLE: &str = "thrown away, for nobody can say any more what it was; look on the targets by hand";
