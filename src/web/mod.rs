//! axum: the webhook entrance, reports of sessions, health and metrics.
//!
//! A webhook is believed only if its signature is right, acknowledged only when it is on disk, and read only afterwards.

mod sessions;

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use hmac::{Hmac, KeyInit, Mac};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;
use tokio::sync::{Mutex, watch};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::set_header::SetResponseHeaderLayer;
use tower_http::timeout::TimeoutLayer;

use crate::engine::Engine;
use crate::store::{Delivery, Reason};

/// GitHub caps payloads at 25 MB: <https://docs.github.com/en/webhooks/webhook-events-and-payloads#payload-cap>.
const LARGEST_PAYLOAD: usize = 25 << 20;
/// GitHub waits 10 seconds for an answer.
const TIMEOUT: Duration = Duration::from_secs(9);
/// For how long an answer of `/readyz` holds: anybody may ask, and each look is a write.
const HEALTH_KEPT: Duration = Duration::from_secs(1);

/// When the database was looked at, and what was the matter with it.
type Health = (Instant, Result<(), Reason>);

/// With which secrets who may send what; two while one is being changed.
#[derive(Debug, Clone, Default)]
pub struct Secrets {
    /// Those GitHub signs webhooks with.
    pub webhooks: Vec<SecretString>,
    /// Those reports of sessions are signed with. Without any, none are taken.
    pub sessions: Vec<SecretString>,
}

impl From<Vec<SecretString>> for Secrets {
    fn from(webhooks: Vec<SecretString>) -> Self {
        Self { webhooks, sessions: Vec::new() }
    }
}

#[derive(Clone)]
struct Entrance {
    engine: Engine,
    secrets: Arc<Secrets>,
    health: Arc<Mutex<Option<Health>>>,
    stopping: watch::Receiver<bool>,
}

/// Everything that is served. Once `stopping` holds true, load balancers are told to leave; webhooks that still come are taken, for
/// whoever carries on.
pub fn router(engine: Engine, secrets: impl Into<Secrets>, stopping: watch::Receiver<bool>) -> Router {
    let secrets = Arc::new(secrets.into());
    let header = |name: &'static str, value: &'static str| {
        SetResponseHeaderLayer::overriding(HeaderName::from_static(name), HeaderValue::from_static(value))
    };
    Router::new()
        .route("/webhooks/github", post(webhook).layer(DefaultBodyLimit::max(LARGEST_PAYLOAD)))
        .route("/api/v1/sessions", post(sessions::report).layer(DefaultBodyLimit::max(sessions::LARGEST)))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(Entrance { engine, secrets, health: Arc::default(), stopping })
        .layer(header("x-content-type-options", "nosniff"))
        .layer(header("content-security-policy", "default-src 'none'; frame-ancestors 'none'"))
        .layer(header("cache-control", "no-store"))
        .layer(TimeoutLayer::with_status_code(StatusCode::SERVICE_UNAVAILABLE, TIMEOUT))
        .layer(CatchPanicLayer::new())
}

/// Takes a webhook: signature over the raw body first, then to disk, then 202.
async fn webhook(State(entrance): State<Entrance>, headers: HeaderMap, body: Bytes) -> Response {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    if !is_signed(&entrance.secrets.webhooks, text("x-hub-signature-256"), &body) {
        return (StatusCode::UNAUTHORIZED, "the signature is missing or wrong\n").into_response();
    }
    let valid = |text: &&str| !text.is_empty() && text.len() <= 100 && text.bytes().all(|byte| byte.is_ascii_graphic());
    let (Some(id), Some(event)) = (text("x-github-delivery").filter(valid), text("x-github-event").filter(valid))
    else {
        return (StatusCode::BAD_REQUEST, "X-GitHub-Delivery or X-GitHub-Event is missing\n").into_response();
    };
    let Ok(body) = String::from_utf8(body.to_vec()) else {
        return (StatusCode::BAD_REQUEST, "the payload is not UTF-8\n").into_response();
    };
    let delivery = Delivery { id: id.to_owned(), event: event.to_owned(), body };
    match entrance.engine.accept(&delivery).await {
        Ok(true) => (StatusCode::ACCEPTED, "accepted\n").into_response(),
        Ok(false) => (StatusCode::ACCEPTED, "known already\n").into_response(),
        Err(error) => {
            tracing::error!(%error, delivery = %delivery.id, "a webhook could not be stored");
            let retry = [(header::RETRY_AFTER, "30")];
            (StatusCode::SERVICE_UNAVAILABLE, retry, "it could not be stored; deliver it again\n").into_response()
        }
    }
}

/// Whether one of the secrets signed the body; compared in constant time.
/// <https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries>
fn is_signed(secrets: &[SecretString], signature: Option<&str>, body: &[u8]) -> bool {
    let Some(signature) = signature.and_then(|text| text.strip_prefix("sha256=")).and_then(|hex| hex::decode(hex).ok())
    else {
        return false;
    };
    secrets.iter().any(|secret| {
        Hmac::<Sha256>::new_from_slice(secret.expose_secret().as_bytes()).is_ok_and(|mut mac| {
            mac.update(body);
            mac.verify_slice(&signature).is_ok()
        })
    })
}

/// Whether work can be done: nobody asked the process to stop, and the database takes writes. However often it is asked, it is looked at once a second.
async fn ready(State(entrance): State<Entrance>) -> Response {
    if *entrance.stopping.borrow() {
        return (StatusCode::SERVICE_UNAVAILABLE, "stopping\n").into_response();
    }
    let mut last = entrance.health.lock().await;
    let health = match *last {
        Some((at, health)) if at.elapsed() < HEALTH_KEPT => health,
        _ => {
            let health = entrance.engine.store().ping().await.map_err(|error| {
                // The driver's words may tell addresses: they are for the operator's log.
                tracing::warn!(%error, "not ready");
                error.reason()
            });
            *last = Some((Instant::now(), health));
            health
        }
    };
    match health {
        Ok(()) => "ready\n".into_response(),
        Err(reason) => {
            (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {reason}; the log says more\n")).into_response()
        }
    }
}

/// What Daypass can be watched by. It tells no names of people, roles or repositories.
async fn metrics(State(entrance): State<Entrance>) -> Response {
    const FORMAT: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    match entrance.engine.metrics().await {
        Ok(text) => ([(header::CONTENT_TYPE, FORMAT)], text).into_response(),
        Err(error) => {
            tracing::warn!(%error, "the metrics cannot be read");
            (
                StatusCode::SERVICE_UNAVAILABLE,
                "the database cannot be read; /readyz says more
",
            )
                .into_response()
        }
    }
}
