//! Whether the database works: it opens whole, it takes writes, and it answers in time.

use sqlx::AnyConnection;
use sqlx::{Executor, Row};

use super::patience::{self, InTime};
use super::{Store, StoreError};

/// What every session is told first. Nobody may hold locks for as long as a lease lasts (30 seconds): a process that is stopped
/// in the middle of a transaction loses it, and whoever waits for its locks waits a little longer than that.
pub(super) async fn settle_in(connection: &mut AnyConnection, sqlite: bool) -> Result<(), sqlx::Error> {
    let settings: &[&'static str] = match sqlite {
        // FULL: an acknowledged delivery survives a power cut.
        true => &[
            "PRAGMA journal_mode = WAL",
            "PRAGMA synchronous = FULL",
            "PRAGMA busy_timeout = 5000",
            "PRAGMA foreign_keys = ON",
        ],
        false => &[
            "SET idle_in_transaction_session_timeout = '5s'",
            "SET lock_timeout = '8s'",
            "SET statement_timeout = '10s'",
        ],
    };
    for setting in settings {
        connection.execute(*setting).await?;
    }
    Ok(())
}

/// Whether the file of an SQLite database is as it was written.
pub(super) async fn check_file(connection: &mut AnyConnection) -> Result<(), StoreError> {
    let row = sqlx::query("PRAGMA quick_check(1)").fetch_one(connection).await?;
    let verdict: String = row.try_get(0)?;
    if verdict == "ok" { Ok(()) } else { Err(StoreError::Damaged(verdict)) }
}

impl Store {
    /// Whether the database takes writes. Reading alone would not tell that its disk is full.
    pub async fn ping(&self) -> Result<(), StoreError> {
        let write = sqlx::query(
            "INSERT INTO health (id, writes) VALUES (1, 1) ON CONFLICT (id) DO UPDATE SET writes = health.writes + 1",
        );
        write.execute(&self.pool).within(patience::HEALTH).await?;
        Ok(())
    }
}
