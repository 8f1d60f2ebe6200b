//! Pull requests: their life, reviews, merging, and what a push does to them.

use std::collections::BTreeSet;
use std::sync::Arc;

use gix::ObjectId;
use serde_json::{Value, json};

use super::contents::{may_push, resolve, signature, web_flow};
use super::git::{self, Commit, FileChange, Git};
use super::route::{Answer, Ctx, Refusal, Reply, invalid, not_found, refuse};
use super::state::{Check, Merged, Pull, Repository, Review, State};

pub(super) fn route(ctx: &mut Ctx<'_>, method: &str, repository: &str, rest: &[&str]) -> Option<Answer> {
    let git = match ctx.sandbox.repository_git(repository) {
        Ok(git) => git,
        Err(error) => return Some(Err(error.into())),
    };
    let number = |text: &&str| text.parse::<u64>().ok();
    Some(match (method, rest) {
        ("GET", ["pulls"]) => list(ctx, repository),
        ("POST", ["pulls"]) => create(ctx, repository, &git),
        ("GET", ["pulls", id]) => show(ctx, repository, &git, number(id)?, 200),
        ("PATCH", ["pulls", id]) => update(ctx, repository, &git, number(id)?),
        ("GET", ["pulls", id, "files"]) => with_facts(ctx, repository, &git, number(id)?, |ctx, known, pull, facts| {
            facts.files.iter().map(|change| ctx.view().file(known, &git, change, &pull.head)).collect()
        }),
        ("GET", ["pulls", id, "commits"]) => with_facts(ctx, repository, &git, number(id)?, |ctx, known, _, facts| {
            facts.commits.iter().map(|commit| ctx.view().commit(known, commit)).collect()
        }),
        ("GET", ["pulls", id, "requested_reviewers"]) => requested(ctx, repository, number(id)?),
        ("POST", ["pulls", id, "requested_reviewers"]) => request(ctx, repository, &git, number(id)?),
        ("DELETE", ["pulls", id, "requested_reviewers"]) => unrequest(ctx, repository, &git, number(id)?),
        ("GET", ["pulls", id, "merge"]) => match ctx.repository(repository).ok()?.pulls.get(&number(id)?) {
            Some(pull) if pull.merged.is_some() => Ok(Reply::Empty(204)),
            _ => not_found(),
        },
        ("PUT", ["pulls", id, "merge"]) => merge(ctx, repository, &git, number(id)?),
        ("GET", ["pulls", id, "reviews"]) => reviews(ctx, repository, number(id)?),
        ("POST", ["pulls", id, "reviews"]) => review(ctx, repository, &git, number(id)?),
        ("GET", ["pulls", id, "reviews", review]) => one_review(ctx, repository, number(id)?, number(review)?, 200),
        ("PUT", ["pulls", id, "reviews", review, "dismissals"]) => {
            dismiss(ctx, repository, number(id)?, number(review)?)
        }
        ("GET", ["pulls", id, "comments"]) => with_facts(ctx, repository, &git, number(id)?, |_, _, _, _| Vec::new()),
        ("GET", ["commits", commit, "pulls"]) => of_commit(ctx, repository, &git, commit),
        _ => return None,
    })
}

/// What git says of a pull request.
pub(super) struct Facts {
    pub commits: Vec<Commit>,
    pub files: Vec<FileChange>,
    pub mergeable: bool,
}

pub(super) fn facts(git: &Git, pull: &Pull) -> Facts {
    read_facts(git, pull).unwrap_or(Facts { commits: Vec::new(), files: Vec::new(), mergeable: false })
}

fn read_facts(git: &Git, pull: &Pull) -> Result<Facts, Refusal> {
    let (Some(head), Some(base)) = (git::id(&pull.head), base_of(git, pull)) else { return not_found() };
    let meet = git.merge_base(base, head)?;
    let mut commits = git.history(head, Some(base))?;
    commits.reverse();
    let head_tree = git.commit(head)?.tree;
    let (Some(meet), base_tree) = (meet, git.commit(base)?.tree) else {
        return Ok(Facts { files: git.diff(None, head_tree)?, commits, mergeable: false });
    };
    let meet_tree = git.commit(meet)?.tree;
    let mergeable = git.merge_trees(meet_tree, base_tree, head_tree)?.is_some();
    Ok(Facts { files: git.diff(Some(meet_tree), head_tree)?, commits, mergeable })
}

/// The base's commit: as it was at the merge, or as it is now.
fn base_of(git: &Git, pull: &Pull) -> Option<ObjectId> {
    match &pull.merged {
        Some(merged) => git::id(&merged.base),
        None => git.reference(&format!("refs/heads/{}", pull.base_branch)),
    }
}

/// Why a pull request may not be merged by somebody without a bypass.
pub(super) fn blocked(state: &State, repository: &Repository, pull: &Pull) -> Option<String> {
    if !repository.rule.required_check || repository.default_branch != pull.base_branch {
        return None;
    }
    let _ = state;
    let ours = |check: &&Check| check.head == pull.head && check.name == "daypass" && !check.foreign;
    let latest = repository.checks.values().rfind(ours);
    match latest {
        None => Some("Required status check \"daypass\" is expected.".to_owned()),
        Some(check) => match check.conclusion.as_deref() {
            Some("success" | "neutral" | "skipped") => None,
            Some(_) => Some("Required status check \"daypass\" is failing.".to_owned()),
            None => Some("Required status check \"daypass\" is in progress.".to_owned()),
        },
    }
}

fn with_facts(
    ctx: &Ctx<'_>,
    repository: &str,
    git: &Git,
    number: u64,
    items: impl FnOnce(&Ctx<'_>, &Repository, &Pull, &Facts) -> Vec<Value>,
) -> Answer {
    let known = ctx.repository(repository)?;
    match known.pulls.get(&number) {
        Some(pull) => Ok(Reply::List(items(ctx, known, pull, &facts(git, pull)))),
        None => not_found(),
    }
}

fn list(ctx: &Ctx<'_>, repository: &str) -> Answer {
    let known = ctx.repository(repository)?;
    let state = ctx.query.get("state").map_or("open", String::as_str);
    let (head, base) = (ctx.query.get("head"), ctx.query.get("base"));
    let owner = &ctx.state.organisation.login;
    let mut pulls: Vec<_> = known.pulls.values().rev().collect();
    if ctx.query.get("sort").is_some_and(|sort| sort == "updated") {
        pulls.sort_by_key(|pull| std::cmp::Reverse(known.issues.get(&pull.number).map(|issue| issue.updated_at)));
    }
    if ctx.query.get("direction").is_some_and(|direction| direction == "asc") {
        pulls.reverse();
    }
    let shown = pulls.into_iter().filter(|pull| {
        let open = known.issues.get(&pull.number).is_some_and(|issue| issue.open);
        (state == "all" || open == (state == "open"))
            && base.is_none_or(|base| *base == pull.base_branch)
            && head.is_none_or(|head| head.eq_ignore_ascii_case(&format!("{owner}:{}", pull.head_branch)))
    });
    Ok(Reply::List(shown.map(|pull| ctx.view().pull(known, pull)).collect()))
}

fn create(ctx: &mut Ctx<'_>, repository: &str, git: &Arc<Git>) -> Answer {
    let (title, head, base) = (ctx.required("title")?, ctx.required("head")?, ctx.required("base")?);
    let branch = head.split_once(':').map_or(head.clone(), |(_, branch)| branch.to_owned());
    let Some(tip) = git.reference(&format!("refs/heads/{branch}")) else {
        return invalid("PullRequest", "head", "head is invalid");
    };
    let Some(base_tip) = git.reference(&format!("refs/heads/{base}")) else {
        return invalid("PullRequest", "base", "base is invalid");
    };
    let known = ctx.repository(repository)?;
    let standing = known.pulls.values().any(|pull| {
        pull.head_branch == branch
            && pull.base_branch == base
            && known.issues.get(&pull.number).is_some_and(|issue| issue.open)
    });
    if standing {
        return invalid("PullRequest", "head", &format!("A pull request already exists for {head}."));
    }
    if git.is_ancestor(tip, base_tip)? {
        return invalid("PullRequest", "head", &format!("No commits between {base} and {branch}"));
    }
    let (body, draft) = (ctx.text("body"), ctx.body.get("draft").and_then(Value::as_bool).unwrap_or(false));
    let number = super::issues::make(ctx, repository, title, body)?;
    let id = ctx.state.id();
    let pull = Pull {
        id,
        number,
        head_branch: branch,
        head: tip.to_string(),
        base_branch: base,
        base: base_tip.to_string(),
        draft,
        fork: None,
        merged: None,
        reviews: Vec::new(),
        requested: BTreeSet::new(),
        requested_teams: BTreeSet::new(),
    };
    ctx.repository_mut(repository)?.pulls.insert(number, pull);
    git.set_reference(&format!("refs/pull/{number}/head"), tip)?;
    event(ctx, repository, git, number, "opened", json!({}))?;
    show(ctx, repository, git, number, 201)
}

fn event(
    ctx: &mut Ctx<'_>,
    repository: &str,
    git: &Git,
    number: u64,
    action: &str,
    more: Value,
) -> Result<(), Refusal> {
    let known = ctx.repository(repository)?;
    let Some(pull) = known.pulls.get(&number) else { return Ok(()) };
    let mut payload = json!({ "number": number, "pull_request": ctx.view().full_pull(known, git, pull) });
    if let (Value::Object(payload), Value::Object(more)) = (&mut payload, more) {
        payload.extend(more);
    }
    let actor = ctx.account();
    super::webhooks::send(ctx.sandbox, ctx.state, "pull_request", Some(action), Some(repository), actor, payload);
    Ok(())
}

fn show(ctx: &Ctx<'_>, repository: &str, git: &Git, number: u64, status: u16) -> Answer {
    let known = ctx.repository(repository)?;
    match known.pulls.get(&number) {
        Some(pull) => Ok(Reply::Json(status, ctx.view().full_pull(known, git, pull))),
        None => not_found(),
    }
}

fn update(ctx: &mut Ctx<'_>, repository: &str, git: &Arc<Git>, number: u64) -> Answer {
    let (title, body, state, base, now) =
        (ctx.text("title"), ctx.text("body"), ctx.text("state"), ctx.text("base"), ctx.now());
    let known = ctx.repository_mut(repository)?;
    let (Some(pull), Some(issue)) = (known.pulls.get_mut(&number), known.issues.get_mut(&number)) else {
        return not_found();
    };
    let edited = title.is_some() || body.is_some() || base.is_some();
    let mut rebased = false;
    issue.title = title.unwrap_or(std::mem::take(&mut issue.title));
    issue.body = body.or(issue.body.take());
    issue.updated_at = now;
    if let Some(base) = base {
        let Some(tip) = git.reference(&format!("refs/heads/{base}")) else {
            return invalid("PullRequest", "base", "base is invalid");
        };
        rebased = pull.base_branch != base;
        (pull.base_branch, pull.base) = (base, tip.to_string());
    }
    let open = state.map_or(issue.open, |state| state == "open");
    if open
        && !issue.open
        && (pull.merged.is_some() || git.reference(&format!("refs/heads/{}", pull.head_branch)).is_none())
    {
        return invalid("PullRequest", "state", "state cannot be changed. The pull request cannot be reopened.");
    }
    let changed = open != issue.open;
    (issue.open, issue.closed_at) = (open, (!open).then_some(now));
    if rebased {
        super::issues::happened(ctx, repository, number, "base_ref_changed")?;
    }
    if edited {
        event(ctx, repository, git, number, "edited", json!({ "changes": {} }))?;
    }
    if changed {
        super::issues::happened(ctx, repository, number, if open { "reopened" } else { "closed" })?;
        event(ctx, repository, git, number, if open { "reopened" } else { "closed" }, json!({}))?;
    }
    show(ctx, repository, git, number, 200)
}

fn requested(ctx: &Ctx<'_>, repository: &str, number: u64) -> Answer {
    let known = ctx.repository(repository)?;
    let Some(pull) = known.pulls.get(&number) else { return not_found() };
    let view = ctx.view();
    let teams: Vec<Value> =
        pull.requested_teams.iter().filter_map(|slug| ctx.state.teams.get(slug)).map(|team| view.team(team)).collect();
    let users: Vec<Value> = pull.requested.iter().map(|id| view.user(*id)).collect();
    Ok(Reply::Json(200, json!({ "users": users, "teams": teams })))
}

fn texts(value: Option<&Value>) -> Vec<String> {
    value.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

fn request(ctx: &mut Ctx<'_>, repository: &str, git: &Git, number: u64) -> Answer {
    let (logins, slugs) = (texts(ctx.body.get("reviewers")), texts(ctx.body.get("team_reviewers")));
    let mut users = Vec::new();
    let known = ctx.repository(repository)?;
    let Some(author) = known.issues.get(&number).map(|issue| issue.author) else { return not_found() };
    for login in &logins {
        match ctx.state.user(login).filter(|user| ctx.state.organisation.members.contains(&user.id)) {
            Some(user) if user.id == author => {
                return refuse(422, "Review cannot be requested from pull request author.");
            }
            Some(user) => users.push(user.id),
            None => {
                return refuse(
                    422,
                    "Reviews may only be requested from collaborators. One or more of the users or teams you specified is not a collaborator of the repository.",
                );
            }
        }
    }
    if slugs.iter().any(|slug| !ctx.state.teams.contains_key(slug)) {
        return refuse(
            422,
            "Reviews may only be requested from collaborators. One or more of the teams you specified is not a collaborator of the repository.",
        );
    }
    let Some(pull) = ctx.repository_mut(repository)?.pulls.get_mut(&number) else { return not_found() };
    pull.requested.extend(&users);
    pull.requested_teams.extend(slugs.iter().cloned());
    for user in users {
        let reviewer = ctx.view().user(user);
        event(ctx, repository, git, number, "review_requested", json!({ "requested_reviewer": reviewer }))?;
    }
    for slug in slugs {
        let team = ctx.state.teams.get(&slug).map(|team| ctx.view().team(team));
        event(ctx, repository, git, number, "review_requested", json!({ "requested_team": team }))?;
    }
    let known = ctx.repository(repository)?;
    Ok(Reply::Json(201, known.pulls.get(&number).map(|pull| ctx.view().pull(known, pull)).unwrap_or(Value::Null)))
}

fn unrequest(ctx: &mut Ctx<'_>, repository: &str, git: &Git, number: u64) -> Answer {
    let (logins, slugs) = (texts(ctx.body.get("reviewers")), texts(ctx.body.get("team_reviewers")));
    let ids: Vec<u64> = logins.iter().filter_map(|login| ctx.state.user(login).map(|user| user.id)).collect();
    let Some(pull) = ctx.repository_mut(repository)?.pulls.get_mut(&number) else { return not_found() };
    pull.requested.retain(|id| !ids.contains(id));
    pull.requested_teams.retain(|slug| !slugs.contains(slug));
    show(ctx, repository, git, number, 200)
}

fn reviews(ctx: &Ctx<'_>, repository: &str, number: u64) -> Answer {
    let known = ctx.repository(repository)?;
    match known.pulls.get(&number) {
        Some(pull) => {
            Ok(Reply::List(pull.reviews.iter().map(|review| ctx.view().review(known, pull, review)).collect()))
        }
        None => not_found(),
    }
}

fn one_review(ctx: &Ctx<'_>, repository: &str, number: u64, id: u64, status: u16) -> Answer {
    let known = ctx.repository(repository)?;
    let Some(pull) = known.pulls.get(&number) else { return not_found() };
    match pull.reviews.iter().find(|review| review.id == id) {
        Some(review) => Ok(Reply::Json(status, ctx.view().review(known, pull, review))),
        None => not_found(),
    }
}

fn review(ctx: &mut Ctx<'_>, repository: &str, git: &Git, number: u64) -> Answer {
    let (body, actor, now, id) = (ctx.text("body").unwrap_or_default(), ctx.account(), ctx.now(), ctx.state.id());
    let state = match ctx.text("event").as_deref() {
        Some("APPROVE") => "APPROVED",
        Some("REQUEST_CHANGES") => "CHANGES_REQUESTED",
        Some("COMMENT") => "COMMENTED",
        None => "PENDING",
        Some(_) => return refuse(422, "event is not included in the list"),
    };
    if matches!(state, "CHANGES_REQUESTED" | "COMMENTED") && body.is_empty() {
        return refuse(422, "Unprocessable Entity: body is required");
    }
    let known = ctx.repository(repository)?;
    let Some((pull, issue)) = known.pulls.get(&number).zip(known.issues.get(&number)) else { return not_found() };
    if issue.author == actor && state == "APPROVED" {
        return Err(Refusal {
            status: 422,
            message: "Unprocessable Entity".to_owned(),
            errors: vec![json!("Review Can not approve your own pull request")],
        });
    }
    if issue.author == actor && state == "CHANGES_REQUESTED" {
        return Err(Refusal {
            status: 422,
            message: "Unprocessable Entity".to_owned(),
            errors: vec![json!("Review Can not request changes on your own pull request")],
        });
    }
    let commit = ctx.text("commit_id").unwrap_or_else(|| pull.head.clone());
    if git::id(&commit).and_then(|id| git.commit(id).ok()).is_none() {
        return refuse(422, "commit_id is not part of the pull request");
    }
    let review = Review { id, author: actor, state: state.to_owned(), body, commit, submitted_at: now };
    if let Some(pull) = ctx.repository_mut(repository)?.pulls.get_mut(&number) {
        pull.requested.remove(&actor);
        pull.reviews.push(review);
    }
    if state != "PENDING" {
        review_event(ctx, repository, number, id, "submitted")?;
    }
    one_review(ctx, repository, number, id, 200)
}

fn review_event(ctx: &mut Ctx<'_>, repository: &str, number: u64, id: u64, action: &str) -> Result<(), Refusal> {
    let known = ctx.repository(repository)?;
    let Some(pull) = known.pulls.get(&number) else { return Ok(()) };
    let Some(review) = pull.reviews.iter().find(|review| review.id == id) else { return Ok(()) };
    let mut shown = ctx.view().review(known, pull, review);
    // Webhooks write states in lower case, the API in upper case.
    shown["state"] = json!(review.state.to_ascii_lowercase());
    let payload = json!({ "review": shown, "pull_request": ctx.view().pull(known, pull) });
    let actor = ctx.account();
    super::webhooks::send(
        ctx.sandbox,
        ctx.state,
        "pull_request_review",
        Some(action),
        Some(repository),
        actor,
        payload,
    );
    Ok(())
}

fn dismiss(ctx: &mut Ctx<'_>, repository: &str, number: u64, id: u64) -> Answer {
    ctx.required("message")?;
    let Some(pull) = ctx.repository_mut(repository)?.pulls.get_mut(&number) else { return not_found() };
    let Some(review) = pull.reviews.iter_mut().find(|review| review.id == id) else { return not_found() };
    if !matches!(review.state.as_str(), "APPROVED" | "CHANGES_REQUESTED") {
        return refuse(422, "Can not dismiss a commented pull request review");
    }
    let said = std::mem::replace(&mut review.state, "DISMISSED".to_owned());
    super::issues::dismissed(ctx, repository, number, (id, said))?;
    review_event(ctx, repository, number, id, "dismissed")?;
    one_review(ctx, repository, number, id, 200)
}

fn merge(ctx: &mut Ctx<'_>, repository: &str, git: &Arc<Git>, number: u64) -> Answer {
    let known = ctx.repository(repository)?;
    let Some((pull, issue)) = known.pulls.get(&number).cloned().zip(known.issues.get(&number).cloned()) else {
        return not_found();
    };
    if pull.merged.is_some() || !issue.open || pull.draft {
        return refuse(405, "Pull Request is not mergeable");
    }
    if ctx.text("sha").is_some_and(|sha| sha != pull.head) {
        return refuse(409, "Head branch was modified. Review and try the merge again.");
    }
    let bypass = ctx.is_app() || (ctx.is_owner() && known.rule.admins_bypass);
    if let Some(reason) = blocked(ctx.state, known, &pull).filter(|_| !bypass) {
        return refuse(405, format!("Repository rule violations found\n\n{reason}\n\n"));
    }
    let (Some(head), Some(base)) = (git::id(&pull.head), base_of(git, &pull)) else { return not_found() };
    let facts = read_facts(git, &pull)?;
    let meet = git.merge_base(base, head)?.ok_or_else(|| Refusal {
        status: 405,
        message: "No common ancestor".to_owned(),
        errors: Vec::new(),
    })?;
    let tree = git.merge_trees(git.commit(meet)?.tree, git.commit(base)?.tree, git.commit(head)?.tree)?;
    let (Some(tree), true) = (tree, facts.mergeable) else { return refuse(405, "Pull Request is not mergeable") };
    let (actor, web_flow) = (signature(ctx, ctx.account()), web_flow(ctx));
    let owner = &ctx.state.organisation.login;
    let title = ctx.text("commit_title");
    let message = ctx.text("commit_message");
    let id = match ctx.text("merge_method").as_deref() {
        Some("squash") => {
            let author = signature(ctx, issue.author);
            let title = title.unwrap_or_else(|| format!("{} (#{number})", issue.title));
            let text = format!("{title}\n\n{}", message.unwrap_or_default());
            git.write_commit(tree, &[base], &author, &web_flow, text.trim_end())?
        }
        Some("rebase") => rebase(git, &facts.commits, base, &web_flow)?,
        Some("merge") | None if ctx.repository(repository)?.rule.linear_history => {
            return refuse(405, "Merge commits are not allowed on this repository.");
        }
        Some("merge") | None => {
            let title =
                title.unwrap_or_else(|| format!("Merge pull request #{number} from {owner}/{}", pull.head_branch));
            let text = format!("{title}\n\n{}", message.unwrap_or_else(|| issue.title.clone()));
            git.write_commit(tree, &[base, head], &actor, &web_flow, text.trim_end())?
        }
        Some(_) => return refuse(422, "merge_method is not included in the list"),
    };
    close_merged(ctx, repository, git, number, id, base)?;
    super::contents::move_branch(ctx, repository, git, &pull.base_branch, id)?;
    Ok(Reply::Json(
        200,
        json!({ "sha": id.to_string(), "merged": true, "message": "Pull Request successfully merged" }),
    ))
}

/// The commits again, on top of `onto`, committed by GitHub.
fn rebase(git: &Git, commits: &[Commit], onto: ObjectId, committer: &git::Signature) -> Result<ObjectId, Refusal> {
    let mut tip = onto;
    for commit in commits.iter().filter(|commit| commit.parents.len() == 1) {
        let parent = commit.parents.first().copied().unwrap_or(onto);
        let tree = git.merge_trees(git.commit(parent)?.tree, git.commit(tip)?.tree, commit.tree)?;
        let Some(tree) = tree else { return refuse(405, "This branch can't be rebased") };
        tip = git.write_commit(tree, &[tip], &commit.author, committer, &commit.message)?;
    }
    Ok(tip)
}

pub(super) fn close_merged(
    ctx: &mut Ctx<'_>,
    repository: &str,
    git: &Git,
    number: u64,
    commit: ObjectId,
    base: ObjectId,
) -> Result<(), Refusal> {
    let (now, by) = (ctx.now(), ctx.account());
    let known = ctx.repository_mut(repository)?;
    if let (Some(pull), Some(issue)) = (known.pulls.get_mut(&number), known.issues.get_mut(&number)) {
        pull.merged = Some(Merged { at: now, by, commit: commit.to_string(), base: base.to_string() });
        (issue.open, issue.closed_at, issue.updated_at) = (false, Some(now), now);
    }
    super::issues::happened(ctx, repository, number, "merged")?;
    super::issues::happened(ctx, repository, number, "closed")?;
    event(ctx, repository, git, number, "closed", json!({}))
}

/// The pull requests a commit came by, or is in.
fn of_commit(ctx: &Ctx<'_>, repository: &str, git: &Git, commit: &str) -> Answer {
    let known = ctx.repository(repository)?;
    let Some(id) = resolve(git, commit) else { return refuse(422, format!("No commit found for SHA: {commit}")) };
    let mut found = Vec::new();
    for pull in known.pulls.values() {
        let brought = pull.merged.as_ref().is_some_and(|merged| super::git::id(&merged.commit) == Some(id))
            || rebased(git, pull, id);
        if brought || facts(git, pull).commits.iter().any(|commit| commit.id == id) {
            found.push(ctx.view().pull(known, pull));
        }
    }
    Ok(Reply::List(found))
}

/// Whether a commit is one of those a rebase of this pull request left on the base.
fn rebased(git: &Git, pull: &Pull, id: ObjectId) -> bool {
    let Some(merged) = &pull.merged else { return false };
    let (Some(tip), Some(base)) = (git::id(&merged.commit), git::id(&merged.base)) else { return false };
    let made = git.history(tip, Some(base)).unwrap_or_default();
    made.iter().all(|commit| commit.parents.len() == 1) && made.iter().any(|commit| commit.id == id)
}

/// What follows from a branch that moved, appeared or went: webhooks, new heads, merged and closed pull requests.
pub(super) fn after_push(
    ctx: &mut Ctx<'_>,
    repository: &str,
    git: &Arc<Git>,
    branch: &str,
    before: Option<ObjectId>,
    after: Option<ObjectId>,
) -> Result<(), Refusal> {
    super::webhooks::push(ctx, repository, git, branch, before, after)?;
    let known = ctx.repository(repository)?;
    let open = |number: &u64| known.issues.get(number).is_some_and(|issue| issue.open);
    let numbers: Vec<u64> = known.pulls.keys().copied().filter(open).collect();
    for number in numbers {
        let now = ctx.now();
        let Some(pull) = ctx.repository(repository)?.pulls.get(&number).cloned() else { continue };
        if pull.head_branch == branch && pull.fork.is_none() {
            match after {
                Some(after) => {
                    if let Some(pull) = ctx.repository_mut(repository)?.pulls.get_mut(&number) {
                        pull.head = after.to_string();
                    }
                    git.set_reference(&format!("refs/pull/{number}/head"), after)?;
                    let more = json!({ "before": pull.head, "after": after.to_string() });
                    event(ctx, repository, git, number, "synchronize", more)?;
                }
                None => {
                    if let Some(issue) = ctx.repository_mut(repository)?.issues.get_mut(&number) {
                        (issue.open, issue.closed_at) = (false, Some(now));
                    }
                    super::issues::happened(ctx, repository, number, "closed")?;
                    event(ctx, repository, git, number, "closed", json!({}))?;
                }
            }
        } else if let (true, Some(after), Some(before)) = (pull.base_branch == branch, after, before) {
            if let Some(pull) = ctx.repository_mut(repository)?.pulls.get_mut(&number) {
                pull.base = after.to_string();
            }
            // Pushing the head of a pull request to its base merges it, as on GitHub.
            let contained = git::id(&pull.head).is_some_and(|head| git.is_ancestor(head, after).unwrap_or(false));
            if contained {
                close_merged(ctx, repository, git, number, after, before)?;
            }
        }
    }
    Ok(())
}

/// The author of a pull request says that it is ready, or that it is not yet. People do that on the web site.
pub(super) fn set_draft(
    ctx: &mut Ctx<'_>,
    repository: &str,
    git: &Git,
    number: u64,
    draft: bool,
) -> Result<(), Refusal> {
    if let Some(pull) = ctx.repository_mut(repository)?.pulls.get_mut(&number) {
        pull.draft = draft;
    }
    event(ctx, repository, git, number, if draft { "converted_to_draft" } else { "ready_for_review" }, json!({}))
}

/// Takes a branch for one of a fork of whoever acts, and opens a pull request from it.
pub(super) fn create_from_fork(
    ctx: &mut Ctx<'_>,
    repository: &str,
    git: &Arc<Git>,
    branch: &str,
) -> Result<(), Refusal> {
    let base = ctx.repository(repository)?.default_branch.clone();
    ctx.body = json!({ "title": format!("Please: {branch}"), "head": branch, "base": base });
    let known: BTreeSet<u64> = ctx.repository(repository)?.pulls.keys().copied().collect();
    create(ctx, repository, git)?;
    let owner = ctx.account();
    let number = ctx.repository(repository)?.pulls.keys().copied().find(|number| !known.contains(number));
    let number = number.unwrap_or_default();
    if let Some(pull) = ctx.repository_mut(repository)?.pulls.get_mut(&number) {
        pull.fork = Some(owner);
    }
    git.delete_reference(&format!("refs/heads/{branch}"))?;
    event(ctx, repository, git, number, "edited", json!({ "changes": {} }))
}

/// Whether a push over git's own protocol is allowed.
pub(super) fn push_allowed(ctx: &Ctx<'_>, repository: &str, branch: &str) -> bool {
    may_push(ctx, repository, branch).is_ok()
}
