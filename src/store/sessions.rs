//! Sessions that were seen on targets and are not known to be over, and the grants a session may belong to.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sqlx::Row;
use sqlx::any::AnyRow;

use super::grants::{COLUMNS, grant_row};
use super::patience::InTime;
use super::{GrantRow, Store, StoreError, Tx, entitlement_key, read_json, time, write_json};
use crate::access::grant::GrantRef;
use crate::policy::entitlement::Entitlement;
use crate::policy::name::{Login, RepositoryName, TargetName};

const TABLE: &str = "sessions";
/// How many grants of one subject are looked at for one session.
const MOST_GRANTS: i64 = 1_000;

/// A session that was seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenSession {
    /// The access it is counted as a use of.
    pub entitlement: Entitlement,
    /// What tells it apart from the others that are open.
    pub key: String,
    /// When it began, or was seen first.
    pub opened_at: DateTime<Utc>,
    /// The grants on whose record it is.
    pub grants: BTreeSet<GrantRef>,
}

impl OpenSession {
    /// What tells it apart from all others on its target.
    pub fn name(&self) -> String {
        format!("{} since {}", self.key, self.opened_at.timestamp_millis())
    }
}

fn open_session(row: &AnyRow) -> Result<(OpenSession, DateTime<Utc>), StoreError> {
    Ok((read_json(TABLE, &row.try_get::<String, _>("body")?)?, time(TABLE, row.try_get("seen_at")?)?))
}

impl Store {
    /// The sessions that are open on a target as far as is known, each with until when it was seen.
    pub async fn open_sessions(&self, target: &TargetName) -> Result<Vec<(OpenSession, DateTime<Utc>)>, StoreError> {
        let rows = sqlx::query("SELECT body, seen_at FROM sessions WHERE target = $1 ORDER BY entitlement, session")
            .bind(target.as_str())
            .fetch_all(&self.pool)
            .in_time()
            .await?;
        rows.iter().map(open_session).collect()
    }

    /// The same, for one entitlement.
    pub async fn open_sessions_of(
        &self,
        entitlement: &Entitlement,
    ) -> Result<Vec<(OpenSession, DateTime<Utc>)>, StoreError> {
        let rows = sqlx::query("SELECT body, seen_at FROM sessions WHERE entitlement = $1 ORDER BY session")
            .bind(entitlement_key(entitlement))
            .fetch_all(&self.pool)
            .in_time()
            .await?;
        rows.iter().map(open_session).collect()
    }

    /// The grants of a repository that somebody had at a time or later, the latest first.
    pub async fn grants_had_since(
        &self,
        repository: &RepositoryName,
        subject: &Login,
        since: DateTime<Utc>,
    ) -> Result<Vec<GrantRow>, StoreError> {
        // What is exact is looked at below: `_` stands for any letter here, and some logins have one.
        let login = format!("%\"login\":\"{}\"%", subject.as_str().to_ascii_lowercase());
        let sql = format!(
            "{COLUMNS} WHERE repository = $1 AND ends_at >= $2 AND LOWER(body) LIKE $3 ORDER BY ends_at DESC, id LIMIT $4"
        );
        let rows = sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(repository.as_str())
            .bind(since.timestamp_millis())
            .bind(login)
            .bind(MOST_GRANTS)
            .fetch_all(&self.pool)
            .in_time()
            .await?;
        let mut grants = rows.iter().map(grant_row).collect::<Result<Vec<_>, _>>()?;
        grants.retain(|row| row.grant.subject.login.as_str().eq_ignore_ascii_case(subject.as_str()));
        Ok(grants)
    }
}

impl Tx {
    /// Remembers that a session is open, or still is, at `seen`.
    pub async fn put_session(&mut self, session: &OpenSession, seen: DateTime<Utc>) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO sessions (target, entitlement, session, body, seen_at) VALUES ($1, $2, $3, $4, $5) \
             ON CONFLICT (target, entitlement, session) DO UPDATE SET body = excluded.body, seen_at = excluded.seen_at",
        )
        .bind(session.entitlement.target.as_str())
        .bind(entitlement_key(&session.entitlement))
        .bind(session.name())
        .bind(write_json(session))
        .bind(seen.timestamp_millis())
        .execute(&mut *self.tx)
        .in_time()
        .await?;
        Ok(())
    }

    /// Forgets a session, because it is over.
    pub async fn forget_session(&mut self, session: &OpenSession) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM sessions WHERE target = $1 AND entitlement = $2 AND session = $3")
            .bind(session.entitlement.target.as_str())
            .bind(entitlement_key(&session.entitlement))
            .bind(session.name())
            .execute(&mut *self.tx)
            .in_time()
            .await?;
        Ok(())
    }
}
