//! Whether the record is whole and true to the history of the default branch, from a plain clone: nothing is asked of anybody.
//!
//! Four looks, each of which finds what the others cannot: at the chain of the newest ledger; at each commit of its branch, which
//! may only append; at the events quoted by reverts of the default branch; and at the ledger and that history side by side, both
//! ways. What Daypass itself noticed and put right is told as a warning, everything else as an error.

mod chain;
mod commits;
mod fault;
mod history;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use chrono::{DateTime, TimeDelta, Utc};
use gix::ObjectId;

use super::branch::LinePlace;
use super::chain::Link;
use super::clone::{CloneError, LocalClone};
use crate::policy::Severity;
pub use fault::{Fault, FaultCode};

/// How far clocks may be apart, and how long an event may be under way.
const SLACK: TimeDelta = TimeDelta::minutes(10);
/// How many findings are told; of the rest, how many there are.
const MOST_FINDINGS: usize = 200;

/// What came of it.
#[derive(Debug)]
pub struct Verified {
    /// What is wrong, and what could not be looked at.
    pub findings: Vec<Fault>,
    /// How many errors there are, with those that are left out.
    pub errors: usize,
    /// How many warnings.
    pub warnings: usize,
    /// Events in the ledger.
    pub events: u64,
    /// Commits on its branch.
    pub commits: usize,
    /// Changes of `grants/` and `policies/` in the history of the default branch.
    pub changes: usize,
    /// The newest event: who notes its hash today can tell tomorrow whether anything before it was altered.
    pub newest: Link,
}

/// What is found while looking, of bounded size.
#[derive(Debug, Default)]
struct Found {
    findings: Vec<Fault>,
    /// How many there are of each severity, with those that are not kept.
    counts: BTreeMap<Severity, usize>,
}

impl Found {
    fn add(&mut self, code: FaultCode, severity: Severity, place: Option<LinePlace>, message: String) {
        // Each severity has room of its own: many warnings must not hide an error.
        let count = self.counts.entry(severity).or_default();
        *count += 1;
        if *count <= MOST_FINDINGS {
            self.findings.push(Fault::new(code, severity, place, message));
        }
    }

    /// The worst of them, and of the rest how many there are.
    fn told(mut self) -> Vec<Fault> {
        self.findings.sort_by_key(|fault| std::cmp::Reverse(fault.severity));
        self.findings.truncate(MOST_FINDINGS);
        let more = self.counts.values().sum::<usize>() - self.findings.len();
        if more > 0 {
            let message = format!("{more} more were found, and are left out here");
            self.findings.push(Fault::new(FaultCode::Partial, Severity::Warning, None, message));
        }
        self.findings
    }

    fn error(&mut self, code: FaultCode, place: Option<LinePlace>, message: String) {
        self.add(code, Severity::Error, place, message);
    }
}

/// What the ledger says about the default branch and about itself, kept small: millions of events may say something.
#[derive(Debug, Default)]
struct Claims {
    /// Commits of the default branch, each with the first event that names it, and where that one stands.
    commits: HashMap<ObjectId, (u64, LinePlace)>,
    /// Contents of `grants/` by file and blob; with the grant, or without if it was refused.
    contents: HashMap<(u64, ObjectId), Option<u64>>,
    /// Grants that ended.
    ended: HashSet<u64>,
    /// Where Daypass found the branch of the ledger altered: where it had left it, and where it found it.
    altered: Vec<(Option<ObjectId>, Option<ObjectId>)>,
    /// The last event that says that the default branch was rewritten.
    rewritten: Option<u64>,
    /// The hashes that are asked for, as far as they were met.
    hashes: HashMap<u64, String>,
}

/// A text, kept small.
fn small(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

fn id(hex: &serde_json::Value) -> Option<ObjectId> {
    ObjectId::from_hex(hex.as_str()?.as_bytes()).ok()
}

fn short(id: &ObjectId) -> String {
    id.to_hex_with_len(10).to_string()
}

/// Verifies the ledger of a clone. `now` tells what may be too new to be on record.
pub fn verify(clone: &LocalClone, now: DateTime<Utc>) -> Result<Verified, CloneError> {
    let branch = clone.ledger()?;
    let mut found = Found::default();
    if clone.is_shallow() {
        let message = "the clone is shallow: what is older than it reaches is not looked at (`git fetch --unshallow`)";
        found.add(FaultCode::Partial, Severity::Warning, None, message.to_owned());
    }
    if let Some(other) = &branch.other {
        let message = format!("`{}` is looked at; `{other}` is not a part of it, nor it of that", branch.name);
        found.add(FaultCode::Partial, Severity::Warning, None, message);
    }
    let history = history::read(clone, branch.tip, &mut found)?;
    let wanted = history.quotes.iter().map(|quote| quote.seq).collect();
    let (claims, newest, events) = chain::read(&branch, &wanted, &mut found)?;
    let commits = commits::read(clone, branch.tip, &claims, &mut found)?;
    history::compare(&history, &claims, &newest, now, &mut found);
    let count = |severity| found.counts.get(&severity).copied().unwrap_or(0);
    let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
    Ok(Verified { findings: found.told(), errors, warnings, events, commits, changes: history.steps.len(), newest })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_warnings_hide_no_error() {
        let mut found = Found::default();
        for number in 0..3 * MOST_FINDINGS {
            found.add(FaultCode::Author, Severity::Warning, None, number.to_string());
        }
        found.error(FaultCode::Edited, None, "the one that counts".to_owned());
        assert_eq!((found.counts[&Severity::Error], found.counts[&Severity::Warning]), (1, 3 * MOST_FINDINGS));
        let told = found.told();
        assert_eq!((told[0].severity, told.len()), (Severity::Error, MOST_FINDINGS + 1));
        assert!(told.last().unwrap().message.starts_with("401 more"), "{told:?}");
    }
}
