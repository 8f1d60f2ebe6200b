//! The ledger's branch in a local clone: its lines in order, one file in memory at a time, and its commits.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use chrono::{DateTime, Utc};
use gix::ObjectId;
use gix::bstr::ByteSlice;
use gix::objs::tree::EntryKind;

use super::chain::{Entry, LineError};
use super::clone::{CloneError, LocalClone, broken};
use super::file::{BRANCH, LedgerFile};

/// The largest file that is read, in bytes. Daypass writes files of a megabyte or two.
const LARGEST: u64 = 16 << 20;

/// How many names are looked at to compare two trees: a tree can be made to hold more than anybody can read.
const MOST_NAMES: usize = 100_000;

/// The last second of the year 9999: a commit can claim any time.
const LAST_SECOND: i64 = 253_402_300_799;

/// How deep folders are looked into. Those of the ledger and of `policies/` are not deep.
const DEEPEST: usize = 32;

/// A path whose blob differs between two trees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TreeChange {
    /// The path.
    pub path: String,
    /// What was there.
    pub before: Option<ObjectId>,
    /// What is.
    pub after: Option<ObjectId>,
    /// Whether that is a plain file, and no program, link or submodule.
    pub plain: bool,
}

/// What differs between two trees.
#[derive(Debug, Default)]
pub(crate) struct TreeChanges {
    /// By path.
    pub all: Vec<TreeChange>,
    /// Whether there is so much that the rest was not looked at.
    pub cut: bool,
}

/// The branch at one commit.
#[derive(Debug, Clone)]
pub struct LedgerBranch<'a> {
    clone: &'a LocalClone,
    /// The commit it is at.
    pub tip: ObjectId,
    /// The ref it was found by.
    pub name: String,
    /// Another ref of the clone that holds another ledger, neither older nor newer than this one.
    pub other: Option<String>,
}

/// A place in the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinePlace {
    /// The file.
    pub file: LedgerFile,
    /// The line, from 1.
    pub line: u32,
}

/// A line, as far as it can be read: an entry, with what is wrong with it all the same; or only what is wrong.
pub type ReadLine = Result<(Entry, Option<LineError>), LineError>;

/// Who made a commit and when, as the commit says; and whether it carries a signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitFacts {
    /// The commit.
    pub id: ObjectId,
    /// Its tree.
    pub tree: ObjectId,
    /// Its parents.
    pub parents: Vec<ObjectId>,
    /// `Name <address>` of its author.
    pub author: String,
    /// The same of its committer.
    pub committer: String,
    /// When it was committed.
    pub at: DateTime<Utc>,
    /// Whether it is signed.
    pub signed: bool,
    /// Its message.
    pub message: String,
}

impl CommitFacts {
    /// Whether its author is a bot, as every App of GitHub is.
    pub fn is_by_a_bot(&self) -> bool {
        is_bot(&self.author)
    }
}

/// Whether `Name <address>` is that of a bot.
pub(crate) fn is_bot(author: &str) -> bool {
    author.split(" <").next().is_some_and(|name| name.ends_with("[bot]"))
}

impl LocalClone {
    /// The ledger's branch: the local one, or else that of a remote, `origin` first; and that one if the local one is merely older.
    pub fn ledger(&self) -> Result<LedgerBranch<'_>, CloneError> {
        let remotes = self.repository.remote_names().into_iter().map(|name| name.to_string());
        let others = remotes.map(|remote| format!("refs/remotes/{remote}/{BRANCH}"));
        let names = [format!("refs/heads/{BRANCH}"), format!("refs/remotes/origin/{BRANCH}")];
        for name in names.into_iter().chain(others) {
            let found = self.repository.try_find_reference(&name).map_err(broken)?;
            if let Some(mut reference) = found {
                let tip = reference.peel_to_id().map_err(broken)?.detach();
                let mut branch = LedgerBranch { clone: self, tip, name, other: None };
                self.hold_against_origin(&mut branch)?;
                return Ok(branch);
            }
        }
        Err(CloneError::NoLedger(BRANCH))
    }

    /// A local branch stays behind when others are fetched.
    fn hold_against_origin(&self, branch: &mut LedgerBranch<'_>) -> Result<(), CloneError> {
        let name = format!("refs/remotes/origin/{BRANCH}");
        let Some(mut origin) = self.repository.try_find_reference(&name).map_err(broken)? else { return Ok(()) };
        let tip = origin.peel_to_id().map_err(broken)?.detach();
        if tip == branch.tip {
            return Ok(());
        }
        match self.common(tip, branch.tip) {
            Some(common) if common == branch.tip => (branch.tip, branch.name) = (tip, name),
            Some(common) if common == tip => {}
            _ => branch.other = Some(name),
        }
        Ok(())
    }

    /// Whether the clone lacks the older history.
    pub fn is_shallow(&self) -> bool {
        self.repository.is_shallow().unwrap_or(true)
    }

    /// The default branch: what the remote's `HEAD` points at, or else the clone's own.
    pub fn default_branch(&self) -> Result<(String, ObjectId), CloneError> {
        for name in ["refs/remotes/origin/HEAD", "HEAD"] {
            if let Ok(Some(mut reference)) = self.repository.try_find_reference(name)
                && let Ok(id) = reference.peel_to_id()
            {
                return Ok((name.to_owned(), id.detach()));
            }
        }
        Err(CloneError::Revision("HEAD".to_owned()))
    }

    /// What a commit says of itself; none if the clone does not have it.
    pub fn commit_facts(&self, id: ObjectId) -> Result<Option<CommitFacts>, CloneError> {
        let Ok(object) = self.repository.find_object(id) else { return Ok(None) };
        let commit = object.try_into_commit().map_err(broken)?;
        let decoded = commit.decode().map_err(broken)?;
        let person = |who: gix::actor::SignatureRef<'_>| {
            format!("{} <{}>", who.name.to_str_lossy().trim(), who.email.to_str_lossy().trim())
        };
        let committer = decoded.committer().map_err(broken)?;
        let seconds = committer.time().map(|time| time.seconds).unwrap_or_default();
        Ok(Some(CommitFacts {
            id,
            tree: decoded.tree(),
            parents: decoded.parents().collect(),
            author: person(decoded.author().map_err(broken)?),
            committer: person(committer),
            at: DateTime::from_timestamp(seconds.clamp(0, LAST_SECOND), 0).unwrap_or_default(),
            signed: decoded.extra_headers().pgp_signature().is_some(),
            message: decoded.message.to_str_lossy().into_owned(),
        }))
    }

    /// The ledger's files in a tree, in order, with their blobs; without one where something else than a plain file is in its place.
    pub fn ledger_files(&self, tree: ObjectId) -> Result<Vec<(LedgerFile, Option<ObjectId>)>, CloneError> {
        let mut files = Vec::new();
        let mut waiting = vec![(String::new(), tree)];
        while let Some((prefix, tree)) = waiting.pop() {
            let tree = self.repository.find_tree(tree).map_err(broken)?;
            for entry in tree.iter() {
                let entry = entry.map_err(broken)?;
                let name = entry.filename().to_str_lossy();
                let path = if prefix.is_empty() { name.into_owned() } else { format!("{prefix}/{name}") };
                let kind = entry.mode().kind();
                match LedgerFile::at(&path) {
                    Some(file) => files.push((file, (kind == EntryKind::Blob).then(|| entry.oid().to_owned()))),
                    None if kind == EntryKind::Tree && LedgerFile::may_be_in(&path) => {
                        waiting.push((path, entry.oid().to_owned()));
                    }
                    None => {}
                }
            }
        }
        files.sort_by_key(|(file, _)| *file);
        Ok(files)
    }

    /// What differs between two trees, by path, in these folders or, if there are none, anywhere; folders that are the same are not
    /// looked into.
    pub(crate) fn tree_changes(
        &self,
        before: Option<ObjectId>,
        after: ObjectId,
        folders: &[&str],
    ) -> Result<TreeChanges, CloneError> {
        let mut changes = TreeChanges::default();
        let mut left = MOST_NAMES;
        let mut waiting = vec![(String::new(), before, Some(after), 0)];
        while let Some((prefix, before, after, depth)) = waiting.pop() {
            let (old, new) = (self.entries(before)?, self.entries(after)?);
            let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
            for name in names {
                let (was, is) = (old.get(name), new.get(name));
                if was == is || (prefix.is_empty() && !folders.is_empty() && !folders.contains(&name.as_str())) {
                    continue;
                }
                left = match left.checked_sub(1) {
                    Some(left) => left,
                    None => return Ok(TreeChanges { cut: true, ..changes }),
                };
                let path = if prefix.is_empty() { name.clone() } else { format!("{prefix}/{name}") };
                let part = |entry: Option<&(EntryKind, ObjectId)>, tree: bool| {
                    entry.filter(|(kind, _)| (*kind == EntryKind::Tree) == tree).map(|(_, id)| *id)
                };
                let (tree_was, tree_is) = (part(was, true), part(is, true));
                if tree_was != tree_is && depth < DEEPEST {
                    waiting.push((path.clone(), tree_was, tree_is, depth + 1));
                }
                let (before, after) = (part(was, false), part(is, false));
                if before.is_some() || after.is_some() {
                    let plain = is.is_some_and(|(kind, _)| *kind == EntryKind::Blob);
                    changes.all.push(TreeChange { path, before, after, plain });
                }
            }
        }
        Ok(changes)
    }

    fn entries(&self, tree: Option<ObjectId>) -> Result<BTreeMap<String, (EntryKind, ObjectId)>, CloneError> {
        let Some(tree) = tree else { return Ok(BTreeMap::new()) };
        let tree = self.repository.find_tree(tree).map_err(broken)?;
        let entry = |entry: Result<gix::object::tree::EntryRef<'_, '_>, _>| {
            let entry = entry.map_err(broken)?;
            Ok((entry.filename().to_str_lossy().into_owned(), (entry.mode().kind(), entry.oid().to_owned())))
        };
        tree.iter().map(entry).collect()
    }

    /// The best common ancestor of two commits, if they have one.
    pub(crate) fn common(&self, one: ObjectId, other: ObjectId) -> Option<ObjectId> {
        self.repository.merge_base(one, other).ok().flatten().map(|id| id.detach())
    }

    /// The content of a blob; none if it is too large to be one of ours.
    pub fn ledger_blob(&self, id: ObjectId) -> Result<Option<Vec<u8>>, CloneError> {
        if self.repository.find_header(id).map_err(broken)?.size() > LARGEST {
            return Ok(None);
        }
        Ok(Some(self.repository.find_blob(id).map_err(broken)?.take_data()))
    }
}

impl<'a> LedgerBranch<'a> {
    /// The same branch at another commit.
    pub fn at(&self, tip: ObjectId) -> Self {
        Self { tip, ..self.clone() }
    }

    /// Walks over all lines in order, until told to stop.
    pub fn walk(&self, mut each: impl FnMut(LinePlace, &[u8], ReadLine) -> ControlFlow<()>) -> Result<(), CloneError> {
        let Some(commit) = self.clone.commit_facts(self.tip)? else { return Ok(()) };
        for (file, blob) in self.clone.ledger_files(commit.tree)? {
            let content = match blob {
                Some(blob) => self.clone.ledger_blob(blob)?.ok_or(LineError::TooLong),
                None => Err(LineError::Mode),
            };
            let content = match content {
                Ok(content) => content,
                Err(error) => {
                    if each(LinePlace { file, line: 0 }, &[], Err(error)).is_break() {
                        return Ok(());
                    }
                    continue;
                }
            };
            let lines = (1..).zip(content.split(|byte| *byte == b'\n'));
            for (line, bytes) in lines.filter(|(_, bytes)| !bytes.is_empty()) {
                if each(LinePlace { file, line }, bytes, Entry::read_anyway(bytes)).is_break() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}
