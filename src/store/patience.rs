//! Patience with the database. A server whose machine vanished never says that it did: whoever waits for its answer waits for
//! ever. What it was asked is given up after a while, and so is the connection.

use std::time::{Duration, Instant};

use futures::FutureExt;
use futures::future::BoxFuture;
use sqlx::any::AnyConnectOptions;
use sqlx::{AnyConnection, Connection};

use super::StoreError;

/// How long a caller waits for a connection: shorter than GitHub waits for the answer to a webhook.
pub(super) const CONNECTION: Duration = Duration::from_secs(8);
/// How long a server that refuses connections is given to start.
const START: Duration = Duration::from_secs(3);
/// How soon a connection is tried again meanwhile.
const BETWEEN_CONNECTIONS: Duration = Duration::from_millis(250);
/// How long an answer about health may take: shorter than anybody waits who asks.
pub(super) const HEALTH: Duration = Duration::from_secs(5);
/// How long a connection may take to show that it works.
const SIGN_OF_LIFE: Duration = Duration::from_secs(2);
/// How long anything may take, the wait for a connection included: longer than the server itself gives a statement, and shorter
/// than a lease.
const ANSWER: Duration = Duration::from_secs(20);

/// What is awaited from the database.
pub(super) trait InTime<'a, T: Send + 'a>: Future<Output = Result<T, sqlx::Error>> + Send + Sized + 'a {
    /// Its answer, or the news that there is none.
    fn in_time(self) -> BoxFuture<'a, Result<T, StoreError>> {
        self.within(ANSWER)
    }

    /// The same, in less or more time.
    fn within(self, patience: Duration) -> BoxFuture<'a, Result<T, StoreError>> {
        async move { Ok(tokio::time::timeout(patience, self).await.map_err(|_| StoreError::Silent(patience))??) }
            .boxed()
    }
}

impl<'a, T: Send + 'a, F: Future<Output = Result<T, sqlx::Error>> + Send + 'a> InTime<'a, T> for F {}

/// A first connection. A server that refuses may be about to start; if it does not, its last word is told.
pub(super) async fn connect(options: &AnyConnectOptions) -> Result<AnyConnection, StoreError> {
    let began = Instant::now();
    loop {
        match AnyConnection::connect_with(options).within(CONNECTION).await {
            Err(StoreError::Database(sqlx::Error::Io(_))) if began.elapsed() < START => {
                tokio::time::sleep(BETWEEN_CONNECTIONS).await;
            }
            answer => return answer,
        }
    }
}

/// Whether a connection works; an error if it says nothing. The pool itself would wait for ever to know.
pub(super) async fn is_alive(connection: &mut AnyConnection) -> Result<bool, sqlx::Error> {
    match tokio::time::timeout(SIGN_OF_LIFE, connection.ping()).await {
        Ok(answer) => answer.map(|()| true),
        Err(_) => Err(sqlx::Error::PoolTimedOut),
    }
}
