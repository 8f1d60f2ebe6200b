//! `POST /_sandbox/…`: arranging a world over HTTP, which real GitHub does not have. Bodies are JSON.
//!
//! - `users {login}` → `{id, token}`; `members {login, owner?}`; `members/remove {login}`; `users/rename {old, new}`
//! - `teams {slug, parent?}`; `teams/add {slug, login}`; `teams/remove {slug, login}`
//! - `queue {repository, number, login}`: merge when ready; `queue/run {repository, login}`: merges what is green
//! - `draft {repository, number, login, draft}`: a pull request is ready for review, or not yet
//! - `forks {repository, login, branch}`: takes a branch for one of a fork of theirs, and opens a pull request from it
//! - `keys {login, key}`; `clock {advance_seconds}`; `actions {repository, check_run, identifier, login}`: presses a button

use std::sync::Arc;

use chrono::TimeDelta;
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use super::Sandbox;
use super::route::{Answer, Ctx, Refusal, Reply, not_found, refuse};
use super::state::Holder;

pub(super) fn route(sandbox: &Arc<Sandbox>, rest: &[&str], body: &Value) -> Answer {
    let text = |name: &str| body.get(name).and_then(Value::as_str).map(str::to_owned);
    let needed = |name: &str| match text(name) {
        Some(text) => Ok(text),
        None => refuse::<String>(422, format!("{name} is missing")),
    };
    match rest {
        ["users"] => {
            let login = needed("login")?;
            let id = sandbox.add_user(&login)?;
            let token = sandbox.user_token(&login)?;
            return Ok(Reply::Json(201, json!({ "id": id, "token": token.expose_secret() })));
        }
        ["users", "rename"] => sandbox.rename_user(&needed("old")?, &needed("new")?)?,
        ["members"] => {
            sandbox.add_member(&needed("login")?, body.get("owner").and_then(Value::as_bool).unwrap_or(false))?;
        }
        ["members", "remove"] => sandbox.remove_member(&needed("login")?)?,
        ["teams"] => sandbox.add_team(&needed("slug")?, text("parent").as_deref())?,
        ["teams", "add"] => sandbox.add_to_team(&needed("slug")?, &needed("login")?)?,
        ["teams", "remove"] => sandbox.remove_from_team(&needed("slug")?, &needed("login")?)?,
        ["keys"] => sandbox.add_key(&needed("login")?, &needed("key")?)?,
        ["clock"] => {
            let seconds = body.get("advance_seconds").and_then(Value::as_i64).unwrap_or(0);
            sandbox.clock().advance(TimeDelta::try_seconds(seconds).unwrap_or_default());
        }
        ["actions"] => press(sandbox, body)?,
        ["queue"] => as_user(sandbox, &needed("login")?, |ctx| {
            let (repository, number) = (needed("repository")?, body.get("number").and_then(Value::as_u64));
            let git = ctx.sandbox.repository_git(&repository)?;
            super::queue::add(ctx, &repository, &git, number.unwrap_or(0))
        })?,
        ["draft"] => as_user(sandbox, &needed("login")?, |ctx| {
            let (repository, number) = (needed("repository")?, body.get("number").and_then(Value::as_u64));
            let git = ctx.sandbox.repository_git(&repository)?;
            let draft = body.get("draft").and_then(Value::as_bool).unwrap_or(false);
            super::pulls::set_draft(ctx, &repository, &git, number.unwrap_or(0), draft)
        })?,
        ["forks"] => as_user(sandbox, &needed("login")?, |ctx| {
            let (repository, branch) = (needed("repository")?, needed("branch")?);
            let git = ctx.sandbox.repository_git(&repository)?;
            super::pulls::create_from_fork(ctx, &repository, &git, &branch)
        })?,
        ["queue", "run"] => as_user(sandbox, &needed("login")?, |ctx| {
            let repository = needed("repository")?;
            let git = ctx.sandbox.repository_git(&repository)?;
            super::queue::run(ctx, &repository, &git)
        })?,
        _ => return not_found(),
    }
    Ok(Reply::Json(200, json!({ "now": super::json::time(sandbox.clock().now()) })))
}

fn press(sandbox: &Arc<Sandbox>, body: &Value) -> Result<(), Refusal> {
    let text = |name: &str| body.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let id = body.get("check_run").and_then(Value::as_u64).unwrap_or(0);
    let more = json!({ "requested_action": { "identifier": text("identifier") } });
    as_user(sandbox, &text("login"), |ctx| super::checks::event(ctx, &text("repository"), id, "requested_action", more))
}

/// Does something as a person would on the web site.
fn as_user(
    sandbox: &Arc<Sandbox>,
    login: &str,
    act: impl FnOnce(&mut Ctx<'_>) -> Result<(), Refusal>,
) -> Result<(), Refusal> {
    let mut state = sandbox.state();
    let Some(user) = state.user(login).map(|user| user.id) else { return not_found() };
    let mut ctx = Ctx {
        sandbox,
        state: &mut state,
        actor: Holder::User(user),
        query: Default::default(),
        body: Value::Null,
        accept: String::new(),
    };
    act(&mut ctx)
}
