//! Okta's management API, as <https://developer.okta.com/docs/api/> describes users and groups.

use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, put};
use axum::{Json, Router};
use daypass::policy::kind::TargetKind;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Shared, TOKEN, Town, Wire, named, serve};

pub async fn start() -> Wire {
    let town = Town::new(["00u1alice", "00u2bob"]);
    let router = Router::new()
        .route("/api/v1/users/{login}", get(user))
        .route("/api/v1/users/{id}/groups", get(groups_of))
        .route("/api/v1/groups", get(groups))
        .route("/api/v1/groups/{group}/users/{user}", put(add).delete(remove))
        .with_state(town.clone());
    let proof = |headers: &HeaderMap| {
        headers.get("authorization").is_some_and(|proof| proof.to_str().unwrap() == format!("SSWS {TOKEN}"))
    };
    Wire {
        kind: TargetKind::Okta,
        settings: |url, token| json!({ "url": url, "token": token, "connection": { "plain_text": true } }),
        access: |principal, name| named(TargetKind::Okta, principal, [("group", name)]),
        place_id: |number| format!("00g{number}"),
        address: serve(router, proof).await,
        town,
    }
}

fn not_found(what: &str) -> Response {
    let text = format!("Not found: Resource not found: {what} (User)");
    (StatusCode::NOT_FOUND, Json(json!({ "errorCode": "E0000007", "errorSummary": text }))).into_response()
}

fn group(id: &str, name: &str) -> Value {
    json!({ "id": id, "type": "OKTA_GROUP", "profile": { "name": name } })
}

async fn user(State(town): State<Shared>, Path(login): Path<String>) -> Response {
    match town.lock().unwrap().people.get(&login) {
        Some(id) => Json(json!({ "id": id, "status": "ACTIVE", "profile": { "login": login } })).into_response(),
        None => not_found(&login),
    }
}

#[derive(Deserialize)]
struct Search {
    search: Option<String>,
}

async fn groups(State(town): State<Shared>, Query(query): Query<Search>) -> Response {
    let town = town.lock().unwrap();
    let wanted = match query.search.as_deref().map(|search| search.strip_prefix("profile.name eq ")) {
        None => None,
        Some(text) => match text.and_then(|text| serde_json::from_str::<String>(text).ok()) {
            Some(name) => Some(name),
            None => {
                let body = json!({ "errorCode": "E0000031", "errorSummary": "Invalid search criteria." });
                return (StatusCode::BAD_REQUEST, Json(body)).into_response();
            }
        },
    };
    let found = town.places.iter().filter(|(name, _)| wanted.as_ref().is_none_or(|wanted| wanted == *name));
    Json(found.map(|(name, id)| group(id, name)).collect::<Value>()).into_response()
}

#[derive(Deserialize)]
struct Page {
    after: Option<String>,
}

/// Two on a page, as if there were hundreds.
async fn groups_of(State(town): State<Shared>, Path(user): Path<String>, Query(page): Query<Page>) -> Response {
    let town = town.lock().unwrap();
    let mine = town.places.iter().filter(|(_, id)| town.members.contains(&((*id).clone(), user.clone())));
    let rest: Vec<_> = mine.filter(|(_, id)| page.after.as_ref().is_none_or(|after| *id > after)).collect();
    let mut rest = rest;
    rest.sort_by_key(|(_, id)| (*id).clone());
    let shown: Vec<_> = rest.iter().take(2).collect();
    let body: Value = shown.iter().map(|(name, id)| group(id, name)).collect();
    match shown.last().filter(|_| rest.len() > 2) {
        Some((_, last)) => {
            let link = format!("<https://acme.okta.com/api/v1/users/{user}/groups?after={last}&limit=2>; rel=\"next\"");
            ([("link", link)], Json(body)).into_response()
        }
        None => Json(body).into_response(),
    }
}

async fn add(State(town): State<Shared>, Path(ids): Path<(String, String)>) -> Response {
    let mut town = town.lock().unwrap();
    if town.place(&ids.0).is_none() || town.person(&ids.1).is_none() {
        return not_found(&ids.1);
    }
    town.members.insert(ids);
    StatusCode::NO_CONTENT.into_response()
}

async fn remove(State(town): State<Shared>, Path(ids): Path<(String, String)>) -> Response {
    town.lock().unwrap().members.remove(&ids);
    StatusCode::NO_CONTENT.into_response()
}
