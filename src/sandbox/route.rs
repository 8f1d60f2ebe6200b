//! The way of a request: who asks, what is asked, the answer with GitHub's headers, pages and ETags.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State as Shared;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::json::View;
use super::limit::Told;
use super::state::{Holder, Repository, State};
use super::{Disturbance, Sandbox};

/// The most that is read of a request: GitHub takes blobs of 100 MB as base64.
const LARGEST_REQUEST: usize = 140 << 20;
/// Requests an hour, as the headers tell where nothing is counted.
const LIMIT: u64 = 5_000;

/// What a handler answers.
pub(super) enum Reply {
    /// JSON.
    Json(u16, Value),
    /// A list, of which a page is shown.
    List(Vec<Value>),
    /// A page of a list that is read by cursors, and the cursor of the next one.
    Cursor(Vec<Value>, Option<String>),
    /// A list inside an object, with its length.
    Keyed(&'static str, Vec<Value>),
    /// Nothing.
    Empty(u16),
    /// Bytes.
    Raw(&'static str, Vec<u8>),
}

/// A refusal, as GitHub words it.
#[derive(Debug)]
pub(super) struct Refusal {
    pub status: u16,
    pub message: String,
    pub errors: Vec<Value>,
}

pub(super) type Answer = Result<Reply, Refusal>;

/// A refusal.
pub(super) fn refuse<T>(status: u16, message: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal { status, message: message.into(), errors: Vec::new() })
}

/// What does not exist, or may not be seen.
pub(super) fn not_found<T>() -> Result<T, Refusal> {
    refuse(404, "Not Found")
}

/// A field that is wrong.
pub(super) fn invalid<T>(resource: &str, field: &str, message: &str) -> Result<T, Refusal> {
    let error = json!({ "resource": resource, "field": field, "code": "custom", "message": message });
    Err(Refusal { status: 422, message: "Validation Failed".to_owned(), errors: vec![error] })
}

impl From<super::SandboxError> for Refusal {
    fn from(error: super::SandboxError) -> Self {
        Self { status: 500, message: error.to_string(), errors: Vec::new() }
    }
}

impl From<super::git::GitError> for Refusal {
    fn from(error: super::git::GitError) -> Self {
        Self { status: 422, message: error.to_string(), errors: Vec::new() }
    }
}

/// One request being answered, with the state in hand.
pub(super) struct Ctx<'a> {
    pub sandbox: &'a Arc<Sandbox>,
    pub state: &'a mut State,
    pub actor: Holder,
    pub query: BTreeMap<String, String>,
    pub body: Value,
    pub accept: String,
}

impl Ctx<'_> {
    pub fn view(&self) -> View<'_> {
        View { sandbox: self.sandbox, state: self.state }
    }

    pub fn now(&self) -> chrono::DateTime<chrono::Utc> {
        self.sandbox.clock().now()
    }

    /// The account that acts: the person's, or the app's bot.
    pub fn account(&self) -> u64 {
        match self.actor {
            Holder::User(id) => id,
            _ => self.state.app.bot,
        }
    }

    pub fn is_app(&self) -> bool {
        self.actor == Holder::Installation
    }

    /// Whether the actor belongs to the organisation, or is its app.
    pub fn is_inside(&self) -> bool {
        match self.actor {
            Holder::User(id) => self.state.organisation.members.contains(&id),
            Holder::Installation => true,
            Holder::Anonymous | Holder::App => false,
        }
    }

    pub fn is_owner(&self) -> bool {
        matches!(self.actor, Holder::User(id) if self.state.organisation.owners.contains(&id))
    }

    pub fn text(&self, field: &str) -> Option<String> {
        self.body.get(field).and_then(Value::as_str).map(str::to_owned)
    }

    pub fn required(&self, field: &str) -> Result<String, Refusal> {
        match self.text(field) {
            Some(text) => Ok(text),
            None => refuse(422, format!("Invalid request.\n\n\"{field}\" wasn't supplied.")),
        }
    }

    pub fn repository(&self, name: &str) -> Result<&Repository, Refusal> {
        self.state.repositories.get(name).map_or_else(not_found, Ok)
    }

    pub fn repository_mut(&mut self, name: &str) -> Result<&mut Repository, Refusal> {
        self.state.repositories.get_mut(name).map_or_else(not_found, Ok)
    }
}

/// Everything the embedded GitHub serves.
pub(super) fn router(sandbox: Arc<Sandbox>) -> axum::Router {
    let dated = axum::middleware::map_response_with_state(sandbox.clone(), date);
    axum::Router::new().fallback(serve).with_state(sandbox).layer(dated)
}

/// Dates an answer by the embedded GitHub's own clock, which may have been moved.
async fn date(Shared(sandbox): Shared<Arc<Sandbox>>, mut response: Response) -> Response {
    let now = sandbox.clock().now().format("%a, %d %b %Y %H:%M:%S GMT").to_string();
    if let Ok(now) = HeaderValue::from_str(&now) {
        response.headers_mut().insert(header::DATE, now);
    }
    response
}

async fn serve(Shared(sandbox): Shared<Arc<Sandbox>>, request: Request<Body>) -> Response {
    let path = request.uri().path().to_owned();
    if path.contains(".git/") {
        return super::smart_http::serve(&sandbox, request).await;
    }
    let (parts, body) = request.into_parts();
    let Ok(body) = http_body_util::Limited::new(body, LARGEST_REQUEST).collect().await else {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    };
    let body = body.to_bytes();
    let path = path.strip_prefix("/api/v3").unwrap_or(&path).to_owned();
    let disturbance =
        sandbox.faults.lock().ok().and_then(|fault| fault.clone()).and_then(|fault| fault(&parts.method, &path));
    if disturbance == Some(Disturbance::Stall { done: false }) {
        sandbox.resumed.notified().await;
    }
    let refused = match disturbance {
        Some(Disturbance::Refuse(status)) => Some((status, None)),
        Some(Disturbance::RateLimit(seconds)) => Some((403, Some(seconds))),
        _ => None,
    };
    if let Some((status, retry_after)) = refused {
        let mut response = error(status, "You have exceeded a secondary rate limit.", &[]);
        if let Some(seconds) = retry_after.and_then(|seconds| HeaderValue::from_str(&seconds.to_string()).ok()) {
            response.headers_mut().insert(header::RETRY_AFTER, seconds);
        }
        return response;
    }
    if let Some(page) = super::page::of(&sandbox, &path) {
        return page.into_response();
    }
    let query = pairs(parts.uri.query().unwrap_or_default());
    let json: Value = if body.is_empty() { Value::Null } else { serde_json::from_slice(&body).unwrap_or(Value::Null) };
    let is_app = matches!(actor(&sandbox, &mut sandbox.state(), &parts.headers), Ok(Holder::Installation));
    let told = sandbox.limit().as_mut().filter(|_| is_app).map(|limit| limit.told(sandbox.clock().now()));
    if told.is_some_and(|told| told.remaining == 0) {
        let mut response = error(403, "API rate limit exceeded for installation.", &[]);
        decorate(&sandbox, &mut response, told);
        return response;
    }
    let answer = answer(&sandbox, &parts.method, &path, &parts.headers, query.clone(), json.clone());
    if disturbance == Some(Disturbance::Stall { done: true }) {
        sandbox.resumed.notified().await;
    }
    if let Some(Disturbance::Pretend(status)) = disturbance {
        return error(status, "Server Error", &[]);
    }
    let page = Page::of(&sandbox, &path, &query);
    let exchange =
        super::webhooks::Exchange { method: parts.method.to_string(), path: path.clone(), query, request: json };
    let response = respond(answer, &page, exchange, &sandbox);
    let mut response = not_modified(&parts.method, &parts.headers, response).await;
    let told = sandbox.limit().as_mut().filter(|_| is_app).map(|limit| {
        if response.status() != StatusCode::NOT_MODIFIED {
            limit.count();
        }
        limit.told(sandbox.clock().now())
    });
    decorate(&sandbox, &mut response, told);
    response
}

fn pairs(query: &str) -> BTreeMap<String, String> {
    url::form_urlencoded::parse(query.as_bytes()).map(|(name, value)| (name.into_owned(), value.into_owned())).collect()
}

/// Which page of a list is asked for.
struct Page {
    base: String,
    number: usize,
    size: usize,
}

impl Page {
    fn of(sandbox: &Sandbox, path: &str, query: &BTreeMap<String, String>) -> Self {
        let number = |name: &str, default: usize| query.get(name).and_then(|text| text.parse().ok()).unwrap_or(default);
        let rest: Vec<(&String, &String)> =
            query.iter().filter(|(name, _)| !matches!(name.as_str(), "page" | "cursor")).collect();
        let rest = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(rest).finish();
        Self {
            base: format!("{}{path}?{rest}", sandbox.api_url()),
            number: number("page", 1).max(1),
            size: number("per_page", 30).clamp(1, 100),
        }
    }

    fn cut(&self, items: Vec<Value>) -> (Vec<Value>, Option<String>) {
        let last = items.len().div_ceil(self.size).max(1);
        let link = |page: usize, relation: &str| {
            format!("<{}&page={page}>; rel=\"{relation}\"", self.base.trim_end_matches('&'))
        };
        let mut links = Vec::new();
        if self.number > 1 {
            links.push(link(self.number - 1, "prev"));
            links.push(link(1, "first"));
        }
        if self.number < last {
            links.push(link(self.number + 1, "next"));
            links.push(link(last, "last"));
        }
        let shown = items.into_iter().skip((self.number - 1) * self.size).take(self.size).collect();
        (shown, (!links.is_empty()).then(|| links.join(", ")))
    }
}

fn respond(answer: Answer, page: &Page, exchange: super::webhooks::Exchange, sandbox: &Sandbox) -> Response {
    let (status, value, link) = match answer {
        Ok(Reply::Raw(kind, bytes)) => return ([(header::CONTENT_TYPE, kind)], bytes).into_response(),
        Ok(Reply::Empty(status)) => (status, None, None),
        Ok(Reply::Json(status, value)) => (status, Some(value), None),
        Ok(Reply::List(items)) => {
            let (shown, link) = page.cut(items);
            (200, Some(Value::Array(shown)), link)
        }
        Ok(Reply::Cursor(shown, next)) => {
            let base = page.base.trim_end_matches('&');
            let link = next.map(|cursor| format!("<{base}&cursor={cursor}>; rel=\"next\""));
            (200, Some(Value::Array(shown)), link)
        }
        Ok(Reply::Keyed(key, items)) => {
            let total = items.len();
            let (shown, link) = page.cut(items);
            (200, Some(json!({ "total_count": total, key: shown })), link)
        }
        Err(refusal) => {
            let mut value = json!({
                "message": refusal.message, "documentation_url": "https://docs.github.com/rest", "status": refusal.status.to_string(),
            });
            if !refusal.errors.is_empty() {
                value["errors"] = Value::Array(refusal.errors);
            }
            (refusal.status, Some(value), None)
        }
    };
    exchange.record(sandbox, status, value.as_ref());
    let mut response = match &value {
        Some(value) => axum::Json(value).into_response(),
        None => ().into_response(),
    };
    if value.is_some() {
        response
            .headers_mut()
            .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
    } else {
        response.headers_mut().remove(header::CONTENT_TYPE);
    }
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if let Some(link) = link.and_then(|link| HeaderValue::from_str(&link).ok()) {
        response.headers_mut().insert(header::LINK, link);
    }
    response
}

fn error(status: u16, message: &str, errors: &[Value]) -> Response {
    let mut response = axum::Json(json!({ "message": message, "errors": errors })).into_response();
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response
}

fn decorate(sandbox: &Sandbox, response: &mut Response, told: Option<Told>) {
    let now = sandbox.clock().now();
    let reset = now + chrono::TimeDelta::hours(1);
    let told = told.unwrap_or(Told { limit: LIMIT, remaining: LIMIT - 1, used: 1, reset });
    let id = hex::encode_upper(rand::random::<[u8; 8]>());
    let headers = [
        ("x-ratelimit-limit", told.limit.to_string()),
        ("x-ratelimit-remaining", told.remaining.to_string()),
        ("x-ratelimit-used", told.used.to_string()),
        ("x-ratelimit-reset", told.reset.timestamp().to_string()),
        ("x-ratelimit-resource", "core".to_owned()),
        ("x-github-request-id", id),
        ("x-github-media-type", "github.v3; format=json".to_owned()),
        ("date", now.format("%a, %d %b %Y %H:%M:%S GMT").to_string()),
    ];
    for (name, value) in headers {
        if let Ok(value) = HeaderValue::from_str(&value) {
            response.headers_mut().insert(name, value);
        }
    }
}

/// Adds the ETag of a successful GET, and answers 304 if the client has it already.
async fn not_modified(method: &Method, headers: &HeaderMap, response: Response) -> Response {
    if *method != Method::GET || response.status() != StatusCode::OK {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let Ok(body) = body.collect().await else { return StatusCode::INTERNAL_SERVER_ERROR.into_response() };
    let body = body.to_bytes();
    let mut hash = Sha256::new();
    hash.update(&body);
    hash.update(parts.headers.get(header::LINK).map(HeaderValue::as_bytes).unwrap_or_default());
    let etag = format!("W/\"{}\"", hex::encode(hash.finalize()));
    let known = headers.get(header::IF_NONE_MATCH).and_then(|etag| etag.to_str().ok());
    let same = known == Some(etag.as_str());
    if let Ok(etag) = HeaderValue::from_str(&etag) {
        parts.headers.insert(header::ETAG, etag);
    }
    if same {
        parts.status = StatusCode::NOT_MODIFIED;
        parts.headers.remove(header::CONTENT_LENGTH);
        return Response::from_parts(parts, Body::empty());
    }
    Response::from_parts(parts, Body::from(body))
}

fn answer(
    sandbox: &Arc<Sandbox>,
    method: &Method,
    path: &str,
    headers: &HeaderMap,
    query: BTreeMap<String, String>,
    body: Value,
) -> Answer {
    let segments: Vec<String> = path
        .trim_matches('/')
        .split('/')
        .map(|segment| percent_encoding::percent_decode_str(segment).decode_utf8_lossy().into_owned())
        .collect();
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    if let ["_sandbox", rest @ ..] = segments.as_slice() {
        return super::admin::route(sandbox, rest, &body);
    }
    let mut state = sandbox.state();
    let actor = actor(sandbox, &mut state, headers)?;
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default().to_owned();
    let mut ctx = Ctx { sandbox, state: &mut state, actor, query, body, accept };
    let method = method.as_str();
    let answer = match segments.as_slice() {
        ["app" | "installation", ..] => super::app::route(&mut ctx, method, &segments),
        ["user" | "users" | "orgs" | "organizations", ..] => super::people::route(&mut ctx, method, &segments),
        ["repos", owner, name, rest @ ..] => in_repository(&mut ctx, method, owner, name, rest),
        ["rate_limit"] => Some(Ok(Reply::Json(
            200,
            json!({ "resources": { "core": { "limit": 5000, "remaining": 4999, "reset": 0, "used": 1 } } }),
        ))),
        ["meta"] => Some(Ok(Reply::Json(200, json!({ "verifiable_password_authentication": false })))),
        _ => None,
    };
    let answer = answer.unwrap_or_else(not_found);
    if method != "GET" {
        sandbox.keep(&state)?;
    }
    answer
}

fn in_repository(ctx: &mut Ctx<'_>, method: &str, owner: &str, name: &str, rest: &[&str]) -> Option<Answer> {
    let known = owner.eq_ignore_ascii_case(&ctx.state.organisation.login);
    let name = ctx.state.repositories.keys().find(|known| known.eq_ignore_ascii_case(name)).cloned();
    let (true, Some(name)) = (known, name) else { return None };
    if rest == ["installation"] {
        return Some(super::app::installation(ctx));
    }
    if !ctx.is_inside() {
        return None;
    }
    super::contents::route(ctx, method, &name, rest)
        .or_else(|| super::pulls::route(ctx, method, &name, rest))
        .or_else(|| super::checks::route(ctx, method, &name, rest))
        .or_else(|| super::issues::route(ctx, method, &name, rest))
}

/// Who asks, by the `Authorization` header.
pub(super) fn actor(sandbox: &Sandbox, state: &mut State, headers: &HeaderMap) -> Result<Holder, Refusal> {
    let Some(value) = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()) else {
        return Ok(Holder::Anonymous);
    };
    let (scheme, rest) = value.split_once(' ').unwrap_or((value, ""));
    let token = match scheme.to_ascii_lowercase().as_str() {
        "bearer" | "token" => rest.trim().to_owned(),
        "basic" => {
            let decoded =
                STANDARD.decode(rest.trim()).ok().and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default();
            decoded.split_once(':').map(|(_, password)| password.to_owned()).unwrap_or_default()
        }
        _ => String::new(),
    };
    let now = sandbox.clock().now();
    if token.matches('.').count() == 2 {
        return super::app::check_jwt(sandbox, state, &token, now);
    }
    match state.tokens.get(&token) {
        Some(found) if found.expires_at.is_none_or(|expires_at| expires_at > now) => Ok(found.holder),
        _ => refuse(401, "Bad credentials"),
    }
}
