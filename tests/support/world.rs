//! The machinery of the stories: acme's embedded GitHub in this process, the app beside it, targets, and a clock that stands
//! still until the story moves it. Webhooks go through the real entrance, signature and all.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::body::Body;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, TimeDelta, Utc};
use daypass::engine::clock::Clock;
use daypass::engine::{Engine, Options};
use daypass::github::{App, Transport};
use daypass::ledger::{Entry, LedgerFile, Link};
use daypass::policy::name::RepositoryName;
use daypass::sandbox::{self, Delivery, Sandbox, WebhookSink, starter_files};
use daypass::store::Store;
use daypass::target::Targets;
use daypass::target::github::GithubTeams;
use daypass::target::ssh::{self, Accounts, Ssh};
use daypass::web;
use http::{Method, Request, StatusCode};
use http_body_util::BodyExt;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use tower::ServiceExt;

use super::database::Database;

const BASE: &str = "http://github.test";
/// What reports of sessions are signed with.
pub const SESSION_SECRET: &str = "open-sesame-for-sessions";

/// Acme, its GitHub and its Daypass.
pub struct World {
    pub sandbox: Arc<Sandbox>,
    /// GitHub's clock, and the true time. [`World::advance`] moves it.
    clock: Clock,
    /// The clocks of the machines Daypass runs, or ran, on.
    machines: Mutex<Vec<Clock>>,
    /// How far these are ahead of the true time.
    machines_ahead: Mutex<TimeDelta>,
    pub orders: Arc<Database>,
    tokens: BTreeMap<String, SecretString>,
    dir: tempfile::TempDir,
    daypass: Mutex<Daypass>,
    webhooks_lost: Mutex<bool>,
    /// What is put around the store of every process that starts.
    around_store: Mutex<Option<AroundStore>>,
    /// Nothing happens by itself: whoever drives it delivers and steps.
    manual: std::sync::atomic::AtomicBool,
}

/// What is put around a store, such as a probe.
pub type AroundStore = Arc<dyn Fn(Store) -> Store + Send + Sync>;

#[derive(Clone)]
struct Daypass {
    engine: Engine,
    web: axum::Router,
}

/// What the check on a pull request says.
#[derive(Debug)]
pub struct Check {
    pub conclusion: String,
    pub title: String,
    pub summary: String,
    pub annotations: Vec<Value>,
}

impl World {
    /// Acme with the starter policy, on a Monday at ten.
    pub async fn new() -> Self {
        Self::with_policy(|_| {}).await
    }

    /// Acme with the starter policy as `change` leaves it.
    pub async fn with_policy(change: impl FnOnce(&mut BTreeMap<String, Vec<u8>>)) -> Self {
        Self::recorded(Self::exchanges(), change).await
    }

    /// Where what is said to GitHub is recorded for the contract, if `./test` wants that.
    pub fn exchanges() -> Option<std::path::PathBuf> {
        let dir = std::env::var_os("DAYPASS_EXCHANGES").map(std::path::PathBuf::from);
        dir.map(|dir| dir.join(format!("{}.jsonl", std::process::id())))
    }

    /// The same, with what is said to its GitHub recorded there.
    pub async fn recorded(
        record: Option<std::path::PathBuf>,
        change: impl FnOnce(&mut BTreeMap<String, Vec<u8>>),
    ) -> Self {
        let mut files: BTreeMap<String, Vec<u8>> = starter_files().into_iter().collect();
        change(&mut files);
        // In memory where there is such a place: nothing here has to survive a power cut.
        let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let clock = Clock::standing("2026-11-30T10:00:00Z".parse().unwrap());
        let sandbox = Sandbox::open(sandbox::Options {
            dir: dir.path().join("github"),
            organisation: "acme".to_owned(),
            repository: "access".to_owned(),
            clock: clock.clone(),
            base_url: BASE.to_owned(),
            webhooks: WebhookSink::Queue,
            record,
            persist: false,
        })
        .await
        .unwrap();
        let tokens = sandbox.example(&files.into_iter().collect::<Vec<_>>()).unwrap();
        let key =
            ssh_key::PrivateKey::new(ssh_key::private::Ed25519Keypair::from_seed(&[7; 32]).into(), "laptop").unwrap();
        sandbox.add_key("alice", &key.public_key().to_openssh().unwrap()).unwrap();
        let orders = Arc::new(Database::default());
        let machine = Clock::standing(clock.now());
        let daypass = start(&sandbox, &machine, &orders, dir.path(), None).await;
        let (daypass, webhooks_lost) = (Mutex::new(daypass), Mutex::new(false));
        let world = Self {
            sandbox,
            clock,
            machines: Mutex::new(vec![machine]),
            machines_ahead: Mutex::new(TimeDelta::zero()),
            orders,
            tokens,
            dir,
            daypass,
            webhooks_lost,
            around_store: Mutex::default(),
            manual: false.into(),
        };
        world.settle().await;
        world
    }

    pub fn alice(&self) -> Person<'_> {
        self.person("alice")
    }
    pub fn bob(&self) -> Person<'_> {
        self.person("bob")
    }
    pub fn carol(&self) -> Person<'_> {
        self.person("carol")
    }
    pub fn dave(&self) -> Person<'_> {
        self.person("dave")
    }
    pub fn erin(&self) -> Person<'_> {
        self.person("erin")
    }
    /// Owner of the organisation, who may push past the rules.
    pub fn olga(&self) -> Person<'_> {
        self.person("olga")
    }

    pub fn person(&self, login: &'static str) -> Person<'_> {
        Person { world: self, login }
    }

    pub fn engine(&self) -> Engine {
        self.daypass.lock().unwrap().engine.clone()
    }

    fn web(&self) -> axum::Router {
        self.daypass.lock().unwrap().web.clone()
    }

    /// The process is gone, between two steps; another one starts on the same database.
    pub async fn restart(&self) {
        self.engine().store().close().await;
        let started = self.start().await;
        *self.daypass.lock().unwrap() = started;
    }

    /// Another process starts beside the one there is, which no webhook reaches from now on.
    pub async fn start_another(&self) -> Engine {
        let started = self.start().await;
        std::mem::replace(&mut *self.daypass.lock().unwrap(), started).engine
    }

    async fn start(&self) -> Daypass {
        let around = self.around_store.lock().unwrap().clone();
        let machine = Clock::standing(self.clock.now() + *self.machines_ahead.lock().unwrap());
        self.machines.lock().unwrap().push(machine.clone());
        start(&self.sandbox, &machine, &self.orders, self.dir.path(), around).await
    }

    /// Time passes, everywhere.
    pub fn advance(&self, by: TimeDelta) {
        self.clock.advance(by);
        for machine in self.machines.lock().unwrap().iter() {
            machine.advance(by);
        }
    }

    /// Somebody sets the clocks of Daypass's machines: so far ahead of the true time.
    pub fn set_machine_clocks(&self, ahead: TimeDelta) {
        let before = std::mem::replace(&mut *self.machines_ahead.lock().unwrap(), ahead);
        for machine in self.machines.lock().unwrap().iter() {
            machine.set(ahead - before);
        }
    }

    /// From the next start on, the store is what `around` makes of it.
    pub fn put_around_store(&self, around: AroundStore) {
        *self.around_store.lock().unwrap() = Some(around);
    }

    /// The database is gone; the app starts with an empty one.
    pub async fn lose_the_database(&self) {
        self.engine().store().close().await;
        for file in ["daypass.db", "daypass.db-wal", "daypass.db-shm"] {
            let _ = std::fs::remove_file(self.dir.path().join(file));
        }
        self.restart().await;
    }

    /// The policy repository itself, as git keeps it.
    pub fn repository(&self) -> std::path::PathBuf {
        self.dir.path().join("github/access.git")
    }

    /// Where the database of Daypass is.
    pub fn database_url(&self) -> String {
        format!("sqlite://{}", self.dir.path().join("daypass.db").display())
    }

    /// A backup.
    pub async fn copy_of_database(&self) -> Vec<u8> {
        // Closing brings everything into the one file.
        self.restart().await;
        self.engine().store().close().await;
        let copy = std::fs::read(self.dir.path().join("daypass.db")).unwrap();
        self.restart().await;
        self.settle().await;
        copy
    }

    /// Daypass starts on a backup, and has done nothing yet.
    pub async fn put_database_back(&self, backup: &[u8]) {
        self.engine().store().close().await;
        for file in ["daypass.db-wal", "daypass.db-shm"] {
            let _ = std::fs::remove_file(self.dir.path().join(file));
        }
        std::fs::write(self.dir.path().join("daypass.db"), backup).unwrap();
        self.restart().await;
    }

    /// From now on no webhook arrives, or all do.
    pub fn lose_webhooks(&self, lost: bool) {
        *self.webhooks_lost.lock().unwrap() = lost;
    }

    /// From now on nothing happens by itself, or everything does again.
    pub fn go_manual(&self, manual: bool) {
        self.manual.store(manual, std::sync::atomic::Ordering::Relaxed);
    }

    /// Until nothing is left to do at this time.
    pub async fn settle(&self) {
        if self.manual.load(std::sync::atomic::Ordering::Relaxed) {
            return;
        }
        loop {
            let deliveries = self.sandbox.take_deliveries();
            let lost = *self.webhooks_lost.lock().unwrap();
            for delivery in &deliveries {
                match lost {
                    true => self.sandbox.delivered(delivery, 0),
                    false => assert_eq!(self.deliver(delivery).await, StatusCode::ACCEPTED),
                }
            }
            let worked = self.engine().step().await.unwrap();
            if !worked && (deliveries.is_empty() || lost) {
                return;
            }
        }
    }

    /// Hands a webhook to the entrance.
    pub async fn deliver(&self, delivery: &Delivery) -> StatusCode {
        let request = Request::post("/webhooks/github")
            .header("x-github-delivery", &delivery.guid)
            .header("x-github-event", &delivery.event)
            .header("x-hub-signature-256", &delivery.signature)
            .body(Body::from(delivery.body.clone()))
            .unwrap();
        let status = self.web().oneshot(request).await.unwrap().status();
        self.sandbox.delivered(delivery, status.as_u16());
        status
    }

    /// Sends anything to the app's own face.
    pub async fn send(&self, request: Request<Body>) -> (StatusCode, String) {
        let answer = self.web().oneshot(request).await.unwrap();
        let status = answer.status();
        (status, String::from_utf8(answer.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap())
    }

    /// Time passes, minute by minute.
    pub async fn wait(&self, time: TimeDelta) {
        let until = self.clock.now() + time;
        while self.clock.now() < until {
            self.advance((until - self.clock.now()).min(TimeDelta::minutes(1)));
            self.settle().await;
        }
    }

    /// What this process of Daypass asked of GitHub.
    pub fn usage(&self) -> daypass::github::Usage {
        self.engine().usage()
    }

    pub fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    /// A call of GitHub's API as somebody.
    pub async fn call(&self, login: &str, method: Method, path: &str, body: Value) -> (StatusCode, Value) {
        self.call_with(&self.tokens[login], method, path, body).await
    }

    /// Somebody presses *Merge when ready*.
    pub async fn queues(&self, login: &str, number: u64) -> StatusCode {
        let body = json!({ "repository": "access", "number": number, "login": login });
        let (status, _) = self.call(login, Method::POST, "/_sandbox/queue", body).await;
        self.settle().await;
        status
    }

    /// GitHub merges what is green in the queue.
    pub async fn runs_the_queue(&self) {
        let body = json!({ "repository": "access", "login": "olga" });
        let (status, answer) = self.call("olga", Method::POST, "/_sandbox/queue/run", body).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        self.settle().await;
    }

    /// Status and headers of a GET as somebody, with the ETag they know.
    pub async fn headers(&self, login: &str, path: &str, etag: Option<&str>) -> (StatusCode, http::HeaderMap) {
        let mut request = self.request(&self.tokens[login], Method::GET, path);
        if let Some(etag) = etag {
            request = request.header("if-none-match", etag);
        }
        let answer = self.sandbox.router().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        (answer.status(), answer.headers().clone())
    }

    /// The status of a GET with a token.
    pub async fn headers_with(&self, token: &SecretString, path: &str) -> StatusCode {
        self.call_with(token, Method::GET, path, Value::Null).await.0
    }

    /// Somebody's token.
    pub fn token(&self, login: &str) -> String {
        self.tokens[login].expose_secret().to_owned()
    }

    /// A token of the app itself, as it signs them.
    pub fn app_token(&self) -> SecretString {
        let app = self.sandbox.app();
        let now = self.now().timestamp();
        let claims = json!({ "iat": now - 10, "exp": now + 300, "iss": app.id.to_string() });
        let key = jsonwebtoken::EncodingKey::from_rsa_pem(app.private_key.expose_secret().as_bytes()).unwrap();
        jsonwebtoken::encode(&jsonwebtoken::Header::new(jsonwebtoken::Algorithm::RS256), &claims, &key).unwrap().into()
    }

    fn request(&self, token: &SecretString, method: Method, path: &str) -> http::request::Builder {
        Request::builder()
            .method(method)
            .uri(format!("{BASE}/api/v3{path}"))
            .header("accept", "application/vnd.github+json")
            .header("authorization", format!("Bearer {}", token.expose_secret()))
    }

    /// A call of GitHub's API with a token.
    pub async fn call_with(
        &self,
        token: &SecretString,
        method: Method,
        path: &str,
        body: Value,
    ) -> (StatusCode, Value) {
        let mut request = self.request(token, method, path);
        if !body.is_null() {
            request = request.header("content-type", "application/json");
        }
        let body = if body.is_null() { Body::empty() } else { Body::from(body.to_string()) };
        let answer = self.sandbox.router().oneshot(request.body(body).unwrap()).await.unwrap();
        let status = answer.status();
        let bytes = answer.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
    }

    /// Reads something of the policy repository.
    pub async fn get(&self, path: &str) -> Value {
        let (status, value) = self.call("olga", Method::GET, &format!("/repos/acme/access{path}"), Value::Null).await;
        assert_eq!(status, StatusCode::OK, "{path}: {value}");
        value
    }

    /// The check on the head of a pull request.
    pub async fn check(&self, number: u64) -> Check {
        let pull = self.get(&format!("/pulls/{number}")).await;
        let sha = pull["head"]["sha"].as_str().unwrap();
        let runs = self.get(&format!("/commits/{sha}/check-runs?check_name=daypass")).await;
        let mut runs = runs["check_runs"].as_array().unwrap().clone();
        runs.retain(|run| run["app"]["slug"] == "daypass");
        assert_eq!(runs.len(), 1, "one check on the head of #{number}");
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let annotations = self.get(&format!("/check-runs/{}/annotations?per_page=100", runs[0]["id"])).await;
        Check {
            conclusion: text(&runs[0]["conclusion"]),
            title: text(&runs[0]["output"]["title"]),
            summary: text(&runs[0]["output"]["summary"]),
            annotations: annotations.as_array().unwrap().clone(),
        }
    }

    /// The check run of Daypass on the head of a pull request.
    async fn check_run(&self, number: u64) -> u64 {
        let pull = self.get(&format!("/pulls/{number}")).await;
        let runs = self.get(&format!("/commits/{}/check-runs", pull["head"]["sha"].as_str().unwrap())).await;
        let mut runs = runs["check_runs"].as_array().unwrap().iter();
        runs.find(|run| run["app"]["slug"] == "daypass").unwrap()["id"].as_u64().unwrap()
    }

    /// The buttons on the check of a pull request.
    pub async fn buttons(&self, number: u64) -> Vec<String> {
        self.sandbox.actions("access", self.check_run(number).await)
    }

    /// How Daypass reacted to a comment, in order.
    pub async fn reactions(&self, comment: u64) -> Vec<String> {
        let reactions = self.get(&format!("/issues/comments/{comment}/reactions")).await;
        let ours = reactions.as_array().unwrap().iter().filter(|one| one["user"]["login"] == "daypass[bot]");
        ours.map(|one| one["content"].as_str().unwrap().to_owned()).collect()
    }

    /// The last thing Daypass wrote on a pull request.
    pub async fn last_comment(&self, number: u64) -> String {
        let comments = self.comments(number).await;
        let last = comments.last().unwrap_or_else(|| panic!("Daypass wrote nothing on #{number}")).clone();
        // The marker is for Daypass alone.
        last.split_once('\n').map_or(last.clone(), |(_, text)| text.to_owned())
    }

    /// What is on record about something, such as `pull-7`, by kind.
    pub async fn record(&self, kind: &str) -> Vec<Value> {
        let events = self.engine().store().events().await.unwrap();
        events.into_iter().filter(|event| event.kind.as_str() == kind).map(|event| event.details).collect()
    }

    /// What Daypass wrote on a pull request, oldest first: the status comment, then the messages.
    pub async fn comments(&self, number: u64) -> Vec<String> {
        let comments = self.get(&format!("/issues/{number}/comments?per_page=100")).await;
        let ours = comments.as_array().unwrap().iter().filter(|comment| comment["user"]["login"] == "daypass[bot]");
        ours.map(|comment| comment["body"].as_str().unwrap().to_owned()).collect()
    }

    /// Whether a pull request is merged.
    pub async fn is_merged(&self, number: u64) -> bool {
        self.get(&format!("/pulls/{number}")).await["merged"] == true
    }

    /// The open pull requests, as number and title.
    pub async fn open_pulls(&self) -> Vec<(u64, String)> {
        let pulls = self.get("/pulls?state=open").await;
        let pulls = pulls.as_array().unwrap().iter();
        pulls.map(|pull| (pull["number"].as_u64().unwrap(), pull["title"].as_str().unwrap().to_owned())).collect()
    }

    /// The paths in `grants/` on the default branch.
    pub async fn grant_files(&self) -> Vec<String> {
        let tree = self.get("/git/trees/main?recursive=1").await;
        let paths = tree["tree"].as_array().unwrap().iter().map(|entry| entry["path"].as_str().unwrap().to_owned());
        paths.filter(|path| path.starts_with("grants/") && path != "grants/.gitkeep").collect()
    }

    /// The kinds of the events on record, oldest first.
    pub async fn events(&self) -> Vec<String> {
        self.engine().store().events().await.unwrap().iter().map(|event| event.kind.as_str().to_owned()).collect()
    }

    /// The lines of the ledger's branch, in order; none if there is no branch.
    pub async fn ledger(&self) -> Vec<String> {
        let path = "/repos/acme/access/git/trees/daypass%2Fledger?recursive=1";
        let (status, tree) = self.call("olga", Method::GET, path, Value::Null).await;
        if status != StatusCode::OK {
            return Vec::new();
        }
        let mut files: Vec<(LedgerFile, String)> = Vec::new();
        for entry in tree["tree"].as_array().unwrap() {
            if let Some(file) = LedgerFile::at(entry["path"].as_str().unwrap()) {
                files.push((file, entry["sha"].as_str().unwrap().to_owned()));
            }
        }
        files.sort();
        let mut lines = Vec::new();
        for (_, sha) in files {
            let blob = self.get(&format!("/git/blobs/{sha}")).await;
            let text: String = blob["content"].as_str().unwrap().split_whitespace().collect();
            let text = String::from_utf8(STANDARD.decode(text).unwrap()).unwrap();
            lines.extend(text.lines().map(str::to_owned));
        }
        lines
    }

    /// Why the ledger is not what the database holds, each event once, in an unbroken chain; nothing if it is.
    pub async fn ledger_differs(&self) -> Option<String> {
        let mut last = Link::default();
        let mut on_branch = Vec::new();
        for line in self.ledger().await {
            let entry = match Entry::read(line.as_bytes()) {
                Ok(entry) => entry,
                Err(error) => return Some(format!("{error}: {line}")),
            };
            if !entry.follows(&last) {
                return Some(format!("event {} does not follow event {}", entry.seq, last.seq));
            }
            last = entry.link();
            on_branch.push(entry.event.id);
        }
        let events = self.engine().store().events().await.unwrap();
        let mut stored: Vec<String> = events.into_iter().map(|event| event.id).collect();
        stored.sort();
        on_branch.sort();
        (stored != on_branch).then(|| format!("on the branch: {on_branch:#?}\nin the database: {stored:#?}"))
    }

    /// How often an event is on record.
    pub async fn count(&self, kind: &str) -> usize {
        self.events().await.iter().filter(|known| *known == kind).count()
    }
}

async fn start(
    sandbox: &Arc<Sandbox>,
    clock: &Clock,
    orders: &Arc<Database>,
    dir: &std::path::Path,
    around_store: Option<AroundStore>,
) -> Daypass {
    let credentials = sandbox.app();
    let transport = Transport::in_process(sandbox.router(), &format!("{BASE}/api/v3")).unwrap();
    let app = App::new(transport, credentials.id, &credentials.private_key, Arc::new(clock.clone())).unwrap();
    let repository: RepositoryName = "acme/access".parse().unwrap();
    let authority = dir.join("ca");
    if !authority.exists() {
        ssh::generate(&authority).unwrap();
    }
    let accounts = Accounts { app: app.clone(), repository: repository.clone() };
    let servers =
        Ssh::open(&authority, dir.join("revoked.krl"), vec!["permit-pty".to_owned()], Vec::new(), accounts).unwrap();
    let mut targets = Targets::new();
    targets.insert("github".parse().unwrap(), Arc::new(GithubTeams::new(app.clone(), repository.clone())));
    targets.insert("prod-servers".parse().unwrap(), Arc::new(servers));
    targets.insert("orders-db".parse().unwrap(), orders.clone());
    targets.insert("logs-db".parse().unwrap(), orders.clone());
    let store = Store::open(&format!("sqlite://{}", dir.join("daypass.db").display())).await.unwrap();
    let store = match around_store {
        Some(around) => around(store),
        None => store,
    };
    let options = Options { repositories: vec![repository], resync: TimeDelta::minutes(5) };
    let engine = Engine::new(store, app, targets, clock.clone(), options);
    engine.begin().await.unwrap();
    let secrets =
        web::Secrets { webhooks: vec![credentials.webhook_secret], sessions: vec![SecretString::from(SESSION_SECRET)] };
    Daypass { web: web::router(engine.clone(), secrets, tokio::sync::watch::channel(false).1), engine }
}

/// Somebody of acme.
#[derive(Clone, Copy)]
pub struct Person<'w> {
    world: &'w World,
    login: &'static str,
}

impl Person<'_> {
    async fn call(&self, method: Method, path: &str, body: Value) -> (StatusCode, Value) {
        self.world.call(self.login, method, &format!("/repos/acme/access{path}"), body).await
    }

    async fn must(&self, method: Method, path: &str, body: Value) -> Value {
        let (status, value) = self.call(method.clone(), path, body).await;
        assert!(status.is_success(), "{method} {path}: {status} {value}");
        value
    }

    /// Makes a branch off `main`.
    pub async fn branches(&self, branch: &str) {
        let head = self.must(Method::GET, "/git/ref/heads/main", Value::Null).await;
        let body = json!({ "ref": format!("refs/heads/{branch}"), "sha": head["object"]["sha"] });
        self.must(Method::POST, "/git/refs", body).await;
    }

    /// Writes a file on a branch, in a commit of their own.
    pub async fn writes(&self, branch: &str, path: &str, content: &[u8]) -> (StatusCode, Value) {
        let (_, old) = self.call(Method::GET, &format!("/contents/{path}?ref={branch}"), Value::Null).await;
        let mut body =
            json!({ "message": format!("Write {path}"), "content": STANDARD.encode(content), "branch": branch });
        if let Some(sha) = old["sha"].as_str() {
            body["sha"] = json!(sha);
        }
        self.call(Method::PUT, &format!("/contents/{path}"), body).await
    }

    /// Removes a file on a branch.
    pub async fn removes(&self, branch: &str, path: &str) -> StatusCode {
        let old = self.must(Method::GET, &format!("/contents/{path}?ref={branch}"), Value::Null).await;
        let body = json!({ "message": format!("Remove {path}"), "sha": old["sha"], "branch": branch });
        self.call(Method::DELETE, &format!("/contents/{path}"), body).await.0
    }

    /// Commits entries made by hand, such as a link (mode `120000`) or a submodule (`160000`), on a new branch.
    pub async fn commits_entry(&self, branch: &str, path: &str, mode: &str, content: &str) {
        self.branches(branch).await;
        let head = self.must(Method::GET, &format!("/git/ref/heads/{branch}"), Value::Null).await;
        let parent = head["object"]["sha"].clone();
        let entry = match mode {
            "160000" => json!({ "path": path, "mode": mode, "type": "commit", "sha": parent }),
            _ => json!({ "path": path, "mode": mode, "type": "blob", "content": content }),
        };
        let tree = self.must(Method::POST, "/git/trees", json!({ "base_tree": parent, "tree": [entry] })).await;
        let body = json!({ "message": "By hand", "tree": tree["sha"], "parents": [parent] });
        let commit = self.must(Method::POST, "/git/commits", body).await;
        let body = json!({ "sha": commit["sha"] });
        self.must(Method::PATCH, &format!("/git/refs/heads/{branch}"), body).await;
    }

    /// Opens a pull request for a branch; its number.
    pub async fn opens(&self, branch: &str) -> u64 {
        let body = json!({ "title": format!("Please: {branch}"), "head": branch, "base": "main" });
        let pull = self.must(Method::POST, "/pulls", body).await;
        self.world.settle().await;
        pull["number"].as_u64().unwrap()
    }

    /// Asks for access: a branch, a file `grants/<slug>.yaml`, a pull request; its number.
    pub async fn asks(&self, slug: &str, request: &str) -> u64 {
        self.asks_with(slug, &[(format!("grants/{slug}.yaml"), request.as_bytes().to_vec())]).await
    }

    /// A pull request with these files; its number.
    pub async fn asks_with(&self, branch: &str, files: &[(String, Vec<u8>)]) -> u64 {
        self.branches(branch).await;
        for (path, content) in files {
            let (status, answer) = self.writes(branch, path, content).await;
            assert!(status.is_success(), "{path}: {status} {answer}");
        }
        self.opens(branch).await
    }

    /// Pushes another version of the request.
    pub async fn changes(&self, slug: &str, request: &str) {
        let (status, answer) = self.writes(slug, &format!("grants/{slug}.yaml"), request.as_bytes()).await;
        assert!(status.is_success(), "{status} {answer}");
        self.world.settle().await;
    }

    /// Comments on a pull request, and everything follows; the comment's id.
    pub async fn says(&self, number: u64, text: &str) -> u64 {
        let path = format!("/issues/{number}/comments");
        let comment = self.must(Method::POST, &path, json!({ "body": text })).await;
        self.world.settle().await;
        comment["id"].as_u64().unwrap()
    }

    /// Presses a button on the check of a pull request.
    pub async fn presses(&self, number: u64, button: &str) {
        let run = self.world.check_run(number).await;
        let body = json!({ "repository": "access", "check_run": run, "identifier": button, "login": self.login });
        let (status, _) = self.world.call(self.login, Method::POST, "/_sandbox/actions", body).await;
        assert_eq!(status, StatusCode::OK);
        self.world.settle().await;
    }

    /// Closes a pull request.
    pub async fn closes(&self, number: u64) {
        self.must(Method::PATCH, &format!("/pulls/{number}"), json!({ "state": "closed" })).await;
        self.world.settle().await;
    }

    /// Opens a closed pull request again.
    pub async fn reopens(&self, number: u64) {
        self.must(Method::PATCH, &format!("/pulls/{number}"), json!({ "state": "open" })).await;
        self.world.settle().await;
    }

    /// Reviews a pull request at its head; whether GitHub took it.
    pub async fn reviews(&self, number: u64, event: &str) -> StatusCode {
        let body = json!({ "event": event, "body": "read" });
        let (status, _) = self.call(Method::POST, &format!("/pulls/{number}/reviews"), body).await;
        self.world.settle().await;
        status
    }

    pub async fn approves(&self, number: u64) {
        assert_eq!(self.reviews(number, "APPROVE").await, StatusCode::OK, "GitHub takes the approval");
    }

    pub async fn requests_changes(&self, number: u64) {
        assert_eq!(self.reviews(number, "REQUEST_CHANGES").await, StatusCode::OK);
    }

    /// Presses the merge button; what GitHub answers.
    pub async fn merges(&self, number: u64) -> StatusCode {
        let (status, _) = self.call(Method::PUT, &format!("/pulls/{number}/merge"), json!({})).await;
        self.world.settle().await;
        status
    }

    /// Merges a pull request by hand, past the rules, and has the file say something else in the merge.
    pub async fn merges_by_hand(&self, number: u64, path: &str, content: &str) {
        let pull = self.must(Method::GET, &format!("/pulls/{number}"), Value::Null).await;
        let main = self.must(Method::GET, "/git/ref/heads/main", Value::Null).await["object"]["sha"].clone();
        let entry = json!({ "path": path, "mode": "100644", "type": "blob", "content": content });
        let tree = self.must(Method::POST, "/git/trees", json!({ "base_tree": main, "tree": [entry] })).await;
        let parents = [main, pull["head"]["sha"].clone()];
        let body = json!({ "message": format!("Merge #{number}"), "tree": tree["sha"], "parents": parents });
        let commit = self.must(Method::POST, "/git/commits", body).await;
        self.must(Method::PATCH, "/git/refs/heads/main", json!({ "sha": commit["sha"] })).await;
        self.world.settle().await;
    }

    /// Pushes a file straight to the default branch; what GitHub answers.
    pub async fn pushes_to_main(&self, path: &str, content: &str) -> StatusCode {
        let (status, _) = self.writes("main", path, content.as_bytes()).await;
        self.world.settle().await;
        status
    }
}
