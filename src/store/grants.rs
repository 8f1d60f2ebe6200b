//! Grants, live and over, and files that were refused.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use sqlx::Row;
use sqlx::any::AnyRow;

use super::patience::InTime;
use super::{Store, StoreError, Tx, Unreadable, clean, digest, read_json, time, write_json};
use crate::access::grant::{Grant, GrantId, GrantRef, State};
use crate::policy::entitlement::Entitlement;
use crate::policy::name::{BlobId, RepositoryName, Slug, TargetName};

/// A grant with what belongs to it in this installation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrantRow {
    /// The policy repository.
    pub repository: RepositoryName,
    /// The grant.
    pub grant: Grant,
    /// The pull request that reverts it, once it is open.
    pub revert_pull: Option<u64>,
}

/// The live grants that give something on a target.
#[derive(Debug, Default)]
pub struct LiveOn {
    /// Those that can be read.
    pub grants: Vec<GrantRow>,
    /// Those that cannot, with the end of each, as far as that is known.
    pub until: Vec<(GrantRef, DateTime<Utc>)>,
    /// The rows of these.
    pub unreadable: Vec<Unreadable>,
}

/// A file on the default branch whose origin could not be verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Its path.
    pub path: String,
    /// Its content.
    pub blob: String,
    /// The commit that brought it.
    pub commit: String,
    /// Why it is refused, as a sentence.
    pub reason: String,
    /// The pull request that takes it away, once it is open.
    pub revert_pull: Option<u64>,
    /// The issue that reports it, once it is open.
    pub issue: Option<u64>,
}

impl Refusal {
    fn key(&self, repository: &RepositoryName) -> String {
        digest(&[repository.as_str(), &self.path, &self.blob])
    }
}

pub(super) const COLUMNS: &str = "SELECT repository, body, revert_pull FROM grants";

pub(super) fn grant_row(row: &AnyRow) -> Result<GrantRow, StoreError> {
    let repository: String = row.try_get("repository")?;
    let body: String = row.try_get("body")?;
    Ok(GrantRow {
        repository: repository
            .parse()
            .map_err(|error| StoreError::Corrupt { table: "grants", problem: format!("{error}") })?,
        grant: read_json("grants", &body)?,
        revert_pull: row.try_get::<Option<i64>, _>("revert_pull")?.map(i64::cast_unsigned),
    })
}

impl Store {
    /// One grant.
    pub async fn grant(&self, repository: &RepositoryName, id: &GrantId) -> Result<Option<GrantRow>, StoreError> {
        let sql = const_format("WHERE repository = $1 AND id = $2");
        let row = sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(repository.as_str())
            .bind(id.to_string())
            .fetch_optional(&self.pool)
            .in_time()
            .await?;
        row.as_ref().map(grant_row).transpose()
    }

    /// The live grant a file holds, if any.
    pub async fn live_grant(&self, repository: &RepositoryName, slug: &Slug) -> Result<Option<GrantRow>, StoreError> {
        let sql = const_format("WHERE repository = $1 AND slug = $2 AND state <> 'ended' ORDER BY id LIMIT 1");
        let row = sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(repository.as_str())
            .bind(slug.as_str())
            .fetch_optional(&self.pool)
            .in_time()
            .await?;
        row.as_ref().map(grant_row).transpose()
    }

    /// Whether there is, or was, a grant by this content of a file.
    pub async fn knows_grant(
        &self,
        repository: &RepositoryName,
        slug: &Slug,
        blob: &BlobId,
    ) -> Result<bool, StoreError> {
        let known: i64 =
            sqlx::query_scalar("SELECT COUNT(*) FROM grants WHERE repository = $1 AND slug = $2 AND blob = $3")
                .bind(repository.as_str())
                .bind(slug.as_str())
                .bind(blob.as_str())
                .fetch_one(&self.pool)
                .in_time()
                .await?;
        Ok(known > 0)
    }

    /// The grant, if any, that is over although a file still has its content; none if the same content is live again.
    pub async fn ended_grant(
        &self,
        repository: &RepositoryName,
        slug: &Slug,
        blob: &BlobId,
    ) -> Result<Option<GrantId>, StoreError> {
        let sql = const_format(
            "WHERE repository = $1 AND slug = $2 AND blob = $3 ORDER BY state <> 'ended' DESC, ends_at DESC LIMIT 1",
        );
        let row = sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(repository.as_str())
            .bind(slug.as_str())
            .bind(blob.as_str())
            .fetch_optional(&self.pool)
            .in_time()
            .await?;
        let row = row.as_ref().map(grant_row).transpose()?;
        Ok(row.filter(|row| matches!(row.grant.state, State::Ended { .. })).map(|row| row.grant.id))
    }

    /// The grants that are not over and that a pull request is about: it brought them, or reverts them, or brought one that they
    /// extend.
    pub async fn live_grants_about(&self, repository: &RepositoryName, pull: u64) -> Result<Vec<GrantRow>, StoreError> {
        let sql = const_format(
            "WHERE repository = $1 AND state <> 'ended' AND EXISTS (SELECT 1 FROM grants AS known \
             WHERE known.repository = $1 AND (known.pull_request = $2 OR known.revert_pull = $2) \
             AND known.slug = grants.slug AND known.chain = grants.chain) ORDER BY id",
        );
        let rows = sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(repository.as_str())
            .bind(pull.cast_signed())
            .fetch_all(&self.pool)
            .in_time()
            .await?;
        rows.iter().map(grant_row).collect()
    }

    /// The grant that this content of a file gave or gives, the latest if there were several.
    pub async fn grant_by_content(
        &self,
        repository: &RepositoryName,
        slug: &Slug,
        blob: &BlobId,
    ) -> Result<Option<GrantRow>, StoreError> {
        let sql = const_format("WHERE repository = $1 AND slug = $2 AND blob = $3 ORDER BY ends_at DESC LIMIT 1");
        let row = sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(repository.as_str())
            .bind(slug.as_str())
            .bind(blob.as_str())
            .fetch_optional(&self.pool)
            .in_time()
            .await?;
        row.as_ref().map(grant_row).transpose()
    }

    /// Every grant that is not over: scheduled and active ones of all repositories.
    pub async fn live_grants(&self) -> Result<Vec<GrantRow>, StoreError> {
        let sql = const_format("WHERE state <> 'ended' ORDER BY ends_at, repository, id");
        let rows = sqlx::query(sqlx::AssertSqlSafe(sql)).fetch_all(&self.pool).in_time().await?;
        rows.iter().map(grant_row).collect()
    }

    /// The grants of a repository that are not over.
    pub async fn live_grants_in(&self, repository: &RepositoryName) -> Result<Vec<GrantRow>, StoreError> {
        let sql = const_format("WHERE repository = $1 AND state <> 'ended' ORDER BY id");
        let rows =
            sqlx::query(sqlx::AssertSqlSafe(sql)).bind(repository.as_str()).fetch_all(&self.pool).in_time().await?;
        rows.iter().map(grant_row).collect()
    }

    /// Every grant that is not over and gives something on a target. One that cannot be read does not hide the others.
    pub async fn live_grants_on(&self, target: &TargetName) -> Result<LiveOn, StoreError> {
        let rows = sqlx::query(
            "SELECT grants.repository, grants.id, grants.ends_at, grants.body, grants.revert_pull FROM grant_targets \
             JOIN grants ON grants.repository = grant_targets.repository AND grants.id = grant_targets.id \
             WHERE grant_targets.target = $1 ORDER BY grants.ends_at, grants.repository, grants.id",
        )
        .bind(target.as_str())
        .fetch_all(&self.pool)
        .in_time()
        .await?;
        let mut live = LiveOn::default();
        for row in &rows {
            match grant_row(row) {
                Ok(grant) => live.grants.push(grant),
                Err(error @ StoreError::Corrupt { .. }) => {
                    let (repository, id): (String, String) = (row.try_get("repository")?, row.try_get("id")?);
                    live.unreadable.push(Unreadable {
                        table: "grants",
                        row: format!("{repository} {id}"),
                        outcome: error.to_string(),
                    });
                    // What it gave is not known; whose it is and until when may be.
                    if let (Ok(repository), Ok(id)) = (repository.parse(), id.parse()) {
                        live.until.push((GrantRef { repository, id }, time("grants", row.try_get("ends_at")?)?));
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(live)
    }

    /// What each grant of some repositories gives, or gave, on a target; without grants that cannot be read.
    pub async fn givers_on(
        &self,
        target: &TargetName,
        repositories: &[RepositoryName],
    ) -> Result<BTreeMap<Entitlement, BTreeSet<GrantRef>>, StoreError> {
        let mut givers: BTreeMap<Entitlement, BTreeSet<GrantRef>> = BTreeMap::new();
        for repository in repositories {
            let sql = const_format("WHERE repository = $1");
            let rows =
                sqlx::query(sqlx::AssertSqlSafe(sql)).bind(repository.as_str()).fetch_all(&self.pool).in_time().await?;
            for row in rows.iter().filter_map(|row| grant_row(row).ok()) {
                let holder = GrantRef { repository: row.repository, id: row.grant.id };
                for entitlement in row.grant.entitlements.into_iter().filter(|one| one.target == *target) {
                    givers.entry(entitlement).or_default().insert(holder.clone());
                }
            }
        }
        Ok(givers)
    }

    /// Every grant of a repository, those that are over included, oldest end first.
    pub async fn grants_of(&self, repository: &RepositoryName) -> Result<Vec<GrantRow>, StoreError> {
        let sql = const_format("WHERE repository = $1 ORDER BY ends_at, id");
        let rows =
            sqlx::query(sqlx::AssertSqlSafe(sql)).bind(repository.as_str()).fetch_all(&self.pool).in_time().await?;
        rows.iter().map(grant_row).collect()
    }

    /// The refused files of a repository.
    pub async fn refusals(&self, repository: &RepositoryName) -> Result<Vec<Refusal>, StoreError> {
        let rows = sqlx::query(
            "SELECT path, blob, commit_id, reason, revert_pull, issue FROM refusals WHERE repository = $1 ORDER BY path, blob",
        )
        .bind(repository.as_str())
        .fetch_all(&self.pool)
        .in_time()
        .await?;
        rows.iter()
            .map(|row| {
                Ok(Refusal {
                    path: row.try_get("path")?,
                    blob: row.try_get("blob")?,
                    commit: row.try_get("commit_id")?,
                    reason: row.try_get("reason")?,
                    revert_pull: row.try_get::<Option<i64>, _>("revert_pull")?.map(i64::cast_unsigned),
                    issue: row.try_get::<Option<i64>, _>("issue")?.map(i64::cast_unsigned),
                })
            })
            .collect()
    }
}

/// The grant columns with a condition. Both parts are constants of this file.
fn const_format(condition: &'static str) -> String {
    format!("{COLUMNS} {condition}")
}

impl Tx {
    /// Writes a grant, new or changed.
    pub async fn put_grant(&mut self, row: &GrantRow) -> Result<(), StoreError> {
        let grant = &row.grant;
        sqlx::query(
            "INSERT INTO grants (repository, id, slug, blob, state, subject_id, ends_at, revert_pull, body, pull_request, chain) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) \
             ON CONFLICT (repository, id) DO UPDATE SET state = excluded.state, blob = excluded.blob, \
             ends_at = excluded.ends_at, revert_pull = excluded.revert_pull, body = excluded.body",
        )
        .bind(row.repository.as_str())
        .bind(grant.id.to_string())
        .bind(grant.id.slug.as_str())
        .bind(grant.blob.as_str())
        .bind(grant.state.as_str())
        .bind(grant.subject.id.0.cast_signed())
        .bind(match grant.state {
            State::Ended { at, .. } => at.timestamp_millis(),
            _ => grant.window.ends_at.timestamp_millis(),
        })
        .bind(row.revert_pull.map(u64::cast_signed))
        .bind(write_json(grant))
        .bind(grant.id.pull_request.cast_signed())
        .bind(grant.chain.as_ref().map_or(grant.id.pull_request, |chain| chain.first.pull_request).cast_signed())
        .execute(&mut *self.tx)
        .in_time()
        .await?;
        self.set_targets(row).await
    }

    /// Remembers the targets of a grant for as long as it is live.
    async fn set_targets(&mut self, row: &GrantRow) -> Result<(), StoreError> {
        let ended = matches!(row.grant.state, State::Ended { .. });
        let sql = match ended {
            true => "DELETE FROM grant_targets WHERE target = $1 AND repository = $2 AND id = $3",
            false => "INSERT INTO grant_targets (target, repository, id) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
        };
        let targets: BTreeSet<_> = row.grant.entitlements.iter().map(|entitlement| &entitlement.target).collect();
        for target in targets {
            sqlx::query(sql)
                .bind(target.as_str())
                .bind(row.repository.as_str())
                .bind(row.grant.id.to_string())
                .execute(&mut *self.tx)
                .in_time()
                .await?;
        }
        Ok(())
    }

    /// Whether all of these grants are active, as of this transaction.
    pub async fn are_active(&mut self, grants: &BTreeSet<GrantRef>) -> Result<bool, StoreError> {
        for grant in grants {
            let active: i64 =
                sqlx::query_scalar("SELECT COUNT(*) FROM grants WHERE repository = $1 AND id = $2 AND state = $3")
                    .bind(grant.repository.as_str())
                    .bind(grant.id.to_string())
                    .bind(State::Active.as_str())
                    .fetch_one(&mut *self.tx)
                    .in_time()
                    .await?;
            if active == 0 {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether a grant is not over, as of this transaction.
    pub async fn is_live(&mut self, repository: &RepositoryName, id: &GrantId) -> Result<bool, StoreError> {
        let live: i64 =
            sqlx::query_scalar("SELECT COUNT(*) FROM grants WHERE repository = $1 AND id = $2 AND state <> 'ended'")
                .bind(repository.as_str())
                .bind(id.to_string())
                .fetch_one(&mut *self.tx)
                .in_time()
                .await?;
        Ok(live > 0)
    }

    /// Remembers the pull request that reverts a grant.
    pub async fn set_revert_pull(
        &mut self,
        repository: &RepositoryName,
        id: &GrantId,
        pull: Option<u64>,
    ) -> Result<(), StoreError> {
        sqlx::query("UPDATE grants SET revert_pull = $3 WHERE repository = $1 AND id = $2")
            .bind(repository.as_str())
            .bind(id.to_string())
            .bind(pull.map(u64::cast_signed))
            .execute(&mut *self.tx)
            .in_time()
            .await?;
        Ok(())
    }

    /// Writes a refused file, new or changed.
    pub async fn put_refusal(&mut self, repository: &RepositoryName, refusal: &Refusal) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO refusals (repository, path, blob, commit_id, reason, revert_pull, issue, key) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (key) DO UPDATE SET \
             commit_id = excluded.commit_id, reason = excluded.reason, \
             revert_pull = COALESCE(excluded.revert_pull, refusals.revert_pull), issue = COALESCE(excluded.issue, refusals.issue)",
        )
        .bind(repository.as_str())
        .bind(&refusal.path)
        .bind(&refusal.blob)
        .bind(&refusal.commit)
        .bind(clean(&refusal.reason))
        .bind(refusal.revert_pull.map(u64::cast_signed))
        .bind(refusal.issue.map(u64::cast_signed))
        .bind(refusal.key(repository))
        .execute(&mut *self.tx)
        .in_time()
        .await?;
        Ok(())
    }

    /// Forgets a refused file, because it is gone.
    pub async fn forget_refusal(&mut self, repository: &RepositoryName, refusal: &Refusal) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM refusals WHERE key = $1")
            .bind(refusal.key(repository))
            .execute(&mut *self.tx)
            .in_time()
            .await?;
        Ok(())
    }
}
