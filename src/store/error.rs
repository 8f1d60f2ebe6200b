//! What can be the matter with the database, and what to do about it.

use std::fmt;
use std::time::Duration;

use sqlx::migrate::MigrateError;
use sqlx::sqlite::SqliteError;

/// Why the database could not do it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The driver's word: unreachable, full, read-only, locked.
    #[error("{reason}: {0}; {advice}", reason = Reason::of(.0), advice = Reason::of(.0).advice())]
    Database(sqlx::Error),
    /// No word at all.
    #[error("{reason}: it said nothing for {0:?}; {advice}", reason = Reason::NoAnswer, advice = Reason::NoAnswer.advice())]
    Silent(Duration),
    /// The schema could not be brought up to date.
    #[error(
        "the database could not be prepared: {0}; start the Daypass that wrote it, or begin with an empty database"
    )]
    Migration(MigrateError),
    /// A newer version has been here.
    #[error("{reason}: this one does not know step {0} of its schema; {advice}", reason = Reason::Newer, advice = Reason::Newer.advice())]
    Newer(i64),
    /// The file is not as it was written.
    #[error("{reason}: {0}; {advice}", reason = Reason::Damaged, advice = Reason::Damaged.advice())]
    Damaged(String),
    /// The file is not where it was.
    #[error("{reason}; {advice}", reason = Reason::Gone, advice = Reason::Gone.advice())]
    Gone,
    /// A row does not hold what was written.
    #[error("the database holds something this version cannot read in {table}: {problem}; run `daypass rebuild`")]
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

/// What is the matter with the database, in words anybody may read: they tell neither where it is nor what it said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// It cannot be reached, went away or says nothing.
    NoAnswer,
    /// Others hold what is needed for longer than anybody should.
    Busy,
    /// It takes no writes.
    ReadOnly,
    /// There is no room left.
    Full,
    /// The disk reports errors.
    Disk,
    /// It is not as it was written.
    Damaged,
    /// Its file was removed or replaced.
    Gone,
    /// A newer version of Daypass wrote it.
    Newer,
    /// Something else.
    Other,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoAnswer => "the database does not answer",
            Self::Busy => "the database is busy",
            Self::ReadOnly => "the database is read-only",
            Self::Full => "the disk of the database is full",
            Self::Disk => "the disk of the database does not work",
            Self::Damaged => "the database is damaged",
            Self::Gone => "the file of the database was removed or replaced",
            Self::Newer => "the database was written by a newer version of Daypass",
            Self::Other => "the database did not answer as it should",
        })
    }
}

impl Reason {
    /// What a driver's error comes down to.
    fn of(error: &sqlx::Error) -> Self {
        match error {
            sqlx::Error::Database(error) => match error.try_downcast_ref::<SqliteError>() {
                Some(_) => Self::of_sqlite(error.code().and_then(|code| code.parse().ok()).unwrap_or(0)),
                None => Self::of_postgres(&error.code().unwrap_or_default()),
            },
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::Protocol(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed => Self::NoAnswer,
            _ => Self::Other,
        }
    }

    /// Result codes, of which the lowest byte tells the class: <https://www.sqlite.org/rescode.html>.
    fn of_sqlite(code: i32) -> Self {
        match code & 0xff {
            5 | 6 => Self::Busy,
            8 => Self::ReadOnly,
            10 => Self::Disk,
            11 | 26 => Self::Damaged,
            13 => Self::Full,
            14 => Self::NoAnswer,
            _ => Self::Other,
        }
    }

    /// <https://www.postgresql.org/docs/current/errcodes-appendix.html>.
    fn of_postgres(state: &str) -> Self {
        match state {
            "25006" => Self::ReadOnly,
            "53100" => Self::Full,
            "58030" => Self::Disk,
            "XX001" | "XX002" => Self::Damaged,
            "25P03" | "40001" | "40P01" | "53300" | "55P03" | "57014" => Self::Busy,
            _ if state.starts_with("08") || state.starts_with("57P") => Self::NoAnswer,
            _ => Self::Other,
        }
    }

    /// What the operator does about it.
    fn advice(self) -> &'static str {
        match self {
            Self::NoAnswer => "see that it runs and that `store.url` is right",
            Self::Busy => "it is tried again; look for sessions that hold locks if this goes on",
            Self::ReadOnly => "make it writable, its directory too if it is a file",
            Self::Full => "make room",
            Self::Disk => "look into the system's log",
            Self::Damaged => {
                "stop Daypass and put a backup in its place, or move it away: what it held is read again from GitHub"
            }
            Self::Gone => {
                "start Daypass anew: what the file held is read again from GitHub, or is in the backup in its place"
            }
            Self::Newer => "start that version, or begin with an empty database",
            Self::Other => "if this goes on, the database's own log may tell more",
        }
    }
}

impl StoreError {
    /// What it comes down to.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Database(error)
            | Self::Migration(MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _)) => {
                Reason::of(error)
            }
            Self::Silent(_) => Reason::NoAnswer,
            Self::Gone => Reason::Gone,
            Self::Newer(_) => Reason::Newer,
            Self::Damaged(_) | Self::Corrupt { .. } => Reason::Damaged,
            Self::Migration(_) | Self::LeaseLost(_) | Self::Address(_) => Reason::Other,
        }
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error)
    }
}

impl From<MigrateError> for StoreError {
    fn from(error: MigrateError) -> Self {
        match error {
            MigrateError::VersionMissing(version) => Self::Newer(version),
            MigrateError::Execute(error) => Self::Database(error),
            other => Self::Migration(other),
        }
    }
}
