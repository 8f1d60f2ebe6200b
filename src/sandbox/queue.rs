//! The merge queue: a pull request is merged on a branch of its own first, and into the base branch once its check is green there.
//! People use it on the web site only, so it is driven by `POST /_sandbox/queue`.
//! <https://docs.github.com/en/repositories/configuring-branches-and-merges-in-your-repository/configuring-pull-request-merges/managing-a-merge-queue>

use std::sync::Arc;

use serde_json::json;

use super::contents::web_flow;
use super::git::Git;
use super::pulls;
use super::route::{Ctx, Refusal, not_found, refuse};
use super::state::Queued;

/// Puts a pull request into the queue, behind those that are there: makes its branch and asks for its check.
pub(super) fn add(ctx: &mut Ctx<'_>, repository: &str, git: &Arc<Git>, number: u64) -> Result<(), Refusal> {
    let known = ctx.repository(repository)?;
    let Some(pull) = known.pulls.get(&number).cloned() else { return not_found() };
    if pulls::blocked(ctx.state, known, &pull).is_some() {
        return refuse(422, "Pull request is not ready to be queued");
    }
    let ahead = known.queue.last().and_then(|queued| super::git::id(&queued.head));
    let base = ahead.or_else(|| git.reference(&format!("refs/heads/{}", pull.base_branch)));
    let (Some(base), Some(head)) = (base, super::git::id(&pull.head)) else { return not_found() };
    let meet = git.merge_base(base, head)?;
    let tree = match meet {
        Some(meet) => git.merge_trees(git.commit(meet)?.tree, git.commit(base)?.tree, git.commit(head)?.tree)?,
        None => None,
    };
    let Some(tree) = tree else { return refuse(422, "Pull request has conflicts") };
    let (by, text) = (web_flow(ctx), format!("Merge pull request #{number} from {}", pull.head_branch));
    let group = git.write_commit(tree, &[base, head], &by, &by, &text)?;
    let branch = format!("gh-readonly-queue/{}/pr-{number}-{base}", pull.base_branch);
    git.set_reference(&format!("refs/heads/{branch}"), group)?;
    let queued = Queued { number, branch: branch.clone(), head: group.to_string(), base: base.to_string() };
    ctx.repository_mut(repository)?.queue.push(queued);
    let commit = git.commit(group)?;
    let account = ctx.account();
    let person = json!({ "name": by.name, "email": by.email });
    let payload = json!({ "merge_group": {
        "head_sha": group.to_string(),
        "head_ref": format!("refs/heads/{branch}"),
        "base_sha": base.to_string(),
        "base_ref": format!("refs/heads/{}", pull.base_branch),
        "head_commit": { "id": group.to_string(), "tree_id": commit.tree.to_string(), "message": text,
            "timestamp": super::json::time(ctx.now()), "author": person, "committer": person },
    } });
    super::webhooks::send(
        ctx.sandbox,
        ctx.state,
        "merge_group",
        Some("checks_requested"),
        Some(repository),
        account,
        payload,
    );
    Ok(())
}

/// Merges what is green, the first in the queue first; drops what is red, and what is behind it.
pub(super) fn run(ctx: &mut Ctx<'_>, repository: &str, git: &Arc<Git>) -> Result<(), Refusal> {
    while let Some(first) = ctx.repository(repository)?.queue.first().cloned() {
        let known = ctx.repository(repository)?;
        let check = known.checks.values().rfind(|check| check.head == first.head && check.name == "daypass");
        match check.and_then(|check| check.conclusion.as_deref()) {
            None => return Ok(()),
            Some("success" | "neutral" | "skipped") => {
                let (Some(head), Some(base)) = (super::git::id(&first.head), super::git::id(&first.base)) else {
                    return not_found();
                };
                let branch = known.pulls.get(&first.number).map(|pull| pull.base_branch.clone()).unwrap_or_default();
                ctx.repository_mut(repository)?.queue.remove(0);
                pulls::close_merged(ctx, repository, git, first.number, head, base)?;
                super::contents::move_branch(ctx, repository, git, &branch, head)?;
                git.delete_reference(&format!("refs/heads/{}", first.branch))?;
            }
            Some(_) => {
                for dropped in std::mem::take(&mut ctx.repository_mut(repository)?.queue) {
                    git.delete_reference(&format!("refs/heads/{}", dropped.branch))?;
                }
            }
        }
    }
    Ok(())
}
