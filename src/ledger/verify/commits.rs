//! The commits of the ledger's branch: each may only append, and all are by the same App.

use std::collections::{HashMap, VecDeque};

use chrono::{DateTime, Utc};
use gix::ObjectId;

use super::fault::FaultCode;
use super::{Claims, Found, SLACK, short};
use crate::ledger::branch::{CommitFacts, LinePlace, TreeChange};
use crate::ledger::chain::Entry;
use crate::ledger::clone::{CloneError, LocalClone};
use crate::ledger::file::LedgerFile;
use crate::policy::Severity;

/// How many contents of files are kept: those of one commit are asked for again by the next.
const KEPT: usize = 4;

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
pub(super) fn read(clone: &LocalClone, tip: ObjectId, claims: &Claims, found: &mut Found) -> Result<usize, CloneError> {
    let mut commits = 0;
    let mut authors = Authors::default();
    let mut contents = Contents::default();
    // What Daypass noticed itself: from where it had left the branch to where it found it.
    let noticed: HashMap<ObjectId, Option<ObjectId>> =
        claims.altered.iter().filter_map(|(expected, found)| Some(((*found)?, *expected))).collect();
    let mut until: Option<Option<ObjectId>> = None;
    let mut next = clone.commit_facts(tip)?;
    while let Some(commit) = next {
        commits += 1;
        until = match noticed.get(&commit.id) {
            Some(expected) => Some(*expected),
            None => until.filter(|expected| *expected != Some(commit.id)),
        };
        let parent = match commit.parents.first() {
            Some(parent) => clone.commit_facts(*parent)?,
            None => None,
        };
        // Putting right changes lines, too.
        let mended = parent.as_ref().is_some_and(|parent| noticed.contains_key(&parent.id));
        let severity = if until.is_some() || mended { Severity::Warning } else { Severity::Error };
        authors.look_at(&commit, until.is_some());
        let changes = clone.tree_changes(parent.as_ref().map(|parent| parent.tree), commit.tree)?;
        for change in &changes {
            let between = match &parent {
                Some(parent) => format!("between commits {} and {}", short(&parent.id), short(&commit.id)),
                None => format!("in commit {}", short(&commit.id)),
            };
            if let Some((line, what)) = compare(clone, &mut contents, change)? {
                let place = LedgerFile::at(&change.path).map(|file| LinePlace { file, line });
                let told = if severity == Severity::Warning { "; Daypass noticed, and put it right" } else { "" };
                let message = format!("{between} {what}{told}");
                found.add(FaultCode::Rewritten, severity, place, message);
            }
            newest(clone, &mut contents, change, &commit, found)?;
        }
        next = parent;
    }
    authors.judge(found);
    Ok(commits)
}

/// What a change does besides appending, and at which line first.
fn compare(
    clone: &LocalClone,
    contents: &mut Contents,
    change: &TreeChange,
) -> Result<Option<(u32, String)>, CloneError> {
    if LedgerFile::at(&change.path).is_none() {
        return Ok(Some((0, format!("`{}` was changed, which is no file of the ledger", change.path))));
    }
    let Some(after) = change.after else { return Ok(Some((0, format!("`{}` was removed", change.path)))) };
    let Some(before) = change.before else { return Ok(None) };
    let old = contents.get(clone, before)?.map(<[u8]>::to_vec);
    let (Some(old), Some(new)) = (old, contents.get(clone, after)?) else {
        return Ok(Some((0, format!("`{}` became too large to be read", change.path))));
    };
    if new.starts_with(&old) {
        return Ok(None);
    }
    let lines = |content: &[u8]| -> Vec<Vec<u8>> { content.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect() };
    let (old, new) = (lines(&old), lines(new));
    let first = old.iter().zip(&new).take_while(|(one, other)| one == other).count();
    let (mut had, mut has) = (old.clone(), new.clone());
    had.sort();
    has.sort();
    let gone = old.iter().filter(|line| has.binary_search(line).is_err()).count();
    let came = new.iter().filter(|line| had.binary_search(line).is_err()).count();
    let what = match (gone, came) {
        (0, 0) => "lines were put in another order".to_owned(),
        (0, came) => format!("{came} lines were put in between"),
        (gone, 0) => format!("{gone} lines were dropped"),
        (gone, came) => format!("{gone} lines were replaced by {came} others"),
    };
    Ok(Some((u32::try_from(first + 1).unwrap_or(u32::MAX), format!("{what}, from this line on"))))
}

/// An event is not from after the commit it came with, which has the time of GitHub.
fn newest(
    clone: &LocalClone,
    contents: &mut Contents,
    change: &TreeChange,
    commit: &CommitFacts,
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
        found.error(FaultCode::Clock, Some(LinePlace { file, line }), message);
    }
    Ok(())
}

/// Who made the commits.
#[derive(Default)]
struct Authors {
    /// By author, committer and whether it is signed: how many, and the last that was met.
    by: HashMap<(String, String, bool), (usize, ObjectId)>,
    noticed: Vec<ObjectId>,
}

impl Authors {
    fn look_at(&mut self, commit: &CommitFacts, noticed: bool) {
        let key = (commit.author.clone(), commit.committer.clone(), commit.signed);
        let entry = self.by.entry(key).or_insert((0, commit.id));
        *entry = (entry.0 + 1, commit.id);
        if noticed {
            self.noticed.push(commit.id);
        }
    }

    /// Bots whose commits GitHub committed are the App; with several, or without, the most frequent is taken for it.
    fn judge(&self, found: &mut Found) {
        let is_bot = |author: &str| author.split(" <").next().is_some_and(|name| name.ends_with("[bot]"));
        let app = self.by.iter().max_by_key(|((author, _, signed), (times, _))| (is_bot(author), *signed, *times));
        let Some(((author, committer, signed), _)) = app else { return };
        for ((other, by, is_signed), (times, commit)) in &self.by {
            if (other, by, is_signed) == (author, committer, signed) {
                continue;
            }
            let noticed = self.noticed.contains(commit);
            let severity = if noticed { Severity::Warning } else { Severity::Error };
            let how = match (other == author, by == committer) {
                (true, true) => "is not signed, as the others are".to_owned(),
                (true, false) => format!("says it is by {}, but was committed by {}", tame(other), tame(by)),
                _ => format!("is by {}, and not by {}", tame(other), tame(author)),
            };
            let message = match times {
                1 => format!("commit {} {how}", short(commit)),
                times => format!("commit {} and {} more: it {how}", short(commit), times - 1),
            };
            found.add(FaultCode::Author, severity, None, message);
        }
    }
}

/// Names in commits are anybody's.
fn tame(text: &str) -> String {
    crate::policy::render::tame(&text.chars().take(120).collect::<String>())
}
