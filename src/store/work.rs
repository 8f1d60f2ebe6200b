//! Work: things to look at, each at some time, by one worker at a time.
//!
//! A job says *what to look at*, never what to do: whoever takes it reads the world again. Asking twice for the same job is
//! asking once; asking while it is being done makes it be done again afterwards.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::Row;

use super::job::{Job, JobError, Lane};
use super::patience::InTime;
use super::{Store, StoreError, Tx, clean, time};
use crate::policy::name::RepositoryName;

/// A job that was taken. Worth something only until its lease ends.
#[derive(Debug, Clone)]
pub struct Claim {
    /// What to look at.
    pub job: Job,
    /// How often it has failed in a row.
    pub attempts: u32,
    revision: i64,
    token: String,
    lease: Arc<Mutex<Lease>>,
}

/// Until when a claim holds, by two clocks: the one that may be set, and the one that may stand still while the machine sleeps.
#[derive(Debug, Clone, Copy)]
struct Lease {
    until: DateTime<Utc>,
    written: Instant,
    length: TimeDelta,
}

impl Claim {
    /// How long the claim certainly holds yet.
    pub fn left(&self, now: DateTime<Utc>) -> TimeDelta {
        // A poisoned lock: whoever panicked had nothing half-written in it.
        let lease = *self.lease.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let passed = TimeDelta::from_std(lease.written.elapsed()).unwrap_or(TimeDelta::MAX);
        (lease.until - now).min(lease.length - passed)
    }

    /// Whether both are the same taking of the same job.
    pub fn is(&self, other: &Self) -> bool {
        self.token == other.token
    }
}

/// A job in the queue, as operators see it.
#[derive(Debug, Clone)]
pub struct Waiting {
    /// What to look at.
    pub job: String,
    /// When.
    pub due_at: DateTime<Utc>,
    /// How often it has failed in a row.
    pub attempts: i64,
    /// What it said the last time.
    pub last_error: Option<String>,
}

/// What is due in a lane.
#[derive(Debug, Clone, Copy)]
pub struct Backlog {
    /// `targets`, `grants` (their clock) or `github` (everything else).
    pub lane: &'static str,
    /// How many jobs.
    pub due: i64,
    /// Since when the oldest of them, however often it was tried meanwhile.
    pub oldest: Option<DateTime<Utc>>,
}

impl Store {
    /// Takes the job of a lane that is longest due, if any, for `lease`.
    pub async fn claim(
        &self,
        lane: Lane<'_>,
        now: DateTime<Utc>,
        lease: TimeDelta,
    ) -> Result<Option<Claim>, StoreError> {
        let (conditions, owner) = lane.conditions();
        for condition in conditions {
            if let Some(claim) = self.claim_where(condition, owner, now, lease).await? {
                return Ok(Some(claim));
            }
        }
        Ok(None)
    }

    async fn claim_where(
        &self,
        condition: &'static str,
        owner: &str,
        now: DateTime<Utc>,
        lease: TimeDelta,
    ) -> Result<Option<Claim>, StoreError> {
        let millis = now.timestamp_millis();
        let next = format!(
            "SELECT job, revision, attempts FROM work WHERE {condition} AND due_at <= $2 \
             AND (held_until IS NULL OR held_until <= $2 OR held_until > $3) ORDER BY due_at, job LIMIT 1"
        );
        // No lease lasts that long: it was written by a clock that is ahead.
        let absurd = (now + lease * 2).timestamp_millis();
        loop {
            // Before it is asked for: an answer may come late.
            let written = Instant::now();
            let row = sqlx::query(sqlx::AssertSqlSafe(next.as_str()))
                .bind(owner)
                .bind(millis)
                .bind(absurd)
                .fetch_optional(&self.pool)
                .in_time()
                .await?;
            let Some(row) = row else { return Ok(None) };
            let (text, revision): (String, i64) = (row.try_get("job")?, row.try_get("revision")?);
            let attempts: i64 = row.try_get("attempts")?;
            let token = uuid::Uuid::new_v4().to_string();
            let taken = sqlx::query(
                "UPDATE work SET token = $3, held_until = $4 \
                 WHERE job = $2 AND revision = $5 AND (held_until IS NULL OR held_until <= $1 OR held_until > $6)",
            )
            .bind(millis)
            .bind(&text)
            .bind(&token)
            .bind((now + lease).timestamp_millis())
            .bind(revision)
            .bind(absurd)
            .execute(&self.pool)
            .in_time()
            .await?;
            if taken.rows_affected() == 0 {
                continue; // somebody else was quicker
            }
            let job = match text.parse() {
                Ok(job) => job,
                Err(error) => {
                    // It must not keep others from being done. Nothing is lost: jobs are hints, and everything is looked at anyway.
                    let error: JobError = error;
                    tracing::error!(%error, table = "work", row = text, "a job cannot be read; it was thrown away");
                    self.throw_away(&text, &token).await?;
                    continue;
                }
            };
            let attempts = attempts.try_into().unwrap_or(u32::MAX);
            let lease = Lease { until: now + lease, written, length: lease };
            return Ok(Some(Claim { job, attempts, revision, token, lease: Arc::new(Mutex::new(lease)) }));
        }
    }

    async fn throw_away(&self, job: &str, token: &str) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM work WHERE job = $1 AND token = $2")
            .bind(job)
            .bind(token)
            .execute(&self.pool)
            .in_time()
            .await?;
        Ok(())
    }

    /// Takes one certain job for `lease`, if it waits and nobody holds it.
    pub async fn claim_job(
        &self,
        job: &Job,
        now: DateTime<Utc>,
        lease: TimeDelta,
    ) -> Result<Option<Claim>, StoreError> {
        let (token, written) = (uuid::Uuid::new_v4().to_string(), Instant::now());
        let revision: Option<i64> = sqlx::query_scalar(
            "UPDATE work SET token = $2, held_until = $3 WHERE job = $1 AND (held_until IS NULL OR held_until <= $4) \
             RETURNING revision",
        )
        .bind(job.to_string())
        .bind(&token)
        .bind((now + lease).timestamp_millis())
        .bind(now.timestamp_millis())
        .fetch_optional(&self.pool)
        .in_time()
        .await?;
        let lease = Arc::new(Mutex::new(Lease { until: now + lease, written, length: lease }));
        Ok(revision.map(|revision| Claim { job: job.clone(), attempts: 0, revision, token, lease }))
    }

    /// Holds a claimed job for `lease` from `now`; fails with [`StoreError::LeaseLost`] if somebody else holds it now.
    pub async fn renew(&self, claim: &Claim, now: DateTime<Utc>, lease: TimeDelta) -> Result<(), StoreError> {
        let (job, written, until) = (claim.job.to_string(), Instant::now(), now + lease);
        let renewed = sqlx::query("UPDATE work SET held_until = $3 WHERE job = $1 AND token = $2")
            .bind(&job)
            .bind(&claim.token)
            .bind(until.timestamp_millis())
            .execute(&self.pool)
            .in_time()
            .await?;
        if renewed.rows_affected() == 0 {
            return Err(StoreError::LeaseLost(job));
        }
        *claim.lease.lock().unwrap_or_else(std::sync::PoisonError::into_inner) =
            Lease { until, written, length: lease };
        Ok(())
    }

    /// Gives back a claimed job that was not finished: it can be taken from `free_at` on, if not earlier.
    pub async fn let_go(&self, claim: &Claim, free_at: DateTime<Utc>) -> Result<(), StoreError> {
        sqlx::query("UPDATE work SET held_until = $3 WHERE job = $1 AND token = $2 AND held_until > $3")
            .bind(claim.job.to_string())
            .bind(&claim.token)
            .bind(free_at.timestamp_millis())
            .execute(&self.pool)
            .in_time()
            .await?;
        Ok(())
    }

    /// Lets go of every job where only one process works on a database, which is so with SQLite: whoever held it is dead, and
    /// what it held need not wait. Should it be alive after all, it has lost its leases and can finish nothing.
    pub async fn release_leases_of_the_dead(&self) -> Result<(), StoreError> {
        if self.single_process {
            sqlx::query("UPDATE work SET token = NULL, held_until = NULL").execute(&self.pool).in_time().await?;
        }
        Ok(())
    }

    /// Makes everything due now that was planned for later, and lets every lease last for `lease`: they were told by a clock that was
    /// wrong.
    pub async fn hasten(&self, now: DateTime<Utc>, lease: TimeDelta) -> Result<(), StoreError> {
        sqlx::query(
            "UPDATE work SET due_at = CASE WHEN due_at < $1 THEN due_at ELSE $1 END, \
             wanted_at = CASE WHEN wanted_at < $1 THEN wanted_at ELSE $1 END, \
             held_until = CASE WHEN held_until IS NULL THEN NULL ELSE $2 END",
        )
        .bind(now.timestamp_millis())
        .bind((now + lease).timestamp_millis())
        .execute(&self.pool)
        .in_time()
        .await?;
        Ok(())
    }

    /// When the next job of a lane is due or comes free, if there is one.
    pub async fn next_due(&self, lane: Lane<'_>) -> Result<Option<DateTime<Utc>>, StoreError> {
        let (conditions, owner) = lane.conditions();
        let mut next: Option<i64> = None;
        for condition in conditions {
            let first = format!(
                "SELECT due_at FROM work WHERE {condition} AND held_until IS NULL ORDER BY due_at, job LIMIT 1"
            );
            let due: Option<i64> =
                sqlx::query_scalar(sqlx::AssertSqlSafe(first)).bind(owner).fetch_optional(&self.pool).in_time().await?;
            // What is held is little, and comes free when its lease ends.
            let free = format!("SELECT MIN(held_until) FROM work WHERE held_until IS NOT NULL AND {condition}");
            let free: Option<i64> =
                sqlx::query_scalar(sqlx::AssertSqlSafe(free)).bind(owner).fetch_one(&self.pool).in_time().await?;
            next = next.into_iter().chain(due).chain(free).min();
        }
        next.map(|millis| time("work", millis)).transpose()
    }

    /// Whether other processes may work on the same database.
    pub fn is_shared(&self) -> bool {
        !self.single_process
    }

    /// How much is due and not done, for every lane.
    pub async fn backlog(&self, now: DateTime<Utc>) -> Result<Vec<Backlog>, StoreError> {
        let mut lanes = Vec::new();
        for (number, lane) in (0_i64..).zip(["targets", "grants", "github"]) {
            let row = sqlx::query("SELECT COUNT(*), MIN(wanted_at) FROM work WHERE lane = $1 AND wanted_at <= $2")
                .bind(number)
                .bind(now.timestamp_millis())
                .fetch_one(&self.pool)
                .in_time()
                .await?;
            let oldest: Option<i64> = row.try_get(1)?;
            let oldest = oldest.map(|millis| time("work", millis)).transpose()?;
            lanes.push(Backlog { lane, due: row.try_get(0)?, oldest });
        }
        Ok(lanes)
    }

    /// Everything in the queue, soonest first.
    pub async fn queue(&self) -> Result<Vec<Waiting>, StoreError> {
        let rows = sqlx::query("SELECT job, due_at, attempts, last_error FROM work ORDER BY due_at, job")
            .fetch_all(&self.pool)
            .in_time()
            .await?;
        rows.iter()
            .map(|row| {
                Ok(Waiting {
                    job: row.try_get("job")?,
                    due_at: time("work", row.try_get("due_at")?)?,
                    attempts: row.try_get("attempts")?,
                    last_error: row.try_get("last_error")?,
                })
            })
            .collect()
    }
}

impl Tx {
    /// Asks for `job` at `due`, or earlier if it was asked for earlier.
    pub async fn schedule(&mut self, job: &Job, due: DateTime<Utc>) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO work (job, lane, owner, due_at, wanted_at, revision, attempts) VALUES ($1, $3, $4, $2, $2, 1, 0) \
             ON CONFLICT (job) DO UPDATE SET revision = work.revision + 1, wanted_at = CASE WHEN work.wanted_at < \
             excluded.wanted_at THEN work.wanted_at ELSE excluded.wanted_at END, due_at = CASE WHEN work.due_at < excluded.due_at THEN work.due_at ELSE excluded.due_at END",
        )
        .bind(job.to_string())
        .bind(due.timestamp_millis())
        .bind(job.lane())
        .bind(job.owner())
        .execute(&mut *self.tx)
        .in_time()
        .await?;
        Ok(())
    }

    /// Sees that every live grant of a repository has somebody who looks at it, at `now` if it has nobody. How many had not.
    pub async fn schedule_forgotten_grants(
        &mut self,
        repository: &RepositoryName,
        now: DateTime<Utc>,
    ) -> Result<u64, StoreError> {
        let done = sqlx::query(
            "INSERT INTO work (job, lane, owner, due_at, wanted_at, revision, attempts) \
             SELECT 'grant ' || repository || ' ' || id, 1, '', $2, $2, 1, 0 FROM grants \
             WHERE state <> 'ended' AND repository = $1 ON CONFLICT (job) DO NOTHING",
        )
        .bind(repository.as_str())
        .bind(now.timestamp_millis())
        .execute(&mut *self.tx)
        .in_time()
        .await?;
        Ok(done.rows_affected())
    }

    /// The claimed job is done; `again` is when to look next, if at all. If it was asked for meanwhile, it is due at once.
    /// Fails with [`StoreError::LeaseLost`], and with it the whole transaction, if somebody else holds the job now.
    pub async fn finish(&mut self, claim: &Claim, again: Option<DateTime<Utc>>) -> Result<(), StoreError> {
        let job = claim.job.to_string();
        let ended = match again {
            None => {
                sqlx::query("DELETE FROM work WHERE job = $1 AND token = $2 AND revision = $3")
                    .bind(&job)
                    .bind(&claim.token)
                    .bind(claim.revision)
                    .execute(&mut *self.tx)
                    .in_time()
                    .await?
            }
            Some(again) => {
                sqlx::query(
                    "UPDATE work SET due_at = $4, wanted_at = $4, attempts = 0, last_error = NULL, token = NULL, held_until = NULL \
                     WHERE job = $1 AND token = $2 AND revision = $3",
                )
                .bind(&job)
                .bind(&claim.token)
                .bind(claim.revision)
                .bind(again.timestamp_millis())
                .execute(&mut *self.tx)
                .in_time()
                .await?
            }
        };
        if ended.rows_affected() > 0 {
            return Ok(());
        }
        let released = sqlx::query(
            "UPDATE work SET wanted_at = due_at, attempts = 0, last_error = NULL, token = NULL, held_until = NULL \
             WHERE job = $1 AND token = $2",
        )
        .bind(&job)
        .bind(&claim.token)
        .execute(&mut *self.tx)
        .in_time()
        .await?;
        if released.rows_affected() == 0 { Err(StoreError::LeaseLost(job)) } else { Ok(()) }
    }

    /// The claimed job failed; look again at `again`.
    pub async fn fail(&mut self, claim: &Claim, error: &str, again: DateTime<Utc>) -> Result<(), StoreError> {
        let job = claim.job.to_string();
        let done = sqlx::query(
            "UPDATE work SET due_at = $3, attempts = attempts + 1, last_error = $4, token = NULL, held_until = NULL \
             WHERE job = $1 AND token = $2",
        )
        .bind(&job)
        .bind(&claim.token)
        .bind(again.timestamp_millis())
        .bind(clean(error))
        .execute(&mut *self.tx)
        .in_time()
        .await?;
        if done.rows_affected() == 0 { Err(StoreError::LeaseLost(job)) } else { Ok(()) }
    }

    /// Proves, inside the transaction, that the claim still holds.
    pub async fn assert_held(&mut self, claim: &Claim) -> Result<(), StoreError> {
        let job = claim.job.to_string();
        // An update, not a select: it also keeps others from taking the job until this transaction ends.
        let held = sqlx::query("UPDATE work SET token = token WHERE job = $1 AND token = $2")
            .bind(&job)
            .bind(&claim.token)
            .execute(&mut *self.tx)
            .in_time()
            .await?;
        if held.rows_affected() == 0 { Err(StoreError::LeaseLost(job)) } else { Ok(()) }
    }
}
