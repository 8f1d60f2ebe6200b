//! The GitHub App, its installations, and a policy repository seen through one.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use http::{Method, StatusCode};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use super::GithubError;
use super::Usage;
use super::budget::Budget;
use super::transport::{Answer, Transport, segment};
use crate::mutants::{self, Mutant};
use crate::policy::name::RepositoryName;

/// Tells the time. The client keeps no clock of its own.
pub trait Timekeeper: Send + Sync {
    /// What GitHub's clock shows, as far as is known: tokens are made and judged by it.
    fn now(&self) -> DateTime<Utc>;

    /// Changes whenever [`Timekeeper::now`] begins to follow another clock.
    fn revision(&self) -> u64;

    /// An answer of GitHub was dated this much later than [`Timekeeper::now`]; earlier, if negative.
    fn learn(&self, later: TimeDelta);
}

/// Tokens are renewed this long before they expire.
const RENEW_BEFORE: TimeDelta = TimeDelta::minutes(5);
/// How many answers are kept for conditional requests, per installation.
const ANSWERS_KEPT: usize = 1_000;
/// The largest answer that is kept.
const LARGEST_KEPT: usize = 256 << 10;
/// Pages are read up to this many; more means that something is wrong.
const MOST_PAGES: usize = 200;

/// The GitHub App. Cheap to clone; clones share tokens.
#[derive(Clone)]
pub struct App {
    inner: Arc<AppInner>,
}

struct AppInner {
    transport: Transport,
    id: u64,
    key: EncodingKey,
    time: Arc<dyn Timekeeper>,
    installations: Mutex<BTreeMap<u64, Arc<Installation>>>,
    repositories: std::sync::Mutex<HashMap<RepositoryName, u64>>,
    me: Mutex<Option<AppInfo>>,
}

/// Who the app is.
#[derive(Debug, Clone, Deserialize)]
pub struct AppInfo {
    /// Its id.
    pub id: u64,
    /// Its slug; its account is `slug[bot]`.
    pub slug: String,
}

impl AppInfo {
    /// The login of the app's account.
    pub fn login(&self) -> String {
        format!("{}[bot]", self.slug)
    }
}

/// What GitHub still allows an installation.
#[derive(Debug, Clone, Copy)]
pub struct RateLimit {
    /// The installation's id.
    pub installation: u64,
    /// Requests, until the hour is over.
    pub remaining: i64,
}

struct Installation {
    id: u64,
    token: Mutex<Option<Token>>,
    answers: Mutex<Answers>,
    budget: std::sync::Mutex<Budget>,
}

#[derive(Clone)]
struct Token {
    secret: SecretString,
    expires_at: DateTime<Utc>,
}

/// Answers with their ETags, oldest forgotten first. A 304 costs nothing of the rate limit.
#[derive(Default)]
struct Answers {
    by_path: HashMap<String, (String, Kept)>,
    order: VecDeque<String>,
}

#[derive(Clone)]
struct Kept {
    body: Bytes,
    next: Option<String>,
}

#[derive(Serialize)]
struct Claims {
    iat: i64,
    exp: i64,
    iss: String,
}

#[derive(Deserialize)]
struct WithId {
    id: u64,
}

impl Installation {
    fn new(id: u64) -> Self {
        Self { id, token: Mutex::default(), answers: Mutex::default(), budget: std::sync::Mutex::default() }
    }

    fn budget(&self) -> std::sync::MutexGuard<'_, Budget> {
        self.budget.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl App {
    /// The app `id` with its private key in PEM.
    pub fn new(
        transport: Transport,
        id: u64,
        private_key: &SecretString,
        time: Arc<dyn Timekeeper>,
    ) -> Result<Self, GithubError> {
        let key = EncodingKey::from_rsa_pem(private_key.expose_secret().as_bytes()).map_err(|error| {
            GithubError::Unauthorized { message: format!("the private key is no RSA key in PEM: {error}") }
        })?;
        let (installations, repositories, me) = (Mutex::default(), std::sync::Mutex::default(), Mutex::default());
        Ok(Self { inner: Arc::new(AppInner { transport, id, key, time, installations, repositories, me }) })
    }

    /// The app's id.
    pub fn id(&self) -> u64 {
        self.inner.id
    }

    /// What was asked so far.
    pub fn usage(&self) -> Usage {
        self.inner.transport.usage()
    }

    /// What is left of the limits, as the last answers told; without the installations that were not asked yet.
    pub async fn rate_limits(&self) -> Vec<RateLimit> {
        let installations = self.inner.installations.lock().await;
        let left = |installation: &Arc<Installation>| {
            let remaining = installation.budget().remaining()?;
            Some(RateLimit { installation: installation.id, remaining })
        };
        installations.values().filter_map(left).collect()
    }

    /// A token that proves to be the app. GitHub allows ten minutes and clocks that differ a little:
    /// <https://docs.github.com/en/apps/creating-github-apps/authenticating-with-a-github-app/generating-a-json-web-token-jwt-for-a-github-app>.
    fn jwt(&self) -> Result<SecretString, GithubError> {
        let now = self.inner.time.now().timestamp();
        let claims = Claims { iat: now - 60, exp: now + 9 * 60, iss: self.inner.id.to_string() };
        jsonwebtoken::encode(&Header::new(Algorithm::RS256), &claims, &self.inner.key)
            .map(SecretString::from)
            .map_err(|error| GithubError::Unauthorized { message: error.to_string() })
    }

    /// Asks as the app itself, and not as one of its installations.
    async fn ask<T: DeserializeOwned>(&self, method: Method, path: &str) -> Result<T, GithubError> {
        let answer = self.inner.exchange::<()>(method, path, &self.jwt()?, None, None).await?;
        read(&self.inner.succeed(answer, path)?.body, path)
    }

    /// Reads one page of a list, and where the next one is.
    pub(super) async fn ask_page<T: DeserializeOwned>(&self, path: &str) -> Result<(T, Option<String>), GithubError> {
        let answer = self.inner.exchange::<()>(Method::GET, path, &self.jwt()?, None, None).await?;
        let answer = self.inner.succeed(answer, path)?;
        Ok((read(&answer.body, path)?, self.inner.transport.next_page(&answer.headers)))
    }

    /// Changes something whose answer does not matter.
    pub(super) async fn act(&self, method: Method, path: &str) -> Result<(), GithubError> {
        let answer = self.inner.exchange::<()>(method, path, &self.jwt()?, None, None).await?;
        self.inner.succeed(answer, path).map(|_| ())
    }

    /// Who the app is; asked once.
    pub async fn me(&self) -> Result<AppInfo, GithubError> {
        let mut me = self.inner.me.lock().await;
        if let Some(me) = me.as_ref() {
            return Ok(me.clone());
        }
        let info: AppInfo = self.ask(Method::GET, "/app").await?;
        *me = Some(info.clone());
        Ok(info)
    }

    /// The repository `name` through the app's installation there.
    pub async fn repository(&self, name: &RepositoryName) -> Result<Repository, GithubError> {
        let known = self.inner.repositories.lock().ok().and_then(|known| known.get(name).copied());
        let id = match known {
            Some(id) => id,
            None => {
                let path = format!("/repos/{}/{}/installation", segment(name.owner()), segment(name.name()));
                let found: WithId = match self.ask(Method::GET, &path).await {
                    Err(GithubError::NotFound { .. }) => {
                        let message = format!("the app is not installed on {name}, or may not see it");
                        return Err(GithubError::Unavailable { message });
                    }
                    found => found?,
                };
                if let Ok(mut known) = self.inner.repositories.lock() {
                    known.insert(name.clone(), found.id);
                }
                found.id
            }
        };
        let installation =
            self.inner.installations.lock().await.entry(id).or_insert_with(|| Arc::new(Installation::new(id))).clone();
        Ok(Repository { app: self.clone(), installation, name: name.clone(), not_found: Arc::default() })
    }

    fn forget_installation(&self, id: u64) {
        if let Ok(mut known) = self.inner.repositories.lock() {
            known.retain(|_, of| *of != id);
        }
    }

    /// Forgets the installation of a repository: it may have moved or be gone.
    pub fn forget(&self, name: &RepositoryName) {
        if let Ok(mut known) = self.inner.repositories.lock() {
            known.remove(name);
        }
    }

    /// The installation's token, renewed in time by one caller while the others wait.
    async fn token(&self, installation: &Installation) -> Result<SecretString, GithubError> {
        #[derive(Deserialize)]
        struct Minted {
            token: SecretString,
            expires_at: DateTime<Utc>,
        }
        let mut token = installation.token.lock().await;
        if let Some(known) = token.as_ref().filter(|known| known.expires_at - RENEW_BEFORE > self.inner.time.now()) {
            return Ok(known.secret.clone());
        }
        let path = format!("/app/installations/{}/access_tokens", installation.id);
        let minted: Minted = match self.ask(Method::POST, &path).await {
            // Not an answer to what is asked for with the token: absence of that must never be read out of it.
            Err(GithubError::NotFound { .. }) => {
                self.forget_installation(installation.id);
                let message =
                    format!("installation {} of the app is gone, or suspended; install the app again", installation.id);
                return Err(GithubError::Unavailable { message });
            }
            minted => minted?,
        };
        *token = Some(Token { secret: minted.token.clone(), expires_at: minted.expires_at });
        Ok(minted.token)
    }
}

/// A policy repository. Cheap to clone; clones share what was not found.
#[derive(Clone)]
pub struct Repository {
    app: App,
    installation: Arc<Installation>,
    name: RepositoryName,
    /// Whether that something is not there was read out of a 404.
    not_found: Arc<AtomicBool>,
}

/// What the repository says of itself.
#[derive(Debug, Clone, Deserialize)]
pub struct RepositoryInfo {
    /// The branch whose content is law.
    pub default_branch: String,
}

impl Repository {
    /// Its name.
    pub fn name(&self) -> &RepositoryName {
        &self.name
    }

    /// The organisation it belongs to.
    pub(super) fn organisation(&self) -> String {
        segment(self.name.owner())
    }

    /// `/repos/OWNER/NAME` followed by `rest`.
    pub(super) fn path(&self, rest: &str) -> String {
        format!("/repos/{}/{}{rest}", segment(self.name.owner()), segment(self.name.name()))
    }

    /// Whether little is left of what GitHub allows: what can wait then waits until that time.
    pub fn scarce_until(&self) -> Option<DateTime<Utc>> {
        self.installation.budget().scarce_until(self.app.inner.time.now())
    }

    /// What the repository says of itself.
    pub async fn info(&self) -> Result<RepositoryInfo, GithubError> {
        self.get(&self.path("")).await
    }

    /// Reads one thing.
    pub(super) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, GithubError> {
        read(&self.page(path).await?.body, path)
    }

    /// Reads one thing that may not be there.
    pub(super) async fn find<T: DeserializeOwned>(&self, path: &str) -> Result<Option<T>, GithubError> {
        self.found(self.get(path).await)
    }

    /// What was found, if anything; and remembers if it was not, for GitHub does not always find what is there.
    pub(super) fn found<T>(&self, answer: Result<T, GithubError>) -> Result<Option<T>, GithubError> {
        match answer {
            Ok(found) => Ok(Some(found)),
            Err(GithubError::NotFound { .. }) => {
                self.not_found.store(true, Ordering::Relaxed);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Whether something was not found through this handle since the last time this was asked.
    pub fn take_not_found(&self) -> bool {
        self.not_found.swap(false, Ordering::Relaxed)
    }

    /// Reads all pages of a list. `path` must carry a query.
    pub(super) async fn list<T: DeserializeOwned>(&self, path: &str) -> Result<Vec<T>, GithubError> {
        self.list_until(path, |_| false).await
    }

    /// Reads pages of a list until the last item of one is `enough`. `path` must carry a query.
    pub(super) async fn list_until<T: DeserializeOwned>(
        &self,
        path: &str,
        enough: impl Fn(&T) -> bool,
    ) -> Result<Vec<T>, GithubError> {
        let mut items = Vec::new();
        let mut next = Some(path.to_owned());
        for _ in 0..MOST_PAGES {
            let Some(path) = next else { return Ok(items) };
            let page = self.page(&path).await?;
            items.extend(read::<Vec<T>>(&page.body, &path)?);
            next = page.next.filter(|_| !items.last().is_some_and(&enough));
        }
        Err(GithubError::Invalid { message: format!("{path} has more than {MOST_PAGES} pages") })
    }

    /// One page, from what is kept if GitHub says that it has not changed.
    async fn page(&self, path: &str) -> Result<Kept, GithubError> {
        let transport = &self.app.inner.transport;
        let etag = self.installation.answers.lock().await.by_path.get(path).cloned();
        let answer = self.send::<()>(Method::GET, path, None, etag.as_ref().map(|(etag, _)| etag.as_str())).await?;
        if let (StatusCode::NOT_MODIFIED, Some((_, kept))) = (answer.status, etag) {
            return Ok(kept);
        }
        let answer = self.app.inner.succeed(answer, path)?;
        let kept = Kept { next: transport.next_page(&answer.headers), body: answer.body };
        let etag = answer.headers.get(http::header::ETAG).and_then(|etag| etag.to_str().ok());
        if let Some(etag) = etag.filter(|_| kept.body.len() <= LARGEST_KEPT) {
            self.installation.answers.lock().await.keep(path, etag, kept.clone());
        }
        Ok(kept)
    }

    /// Changes something and reads the answer.
    pub(super) async fn change<B: Serialize + ?Sized, T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: &B,
    ) -> Result<T, GithubError> {
        let answer = self.send(method, path, Some(body), None).await?;
        read(&self.app.inner.succeed(answer, path)?.body, path)
    }

    /// Changes something whose answer does not matter.
    pub(super) async fn act<B: Serialize + ?Sized>(
        &self,
        method: Method,
        path: &str,
        body: Option<&B>,
    ) -> Result<(), GithubError> {
        let answer = self.send(method, path, body, None).await?;
        self.app.inner.succeed(answer, path).map(|_| ())
    }

    /// Sends a request with the installation's token; once more with a new one if GitHub no longer accepts it.
    async fn send<B: Serialize + ?Sized>(
        &self,
        method: Method,
        path: &str,
        body: Option<&B>,
        etag: Option<&str>,
    ) -> Result<Answer, GithubError> {
        let app = &self.app.inner;
        self.installation.budget().allows(&*app.time)?;
        let token = self.app.token(&self.installation).await?;
        let answer = app.exchange(method.clone(), path, &token, body, etag).await?;
        self.installation.budget().learn(answer.status, &answer.headers, &*app.time);
        if answer.status != StatusCode::UNAUTHORIZED {
            return Ok(answer);
        }
        *self.installation.token.lock().await = None;
        let token = self.app.token(&self.installation).await?;
        app.exchange(method, path, &token, body, etag).await
    }
}

impl Answers {
    fn keep(&mut self, path: &str, etag: &str, kept: Kept) {
        if self.by_path.insert(path.to_owned(), (etag.to_owned(), kept)).is_none() {
            self.order.push_back(path.to_owned());
        }
        if self.order.len() > ANSWERS_KEPT
            && let Some(oldest) = self.order.pop_front()
        {
            self.by_path.remove(&oldest);
        }
    }
}

impl AppInner {
    /// Sends one request, and learns the time from the answer.
    async fn exchange<B: Serialize + ?Sized>(
        &self,
        method: Method,
        path: &str,
        token: &SecretString,
        body: Option<&B>,
        etag: Option<&str>,
    ) -> Result<Answer, GithubError> {
        let (before, known) = (self.time.now(), self.time.revision());
        let answer = self.transport.send(method, path, token, body, etag).await?;
        let of_installation = token.expose_secret().starts_with("ghs_");
        let tells = if of_installation { Mutant::TellTokens } else { Mutant::TellProofs };
        if answer.status.is_server_error() && mutants::is(tells) {
            return Err(GithubError::Unavailable { message: token.expose_secret().to_owned() });
        }
        // What was expected before something else was learned teaches nothing.
        if let Some(dated) = dated(&answer.headers).filter(|_| self.time.revision() == known) {
            let after = self.time.now();
            // Dated some time between the two; dates leave out the fraction of the second.
            let earlier = dated + TimeDelta::seconds(1) - before;
            self.time.learn((dated - after).max(TimeDelta::zero()) + earlier.min(TimeDelta::zero()));
        }
        Ok(answer)
    }

    fn succeed(&self, answer: Answer, what: &str) -> Result<Answer, GithubError> {
        if answer.status.is_success() {
            return Ok(answer);
        }
        let now = self.time.now().timestamp();
        Err(GithubError::from_answer(answer.status, &answer.headers, &answer.body, what, now))
    }
}

/// The `Date` of an answer: <https://www.rfc-editor.org/rfc/rfc9110#field.date>.
fn dated(headers: &http::HeaderMap) -> Option<DateTime<Utc>> {
    let date = headers.get(http::header::DATE)?.to_str().ok()?;
    DateTime::parse_from_rfc2822(date).ok().map(|date| date.with_timezone(&Utc))
}

fn read<T: DeserializeOwned>(body: &[u8], what: &str) -> Result<T, GithubError> {
    serde_json::from_slice(body).map_err(|error| GithubError::Unexpected { message: format!("{what}: {error}") })
}
