//! The users of a hoop.dev gateway, as `gateway/api/openapi/openapiv3.json` of <https://github.com/hoophq/hoop> describes them.

use std::collections::BTreeSet;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use daypass::policy::kind::TargetKind;
use serde_json::{Value, json};

use super::{Shared, TOKEN, Town, Wire, named, refused, serve};

pub async fn start() -> Wire {
    let town = Town::new(["6d1b2f3e-0000-4000-8000-000000000001", "6d1b2f3e-0000-4000-8000-000000000002"]);
    let router = Router::new()
        .route("/api/users/groups", get(groups))
        .route("/api/users/{id}", get(user).put(write))
        .with_state(town.clone());
    let proof = |headers: &HeaderMap| {
        headers.get("authorization").is_some_and(|proof| proof.to_str().unwrap() == format!("Bearer {TOKEN}"))
    };
    Wire {
        kind: TargetKind::Hoop,
        settings: |url, token| json!({ "url": format!("{url}/api"), "token": token, "connection": { "plain_text": true } }),
        access: |principal, name| named(TargetKind::Hoop, principal, [("group", name)]),
        place_id: |number| number.to_string(),
        address: serve(router, proof).await,
        town,
    }
}

async fn groups(State(town): State<Shared>) -> Json<Value> {
    Json(town.lock().unwrap().places.keys().cloned().collect())
}

async fn user(State(town): State<Shared>, Path(name): Path<String>) -> Response {
    let town = town.lock().unwrap();
    let known = town.people.iter().find(|(login, id)| **login == name || **id == name);
    let Some((login, id)) = known else { return refused(StatusCode::NOT_FOUND, "user not found") };
    let mine = town.places.iter().filter(|(_, place)| town.members.contains(&((*place).clone(), id.clone())));
    let groups: Vec<&String> = mine.map(|(name, _)| name).collect();
    Json(json!({
        "id": id, "name": login, "email": format!("{login}@acme.example"), "status": "active", "verified": true,
        "role": "standard", "slack_id": "U053ELZHB53", "picture": "", "groups": groups,
    }))
    .into_response()
}

async fn write(State(town): State<Shared>, Path(id): Path<String>, Json(body): Json<Value>) -> Response {
    let mut town = town.lock().unwrap();
    if town.person(&id).is_none() {
        return refused(StatusCode::NOT_FOUND, "user not found");
    }
    // What the description does not know, or calls read-only, has no place in what is written; the rest must not be lost.
    let known: BTreeSet<&str> = ["email", "groups", "name", "picture", "slack_id", "status"].into();
    let told: BTreeSet<&str> = body.as_object().unwrap().keys().map(String::as_str).collect();
    if told != known {
        return refused(StatusCode::UNPROCESSABLE_ENTITY, &format!("{told:?}"));
    }
    let groups: Vec<String> = serde_json::from_value(body["groups"].clone()).unwrap();
    town.members.retain(|(_, person)| *person != id);
    for group in groups {
        let next = (town.places.len() + 1).to_string();
        let place = town.places.entry(group).or_insert(next).clone();
        town.members.insert((place, id.clone()));
    }
    (StatusCode::OK, Json(body)).into_response()
}
