//! The database: inbox, work, grants, entitlements, events, messages. SQLite or PostgreSQL, one SQL text for both.
//!
//! Reads are methods of [`Store`]. Everything that changes state goes through a [`Tx`], so that a state change, the events and
//! messages it causes and the work that follows are durable together or not at all. Inside a [`Tx`] nothing may be read through
//! the [`Store`]: SQLite has one connection.
//!
//! The database is a cache of git, GitHub and the targets (I6), plus the promises made to them: it is written before the world
//! is changed, never after.

mod commands;
mod emergencies;
mod entitlements;
mod error;
mod grants;
mod health;
mod inbox;
mod job;
mod ledger;
mod messages;
mod patience;
mod pulls;
mod pushes;
mod rebuild;
mod sessions;
mod streams;
mod work;

use std::str::FromStr;

use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};
use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::{Any, AnyPool, ConnectOptions, Connection, Row};

pub use commands::{Heeded, Press};
pub use emergencies::Emergency;
pub(crate) use entitlements::key as entitlement_key;
pub use entitlements::{Held, HeldOn, Overdue, Watched};
pub use error::{Reason, StoreError};
pub use grants::{GrantRow, LiveOn, Refusal};
pub use inbox::Delivery;
pub use job::{Job, JobError, Lane};
pub use ledger::LedgerPosition;
pub use messages::Message;
use patience::InTime;
pub use pulls::{Asking, Published};
pub use rebuild::Unreadable;
pub use sessions::OpenSession;
pub use streams::StreamBacklog;
pub use work::{Backlog, Claim, Waiting};

/// PostgreSQL's indexes take 2,700 bytes; paths and people's keys may be longer.
const LONGEST_KEY: usize = 1_000;
/// The lock of PostgreSQL that every transaction takes: they happen one after the other, as they do on SQLite. So none can meet
/// another halfway, and none can wait for another in a circle. They are short: nothing is awaited in them but the database.
const ONE_WRITER: i64 = 0x0064_6179_7061_7373;

/// The database.
#[derive(Debug, Clone)]
pub struct Store {
    pool: AnyPool,
    /// Whether no other process shares it.
    single_process: bool,
    /// The file of an SQLite database.
    file: Option<std::sync::Arc<health::File>>,
    /// Whether several writers could get in each other's way.
    postgres: bool,
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
    /// The last commit that was read; none if it has been seen, and not read.
    pub head: Option<String>,
    /// While it is read for the first time by this database: where it was when this database first saw it. What is on it up to there
    /// may have been applied before this database was made.
    pub first_until: Option<String>,
}

/// A transaction: dropped without [`Tx::commit`], nothing of it happened.
pub struct Tx {
    tx: sqlx::Transaction<'static, Any>,
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
        // Not in the pool: that would try again for a while, and then say only that it did.
        let mut first = patience::connect(&options).await?;
        health::settle_in(&mut first, sqlite).await?;
        if sqlite {
            health::check_file(&mut first).await?;
        }
        sqlx::migrate!("./migrations").run(&mut first).await?;
        let file = if sqlite { health::File::of(&mut first).await? } else { None };
        first.close().await?;
        let store = Self {
            pool: pool(options, sqlite),
            single_process: sqlite,
            file: file.map(std::sync::Arc::new),
            postgres: !sqlite,
            #[cfg(feature = "simulation")]
            probe: None,
        };
        store.ping().await?;
        Ok(store)
    }

    /// The same store, with a probe around every commit.
    #[cfg(feature = "simulation")]
    pub fn probed(self, probe: Probe) -> Self {
        Self { probe: Some(probe), ..self }
    }

    /// The same store, as one that other processes use too.
    #[cfg(feature = "simulation")]
    pub fn shared(self) -> Self {
        Self { single_process: false, ..self }
    }

    /// Begins a transaction.
    pub async fn begin(&self) -> Result<Tx, StoreError> {
        let mut tx = self.pool.begin().in_time().await?;
        if self.postgres {
            sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(ONE_WRITER).execute(&mut *tx).in_time().await?;
        }
        Ok(Tx {
            tx,
            #[cfg(feature = "simulation")]
            probe: self.probe.clone(),
        })
    }

    /// Closes all connections.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    /// How far the default branch of a repository has been read.
    pub async fn read_so_far(&self, repository: &str) -> Result<Option<ReadSoFar>, StoreError> {
        let row = sqlx::query("SELECT head, first_until FROM repositories WHERE name = $1")
            .bind(repository)
            .fetch_optional(&self.pool)
            .in_time()
            .await?;
        row.map(|row| Ok(ReadSoFar { head: row.try_get("head")?, first_until: row.try_get("first_until")? }))
            .transpose()
    }

    /// The repositories that are being read for the first time, and have got on with it since `since`.
    pub async fn being_read(&self, since: DateTime<Utc>) -> Result<Vec<String>, StoreError> {
        sqlx::query_scalar("SELECT name FROM repositories WHERE first_until IS NOT NULL AND synced_at > $1")
            .bind(since.timestamp_millis())
            .fetch_all(&self.pool)
            .in_time()
            .await
    }

    /// Until when something was looked at.
    pub async fn mark(&self, name: &str) -> Result<Option<DateTime<Utc>>, StoreError> {
        let at: Option<i64> = sqlx::query_scalar("SELECT at FROM marks WHERE name = $1")
            .bind(name)
            .fetch_optional(&self.pool)
            .in_time()
            .await?;
        at.map(|at| time("marks", at)).transpose()
    }
}

impl Tx {
    /// Makes everything in it durable.
    pub async fn commit(self) -> Result<(), StoreError> {
        #[cfg(feature = "simulation")]
        if let Some(probe) = &self.probe {
            (probe.0)().await;
        }
        self.tx.commit().in_time().await?;
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
            "INSERT INTO repositories (name, head, first_until, synced_at) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (name) DO UPDATE SET head = excluded.head, first_until = excluded.first_until, \
             synced_at = excluded.synced_at",
        )
        .bind(repository)
        .bind(&so_far.head)
        .bind(&so_far.first_until)
        .bind(at.timestamp_millis())
        .execute(&mut *self.tx)
        .in_time()
        .await?;
        Ok(())
    }

    /// Forgets the marks whose names begin so, and which were made before.
    pub async fn forget_marks(&mut self, beginning: &str, before: DateTime<Utc>) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM marks WHERE name LIKE $1 AND at < $2")
            .bind(format!("{beginning}%"))
            .bind(before.timestamp_millis())
            .execute(&mut *self.tx)
            .in_time()
            .await?;
        Ok(())
    }

    /// Remembers until when something was looked at.
    pub async fn set_mark(&mut self, name: &str, at: DateTime<Utc>) -> Result<(), StoreError> {
        sqlx::query("INSERT INTO marks (name, at) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET at = excluded.at")
            .bind(name)
            .bind(at.timestamp_millis())
            .execute(&mut *self.tx)
            .in_time()
            .await?;
        Ok(())
    }
}

fn pool(options: AnyConnectOptions, sqlite: bool) -> AnyPool {
    AnyPoolOptions::new()
        // SQLite has one writer; a second connection would only wait for the first.
        .max_connections(if sqlite { 1 } else { 8 })
        .acquire_timeout(patience::CONNECTION)
        .after_connect(move |connection, _| Box::pin(health::settle_in(connection, sqlite)))
        // SQLite ends a transaction by itself when its disk is full or fails, and the driver does not notice: what is written
        // afterwards would be part of a transaction nobody commits. Such a connection is thrown away.
        .test_before_acquire(false)
        .before_acquire(|connection, _| {
            Box::pin(async move { Ok(patience::is_alive(connection).await? && !connection.is_in_transaction()) })
        })
        .after_release(|connection, _| Box::pin(patience::is_alive(connection)))
        .connect_lazy_with(options)
}

/// A text from outside as both databases take it: PostgreSQL has no zero byte in texts.
fn clean(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

/// A name as a key: itself, unless it is too long for that.
fn key(name: &str) -> String {
    if name.len() > LONGEST_KEY { digest(&[name]) } else { clean(name) }
}

/// What tells something apart whose name may be of any length.
pub(crate) fn digest(parts: &[&str]) -> String {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part);
    }
    hex::encode(hasher.finalize())
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
