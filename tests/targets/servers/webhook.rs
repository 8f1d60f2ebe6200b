//! A receiver of signed requests, as somebody would write one from `docs/targets/webhook.md`: it believes nobody without a fresh
//! signature, and takes each call once.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use daypass::policy::entitlement::Entitlement;
use daypass::policy::kind::TargetKind;
use daypass::target::Target;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

use super::{TOKEN, named, refused, serve, target};
use crate::conformance::Bench;
use crate::support::free_port;

/// Who has what: people and resources. Calls are remembered by their keys.
#[derive(Debug, Default)]
pub struct Room {
    has: BTreeSet<(String, String)>,
    pub keys: Vec<String>,
}

pub struct Receiver {
    address: String,
    observes: bool,
    pub room: Arc<Mutex<Room>>,
}

pub async fn start(observes: bool) -> Receiver {
    let room = Arc::new(Mutex::new(Room::default()));
    let router = Router::new().route("/grants", post(take)).with_state(room.clone());
    Receiver { address: serve(router, |_| true).await, observes, room }
}

fn is_signed(headers: &HeaderMap, body: &[u8]) -> bool {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let signature = text("daypass-signature");
    let (timestamp, digest) = signature.trim_start_matches("t=").split_once(",v1=").unwrap_or_default();
    let age = timestamp.parse::<i64>().map(|then| (chrono::Utc::now().timestamp() - then).abs());
    let mut mac = Hmac::<Sha256>::new_from_slice(TOKEN.as_bytes()).unwrap();
    mac.update(format!("{timestamp}.").as_bytes());
    mac.update(body);
    let digest = hex::decode(digest).unwrap_or_default();
    age.is_ok_and(|age| age < 300) && mac.verify_slice(&digest).is_ok()
}

async fn take(State(room): State<Arc<Mutex<Room>>>, headers: HeaderMap, body: Bytes) -> Response {
    if !is_signed(&headers, &body) {
        return refused(StatusCode::UNAUTHORIZED, "the signature is wrong");
    }
    let call: Value = serde_json::from_slice(&body).unwrap();
    let text = |pointer: &str| call.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let key = (text("/principal"), text("/fields/resource"));
    let mut room = room.lock().unwrap();
    room.keys.push(headers["idempotency-key"].to_str().unwrap().to_owned());
    let answer = match call["call"].as_str() {
        Some("grant") => {
            room.has.insert(key.clone());
            json!({ "summary": format!("{} may enter {}", key.0, key.1) })
        }
        Some("revoke") => {
            room.has.remove(&key);
            Value::Null
        }
        Some("observe") => json!({ "present": room.has.contains(&key) }),
        Some("check") => json!({}),
        _ => return refused(StatusCode::BAD_REQUEST, "what?"),
    };
    Json(answer).into_response()
}

impl Receiver {
    fn at(&self, address: &str, secret: &str) -> Arc<dyn Target> {
        let settings = json!({
            "url": format!("{address}/grants"), "secret": secret, "observes": self.observes,
            "connection": { "plain_text": true },
        });
        target("webhook", &settings)
    }
}

#[async_trait]
impl Bench for Receiver {
    fn name(&self) -> (&'static str, &'static str) {
        ("webhook", if self.observes { "a receiver of the tests that observes" } else { "a receiver of the tests" })
    }

    fn target(&self) -> Arc<dyn Target> {
        self.at(&self.address, TOKEN)
    }

    fn forged(&self) -> Option<Arc<dyn Target>> {
        Some(self.at(&self.address, "f0rged"))
    }

    fn nowhere(&self) -> Arc<dyn Target> {
        self.at(&format!("http://127.0.0.1:{}", free_port()), TOKEN)
    }

    fn access(&self, principal: &str, name: &str) -> Entitlement {
        named(TargetKind::Webhook, principal, [("access", "enter"), ("resource", name)])
    }

    async fn make(&self, _name: &str) {}

    async fn has(&self, principal: &str, name: &str) -> bool {
        self.room.lock().unwrap().has.contains(&(principal.to_owned(), name.to_owned()))
    }

    async fn give(&self, principal: &str, name: &str) {
        self.room.lock().unwrap().has.insert((principal.to_owned(), name.to_owned()));
    }

    fn observes(&self) -> bool {
        self.observes
    }

    fn knows_people(&self) -> bool {
        false
    }
}
