//! The commits of the ledger's branch: each may only append, and all are by the same App.

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};

use chrono::{DateTime, Utc};
use gix::ObjectId;

use super::fault::FaultCode;
use super::{Claims, Found, SLACK, short};
use crate::ledger::branch::{CommitFacts, LinePlace, TreeChange, is_bot};
use crate::ledger::chain::Entry;
use crate::ledger::clone::{CloneError, LocalClone};
use crate::ledger::file::LedgerFile;
use crate::policy::Severity;

/// How many contents of files are kept: those of one commit are asked for again by the next.
const KEPT: usize = 4;

/// Files of more lines are not compared line by line: Daypass writes a few thousand into one.
const MOST_LINES: usize = 100_000;

/// Contents that were read last.
#[derive(Default)]
struct Contents(VecDeque<(ObjectId, Option<Vec<u8>>)>);

impl Contents {
    fn get(&mut self, clone: &LocalClone, id: ObjectId) -> Result<Option<&[u8]>, CloneError> {
        if !self.0.iter().any(|(known, _)| *known == id) {
            let content = clone.ledger_blob(id)?;
            self.0.push_back((id, content));
            if self.0.len() > KEPT {
                self.0.pop_front();
            }
        }
        Ok(self.0.iter().find(|(known, _)| *known == id).and_then(|(_, content)| content.as_deref()))
    }
}

/// Looks at every commit from the tip back to the first one, along first parents; how many there are.
///
/// What Daypass found altered and put right is told as that, and only then: the commit on top of what was found has to be by the App,
/// and may only append to what Daypass had left. From there on it is that line that is looked at, and what somebody else put in its
/// place is told beside it.
pub(super) fn read(clone: &LocalClone, tip: ObjectId, claims: &Claims, found: &mut Found) -> Result<usize, CloneError> {
    let mut look = Look {
        clone,
        app: the_app(clone, tip)?,
        // What Daypass noticed itself: from where it had left the branch to where it found it.
        noticed: claims.altered.iter().filter_map(|(expected, found)| Some(((*found)?, *expected))).collect(),
        seen: HashSet::new(),
        contents: Contents::default(),
        authors: Authors::default(),
        found,
    };
    let mut next = clone.commit_facts(tip)?;
    while let Some(commit) = next.take().filter(|commit| look.seen.insert(commit.id)) {
        look.authors.look_at(&commit, Severity::Error);
        let parent = match commit.parents.first() {
            Some(parent) => clone.commit_facts(*parent)?,
            None => None,
        };
        next = match parent {
            Some(parent) => look.at(&commit, parent)?,
            None => {
                look.change(None, &commit, Severity::Error)?;
                None
            }
        };
    }
    let Look { app, seen, authors, found, .. } = look;
    if let Some(app) = app {
        authors.judge(&app, found);
    }
    Ok(seen.len())
}

/// What is looked at, and what is known meanwhile.
struct Look<'a> {
    clone: &'a LocalClone,
    app: Option<Identity>,
    noticed: HashMap<ObjectId, Option<ObjectId>>,
    seen: HashSet<ObjectId>,
    contents: Contents,
    authors: Authors,
    found: &'a mut Found,
}

impl Look<'_> {
    /// Looks at what a commit does to the one before it; where to go on.
    fn at(&mut self, commit: &CommitFacts, parent: CommitFacts) -> Result<Option<CommitFacts>, CloneError> {
        let Some(expected) = self.noticed.get(&parent.id).copied() else {
            self.change(Some(&parent), commit, Severity::Error)?;
            return Ok(Some(parent));
        };
        let expected = match expected {
            Some(expected) => self.clone.commit_facts(expected)?,
            None => None,
        };
        let by_app = self.app.as_ref().is_some_and(|app| *app == Identity::of(commit));
        let again = expected.as_ref().is_some_and(|expected| self.seen.contains(&expected.id));
        if !by_app || again || !self.restores(expected.as_ref(), commit)? {
            let message = format!(
                "an event says that Daypass put right what it found at commit {}, and commit {} on top of it does not do that",
                short(&parent.id),
                short(&commit.id)
            );
            self.found.error(FaultCode::Rewritten, None, message);
            self.change(Some(&parent), commit, Severity::Error)?;
            return Ok(Some(parent));
        }
        // Putting right changes lines, too.
        self.change(Some(&parent), commit, Severity::Warning)?;
        let until = expected.as_ref().and_then(|expected| self.clone.common(expected.id, parent.id));
        let mut next = Some(parent);
        while let Some(foreign) = next.filter(|foreign| Some(foreign.id) != until && self.seen.insert(foreign.id)) {
            self.authors.look_at(&foreign, Severity::Warning);
            let before = match foreign.parents.first() {
                Some(before) => self.clone.commit_facts(*before)?,
                None => None,
            };
            self.change(before.as_ref(), &foreign, Severity::Warning)?;
            next = before;
        }
        Ok(expected)
    }

    /// Whether a commit holds what Daypass had left, and more of it at most. What it had left may be gone for good, or nothing.
    fn restores(&mut self, expected: Option<&CommitFacts>, commit: &CommitFacts) -> Result<bool, CloneError> {
        let Some(expected) = expected else { return Ok(true) };
        let changes = self.clone.tree_changes(Some(expected.tree), commit.tree, &[])?;
        for change in &changes.all {
            if compare(self.clone, &mut self.contents, change)?.is_some() {
                return Ok(false);
            }
        }
        Ok(!changes.cut)
    }

    /// What a commit does besides appending.
    fn change(
        &mut self,
        parent: Option<&CommitFacts>,
        commit: &CommitFacts,
        severity: Severity,
    ) -> Result<(), CloneError> {
        let told = if severity == Severity::Warning { "; Daypass noticed, and put it right" } else { "" };
        let between = match parent {
            Some(parent) => format!("between commits {} and {}", short(&parent.id), short(&commit.id)),
            None => format!("in commit {}", short(&commit.id)),
        };
        let changes = self.clone.tree_changes(parent.map(|parent| parent.tree), commit.tree, &[])?;
        if changes.cut {
            let message = format!("{between} more was changed than can be looked at{told}");
            self.found.add(FaultCode::Rewritten, severity, None, message);
        }
        for change in &changes.all {
            if let Some((line, what)) = compare(self.clone, &mut self.contents, change)? {
                let place = LedgerFile::at(&change.path).map(|file| LinePlace { file, line });
                self.found.add(FaultCode::Rewritten, severity, place, format!("{between} {what}{told}"));
            }
            newest(self.clone, &mut self.contents, change, commit, severity, self.found)?;
        }
        Ok(())
    }
}

/// What a change does besides appending, and at which line first.
fn compare(
    clone: &LocalClone,
    contents: &mut Contents,
    change: &TreeChange,
) -> Result<Option<(u32, String)>, CloneError> {
    let path = crate::policy::render::tame(&change.path);
    if LedgerFile::at(&change.path).is_none() {
        return Ok(Some((0, format!("`{path}` was changed, which is no file of the ledger"))));
    }
    let Some(after) = change.after else { return Ok(Some((0, format!("`{path}` was removed")))) };
    if !change.plain {
        return Ok(Some((0, format!("`{path}` became something else than a plain file, and is not read"))));
    }
    let Some(before) = change.before else { return Ok(None) };
    if before == after {
        return Ok(Some((0, format!("`{path}` became a plain file"))));
    }
    let old = contents.get(clone, before)?.map(<[u8]>::to_vec);
    let (Some(old), Some(new)) = (old, contents.get(clone, after)?) else {
        return Ok(Some((0, format!("`{path}` became too large to be read"))));
    };
    Ok(if new.starts_with(&old) { None } else { Some(difference(&old, new)) })
}

/// How two contents differ, and at which line first.
fn difference(old: &[u8], new: &[u8]) -> (u32, String) {
    let lines = |content: &'_ [u8]| content.iter().filter(|byte| **byte == b'\n').count();
    let same = old.iter().zip(new).take_while(|(one, other)| one == other).count();
    let first = u32::try_from(lines(new.get(..same).unwrap_or_default()) + 1).unwrap_or(u32::MAX);
    if lines(old).max(lines(new)) > MOST_LINES {
        return (first, "lines were changed, from this line on".to_owned());
    }
    let sorted = |content: &'_ [u8]| {
        let mut lines: Vec<u64> = content.split(|byte| *byte == b'\n').map(small_bytes).collect();
        lines.sort_unstable();
        lines
    };
    let (had, has) = (sorted(old), sorted(new));
    let gone = had.iter().filter(|line| has.binary_search(line).is_err()).count();
    let came = has.iter().filter(|line| had.binary_search(line).is_err()).count();
    let what = match (gone, came) {
        (0, 0) => "lines were put in another order".to_owned(),
        (0, came) => format!("{came} lines were put in between"),
        (gone, 0) => format!("{gone} lines were dropped"),
        (gone, came) => format!("{gone} lines were replaced by {came} others"),
    };
    (first, format!("{what}, from this line on"))
}

fn small_bytes(line: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    line.hash(&mut hasher);
    hasher.finish()
}

/// An event is not from after the commit it came with, which has the time of GitHub.
fn newest(
    clone: &LocalClone,
    contents: &mut Contents,
    change: &TreeChange,
    commit: &CommitFacts,
    severity: Severity,
    found: &mut Found,
) -> Result<(), CloneError> {
    let (Some(file), Some(after)) = (LedgerFile::at(&change.path), change.after) else { return Ok(()) };
    let Some(content) = contents.get(clone, after)? else { return Ok(()) };
    let Some(last) = content.split(|byte| *byte == b'\n').rev().find(|line| !line.is_empty()) else { return Ok(()) };
    let Ok((entry, _)) = Entry::read_anyway(last) else { return Ok(()) };
    let at: DateTime<Utc> = entry.event.at;
    if at > commit.at + SLACK {
        let line = u32::try_from(content.iter().filter(|byte| **byte == b'\n').count()).unwrap_or(0);
        let message = format!(
            "event {} is dated {}, and commit {} that brought it {}: one of the times is wrong",
            entry.seq,
            at.to_rfc3339(),
            short(&commit.id),
            commit.at.to_rfc3339()
        );
        found.add(FaultCode::Clock, severity, Some(LinePlace { file, line }), message);
    }
    Ok(())
}

/// Who made a commit, as it says: author and committer, and whether it carries a signature.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Identity {
    author: String,
    committer: String,
    signed: bool,
}

impl Identity {
    fn of(commit: &CommitFacts) -> Self {
        Self { author: commit.author.clone(), committer: commit.committer.clone(), signed: commit.signed }
    }
}

/// Who is taken for the App. Bots whose commits GitHub committed are; with several, or without, the most frequent.
fn the_app(clone: &LocalClone, tip: ObjectId) -> Result<Option<Identity>, CloneError> {
    let mut by: HashMap<Identity, usize> = HashMap::new();
    let mut next = clone.commit_facts(tip)?;
    while let Some(commit) = next {
        *by.entry(Identity::of(&commit)).or_default() += 1;
        next = match commit.parents.first() {
            Some(parent) => clone.commit_facts(*parent)?,
            None => None,
        };
    }
    let most = by.into_iter().max_by_key(|(who, times)| (is_bot(&who.author), who.signed, *times));
    Ok(most.map(|(who, _)| who))
}

/// Who made the commits.
#[derive(Default)]
struct Authors {
    /// By who made it and how bad that is, if it was somebody else: how many, and the last that was met.
    by: HashMap<(Identity, Severity), (usize, ObjectId)>,
}

impl Authors {
    /// What Daypass put right is a warning; another commit by the same person is not, for that.
    fn look_at(&mut self, commit: &CommitFacts, severity: Severity) {
        let entry = self.by.entry((Identity::of(commit), severity)).or_insert((0, commit.id));
        *entry = (entry.0 + 1, commit.id);
    }

    fn judge(&self, app: &Identity, found: &mut Found) {
        for ((who, severity), (times, commit)) in self.by.iter().filter(|((who, _), _)| who != app) {
            let how = match (who.author == app.author, who.committer == app.committer) {
                (true, true) => "is not signed, as the others are".to_owned(),
                (true, false) => {
                    format!("says it is by {}, but was committed by {}", tame(&who.author), tame(&who.committer))
                }
                _ => format!("is by {}, and not by {}", tame(&who.author), tame(&app.author)),
            };
            let message = match times {
                1 => format!("commit {} {how}", short(commit)),
                times => format!("commit {} and {} more: it {how}", short(commit), times - 1),
            };
            found.add(FaultCode::Author, *severity, None, message);
        }
    }
}

/// Names in commits are anybody's.
fn tame(text: &str) -> String {
    crate::policy::render::tame(&text.chars().take(120).collect::<String>())
}
