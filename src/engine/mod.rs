//! The shell: takes deliveries, gathers facts, asks the pure core, carries out what it answered, keeps the clock.
//!
//! Everything is level-triggered. A webhook, a timer or a sweep only says *look there*; whoever looks reads the world again and
//! brings it closer to what it should be. Doing it twice is doing it once, and being killed at any point costs only time: state
//! is written before the world is changed, and the job stays in the queue until its last write.
//!
//! [`Engine::step`] does one thing that is due and returns; nothing happens between steps. [`Engine::run`] steps until it is
//! told to stop.

pub mod clock;
pub mod settings;

mod access_review;
mod answers;
mod asked;
mod buttons;
mod commands;
mod drift;
mod due;
pub mod effect;
mod emergency;
mod emergency_words;
mod error;
mod extend;
mod facts;
mod grants;
mod in_force;
mod intake;
mod ledger;
mod line;
mod markdown;
mod merge;
mod messages;
mod metrics;
mod patience;
mod pending;
mod provenance;
mod publish;
mod pull_request;
mod queue;
mod rebuild;
mod recall;
mod reconcile;
mod record;
mod redeliver;
mod repository;
mod revert;
pub mod sessions;
mod snapshot;
mod start;
pub mod streams;
mod sweep;
mod turns;
mod watch;
mod words;

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use futures::FutureExt;
use tokio::sync::{Mutex, Notify};

pub use error::EngineError;
pub use rebuild::Rebuilt;
pub use turns::Worker;

use crate::github::events::{self, Hint};
use crate::github::{App, Repository, Usage};
use crate::mutants::{self, Mutant};
use crate::policy::name::RepositoryName;
use crate::store::{Claim, Delivery, Job, Store, Tx};
use crate::target::Targets;
use clock::Clock;

/// How long after its process died a job may be taken over by another. Whoever works on it renews the lease meanwhile.
const LEASE: TimeDelta = TimeDelta::seconds(30);
/// How often the lease is renewed.
const RENEWAL: std::time::Duration = std::time::Duration::from_secs(10);
/// How often an idle process looks for what others, who may have died since, left in a database they share.
const LOOK_AGAIN: TimeDelta = TimeDelta::seconds(2);
/// After this long GitHub does nothing any more for a request whose sender has left:
/// <https://docs.github.com/en/rest/using-the-rest-api/troubleshooting-the-rest-api#timeouts>.
const GITHUB_GIVES_UP: TimeDelta = TimeDelta::seconds(10);
/// How many deliveries are looked at in one step.
const DELIVERIES_PER_STEP: u32 = 100;
/// How long the engine rests when its database does not work.
const PAUSE: std::time::Duration = std::time::Duration::from_secs(1);
/// The longest pause between two attempts at the same job. Short, because a revocation may be waiting.
const LONGEST_PAUSE: TimeDelta = TimeDelta::minutes(1);

/// What the engine is told once.
#[derive(Debug, Clone)]
pub struct Options {
    /// The policy repositories it looks after.
    pub repositories: Vec<RepositoryName>,
    /// How often everything is looked at without being asked, so that lost webhooks do no harm.
    pub resync: TimeDelta,
}

/// The engine. Cheap to clone; clones share everything.
#[derive(Clone)]
pub struct Engine {
    inner: Arc<Inner>,
}

struct Inner {
    store: Store,
    github: App,
    targets: Targets,
    clock: Clock,
    options: Options,
    snapshots: snapshot::Cache,
    /// The default branch of each repository, read once per sweep.
    branches: Mutex<BTreeMap<RepositoryName, String>>,
    /// For workers of either kind: one that cannot take the work must not sleep on the news.
    wake: [Notify; 2],
    turns: turns::Turns,
    metrics: metrics::Metrics,
    /// The time at the last step, and what was known of it.
    last_step: std::sync::Mutex<(u64, DateTime<Utc>)>,
    /// A look through GitHub's log of webhooks that is not complete.
    looking_for_webhooks: Mutex<Option<redeliver::Look>>,
    /// What is being worked on. What is still here once every worker has stopped was not finished.
    begun: std::sync::Mutex<Vec<Claim>>,
}

impl Engine {
    /// An engine over these parts. Call [`Engine::begin`] before the first step.
    pub fn new(store: Store, github: App, targets: Targets, clock: Clock, options: Options) -> Self {
        let snapshots = snapshot::Cache::default();
        let last_step = std::sync::Mutex::new((clock.revision(), clock.now()));
        let (branches, wake, begun) = (Mutex::default(), [Notify::new(), Notify::new()], std::sync::Mutex::default());
        let turns = turns::Turns::new(&options.repositories);
        Self {
            inner: Arc::new(Inner {
                store,
                github,
                targets,
                clock,
                options,
                snapshots,
                branches,
                wake,
                turns,
                metrics: metrics::Metrics::default(),
                last_step,
                looking_for_webhooks: Mutex::default(),
                begun,
            }),
        }
    }

    /// The database.
    pub fn store(&self) -> &Store {
        &self.inner.store
    }

    /// The clock.
    pub fn clock(&self) -> &Clock {
        &self.inner.clock
    }

    /// The configured targets.
    pub fn targets(&self) -> &Targets {
        &self.inner.targets
    }

    /// What was asked of GitHub so far.
    pub fn usage(&self) -> Usage {
        self.inner.github.usage()
    }

    /// Asks for a look at everything: what happened while nobody was running is found this way.
    pub async fn begin(&self) -> Result<(), EngineError> {
        let now = self.inner.clock.now();
        self.inner.store.release_leases_of_the_dead().await?;
        let mut tx = self.inner.store.begin().await?;
        for repository in &self.inner.options.repositories {
            tx.schedule(&Job::Sweep(repository.clone()), now).await?;
        }
        tx.schedule(&Job::Redeliver, now).await?;
        tx.schedule(&Job::Tidy, now).await?;
        tx.commit().await?;
        self.wake();
        Ok(())
    }

    /// Tells a running engine that there may be something to do.
    pub fn wake(&self) {
        self.inner.wake.iter().for_each(Notify::notify_one);
    }

    /// Stores a delivery; false if its id is known already. Durable when this returns.
    pub async fn accept(&self, delivery: &Delivery) -> Result<bool, EngineError> {
        let new = self.inner.store.accept(delivery, self.inner.clock.now()).await?;
        self.wake();
        Ok(new)
    }

    /// Does one thing that is due; false if nothing is.
    pub async fn step(&self) -> Result<bool, EngineError> {
        self.step_as(Worker::Any).await
    }

    async fn step_as(&self, worker: Worker) -> Result<bool, EngineError> {
        if self.time_is_another() {
            tracing::warn!("the time is not what it was; everything that was planned is looked at now");
            self.inner.store.hasten(self.inner.clock.now(), LEASE).await?;
        }
        if worker == Worker::Any && self.take_deliveries().await? {
            return Ok(true);
        }
        let Some((claim, _place)) = self.take(worker).await? else { return Ok(false) };
        self.begun(|begun| begun.push(claim.clone()));
        // More work may have become due than this worker can take: let another one look too.
        self.wake();
        // Both make progress: with SQLite's one connection, renewing may have to wait for the work to let go of it.
        let done = tokio::select! {
            done = std::panic::AssertUnwindSafe(self.perform(&claim)).catch_unwind() => {
                // A worker that is gone would be missed by nobody.
                done.unwrap_or_else(|_| Err(EngineError::NotYet(format!("{} broke off; this is a mistake in Daypass", claim.job))))
            }
            error = self.keep_lease(&claim) => Err(error),
        };
        let postponed = match done {
            Ok(()) => Ok(()),
            Err(error) => {
                self.inner.metrics.failed();
                self.postpone(&claim, &error).await
            }
        };
        self.begun(|begun| begun.retain(|known| !known.is(&claim)));
        // What it asked for may be another worker's.
        self.wake();
        postponed.map(|()| true)
    }

    fn begun(&self, change: impl FnOnce(&mut Vec<Claim>)) {
        change(&mut self.inner.begun.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
    }

    /// Gives back the jobs of steps that were dropped, so that nobody waits for their leases; call it once no worker is left.
    /// Not sooner than what was last asked of others can no longer take effect: a target may still do what it was told, so its
    /// lease runs out by itself.
    pub async fn let_go(&self) {
        let mut left = Vec::new();
        self.begun(|begun| left = std::mem::take(begun));
        let now = self.inner.clock.now();
        for claim in left {
            let free_at = match &claim.job {
                Job::Target(_) => continue,
                Job::Grant(..) | Job::Sessions(_) | Job::Drift(_) | Job::Tidy => now,
                _ => now + GITHUB_GIVES_UP,
            };
            if let Err(error) = self.inner.store.let_go(&claim, free_at).await {
                tracing::warn!(job = %claim.job, %error, "the lease could not be given back; it runs out by itself");
            }
        }
    }

    /// Whether the clock went back, or was found to be wrong: what was planned for later may be due, or may have been.
    fn time_is_another(&self) -> bool {
        let mut last = self.inner.last_step.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let (revision, now) = (self.inner.clock.revision(), self.inner.clock.now());
        let (known, before) = std::mem::replace(&mut *last, (revision, now));
        known != revision || before - now > TimeDelta::seconds(1)
    }

    /// Steps until nothing is due.
    pub async fn settle(&self) -> Result<(), EngineError> {
        while self.step().await? {}
        Ok(())
    }

    /// Works until `stop` completes. A step that has begun is finished first.
    pub async fn run(&self, worker: Worker, stop: impl Future<Output = ()>) {
        let mut stop = std::pin::pin!(stop);
        loop {
            // Asked for between steps only: to wait for both at once would drop the step.
            if stop.as_mut().now_or_never().is_some() {
                return;
            }
            let pause = match self.step_as(worker).await {
                Ok(true) => continue,
                Ok(false) => None,
                Err(error) => {
                    tracing::error!(%error, "the engine cannot work; it tries again in a second");
                    Some(PAUSE)
                }
            };
            tokio::select! {
                () = &mut stop => return,
                () = self.idle(worker, pause) => {}
            }
        }
    }

    /// Waits until something is due or somebody wakes the engine; after a failure, for a fixed while.
    async fn idle(&self, worker: Worker, pause: Option<std::time::Duration>) {
        if let Some(pause) = pause {
            return tokio::time::sleep(pause).await;
        }
        let [for_access, for_any] = &self.inner.wake;
        let wake = if worker == Worker::Access { for_access } else { for_any };
        let (store, now) = (&self.inner.store, self.inner.clock.now());
        let Ok(due) = self.next_due(worker).await else { return tokio::time::sleep(PAUSE).await };
        let due = due.unwrap_or(DateTime::<Utc>::MAX_UTC);
        // What is due and was not taken has no place yet. What another process asks for meanwhile, nobody here is told.
        let latest = now + if store.is_shared() { LOOK_AGAIN } else { TimeDelta::minutes(1) };
        let at = due.max(now + TimeDelta::milliseconds(200)).min(latest);
        tokio::select! {
            () = wake.notified() => {}
            () = self.inner.clock.sleep_until(at) => {}
        }
    }

    /// Turns waiting deliveries into jobs; false if there was none.
    async fn take_deliveries(&self) -> Result<bool, EngineError> {
        let deliveries = self.inner.store.waiting_deliveries(DELIVERIES_PER_STEP).await?;
        if deliveries.is_empty() {
            return Ok(false);
        }
        let now = self.inner.clock.now();
        let mut tx = self.inner.store.begin().await?;
        for delivery in &deliveries {
            // Another process may have read the same ones.
            if !tx.done_with(&delivery.id, now).await? {
                continue;
            }
            self.keep_what_only_this_tells(&mut tx, delivery, now).await?;
            let hint = events::hint(&delivery.event, delivery.body.as_bytes());
            if let Some((repository, press)) = self.press_of(&delivery.id, &hint) {
                tx.press(&repository, &press, now).await?;
            }
            for job in self.jobs_for(hint) {
                tx.schedule(&job, now).await?;
            }
        }
        tx.commit().await?;
        Ok(true)
    }

    /// Keeps of a delivery what GitHub tells nowhere else: who pushed, and that a comment was changed.
    async fn keep_what_only_this_tells(
        &self,
        tx: &mut Tx,
        delivery: &Delivery,
        now: DateTime<Utc>,
    ) -> Result<(), EngineError> {
        let body = delivery.body.as_bytes();
        if let Some(push) = events::push(&delivery.event, body)
            && let Some(repository) = self.ours(&push.repository)
        {
            tx.pushed(repository, &push.commit, &push.by, now).await?;
        }
        if let Some((repository, comment)) = events::edited(&delivery.event, body)
            && let Some(repository) = self.ours(&repository)
        {
            tx.set_mark(&commands::edited(repository, comment), now).await?;
        }
        Ok(())
    }

    /// What a delivery asks to look at. What it claims is not believed.
    fn jobs_for(&self, hint: Hint) -> Vec<Job> {
        let of = |repository: &RepositoryName, job: &dyn Fn(RepositoryName) -> Job| {
            self.ours(repository).cloned().map(job).into_iter().collect::<Vec<_>>()
        };
        match hint {
            Hint::Pull { repository, number } => of(&repository, &|name| Job::Pull(name, number)),
            Hint::Queue { repository, number, commit } => {
                of(&repository, &|name| Job::Queue(name, number, commit.clone()))
            }
            // A press of a button we do not know asks for a look, as it does on other checks.
            Hint::Pressed { repository, number, button, .. } => {
                of(&repository, &|name| match buttons::is_ours(&button) {
                    true => Job::Pull(name, number),
                    false => Job::Sweep(name),
                })
            }
            Hint::Repository { repository } => of(&repository, &Job::Sync),
            Hint::Check { repository } => of(&repository, &Job::Sweep),
            Hint::Directory { organisation } => self
                .inner
                .options
                .repositories
                .iter()
                .filter(|name| name.owner().eq_ignore_ascii_case(&organisation))
                .map(|name| Job::Sweep(name.clone()))
                .collect(),
            Hint::Installation => {
                for name in &self.inner.options.repositories {
                    self.inner.github.forget(name);
                }
                self.inner.options.repositories.iter().map(|name| Job::Sweep(name.clone())).collect()
            }
            Hint::Nowhere => Vec::new(),
        }
    }

    /// The repository we look after that is meant by a name.
    fn ours(&self, repository: &RepositoryName) -> Option<&RepositoryName> {
        let mut known = self.inner.options.repositories.iter();
        known.find(|known| known.as_str().eq_ignore_ascii_case(repository.as_str()))
    }

    /// Renews the lease for as long as it is polled; completes only when it is lost and the work is better let go of. Work on a
    /// target is not: what was begun there must be told to whoever took it over.
    async fn keep_lease(&self, claim: &Claim) -> EngineError {
        loop {
            tokio::time::sleep(RENEWAL).await;
            match self.inner.store.renew(claim, self.inner.clock.now(), LEASE).await {
                Err(crate::store::StoreError::LeaseLost(_)) if matches!(claim.job, Job::Target(_)) => {
                    std::future::pending::<()>().await;
                }
                Err(error @ crate::store::StoreError::LeaseLost(_)) => return error.into(),
                Err(error) => tracing::warn!(job = %claim.job, %error, "the lease could not be renewed"),
                Ok(()) => {}
            }
        }
    }

    async fn perform(&self, claim: &Claim) -> Result<(), EngineError> {
        tracing::debug!(job = %claim.job, attempts = claim.attempts, "looking");
        if let Job::Revert(repository, _) | Job::Cleanse(repository) | Job::Ledger(repository) = &claim.job
            && let Some(until) = self.inner.github.repository(repository).await?.scarce_until()
        {
            // Access that is over is gone without it, what was refused is not given, and what happened is in the database.
            tracing::info!(job = %claim.job, %until, "little is left of what GitHub allows; this can wait");
            let tx = self.inner.store.begin().await?;
            return self.finish(claim, tx, Some(until)).await;
        }
        match &claim.job {
            Job::Pull(repository, number) => self.look_at_pull(claim, repository, *number).await,
            Job::Sync(repository) => self.sync(claim, repository).await,
            Job::Sweep(repository) => self.sweep(claim, repository).await,
            Job::Grant(repository, id) => self.look_at_grant(claim, repository, id).await,
            Job::Start(repository, id) => self.start(claim, repository, id).await,
            Job::Revert(repository, id) => self.revert(claim, repository, id).await,
            Job::Cleanse(repository) => self.cleanse(claim, repository).await,
            Job::Queue(repository, number, commit) => self.look_at_queue(claim, repository, *number, commit).await,
            Job::Emergency(repository, id) => self.look_at_emergency(claim, repository, id).await,
            Job::Messages(repository, number) => self.post_messages(claim, repository, *number).await,
            Job::Target(name) => self.reconcile(claim, name).await,
            Job::Drift(name) => self.look_for_drift(claim, name).await,
            Job::Sessions(name) => self.look_at_sessions(claim, name).await,
            Job::Ledger(repository) => self.look_at_ledger(claim, repository).await,
            Job::Redeliver => self.redeliver(claim).await,
            Job::Tidy => self.tidy(claim).await,
        }
    }

    /// Puts a failed job back, a little later each time.
    async fn postpone(&self, claim: &Claim, error: &EngineError) -> Result<(), EngineError> {
        if error.is_lost_lease() {
            tracing::warn!(job = %claim.job, %error, "left to whoever took it over");
            return Ok(());
        }
        let pause = error.retry_after().map_or_else(|| pause_after(claim), |pause| jittered(claim, pause));
        tracing::warn!(job = %claim.job, %error, attempts = claim.attempts, pause = %pause, "failed; it is tried again");
        let mut tx = self.inner.store.begin().await?;
        if mutants::is(Mutant::NeverRetry) {
            return self.finish(claim, tx, None).await;
        }
        match tx.fail(claim, &error.to_string(), self.inner.clock.now() + pause).await {
            Ok(()) => Ok(tx.commit().await?),
            Err(crate::store::StoreError::LeaseLost(_)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Ends a job together with what it changed.
    async fn finish(&self, claim: &Claim, mut tx: Tx, again: Option<DateTime<Utc>>) -> Result<(), EngineError> {
        tx.finish(claim, again).await?;
        tx.commit().await?;
        Ok(())
    }

    /// The client for a policy repository, with the name of its default branch.
    async fn open(&self, name: &RepositoryName) -> Result<(Repository, String), EngineError> {
        let github = self.inner.github.repository(name).await?;
        if let Some(branch) = self.inner.branches.lock().await.get(name) {
            return Ok((github, branch.clone()));
        }
        let branch = github.info().await?.default_branch;
        self.inner.branches.lock().await.insert(name.clone(), branch.clone());
        Ok((github, branch))
    }
}

/// One second, doubling up to [`LONGEST_PAUSE`], and a little more.
fn pause_after(claim: &Claim) -> TimeDelta {
    jittered(claim, TimeDelta::seconds(1 << claim.attempts.min(6)).min(LONGEST_PAUSE))
}

/// Up to a quarter more, so that not all come back at once. How much comes from the job and the attempt, not from chance, so that a
/// history can be replayed.
fn jittered(claim: &Claim, pause: TimeDelta) -> TimeDelta {
    use std::hash::{Hash, Hasher};
    let mut hasher = std::collections::hash_map::DefaultHasher::new();
    (&claim.job, claim.attempts).hash(&mut hasher);
    let share = i64::try_from(hasher.finish() % 250).unwrap_or(0);
    pause + TimeDelta::milliseconds(pause.num_milliseconds() / 1_000 * share)
}
