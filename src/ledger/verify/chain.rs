//! The chain of the newest ledger, line by line.

use std::collections::{BTreeMap, HashSet};
use std::ops::ControlFlow;

use chrono::{DateTime, Utc};

use super::fault::FaultCode;
use super::{Claims, Found, SLACK, id, small};
use crate::ledger::branch::{LedgerBranch, LinePlace, ReadLine};
use crate::ledger::chain::{Entry, LineError, Link};
use crate::ledger::clone::CloneError;
use crate::ledger::event::EventKind;

/// What has been read so far.
struct Reader<'a> {
    found: &'a mut Found,
    claims: Claims,
    wanted: &'a HashSet<u64>,
    last: Link,
    last_at: Option<DateTime<Utc>>,
    /// Numbers that were passed over: the first of each run, with the last and the place where that was noticed.
    missing: BTreeMap<u64, (u64, LinePlace)>,
    ids: HashSet<u64>,
    events: u64,
}

/// Reads all lines: what they claim, the last one, and how many there are. `wanted` are the events whose hashes are asked for.
pub(super) fn read(
    branch: &LedgerBranch<'_>,
    wanted: &HashSet<u64>,
    found: &mut Found,
) -> Result<(Claims, Link, u64), CloneError> {
    let mut reader = Reader {
        found,
        claims: Claims::default(),
        wanted,
        last: Link::default(),
        last_at: None,
        missing: BTreeMap::new(),
        ids: HashSet::new(),
        events: 0,
    };
    branch.walk(|place, _, line| {
        reader.line(place, line);
        ControlFlow::Continue(())
    })?;
    for (first, (last, place)) in &reader.missing {
        let message = match first == last {
            true => format!("event {first} is missing before this line"),
            false => format!("events {first} to {last} are missing before this line"),
        };
        reader.found.error(FaultCode::Gap, Some(*place), message);
    }
    Ok((reader.claims, reader.last, reader.events))
}

impl Reader<'_> {
    fn line(&mut self, place: LinePlace, line: ReadLine) {
        let (entry, fault) = match line {
            Ok(read) => read,
            Err(error) => {
                self.found.error(FaultCode::Line, Some(place), format!("the line cannot be read: {error}"));
                return;
            }
        };
        self.events += 1;
        if let Some(fault) = fault {
            let code = if fault == LineError::Hash { FaultCode::Edited } else { FaultCode::Line };
            self.found.error(code, Some(place), format!("event {}, {}: {fault}", entry.seq, entry.event.kind));
        }
        self.order(place, &entry);
        if !self.ids.insert(small(&entry.event.id)) {
            let message = format!("event {}, {}, is there a second time", entry.seq, entry.event.kind);
            self.found.error(FaultCode::Doubled, Some(place), message);
        }
        self.clock(place, &entry);
        self.claim(place, &entry);
    }

    fn order(&mut self, place: LinePlace, entry: &Entry) {
        let next = self.last.seq + 1;
        if entry.seq < next {
            let message = format!("event {} comes after event {}", entry.seq, self.last.seq);
            self.found.error(FaultCode::Order, Some(place), message);
            self.is_there(entry.seq);
            return;
        }
        if entry.seq > next {
            self.missing.insert(next, (entry.seq - 1, place));
        } else if entry.prev != self.last.hash {
            let message = format!(
                "event {} does not follow the event {} that is there: that one was replaced",
                entry.seq, self.last.seq
            );
            self.found.error(FaultCode::Edited, Some(place), message);
        }
        self.last = entry.link();
    }

    /// A number that was passed over turned up.
    fn is_there(&mut self, seq: u64) {
        let run = self.missing.range(..=seq).next_back().map(|(first, (last, place))| (*first, *last, *place));
        let Some((first, last, place)) = run.filter(|(_, last, _)| seq <= *last) else { return };
        self.missing.remove(&first);
        if first < seq {
            self.missing.insert(first, (seq - 1, place));
        }
        if seq < last {
            self.missing.insert(seq + 1, (last, place));
        }
    }

    fn clock(&mut self, place: LinePlace, entry: &Entry) {
        let at = entry.event.at;
        if let Some(before) = self.last_at.filter(|before| at + SLACK < *before) {
            let message = format!(
                "event {} is dated {}, and the one before it {}: one of the times is wrong",
                entry.seq,
                at.to_rfc3339(),
                before.to_rfc3339()
            );
            self.found.error(FaultCode::Clock, Some(place), message);
        }
        self.last_at = Some(at);
    }

    fn claim(&mut self, place: LinePlace, entry: &Entry) {
        let (claims, details) = (&mut self.claims, &entry.event.details);
        if self.wanted.contains(&entry.seq) {
            claims.hashes.insert(entry.seq, entry.hash.clone());
        }
        let commit = match entry.event.kind {
            EventKind::Granted => id(&details["merge_commit"]),
            EventKind::Merged | EventKind::Refused | EventKind::PolicyChanged | EventKind::AccessReviewed => {
                id(&details["commit"])
            }
            _ => None,
        };
        if let Some(commit) = commit {
            claims.commits.entry(commit).or_insert((entry.seq, place));
        }
        let blob = id(&details["blob"]);
        match (entry.event.kind, details["grant"].as_str(), details["path"].as_str(), blob) {
            (EventKind::Granted, Some(grant), _, Some(blob)) => {
                let slug = grant.split('#').next().unwrap_or_default();
                claims.contents.insert((small(&format!("grants/{slug}.yaml")), blob), Some(small(grant)));
            }
            (EventKind::Refused, _, Some(path), Some(blob)) => {
                claims.contents.entry((small(path), blob)).or_insert(None);
            }
            (EventKind::Ended, Some(grant), ..) => {
                claims.ended.insert(small(grant));
            }
            (EventKind::LedgerAltered, ..) => claims.altered.push((id(&details["expected"]), id(&details["found"]))),
            (EventKind::HistoryRewritten, ..) => claims.rewritten = Some(entry.seq),
            _ => {}
        }
    }
}
