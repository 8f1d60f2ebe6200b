//! Access that was applied, or may have been.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use sqlx::Row;
use sqlx::any::AnyRow;

use super::patience::InTime;
use super::{Store, StoreError, Tx, Unreadable, clean, digest, read_json, time, write_json};
use crate::access::grant::GrantRef;
use crate::access::plan::{Applied, Progress};
use crate::policy::entitlement::Entitlement;
use crate::policy::name::{NameError, TargetName};
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

/// Everything applied on a target.
#[derive(Debug, Default)]
pub struct HeldOn {
    /// By what is held. Where it cannot be read for whom, nobody holds it.
    pub held: BTreeMap<Entitlement, Held>,
    /// By their keys: what is held, but cannot be read what it is.
    pub unnamed: BTreeMap<String, Held>,
    /// Rows of which not all can be read, by their keys.
    pub unreadable: BTreeMap<String, Unreadable>,
}

/// Access that is looked at again, for a call that gives it may have been on its way when it was taken away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watched {
    /// What.
    pub entitlement: Entitlement,
    /// The grants it was given for.
    pub holders: BTreeSet<GrantRef>,
}

/// Access that should be gone, on one target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overdue {
    /// The target.
    pub target: String,
    /// How many entitlements.
    pub count: i64,
    /// When the first of them should have been gone.
    pub since: DateTime<Utc>,
}

/// Entitlements may carry keys of people, which are long.
pub(crate) fn key(entitlement: &Entitlement) -> String {
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

fn watched_row(row: &AnyRow) -> Result<Watched, StoreError> {
    Ok(Watched {
        entitlement: read_json("watched", &row.try_get::<String, _>("entitlement")?)?,
        holders: read_json("watched", &row.try_get::<String, _>("holders")?)?,
    })
}

/// What is left of a row that cannot be read in full: it may be applied, for nobody knows whom.
fn remains_of(row: &AnyRow) -> Result<Held, StoreError> {
    let standing = row.try_get::<i64, _>("standing")? != 0;
    let applied = Applied { progress: Progress::Granting, standing, holders: BTreeSet::new() };
    Ok(Held { applied, receipt: None, last_error: None, revision: row.try_get("revision")? })
}

impl Store {
    /// Everything applied on a target. What cannot be read hides nothing else, and does not count as absent.
    pub async fn held(&self, target: &TargetName) -> Result<HeldOn, StoreError> {
        let rows = sqlx::query(
            "SELECT key, entitlement, progress, standing, holders, receipt, last_error, revision FROM entitlements \
             WHERE target = $1",
        )
        .bind(target.as_str())
        .fetch_all(&self.pool)
        .in_time()
        .await?;
        let mut on = HeldOn::default();
        for row in &rows {
            let key: String = row.try_get("key")?;
            let named = read_json::<Entitlement>("entitlements", &row.try_get::<String, _>("entitlement")?);
            let (named, held) = match (named, held_row(row)) {
                (Ok(entitlement), Ok(held)) => {
                    on.held.insert(entitlement, held);
                    continue;
                }
                (named, held) => {
                    let problem = named.as_ref().err().or(held.as_ref().err()).map(StoreError::to_string);
                    let outcome = problem.unwrap_or_default();
                    on.unreadable.insert(key.clone(), Unreadable { table: "entitlements", row: key.clone(), outcome });
                    (named.ok(), held.or_else(|_| remains_of(row)))
                }
            };
            // Without a word on whether it was there before, nobody may touch it.
            let Ok(held) = held else { continue };
            match named {
                Some(entitlement) => drop(on.held.insert(entitlement, held)),
                None => drop(on.unnamed.insert(key, held)),
            }
        }
        Ok(on)
    }

    /// What is to be looked at again on a target at `now`.
    pub async fn watched(
        &self,
        target: &TargetName,
        now: DateTime<Utc>,
        most: u32,
    ) -> Result<Vec<Watched>, StoreError> {
        let rows = sqlx::query(
            "SELECT entitlement, holders FROM watched WHERE target = $1 AND look_at <= $2 \
             ORDER BY look_at LIMIT $3",
        )
        .bind(target.as_str())
        .bind(now.timestamp_millis())
        .bind(i64::from(most))
        .fetch_all(&self.pool)
        .in_time()
        .await?;
        let mut watched = Vec::new();
        for row in &rows {
            match watched_row(row) {
                Ok(one) => watched.push(one),
                Err(error @ StoreError::Corrupt { .. }) => tracing::error!(%target, %error, "a row cannot be read"),
                Err(error) => return Err(error),
            }
        }
        Ok(watched)
    }

    /// Whether a call that gives an entitlement may have been on its way when it was taken away.
    pub async fn is_watched(&self, entitlement: &Entitlement) -> Result<bool, StoreError> {
        let count: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM watched WHERE key = $1")
            .bind(key(entitlement))
            .fetch_one(&self.pool)
            .in_time()
            .await?;
        Ok(count > 0)
    }

    /// What should be gone and is not, by target.
    pub async fn overdue(&self, now: DateTime<Utc>) -> Result<Vec<Overdue>, StoreError> {
        let rows = sqlx::query(
            "SELECT target, COUNT(*), MIN(ends_at) FROM entitlements WHERE standing = 0 AND ends_at <= $1 \
             GROUP BY target ORDER BY target",
        )
        .bind(now.timestamp_millis())
        .fetch_all(&self.pool)
        .in_time()
        .await?;
        rows.iter()
            .map(|row| {
                let since = time("entitlements", row.try_get(2)?)?;
                Ok(Overdue { target: row.try_get(0)?, count: row.try_get(1)?, since })
            })
            .collect()
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

    /// The targets on which something is applied, or is to be, or is looked at again.
    pub async fn targets_in_use(&self) -> Result<Vec<TargetName>, StoreError> {
        let names: Vec<String> = sqlx::query_scalar(
            "SELECT target FROM entitlements UNION SELECT target FROM grant_targets UNION SELECT target FROM watched ORDER BY 1",
        )
        .fetch_all(&self.pool)
        .in_time()
        .await?;
        let readable = |name: &String| match name.parse() {
            Ok(name) => Some(name),
            Err(error) => {
                let error: NameError = error;
                tracing::error!(%error, table = "entitlements", target = name, "a row cannot be read; run `daypass rebuild`");
                None
            }
        };
        Ok(names.iter().filter_map(readable).collect())
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
             entitlement = excluded.entitlement, holders = excluded.holders, receipt = COALESCE(excluded.receipt, entitlements.receipt), \
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

    /// Notes when the last of the grants that give an entitlement ends.
    pub async fn set_held_end(&mut self, entitlement: &Entitlement, ends_at: DateTime<Utc>) -> Result<(), StoreError> {
        sqlx::query("UPDATE entitlements SET ends_at = $2 WHERE key = $1")
            .bind(key(entitlement))
            .bind(ends_at.timestamp_millis())
            .execute(&mut *self.tx)
            .in_time()
            .await?;
        Ok(())
    }

    /// Notes that nobody has a right to an entitlement any more, at `now` at the latest.
    pub async fn set_held_over(&mut self, entitlement: &Entitlement, now: DateTime<Utc>) -> Result<(), StoreError> {
        sqlx::query("UPDATE entitlements SET ends_at = $2 WHERE key = $1 AND (ends_at IS NULL OR ends_at > $2)")
            .bind(key(entitlement))
            .bind(now.timestamp_millis())
            .execute(&mut *self.tx)
            .in_time()
            .await?;
        Ok(())
    }

    /// Notes that a call is made that gives an entitlement.
    pub async fn open_call(&mut self, entitlement: &Entitlement) -> Result<(), StoreError> {
        sqlx::query("UPDATE entitlements SET open_calls = open_calls + 1 WHERE key = $1")
            .bind(key(entitlement))
            .execute(&mut *self.tx)
            .in_time()
            .await?;
        Ok(())
    }

    /// Notes that such a call returned, and can have no effect any more.
    pub async fn close_call(&mut self, entitlement: &Entitlement) -> Result<(), StoreError> {
        sqlx::query("UPDATE entitlements SET open_calls = open_calls - 1 WHERE key = $1 AND open_calls > 0")
            .bind(key(entitlement))
            .execute(&mut *self.tx)
            .in_time()
            .await?;
        Ok(())
    }

    /// Sees that an entitlement that is about to be forgotten is looked at again until then, if a call that gives it may still be on
    /// its way.
    pub async fn watch_if_open(
        &mut self,
        entitlement: &Entitlement,
        look_at: DateTime<Utc>,
        until: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO watched (key, entitlement, target, holders, look_at, watch_until) \
             SELECT key, entitlement, target, holders, $2, $3 FROM entitlements WHERE key = $1 AND open_calls > 0 \
             ON CONFLICT (key) DO UPDATE SET holders = excluded.holders, look_at = excluded.look_at, \
             watch_until = excluded.watch_until",
        )
        .bind(key(entitlement))
        .bind(look_at.timestamp_millis())
        .bind(until.timestamp_millis())
        .execute(&mut *self.tx)
        .in_time()
        .await?;
        Ok(())
    }

    /// Looks again at what is watched at `look_at`, unless that is too late to matter.
    pub async fn watch_on(&mut self, entitlement: &Entitlement, look_at: DateTime<Utc>) -> Result<(), StoreError> {
        let key = key(entitlement);
        sqlx::query("DELETE FROM watched WHERE key = $1 AND watch_until < $2")
            .bind(&key)
            .bind(look_at.timestamp_millis())
            .execute(&mut *self.tx)
            .in_time()
            .await?;
        sqlx::query("UPDATE watched SET look_at = $2 WHERE key = $1")
            .bind(&key)
            .bind(look_at.timestamp_millis())
            .execute(&mut *self.tx)
            .in_time()
            .await?;
        Ok(())
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
