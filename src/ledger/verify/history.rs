//! The history of the default branch beside the ledger, both ways.

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};
use gix::ObjectId;

use super::fault::FaultCode;
use super::{Claims, Found, SLACK, short, small};
use crate::ledger::branch::{CommitFacts, TreeChanges};
use crate::ledger::chain::Link;
use crate::ledger::clone::{CloneError, LocalClone};
use crate::ledger::file::TRAILER;
use crate::policy::Severity;

/// A commit of the default branch's line that changes `grants/` or `policies/`.
#[derive(Debug)]
pub(super) struct Step {
    /// Its place on the line, from the oldest.
    index: usize,
    commit: ObjectId,
    grants: Vec<(String, Option<ObjectId>, Option<ObjectId>)>,
    policy: bool,
}

/// An event quoted by a revert.
#[derive(Debug)]
pub(super) struct Quote {
    /// Its number.
    pub seq: u64,
    hash: String,
    commit: ObjectId,
}

/// How long Daypass may take until what happened is on the ledger, while everything runs.
const FRESH: TimeDelta = TimeDelta::hours(1);

/// The default branch, along first parents.
#[derive(Debug, Default)]
pub(super) struct History {
    /// What changes something, oldest first.
    pub steps: Vec<Step>,
    /// What reverts quote.
    pub quotes: Vec<Quote>,
    name: String,
    /// Every commit of the line by its place, with whether it has one parent only.
    line: HashMap<ObjectId, usize>,
    single: Vec<bool>,
    ids: Vec<ObjectId>,
    /// Whether it goes back to its beginning.
    whole: bool,
    ledger_at: Option<DateTime<Utc>>,
    times: Vec<DateTime<Utc>>,
}

/// Reads the default branch of a clone whose ledger is at `ledger`.
pub(super) fn read(clone: &LocalClone, ledger: ObjectId, found: &mut Found) -> Result<History, CloneError> {
    let mut history = History { ledger_at: clone.commit_facts(ledger)?.map(|commit| commit.at), ..History::default() };
    let (name, tip) = clone.default_branch()?;
    history.name = name;
    if tip == ledger {
        let message = "`HEAD` is the ledger itself: check out the default branch, and look again".to_owned();
        found.add(FaultCode::Partial, Severity::Warning, None, message);
        return Ok(history);
    }
    let mut newest_first = Vec::new();
    let mut next = clone.commit_facts(tip)?;
    while let Some(commit) = next {
        let parent = match commit.parents.first() {
            Some(parent) => {
                let known = clone.commit_facts(*parent)?;
                history.whole = known.is_some();
                known
            }
            None => {
                history.whole = true;
                None
            }
        };
        history.quotes.extend(quote(&commit));
        for other in commit.parents.iter().skip(1) {
            if let Some(other) = clone.commit_facts(*other)? {
                history.quotes.extend(quote(&other));
            }
        }
        let changes = match (&parent, history.whole) {
            (None, false) => TreeChanges::default(),
            (parent, _) => {
                clone.tree_changes(parent.as_ref().map(|parent| parent.tree), commit.tree, &["grants", "policies"])?
            }
        };
        if changes.cut {
            let message = format!("commit {} changes more than can be looked at", short(&commit.id));
            found.error(FaultCode::NotOnRecord, None, message);
        }
        let changes = changes.all;
        let policy = changes.iter().any(|change| change.path.starts_with("policies/"));
        let is_request = |path: &str| path.starts_with("grants/") && path.ends_with(".yaml");
        let grants = changes.into_iter().filter(|change| is_request(&change.path) && change.before != change.after);
        let grants = grants.map(|change| (change.path, change.before, change.after)).collect::<Vec<_>>();
        newest_first.push((commit.id, commit.at, commit.parents.len() < 2, grants, policy));
        next = parent;
    }
    for (index, (commit, at, single, grants, policy)) in newest_first.into_iter().rev().enumerate() {
        history.line.insert(commit, index);
        history.single.push(single);
        history.ids.push(commit);
        history.times.push(at);
        if policy || !grants.is_empty() {
            history.steps.push(Step { index, commit, grants, policy });
        }
    }
    Ok(history)
}

/// What a revert quotes. Daypass writes all three lines, and is a bot; a person who writes them quotes a revert.
fn quote(commit: &CommitFacts) -> Option<Quote> {
    if !commit.is_by_a_bot() {
        return None;
    }
    let message = &commit.message;
    let line = |name: &str| message.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    let (_, _, quoted) = (line("Daypass-Grant")?, line("Daypass-Reason")?, line(TRAILER)?);
    let (seq, hash) = quoted.trim().split_once(' ')?;
    let is_hash = hash.len() == 64 && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_hash.then_some(Quote { seq: seq.parse().ok()?, hash: hash.to_owned(), commit: commit.id })
}

/// Holds both against each other.
pub(super) fn compare(history: &History, claims: &Claims, newest: &Link, now: DateTime<Utc>, found: &mut Found) {
    quotes(history, claims, newest, found);
    if history.ids.is_empty() {
        return;
    }
    for (commit, (seq, place)) in &claims.commits {
        if history.line.contains_key(commit) || !history.whole {
            continue;
        }
        let (severity, why) = match claims.rewritten.filter(|rewritten| seq < rewritten) {
            Some(rewritten) => (Severity::Warning, format!("; event {rewritten} says that history was rewritten")),
            None => (Severity::Error, String::new()),
        };
        let message =
            format!("event {seq} names commit {}, which is not in the history of {}{why}", short(commit), history.name);
        found.add(FaultCode::NotInHistory, severity, Some(*place), message);
    }
    let on_record: Vec<usize> = claims.commits.keys().filter_map(|commit| history.line.get(commit).copied()).collect();
    let (Some(first), Some(last)) = (on_record.iter().min(), on_record.iter().max()) else {
        let message = "the ledger names no commit of the default branch: the two could not be compared".to_owned();
        found.add(FaultCode::Partial, Severity::Warning, None, message);
        return;
    };
    let unrecorded = |index: usize, what: String, found: &mut Found| {
        if index < *first {
            return;
        }
        let at = history.times.get(index).copied().unwrap_or_default();
        let (severity, more) = match index > *last && history.ledger_at.is_none_or(|ledger| at + SLACK >= ledger) {
            true if now - FRESH <= at && at <= now + SLACK => {
                (Severity::Note, "; it may be too new: fetch, and look again")
            }
            true => (
                Severity::Error,
                "; fetch, and look again: if it stays, the ledger was set back, or Daypass does not write it any more",
            ),
            false => (Severity::Error, ""),
        };
        found.add(FaultCode::NotOnRecord, severity, None, format!("{what}, and that is not on record{more}"));
    };
    let mut before = 0;
    for step in &history.steps {
        if step.index < *first {
            before += 1;
            continue;
        }
        if in_series(history, claims, step.index) {
            continue;
        }
        if step.policy && !claims.commits.contains_key(&step.commit) {
            unrecorded(step.index, format!("commit {} changes the policy", short(&step.commit)), found);
        }
        for (path, old, new) in &step.grants {
            let shown = crate::policy::render::tame(path);
            match (old, new) {
                (_, Some(new)) if !claims.contents.contains_key(&(small(path), *new)) => {
                    unrecorded(step.index, format!("commit {} brings `{shown}`", short(&step.commit)), found);
                }
                (Some(old), None) => {
                    let grant = claims.contents.get(&(small(path), *old)).copied().flatten();
                    if grant.is_some_and(|grant| !claims.ended.contains(&grant)) {
                        unrecorded(step.index, format!("commit {} removes `{shown}`", short(&step.commit)), found);
                    }
                }
                _ => {}
            }
        }
    }
    if before > 0 {
        let message =
            format!("{before} changes of the default branch are from before the ledger, and were not compared");
        found.add(FaultCode::Partial, Severity::Note, None, message);
    }
}

/// Whether a commit is one of a rebased series that ends later, at a commit that is on record: only the whole counts.
fn in_series(history: &History, claims: &Claims, index: usize) -> bool {
    let mut at = index;
    while history.single.get(at + 1).copied().unwrap_or(false) && history.single.get(at).copied().unwrap_or(false) {
        at += 1;
        let on_record = history.ids.get(at).is_some_and(|commit| claims.commits.contains_key(commit));
        if on_record {
            let at_once = history.times.get(index).zip(history.times.get(at));
            let at_once = at_once.is_some_and(|(one, other)| (*other - *one).abs() <= TimeDelta::minutes(1));
            return at_once && history.ids.get(index).is_some_and(|commit| !claims.commits.contains_key(commit));
        }
    }
    false
}

fn quotes(history: &History, claims: &Claims, newest: &Link, found: &mut Found) {
    for quote in &history.quotes {
        let what = match claims.hashes.get(&quote.seq) {
            Some(hash) if *hash == quote.hash => continue,
            Some(_) => format!("the ledger has another event {}", quote.seq),
            None if quote.seq > newest.seq => format!("the ledger ends at event {}", newest.seq),
            None => format!("the ledger has no event {}", quote.seq),
        };
        let message = format!(
            "commit {} quotes event {} with the hash {}…, and {what}: the ledger was written anew since",
            short(&quote.commit),
            quote.seq,
            quote.hash.get(..12).unwrap_or_default()
        );
        found.error(FaultCode::Contradicted, None, message);
    }
}
