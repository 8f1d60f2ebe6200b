//! Reconciliation as a value: what is due, compared with what was applied, gives the operations that make them equal.
//!
//! An entitlement that several live grants give is one entitlement: it is removed when the last of them ends (I5). Access that
//! existed before Daypass (`standing`) is never touched.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::grant::GrantRef;
use crate::mutants::{self, Mutant};
use crate::policy::entitlement::{Access, Entitlement};

/// How far the application of an entitlement has come. Written *before* the target is called, so that after a crash the
/// store never knows less than the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Progress {
    /// `grant` may have been called.
    Granting,
    /// `grant` was confirmed.
    Granted,
    /// `revoke` may have been called.
    Revoking,
}

/// An entitlement that was applied, or may have been.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// How far it has come.
    pub progress: Progress,
    /// The subject had it before Daypass: leave it alone.
    pub standing: bool,
    /// The grants it was applied for.
    pub holders: BTreeSet<GrantRef>,
}

/// One thing to do on a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation {
    /// Take it away; the last of `leaving` has ended.
    Revoke {
        /// What.
        entitlement: Entitlement,
        /// The grants it was applied for.
        leaving: BTreeSet<GrantRef>,
    },
    /// Forget it: it was there before Daypass, and no grant needs it any more.
    Release {
        /// What.
        entitlement: Entitlement,
        /// The grants it was noted for.
        leaving: BTreeSet<GrantRef>,
    },
    /// Give it.
    Grant {
        /// What.
        entitlement: Entitlement,
        /// The grants that give it.
        holders: BTreeSet<GrantRef>,
    },
    /// Nothing to do on the target: it stays, but the grants that give it have changed.
    Share {
        /// What.
        entitlement: Entitlement,
        /// The grants that give it now.
        holders: BTreeSet<GrantRef>,
        /// Those that came to it.
        joining: BTreeSet<GrantRef>,
        /// Those that ended.
        leaving: BTreeSet<GrantRef>,
    },
}

impl Operation {
    /// What it is about.
    pub fn entitlement(&self) -> &Entitlement {
        match self {
            Self::Revoke { entitlement, .. }
            | Self::Release { entitlement, .. }
            | Self::Grant { entitlement, .. }
            | Self::Share { entitlement, .. } => entitlement,
        }
    }
}

/// The operations that make `applied` what is `due`: what takes access away first.
pub fn plan(
    due: &BTreeMap<Entitlement, BTreeSet<GrantRef>>,
    applied: &BTreeMap<Entitlement, Applied>,
) -> Vec<Operation> {
    let mut operations = Vec::new();
    for (entitlement, state) in applied.iter().filter(|(entitlement, _)| !due.contains_key(*entitlement)) {
        let (entitlement, leaving) = (entitlement.clone(), state.holders.clone());
        operations.push(match state.standing {
            true => Operation::Release { entitlement, leaving },
            false => Operation::Revoke { entitlement, leaving },
        });
    }
    for (entitlement, holders) in due {
        let (entitlement, holders) = (entitlement.clone(), holders.clone());
        match applied.get(&entitlement) {
            Some(state) if state.standing || state.progress == Progress::Granted => {
                let fewer = state.holders.difference(&holders).next().is_some();
                let is_team = matches!(entitlement.access, Access::Github { .. });
                let parts = mutants::is(Mutant::RevokeShared) || is_team && mutants::is(Mutant::RevokeSharedTeam);
                if fewer && !state.standing && parts {
                    operations.push(Operation::Revoke { entitlement, leaving: state.holders.clone() });
                } else if state.holders != holders {
                    let joining = holders.difference(&state.holders).cloned().collect();
                    let leaving = state.holders.difference(&holders).cloned().collect();
                    operations.push(Operation::Share { entitlement, holders, joining, leaving });
                }
            }
            _ => operations.push(Operation::Grant { entitlement, holders }),
        }
    }
    operations
}

#[cfg(test)]
mod tests {
    use super::*;

    fn role(role: &str) -> Entitlement {
        Entitlement {
            target: "orders-db".parse().unwrap(),
            access: Access::Postgres { role: role.into(), login: "alice".into() },
        }
    }

    fn grant(id: &str) -> GrantRef {
        GrantRef { repository: "acme/access".parse().unwrap(), id: id.parse().unwrap() }
    }

    fn grants(ids: &[&str]) -> BTreeSet<GrantRef> {
        ids.iter().map(|id| grant(id)).collect()
    }

    fn due(name: &str, ids: &[&str]) -> BTreeMap<Entitlement, BTreeSet<GrantRef>> {
        BTreeMap::from([(role(name), grants(ids))])
    }

    fn applied(name: &str, progress: Progress, standing: bool, ids: &[&str]) -> BTreeMap<Entitlement, Applied> {
        BTreeMap::from([(role(name), Applied { progress, standing, holders: grants(ids) })])
    }

    #[test]
    fn what_two_grants_give_goes_when_the_last_one_ends() {
        let held = applied("reader", Progress::Granted, false, &["a#1", "b#2"]);
        assert_eq!(plan(&due("reader", &["a#1", "b#2"]), &held), []);
        let one_left = plan(&due("reader", &["b#2"]), &held);
        assert!(matches!(one_left.as_slice(), [Operation::Share { leaving, .. }] if *leaving == grants(&["a#1"])));
        let none_left = plan(&BTreeMap::new(), &held);
        assert_eq!(none_left, [Operation::Revoke { entitlement: role("reader"), leaving: grants(&["a#1", "b#2"]) }]);
    }

    #[test]
    fn access_from_before_is_left_alone() {
        let held = applied("reader", Progress::Granted, true, &["a#1"]);
        assert_eq!(plan(&due("reader", &["a#1"]), &held), []);
        assert!(matches!(plan(&BTreeMap::new(), &held).as_slice(), [Operation::Release { .. }]));
    }

    #[test]
    fn what_a_crash_left_half_done_is_done_again() {
        for progress in [Progress::Granting, Progress::Revoking] {
            let half = applied("reader", progress, false, &["a#1"]);
            assert!(matches!(plan(&BTreeMap::new(), &half).as_slice(), [Operation::Revoke { .. }]));
            assert!(matches!(plan(&due("reader", &["a#1"]), &half).as_slice(), [Operation::Grant { .. }]));
        }
    }

    #[test]
    fn revocations_come_first() {
        let held = applied("reader", Progress::Granted, false, &["a#1"]);
        let operations = plan(&due("admin", &["b#2"]), &held);
        assert!(matches!(operations.as_slice(), [Operation::Revoke { .. }, Operation::Grant { .. }]));
    }
}
