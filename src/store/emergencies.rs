//! Uses of break-glass that are, or were, to be reviewed.

use chrono::{DateTime, Utc};
use sqlx::Row;
use sqlx::any::AnyRow;

use super::patience::InTime;
use super::{Store, StoreError, Tx, time};
use crate::access::grant::GrantId;
use crate::policy::name::RepositoryName;

/// A use of break-glass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Emergency {
    /// The grant.
    pub grant: GrantId,
    /// The issue in which it is reviewed, once it is open.
    pub issue: Option<u64>,
    /// By when it is to be reviewed.
    pub due_at: DateTime<Utc>,
    /// When it was.
    pub reviewed_at: Option<DateTime<Utc>>,
}

const TABLE: &str = "emergencies";
const COLUMNS: &str = "SELECT id, issue, due_at, reviewed_at FROM emergencies";

fn emergency(row: &AnyRow) -> Result<Emergency, StoreError> {
    let id: String = row.try_get("id")?;
    let corrupt = |problem: String| StoreError::Corrupt { table: TABLE, problem };
    Ok(Emergency {
        grant: id.parse().map_err(|error| corrupt(format!("{error}")))?,
        issue: row.try_get::<Option<i64>, _>("issue")?.map(i64::cast_unsigned),
        due_at: time(TABLE, row.try_get("due_at")?)?,
        reviewed_at: row.try_get::<Option<i64>, _>("reviewed_at")?.map(|at| time(TABLE, at)).transpose()?,
    })
}

impl Store {
    /// The emergency a grant was.
    pub async fn emergency(&self, repository: &RepositoryName, id: &GrantId) -> Result<Option<Emergency>, StoreError> {
        let sql = format!("{COLUMNS} WHERE repository = $1 AND id = $2");
        let row = sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(repository.as_str())
            .bind(id.to_string())
            .fetch_optional(&self.pool)
            .in_time()
            .await?;
        row.as_ref().map(emergency).transpose()
    }

    /// The emergency that is reviewed in an issue.
    pub async fn emergency_of_issue(
        &self,
        repository: &RepositoryName,
        issue: u64,
    ) -> Result<Option<Emergency>, StoreError> {
        let sql = format!("{COLUMNS} WHERE repository = $1 AND issue = $2");
        let row = sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(repository.as_str())
            .bind(issue.cast_signed())
            .fetch_optional(&self.pool)
            .in_time()
            .await?;
        row.as_ref().map(emergency).transpose()
    }

    /// All emergencies of a repository.
    pub async fn emergencies(&self, repository: &RepositoryName) -> Result<Vec<Emergency>, StoreError> {
        let sql = format!("{COLUMNS} WHERE repository = $1 ORDER BY due_at, id");
        let rows =
            sqlx::query(sqlx::AssertSqlSafe(sql)).bind(repository.as_str()).fetch_all(&self.pool).in_time().await?;
        rows.iter().map(emergency).collect()
    }

    /// How many emergencies nobody has reviewed, and how many of these should have been reviewed by `now`.
    pub async fn count_unreviewed(&self, now: DateTime<Utc>) -> Result<(u64, u64), StoreError> {
        let sql = "SELECT COUNT(*) AS waiting, COALESCE(SUM(CASE WHEN due_at <= $1 THEN 1 ELSE 0 END), 0) AS overdue \
                   FROM emergencies WHERE reviewed_at IS NULL";
        let row = sqlx::query(sql).bind(now.timestamp_millis()).fetch_one(&self.pool).in_time().await?;
        let count = |name| row.try_get::<i64, _>(name).map(i64::cast_unsigned);
        Ok((count("waiting")?, count("overdue")?))
    }
}

impl Tx {
    /// Writes an emergency.
    pub async fn put_emergency(
        &mut self,
        repository: &RepositoryName,
        emergency: &Emergency,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO emergencies (repository, id, issue, due_at, reviewed_at) VALUES ($1, $2, $3, $4, $5) \
             ON CONFLICT (repository, id) DO UPDATE SET issue = $3, due_at = $4, reviewed_at = $5",
        )
        .bind(repository.as_str())
        .bind(emergency.grant.to_string())
        .bind(emergency.issue.map(u64::cast_signed))
        .bind(emergency.due_at.timestamp_millis())
        .bind(emergency.reviewed_at.map(|at| at.timestamp_millis()))
        .execute(&mut *self.tx)
        .in_time()
        .await?;
        Ok(())
    }
}
