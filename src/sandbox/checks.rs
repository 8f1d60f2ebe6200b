//! Check runs. Only apps write them.

use serde_json::{Value, json};

use super::route::{Answer, Ctx, Refusal, Reply, invalid, not_found, refuse};
use super::state::Check;

/// Annotations a call may carry.
const ANNOTATIONS: usize = 50;
/// Buttons a check run may have, and the characters of their label, description and identifier.
const ACTIONS: (usize, usize, usize, usize) = (3, 20, 40, 20);
/// Characters summary and text may have.
const LONGEST: usize = 65_535;

pub(super) fn route(ctx: &mut Ctx<'_>, method: &str, repository: &str, rest: &[&str]) -> Option<Answer> {
    let writes = method != "GET";
    if writes && matches!(rest, ["check-runs", ..]) && !ctx.is_app() {
        return Some(refuse(403, "You must authenticate via a GitHub App."));
    }
    Some(match (method, rest) {
        ("POST", ["check-runs"]) => create(ctx, repository),
        ("PATCH", ["check-runs", id]) => update(ctx, repository, id.parse().ok()?),
        ("GET", ["check-runs", id]) => show(ctx, repository, id.parse().ok()?, 200),
        ("GET", ["check-runs", id, "annotations"]) => annotations(ctx, repository, id.parse().ok()?),
        ("POST", ["check-runs", id, "rerequest"]) => rerequest(ctx, repository, id.parse().ok()?),
        ("GET", ["commits", commit, "check-runs"]) => of_commit(ctx, repository, commit),
        _ => return None,
    })
}

fn create(ctx: &mut Ctx<'_>, repository: &str) -> Answer {
    let (name, head) = (ctx.required("name")?, ctx.required("head_sha")?);
    let git = ctx.sandbox.repository_git(repository)?;
    if super::git::id(&head).and_then(|id| git.kind(id)) != Some(gix::objs::Kind::Commit) {
        return refuse(422, format!("No commit found for SHA: {head}"));
    }
    let (id, now) = (ctx.state.id(), ctx.now());
    let mut check = Check {
        id,
        name,
        head,
        status: "queued".to_owned(),
        conclusion: None,
        external_id: String::new(),
        details_url: None,
        title: None,
        summary: None,
        text: None,
        annotations: Vec::new(),
        actions: Vec::new(),
        started_at: now,
        completed_at: None,
        foreign: false,
    };
    apply(ctx, &mut check)?;
    ctx.repository_mut(repository)?.checks.insert(id, check);
    event(ctx, repository, id, "created", json!({}))?;
    show(ctx, repository, id, 201)
}

fn update(ctx: &mut Ctx<'_>, repository: &str, id: u64) -> Answer {
    let Some(mut check) = ctx.repository(repository)?.checks.get(&id).cloned() else { return not_found() };
    if check.foreign {
        return refuse(403, "Invalid app_id `2` - check run can only be modified by the GitHub App that created it.");
    }
    let before = check.status.clone();
    apply(ctx, &mut check)?;
    let completed = before != "completed" && check.status == "completed";
    ctx.repository_mut(repository)?.checks.insert(id, check);
    if completed {
        event(ctx, repository, id, "completed", json!({}))?;
    }
    show(ctx, repository, id, 200)
}

/// What a call says of a check run, put into it.
fn apply(ctx: &Ctx<'_>, check: &mut Check) -> Result<(), Refusal> {
    const STATUSES: [&str; 3] = ["queued", "in_progress", "completed"];
    const CONCLUSIONS: [&str; 7] =
        ["action_required", "cancelled", "failure", "neutral", "success", "skipped", "timed_out"];
    if let Some(name) = ctx.text("name") {
        check.name = name;
    }
    if let Some(status) = ctx.text("status") {
        if !STATUSES.contains(&status.as_str()) {
            return invalid("CheckRun", "status", "status is not included in the list");
        }
        check.status = status;
        if check.status != "completed" {
            (check.conclusion, check.completed_at) = (None, None);
        }
    }
    if let Some(conclusion) = ctx.text("conclusion") {
        if !CONCLUSIONS.contains(&conclusion.as_str()) {
            return invalid("CheckRun", "conclusion", "conclusion is not included in the list");
        }
        (check.status, check.conclusion) = ("completed".to_owned(), Some(conclusion));
        check.completed_at = Some(ctx.now());
    } else if check.status == "completed" && check.conclusion.is_none() {
        return invalid("CheckRun", "conclusion", "conclusion is missing");
    }
    check.external_id = ctx.text("external_id").unwrap_or(std::mem::take(&mut check.external_id));
    check.details_url = ctx.text("details_url").or(check.details_url.take());
    if let Some(output) = ctx.body.get("output").filter(|output| output.is_object()) {
        let text = |name: &str| output.get(name).and_then(Value::as_str).map(str::to_owned);
        if text("title").is_none() || text("summary").is_none() {
            return refuse(422, "Invalid request.\n\n\"title\", \"summary\" weren't supplied.");
        }
        for name in ["summary", "text"] {
            if text(name).is_some_and(|text| text.chars().count() > LONGEST) {
                return invalid("CheckRun", name, "Only 65535 characters are allowed");
            }
        }
        let new = output.get("annotations").and_then(Value::as_array).cloned().unwrap_or_default();
        if new.len() > ANNOTATIONS {
            return refuse(
                422,
                format!(
                    "Invalid request.\n\nNo more than {ANNOTATIONS} items are allowed; {} were supplied.",
                    new.len()
                ),
            );
        }
        for annotation in &new {
            let needed = ["path", "start_line", "end_line", "annotation_level", "message"];
            if needed.iter().any(|name| annotation.get(name).is_none_or(Value::is_null)) {
                return invalid("CheckRun", "annotations", "an annotation lacks a required field");
            }
            if annotation.get("start_column").is_some() && annotation["start_line"] != annotation["end_line"] {
                return invalid("CheckRun", "annotations", "start_column is only allowed on a single line");
            }
        }
        (check.title, check.summary, check.text) = (text("title"), text("summary"), text("text"));
        check.annotations.extend(new);
    }
    if let Some(actions) = ctx.body.get("actions").and_then(Value::as_array) {
        let long = |action: &Value, field: &str, limit: usize| {
            action.get(field).and_then(Value::as_str).is_none_or(|text| text.chars().count() > limit)
        };
        let bad = |action: &Value| {
            long(action, "label", ACTIONS.1)
                || long(action, "description", ACTIONS.2)
                || long(action, "identifier", ACTIONS.3)
        };
        if actions.len() > ACTIONS.0 || actions.iter().any(bad) {
            return invalid("CheckRun", "actions", "too many actions, or texts that are too long");
        }
        check.actions.clone_from(actions);
    }
    Ok(())
}

/// Tells the app about one of its check runs.
pub(super) fn event(ctx: &mut Ctx<'_>, repository: &str, id: u64, action: &str, more: Value) -> Result<(), Refusal> {
    let known = ctx.repository(repository)?;
    let Some(check) = known.checks.get(&id) else { return not_found() };
    let mut payload = json!({ "check_run": ctx.view().check(known, check) });
    payload["check_run"]["check_suite"] = ctx.view().check_suite(known, check);
    if let (Value::Object(payload), Value::Object(more)) = (&mut payload, more) {
        payload.extend(more);
    }
    let actor = ctx.account();
    super::webhooks::send(ctx.sandbox, ctx.state, "check_run", Some(action), Some(repository), actor, payload);
    Ok(())
}

fn show(ctx: &Ctx<'_>, repository: &str, id: u64, status: u16) -> Answer {
    let known = ctx.repository(repository)?;
    match known.checks.get(&id) {
        Some(check) => Ok(Reply::Json(status, ctx.view().check(known, check))),
        None => not_found(),
    }
}

fn annotations(ctx: &Ctx<'_>, repository: &str, id: u64) -> Answer {
    let Some(check) = ctx.repository(repository)?.checks.get(&id) else { return not_found() };
    let full = |annotation: &Value| {
        let mut value =
            json!({ "blob_href": "", "start_column": null, "end_column": null, "title": null, "raw_details": null });
        if let (Value::Object(value), Value::Object(annotation)) = (&mut value, annotation.clone()) {
            value.extend(annotation);
        }
        value
    };
    Ok(Reply::List(check.annotations.iter().map(full).collect()))
}

fn rerequest(ctx: &mut Ctx<'_>, repository: &str, id: u64) -> Answer {
    event(ctx, repository, id, "rerequested", json!({}))?;
    Ok(Reply::Json(201, json!({})))
}

/// The latest run of each app and name on a commit.
fn of_commit(ctx: &Ctx<'_>, repository: &str, commit: &str) -> Answer {
    let git = ctx.sandbox.repository_git(repository)?;
    let known = ctx.repository(repository)?;
    let commit = super::contents::resolve(&git, commit).map_or_else(|| commit.to_owned(), |id| id.to_string());
    let name = ctx.query.get("check_name");
    let mut latest = std::collections::BTreeMap::new();
    for check in
        known.checks.values().filter(|check| check.head == commit && name.is_none_or(|name| check.name == *name))
    {
        latest.insert((check.foreign, check.name.clone()), check);
    }
    Ok(Reply::Keyed("check_runs", latest.into_values().map(|check| ctx.view().check(known, check)).collect()))
}
