//! Whether there are enough different people for what a rule asks for.

use std::collections::{BTreeMap, BTreeSet};

use crate::policy::model::{Part, Policy, Stage};
use crate::policy::name::Login;
use crate::policy::principal::Principal;

/// The ways to satisfy a stage: in each, so many of these people, different ones for each part.
pub(super) type Ways = Vec<Vec<(BTreeSet<Login>, u32)>>;

/// The ways to satisfy a stage, in the end, if all people in them are named.
pub(super) fn ways(stage: &Stage, policy: &Policy) -> Option<Ways> {
    let wider: BTreeSet<Principal> = stage.escalate.iter().flat_map(|step| step.to.iter().cloned()).collect();
    let part = |part: &Part| Some((named(&part.approvers.union(&wider).cloned().collect(), policy)?, part.required));
    stage.demand.ways().into_iter().map(|way| way.into_iter().map(part).collect()).collect()
}

/// Whether every stage can have its people if nobody serves twice: for one of the ways of each, a maximum matching, by augmenting
/// paths. How many ways there are together is bounded when the rule is read.
pub(super) fn can_be_satisfied(stages: &[Ways]) -> bool {
    let mut choices: Vec<Vec<&(BTreeSet<Login>, u32)>> = vec![Vec::new()];
    for ways in stages {
        let longer =
            |choice: &Vec<_>| ways.iter().map(|way| choice.iter().copied().chain(way).collect()).collect::<Vec<_>>();
        choices = choices.iter().flat_map(longer).collect();
    }
    choices.iter().any(|parts| all_are_seated(parts))
}

fn all_are_seated(parts: &[&(BTreeSet<Login>, u32)]) -> bool {
    let seats: Vec<&BTreeSet<Login>> = parts
        .iter()
        .flat_map(|(people, required)| {
            std::iter::repeat_n(people, usize::try_from(*required).unwrap_or(usize::MAX).min(people.len() + 1))
        })
        .collect();
    let mut serves: BTreeMap<&Login, usize> = BTreeMap::new();
    (0..seats.len()).all(|seat| find_somebody(seat, &seats, &mut serves, &mut BTreeSet::new()))
}

fn find_somebody<'a>(
    seat: usize,
    seats: &[&'a BTreeSet<Login>],
    serves: &mut BTreeMap<&'a Login, usize>,
    asked: &mut BTreeSet<&'a Login>,
) -> bool {
    for person in seats.get(seat).copied().into_iter().flatten() {
        if !asked.insert(person) {
            continue;
        }
        let free = match serves.get(person).copied() {
            None => true,
            Some(other) => find_somebody(other, seats, serves, asked),
        };
        if free {
            serves.insert(person, seat);
            return true;
        }
    }
    false
}

/// The people behind principals, if all of them are named: teams and `everyone` are known to GitHub only.
fn named(principals: &BTreeSet<Principal>, policy: &Policy) -> Option<BTreeSet<Login>> {
    let mut people = BTreeSet::new();
    for principal in principals {
        match principal {
            Principal::User(login) => {
                people.insert(login.clone());
            }
            Principal::Group(name) => people.extend(named(policy.groups.get(name)?, policy)?),
            // Apps never approve.
            Principal::App(_) => {}
            Principal::Team(_) | Principal::Everyone => return None,
        }
    }
    Some(people)
}
