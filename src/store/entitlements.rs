//! Access that was applied, or may have been.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use sqlx::Row;
use sqlx::any::AnyRow;

use super::patience::InTime;
use super::{Store, StoreError, Tx, clean, digest, read_json, write_json};
use crate::access::grant::GrantRef;
use crate::access::plan::{Applied, Progress};
use crate::policy::entitlement::Entitlement;
use crate::policy::name::TargetName;
use crate::target::Receipt;

/// An entitlement as the store knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// How far it has come, and whether it was there before.
    pub applied: Applied,
    /// What the target answered to the grant.
    pub receipt: Option<Receipt>,
    /// What it said the last time something failed.
    pub last_error: Option<String>,
    /// How often it was written.
    pub revision: i64,
}

/// Entitlements may carry keys of people, which are long.
fn key(entitlement: &Entitlement) -> String {
    digest(&[&write_json(entitlement)])
}

fn held_row(row: &AnyRow) -> Result<Held, StoreError> {
    let receipt: Option<String> = row.try_get("receipt")?;
    Ok(Held {
        applied: Applied {
            progress: read_json("entitlements", &row.try_get::<String, _>("progress")?)?,
            standing: row.try_get::<i64, _>("standing")? != 0,
            holders: read_json("entitlements", &row.try_get::<String, _>("holders")?)?,
        },
        receipt: receipt.map(|text| read_json("entitlements", &text)).transpose()?,
        last_error: row.try_get("last_error")?,
        revision: row.try_get("revision")?,
    })
}

impl Store {
    /// Everything applied on a target.
    pub async fn held(&self, target: &TargetName) -> Result<BTreeMap<Entitlement, Held>, StoreError> {
        let rows = sqlx::query(
            "SELECT entitlement, progress, standing, holders, receipt, last_error, revision FROM entitlements WHERE target = $1",
        )
        .bind(target.as_str())
        .fetch_all(&self.pool)
        .in_time()
        .await?;
        let mut held = BTreeMap::new();
        for row in &rows {
            held.insert(read_json("entitlements", &row.try_get::<String, _>("entitlement")?)?, held_row(row)?);
        }
        Ok(held)
    }

    /// How far one entitlement has come; `None` if nothing of it is applied.
    pub async fn held_one(&self, entitlement: &Entitlement) -> Result<Option<Held>, StoreError> {
        let row = sqlx::query(
            "SELECT progress, standing, holders, receipt, last_error, revision FROM entitlements WHERE key = $1",
        )
        .bind(key(entitlement))
        .fetch_optional(&self.pool)
        .in_time()
        .await?;
        row.as_ref().map(held_row).transpose()
    }

    /// The targets on which something is applied, or is to be.
    pub async fn targets_in_use(&self) -> Result<Vec<TargetName>, StoreError> {
        let names: Vec<String> =
            sqlx::query_scalar("SELECT target FROM entitlements UNION SELECT target FROM grant_targets ORDER BY 1")
                .fetch_all(&self.pool)
                .in_time()
                .await?;
        names
            .iter()
            .map(|name| {
                name.parse().map_err(|error| StoreError::Corrupt { table: "entitlements", problem: format!("{error}") })
            })
            .collect()
    }
}

impl Tx {
    /// Writes how far an entitlement has come; keeps the receipt there is, if none is given. How often it has been written now.
    pub async fn put_held(
        &mut self,
        entitlement: &Entitlement,
        applied: &Applied,
        receipt: Option<&Receipt>,
        now: DateTime<Utc>,
    ) -> Result<i64, StoreError> {
        sqlx::query_scalar(
            "INSERT INTO entitlements (key, target, progress, standing, holders, receipt, changed_at, entitlement, revision) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 1) \
             ON CONFLICT (key) DO UPDATE SET progress = excluded.progress, standing = excluded.standing, \
             holders = excluded.holders, receipt = COALESCE(excluded.receipt, entitlements.receipt), \
             last_error = NULL, changed_at = excluded.changed_at, revision = entitlements.revision + 1 RETURNING revision",
        )
        .bind(key(entitlement))
        .bind(entitlement.target.as_str())
        .bind(write_json(&applied.progress))
        .bind(i64::from(applied.standing))
        .bind(write_json(&applied.holders))
        .bind(receipt.map(write_json))
        .bind(now.timestamp_millis())
        .bind(write_json(entitlement))
        .fetch_one(&mut *self.tx)
        .in_time()
        .await
    }

    /// Writes how far an entitlement has come, if it was written `revision` times so far; false if it was written again since.
    pub async fn update_held(
        &mut self,
        entitlement: &Entitlement,
        revision: i64,
        applied: &Applied,
        receipt: Option<&Receipt>,
        now: DateTime<Utc>,
    ) -> Result<bool, StoreError> {
        let done = sqlx::query(
            "UPDATE entitlements SET progress = $3, standing = $4, holders = $5, receipt = COALESCE($6, receipt), \
             last_error = NULL, changed_at = $7, revision = revision + 1 WHERE key = $1 AND revision = $2",
        )
        .bind(key(entitlement))
        .bind(revision)
        .bind(write_json(&applied.progress))
        .bind(i64::from(applied.standing))
        .bind(write_json(&applied.holders))
        .bind(receipt.map(write_json))
        .bind(now.timestamp_millis())
        .execute(&mut *self.tx)
        .in_time()
        .await?;
        Ok(done.rows_affected() > 0)
    }

    /// Writes that a process gave an entitlement without holding the work any more: it may be there now, by us. What others know
    /// of it stays, except that none of them saw it before Daypass.
    pub async fn put_stray_grant(
        &mut self,
        entitlement: &Entitlement,
        holders: &BTreeSet<GrantRef>,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO entitlements (key, target, progress, standing, holders, changed_at, entitlement, revision) \
             VALUES ($1, $2, $3, 0, $4, $5, $6, 1) \
             ON CONFLICT (key) DO UPDATE SET standing = 0, revision = entitlements.revision + 1",
        )
        .bind(key(entitlement))
        .bind(entitlement.target.as_str())
        .bind(write_json(&Progress::Granting))
        .bind(write_json(holders))
        .bind(now.timestamp_millis())
        .bind(write_json(entitlement))
        .execute(&mut *self.tx)
        .in_time()
        .await?;
        Ok(())
    }

    /// Writes that a process took an entitlement away without holding the work any more: what others gave since may be gone.
    pub async fn put_stray_revoke(&mut self, entitlement: &Entitlement) -> Result<(), StoreError> {
        sqlx::query(
            "UPDATE entitlements SET progress = CASE WHEN progress = $2 THEN $3 ELSE progress END, \
             revision = revision + 1 WHERE key = $1",
        )
        .bind(key(entitlement))
        .bind(write_json(&Progress::Granted))
        .bind(write_json(&Progress::Granting))
        .execute(&mut *self.tx)
        .in_time()
        .await?;
        Ok(())
    }

    /// Notes why the last attempt failed.
    pub async fn set_held_error(&mut self, entitlement: &Entitlement, error: &str) -> Result<(), StoreError> {
        sqlx::query("UPDATE entitlements SET last_error = $2 WHERE key = $1")
            .bind(key(entitlement))
            .bind(clean(error))
            .execute(&mut *self.tx)
            .in_time()
            .await?;
        Ok(())
    }

    /// Forgets an entitlement that was written `revision` times: the target confirmed that it is gone, or it was never ours.
    /// False if it was written again since.
    pub async fn forget_held(&mut self, entitlement: &Entitlement, revision: i64) -> Result<bool, StoreError> {
        let done = sqlx::query("DELETE FROM entitlements WHERE key = $1 AND revision = $2")
            .bind(key(entitlement))
            .bind(revision)
            .execute(&mut *self.tx)
            .in_time()
            .await?;
        Ok(done.rows_affected() > 0)
    }
}
