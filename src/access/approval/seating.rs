//! Seating: which approval is used for which stage. Stages are walked in order; as many as possible, earlier ones first, are
//! satisfied, by different people unless the rule says otherwise.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};

use super::{Ballot, Parts, StageState, StageStatus};
use crate::access::facts::{Account, Review};
use crate::access::principals;
use crate::mutants::{self, Mutant};
use crate::policy::Principal;
use crate::policy::condition::Scope;
use crate::policy::model::{Approval, Demand, Part, Stage};

/// Goes through the stages of a rule, handing out the approvals.
pub(super) fn walk(
    rule: &Approval,
    yes: &[(&Account, &Review)],
    ballot: Ballot<'_>,
    scope: Option<&Scope>,
) -> Vec<StageStatus> {
    let judged_at = ballot.merged_at.unwrap_or(ballot.now);
    let mut hall = Hall { voters: yes.len(), distinct: rule.distinct, stages: Vec::new(), choices: vec![Vec::new()] };
    let mut opened_at = Some(ballot.opened_at);
    let mut judged: Vec<StageStatus> = Vec::new();
    // Per stage of the hall: which of the rule's it is.
    let mut seated: Vec<usize> = Vec::new();
    for (index, stage) in rule.stages.iter().enumerate() {
        let counts = match (&stage.when, scope) {
            (Some(when), Some(scope)) => when.is_true(scope).map_err(|error| error.to_string()),
            _ => Ok(true),
        };
        let mut status = StageStatus::before(stage);
        match counts {
            Err(message) => {
                status.state = StageState::Failed(message);
                opened_at = None;
            }
            Ok(false) => status.state = StageState::Skipped,
            Ok(true) => {
                if let Some(opened) = opened_at {
                    status.widen(stage, opened, judged_at);
                }
                seated.push(index);
                hall.open(ways(stage, &status, opened_at.unwrap_or(ballot.opened_at), yes, ballot));
                opened_at = match opened_at {
                    Some(opened) => match hall.satisfied_at(opened) {
                        Some(at) => {
                            status.state = StageState::Satisfied;
                            Some(at)
                        }
                        None => {
                            status.state = StageState::Open;
                            None
                        }
                    },
                    None => None,
                };
            }
        }
        judged.push(status);
    }
    for (voters, index) in hall.best().into_iter().zip(seated) {
        let used = voters.into_iter().map(|voter| (yes[voter].0.clone(), yes[voter].1.id));
        judged[index].approvals = used.collect();
    }
    judged
}

impl StageStatus {
    /// Before anything is known of it.
    fn before(stage: &Stage) -> Self {
        let parts = match &stage.demand {
            demand if demand.single().is_some() => None,
            Demand::All(parts) => Some(Parts { all: true, parts: parts.clone() }),
            Demand::Any(parts) => Some(Parts { all: false, parts: parts.clone() }),
        };
        Self {
            name: stage.name.clone(),
            required: stage.required(),
            parts,
            state: StageState::Waiting,
            approvals: Vec::new(),
            approvers: stage.approvers(),
            candidates: BTreeSet::new(),
            ask: stage.ask,
            escalated_at: None,
            widened: 0,
            escalates_at: None,
            when: stage.when.as_ref().map(|when| when.source().to_owned()),
            escalation: stage.escalate.first().cloned(),
            later: BTreeSet::new(),
            next: BTreeSet::new(),
            out_of_reach: false,
        }
    }

    /// Lets those in who may approve by now.
    fn widen(&mut self, stage: &Stage, opened: DateTime<Utc>, now: DateTime<Utc>) {
        for step in &stage.escalate {
            let due = step.due(opened);
            if due > now {
                self.escalates_at = Some(due);
                break;
            }
            self.widened += 1;
            self.escalated_at = Some(due);
            self.approvers.extend(step.to.iter().cloned());
        }
        self.escalation = stage.escalate.get(self.widened).cloned();
    }
}

/// What a stage demands of the voters: in each of its ways, a list of parts.
fn ways(
    stage: &Stage,
    status: &StageStatus,
    opened: DateTime<Utc>,
    yes: &[(&Account, &Review)],
    ballot: Ballot<'_>,
) -> Vec<Vec<Wanted>> {
    let includes = |principals: &BTreeSet<Principal>, account: &Account| {
        principals::includes(principals, account, ballot.policy, ballot.directory)
    };
    // Since when each of them counts: whoever may only approve because the stage widened, not before that.
    let since = |part: &Part, (account, review): &(&Account, &Review)| {
        let given = review.submitted_at.unwrap_or(ballot.opened_at);
        if includes(&part.approvers, account) {
            return Some(given);
        }
        let let_in = stage.escalate.iter().take(status.widened).find(|step| includes(&step.to, account))?;
        Some(given.max(let_in.due(opened)))
    };
    let wanted = |part: &Part| Wanted {
        required: part.required,
        voters: yes.iter().enumerate().filter_map(|(voter, one)| Some((voter, since(part, one)?))).collect(),
    };
    stage.demand.ways().into_iter().map(|way| way.into_iter().map(wanted).collect()).collect()
}

/// So many of these voters, each with the time since when they count.
#[derive(Debug, Clone)]
struct Wanted {
    required: u32,
    voters: Vec<(usize, DateTime<Utc>)>,
}

/// The stages opened so far, and the ways in which they may all be satisfied.
struct Hall {
    voters: usize,
    distinct: bool,
    /// Per stage, per way: what is wanted.
    stages: Vec<Vec<Vec<Wanted>>>,
    /// For each choice that is still possible: which way of each stage it takes. The policy bounds how many there are.
    choices: Vec<Vec<usize>>,
}

impl Hall {
    fn open(&mut self, ways: Vec<Vec<Wanted>>) {
        let extended = self
            .choices
            .iter()
            .flat_map(|choice| (0..ways.len()).map(|way| choice.iter().copied().chain([way]).collect::<Vec<_>>()));
        self.choices = extended.collect();
        self.stages.push(ways);
    }

    /// The first time, from `opened` on, at which all stages could be satisfied; `None` if they cannot. Not the time of those who
    /// happen to be seated: somebody who approved earlier may have done as well.
    fn satisfied_at(&mut self, opened: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let satisfying = self.choices.iter().filter(|choice| self.seat(choice, None).is_complete());
        let satisfying: Vec<Vec<usize>> = satisfying.cloned().collect();
        let first = satisfying.iter().filter_map(|choice| {
            let wanted = self.wanted(choice).flatten();
            let times: BTreeSet<DateTime<Utc>> =
                wanted.flat_map(|wanted| &wanted.voters).map(|(_, since)| (*since).max(opened)).collect();
            times.into_iter().find(|time| self.seat(choice, Some(*time)).is_complete())
        });
        let first = first.min();
        if !satisfying.is_empty() {
            self.choices = satisfying;
        }
        first
    }

    fn wanted<'a>(&'a self, choice: &'a [usize]) -> impl Iterator<Item = &'a [Wanted]> {
        self.stages.iter().zip(choice).filter_map(|(ways, way)| ways.get(*way).map(Vec::as_slice))
    }

    /// Seats the voters who count by a time, for one choice.
    fn seat(&self, choice: &[usize], by: Option<DateTime<Utc>>) -> Seated {
        let mut seating = Seating::new(self.voters);
        let (mut complete, mut stages) = (Vec::new(), Vec::new());
        let mut part = 0;
        for wanted in self.wanted(choice) {
            if !self.distinct {
                seating = Seating::new(self.voters);
            }
            let first = part;
            let mut all = !wanted.is_empty();
            for one in wanted {
                let by_then = one.voters.iter().filter(|(_, since)| by.is_none_or(|by| *since <= by));
                let eligible: Vec<usize> = by_then.map(|(voter, _)| *voter).collect();
                all &= seating.seat(part, one.required, &eligible) && one.required > 0;
                part += 1;
            }
            complete.push(all);
            stages.push((first..part, seating.clone()));
        }
        // Those seated at an earlier stage may have been moved since.
        let last = seating;
        let of = |(parts, then): (std::ops::Range<usize>, Seating)| {
            let seating = if self.distinct { &last } else { &then };
            seating.of(parts)
        };
        Seated { complete, voters: stages.into_iter().map(of).collect() }
    }

    /// Who is seated where in the best of the choices: as many stages as possible are satisfied, earlier ones first, and as few
    /// people as possible are missing.
    fn best(&self) -> Vec<Vec<usize>> {
        let seated = self.choices.iter().map(|choice| self.seat(choice, None));
        let best =
            seated.max_by_key(|seated| (seated.complete.clone(), seated.voters.iter().map(Vec::len).sum::<usize>()));
        best.map(|seated| seated.voters).unwrap_or_default()
    }
}

/// Voters at their stages.
struct Seated {
    /// Per stage: whether it is satisfied.
    complete: Vec<bool>,
    /// Per stage: the voters.
    voters: Vec<Vec<usize>>,
}

impl Seated {
    fn is_complete(&self) -> bool {
        self.complete.iter().all(|complete| *complete)
    }
}

/// Whether enough people exist to meet what a stage demands: the candidates, and those whose approval it uses already.
pub(super) fn can_be_met(stage: &Stage, status: &StageStatus, ballot: Ballot<'_>) -> bool {
    let people: Vec<&Account> =
        status.candidates.iter().chain(status.approvals.iter().map(|(account, _)| account)).collect();
    stage.demand.ways().into_iter().any(|way| {
        let mut seating = Seating::new(people.len());
        way.into_iter().enumerate().all(|(index, part)| {
            let wider = stage.escalate.iter().take(status.widened).flat_map(|step| &step.to);
            let approvers: BTreeSet<Principal> = part.approvers.iter().chain(wider).cloned().collect();
            let includes =
                |person: &usize| principals::includes(&approvers, people[*person], ballot.policy, ballot.directory);
            // Who everyone is cannot be listed.
            principals::written_out(&approvers, ballot.policy).contains(&Principal::Everyone)
                || seating.seat(index, part.required, &(0..people.len()).filter(includes).collect::<Vec<_>>())
        })
    })
}

/// Seats voters at parts, each at most once, moving those already seated if that frees a seat (augmenting paths, so an earlier
/// part never loses what it has).
#[derive(Debug, Clone)]
struct Seating {
    /// Per voter: the part it is seated at.
    at: Vec<Option<usize>>,
    /// Per part seen so far: the voters it accepts.
    accepts: BTreeMap<usize, Vec<usize>>,
}

impl Seating {
    fn new(voters: usize) -> Self {
        Self { at: vec![None; voters], accepts: BTreeMap::new() }
    }

    /// Fills up to `required` seats of `part`; true if all are taken.
    fn seat(&mut self, part: usize, required: u32, eligible: &[usize]) -> bool {
        self.accepts.insert(part, eligible.to_vec());
        (0..required).all(|_| self.fill(part, &mut BTreeSet::new()))
    }

    fn fill(&mut self, part: usize, visited: &mut BTreeSet<usize>) -> bool {
        let candidates = self.accepts.get(&part).cloned().unwrap_or_default();
        for voter in candidates {
            if !visited.insert(voter) || self.at[voter] == Some(part) {
                continue;
            }
            let free = match self.at[voter] {
                None => true,
                Some(_) if mutants::is(Mutant::OnePersonTwoStages) => true,
                Some(other) => self.fill(other, visited),
            };
            if free {
                self.at[voter] = Some(part);
                return true;
            }
        }
        false
    }

    fn of(&self, parts: std::ops::Range<usize>) -> Vec<usize> {
        (0..self.at.len()).filter(|&voter| self.at[voter].is_some_and(|part| parts.contains(&part))).collect()
    }
}
