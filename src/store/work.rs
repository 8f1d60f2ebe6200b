//! Work: things to look at, each at some time, by one worker at a time.
//!
//! A job says *what to look at*, never what to do: whoever takes it reads the world again. Asking twice for the same job is
//! asking once; asking while it is being done makes it be done again afterwards.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::Row;

use super::{Store, StoreError, Tx, time};
use crate::access::grant::GrantId;
use crate::policy::name::{RepositoryName, TargetName};

/// Something to look at.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Job {
    /// Judge a pull request again.
    Pull(RepositoryName, u64),
    /// Read the default branch.
    Sync(RepositoryName),
    /// Look at everything in a repository: open pull requests, the default branch, who is still eligible.
    Sweep(RepositoryName),
    /// See what is due for a grant.
    Grant(RepositoryName, GrantId),
    /// See that the file of a grant that is over leaves the default branch.
    Revert(RepositoryName, GrantId),
    /// See that refused files leave the default branch.
    Cleanse(RepositoryName),
    /// Post the messages that wait for a pull request.
    Messages(RepositoryName, u64),
    /// Make a target as it is due to be.
    Target(TargetName),
    /// Throw away what is no longer needed.
    Tidy,
}

/// Why a text is not a job.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a job this version knows")]
pub struct JobError(String);

impl fmt::Display for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pull(repository, number) => write!(f, "pull {repository} {number}"),
            Self::Sync(repository) => write!(f, "sync {repository}"),
            Self::Sweep(repository) => write!(f, "sweep {repository}"),
            Self::Grant(repository, grant) => write!(f, "grant {repository} {grant}"),
            Self::Revert(repository, grant) => write!(f, "revert {repository} {grant}"),
            Self::Cleanse(repository) => write!(f, "cleanse {repository}"),
            Self::Messages(repository, number) => write!(f, "messages {repository} {number}"),
            Self::Target(name) => write!(f, "target {name}"),
            Self::Tidy => f.write_str("tidy"),
        }
    }
}

impl FromStr for Job {
    type Err = JobError;

    fn from_str(text: &str) -> Result<Self, JobError> {
        let words: Vec<&str> = text.split(' ').collect();
        let parsed = match words.as_slice() {
            ["pull", repository, number] => {
                repository.parse().ok().zip(number.parse().ok()).map(|(r, n)| Self::Pull(r, n))
            }
            ["messages", repository, number] => {
                repository.parse().ok().zip(number.parse().ok()).map(|(r, n)| Self::Messages(r, n))
            }
            ["sync", repository] => repository.parse().ok().map(Self::Sync),
            ["sweep", repository] => repository.parse().ok().map(Self::Sweep),
            ["cleanse", repository] => repository.parse().ok().map(Self::Cleanse),
            ["grant", repository, grant] => {
                repository.parse().ok().zip(grant.parse().ok()).map(|(r, g)| Self::Grant(r, g))
            }
            ["revert", repository, grant] => {
                repository.parse().ok().zip(grant.parse().ok()).map(|(r, g)| Self::Revert(r, g))
            }
            ["target", name] => name.parse().ok().map(Self::Target),
            ["tidy"] => Some(Self::Tidy),
            _ => None,
        };
        parsed.ok_or_else(|| JobError(text.to_owned()))
    }
}

/// A job that was taken. Worth something only until its lease ends.
#[derive(Debug, Clone)]
pub struct Claim {
    /// What to look at.
    pub job: Job,
    /// How often it has failed in a row.
    pub attempts: u32,
    revision: i64,
    token: String,
}

impl Claim {
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

impl Store {
    /// Takes the job that is longest due, if any, for `lease`.
    pub async fn claim(&self, now: DateTime<Utc>, lease: TimeDelta) -> Result<Option<Claim>, StoreError> {
        let millis = now.timestamp_millis();
        loop {
            let row = sqlx::query(
                "SELECT job, revision, attempts FROM work \
                 WHERE due_at <= $1 AND (held_until IS NULL OR held_until <= $1) ORDER BY due_at, job LIMIT 1",
            )
            .bind(millis)
            .fetch_optional(&self.pool)
            .await?;
            let Some(row) = row else { return Ok(None) };
            let (text, revision): (String, i64) = (row.try_get("job")?, row.try_get("revision")?);
            let attempts: i64 = row.try_get("attempts")?;
            let token = uuid::Uuid::new_v4().to_string();
            let taken = sqlx::query(
                "UPDATE work SET token = $3, held_until = $4 \
                 WHERE job = $2 AND revision = $5 AND (held_until IS NULL OR held_until <= $1)",
            )
            .bind(millis)
            .bind(&text)
            .bind(&token)
            .bind((now + lease).timestamp_millis())
            .bind(revision)
            .execute(&self.pool)
            .await?;
            if taken.rows_affected() == 0 {
                continue; // somebody else was quicker
            }
            let job = text
                .parse()
                .map_err(|error: JobError| StoreError::Corrupt { table: "work", problem: error.to_string() })?;
            return Ok(Some(Claim { job, attempts: attempts.try_into().unwrap_or(u32::MAX), revision, token }));
        }
    }

    /// Holds a claimed job until `until`; fails with [`StoreError::LeaseLost`] if somebody else holds it now.
    pub async fn renew(&self, claim: &Claim, until: DateTime<Utc>) -> Result<(), StoreError> {
        let job = claim.job.to_string();
        let renewed = sqlx::query("UPDATE work SET held_until = $3 WHERE job = $1 AND token = $2")
            .bind(&job)
            .bind(&claim.token)
            .bind(until.timestamp_millis())
            .execute(&self.pool)
            .await?;
        if renewed.rows_affected() == 0 { Err(StoreError::LeaseLost(job)) } else { Ok(()) }
    }

    /// Gives back a claimed job that was not finished: it can be taken from `free_at` on, if not earlier.
    pub async fn let_go(&self, claim: &Claim, free_at: DateTime<Utc>) -> Result<(), StoreError> {
        sqlx::query("UPDATE work SET held_until = $3 WHERE job = $1 AND token = $2 AND held_until > $3")
            .bind(claim.job.to_string())
            .bind(&claim.token)
            .bind(free_at.timestamp_millis())
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// Lets go of every job where only one process works on a database, which is so with SQLite: whoever held it is dead, and
    /// what it held need not wait. Should it be alive after all, it has lost its leases and can finish nothing.
    pub async fn release_leases_of_the_dead(&self) -> Result<(), StoreError> {
        if self.single_process {
            sqlx::query("UPDATE work SET token = NULL, held_until = NULL").execute(&self.pool).await?;
        }
        Ok(())
    }

    /// When the next job is due or comes free, if there is one.
    pub async fn next_due(&self) -> Result<Option<DateTime<Utc>>, StoreError> {
        let millis: Option<i64> = sqlx::query_scalar(
            "SELECT MIN(CASE WHEN held_until IS NOT NULL AND held_until > due_at THEN held_until ELSE due_at END) FROM work",
        )
        .fetch_one(&self.pool)
        .await?;
        millis.map(|millis| time("work", millis)).transpose()
    }

    /// Everything in the queue, soonest first.
    pub async fn queue(&self) -> Result<Vec<Waiting>, StoreError> {
        let rows = sqlx::query("SELECT job, due_at, attempts, last_error FROM work ORDER BY due_at, job")
            .fetch_all(&self.pool)
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
        let asked = self.asked.entry(job.to_string()).or_insert(due);
        *asked = due.min(*asked);
        Ok(())
    }

    /// Writes what was asked for.
    pub(super) async fn write_asked(&mut self) -> Result<(), StoreError> {
        for (job, due) in std::mem::take(&mut self.asked) {
            sqlx::query(
                "INSERT INTO work (job, due_at, revision, attempts) VALUES ($1, $2, 1, 0) \
                 ON CONFLICT (job) DO UPDATE SET revision = work.revision + 1, \
                 due_at = CASE WHEN work.due_at < excluded.due_at THEN work.due_at ELSE excluded.due_at END",
            )
            .bind(job)
            .bind(due.timestamp_millis())
            .execute(&mut *self.tx)
            .await?;
        }
        Ok(())
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
                    .await?
            }
            Some(again) => {
                sqlx::query(
                    "UPDATE work SET due_at = $4, attempts = 0, last_error = NULL, token = NULL, held_until = NULL \
                     WHERE job = $1 AND token = $2 AND revision = $3",
                )
                .bind(&job)
                .bind(&claim.token)
                .bind(claim.revision)
                .bind(again.timestamp_millis())
                .execute(&mut *self.tx)
                .await?
            }
        };
        if ended.rows_affected() > 0 {
            return Ok(());
        }
        let released = sqlx::query(
            "UPDATE work SET attempts = 0, last_error = NULL, token = NULL, held_until = NULL WHERE job = $1 AND token = $2",
        )
        .bind(&job)
        .bind(&claim.token)
        .execute(&mut *self.tx)
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
        .bind(error)
        .execute(&mut *self.tx)
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
            .await?;
        if held.rows_affected() == 0 { Err(StoreError::LeaseLost(job)) } else { Ok(()) }
    }
}
