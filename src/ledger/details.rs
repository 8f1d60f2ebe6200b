//! What events say about a pull request, from the judgement itself: the record and the check are views of one value.

use std::collections::BTreeMap;

use gix::bstr::BString;
use gix::objs::tree::{Entry, EntryKind};
use gix::objs::{Kind, Tree, WriteTo};
use serde_json::{Value, json};

use crate::access::approval::{ApprovalStatus, Discount, Discounted, StageState};
use crate::access::case::PullFacts;
use crate::access::change::Subject;
use crate::access::decide::{Decision, verdict_of};
use crate::access::facts::{FileMode, Review, ReviewState, TreeFile};
use crate::access::judgement::Judgement;
use crate::access::removal::Removal;
use crate::policy::Finding;
use crate::policy::name::CommitId;

/// Which policy something was judged under: the commit, and git's id of the tree of `policies/` there (`git rev-parse
/// COMMIT:policies`), which is the same for as long as no policy file changes. `files` are all files at the commit.
pub fn policy_version(commit: &CommitId, files: &BTreeMap<String, TreeFile>) -> Value {
    json!({ "commit": commit, "tree": policy_tree(files) })
}

/// Git's id of the tree of `policies/`; none if there is no such folder.
pub fn policy_tree(files: &BTreeMap<String, TreeFile>) -> Option<String> {
    let inside = files.iter().filter_map(|(path, file)| Some((path.strip_prefix("policies/")?, file)));
    tree_id(&inside.collect::<Vec<_>>()).map(|id| id.to_string())
}

/// The id of a tree of these files; none of an empty one, which git does not keep.
fn tree_id(files: &[(&str, &TreeFile)]) -> Option<gix::ObjectId> {
    let mut tree = Tree::empty();
    let mut folders: BTreeMap<&str, Vec<(&str, &TreeFile)>> = BTreeMap::new();
    for (path, file) in files {
        match path.split_once('/') {
            Some((folder, rest)) => folders.entry(folder).or_default().push((rest, file)),
            None => {
                let mode = match file.mode {
                    FileMode::Regular => EntryKind::Blob,
                    FileMode::Executable => EntryKind::BlobExecutable,
                    FileMode::Symlink => EntryKind::Link,
                    FileMode::Submodule => EntryKind::Commit,
                };
                let oid = gix::ObjectId::from_hex(file.blob.as_str().as_bytes()).ok()?;
                tree.entries.push(Entry { mode: mode.into(), filename: BString::from(*path), oid });
            }
        }
    }
    for (folder, files) in folders {
        let oid = tree_id(&files)?;
        tree.entries.push(Entry { mode: EntryKind::Tree.into(), filename: BString::from(folder), oid });
    }
    if tree.entries.is_empty() {
        return None;
    }
    tree.entries.sort();
    let mut bytes = Vec::new();
    tree.write_to(&mut bytes).ok()?;
    gix::objs::compute_hash(gix::hash::Kind::Sha1, Kind::Tree, &bytes).ok()
}

/// What a pull request asks for.
pub fn requested(facts: &PullFacts, judgement: &Judgement) -> Value {
    let pull = &facts.pull;
    let request = |decision: &Decision| {
        let request = &decision.request;
        json!({ "grant": format!("{}#{}", request.slug, pull.number), "subject": decision.subject, "role": request.role,
            "duration": request.duration.to_string(), "start": request.start, "reason": request.reason,
            "ticket": request.ticket, "break_glass": request.break_glass })
    };
    json!({ "pull_request": pull.number, "head": pull.head, "author": pull.author, "pushed_by": facts.history.pushers,
        "requests": judgement.requests.iter().map(request).collect::<Vec<_>>(),
        "removes": judgement.removals.iter().map(|removal| &removal.slug).collect::<Vec<_>>(),
        "policy": judgement.subject == Subject::Policy })
}

/// The decision tree.
pub fn decision(judgement: &Judgement) -> Value {
    let findings = |findings: &[Finding]| -> Vec<Value> {
        let one = |finding: &Finding| json!({ "code": finding.code, "file": finding.file, "line": finding.place.line, "message": finding.message });
        findings.iter().map(one).collect()
    };
    let request = |decision: &Decision| {
        json!({ "file": decision.request.path(), "verdict": decision.verdict(), "findings": findings(&decision.findings),
            "approval": decision.approval.as_ref().map(approval), "entitlements": decision.entitlements,
            "replaces": decision.replaces.as_ref().map(|grant| &grant.id) })
    };
    let removal = |removal: &Removal| {
        json!({ "slug": removal.slug, "grant": removal.grant.as_ref().map(|grant| &grant.id),
            "verdict": removal.verdict(), "by": removal.by })
    };
    json!({ "findings": findings(&judgement.findings),
        "requests": judgement.requests.iter().map(request).collect::<Vec<_>>(),
        "removals": judgement.removals.iter().map(removal).collect::<Vec<_>>(),
        "policy_approval": judgement.policy_approval.as_ref().map(approval) })
}

fn approval(status: &ApprovalStatus) -> Value {
    let stages = status.stages.iter().map(|stage| {
        let state = match &stage.state {
            StageState::Skipped => "skipped",
            StageState::Satisfied => "satisfied",
            StageState::Open => "open",
            StageState::Waiting => "waiting",
            StageState::Failed(_) => "failed",
        };
        let approvals = stage.approvals.iter().map(|(by, review)| json!({ "by": by, "review": review }));
        json!({ "name": stage.name, "required": stage.required, "state": state, "escalated_at": stage.escalated_at,
            "approvals": approvals.collect::<Vec<_>>() })
    });
    json!({ "rule": status.rule, "verdict": verdict_of(status), "stages": stages.collect::<Vec<_>>(),
        "objections": status.objections,
        "discounted": status.discounted.iter().map(discounted).collect::<Vec<_>>() })
}

fn discounted(discounted: &Discounted) -> Value {
    let why = match &discounted.why {
        Discount::Stale(commit) => json!({ "stale": commit }),
        Discount::Involved(how) => json!({ "involved": how.as_str() }),
        Discount::NotAnApprover => json!("not-an-approver"),
        Discount::NotAPerson => json!("not-a-person"),
        Discount::AfterMerge => json!("after-merge"),
    };
    json!({ "by": discounted.by, "why": why })
}

/// The approvals that count, each with GitHub's id of its review.
pub fn approvals(facts: &PullFacts, judgement: &Judgement) -> BTreeMap<u64, Value> {
    let mut found = BTreeMap::new();
    for status in judgement.approvals() {
        for stage in &status.stages {
            for (by, review) in &stage.approvals {
                let details = json!({ "pull_request": facts.pull.number, "head": facts.pull.head, "by": by,
                    "review": review, "rule": status.rule, "stage": stage.name });
                found.entry(*review).or_insert(details);
            }
        }
    }
    found
}

/// The objections that count, each with GitHub's id of its review.
pub fn objections(facts: &PullFacts, judgement: &Judgement) -> BTreeMap<u64, Value> {
    let mut found = BTreeMap::new();
    for by in judgement.approvals().flat_map(|status| &status.objections) {
        let said =
            |review: &&Review| review.state == ReviewState::ChangesRequested && review.author.as_ref() == Some(by);
        if let Some(review) = facts.reviews.iter().rev().find(said) {
            let details = json!({ "pull_request": facts.pull.number, "head": facts.pull.head, "by": by,
                "review": review.id, "commit": review.commit });
            found.insert(review.id, details);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_of_a_policy_is_the_tree_git_has() {
        let dir = tempfile::tempdir().unwrap();
        let repository = gix::init_bare(dir.path()).unwrap();
        let blob = |text: &str| repository.write_blob(text).unwrap().detach();
        let paths =
            ["policies/b.yaml", "policies/b/c.yaml", "policies/a.yaml", "policies/b-d/e/f.yaml", "grants/x.yaml"];
        let mut editor = repository.edit_tree(repository.empty_tree().id).unwrap();
        let mut files = BTreeMap::new();
        for path in paths {
            editor.upsert(path, EntryKind::Blob, blob(path)).unwrap();
            let file = TreeFile { mode: FileMode::Regular, blob: blob(path).to_string().parse().unwrap(), size: None };
            files.insert(path.to_owned(), file);
        }
        let root = repository.find_tree(editor.write().unwrap()).unwrap();
        let policies = root.find_entry("policies").unwrap().oid().to_string();
        assert_eq!(policy_tree(&files), Some(policies));
        files.retain(|path, _| path.starts_with("grants/"));
        assert_eq!(policy_tree(&files), None);
    }
}
