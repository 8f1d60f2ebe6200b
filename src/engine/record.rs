//! What goes on record about a pull request that was judged.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::facts::Judged;
use super::provenance::Step;
use super::{Engine, EngineError};
use crate::access::facts::{Account, PullState};
use crate::access::grant::GrantRef;
use crate::ledger::{Event, EventKind, details};
use crate::policy::name::{RepositoryName, RoleName};
use crate::store::Tx;

/// Records what was asked for, who said yes and no so far, and the verdict; what is on record already stays as it is.
pub(super) async fn record_judgement(
    tx: &mut Tx,
    repository: &RepositoryName,
    judged: &Judged,
    (policy, title): (Value, &str),
    now: DateTime<Utc>,
) -> Result<(), EngineError> {
    let (facts, judgement) = (&judged.facts, &judged.judgement);
    let (pull, about) = (&facts.pull, format!("pull-{}", facts.pull.number));
    let Some(verdict) = judgement.verdict() else { return Ok(()) };
    let mut events = vec![(EventKind::Requested, pull.head.to_string(), details::requested(facts, judgement))];
    let reviews = |kind: EventKind, said: BTreeMap<u64, Value>| {
        said.into_iter().map(move |(review, details)| (kind, format!("review-{review}"), details))
    };
    events.extend(reviews(EventKind::Approved, details::approvals(facts, judgement)));
    events.extend(reviews(EventKind::Objected, details::objections(facts, judgement)));
    let decided = json!({ "pull_request": pull.number, "head": pull.head, "author": pull.author, "verdict": verdict,
        "title": title, "policy": policy, "decision": details::decision(judgement) });
    events.push((EventKind::Decided, format!("{}-{verdict:?}", pull.head), decided));
    for (kind, occasion, details) in events {
        tx.record(&Event::new(repository, kind, &about, occasion, now, details)).await?;
    }
    Ok(())
}

/// Records that a pull request was merged.
pub(super) async fn record_merge(
    tx: &mut Tx,
    repository: &RepositoryName,
    step: &Step,
    now: DateTime<Utc>,
) -> Result<(), EngineError> {
    let Some(pull) = &step.pull else { return Ok(()) };
    let PullState::Merged { at, by, .. } = &pull.state else { return Ok(()) };
    let details = json!({ "pull_request": pull.number, "head": pull.head, "commit": step.tip, "by": by, "at": at });
    let about = format!("pull-{}", pull.number);
    tx.record(&Event::new(repository, EventKind::Merged, about, &step.tip, now, details)).await?;
    Ok(())
}

/// Whose access a grant is, and by which role.
pub(super) type Whose = (Account, RoleName);

impl Engine {
    /// Whose access some grants are, as far as that can be read.
    pub(super) async fn subjects(&self, grants: &BTreeSet<GrantRef>) -> BTreeMap<GrantRef, Whose> {
        let mut subjects = BTreeMap::new();
        for grant in grants {
            // The record is not worth keeping access from beginning or ending: the grant's own event names them too.
            if let Ok(Some(row)) = self.inner.store.grant(&grant.repository, &grant.id).await {
                subjects.insert(grant.clone(), (row.grant.subject, row.grant.role));
            }
        }
        subjects
    }
}
