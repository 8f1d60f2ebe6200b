//! The database: inbox, work, grants, entitlements, events, messages. SQLite or PostgreSQL, one SQL text for both.
//!
//! Reads are methods of [`Store`]. Everything that changes state goes through a [`Tx`], so that a state change, the events and
//! messages it causes and the work that follows are durable together or not at all. Inside a [`Tx`] nothing may be read through
//! the [`Store`]: SQLite has one connection.
//!
//! The database is a cache of git, GitHub and the targets (I6), plus the promises made to them: it is written before the world
//! is changed, never after.

mod entitlements;
mod grants;
mod inbox;
mod messages;
mod pulls;
mod work;

use std::str::FromStr;

use chrono::{DateTime, Utc};
use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::{Any, AnyPool, ConnectOptions, Executor, Row};

use crate::mutants::{self, Mutant};
pub use entitlements::Held;
pub use grants::{GrantRow, Refusal};
pub use inbox::Delivery;
pub use messages::Message;
pub use pulls::Published;
pub use work::{Claim, Job, JobError, Waiting};

/// Why the database could not do it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The driver's word: unreachable, full, read-only, locked.
    #[error("the database did not answer as it should: {0}")]
    Database(#[from] sqlx::Error),
    /// The schema could not be brought up to date.
    #[error(
        "the database could not be prepared: {0}; a database written by a newer version cannot be used by an older one"
    )]
    Migration(#[from] sqlx::migrate::MigrateError),
    /// A row does not hold what was written.
    #[error("the database holds something this version cannot read in {table}: {problem}")]
    Corrupt {
        /// The table.
        table: &'static str,
        /// What is wrong.
        problem: String,
    },
    /// Another process took the work over.
    #[error("the lease on {0} was lost; whoever holds it now carries on")]
    LeaseLost(String),
    /// The address cannot be used.
    #[error("`store.url` cannot be used: {0}")]
    Address(String),
}

/// The database.
#[derive(Debug, Clone)]
pub struct Store {
    pool: AnyPool,
    /// Whether no other process shares it.
    single_process: bool,
    #[cfg(feature = "simulation")]
    probe: Option<Probe>,
}

/// Called around every commit; a future that never completes is a crash at that point.
#[cfg(feature = "simulation")]
#[derive(Clone)]
pub struct Probe(pub std::sync::Arc<dyn Fn() -> futures::future::BoxFuture<'static, ()> + Send + Sync>);

#[cfg(feature = "simulation")]
impl std::fmt::Debug for Probe {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Probe")
    }
}

/// How far a default branch has been read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadSoFar {
    /// The last commit that was read.
    pub head: String,
    /// Whether it is still being read for the first time by this database.
    pub first: bool,
}

/// A transaction: dropped without [`Tx::commit`], nothing of it happened.
pub struct Tx {
    tx: sqlx::Transaction<'static, Any>,
    /// The work it asks for, written last and in this order: two processes that ask for the same work in different orders would
    /// wait for each other until PostgreSQL ends one of them.
    asked: std::collections::BTreeMap<String, DateTime<Utc>>,
    #[cfg(feature = "simulation")]
    probe: Option<Probe>,
}

impl Store {
    /// Opens the database at `url` (`sqlite://PATH`, `postgres://…`), creates the SQLite file if it is missing, and brings
    /// the schema up to date.
    pub async fn open(url: &str) -> Result<Self, StoreError> {
        sqlx::any::install_default_drivers();
        let sqlite = url.starts_with("sqlite:");
        let url = match (sqlite, url.contains('?')) {
            (true, false) => format!("{url}?mode=rwc"),
            _ => url.to_owned(),
        };
        let options = AnyConnectOptions::from_str(&url)
            .map_err(|error| StoreError::Address(error.to_string()))?
            .disable_statement_logging();
        let pool = AnyPoolOptions::new()
            // SQLite has one writer; a second connection would only wait for the first.
            .max_connections(if sqlite { 1 } else { 8 })
            .acquire_timeout(std::time::Duration::from_secs(10))
            .after_connect(move |connection, _| {
                Box::pin(async move {
                    if sqlite {
                        // FULL: an acknowledged delivery survives a power cut.
                        for pragma in [
                            "PRAGMA journal_mode = WAL",
                            "PRAGMA synchronous = FULL",
                            "PRAGMA busy_timeout = 5000",
                            "PRAGMA foreign_keys = ON",
                        ] {
                            connection.execute(pragma).await?;
                        }
                    }
                    Ok(())
                })
            })
            .connect_with(options)
            .await?;
        sqlx::migrate!("./migrations").run(&pool).await?;
        Ok(Self {
            pool,
            single_process: sqlite,
            #[cfg(feature = "simulation")]
            probe: None,
        })
    }

    /// The same store, with a probe around every commit.
    #[cfg(feature = "simulation")]
    pub fn probed(self, probe: Probe) -> Self {
        Self { probe: Some(probe), ..self }
    }

    /// Begins a transaction.
    pub async fn begin(&self) -> Result<Tx, StoreError> {
        Ok(Tx {
            tx: self.pool.begin().await?,
            asked: std::collections::BTreeMap::new(),
            #[cfg(feature = "simulation")]
            probe: self.probe.clone(),
        })
    }

    /// Whether the database answers.
    pub async fn ping(&self) -> Result<(), StoreError> {
        sqlx::query("SELECT 1").execute(&self.pool).await?;
        Ok(())
    }

    /// Closes all connections.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    /// How far the default branch of a repository has been read.
    pub async fn read_so_far(&self, repository: &str) -> Result<Option<ReadSoFar>, StoreError> {
        let row = sqlx::query("SELECT head, first FROM repositories WHERE name = $1")
            .bind(repository)
            .fetch_optional(&self.pool)
            .await?;
        row.map(|row| Ok(ReadSoFar { head: row.try_get("head")?, first: row.try_get::<i64, _>("first")? != 0 }))
            .transpose()
    }

    /// Every event in order of time, for the record and for tests.
    pub async fn events(&self) -> Result<Vec<crate::ledger::Event>, StoreError> {
        let bodies: Vec<String> =
            sqlx::query_scalar("SELECT body FROM events ORDER BY at, id").fetch_all(&self.pool).await?;
        bodies.iter().map(|body| read_json("events", body)).collect()
    }
}

impl Tx {
    /// Makes everything in it durable.
    pub async fn commit(mut self) -> Result<(), StoreError> {
        self.write_asked().await?;
        #[cfg(feature = "simulation")]
        if let Some(probe) = &self.probe {
            (probe.0)().await;
        }
        self.tx.commit().await?;
        #[cfg(feature = "simulation")]
        if let Some(probe) = &self.probe {
            (probe.0)().await;
        }
        Ok(())
    }

    /// Remembers how far the default branch has been read.
    pub async fn set_read_so_far(
        &mut self,
        repository: &str,
        so_far: &ReadSoFar,
        at: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO repositories (name, head, first, synced_at) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (name) DO UPDATE SET head = excluded.head, first = excluded.first, synced_at = excluded.synced_at",
        )
        .bind(repository)
        .bind(&so_far.head)
        .bind(i64::from(so_far.first))
        .bind(at.timestamp_millis())
        .execute(&mut *self.tx)
        .await?;
        Ok(())
    }

    /// Records an event; one that is there already is left as it is. True if it was new.
    pub async fn record(&mut self, event: &crate::ledger::Event) -> Result<bool, StoreError> {
        let done = sqlx::query(
            "INSERT INTO events (id, at, repository, kind, body) VALUES ($1, $2, $3, $4, $5) ON CONFLICT (id) DO NOTHING",
        )
        .bind(&event.id)
        .bind(event.at.timestamp_millis())
        .bind(event.repository.as_str())
        .bind(event.kind.as_str())
        .bind(write_json(event))
        .execute(&mut *self.tx)
        .await?;
        if mutants::is(Mutant::DoubleEvents) && !event.id.ends_with("again") {
            let again = crate::ledger::Event { id: format!("{} again", event.id), ..event.clone() };
            Box::pin(self.record(&again)).await?;
        }
        Ok(done.rows_affected() > 0)
    }
}

fn write_json<T: serde::Serialize>(value: &T) -> String {
    // Our own types have no maps with non-text keys and no failing serialisers: this cannot fail.
    serde_json::to_string(value).unwrap_or_default()
}

fn read_json<T: serde::de::DeserializeOwned>(table: &'static str, text: &str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|error| StoreError::Corrupt { table, problem: error.to_string() })
}

fn time(table: &'static str, millis: i64) -> Result<DateTime<Utc>, StoreError> {
    DateTime::from_timestamp_millis(millis)
        .ok_or_else(|| StoreError::Corrupt { table, problem: format!("{millis} is no time") })
}

#[cfg(test)]
mod tests;
