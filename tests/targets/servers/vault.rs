//! Vault's identity API, as <https://developer.hashicorp.com/vault/api-docs/secret/identity> describes it.

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use daypass::policy::kind::TargetKind;
use serde_json::{Value, json};

use super::{Shared, TOKEN, Town, Wire, named, serve};

pub async fn start() -> Wire {
    let town = Town::new(["e-alice", "e-bob"]);
    let router = Router::new()
        .route("/v1/auth/token/lookup-self", get(async || Json(json!({ "data": { "policies": ["daypass"] } }))))
        .route("/v1/identity/entity/name/{name}", get(entity))
        .route("/v1/identity/group/name/{name}", get(group_by_name))
        .route("/v1/identity/group/id/{id}", get(group_by_id).post(write))
        .with_state(town.clone());
    let proof = |headers: &HeaderMap| headers.get("x-vault-token").is_some_and(|token| token == TOKEN);
    Wire {
        kind: TargetKind::Vault,
        settings: |url, token| json!({ "url": url, "token": token, "connection": { "plain_text": true } }),
        access: |principal, name| named(TargetKind::Vault, principal, [("group", name)]),
        place_id: |number| format!("g-{number}"),
        address: serve(router, proof).await,
        town,
    }
}

fn not_found() -> Response {
    (StatusCode::NOT_FOUND, Json(json!({ "errors": [] }))).into_response()
}

async fn entity(State(town): State<Shared>, Path(name): Path<String>) -> Response {
    match town.lock().unwrap().people.get(&name) {
        Some(id) => Json(json!({ "data": { "id": id, "name": name } })).into_response(),
        None => not_found(),
    }
}

fn group(town: &Shared, id: Option<String>) -> Response {
    let town = town.lock().unwrap();
    let Some((id, name)) = id.and_then(|id| Some((id.clone(), town.place(&id)?))) else { return not_found() };
    let members = town.members.iter().filter(|(place, _)| *place == id).map(|(_, person)| person);
    let members: Vec<_> = members.collect();
    // Nobody is null, not an empty list.
    let members = if members.is_empty() { Value::Null } else { json!(members) };
    let data = json!({ "id": id, "name": name, "type": "internal", "member_entity_ids": members, "policies": ["x"] });
    Json(json!({ "data": data })).into_response()
}

async fn group_by_name(State(town): State<Shared>, Path(name): Path<String>) -> Response {
    let id = town.lock().unwrap().places.get(&name).cloned();
    group(&town, id)
}

async fn group_by_id(State(town): State<Shared>, Path(id): Path<String>) -> Response {
    group(&town, Some(id))
}

async fn write(State(town): State<Shared>, Path(id): Path<String>, Json(body): Json<Value>) -> Response {
    let mut town = town.lock().unwrap();
    let Some(members) = body.get("member_entity_ids").and_then(Value::as_array) else { return not_found() };
    let members: Vec<String> = members.iter().map(|id| id.as_str().unwrap().to_owned()).collect();
    if town.place(&id).is_none() || members.iter().any(|member| town.person(member).is_none()) {
        return (StatusCode::BAD_REQUEST, Json(json!({ "errors": ["invalid entity ID"] }))).into_response();
    }
    town.members.retain(|(place, _)| *place != id);
    town.members.extend(members.into_iter().map(|member| (id.clone(), member)));
    StatusCode::NO_CONTENT.into_response()
}
