//! Systems targets are tried on: small servers that speak what the real ones speak, each written from that system's own description
//! and not from ours, and real servers where there are any to install.

pub mod exec;
pub mod gitlab;
pub mod hoop;
pub mod okta;
pub mod scim;
pub mod vault;
pub mod webhook;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use daypass::engine::clock::Clock;
use daypass::github::{App, Transport};
use daypass::policy::entitlement::{Access, Entitlement};
use daypass::policy::kind::TargetKind;
use daypass::policy::name::{RepositoryName, TargetName};
use daypass::sandbox::{Options, Sandbox, WebhookSink};
use daypass::target::settings::{TargetSettings, build};
use daypass::target::{Target, Targets};
use serde_json::{Value, json};

use crate::conformance::Bench;
use crate::support::free_port;

/// What the servers take as a proof.
pub const TOKEN: &str = "s3cret-t0ken";

/// The target of one kind with these settings, as the server's configuration makes it.
pub fn target(kind: &str, settings: &Value) -> Arc<dyn Target> {
    let name: TargetName = "system".parse().unwrap();
    let settings: TargetSettings = serde_json::from_value(json!({ kind: settings })).unwrap();
    let targets: Targets = std::thread::scope(|scope| {
        let build = || {
            let runtime = tokio::runtime::Runtime::new().unwrap();
            let (app, repository) = runtime.block_on(github());
            build(&BTreeMap::from([(name.clone(), settings)]), &app, &repository).unwrap()
        };
        scope.spawn(build).join().unwrap()
    });
    targets.get(&name).unwrap()
}

/// A GitHub that nobody asks.
pub async fn github() -> (App, RepositoryName) {
    let (dir, clock) = (tempfile::tempdir().unwrap(), Clock::system());
    let sandbox = Sandbox::open(Options {
        dir: dir.path().to_owned(),
        organisation: "acme".to_owned(),
        repository: "access".to_owned(),
        clock: clock.clone(),
        base_url: "http://github.test".to_owned(),
        webhooks: WebhookSink::Nowhere,
        record: None,
        persist: false,
    })
    .await
    .unwrap();
    let transport = Transport::in_process(sandbox.router(), "http://github.test/api/v3").unwrap();
    let app = App::new(transport, 1, &sandbox.app().private_key, Arc::new(clock)).unwrap();
    (app, "acme/access".parse().unwrap())
}

/// An entitlement of a kind with named texts.
pub fn named<const N: usize>(kind: TargetKind, principal: &str, fields: [(&str, &str); N]) -> Entitlement {
    let fields = fields.into_iter().map(|(name, text)| (name.to_owned(), text.to_owned())).collect();
    let access = Access::Named { kind, principal: principal.to_owned(), fields };
    Entitlement { target: "system".parse().unwrap(), access }
}

/// People, what they can be members of, and who is.
#[derive(Debug, Default)]
pub struct Town {
    /// Names and ids.
    pub people: BTreeMap<String, String>,
    /// Names and ids.
    pub places: BTreeMap<String, String>,
    /// Ids of places and of people.
    pub members: BTreeSet<(String, String)>,
}

/// A town that several hands change.
pub type Shared = Arc<Mutex<Town>>;

impl Town {
    /// With alice and bob.
    pub fn new(ids: [&str; 2]) -> Shared {
        let people = ["alice", "bob"].into_iter().zip(ids).map(|(name, id)| (name.to_owned(), id.to_owned())).collect();
        Arc::new(Mutex::new(Self { people, ..Self::default() }))
    }

    /// Whoever has this id.
    pub fn person(&self, id: &str) -> Option<&String> {
        self.people.iter().find(|(_, known)| *known == id).map(|(name, _)| name)
    }

    /// Whatever has this id.
    pub fn place(&self, id: &str) -> Option<&String> {
        self.places.iter().find(|(_, known)| *known == id).map(|(name, _)| name)
    }

    fn ids(&self, principal: &str, name: &str) -> Option<(String, String)> {
        Some((self.places.get(name)?.clone(), self.people.get(principal)?.clone()))
    }
}

/// A small server with a town behind it.
pub struct Wire {
    /// The kind of target.
    pub kind: TargetKind,
    /// The target's settings, given the address and a token.
    pub settings: fn(&str, &str) -> Value,
    /// The entitlement of a principal to a place.
    pub access: fn(&str, &str) -> Entitlement,
    /// An id for the next place.
    pub place_id: fn(usize) -> String,
    /// Where it listens.
    pub address: String,
    /// What is behind it.
    pub town: Shared,
}

/// Serves `router` on a free port, to whoever passes `proof`; the address.
pub async fn serve(router: Router, proof: fn(&HeaderMap) -> bool) -> String {
    let gate = middleware::from_fn(move |request: Request, next: Next| async move {
        match proof(request.headers()) {
            true => next.run(request).await,
            false => refused(StatusCode::UNAUTHORIZED, "who are you?"),
        }
    });
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(axum::serve(listener, router.layer(gate)).into_future());
    address
}

/// An error with a sentence.
pub fn refused(status: StatusCode, message: &str) -> Response {
    (status, axum::Json(json!({ "message": message }))).into_response()
}

#[async_trait]
impl Bench for Wire {
    fn name(&self) -> (&'static str, &'static str) {
        (self.kind.as_str(), "a server of the tests that speaks its protocol")
    }

    fn target(&self) -> Arc<dyn Target> {
        target(self.kind.as_str(), &(self.settings)(&self.address, TOKEN))
    }

    fn forged(&self) -> Option<Arc<dyn Target>> {
        Some(target(self.kind.as_str(), &(self.settings)(&self.address, "f0rged")))
    }

    fn nowhere(&self) -> Arc<dyn Target> {
        target(self.kind.as_str(), &(self.settings)(&format!("http://127.0.0.1:{}", free_port()), TOKEN))
    }

    fn access(&self, principal: &str, name: &str) -> Entitlement {
        (self.access)(principal, name)
    }

    async fn make(&self, name: &str) {
        let mut town = self.town.lock().unwrap();
        let id = (self.place_id)(town.places.len() + 1);
        town.places.entry(name.to_owned()).or_insert(id);
    }

    async fn has(&self, principal: &str, name: &str) -> bool {
        let town = self.town.lock().unwrap();
        town.ids(principal, name).is_some_and(|ids| town.members.contains(&ids))
    }

    async fn give(&self, principal: &str, name: &str) {
        let mut town = self.town.lock().unwrap();
        let ids = town.ids(principal, name).unwrap();
        town.members.insert(ids);
    }
}
