//! GitLab's REST API, version 4, as <https://docs.gitlab.com/api/members/>, `/api/users/` and `/api/groups/` describe it.

use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use daypass::policy::kind::TargetKind;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Shared, TOKEN, Town, Wire, named, refused, serve};

/// Everybody is a developer here.
const DEVELOPER: u64 = 30;

pub async fn start() -> Wire {
    let town = Town::new(["101", "102"]);
    let members = "/api/v4/groups/{id}/members";
    let router = Router::new()
        .route("/api/v4/version", get(async || Json(json!({ "version": "18.5.0", "revision": "abc" }))))
        .route("/api/v4/users", get(users))
        .route("/api/v4/groups/{id}", get(group))
        .route(members, post(add))
        .route(&format!("{members}/{{user}}"), get(member).put(change).delete(remove))
        .with_state(town.clone());
    let proof = |headers: &HeaderMap| headers.get("private-token").is_some_and(|token| token == TOKEN);
    Wire {
        kind: TargetKind::Gitlab,
        settings: |url, token| json!({ "url": url, "token": token, "connection": { "plain_text": true } }),
        access: |principal, name| named(TargetKind::Gitlab, principal, [("group", name), ("level", "developer")]),
        place_id: |number| (500 + number).to_string(),
        address: serve(router, proof).await,
        town,
    }
}

fn not_found(what: &str) -> Response {
    refused(StatusCode::NOT_FOUND, &format!("404 {what} Not Found"))
}

fn number(id: &str) -> Value {
    json!(id.parse::<u64>().unwrap())
}

#[derive(Deserialize)]
struct Search {
    username: String,
}

async fn users(State(town): State<Shared>, Query(search): Query<Search>) -> Json<Value> {
    let town = town.lock().unwrap();
    let found = town.people.iter().filter(|(name, _)| name.eq_ignore_ascii_case(&search.username));
    Json(found.map(|(name, id)| json!({ "id": number(id), "username": name, "state": "active" })).collect())
}

async fn group(State(town): State<Shared>, Path(path): Path<String>) -> Response {
    match town.lock().unwrap().places.get(&path) {
        Some(id) => Json(json!({ "id": number(id), "full_path": path })).into_response(),
        None => not_found("Group"),
    }
}

async fn member(State(town): State<Shared>, Path(ids): Path<(String, String)>) -> Response {
    let town = town.lock().unwrap();
    match (town.place(&ids.0), town.members.contains(&ids)) {
        (None, _) => not_found("Group"),
        (_, false) => not_found("Member"),
        (_, true) => Json(json!({ "id": number(&ids.1), "access_level": DEVELOPER })).into_response(),
    }
}

/// Whether a level is written that is there, and an end that is yet to come.
fn is_right(body: &Value) -> bool {
    let day = body.get("expires_at").and_then(Value::as_str).and_then(|day| day.parse::<chrono::NaiveDate>().ok());
    let later = day.is_some_and(|day| day > chrono::Utc::now().date_naive());
    later && body.get("access_level").and_then(Value::as_u64) == Some(DEVELOPER)
}

fn bad_request() -> Response {
    refused(StatusCode::BAD_REQUEST, "400 Bad request")
}

async fn add(State(town): State<Shared>, Path(group): Path<String>, Json(body): Json<Value>) -> Response {
    let Some(user) = body.get("user_id").and_then(Value::as_str).filter(|_| is_right(&body)) else {
        return bad_request();
    };
    let mut town = town.lock().unwrap();
    if town.place(&group).is_none() || town.person(user).is_none() {
        return not_found("Group or user");
    }
    match town.members.insert((group, user.to_owned())) {
        true => (StatusCode::CREATED, Json(json!({ "id": number(user), "access_level": DEVELOPER }))).into_response(),
        false => refused(StatusCode::CONFLICT, "Member already exists"),
    }
}

async fn change(State(town): State<Shared>, Path(ids): Path<(String, String)>, Json(body): Json<Value>) -> Response {
    match (is_right(&body), town.lock().unwrap().members.contains(&ids)) {
        (false, _) => bad_request(),
        (_, false) => not_found("Member"),
        (_, true) => Json(json!({ "id": number(&ids.1), "access_level": DEVELOPER })).into_response(),
    }
}

async fn remove(State(town): State<Shared>, Path(ids): Path<(String, String)>) -> Response {
    match town.lock().unwrap().members.remove(&ids) {
        true => StatusCode::NO_CONTENT.into_response(),
        false => not_found("Member"),
    }
}
