//! Clone and push with git's own protocol: system git's `http-backend`, behind our tokens and the branch rule.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::sync::Arc;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use gix::ObjectId;
use http::{HeaderValue, Request, StatusCode, header};
use http_body_util::BodyExt;
use tokio::io::AsyncWriteExt;

use super::Sandbox;
use super::git::Git;
use super::route::{Ctx, actor};
use super::state::Holder;

pub(super) async fn serve(sandbox: &Arc<Sandbox>, request: Request<Body>) -> Response {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path().trim_start_matches('/').to_owned();
    let mut segments = path.splitn(3, '/');
    let (Some(_), Some(name), Some(rest)) = (segments.next(), segments.next(), segments.next()) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    // The smart protocol alone; files of the repository are nobody's business.
    if !matches!(rest, "info/refs" | "git-upload-pack" | "git-receive-pack") {
        return StatusCode::NOT_FOUND.into_response();
    }
    let name = name.trim_end_matches(".git").to_owned();
    let query = parts.uri.query().unwrap_or_default().to_owned();
    let hidden = {
        let mut state = sandbox.state();
        let holder = match actor(sandbox, &mut state, &parts.headers) {
            Ok(holder) if holder != Holder::Anonymous => holder,
            _ => return unauthorized(),
        };
        let Some(default) = state.repositories.get(&name).map(|known| known.default_branch.clone()) else {
            return StatusCode::NOT_FOUND.into_response();
        };
        let ctx = context(sandbox, &mut state, holder);
        if !ctx.is_inside() {
            return StatusCode::NOT_FOUND.into_response();
        }
        // A ref that may not be pushed to is hidden from pushes; git then refuses it in its own words.
        (!super::pulls::push_allowed(&ctx, &name, &default)).then(|| format!("refs/heads/{default}"))
    };
    let Ok(git) = sandbox.repository_git(&name) else { return StatusCode::NOT_FOUND.into_response() };
    let Ok(body) = body.collect().await else { return StatusCode::BAD_REQUEST.into_response() };
    let before = git.references("refs/heads/");
    let header = |name: header::HeaderName| {
        parts.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
    };
    let mut command = tokio::process::Command::new("git");
    command
        .args(["-c", "safe.directory=*", "http-backend"])
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("GIT_PROJECT_ROOT", git.path())
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("PATH_INFO", format!("/{rest}"))
        .env("QUERY_STRING", query)
        .env("REQUEST_METHOD", parts.method.as_str())
        .env("CONTENT_TYPE", header(header::CONTENT_TYPE))
        .env("HTTP_CONTENT_ENCODING", header(header::CONTENT_ENCODING))
        .env("REMOTE_USER", "sandbox")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    if let Some(version) = parts.headers.get("git-protocol").and_then(|value| value.to_str().ok()) {
        command.env("GIT_PROTOCOL", version);
    }
    if let Some(hidden) = hidden {
        command
            .env("GIT_CONFIG_COUNT", "1")
            .env("GIT_CONFIG_KEY_0", "receive.hideRefs")
            .env("GIT_CONFIG_VALUE_0", hidden);
    }
    let Ok(mut child) = command.spawn() else { return StatusCode::INTERNAL_SERVER_ERROR.into_response() };
    if let Some(mut stdin) = child.stdin.take() {
        let bytes = body.to_bytes();
        tokio::spawn(async move {
            let _ = stdin.write_all(&bytes).await;
        });
    }
    let Ok(output) = child.wait_with_output().await else { return StatusCode::INTERNAL_SERVER_ERROR.into_response() };
    if rest.ends_with("git-receive-pack") {
        announce(sandbox, &name, &git, &before, &parts.headers);
    }
    respond(&output.stdout)
}

fn context<'a>(sandbox: &'a Arc<Sandbox>, state: &'a mut super::state::State, actor: Holder) -> Ctx<'a> {
    let (query, body) = (BTreeMap::new(), serde_json::Value::Null);
    Ctx { sandbox, state, actor, query, body, accept: String::new() }
}

/// Webhooks and pull requests, for every branch a push moved.
fn announce(
    sandbox: &Arc<Sandbox>,
    name: &str,
    git: &Arc<Git>,
    before: &BTreeMap<String, ObjectId>,
    headers: &http::HeaderMap,
) {
    let after = git.references("refs/heads/");
    let mut state = sandbox.state();
    let Ok(holder) = actor(sandbox, &mut state, headers) else { return };
    let names: std::collections::BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let mut ctx = context(sandbox, &mut state, holder);
    for reference in names {
        let (old, new) = (before.get(reference).copied(), after.get(reference).copied());
        if old != new {
            let branch = reference.trim_start_matches("refs/heads/");
            if let Err(error) = super::pulls::after_push(&mut ctx, name, git, branch, old, new) {
                tracing::warn!(branch, ?error, "a push could not be announced");
            }
        }
    }
    if let Err(error) = sandbox.keep(&state) {
        tracing::error!(%error, "the embedded GitHub cannot keep its state");
    }
}

fn unauthorized() -> Response {
    let mut response = StatusCode::UNAUTHORIZED.into_response();
    response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"GitHub\""));
    response
}

/// Turns CGI output into a response.
fn respond(output: &[u8]) -> Response {
    let split = output.windows(4).position(|window| window == b"\r\n\r\n");
    let Some(split) = split else { return StatusCode::INTERNAL_SERVER_ERROR.into_response() };
    let (head, body) = output.split_at(split);
    let mut response = Response::new(Body::from(body.get(4..).unwrap_or_default().to_vec()));
    for line in String::from_utf8_lossy(head).lines() {
        let Some((name, value)) = line.split_once(':') else { continue };
        let value = value.trim();
        if name.eq_ignore_ascii_case("status") {
            let code = value
                .split(' ')
                .next()
                .and_then(|code| code.parse().ok())
                .and_then(|code| StatusCode::from_u16(code).ok());
            *response.status_mut() = code.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        } else if let (Ok(name), Ok(value)) =
            (header::HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(value))
        {
            response.headers_mut().insert(name, value);
        }
    }
    response
}
