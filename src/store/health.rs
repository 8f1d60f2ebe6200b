//! Whether the database works: it opens whole, it takes writes, and it answers in time.

use std::path::{Path, PathBuf};

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

/// The file of an SQLite database, as it was when it was opened.
#[derive(Debug)]
pub(super) struct File {
    path: PathBuf,
    number: Option<u64>,
}

impl File {
    /// The file behind a connection; none for a database that is kept in memory.
    pub async fn of(connection: &mut AnyConnection) -> Result<Option<Self>, StoreError> {
        let row =
            sqlx::query("SELECT file FROM pragma_database_list WHERE name = 'main'").fetch_one(connection).await?;
        let path = PathBuf::from(row.try_get::<String, _>(0)?);
        let number = number_of(&path);
        Ok((!path.as_os_str().is_empty()).then_some(Self { path, number }))
    }
}

/// What tells a file from another one that takes its place.
fn number_of(path: &Path) -> Option<u64> {
    let metadata = std::fs::metadata(path).ok()?;
    #[cfg(unix)]
    return Some(std::os::unix::fs::MetadataExt::ino(&metadata));
    #[cfg(not(unix))]
    return Some(u64::from(metadata.is_file()));
}

impl Store {
    /// Whether what is written now will be found by the next process. A file that was removed or replaced still works for whoever has
    /// it open: access ends on time, but nothing that is acknowledged would be kept.
    pub(super) fn is_kept(&self) -> Result<(), StoreError> {
        match &self.file {
            Some(file) if number_of(&file.path) != file.number => Err(StoreError::Gone),
            _ => Ok(()),
        }
    }

    /// Whether the database takes writes, and keeps them. Reading alone would not tell that its disk is full.
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.is_kept()?;
        let write = sqlx::query(
            "INSERT INTO health (id, writes) VALUES (1, 1) ON CONFLICT (id) DO UPDATE SET writes = health.writes + 1",
        );
        write.execute(&self.pool).within(patience::HEALTH).await?;
        Ok(())
    }
}
