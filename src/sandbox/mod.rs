//! An embedded GitHub for the demo and the tests: REST, webhooks and git over a real bare repository, without a network.
//!
//! It behaves, for all that Daypass and an everyday client use, as GitHub documents it, for one organisation with one app. How
//! faithful it is, is tested against GitHub's own OpenAPI description, not believed. It runs on a port (`daypass sandbox`), inside
//! the demo, and in process under octocrab. All times come from the one [`Clock`].
//!
//! A world is arranged through the methods of [`Sandbox`], or over HTTP at `/_sandbox/…` (see `admin.rs`), which real GitHub does
//! not have.

mod admin;
mod app;
mod checks;
mod contents;
mod git;
mod issues;
mod json;
mod limit;
mod page;
mod people;
mod pulls;
mod queue;
mod route;
mod smart_http;
mod starter;
mod state;
mod webhooks;
mod world;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use secrecy::SecretString;

use crate::engine::clock::Clock;

pub use starter::starter_files;
pub use state::BranchRule;
pub use webhooks::{Delivery, WebhookSink, sign};

/// The address GitHub commits with.
pub(super) const WEB_FLOW_EMAIL: &str = "noreply@github.com";

/// How an embedded GitHub is set up.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where it keeps everything.
    pub dir: PathBuf,
    /// The organisation.
    pub organisation: String,
    /// The policy repository of the example world.
    pub repository: String,
    /// The time.
    pub clock: Clock,
    /// The address in its answers, such as `http://127.0.0.1:8081`.
    pub base_url: String,
    /// Where webhooks go.
    pub webhooks: WebhookSink,
    /// Where every exchange is written, one JSON line each, for the contract tests.
    pub record: Option<PathBuf>,
    /// Whether changes are written to disk at once, so that a restart finds them.
    pub persist: bool,
}

/// What can go wrong when it starts, or when a world is arranged.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// Files.
    #[error("{path}: {error}")]
    Io {
        /// Which.
        path: String,
        /// Why.
        error: std::io::Error,
    },
    /// Git.
    #[error(transparent)]
    Git(#[from] git::GitError),
    /// Keys.
    #[error("no key could be made: {0}")]
    Key(String),
    /// The kept state cannot be read.
    #[error("the kept state cannot be read: {0}")]
    State(#[from] serde_json::Error),
    /// Something that is not there was named.
    #[error("there is no {0}")]
    Unknown(String),
}

/// The app as whoever runs it must be configured.
#[derive(Debug, Clone)]
pub struct AppCredentials {
    /// Its id.
    pub id: u64,
    /// Its slug.
    pub slug: String,
    /// Its private key, in PEM.
    pub private_key: SecretString,
    /// The secret its webhooks are signed with.
    pub webhook_secret: SecretString,
}

/// The embedded GitHub.
pub struct Sandbox {
    options: Options,
    /// The address in its answers; known only once a port is.
    base_url: Mutex<String>,
    state: Mutex<state::State>,
    git: Mutex<BTreeMap<String, Arc<git::Git>>>,
    credentials: AppCredentials,
    verifying_key: jsonwebtoken::DecodingKey,
    outbox: webhooks::Outbox,
    faults: Mutex<Option<Fault>>,
    limit: Mutex<Option<limit::Limit>>,
    resumed: tokio::sync::Notify,
}

/// A disturbance: what to answer to a request instead of, or after, doing it.
pub type Fault = Arc<dyn Fn(&http::Method, &str) -> Option<Disturbance> + Send + Sync>;

/// What a disturbed request gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disturbance {
    /// This status; nothing is done.
    Refuse(u16),
    /// The thing is done, but this status is answered.
    Pretend(u16),
    /// The secondary rate limit, with `Retry-After` in seconds.
    RateLimit(u64),
    /// No answer until [`Sandbox::resume`]; nothing is done before, or the thing is `done` already.
    Stall {
        /// Whether it is done before the silence.
        done: bool,
    },
}

impl Sandbox {
    /// Opens the embedded GitHub in its directory, with what it kept there.
    pub async fn open(options: Options) -> Result<Arc<Self>, SandboxError> {
        world::open(options)
    }

    /// Everything it serves.
    pub fn router(self: &Arc<Self>) -> axum::Router {
        route::router(self.clone())
    }

    /// The app's credentials.
    pub fn app(&self) -> AppCredentials {
        self.credentials.clone()
    }

    /// Where a repository lies on disk.
    pub fn git_dir(&self, repository: &str) -> PathBuf {
        self.options.dir.join(format!("{repository}.git"))
    }

    /// The clock.
    pub fn clock(&self) -> &Clock {
        &self.options.clock
    }

    /// Sets the address in its answers, once the port is known.
    pub fn set_base_url(&self, url: &str) {
        if let Ok(mut base) = self.base_url.lock() {
            *base = url.trim_end_matches('/').to_owned();
        }
    }

    /// Installs a disturbance, or takes it away.
    pub fn disturb(&self, fault: Option<Fault>) {
        if let Ok(mut faults) = self.faults.lock() {
            *faults = fault;
        }
    }

    /// From now on the app's installation may send so many requests an hour; without a number, as many as it likes.
    pub fn limit_requests(&self, per_hour: Option<u64>) {
        *self.limit() = per_hour.map(|per_hour| limit::Limit::new(per_hour, self.clock().now()));
    }

    fn limit(&self) -> MutexGuard<'_, Option<limit::Limit>> {
        self.limit.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Ends every stall there is now.
    pub fn resume(&self) {
        self.resumed.notify_waiters();
    }

    /// The webhooks that were sent since the last call, when they go to a queue.
    pub fn take_deliveries(&self) -> Vec<Delivery> {
        self.outbox.take()
    }

    fn base_url(&self) -> String {
        self.base_url.lock().map(|url| url.clone()).unwrap_or_default()
    }

    fn api_url(&self) -> String {
        format!("{}/api/v3", self.base_url())
    }

    /// The state. A panic while it was held leaves it as it was: every change is one assignment away from consistent.
    fn state(&self) -> MutexGuard<'_, state::State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn repository_git(&self, name: &str) -> Result<Arc<git::Git>, SandboxError> {
        let mut open = self.git.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(git) = open.get(name) {
            return Ok(git.clone());
        }
        let git = Arc::new(git::Git::open(&self.git_dir(name))?);
        open.insert(name.to_owned(), git.clone());
        Ok(git)
    }

    /// Writes the state to disk, if it is to be kept.
    fn keep(&self, state: &state::State) -> Result<(), SandboxError> {
        if !self.options.persist {
            return Ok(());
        }
        let path = self.options.dir.join("state.json");
        write_atomically(&path, &serde_json::to_vec(state)?)
    }
}

fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), SandboxError> {
    let beside = path.with_extension("new");
    let io = |error| SandboxError::Io { path: path.display().to_string(), error };
    write_private(&beside, bytes).map_err(io)?;
    std::fs::rename(&beside, path).map_err(io)
}

/// Writes a file only its owner can read: it holds tokens or keys.
pub(crate) fn write_private(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o600);
    }
    std::io::Write::write_all(&mut options.open(path)?, bytes)
}
