//! Whose turn it is. Access waits for nobody; what needs GitHub is taken from one organisation after the other, and none may
//! occupy all workers: a noisy or slow one does not hold up the rest.

use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, Utc};

use super::{Engine, EngineError, LEASE};
use crate::policy::name::RepositoryName;
use crate::store::{Claim, Lane};

/// Jobs of one organisation that are done at the same time in one process, where there are several organisations.
const MOST_AT_ONCE: usize = 2;

/// What a worker takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Worker {
    /// Only what makes access begin and end.
    Access,
    /// Access first, then anything.
    Any,
}

/// Whose turn is next, and who has how many jobs in hand.
#[derive(Debug)]
pub(super) struct Turns {
    owners: Vec<String>,
    most_at_once: usize,
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    next: usize,
    busy: Vec<usize>,
}

/// An organisation's place at work, given back when dropped.
pub(super) struct Place {
    state: Arc<Mutex<State>>,
    owner: usize,
}

impl Turns {
    pub(super) fn new(repositories: &[RepositoryName]) -> Self {
        // Last, those jobs that need nobody's GitHub.
        let mut owners: Vec<String> = repositories.iter().map(|name| name.owner().to_owned()).collect();
        owners.sort();
        owners.dedup();
        let most_at_once = if owners.len() > 1 { MOST_AT_ONCE } else { usize::MAX };
        owners.push(String::new());
        let state = State { next: 0, busy: vec![0; owners.len()] };
        Self { owners, most_at_once, state: Arc::new(Mutex::new(state)) }
    }

    /// The organisations that may have a job done now, in the order of their turns.
    fn order(&self) -> Vec<usize> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let count = self.owners.len();
        let free = |owner: &usize| state.busy.get(*owner).is_some_and(|busy| *busy < self.most_at_once);
        (0..count).map(|step| (state.next + step) % count).filter(free).collect()
    }

    fn take(&self, owner: usize) -> Place {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.next = owner + 1;
        if let Some(busy) = state.busy.get_mut(owner) {
            *busy += 1;
        }
        Place { state: self.state.clone(), owner }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(busy) = state.busy.get_mut(self.owner) {
            *busy = busy.saturating_sub(1);
        }
    }
}

impl Engine {
    /// When there is something for a worker next. Work for organisations that are not configured any more is nobody's.
    pub(super) async fn next_due(&self, worker: Worker) -> Result<Option<DateTime<Utc>>, EngineError> {
        let store = &self.inner.store;
        let mut next = store.next_due(Lane::Access).await?;
        if worker == Worker::Any {
            for owner in &self.inner.turns.owners {
                next = next.into_iter().chain(store.next_due(Lane::Owner(owner)).await?).min();
            }
        }
        Ok(next)
    }

    /// Takes the next job for a worker, with its organisation's place if it has one.
    pub(super) async fn take(&self, worker: Worker) -> Result<Option<(Claim, Option<Place>)>, EngineError> {
        let (store, now) = (&self.inner.store, self.inner.clock.now());
        if let Some(claim) = store.claim(Lane::Access, now, LEASE).await? {
            return Ok(Some((claim, None)));
        }
        if worker == Worker::Access {
            return Ok(None);
        }
        let turns = &self.inner.turns;
        for owner in turns.order() {
            let Some(name) = turns.owners.get(owner) else { continue };
            // Taken before it is asked for, so that two workers do not both take the last place.
            let place = turns.take(owner);
            if let Some(claim) = store.claim(Lane::Owner(name), now, LEASE).await? {
                return Ok(Some((claim, Some(place))));
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn organisations_take_turns_and_leave_room_for_each_other() {
        let repositories = ["noisy/access", "calm/access", "noisy/other"].map(|name| name.parse().unwrap());
        let turns = Turns::new(&repositories);
        assert_eq!(turns.owners, ["calm", "noisy", ""]);
        assert_eq!(turns.order(), [0, 1, 2]);
        let (first, _second) = (turns.take(1), turns.take(1));
        assert_eq!(turns.order(), [2, 0], "noisy has two in hand");
        drop(first);
        assert_eq!(turns.order(), [2, 0, 1]);
    }

    #[test]
    fn a_single_organisation_may_have_all_workers() {
        let turns = Turns::new(&["acme/access".parse().unwrap()]);
        let _places: Vec<Place> = (0..9).map(|_| turns.take(0)).collect();
        assert!(turns.order().contains(&0));
    }
}
