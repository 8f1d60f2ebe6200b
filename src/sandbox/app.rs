//! The app: JWTs, installations and their tokens, the webhook log.

use chrono::{DateTime, TimeDelta, Utc};
use jsonwebtoken::{Algorithm, Validation};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Sandbox;
use super::json::time;
use super::route::{Answer, Ctx, Refusal, Reply, not_found, refuse};
use super::state::{DeliveryRecord, Holder, State, Token};

#[derive(Deserialize)]
struct Claims {
    iat: i64,
    exp: i64,
    iss: Value,
}

/// Checks an app's JWT: the signature, the times by our clock, the issuer.
pub(super) fn check_jwt(sandbox: &Sandbox, state: &State, token: &str, now: DateTime<Utc>) -> Result<Holder, Refusal> {
    let mut validation = Validation::new(Algorithm::RS256);
    // The library would look at the machine's clock.
    validation.validate_exp = false;
    validation.required_spec_claims.clear();
    let Ok(decoded) = jsonwebtoken::decode::<Claims>(token, &sandbox.verifying_key, &validation) else {
        return refuse(401, "A JSON web token could not be decoded");
    };
    let claims = decoded.claims;
    let issuer = claims.iss.as_str().map_or_else(|| claims.iss.to_string(), str::to_owned);
    if issuer != state.app.id.to_string() && issuer != state.app.client_id {
        return refuse(401, "Integration not found");
    }
    let now = now.timestamp();
    if claims.exp <= now {
        return refuse(
            401,
            "'Expiration time' claim ('exp') must be a numeric value representing the future time at which the assertion expires",
        );
    }
    if claims.exp > now + 600 {
        return refuse(401, "'Expiration time' claim ('exp') is too far in the future");
    }
    if claims.iat > now + 60 {
        return refuse(
            401,
            "'Issued at' claim ('iat') must be an Integer representing the time that the assertion was issued",
        );
    }
    Ok(Holder::App)
}

pub(super) fn route(ctx: &mut Ctx<'_>, method: &str, segments: &[&str]) -> Option<Answer> {
    if segments == ["installation", "repositories"] && method == "GET" {
        return Some(match ctx.actor {
            Holder::Installation => {
                let view = ctx.view();
                Ok(Reply::Keyed(
                    "repositories",
                    ctx.state.repositories.values().map(|repository| view.repository(repository)).collect(),
                ))
            }
            _ => refuse(403, "Resource not accessible by personal access token"),
        });
    }
    if ctx.actor != Holder::App {
        return Some(refuse(401, "A JSON web token could not be decoded"));
    }
    Some(match (method, segments) {
        ("GET", ["app"]) => Ok(Reply::Json(200, ctx.view().app())),
        ("GET", ["app", "installations"]) => Ok(Reply::List(
            ctx.state.installation.iter().map(|installation| ctx.view().installation(installation)).collect(),
        )),
        ("GET", ["app", "installations", id]) if known(ctx, id) => installation(ctx),
        ("POST", ["app", "installations", id, "access_tokens"]) if known(ctx, id) => Ok(mint(ctx)),
        ("GET", ["app", "hook", "config"]) => Ok(Reply::Json(
            200,
            json!({ "content_type": "json", "insecure_ssl": "0", "secret": "********", "url": ctx.sandbox.outbox.address() }),
        )),
        ("GET", ["app", "hook", "deliveries"]) => deliveries(ctx),
        ("GET", ["app", "hook", "deliveries", id]) => delivery(ctx, id, true),
        ("POST", ["app", "hook", "deliveries", id, "attempts"]) => redeliver(ctx, id),
        _ => return None,
    })
}

fn known(ctx: &Ctx<'_>, id: &str) -> bool {
    ctx.state.installation.as_ref().is_some_and(|installation| installation.id.to_string() == id)
}

/// The installation, for the app itself.
pub(super) fn installation(ctx: &Ctx<'_>) -> Answer {
    match (&ctx.state.installation, ctx.actor) {
        (_, actor) if actor != Holder::App => refuse(401, "A JSON web token could not be decoded"),
        (Some(installation), _) => Ok(Reply::Json(200, ctx.view().installation(installation))),
        (None, _) => not_found(),
    }
}

fn mint(ctx: &mut Ctx<'_>) -> Reply {
    let token = format!("ghs_{}", hex::encode(rand::random::<[u8; 18]>()));
    let now = ctx.now();
    let expires_at = now + TimeDelta::hours(1);
    ctx.state.tokens.retain(|_, token| token.expires_at.is_none_or(|expires_at| expires_at > now));
    ctx.state.tokens.insert(token.clone(), Token { holder: Holder::Installation, expires_at: Some(expires_at) });
    Reply::Json(
        201,
        json!({ "token": token, "expires_at": time(expires_at), "permissions": {}, "repository_selection": "all" }),
    )
}

fn item(ctx: &Ctx<'_>, record: &DeliveryRecord) -> Value {
    let code = record.status_code.unwrap_or(0);
    let status = match code {
        0 => "failed to connect to host".to_owned(),
        200..=299 => "OK".to_owned(),
        code => format!("Invalid HTTP Response: {code}"),
    };
    json!({
        "id": record.id, "guid": record.guid, "delivered_at": time(record.delivered_at), "redelivery": record.redelivery, "duration": 0.01,
        "status": status, "status_code": code, "event": record.event, "action": record.action,
        "installation_id": ctx.state.installation.as_ref().map(|installation| installation.id), "repository_id": null, "throttled_at": null,
    })
}

/// Newest first; `cursor` is the id below which the next page begins.
fn deliveries(ctx: &Ctx<'_>) -> Answer {
    let below =
        ctx.query.get("cursor").and_then(|text| text.trim_start_matches('v').parse::<u64>().ok()).unwrap_or(u64::MAX);
    let size = ctx.query.get("per_page").and_then(|text| text.parse().ok()).unwrap_or(30_usize).clamp(1, 100);
    // What is on its way is not listed yet.
    let listed = ctx.state.deliveries.iter().rev().filter(|record| record.id < below && record.status_code.is_some());
    let mut shown: Vec<&DeliveryRecord> = listed.take(size + 1).collect();
    let more = shown.len() > size;
    shown.truncate(size);
    let next = shown.last().filter(|_| more).map(|record| format!("v{}", record.id));
    Ok(Reply::Cursor(shown.into_iter().map(|record| item(ctx, record)).collect(), next))
}

fn delivery(ctx: &Ctx<'_>, id: &str, full: bool) -> Answer {
    let Some(record) = ctx.state.deliveries.iter().find(|record| record.id.to_string() == id) else {
        return not_found();
    };
    let mut value = item(ctx, record);
    if full {
        value["url"] = json!(ctx.sandbox.outbox.address());
        value["request"] = json!({ "headers": {}, "payload": record.payload });
        value["response"] = json!({ "headers": {}, "payload": "" });
    }
    Ok(Reply::Json(200, value))
}

fn redeliver(ctx: &mut Ctx<'_>, id: &str) -> Answer {
    let Some(record) = ctx.state.deliveries.iter().find(|record| record.id.to_string() == id).cloned() else {
        return not_found();
    };
    super::webhooks::redeliver(ctx.sandbox, ctx.state, &record);
    Ok(Reply::Json(202, json!({})))
}
