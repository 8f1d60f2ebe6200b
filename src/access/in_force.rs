//! The policy in force is the newest one that was approved, which need not be what the default branch holds. A change of the policy is
//! approved on top of the one in force: what would be merged has to be exactly that, and nothing that lies on the default branch beside.

use std::collections::{BTreeMap, BTreeSet};

use super::change::{merged, refusal, shown};
use super::facts::{ChangedFile, TreeFile};
use crate::policy::{Code, Finding};

/// The files of a repository at one commit, by path.
pub type Files = BTreeMap<String, TreeFile>;

/// The folder of the policy.
pub const POLICIES: &str = "policies/";

/// What is in the way of a change of the policy, before it is merged: the default branch (`base`) holds something else than what is in
/// force, which it would bring along; or has changed the same files since the pull request left it at `meet`.
pub fn obstacles(
    in_force: &Files,
    (base, meet): (&Files, &Files),
    changed: &[ChangedFile],
    head: &Files,
) -> Vec<Finding> {
    let (wanted, comes) = (merged(in_force, changed, head), merged(base, changed, head));
    let mut findings = Vec::new();
    for path in differing(&wanted, &comes) {
        findings.push(refusal(
            Code::PolicyNotInForce,
            path,
            format!(
                "the default branch holds a change of `{}` that nobody approved, and this would bring it along",
                shown(path)
            ),
            Code::PolicyNotInForce.explanation(),
        ));
    }
    for path in differing(base, meet).into_iter().filter(|path| changes(changed, path)) {
        if same(head.get(path), base.get(path)) {
            continue;
        }
        findings.push(refusal(
            Code::PolicyBranchBehind,
            path,
            format!("the default branch has changed `{}` since this branch was made", shown(path)),
            Code::PolicyBranchBehind.explanation(),
        ));
    }
    findings
}

/// Whether two commits hold the same policy.
pub fn same_policy(one: &Files, other: &Files) -> bool {
    differing(one, other).is_empty()
}

/// The files of the policy in which two commits differ.
pub fn differing<'a>(one: &'a Files, other: &'a Files) -> BTreeSet<&'a str> {
    let paths = one.keys().chain(other.keys()).map(String::as_str).filter(|path| path.starts_with(POLICIES));
    paths.filter(|path| !same(one.get(*path), other.get(*path))).collect()
}

fn same(one: Option<&TreeFile>, other: Option<&TreeFile>) -> bool {
    let what = |file: &TreeFile| (file.mode, file.blob.clone());
    one.map(what) == other.map(what)
}

fn changes(changed: &[ChangedFile], path: &str) -> bool {
    changed.iter().any(|file| file.path == path || file.previous_path.as_deref() == Some(path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::facts::{Change, FileMode};

    fn files(contents: &[(&str, char)]) -> Files {
        let file = |blob: char| TreeFile {
            mode: FileMode::Regular,
            blob: blob.to_string().repeat(40).parse().unwrap(),
            size: None,
        };
        contents.iter().map(|(path, blob)| ((*path).to_owned(), file(*blob))).collect()
    }

    fn changed(path: &str) -> Vec<ChangedFile> {
        vec![ChangedFile { path: path.to_owned(), previous_path: None, change: Change::Modified, blob: None }]
    }

    fn codes(in_force: &Files, base: &Files, meet: &Files, path: &str, head: &Files) -> Vec<Code> {
        obstacles(in_force, (base, meet), &changed(path), head).into_iter().map(|finding| finding.code).collect()
    }

    #[test]
    fn a_change_of_what_is_in_force_may_pass() {
        let base = files(&[("policies/a.yaml", 'a'), ("policies/b.yaml", 'b'), ("grants/x.yaml", 'c')]);
        let head = files(&[("policies/a.yaml", 'd'), ("policies/b.yaml", 'b')]);
        assert_eq!(codes(&base, &base, &base, "policies/a.yaml", &head), []);
    }

    #[test]
    fn nothing_that_nobody_approved_comes_along() {
        let in_force = files(&[("policies/a.yaml", 'a'), ("policies/b.yaml", 'b')]);
        let base = files(&[("policies/a.yaml", 'a'), ("policies/b.yaml", 'e')]);
        let head = files(&[("policies/a.yaml", 'd'), ("policies/b.yaml", 'e')]);
        assert_eq!(codes(&in_force, &base, &base, "policies/a.yaml", &head), [Code::PolicyNotInForce]);
        // Undoing it does not bring it along, whatever else it is changed into.
        for undone in ['b', 'f'] {
            let head = files(&[("policies/a.yaml", 'a'), ("policies/b.yaml", undone)]);
            assert_eq!(codes(&in_force, &base, &base, "policies/b.yaml", &head), []);
        }
    }

    #[test]
    fn what_both_sides_changed_is_not_what_anybody_read() {
        let meet = files(&[("policies/a.yaml", 'a')]);
        let base = files(&[("policies/a.yaml", 'b')]);
        let head = files(&[("policies/a.yaml", 'c')]);
        assert_eq!(codes(&base, &base, &meet, "policies/a.yaml", &head), [Code::PolicyBranchBehind]);
        assert_eq!(codes(&base, &base, &meet, "policies/a.yaml", &base), [], "both did the same");
    }
}
