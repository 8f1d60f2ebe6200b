//! One Daypass serves ten organisations. The GitHub of one does not answer, and that one is noisy; the others do not notice.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, TimeDelta, Utc};
use daypass::engine::clock::Clock;
use daypass::engine::{Engine, Options, Worker};
use daypass::github::{App, Transport};
use daypass::sandbox::{self, Disturbance, Sandbox, WebhookSink};
use daypass::store::{Delivery, Store};
use daypass::target::Targets;
use http::{HeaderValue, Method, Request, header};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::support::database::Database;
use crate::{share, spread};

const ORGANISATIONS: usize = 10;
const BASE: &str = "http://github.test";
/// Installations of different organisations have the same ids in their embedded GitHubs.
const APART: u64 = 1_000_000_000;

/// One GitHub made of several, by whose organisation, installation or token a request names.
struct Switchboard {
    githubs: Vec<Arc<Sandbox>>,
    tokens: Mutex<BTreeMap<String, usize>>,
    now: DateTime<Utc>,
}

fn organisation(nth: usize) -> String {
    format!("org-{nth}")
}

impl Switchboard {
    /// Whom a request is for, and its path there.
    fn whose(&self, path: &str, token: &str) -> (usize, String) {
        if let Some(rest) = path.strip_prefix("/api/v3/app/installations/") {
            let (id, rest) = rest.split_once('/').unwrap();
            let id: u64 = id.parse().unwrap();
            return (usize::try_from(id / APART).unwrap(), format!("/api/v3/app/installations/{}/{rest}", id % APART));
        }
        let named = path.strip_prefix("/api/v3/repos/org-").and_then(|rest| rest.split('/').next()?.parse().ok());
        // What concerns the app alone, the last one answers.
        let known = || self.tokens.lock().unwrap().get(token).copied();
        let nth = named.or_else(known).unwrap_or(ORGANISATIONS - 1);
        (nth, path.to_owned())
    }

    /// What the app proves itself with to one of them: each has given it a key of its own.
    fn proof(&self, nth: usize) -> String {
        let app = self.githubs[nth].app();
        let key = jsonwebtoken::EncodingKey::from_rsa_pem(app.private_key.expose_secret().as_bytes()).unwrap();
        let now = self.now.timestamp();
        let claims = json!({ "iat": now - 60, "exp": now + 300, "iss": app.id.to_string() });
        jsonwebtoken::encode(&jsonwebtoken::Header::new(jsonwebtoken::Algorithm::RS256), &claims, &key).unwrap()
    }
}

async fn switch(State(board): State<Arc<Switchboard>>, mut request: Request<Body>) -> Response {
    let bearer = request.headers()[header::AUTHORIZATION].to_str().unwrap().trim_start_matches("Bearer ").to_owned();
    let (nth, path) = board.whose(request.uri().path(), &bearer);
    if !bearer.starts_with("ghs_") && bearer.starts_with("eyJ") {
        let proof = HeaderValue::from_str(&format!("Bearer {}", board.proof(nth))).unwrap();
        request.headers_mut().insert(header::AUTHORIZATION, proof);
    }
    let query = request.uri().query().map(|query| format!("?{query}")).unwrap_or_default();
    *request.uri_mut() = format!("{path}{query}").parse().unwrap();
    let answer = board.githubs[nth].router().oneshot(request).await.unwrap();
    let (mut parts, body) = answer.into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap();
    let mut value: Value = serde_json::from_slice(&body).unwrap_or_default();
    if path.ends_with("/installation") && value["id"].is_u64() {
        value["id"] = json!(value["id"].as_u64().unwrap() + APART * u64::try_from(nth).unwrap());
        parts.headers.remove(header::CONTENT_LENGTH);
        return (parts, value.to_string()).into_response();
    }
    if let Some(token) = value["token"].as_str() {
        board.tokens.lock().unwrap().insert(token.to_owned(), nth);
    }
    (parts, body).into_response()
}

fn policy(nth: usize) -> String {
    format!(
        "version: 1\nsettings: {{ max_duration: 4h, policy_approval: owners }}\npeople:\n  alice: {{ postgres: alice_{nth} }}\n\
         targets: {{ orders-db: postgres }}\nroles:\n  reader: {{ requesters: [team:engineering], max_duration: 4h, \
         approval: none, entitlements: [{{ postgres: {{ target: orders-db, role: r }} }}] }}\n\
         approvals:\n  none: {{ stages: [] }}\n  owners: {{ stages: [{{ name: owner, approvers: [team:security] }}] }}\n"
    )
}

/// Alice's side of one organisation.
struct Alice {
    github: Arc<Sandbox>,
    token: SecretString,
    nth: usize,
}

impl Alice {
    async fn must(&self, method: Method, path: &str, body: Value) -> Value {
        let uri = format!("/api/v3/repos/{}/access{path}", organisation(self.nth));
        let request = Request::builder()
            .method(method)
            .uri(uri)
            .header(header::AUTHORIZATION, format!("Bearer {}", self.token.expose_secret()))
            .body(Body::from(body.to_string()))
            .unwrap();
        let answer = self.github.router().oneshot(request).await.unwrap();
        let status = answer.status();
        let body = to_bytes(answer.into_body(), usize::MAX).await.unwrap();
        assert!(status.is_success(), "{path}: {status} {}", String::from_utf8_lossy(&body));
        serde_json::from_slice(&body).unwrap()
    }

    /// Asks for access; the number of her pull request.
    async fn asks(&self) -> u64 {
        let main = self.must(Method::GET, "/git/ref/heads/main", Value::Null).await;
        let branch = json!({ "ref": "refs/heads/ask", "sha": main["object"]["sha"] });
        self.must(Method::POST, "/git/refs", branch).await;
        let request = STANDARD.encode("role: reader\nduration: 2h\nreason: Checkouts hang\n");
        let file = json!({ "message": "Ask", "content": request, "branch": "ask" });
        self.must(Method::PUT, "/contents/grants/alice.yaml", file).await;
        let pull = json!({ "title": "ask", "head": "ask", "base": "main" });
        self.must(Method::POST, "/pulls", pull).await["number"].as_u64().unwrap()
    }
}

async fn github(nth: usize, dir: &std::path::Path, clock: &Clock) -> Alice {
    let options = sandbox::Options {
        dir: dir.join(organisation(nth)),
        organisation: organisation(nth),
        repository: "access".to_owned(),
        clock: clock.clone(),
        base_url: BASE.to_owned(),
        webhooks: WebhookSink::Nowhere,
        record: None,
        persist: false,
    };
    let github = Sandbox::open(options).await.unwrap();
    let files = [("policies/all.yaml".to_owned(), policy(nth).into_bytes())];
    let token = github.example(&files).unwrap()["alice"].clone();
    Alice { github, token, nth }
}

async fn webhook(engine: &Engine, nth: usize, number: u64) {
    let body = json!({
        "action": "opened", "number": number, "pull_request": { "number": number },
        "repository": { "full_name": format!("{}/access", organisation(nth)) },
    });
    let delivery = Delivery { id: format!("{nth}-{number}"), event: "pull_request".to_owned(), body: body.to_string() };
    assert!(engine.accept(&delivery).await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn nine_organisations_do_not_notice_that_the_tenth_misbehaves() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Clock::standing("2026-11-30T10:00:00Z".parse().unwrap());
    let mut alices = Vec::new();
    for nth in 0..ORGANISATIONS {
        alices.push(github(nth, dir.path(), &clock).await);
    }
    let githubs: Vec<_> = alices.iter().map(|alice| alice.github.clone()).collect();
    let first = githubs[0].app();
    let board = Arc::new(Switchboard { githubs, tokens: Mutex::default(), now: clock.now() });
    let transport =
        Transport::in_process(Router::new().fallback(switch).with_state(board), &format!("{BASE}/api/v3")).unwrap();
    let app = App::new(transport, first.id, &first.private_key, Arc::new(clock.clone())).unwrap();
    let orders = Arc::new(Database::default());
    let mut targets = Targets::new();
    targets.insert("orders-db".parse().unwrap(), orders.clone());
    let store = Store::open(&format!("sqlite://{}", dir.path().join("daypass.db").display())).await.unwrap();
    let repositories = (0..ORGANISATIONS).map(|nth| format!("{}/access", organisation(nth)).parse().unwrap()).collect();
    let options = Options { repositories, resync: TimeDelta::minutes(5) };
    let engine = Engine::new(store, app, targets, clock.clone(), options);
    engine.begin().await.unwrap();
    engine.settle().await.unwrap();

    // From here on the first says nothing to Daypass any more, and sends webhooks all the time.
    let noise = share(2_000).max(200);
    let quiet: Vec<u64> = {
        let mut numbers = Vec::new();
        for alice in &alices {
            numbers.push(alice.asks().await);
        }
        numbers
    };
    alices[0].github.disturb(Some(Arc::new(|_: &Method, _: &str| Some(Disturbance::Stall { done: false }))));
    for number in 0..noise {
        webhook(&engine, 0, 1_000 + number).await;
    }
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let workers = [Worker::Access, Worker::Access, Worker::Any, Worker::Any, Worker::Any, Worker::Any].map(|worker| {
        let (engine, mut stopped) = (engine.clone(), stopped.clone());
        tokio::spawn(async move { engine.run(worker, async { drop(stopped.wait_for(|stop| *stop).await) }).await })
    });
    let started = Instant::now();
    for (nth, number) in quiet.iter().enumerate().skip(1) {
        webhook(&engine, nth, *number).await;
    }
    let mut waits = BTreeMap::new();
    while waits.len() < ORGANISATIONS - 1 {
        tokio::time::sleep(Duration::from_millis(10)).await;
        for nth in 1..ORGANISATIONS {
            if orders.is_member("r", &format!("alice_{nth}")) {
                waits.entry(nth).or_insert_with(|| started.elapsed());
            }
        }
        assert!(started.elapsed() < Duration::from_secs(120), "only {waits:?} have what was asked for");
    }
    println!(
        "{noise} webhooks of one that does not answer; the others had access after: {}",
        spread(waits.into_values().collect())
    );
    assert!(!orders.is_member("r", "alice_0"));
    stop.send(true).unwrap();
    alices[0].github.disturb(None);
    alices[0].github.resume();
    for worker in workers {
        worker.await.unwrap();
    }
}
