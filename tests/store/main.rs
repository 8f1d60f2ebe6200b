//! The promises of the database. Most stories are told twice: on SQLite, and on a real PostgreSQL server.

// A story that cannot go on fails by panicking.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../support/mod.rs"]
mod support;

use chrono::{DateTime, TimeDelta, Utc};
use daypass::policy::name::RepositoryName;
use daypass::store::{Claim, Job, Lane, Store, StoreError};
use support::postgres::Postgres;

/// Tells each story on both databases.
macro_rules! on_both {
    ($($story:ident),* $(,)?) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $story() {
                super::$story(&crate::Database::sqlite()).await;
            })*
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread")]
            #[ignore = "needs PostgreSQL; ./test runs it"]
            async fn $story() {
                super::$story(&crate::Database::postgres()).await;
            })*
        }
    };
}

mod file;
mod passing;
mod records;
mod server;
mod work;

/// For how long jobs are taken here.
const LEASE: TimeDelta = TimeDelta::minutes(5);

/// An empty database, until the story ends.
enum Database {
    Sqlite(tempfile::TempDir),
    Postgres(Postgres),
}

impl Database {
    fn sqlite() -> Self {
        Self::Sqlite(tempfile::tempdir().unwrap())
    }

    fn postgres() -> Self {
        Self::Postgres(Postgres::start())
    }

    fn url(&self) -> String {
        match self {
            Self::Sqlite(dir) => format!("sqlite://{}", dir.path().join("daypass.db").display()),
            Self::Postgres(server) => server.url("daypass"),
        }
    }

    /// The store of one process.
    async fn open(&self) -> Store {
        Store::open(&self.url()).await.unwrap()
    }

    /// The stores of several workers: of as many processes on PostgreSQL, of one process on SQLite.
    async fn workers(&self, count: usize) -> Vec<Store> {
        let mut stores = vec![self.open().await];
        while stores.len() < count {
            stores.push(match self {
                Self::Sqlite(_) => stores[0].clone(),
                Self::Postgres(_) => self.open().await,
            });
        }
        stores
    }
}

fn noon() -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000, 0).unwrap()
}

fn acme() -> RepositoryName {
    "acme/access".parse().unwrap()
}

fn sync() -> Job {
    Job::Sync(acme())
}

async fn ask(store: &Store, job: &Job, due: DateTime<Utc>) {
    let mut tx = store.begin().await.unwrap();
    tx.schedule(job, due).await.unwrap();
    tx.commit().await.unwrap();
}

async fn take(store: &Store, now: DateTime<Utc>) -> Option<Claim> {
    store.claim(Lane::Any, now, LEASE).await.unwrap()
}

async fn finish(store: &Store, claim: &Claim, again: Option<DateTime<Utc>>) -> Result<(), StoreError> {
    let mut tx = store.begin().await?;
    tx.finish(claim, again).await?;
    tx.commit().await
}

fn is_lost<T>(result: Result<T, StoreError>) -> bool {
    matches!(result, Err(StoreError::LeaseLost(_)))
}
