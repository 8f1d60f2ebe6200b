//! The repository: branches, files, git objects and refs, commits, comparisons, the branch rule.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use gix::ObjectId;
use gix::objs::Kind;
use gix::objs::tree::EntryKind;
use serde_json::{Value, json};

use super::WEB_FLOW_EMAIL;
use super::git::{self, Entry, Git, Signature};
use super::route::{Answer, Ctx, Refusal, Reply, invalid, not_found, refuse};

pub(super) fn route(ctx: &mut Ctx<'_>, method: &str, repository: &str, rest: &[&str]) -> Option<Answer> {
    let git = match ctx.sandbox.repository_git(repository) {
        Ok(git) => git,
        Err(error) => return Some(Err(error.into())),
    };
    Some(match (method, rest) {
        ("GET", []) => ctx.repository(repository).map(|known| Reply::Json(200, ctx.view().full_repository(known))),
        ("GET", ["branches"]) => Ok(Reply::List(
            git.references("refs/heads/").iter().map(|(name, id)| branch(ctx, repository, name, *id)).collect(),
        )),
        ("GET", ["branches", name @ ..]) => one_branch(ctx, repository, &git, &name.join("/")),
        ("GET", ["collaborators", login, "permission"]) => permission(ctx, login),
        ("GET", ["rulesets"]) => Ok(Reply::List(vec![ruleset(ctx, repository)])),
        ("GET", ["rules", "branches", name]) => rules(ctx, repository, name),
        ("GET", ["contents"]) => read(ctx, repository, &git, ""),
        ("GET", ["contents", path @ ..]) => read(ctx, repository, &git, &path.join("/")),
        ("PUT", ["contents", path @ ..]) => write(ctx, repository, &git, &path.join("/"), true),
        ("DELETE", ["contents", path @ ..]) => write(ctx, repository, &git, &path.join("/"), false),
        ("POST", ["git", "blobs"]) => create_blob(ctx, repository, &git),
        ("GET", ["git", "blobs", id]) => blob(ctx, repository, &git, id),
        ("POST", ["git", "trees"]) => create_tree(ctx, repository, &git),
        ("GET", ["git", "trees", id]) => tree(ctx, repository, &git, id),
        ("POST", ["git", "commits"]) => create_commit(ctx, repository, &git),
        ("GET", ["git", "commits", id]) => match git::id(id).and_then(|id| git.commit(id).ok()) {
            Some(commit) => {
                ctx.repository(repository).map(|known| Reply::Json(200, ctx.view().git_commit(known, &commit)))
            }
            None => not_found(),
        },
        ("GET", ["git", "ref", name @ ..]) => match git.reference(&format!("refs/{}", name.join("/"))) {
            Some(id) => Ok(Reply::Json(200, reference(ctx, repository, &git, &format!("refs/{}", name.join("/")), id))),
            None => not_found(),
        },
        ("GET", ["git", "matching-refs", name @ ..]) => {
            let found = git.references(&format!("refs/{}", name.join("/")));
            Ok(Reply::List(found.iter().map(|(name, id)| reference(ctx, repository, &git, name, *id)).collect()))
        }
        ("POST", ["git", "refs"]) => create_ref(ctx, repository, &git),
        ("PATCH", ["git", "refs", name @ ..]) => update_ref(ctx, repository, &git, &format!("refs/{}", name.join("/"))),
        ("DELETE", ["git", "refs", name @ ..]) => {
            delete_ref(ctx, repository, &git, &format!("refs/{}", name.join("/")))
        }
        ("GET", ["commits"]) => commits(ctx, repository, &git),
        ("GET", ["commits", id]) => commit(ctx, repository, &git, id),
        ("GET", ["compare", range]) => compare(ctx, repository, &git, range),
        _ => return None,
    })
}

/// The commit a branch, a full ref or an id names.
pub(super) fn resolve(git: &Git, name: &str) -> Option<ObjectId> {
    let id = git::id(name).filter(|id| git.kind(*id).is_some());
    id.or_else(|| git.reference(&format!("refs/heads/{name}")))
        .or_else(|| git.reference(&format!("refs/{name}")))
        .or_else(|| name.starts_with("refs/").then(|| git.reference(name)).flatten())
}

fn branch(ctx: &Ctx<'_>, repository: &str, name: &str, id: ObjectId) -> Value {
    let name = name.trim_start_matches("refs/heads/");
    let protected = ctx
        .state
        .repositories
        .get(repository)
        .is_some_and(|known| known.default_branch == name && known.rule.pull_request_required);
    json!({ "name": name, "commit": { "sha": id.to_string(), "url": format!("{}/repos/x/{repository}/commits/{id}", ctx.sandbox.api_url()) }, "protected": protected })
}

fn one_branch(ctx: &Ctx<'_>, repository: &str, git: &Git, name: &str) -> Answer {
    let Some(id) = git.reference(&format!("refs/heads/{name}")) else { return refuse(404, "Branch not found") };
    let known = ctx.repository(repository)?;
    let mut value = branch(ctx, repository, name, id);
    let url = format!("{}/repos/{}/{repository}/branches/{name}", ctx.sandbox.api_url(), ctx.state.organisation.login);
    value["commit"] = ctx.view().commit(known, &git.commit(id)?);
    value["_links"] = json!({ "html": format!("{}/{repository}/tree/{name}", ctx.sandbox.base_url()), "self": url });
    value["protection"] = json!({ "enabled": value["protected"] });
    value["protection_url"] = json!(format!("{url}/protection"));
    Ok(Reply::Json(200, value))
}

fn permission(ctx: &Ctx<'_>, login: &str) -> Answer {
    let Some(user) = ctx.state.user(login) else { return not_found() };
    let owner = ctx.state.organisation.owners.contains(&user.id);
    let member = ctx.state.organisation.members.contains(&user.id);
    let permission = if owner {
        "admin"
    } else if member {
        "write"
    } else {
        "none"
    };
    Ok(Reply::Json(200, json!({ "permission": permission, "role_name": permission, "user": null })))
}

fn ruleset(ctx: &Ctx<'_>, repository: &str) -> Value {
    let rule = ctx.state.repositories.get(repository).map(|known| known.rule.clone()).unwrap_or_default();
    let active = rule.required_check || rule.pull_request_required;
    json!({
        "id": 1, "name": "daypass", "target": "branch", "source_type": "Repository",
        "source": format!("{}/{repository}", ctx.state.organisation.login), "enforcement": if active { "active" } else { "disabled" },
    })
}

fn rules(ctx: &Ctx<'_>, repository: &str, name: &str) -> Answer {
    let known = ctx.repository(repository)?;
    let mut rules = Vec::new();
    let source = json!({ "ruleset_source_type": "Repository", "ruleset_source": format!("{}/{repository}", ctx.state.organisation.login), "ruleset_id": 1 });
    let mut add = |kind: &str, parameters: Value| {
        let mut rule = source.clone();
        rule["type"] = json!(kind);
        rule["parameters"] = parameters;
        rules.push(rule);
    };
    if known.default_branch == name && known.rule.pull_request_required {
        add(
            "pull_request",
            json!({
                "dismiss_stale_reviews_on_push": false, "require_code_owner_review": false, "require_last_push_approval": false,
                "required_approving_review_count": 0, "required_review_thread_resolution": false,
            }),
        );
    }
    if known.default_branch == name && known.rule.required_check {
        add(
            "required_status_checks",
            json!({
                "required_status_checks": [{ "context": "daypass", "integration_id": ctx.state.app.id }], "strict_required_status_checks_policy": false,
            }),
        );
    }
    Ok(Reply::List(rules))
}

/// Whether the actor may move the default branch directly.
pub(super) fn may_push(ctx: &Ctx<'_>, repository: &str, branch: &str) -> Result<(), Refusal> {
    let known = ctx.repository(repository)?;
    let ruled = known.default_branch == branch && (known.rule.pull_request_required || known.rule.required_check);
    if !ruled || ctx.is_app() || (ctx.is_owner() && known.rule.admins_bypass) {
        return Ok(());
    }
    refuse(409, "Repository rule violations found\n\nChanges must be made through a pull request.\n\n")
}

/// Moves a branch and does everything that follows from it: pull requests, webhooks.
pub(super) fn move_branch(
    ctx: &mut Ctx<'_>,
    repository: &str,
    git: &Arc<Git>,
    branch: &str,
    to: ObjectId,
) -> Result<(), Refusal> {
    let name = format!("refs/heads/{branch}");
    let before = git.reference(&name);
    git.set_reference(&name, to)?;
    super::pulls::after_push(ctx, repository, git, branch, before, Some(to))
}

/// How a person signs commits made through the API.
pub(super) fn signature(ctx: &Ctx<'_>, user: u64) -> Signature {
    let seconds = ctx.now().timestamp();
    match ctx.state.users.get(&user) {
        Some(user) => Signature { name: user.login.clone(), email: user.email.clone(), seconds },
        None => web_flow(ctx),
    }
}

pub(super) fn web_flow(ctx: &Ctx<'_>) -> Signature {
    Signature { name: "GitHub".to_owned(), email: WEB_FLOW_EMAIL.to_owned(), seconds: ctx.now().timestamp() }
}

fn default_branch(ctx: &Ctx<'_>, repository: &str) -> Result<String, Refusal> {
    Ok(ctx.repository(repository)?.default_branch.clone())
}

fn content(ctx: &Ctx<'_>, repository: &str, path: &str, entry: &Entry, size: usize, branch: &str) -> Value {
    let api = format!("{}/repos/{}/{repository}", ctx.sandbox.api_url(), ctx.state.organisation.login);
    let page = format!("{}/{}/{repository}", ctx.sandbox.base_url(), ctx.state.organisation.login);
    let url = format!("{api}/contents/{path}?ref={branch}");
    let (git_url, html_url) = (format!("{api}/git/blobs/{}", entry.id), format!("{page}/blob/{branch}/{path}"));
    let kind = match entry.kind {
        EntryKind::Tree => "dir",
        EntryKind::Link => "symlink",
        EntryKind::Commit => "submodule",
        _ => "file",
    };
    json!({
        "name": path.rsplit('/').next(), "path": path, "sha": entry.id.to_string(), "size": size, "url": url, "html_url": html_url,
        "git_url": git_url, "download_url": format!("{page}/raw/{branch}/{path}"), "type": kind,
        "_links": { "self": url, "git": git_url, "html": html_url },
    })
}

fn read(ctx: &Ctx<'_>, repository: &str, git: &Git, path: &str) -> Answer {
    let branch = match ctx.query.get("ref") {
        Some(name) => name.clone(),
        None => default_branch(ctx, repository)?,
    };
    let Some(commit) = resolve(git, &branch) else {
        return refuse(404, format!("No commit found for the ref {branch}"));
    };
    let entries = git.flatten(git.commit(commit)?.tree, true)?;
    let size = |entry: &Entry| {
        if entry.kind == EntryKind::Tree { 0 } else { git.blob(entry.id).map(|bytes| bytes.len()).unwrap_or(0) }
    };
    match entries.get(path) {
        Some(entry) if entry.kind != EntryKind::Tree => {
            let bytes = git.blob(entry.id)?;
            if ctx.accept.contains("raw") {
                return Ok(Reply::Raw("application/vnd.github.raw; charset=utf-8", bytes));
            }
            let mut value = content(ctx, repository, path, entry, bytes.len(), &branch);
            value["content"] = json!(STANDARD.encode(bytes));
            value["encoding"] = json!("base64");
            Ok(Reply::Json(200, value))
        }
        None if !path.is_empty() => not_found(),
        _ => {
            let prefix = if path.is_empty() { String::new() } else { format!("{path}/") };
            let inside =
                entries.iter().filter(|(name, _)| name.strip_prefix(&prefix).is_some_and(|rest| !rest.contains('/')));
            let items: Vec<Value> =
                inside.map(|(name, entry)| content(ctx, repository, name, entry, size(entry), &branch)).collect();
            Ok(Reply::Json(200, Value::Array(items)))
        }
    }
}

/// Creates, changes or deletes one file in a commit of its own.
fn write(ctx: &mut Ctx<'_>, repository: &str, git: &Arc<Git>, path: &str, put: bool) -> Answer {
    let message = ctx.required("message")?;
    let branch = match ctx.text("branch").or_else(|| ctx.query.get("branch").cloned()) {
        Some(branch) => branch,
        None => default_branch(ctx, repository)?,
    };
    may_push(ctx, repository, &branch)?;
    let Some(parent) = git.reference(&format!("refs/heads/{branch}")) else {
        return refuse(404, format!("Branch {branch} not found"));
    };
    if path.split('/').any(|part| part.is_empty() || part == "." || part == ".." || part.eq_ignore_ascii_case(".git")) {
        return invalid("Commit", "path", "path contains a malformed path component");
    }
    let base = git.commit(parent)?;
    let standing = git.flatten(base.tree, false)?.get(path).cloned();
    let sha = ctx.text("sha").or_else(|| ctx.query.get("sha").cloned());
    match (&standing, &sha) {
        (Some(_), None) => return refuse(422, "Invalid request.\n\n\"sha\" wasn't supplied."),
        (Some(entry), Some(sha)) if super::git::id(sha) != Some(entry.id) => {
            return refuse(409, format!("{path} does not match {sha}"));
        }
        (None, _) if !put => return not_found(),
        _ => {}
    }
    let entry = match put {
        true => {
            let text: String = ctx.required("content")?.split_whitespace().collect();
            let Ok(bytes) = STANDARD.decode(text) else { return refuse(422, "content is not valid Base64") };
            Some(Entry { kind: EntryKind::Blob, id: git.write_blob(&bytes)? })
        }
        false => None,
    };
    let tree = git.edit_tree(base.tree, &[(path.to_owned(), entry.clone())])?;
    let author = signature(ctx, ctx.account());
    let id = git.write_commit(tree, &[parent], &author, &web_flow(ctx), &message)?;
    move_branch(ctx, repository, git, &branch, id)?;
    let made = git.commit(id)?;
    let known = ctx.repository(repository)?;
    let shown = match &entry {
        Some(entry) => content(ctx, repository, path, entry, git.blob(entry.id)?.len(), &branch),
        None => Value::Null,
    };
    let status = if put && standing.is_none() { 201 } else { 200 };
    Ok(Reply::Json(status, json!({ "content": shown, "commit": ctx.view().git_commit(known, &made) })))
}

fn git_url(ctx: &Ctx<'_>, repository: &str, rest: &str) -> String {
    format!("{}/repos/{}/{repository}/git/{rest}", ctx.sandbox.api_url(), ctx.state.organisation.login)
}

fn create_blob(ctx: &mut Ctx<'_>, repository: &str, git: &Git) -> Answer {
    let content = ctx.required("content")?;
    let bytes = match ctx.text("encoding").as_deref() {
        Some("base64") => match STANDARD.decode(content.split_whitespace().collect::<String>()) {
            Ok(bytes) => bytes,
            Err(_) => return refuse(422, "content is not valid Base64"),
        },
        _ => content.into_bytes(),
    };
    let id = git.write_blob(&bytes)?;
    Ok(Reply::Json(201, json!({ "sha": id.to_string(), "url": git_url(ctx, repository, &format!("blobs/{id}")) })))
}

fn blob(ctx: &Ctx<'_>, repository: &str, git: &Git, id: &str) -> Answer {
    let Some(bytes) = git::id(id).and_then(|id| git.blob(id).ok()) else { return not_found() };
    Ok(Reply::Json(
        200,
        json!({
            "sha": id, "node_id": format!("B_{id}"), "size": bytes.len(), "url": git_url(ctx, repository, &format!("blobs/{id}")),
            "content": STANDARD.encode(bytes), "encoding": "base64",
        }),
    ))
}

fn mode(kind: EntryKind) -> (&'static str, &'static str) {
    match kind {
        EntryKind::Tree => ("040000", "tree"),
        EntryKind::Blob => ("100644", "blob"),
        EntryKind::BlobExecutable => ("100755", "blob"),
        EntryKind::Link => ("120000", "blob"),
        EntryKind::Commit => ("160000", "commit"),
    }
}

fn create_tree(ctx: &mut Ctx<'_>, repository: &str, git: &Git) -> Answer {
    let base = match ctx.text("base_tree") {
        None => git.empty_tree()?,
        Some(base) => match git::id(&base).map(|id| (id, git.kind(id))) {
            Some((id, Some(Kind::Tree))) => id,
            Some((id, Some(Kind::Commit))) => git.commit(id)?.tree,
            _ => return refuse(422, "base_tree is not a valid tree"),
        },
    };
    let mut changes = Vec::new();
    for item in ctx.body.get("tree").and_then(Value::as_array).cloned().unwrap_or_default() {
        let text = |name: &str| item.get(name).and_then(Value::as_str);
        let Some(path) = text("path") else { return refuse(422, "tree.path is missing") };
        if path
            .split('/')
            .any(|part| part.is_empty() || part == "." || part == ".." || part.eq_ignore_ascii_case(".git"))
        {
            return refuse(422, "tree.path contains a malformed path component");
        }
        let kind = match text("mode") {
            Some("100755") => EntryKind::BlobExecutable,
            Some("120000") => EntryKind::Link,
            Some("160000") => EntryKind::Commit,
            Some("040000") => EntryKind::Tree,
            _ => EntryKind::Blob,
        };
        let entry = match (text("sha"), text("content")) {
            (Some(sha), _) => match git::id(sha) {
                Some(id) if kind == EntryKind::Commit || git.kind(id).is_some() => Some(Entry { kind, id }),
                _ => return refuse(422, format!("tree.sha {sha} is not a valid object")),
            },
            (None, Some(content)) => Some(Entry { kind, id: git.write_blob(content.as_bytes())? }),
            (None, None) => None,
        };
        changes.push((path.to_owned(), entry));
    }
    let id = git.edit_tree(base, &changes)?;
    show_tree(ctx, repository, git, id, false, 201)
}

fn tree(ctx: &Ctx<'_>, repository: &str, git: &Git, name: &str) -> Answer {
    let Some(id) = resolve(git, name) else { return not_found() };
    let id = match git.kind(id) {
        Some(Kind::Commit) => git.commit(id)?.tree,
        Some(Kind::Tree) => id,
        _ => return not_found(),
    };
    let recursive = ctx.query.contains_key("recursive");
    show_tree(ctx, repository, git, id, recursive, 200)
}

fn show_tree(ctx: &Ctx<'_>, repository: &str, git: &Git, id: ObjectId, recursive: bool, status: u16) -> Answer {
    let entries: Vec<(String, Entry)> =
        if recursive { git.flatten(id, true)?.into_iter().collect() } else { git.tree(id)? };
    let items: Vec<Value> = entries
        .iter()
        .map(|(path, entry)| {
            let (mode, kind) = mode(entry.kind);
            let mut item = json!({ "path": path, "mode": mode, "type": kind, "sha": entry.id.to_string() });
            if entry.kind != EntryKind::Commit {
                item["url"] = json!(git_url(ctx, repository, &format!("{kind}s/{}", entry.id)));
            }
            if kind == "blob" {
                item["size"] = json!(git.blob(entry.id).map(|bytes| bytes.len()).unwrap_or(0));
            }
            item
        })
        .collect();
    let url = git_url(ctx, repository, &format!("trees/{id}"));
    Ok(Reply::Json(status, json!({ "sha": id.to_string(), "url": url, "tree": items, "truncated": false })))
}

fn create_commit(ctx: &mut Ctx<'_>, repository: &str, git: &Git) -> Answer {
    let (message, tree) = (ctx.required("message")?, ctx.required("tree")?);
    let Some(tree) = git::id(&tree).filter(|id| git.kind(*id) == Some(Kind::Tree)) else {
        return refuse(422, "Tree SHA does not exist");
    };
    let mut parents = Vec::new();
    for parent in ctx.body.get("parents").and_then(Value::as_array).cloned().unwrap_or_default() {
        match parent.as_str().and_then(git::id).filter(|id| git.kind(*id) == Some(Kind::Commit)) {
            Some(id) => parents.push(id),
            None => return refuse(422, "Parent SHA does not exist or is not a commit object"),
        }
    }
    let named = |name: &str| -> Option<Signature> {
        let person = ctx.body.get(name)?;
        let text = |field: &str| person.get(field).and_then(Value::as_str).map(str::to_owned);
        let date = text("date").and_then(|date| chrono::DateTime::parse_from_rfc3339(&date).ok());
        let seconds = date.map_or_else(|| ctx.now().timestamp(), |date| date.timestamp());
        Some(Signature { name: text("name")?, email: text("email")?, seconds })
    };
    // Without a name GitHub fills in who asks, and signs the commit itself.
    let author = named("author").unwrap_or_else(|| signature(ctx, ctx.account()));
    let committer = named("committer").or_else(|| named("author")).unwrap_or_else(|| web_flow(ctx));
    let id = git.write_commit(tree, &parents, &author, &committer, &message)?;
    let commit = git.commit(id)?;
    let known = ctx.repository(repository)?;
    Ok(Reply::Json(201, ctx.view().git_commit(known, &commit)))
}

fn reference(ctx: &Ctx<'_>, repository: &str, git: &Git, name: &str, id: ObjectId) -> Value {
    let kind = match git.kind(id) {
        Some(Kind::Commit) => "commit",
        Some(Kind::Tag) => "tag",
        Some(Kind::Tree) => "tree",
        _ => "blob",
    };
    json!({
        "ref": name, "node_id": format!("REF_{name}"), "url": git_url(ctx, repository, name),
        "object": { "type": kind, "sha": id.to_string(), "url": git_url(ctx, repository, &format!("{kind}s/{id}")) },
    })
}

fn create_ref(ctx: &mut Ctx<'_>, repository: &str, git: &Arc<Git>) -> Answer {
    let (name, sha) = (ctx.required("ref")?, ctx.required("sha")?);
    let valid = name
        .strip_prefix("refs/")
        .is_some_and(|rest| rest.contains('/') && !rest.contains("..") && !rest.ends_with('/'));
    if !valid {
        return refuse(422, format!("Reference name must start with 'refs/' and have at least two slashes: {name}"));
    }
    if git.reference(&name).is_some() {
        return refuse(422, "Reference already exists");
    }
    let Some(id) = git::id(&sha).filter(|id| git.kind(*id).is_some()) else {
        return refuse(422, "Object does not exist");
    };
    match name.strip_prefix("refs/heads/") {
        Some(branch) => {
            may_push(ctx, repository, branch)?;
            move_branch(ctx, repository, git, branch, id)?;
        }
        None => git.set_reference(&name, id)?,
    }
    Ok(Reply::Json(201, reference(ctx, repository, git, &name, id)))
}

fn update_ref(ctx: &mut Ctx<'_>, repository: &str, git: &Arc<Git>, name: &str) -> Answer {
    let sha = ctx.required("sha")?;
    let force = ctx.body.get("force").and_then(Value::as_bool).unwrap_or(false);
    let Some(before) = git.reference(name) else { return refuse(422, "Reference does not exist") };
    let Some(id) = git::id(&sha).filter(|id| git.kind(*id) == Some(Kind::Commit)) else {
        return refuse(422, "Object does not exist");
    };
    if !force && !git.is_ancestor(before, id)? {
        return refuse(422, "Update is not a fast forward");
    }
    match name.strip_prefix("refs/heads/") {
        Some(branch) => {
            may_push(ctx, repository, branch)?;
            move_branch(ctx, repository, git, branch, id)?;
        }
        None => git.set_reference(name, id)?,
    }
    Ok(Reply::Json(200, reference(ctx, repository, git, name, id)))
}

fn delete_ref(ctx: &mut Ctx<'_>, repository: &str, git: &Arc<Git>, name: &str) -> Answer {
    let Some(before) = git.reference(name) else { return refuse(422, "Reference does not exist") };
    if let Some(branch) = name.strip_prefix("refs/heads/") {
        if default_branch(ctx, repository)? == branch {
            return refuse(422, "Cannot delete the default branch");
        }
        git.delete_reference(name)?;
        super::pulls::after_push(ctx, repository, git, branch, Some(before), None)?;
    } else {
        git.delete_reference(name)?;
    }
    Ok(Reply::Empty(204))
}

/// History from a commit, of one path if asked for: the commits in which it differs from every parent.
fn commits(ctx: &Ctx<'_>, repository: &str, git: &Git) -> Answer {
    let known = ctx.repository(repository)?;
    let start = ctx.query.get("sha").cloned().unwrap_or_else(|| known.default_branch.clone());
    let Some(start) = resolve(git, &start) else { return not_found() };
    let mut found = Vec::new();
    for commit in git.history(start, None)? {
        let touches = match ctx.query.get("path") {
            None => true,
            Some(path) => {
                let own = git.files(commit.id)?.get(path).cloned();
                let parents: Result<Vec<_>, _> = commit
                    .parents
                    .iter()
                    .map(|parent| git.files(*parent).map(|files| files.get(path).cloned()))
                    .collect();
                let parents = parents?;
                if parents.is_empty() { own.is_some() } else { parents.iter().all(|parent| *parent != own) }
            }
        };
        if touches {
            found.push(ctx.view().commit(known, &commit));
        }
    }
    Ok(Reply::List(found))
}

fn commit(ctx: &Ctx<'_>, repository: &str, git: &Git, name: &str) -> Answer {
    let Some(commit) = resolve(git, name).and_then(|id| git.commit(id).ok()) else {
        return refuse(422, format!("No commit found for SHA: {name}"));
    };
    let known = ctx.repository(repository)?;
    let mut value = ctx.view().commit(known, &commit);
    let before = commit.parents.first().map(|parent| git.commit(*parent)).transpose()?.map(|parent| parent.tree);
    let files: Vec<Value> = git
        .diff(before, commit.tree)?
        .iter()
        .map(|change| ctx.view().file(known, git, change, &commit.id.to_string()))
        .collect();
    let sum = |name: &str| files.iter().filter_map(|file| file[name].as_u64()).sum::<u64>();
    value["stats"] = json!({ "additions": sum("additions"), "deletions": sum("deletions"), "total": sum("changes") });
    value["files"] = Value::Array(files);
    Ok(Reply::Json(200, value))
}

fn compare(ctx: &Ctx<'_>, repository: &str, git: &Git, range: &str) -> Answer {
    let known = ctx.repository(repository)?;
    let Some((base, head)) = range.split_once("...") else { return not_found() };
    let plain = |name: &str| name.split_once(':').map_or(name.to_owned(), |(_, name)| name.to_owned());
    let (Some(base), Some(head)) = (resolve(git, &plain(base)), resolve(git, &plain(head))) else { return not_found() };
    let Some(meet) = git.merge_base(base, head)? else { return refuse(404, "No common ancestor") };
    let mut ahead = git.history(head, Some(base))?;
    ahead.reverse();
    let behind = git.history(base, Some(head))?.len();
    let status = match (ahead.len(), behind) {
        (0, 0) => "identical",
        (_, 0) => "ahead",
        (0, _) => "behind",
        _ => "diverged",
    };
    let files = git.diff(Some(git.commit(meet)?.tree), git.commit(head)?.tree)?;
    let url = format!("{}/repos/{}/{repository}/compare/{range}", ctx.sandbox.api_url(), ctx.state.organisation.login);
    let view = ctx.view();
    Ok(Reply::Json(
        200,
        json!({
            "url": url, "html_url": url, "permalink_url": url, "diff_url": format!("{url}.diff"), "patch_url": format!("{url}.patch"),
            "base_commit": view.commit(known, &git.commit(base)?), "merge_base_commit": view.commit(known, &git.commit(meet)?), "status": status,
            "ahead_by": ahead.len(), "behind_by": behind, "total_commits": ahead.len(),
            "commits": ahead.iter().map(|commit| view.commit(known, commit)).collect::<Vec<_>>(),
            "files": files.iter().map(|change| view.file(known, git, change, &head.to_string())).collect::<Vec<_>>(),
        }),
    ))
}
