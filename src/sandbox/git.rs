//! The real git repository behind the embedded GitHub: one wrapper around gix, in process, for everything but the wire
//! protocol.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::{Path, PathBuf};

use gix::bstr::{BString, ByteSlice};
use gix::objs::tree::EntryKind;
use gix::refs::transaction::{Change, PreviousValue, RefEdit, RefLog};
use gix::{ObjectId, ThreadSafeRepository};

/// Something git could not do.
#[derive(Debug, thiserror::Error)]
#[error("git: {0}")]
pub struct GitError(String);

fn failed(error: impl std::fmt::Display) -> GitError {
    GitError(error.to_string())
}

type Result<T> = std::result::Result<T, GitError>;

/// A bare repository.
pub(super) struct Git {
    repository: ThreadSafeRepository,
    path: PathBuf,
}

/// An entry of a flattened tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub kind: EntryKind,
    pub id: ObjectId,
}

/// Who made a commit, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Signature {
    pub name: String,
    pub email: String,
    pub seconds: i64,
}

/// A commit, read.
#[derive(Debug, Clone)]
pub(super) struct Commit {
    pub id: ObjectId,
    pub tree: ObjectId,
    pub parents: Vec<ObjectId>,
    pub author: Signature,
    pub committer: Signature,
    pub message: String,
}

/// A file that differs between two trees.
#[derive(Debug, Clone)]
pub(super) struct FileChange {
    pub path: String,
    pub previous: Option<String>,
    pub before: Option<Entry>,
    pub after: Option<Entry>,
}

impl Git {
    /// Opens the repository at `path`, making it if there is none.
    pub fn open(path: &Path) -> Result<Self> {
        let repository = match path.join("HEAD").exists() {
            true => gix::open(path).map_err(failed)?,
            false => {
                let made = gix::init_bare(path).map_err(failed)?;
                std::fs::write(path.join("HEAD"), "ref: refs/heads/main\n").map_err(failed)?;
                // For git itself, which serves clones and pushes.
                let settings = "[http]\n\treceivepack = true\n[uploadpack]\n\tallowAnySHA1InWant = true\n[core]\n\tlogAllRefUpdates = false\n";
                let mut config = std::fs::read_to_string(path.join("config")).map_err(failed)?;
                config.push_str(settings);
                std::fs::write(path.join("config"), config).map_err(failed)?;
                drop(made);
                gix::open(path).map_err(failed)?
            }
        };
        Ok(Self { repository: repository.into_sync(), path: path.to_owned() })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn repo(&self) -> gix::Repository {
        let mut repo = self.repository.to_thread_local();
        repo.object_cache_size_if_unset(4 << 20);
        repo
    }

    /// The commit a full ref name points at.
    pub fn reference(&self, name: &str) -> Option<ObjectId> {
        let repo = self.repo();
        let mut found = repo.try_find_reference(name).ok()??;
        found.peel_to_id().ok().map(gix::Id::detach)
    }

    /// Every ref below `prefix`, by full name.
    pub fn references(&self, prefix: &str) -> BTreeMap<String, ObjectId> {
        let repo = self.repo();
        let mut found = BTreeMap::new();
        if let Ok(platform) = repo.references()
            && let Ok(all) = platform.all()
        {
            for mut reference in all.flatten() {
                let name = reference.name().as_bstr().to_str_lossy().into_owned();
                if name.starts_with(prefix)
                    && let Ok(id) = reference.peel_to_id()
                {
                    found.insert(name, id.detach());
                }
            }
        }
        found
    }

    /// Points a ref at an object.
    pub fn set_reference(&self, name: &str, id: ObjectId) -> Result<()> {
        self.repo().reference(name, id, PreviousValue::Any, "sandbox").map(|_| ()).map_err(failed)
    }

    /// Removes a ref.
    pub fn delete_reference(&self, name: &str) -> Result<()> {
        let edit = RefEdit {
            change: Change::Delete { expected: PreviousValue::Any, log: RefLog::AndReference },
            name: name.try_into().map_err(failed)?,
            deref: false,
        };
        self.repo().edit_reference(edit).map(|_| ()).map_err(failed)
    }

    /// What kind of object an id is, if there is one.
    pub fn kind(&self, id: ObjectId) -> Option<gix::objs::Kind> {
        self.repo().find_header(id).ok().map(|header| header.kind())
    }

    /// The bytes of a blob.
    pub fn blob(&self, id: ObjectId) -> Result<Vec<u8>> {
        let repo = self.repo();
        let mut blob = repo.find_object(id).map_err(failed)?.try_into_blob().map_err(failed)?;
        Ok(blob.take_data())
    }

    /// Writes a blob.
    pub fn write_blob(&self, bytes: &[u8]) -> Result<ObjectId> {
        self.repo().write_blob(bytes).map(gix::Id::detach).map_err(failed)
    }

    /// One commit.
    pub fn commit(&self, id: ObjectId) -> Result<Commit> {
        let repo = self.repo();
        let object = repo.find_object(id).map_err(failed)?.try_into_commit().map_err(failed)?;
        let commit = object.decode().map_err(failed)?;
        let sign = |signature: gix::actor::SignatureRef<'_>| Signature {
            name: signature.name.to_str_lossy().into_owned(),
            email: signature.email.to_str_lossy().into_owned(),
            seconds: signature.time().map(|time| time.seconds).unwrap_or_default(),
        };
        Ok(Commit {
            id,
            tree: commit.tree(),
            parents: commit.parents().collect(),
            author: sign(commit.author().map_err(failed)?),
            committer: sign(commit.committer().map_err(failed)?),
            message: commit.message.to_str_lossy().into_owned(),
        })
    }

    /// Writes a commit.
    pub fn write_commit(
        &self,
        tree: ObjectId,
        parents: &[ObjectId],
        author: &Signature,
        committer: &Signature,
        message: &str,
    ) -> Result<ObjectId> {
        let sign = |signature: &Signature| gix::actor::Signature {
            name: BString::from(signature.name.as_str()),
            email: BString::from(signature.email.as_str()),
            time: gix::date::Time { seconds: signature.seconds, offset: 0 },
        };
        let commit = gix::objs::Commit {
            tree,
            parents: parents.iter().copied().collect(),
            author: sign(author),
            committer: sign(committer),
            encoding: None,
            message: message.into(),
            extra_headers: Vec::new(),
        };
        self.repo().write_object(&commit).map(gix::Id::detach).map_err(failed)
    }

    /// The tree of no files.
    pub fn empty_tree(&self) -> Result<ObjectId> {
        self.repo().write_object(gix::objs::Tree::empty()).map(gix::Id::detach).map_err(failed)
    }

    /// The entries of one tree.
    pub fn tree(&self, id: ObjectId) -> Result<Vec<(String, Entry)>> {
        let repo = self.repo();
        let tree = repo.find_object(id).map_err(failed)?.try_into_tree().map_err(failed)?;
        let decoded = tree.decode().map_err(failed)?;
        Ok(decoded
            .entries
            .iter()
            .map(|entry| {
                let kind = entry.mode.kind();
                (entry.filename.to_str_lossy().into_owned(), Entry { kind, id: entry.oid.to_owned() })
            })
            .collect())
    }

    /// Every entry below a tree, by path; with the trees themselves if asked for.
    pub fn flatten(&self, tree: ObjectId, with_trees: bool) -> Result<BTreeMap<String, Entry>> {
        let mut found = BTreeMap::new();
        let mut waiting = vec![(String::new(), tree)];
        while let Some((prefix, tree)) = waiting.pop() {
            for (name, entry) in self.tree(tree)? {
                let path = if prefix.is_empty() { name } else { format!("{prefix}/{name}") };
                if entry.kind == EntryKind::Tree {
                    waiting.push((path.clone(), entry.id));
                }
                if entry.kind != EntryKind::Tree || with_trees {
                    found.insert(path, entry);
                }
            }
        }
        Ok(found)
    }

    /// The files at a commit.
    pub fn files(&self, commit: ObjectId) -> Result<BTreeMap<String, Entry>> {
        self.flatten(self.commit(commit)?.tree, false)
    }

    /// A tree with these paths changed: to this entry, or away.
    pub fn edit_tree(&self, base: ObjectId, changes: &[(String, Option<Entry>)]) -> Result<ObjectId> {
        let repo = self.repo();
        let mut editor = repo.edit_tree(base).map_err(failed)?;
        for (path, entry) in changes {
            match entry {
                Some(entry) => editor.upsert(path.as_str(), entry.kind, entry.id).map_err(failed)?,
                None => editor.remove(path.as_str()).map_err(failed)?,
            };
        }
        editor.write().map(gix::Id::detach).map_err(failed)
    }

    /// Everything reachable from `tips` and not from `hidden`, newest first by time, parents after children.
    pub fn history(&self, tip: ObjectId, hidden: Option<ObjectId>) -> Result<Vec<Commit>> {
        let hidden: BTreeSet<ObjectId> = match hidden {
            Some(hidden) => self.history(hidden, None)?.into_iter().map(|commit| commit.id).collect(),
            None => BTreeSet::new(),
        };
        let mut seen = BTreeSet::from([tip]);
        let mut waiting = VecDeque::from([tip]);
        let mut found: BTreeMap<ObjectId, Commit> = BTreeMap::new();
        while let Some(id) = waiting.pop_front() {
            if hidden.contains(&id) {
                continue;
            }
            let commit = self.commit(id)?;
            waiting.extend(commit.parents.iter().copied().filter(|parent| seen.insert(*parent)));
            found.insert(id, commit);
        }
        // Children before parents: a commit comes once all its children have come; among those ready, the newest.
        let mut children: BTreeMap<ObjectId, usize> = BTreeMap::new();
        for parent in found.values().flat_map(|commit| &commit.parents).filter(|parent| found.contains_key(*parent)) {
            *children.entry(*parent).or_default() += 1;
        }
        let mut ready: BTreeSet<(i64, ObjectId)> = found
            .values()
            .filter(|commit| !children.contains_key(&commit.id))
            .map(|commit| (commit.committer.seconds, commit.id))
            .collect();
        let mut ordered = Vec::new();
        while let Some((_, id)) = ready.pop_last() {
            let Some(commit) = found.remove(&id) else { continue };
            for parent in &commit.parents {
                if let Some(left) = children.get_mut(parent) {
                    *left -= 1;
                    if *left == 0
                        && let Some(parent) = found.get(parent)
                    {
                        ready.insert((parent.committer.seconds, parent.id));
                    }
                }
            }
            ordered.push(commit);
        }
        Ok(ordered)
    }

    /// Whether `ancestor` is `commit` or in its history.
    pub fn is_ancestor(&self, ancestor: ObjectId, commit: ObjectId) -> Result<bool> {
        Ok(self.merge_base(ancestor, commit)? == Some(ancestor))
    }

    /// The best common ancestor.
    pub fn merge_base(&self, one: ObjectId, other: ObjectId) -> Result<Option<ObjectId>> {
        if one == other {
            return Ok(Some(one));
        }
        let of_one: BTreeSet<ObjectId> = self.history(one, None)?.into_iter().map(|commit| commit.id).collect();
        Ok(self.history(other, None)?.into_iter().map(|commit| commit.id).find(|id| of_one.contains(id)))
    }

    /// The tree that merges `theirs` into `ours`; `None` if they conflict.
    pub fn merge_trees(&self, base: ObjectId, ours: ObjectId, theirs: ObjectId) -> Result<Option<ObjectId>> {
        let repo = self.repo();
        let options = repo.tree_merge_options().map_err(failed)?;
        let mut outcome = repo
            .merge_trees(base, ours, theirs, gix::merge::blob::builtin_driver::text::Labels::default(), options)
            .map_err(failed)?;
        if outcome.has_unresolved_conflicts(gix::merge::tree::TreatAsUnresolved::default()) {
            return Ok(None);
        }
        outcome.tree.write().map(|id| Some(id.detach())).map_err(failed)
    }

    /// What differs between two trees. A removed and an added file of the same content are one renamed file.
    pub fn diff(&self, before: Option<ObjectId>, after: ObjectId) -> Result<Vec<FileChange>> {
        let before = before.map(|before| self.flatten(before, false)).transpose()?.unwrap_or_default();
        let after = self.flatten(after, false)?;
        let mut removed: BTreeMap<String, Entry> = before
            .iter()
            .filter(|(path, _)| !after.contains_key(*path))
            .map(|(path, entry)| (path.clone(), entry.clone()))
            .collect();
        let mut changes = Vec::new();
        for (path, entry) in &after {
            let old = before.get(path);
            if old == Some(entry) {
                continue;
            }
            let renamed = match old {
                Some(_) => None,
                None => removed
                    .iter()
                    .find(|(_, gone)| gone.id == entry.id)
                    .map(|(path, gone)| (path.clone(), gone.clone())),
            };
            if let Some((from, _)) = &renamed {
                removed.remove(from);
            }
            let (previous, gone) = renamed.unzip();
            changes.push(FileChange {
                path: path.clone(),
                previous,
                before: old.cloned().or(gone),
                after: Some(entry.clone()),
            });
        }
        changes.extend(removed.into_iter().map(|(path, entry)| FileChange {
            path,
            previous: None,
            before: Some(entry),
            after: None,
        }));
        changes.sort_by(|one, other| one.path.cmp(&other.path));
        Ok(changes)
    }
}

/// An id from hex.
pub(super) fn id(hex: &str) -> Option<ObjectId> {
    ObjectId::from_hex(hex.as_bytes()).ok()
}
