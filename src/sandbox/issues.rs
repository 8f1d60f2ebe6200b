//! Issues, comments, labels.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::route::{Answer, Ctx, Refusal, Reply, invalid, not_found, refuse};
use super::state::{Comment, Issue, IssueEvent, Reaction};

/// Characters a comment or description may have.
const LONGEST: usize = 65_536;
/// <https://docs.github.com/en/rest/reactions/reactions#about-reactions>
const REACTIONS: [&str; 8] = ["+1", "-1", "laugh", "confused", "heart", "hooray", "rocket", "eyes"];

pub(super) fn route(ctx: &mut Ctx<'_>, method: &str, repository: &str, rest: &[&str]) -> Option<Answer> {
    let number = |text: &&str| text.parse::<u64>().ok();
    Some(match (method, rest) {
        ("GET", ["issues"]) => {
            let wanted = ctx.query.get("state").map_or("open", String::as_str).to_owned();
            let known = ctx.state.repositories.get(repository)?;
            let creator = ctx.query.get("creator").map(|login| ctx.state.user(login).map(|user| user.id));
            let since = ctx.query.get("since").and_then(|since| since.parse::<chrono::DateTime<chrono::Utc>>().ok());
            let issues = known.issues.values().rev().filter(|issue| {
                (wanted == "all" || issue.open == (wanted == "open"))
                    && creator.is_none_or(|creator| creator == Some(issue.author))
                    && since.is_none_or(|since| issue.updated_at >= since)
            });
            Ok(Reply::List(issues.map(|issue| ctx.view().issue(known, issue)).collect()))
        }
        ("POST", ["issues"]) => create(ctx, repository),
        ("GET", ["issues", "comments"]) => all_comments(ctx, repository),
        ("GET", ["issues", id]) => show(ctx, repository, number(id)?),
        ("PATCH", ["issues", id]) => update(ctx, repository, number(id)?),
        ("GET", ["issues", id, "comments"]) => comments(ctx, repository, number(id)?),
        ("POST", ["issues", id, "comments"]) => comment(ctx, repository, number(id)?),
        ("GET", ["issues", id, "events"]) => events(ctx, repository, number(id)?),
        ("GET", ["issues", "comments", id]) => one_comment(ctx, repository, number(id)?),
        ("GET", ["issues", "comments", id, "reactions"]) => reactions(ctx, repository, number(id)?),
        ("POST", ["issues", "comments", id, "reactions"]) => react(ctx, repository, number(id)?),
        ("PATCH", ["issues", "comments", id]) => edit_comment(ctx, repository, number(id)?),
        ("DELETE", ["issues", "comments", id]) => delete_comment(ctx, repository, number(id)?),
        ("GET", ["labels"]) => {
            let known = ctx.state.repositories.get(repository)?;
            Ok(Reply::List(known.labels.keys().map(|name| ctx.view().label(known, name)).collect()))
        }
        ("POST", ["labels"]) => create_label(ctx, repository),
        ("GET", ["issues", id, "labels"]) => labels(ctx, repository, number(id)?),
        ("POST" | "PUT", ["issues", id, "labels"]) => add_labels(ctx, repository, number(id)?, method == "PUT"),
        ("DELETE", ["issues", id, "labels", name]) => remove_label(ctx, repository, number(id)?, name),
        _ => return None,
    })
}

fn bounded(text: Option<String>) -> Result<Option<String>, Refusal> {
    match text {
        Some(text) if text.chars().count() > LONGEST => {
            invalid("IssueComment", "body", "body is too long (maximum is 65536 characters)")
        }
        text => Ok(text),
    }
}

/// Makes the issue that an issue or a pull request is.
pub(super) fn make(ctx: &mut Ctx<'_>, repository: &str, title: String, body: Option<String>) -> Result<u64, Refusal> {
    let body = bounded(body)?;
    if title.trim().is_empty() {
        return invalid("Issue", "title", "title can't be blank");
    }
    let (id, now, author) = (ctx.state.id(), ctx.now(), ctx.account());
    let known = ctx.repository_mut(repository)?;
    known.next_number += 1;
    let number = known.next_number;
    let issue = Issue {
        id,
        number,
        title,
        body,
        author,
        open: true,
        labels: BTreeSet::new(),
        created_at: now,
        updated_at: now,
        closed_at: None,
        events: Vec::new(),
    };
    known.issues.insert(number, issue);
    Ok(number)
}

fn create(ctx: &mut Ctx<'_>, repository: &str) -> Answer {
    let (title, body) = (ctx.required("title")?, ctx.text("body"));
    let number = make(ctx, repository, title, body)?;
    let labels = names(ctx.body.get("labels"));
    set_labels(ctx, repository, number, &labels, false)?;
    event(ctx, repository, number, "opened")?;
    let known = ctx.repository(repository)?;
    let issue = known.issues.get(&number).map(|issue| ctx.view().issue(known, issue));
    Ok(Reply::Json(201, issue.unwrap_or(Value::Null)))
}

fn event(ctx: &mut Ctx<'_>, repository: &str, number: u64, action: &str) -> Result<(), Refusal> {
    let known = ctx.repository(repository)?;
    let Some(issue) = known.issues.get(&number) else { return Ok(()) };
    let issue = ctx.view().issue(known, issue);
    let actor = ctx.account();
    super::webhooks::send(
        ctx.sandbox,
        ctx.state,
        "issues",
        Some(action),
        Some(repository),
        actor,
        json!({ "issue": issue }),
    );
    Ok(())
}

fn show(ctx: &Ctx<'_>, repository: &str, number: u64) -> Answer {
    let known = ctx.repository(repository)?;
    match known.issues.get(&number) {
        Some(issue) => Ok(Reply::Json(200, ctx.view().issue(known, issue))),
        None => not_found(),
    }
}

fn update(ctx: &mut Ctx<'_>, repository: &str, number: u64) -> Answer {
    let (title, body, state, now) = (ctx.text("title"), bounded(ctx.text("body"))?, ctx.text("state"), ctx.now());
    let Some(issue) = ctx.repository_mut(repository)?.issues.get_mut(&number) else { return not_found() };
    issue.title = title.unwrap_or(std::mem::take(&mut issue.title));
    issue.body = body.or(issue.body.take());
    issue.updated_at = now;
    let open = state.map_or(issue.open, |state| state == "open");
    let changed = open != issue.open;
    issue.open = open;
    issue.closed_at = (!open).then_some(now);
    if changed {
        happened(ctx, repository, number, if open { "reopened" } else { "closed" })?;
        event(ctx, repository, number, if open { "reopened" } else { "closed" })?;
    }
    show(ctx, repository, number)
}

/// Notes what happened to an issue or a pull request, for its list of events.
pub(super) fn happened(ctx: &mut Ctx<'_>, repository: &str, number: u64, event: &str) -> Result<(), Refusal> {
    let (id, actor, created_at) = (ctx.state.id(), ctx.account(), ctx.now());
    if let Some(issue) = ctx.repository_mut(repository)?.issues.get_mut(&number) {
        issue.events.push(IssueEvent { id, actor, event: event.to_owned(), created_at, dismissed: None });
    }
    Ok(())
}

/// Notes that a review was dismissed.
pub(super) fn dismissed(
    ctx: &mut Ctx<'_>,
    repository: &str,
    number: u64,
    (review, said): (u64, String),
) -> Result<(), Refusal> {
    happened(ctx, repository, number, "review_dismissed")?;
    if let Some(issue) = ctx.repository_mut(repository)?.issues.get_mut(&number)
        && let Some(last) = issue.events.last_mut()
    {
        last.dismissed = Some((review, said.to_ascii_lowercase()));
    }
    Ok(())
}

fn events(ctx: &Ctx<'_>, repository: &str, number: u64) -> Answer {
    let known = ctx.repository(repository)?;
    let Some(issue) = known.issues.get(&number) else { return not_found() };
    Ok(Reply::List(issue.events.iter().map(|event| ctx.view().issue_event(known, event)).collect()))
}

/// The comments of all issues and pull requests, by when they were changed if that is asked for.
fn all_comments(ctx: &Ctx<'_>, repository: &str) -> Answer {
    let known = ctx.repository(repository)?;
    let since = ctx.query.get("since").and_then(|since| since.parse::<chrono::DateTime<chrono::Utc>>().ok());
    let mut comments: Vec<&Comment> =
        known.comments.values().filter(|comment| since.is_none_or(|since| comment.updated_at >= since)).collect();
    if ctx.query.get("sort").is_some_and(|sort| sort == "updated") {
        comments.sort_by_key(|comment| comment.updated_at);
    }
    if ctx.query.get("direction").is_some_and(|direction| direction == "desc") {
        comments.reverse();
    }
    Ok(Reply::List(comments.into_iter().map(|comment| ctx.view().comment(known, comment)).collect()))
}

fn reactions(ctx: &Ctx<'_>, repository: &str, id: u64) -> Answer {
    let Some(comment) = ctx.repository(repository)?.comments.get(&id) else { return not_found() };
    Ok(Reply::List(comment.reactions.iter().map(|reaction| ctx.view().reaction(reaction)).collect()))
}

/// Nobody reacts twice in the same way: the second time, the first is answered.
fn react(ctx: &mut Ctx<'_>, repository: &str, id: u64) -> Answer {
    let content = ctx.required("content")?;
    if !REACTIONS.contains(&content.as_str()) {
        return invalid("Reaction", "content", "content is not included in the list");
    }
    let (reaction, author, created_at) = (ctx.state.id(), ctx.account(), ctx.now());
    let Some(comment) = ctx.repository_mut(repository)?.comments.get_mut(&id) else { return not_found() };
    let standing = comment.reactions.iter().find(|known| known.author == author && known.content == content);
    if let Some(standing) = standing.cloned() {
        return Ok(Reply::Json(200, ctx.view().reaction(&standing)));
    }
    let made = Reaction { id: reaction, author, content, created_at };
    comment.reactions.push(made.clone());
    Ok(Reply::Json(201, ctx.view().reaction(&made)))
}

fn comments(ctx: &Ctx<'_>, repository: &str, number: u64) -> Answer {
    let known = ctx.repository(repository)?;
    if !known.issues.contains_key(&number) {
        return not_found();
    }
    let comments = known.comments.values().filter(|comment| comment.issue == number);
    Ok(Reply::List(comments.map(|comment| ctx.view().comment(known, comment)).collect()))
}

fn comment(ctx: &mut Ctx<'_>, repository: &str, number: u64) -> Answer {
    let body = bounded(Some(ctx.required("body")?))?.unwrap_or_default();
    if body.trim().is_empty() {
        return invalid("IssueComment", "body", "body can't be blank");
    }
    if !ctx.repository(repository)?.issues.contains_key(&number) {
        return not_found();
    }
    let (id, now, author, by_app) = (ctx.state.id(), ctx.now(), ctx.account(), ctx.is_app());
    let made =
        Comment { id, issue: number, author, by_app, body, created_at: now, updated_at: now, reactions: Vec::new() };
    ctx.repository_mut(repository)?.comments.insert(id, made);
    comment_event(ctx, repository, id, "created")?;
    reply_comment(ctx, repository, id, 201)
}

fn comment_event(ctx: &mut Ctx<'_>, repository: &str, id: u64, action: &str) -> Result<(), Refusal> {
    let known = ctx.repository(repository)?;
    let Some(comment) = known.comments.get(&id) else { return Ok(()) };
    let Some(issue) = known.issues.get(&comment.issue) else { return Ok(()) };
    let mut payload = json!({ "issue": ctx.view().issue(known, issue), "comment": ctx.view().comment(known, comment) });
    if action == "edited" {
        payload["changes"] = json!({ "body": { "from": "" } });
    }
    let actor = ctx.account();
    super::webhooks::send(ctx.sandbox, ctx.state, "issue_comment", Some(action), Some(repository), actor, payload);
    Ok(())
}

fn reply_comment(ctx: &Ctx<'_>, repository: &str, id: u64, status: u16) -> Answer {
    let known = ctx.repository(repository)?;
    match known.comments.get(&id) {
        Some(comment) => Ok(Reply::Json(status, ctx.view().comment(known, comment))),
        None => not_found(),
    }
}

fn one_comment(ctx: &Ctx<'_>, repository: &str, id: u64) -> Answer {
    reply_comment(ctx, repository, id, 200)
}

fn edit_comment(ctx: &mut Ctx<'_>, repository: &str, id: u64) -> Answer {
    let body = bounded(Some(ctx.required("body")?))?.unwrap_or_default();
    let now = ctx.now();
    // Whoever may write to the repository, which all members may here, may change the comments of others:
    // https://docs.github.com/en/communities/moderating-comments-and-conversations/managing-disruptive-comments
    let Some(comment) = ctx.repository_mut(repository)?.comments.get_mut(&id) else { return not_found() };
    (comment.body, comment.updated_at) = (body, now);
    comment_event(ctx, repository, id, "edited")?;
    reply_comment(ctx, repository, id, 200)
}

fn delete_comment(ctx: &mut Ctx<'_>, repository: &str, id: u64) -> Answer {
    if !ctx.repository(repository)?.comments.contains_key(&id) {
        return not_found();
    }
    comment_event(ctx, repository, id, "deleted")?;
    ctx.repository_mut(repository)?.comments.remove(&id);
    Ok(Reply::Empty(204))
}

fn names(value: Option<&Value>) -> Vec<String> {
    let items = value.and_then(Value::as_array).cloned().unwrap_or_default();
    items
        .iter()
        .filter_map(|item| item.as_str().or_else(|| item.get("name").and_then(Value::as_str)).map(str::to_owned))
        .collect()
}

fn create_label(ctx: &mut Ctx<'_>, repository: &str) -> Answer {
    let (name, id) = (ctx.required("name")?, ctx.state.id());
    let known = ctx.repository_mut(repository)?;
    if known.labels.contains_key(&name) {
        return invalid("Label", "name", "already_exists");
    }
    known.labels.insert(name.clone(), id);
    let known = ctx.repository(repository)?;
    Ok(Reply::Json(201, ctx.view().label(known, &name)))
}

fn labels(ctx: &Ctx<'_>, repository: &str, number: u64) -> Answer {
    let known = ctx.repository(repository)?;
    match known.issues.get(&number) {
        Some(issue) => Ok(Reply::List(issue.labels.iter().map(|name| ctx.view().label(known, name)).collect())),
        None => not_found(),
    }
}

fn set_labels(
    ctx: &mut Ctx<'_>,
    repository: &str,
    number: u64,
    labels: &[String],
    replace: bool,
) -> Result<(), Refusal> {
    for name in labels {
        let id = ctx.state.id();
        ctx.repository_mut(repository)?.labels.entry(name.clone()).or_insert(id);
    }
    if let Some(issue) = ctx.repository_mut(repository)?.issues.get_mut(&number) {
        if replace {
            issue.labels.clear();
        }
        issue.labels.extend(labels.iter().cloned());
    }
    Ok(())
}

fn add_labels(ctx: &mut Ctx<'_>, repository: &str, number: u64, replace: bool) -> Answer {
    let wanted = names(ctx.body.get("labels").or(ctx.body.as_array().map(|_| &ctx.body)));
    set_labels(ctx, repository, number, &wanted, replace)?;
    labels(ctx, repository, number)
}

fn remove_label(ctx: &mut Ctx<'_>, repository: &str, number: u64, name: &str) -> Answer {
    let Some(issue) = ctx.repository_mut(repository)?.issues.get_mut(&number) else { return not_found() };
    if !issue.labels.remove(name) {
        return refuse(404, "Label does not exist");
    }
    labels(ctx, repository, number)
}
