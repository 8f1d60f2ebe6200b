//! What is due on a target, and what is there as far as the database can tell. A row that cannot be read hides no other, is not taken
//! for absent, and costs nobody more than they were given.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};

use super::{Engine, EngineError};
use crate::access::grant::{GrantRef, Transition};
use crate::policy::entitlement::Entitlement;
use crate::policy::name::TargetName;
use crate::store::{Held, Unreadable, entitlement_key};

/// What is due on a target.
#[derive(Default)]
pub(super) struct Due {
    /// By which grants.
    pub holders: BTreeMap<Entitlement, BTreeSet<GrantRef>>,
    /// Until when, by the last of them.
    pub until: BTreeMap<Entitlement, DateTime<Utc>>,
    /// Grants of which it is not known whether they are due: planned ones that may start now, and are not decided (a database before
    /// this one may have decided them already), and those that cannot be read and are not over.
    pub undecided: BTreeSet<GrantRef>,
}

impl Engine {
    /// What is held on a target, and what is due there now.
    pub(super) async fn held_and_due(
        &self,
        name: &TargetName,
    ) -> Result<(BTreeMap<Entitlement, Held>, Due), EngineError> {
        let mut on = self.inner.store.held(name).await?;
        let (mut due, mut unreadable) = self.due(name).await?;
        if !on.unreadable.is_empty() {
            let givers = self.inner.store.givers_on(name, &self.inner.options.repositories).await?;
            // What it was is known by its key, if a grant tells.
            for entitlement in givers.keys().chain(due.holders.keys()) {
                let found = on.unnamed.remove(&entitlement_key(entitlement));
                on.held.extend(found.map(|held| (entitlement.clone(), held)));
            }
            for (entitlement, held) in on.held.iter_mut().filter(|(_, held)| held.applied.holders.is_empty()) {
                held.applied.holders = givers.get(entitlement).cloned().unwrap_or_default();
            }
            let (held, rows) = (&on.held, &on.unreadable);
            due.holders.retain(|one, _| held.contains_key(one) || !rows.contains_key(&entitlement_key(one)));
            unreadable.extend(on.unreadable.into_values());
        }
        self.report_unreadable(name, &unreadable);
        Ok((on.held, due))
    }

    /// Says which rows cannot be read, whenever these are others than before.
    fn report_unreadable(&self, target: &TargetName, unreadable: &[Unreadable]) {
        if !self.inner.metrics.unreadable(target.as_str(), unreadable.len()) {
            return;
        }
        for Unreadable { table, row, outcome } in unreadable {
            tracing::error!(%target, table, row, problem = outcome, "a row cannot be read; run `daypass rebuild`");
        }
    }

    /// What is due on a target now, by the windows of the live grants; and the grants that cannot be read.
    async fn due(&self, name: &TargetName) -> Result<(Due, Vec<Unreadable>), EngineError> {
        let now = self.inner.clock.instant();
        let mut due = Due::default();
        let live = self.inner.store.live_grants_on(name).await?;
        due.undecided.extend(live.until.into_iter().filter(|(_, ends)| now.latest < *ends).map(|(grant, _)| grant));
        for row in live.grants {
            let (is_due, starts) = (row.grant.is_due(now.latest), row.grant.next(now, false) == Transition::Start);
            let (holder, ends) = (GrantRef { repository: row.repository, id: row.grant.id }, row.grant.window.ends_at);
            if starts {
                due.undecided.insert(holder.clone());
            }
            for entitlement in row.grant.entitlements.into_iter().filter(|entitlement| entitlement.target == *name) {
                if is_due {
                    let until = due.until.entry(entitlement.clone()).or_insert(ends);
                    *until = ends.max(*until);
                    due.holders.entry(entitlement).or_default().insert(holder.clone());
                }
            }
        }
        Ok((due, live.unreadable))
    }
}
