//! `POST /api/v1/sessions`: whoever shares the secret reports what somebody does with access that Daypass gave. Signed, small, and
//! idempotent: the same report twice is one session.

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode, header};
use serde_json::json;

use super::Entrance;
use crate::engine::sessions::{NotTaken, SessionReport};
use crate::signature;

/// The largest report, in bytes.
pub(super) const LARGEST: usize = 16 << 10;

/// Takes a report: signature over the raw body first.
pub(super) async fn report(State(entrance): State<Entrance>, headers: HeaderMap, body: Bytes) -> Response {
    let secrets = &entrance.secrets.sessions;
    if secrets.is_empty() {
        return refuse(
            StatusCode::NOT_IMPLEMENTED,
            "this server takes no reports of sessions: set `sessions.secret_file`",
        );
    }
    let signed = headers.get(signature::HEADER).and_then(|value| value.to_str().ok());
    if let Err(error) = signature::check(secrets, signed, &body, entrance.engine.clock().now()) {
        return refuse(StatusCode::UNAUTHORIZED, &error.to_string());
    }
    let report: SessionReport = match serde_json::from_slice(&body) {
        Ok(report) => report,
        Err(error) => return refuse(StatusCode::BAD_REQUEST, &format!("it is no report of a session: {error}")),
    };
    match entrance.engine.take_session(&report).await {
        Ok(taken) => {
            let status = if taken.new { StatusCode::CREATED } else { StatusCode::OK };
            let grants: Vec<_> =
                taken.grants.iter().map(|grant| json!({ "repository": grant.repository, "grant": grant.id })).collect();
            (status, Json(json!({ "new": taken.new, "grants": grants }))).into_response()
        }
        Err(NotTaken::Invalid(why)) => refuse(StatusCode::UNPROCESSABLE_ENTITY, &why),
        Err(NotTaken::Unknown(why)) => refuse(StatusCode::NOT_FOUND, &why),
        Err(NotTaken::Contradicts(why)) => refuse(StatusCode::CONFLICT, &why),
        Err(NotTaken::Engine(error)) => {
            tracing::error!(%error, "a report of a session could not be stored");
            let again = [(header::RETRY_AFTER, "30")];
            (again, refuse(StatusCode::SERVICE_UNAVAILABLE, "it could not be stored; send it again")).into_response()
        }
    }
}

fn refuse(status: StatusCode, why: &str) -> Response {
    (status, Json(json!({ "error": why }))).into_response()
}
