//! Reading everything anew from git and GitHub into a database that is damaged, was put back from a backup, or is not trusted (I6).
//! What is applied on targets stays known; what the record says stays said.

use chrono::TimeDelta;

use super::{Engine, EngineError, LEASE};
use crate::policy::name::RepositoryName;
use crate::store::{Job, Unreadable};

/// What reading anew came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rebuilt {
    /// The policy repository.
    pub repository: RepositoryName,
    /// Live grants the database knew before.
    pub before: usize,
    /// Live grants it knows now.
    pub after: usize,
    /// Live grants whose file is gone, and which are ended.
    pub ended: usize,
    /// Files nobody vouches for; they are taken back.
    pub refused: usize,
    /// Events that are on the branch of the ledger.
    pub events: u64,
}

/// How often a serving process says that it is there.
const HEARTBEAT: std::time::Duration = std::time::Duration::from_secs(10);
/// How soon what was not certain is looked at again.
const UNTIL_CERTAIN: TimeDelta = TimeDelta::seconds(15);

impl Engine {
    /// For how long the word of a serving process counts.
    pub const SERVING_KEPT: TimeDelta = TimeDelta::seconds(30);

    /// Says, again and again, that somebody serves from the database.
    pub async fn say_serving(&self) {
        loop {
            // A database that does not work is told by those who need it.
            let _ = self.inner.store.say_serving(true, self.inner.clock.now()).await;
            tokio::time::sleep(HEARTBEAT).await;
        }
    }

    /// Throws away what the database holds and cannot be read; the rest of it is kept. Says what was thrown away.
    pub async fn discard_unreadable(&self) -> Result<Vec<Unreadable>, EngineError> {
        let mut tx = self.inner.store.begin().await?;
        let unreadable = tx.discard_unreadable().await?;
        tx.commit().await?;
        Ok(unreadable)
    }

    /// Reads a policy repository anew, from the beginning. Targets are not touched: whoever serves next brings them to where they
    /// should be. No other process may work on the database.
    pub async fn rebuild(&self, repository: &RepositoryName) -> Result<Rebuilt, EngineError> {
        // First, so that nothing that is on record is recorded anew.
        let events = self.rebuild_ledger(repository).await?;
        let (store, now) = (&self.inner.store, self.inner.clock.now());
        let job = Job::Sync(repository.clone());
        let mut tx = store.begin().await?;
        tx.forget_reading(repository).await?;
        tx.schedule(&job, now).await?;
        tx.commit().await?;
        let Some(claim) = store.claim_job(&job, now, LEASE).await? else {
            let why = format!("another process reads {repository}; stop every `daypass serve` first");
            return Err(EngineError::NotYet(why));
        };
        let before = self.live_in(repository).await?;
        let read = async {
            loop {
                match self.read_on(&claim, repository).await {
                    Err(error @ EngineError::Uncertain(_)) => {
                        tracing::warn!(%repository, %error, "not all is certain yet")
                    }
                    done => break done,
                }
                self.inner.clock.sleep_until(self.inner.clock.now() + UNTIL_CERTAIN).await;
            }
        };
        let done = tokio::select! {
            done = read => done,
            error = self.keep_lease(&claim) => Err(error),
        };
        if let Err(error) = done {
            self.postpone(&claim, &error).await?;
            return Err(error);
        }
        let (github, branch) = self.open(repository).await?;
        let head = github.head(&branch).await?;
        let ended = self.end_what_is_gone(&claim, &github, repository, (None, &head)).await?;
        let rebuilt = Rebuilt {
            repository: repository.clone(),
            before,
            after: self.live_in(repository).await?,
            ended,
            refused: store.refusals(repository).await?.len(),
            events,
        };
        let tx = store.begin().await?;
        self.finish(&claim, tx, None).await?;
        Ok(rebuilt)
    }

    async fn live_in(&self, repository: &RepositoryName) -> Result<usize, EngineError> {
        let live = self.inner.store.live_grants().await?;
        Ok(live.iter().filter(|row| row.repository == *repository).count())
    }
}
