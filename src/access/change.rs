//! What a pull request changes, by its files: requests, removals, the policy, or nothing Daypass decides.
//!
//! A pull request may change files in `grants/` or in `policies/`, never both, and nothing else beside them: what reviewers
//! approve is access, and must not carry anything along.

use std::collections::{BTreeMap, BTreeSet};

use super::facts::{Change, ChangedFile, FileMode, TreeFile};
use crate::policy::name::Slug;
use crate::policy::{Code, Finding, Place, Severity};

/// The largest grant file that is read, in bytes.
pub const GRANT_LIMIT: u64 = 64 * 1024;

/// What a pull request is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// Grant files are added, edited or removed.
    Grants(GrantChanges),
    /// Policy files are changed.
    Policy,
    /// Neither: no access depends on it.
    Unrelated,
}

/// The grant files a pull request changes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GrantChanges {
    /// Added or edited: each is a request.
    pub requested: BTreeSet<Slug>,
    /// Removed: each is an early end.
    pub removed: BTreeSet<Slug>,
}

/// Sorts the changed `files`; `head` is the tree at the pull request's head. Findings are reasons to refuse it.
pub fn classify(files: &[ChangedFile], head: &BTreeMap<String, TreeFile>) -> (Subject, Vec<Finding>) {
    let mut findings = Vec::new();
    let mut grants = GrantChanges::default();
    let (mut grant_paths, mut policy_paths, mut other_paths) = (Vec::new(), Vec::new(), Vec::new());
    for (path, gone) in files.iter().flat_map(touched) {
        match area(path) {
            Area::Grants => {
                grant_paths.push(path);
                check_mode(path, gone, head, &mut findings);
                match slug_of(path) {
                    Ok(slug) if gone => {
                        grants.removed.insert(slug);
                    }
                    Ok(slug) => {
                        grants.requested.insert(slug);
                    }
                    // Cleaning up a file that should never have been there is welcome.
                    Err(_) if gone => {}
                    Err(finding) => findings.push(finding),
                }
            }
            Area::Policy => {
                policy_paths.push(path);
                check_mode(path, gone, head, &mut findings);
            }
            Area::Other => other_paths.push(path),
        }
    }
    if let (Some(_), Some(path)) = (grant_paths.first(), policy_paths.first()) {
        findings.push(refusal(
            Code::MixedPullRequest,
            path,
            "this pull request changes both `grants/` and `policies/`".to_owned(),
            "Open one pull request for the grant and another for the policy; they are approved by different people.",
        ));
    }
    for path in other_paths.iter().filter(|_| !grant_paths.is_empty()) {
        findings.push(refusal(
            Code::OutsideGrants,
            path,
            format!("`{}` is outside `grants/`: a request may carry nothing else along", shown(path)),
            "Take this file out of the pull request and propose it separately.",
        ));
    }
    let subject = match (grant_paths.is_empty(), policy_paths.is_empty()) {
        (false, _) => Subject::Grants(grants),
        (true, false) => Subject::Policy,
        (true, true) => Subject::Unrelated,
    };
    (subject, findings)
}

/// The paths a changed file touches, each with whether it is gone afterwards.
fn touched(file: &ChangedFile) -> impl Iterator<Item = (&str, bool)> {
    let before = file.previous_path.as_deref().filter(|before| *before != file.path).map(|before| (before, true));
    before.into_iter().chain([(file.path.as_str(), file.change == Change::Removed)])
}

enum Area {
    Grants,
    Policy,
    Other,
}

/// Which part of the repository a path is in. Compared without case: on some systems `Grants/` is the same folder.
fn area(path: &str) -> Area {
    match path.split('/').next().unwrap_or_default().to_ascii_lowercase().as_str() {
        "grants" => Area::Grants,
        "policies" => Area::Policy,
        _ => Area::Other,
    }
}

/// The slug of a path in `grants/`, or what is wrong with the path.
pub fn slug_of(path: &str) -> Result<Slug, Finding> {
    path.strip_prefix("grants/")
        .and_then(|name| name.strip_suffix(".yaml"))
        .and_then(|stem| stem.parse().ok())
        .ok_or_else(|| {
            refusal(
                Code::GrantPath,
                path,
                format!("`{}` is not a grant file: only `grants/<slug>.yaml` may be in `grants/`", shown(path)),
                "Name it with lower-case letters, digits and `-`, for example grants/20261201-alice-orders-db-reader.yaml.",
            )
        })
}

/// Paths of the grant files in a tree, by slug. What else lies in `grants/` is no grant.
pub fn grant_files(tree: &BTreeMap<String, TreeFile>) -> BTreeMap<Slug, &TreeFile> {
    tree.iter()
        .filter(|(_, file)| file.mode == FileMode::Regular)
        .filter_map(|(path, file)| slug_of(path).ok().map(|slug| (slug, file)))
        .collect()
}

/// The files after a merge: the base's, with those the pull request changes as it has them.
pub fn merged(
    base: &BTreeMap<String, TreeFile>,
    changed: &[ChangedFile],
    head: &BTreeMap<String, TreeFile>,
) -> BTreeMap<String, TreeFile> {
    let mut files = base.clone();
    for file in changed {
        if let Some(before) = &file.previous_path {
            files.remove(before);
        }
        match head.get(&file.path) {
            Some(after) if file.change != Change::Removed => files.insert(file.path.clone(), after.clone()),
            _ => files.remove(&file.path),
        };
    }
    files
}

fn check_mode(path: &str, gone: bool, head: &BTreeMap<String, TreeFile>, findings: &mut Vec<Finding>) {
    let Some(file) = head.get(path).filter(|_| !gone) else { return };
    if file.mode != FileMode::Regular {
        findings.push(refusal(
            Code::FileMode,
            path,
            format!("`{}` is {}; only plain files are read", shown(path), file.mode.as_str()),
            "Commit it as a plain file (mode 100644).",
        ));
    } else if file.size.is_some_and(|size| size > GRANT_LIMIT) && matches!(area(path), Area::Grants) {
        findings.push(refusal(
            Code::FileTooLarge,
            path,
            format!("`{}` is larger than {} KiB", shown(path), GRANT_LIMIT / 1024),
            "A request is a dozen lines of YAML; remove the rest.",
        ));
    }
}

/// A path as it may be quoted in a sentence: paths are as hostile as any other text.
pub(super) fn shown(path: &str) -> String {
    path.chars().take(120).map(|c| if c.is_control() || c == '`' { '\u{fffd}' } else { c }).collect()
}

pub(super) fn refusal(code: Code, path: &str, message: String, help: &str) -> Finding {
    Finding {
        file: path.to_owned(),
        place: Place::default(),
        severity: Severity::Error,
        code,
        message,
        help: help.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, change: Change) -> ChangedFile {
        ChangedFile { path: path.into(), previous_path: None, change, blob: None }
    }

    fn codes(files: &[ChangedFile]) -> Vec<Code> {
        classify(files, &BTreeMap::new()).1.into_iter().map(|finding| finding.code).collect()
    }

    #[test]
    fn a_new_grant_file_is_a_request_and_a_removed_one_an_early_end() {
        let files = [file("grants/a.yaml", Change::Added), file("grants/b.yaml", Change::Removed)];
        let (subject, findings) = classify(&files, &BTreeMap::new());
        let Subject::Grants(changes) = subject else { panic!("{subject:?}") };
        assert_eq!(changes.requested, BTreeSet::from(["a".parse().unwrap()]));
        assert_eq!(changes.removed, BTreeSet::from(["b".parse().unwrap()]));
        assert_eq!(findings, []);
    }

    #[test]
    fn a_renamed_grant_is_one_end_and_one_request() {
        let mut renamed = file("grants/b.yaml", Change::Renamed);
        renamed.previous_path = Some("grants/a.yaml".into());
        let (Subject::Grants(changes), _) = classify(&[renamed], &BTreeMap::new()) else { panic!() };
        assert_eq!((changes.requested.len(), changes.removed.len()), (1, 1));
    }

    #[test]
    fn nothing_rides_along() {
        assert_eq!(
            codes(&[file("grants/a.yaml", Change::Added), file("policies/x.yaml", Change::Modified)]),
            [Code::MixedPullRequest]
        );
        assert_eq!(
            codes(&[file("grants/a.yaml", Change::Added), file(".github/workflows/x.yml", Change::Added)]),
            [Code::OutsideGrants]
        );
        for path in
            ["grants/a/b.yaml", "grants/A.yaml", "grants/a.yml", "Grants/a.yaml", "grants/.yaml", "grants/../x.yaml"]
        {
            assert_eq!(codes(&[file(path, Change::Added)]), [Code::GrantPath], "{path}");
        }
    }

    #[test]
    fn links_submodules_and_huge_files_are_refused() {
        let blob: crate::policy::name::BlobId = "a".repeat(40).parse().unwrap();
        for (mode, size, code) in [
            (FileMode::Symlink, 10, Code::FileMode),
            (FileMode::Submodule, 0, Code::FileMode),
            (FileMode::Executable, 10, Code::FileMode),
            (FileMode::Regular, 10 << 20, Code::FileTooLarge),
        ] {
            let head =
                BTreeMap::from([("grants/a.yaml".to_owned(), TreeFile { mode, blob: blob.clone(), size: Some(size) })]);
            let (_, findings) = classify(&[file("grants/a.yaml", Change::Added)], &head);
            assert_eq!(findings.first().map(|finding| finding.code), Some(code), "{mode:?}");
        }
    }
}
