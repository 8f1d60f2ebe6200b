//! A local clone of a policy repository, read at a revision: no network, no work tree, no `git` program.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use gix::bstr::ByteSlice;
use gix::objs::tree::EntryKind;

use crate::access::change::GRANT_LIMIT;
use crate::access::facts::FileMode;
use crate::policy::POLICY_LIMIT;

/// Why a clone cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum CloneError {
    /// There is none.
    #[error("{0} is not in a git repository: run this in a clone of the policy repository, or name one")]
    None(PathBuf),
    /// The revision is not known.
    #[error(
        "`{0}` is no revision of this clone: name a branch, a tag or a commit that is here (`git fetch` brings what is not)"
    )]
    Revision(String),
    /// Two revisions have no history in common.
    #[error("`{0}` and `{1}` have no commit in common: write `{0}..{1}` to compare them as they are")]
    Unrelated(String, String),
    /// It has no branch of the ledger.
    #[error(
        "this clone has no branch {0}: bring it with `git fetch origin {0}:{0}`; if there is none on GitHub either, Daypass has written nothing yet, or somebody deleted it"
    )]
    NoLedger(&'static str),
    /// Something in it cannot be read.
    #[error("the clone cannot be read: {0} (`git fsck` tells more)")]
    Broken(String),
}

pub(super) fn broken(error: impl std::fmt::Display) -> CloneError {
    CloneError::Broken(error.to_string())
}

/// A clone.
pub struct LocalClone {
    pub(super) repository: gix::Repository,
}

impl std::fmt::Debug for LocalClone {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("LocalClone").field(&self.repository.git_dir()).finish()
    }
}

impl LocalClone {
    /// The clone that `path` is in.
    pub fn at(path: &Path) -> Result<Self, CloneError> {
        let none = || CloneError::None(path.to_owned());
        let found = gix::discover(path).map_err(|_| none())?;
        // A replacement would show something else than what is in the history, here only.
        let options = found.open_options().clone().config_overrides(["core.useReplaceRefs=false"]);
        let repository = gix::open_opts(found.git_dir(), options).map_err(|_| none())?;
        Ok(Self { repository })
    }

    /// Its working tree, if it has one.
    pub fn working_tree(&self) -> Option<&Path> {
        self.repository.workdir()
    }

    /// The best common ancestor of two revisions, as a revision.
    pub fn merge_base(&self, one: &str, other: &str) -> Result<String, CloneError> {
        let (a, b) = (self.commit(one)?, self.commit(other)?);
        let unrelated = || CloneError::Unrelated(shown(one), shown(other));
        self.repository.merge_base(a, b).map_err(broken)?.map(|id| id.to_string()).ok_or_else(unrelated)
    }

    /// The files of `policies/` and `grants/` at a revision, by path. A link, a submodule or an executable file becomes a text that
    /// is no YAML and says so, as where pull requests are judged; what is too large does too.
    pub fn files(&self, revision: &str) -> Result<BTreeMap<String, Vec<u8>>, CloneError> {
        let commit = self.repository.find_commit(self.commit(revision)?).map_err(broken)?;
        let mut files = BTreeMap::new();
        let mut waiting = vec![(String::new(), commit.tree_id().map_err(broken)?.detach())];
        while let Some((prefix, tree)) = waiting.pop() {
            let tree = self.repository.find_tree(tree).map_err(broken)?;
            for entry in tree.iter() {
                let entry = entry.map_err(broken)?;
                let name = entry.filename().to_str_lossy();
                let path = if prefix.is_empty() { name.into_owned() } else { format!("{prefix}/{name}") };
                if prefix.is_empty() && !matches!(path.as_str(), "policies" | "grants") {
                    continue;
                }
                let mode = match entry.mode().kind() {
                    EntryKind::Tree => {
                        waiting.push((path, entry.oid().to_owned()));
                        continue;
                    }
                    EntryKind::Blob => FileMode::Regular,
                    EntryKind::BlobExecutable => FileMode::Executable,
                    EntryKind::Link => FileMode::Symlink,
                    EntryKind::Commit => FileMode::Submodule,
                };
                let content = self.content(&path, mode, entry.oid().to_owned())?;
                files.insert(path, content);
            }
        }
        Ok(files)
    }

    /// The requests that ever were in `grants/` on the way to a revision, one for each content a file had. The way is that of the
    /// default branch: along first parents, at most `most` commits back.
    pub fn requests_ever(&self, revision: &str, most: usize) -> Result<Vec<(String, Vec<u8>)>, CloneError> {
        let mut next = Some(self.commit(revision)?);
        let (mut folders, mut known, mut requests) = (BTreeSet::new(), BTreeSet::new(), Vec::new());
        for _ in 0..most {
            let Some(id) = next else { break };
            let commit = self.repository.find_commit(id).map_err(broken)?;
            next = commit.parent_ids().next().map(gix::Id::detach);
            let tree = commit.tree().map_err(broken)?;
            let Some(folder) = tree.find_entry("grants").map(|entry| entry.oid().to_owned()) else { continue };
            // Most commits leave it as it is.
            if !folders.insert(folder) {
                continue;
            }
            let Ok(folder) = self.repository.find_tree(folder) else { continue };
            for entry in folder.iter() {
                let entry = entry.map_err(broken)?;
                let path = format!("grants/{}", entry.filename().to_str_lossy());
                let is_request = entry.mode().kind() == EntryKind::Blob && path.ends_with(".yaml");
                if is_request && known.insert((path.clone(), entry.oid().to_owned())) {
                    let content = self.content(&path, FileMode::Regular, entry.oid().to_owned())?;
                    requests.push((path, content));
                }
            }
        }
        Ok(requests)
    }

    fn content(&self, path: &str, mode: FileMode, id: gix::ObjectId) -> Result<Vec<u8>, CloneError> {
        if mode != FileMode::Regular {
            return Ok(format!("@ not read: {}", mode.as_str()).into_bytes());
        }
        let limit = if path.starts_with("grants/") { GRANT_LIMIT } else { POLICY_LIMIT as u64 };
        let size = self.repository.find_header(id).map_err(broken)?.size();
        if size > limit {
            return Ok(b"@ not read: too large".to_vec());
        }
        let mut blob = self.repository.find_blob(id).map_err(broken)?;
        Ok(blob.take_data())
    }

    fn commit(&self, revision: &str) -> Result<gix::ObjectId, CloneError> {
        let unknown = || CloneError::Revision(shown(revision));
        let id = self.repository.rev_parse_single(revision).map_err(|_| unknown())?;
        let object = id.object().map_err(|_| unknown())?;
        object.peel_to_commit().map(|commit| commit.id).map_err(|_| unknown())
    }
}

/// A revision as it may be shown on a terminal.
fn shown(revision: &str) -> String {
    revision.chars().take(120).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}
