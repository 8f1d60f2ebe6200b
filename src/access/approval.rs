//! Approval: which reviews count, which stages they satisfy, who can still approve.
//!
//! Everything is computed from scratch from the reviews GitHub reports; nothing is remembered. A review counts if it is the
//! latest word of its author, says yes, was given for the head commit, and its author is one of the stage's approvers and has
//! no hand in the request. One person satisfies one stage at most.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};

use super::facts::{Account, Directory, Review, ReviewState};
use super::principals;
use crate::mutants::{self, Mutant};
use crate::policy::condition::Scope;
use crate::policy::model::{Escalation, Stage};
use crate::policy::name::{ApprovalName, CommitId, Login, StageName, UserId};
use crate::policy::{Policy, Principal};

/// Where an approval rule stands.
#[derive(Debug, Clone)]
pub struct ApprovalStatus {
    /// The rule.
    pub rule: ApprovalName,
    /// Its stages in order, skipped ones included.
    pub stages: Vec<StageStatus>,
    /// Eligible approvers whose latest word is no.
    pub objections: Vec<Account>,
    /// Reviews that say yes but do not count, and why.
    pub discounted: Vec<Discounted>,
}

/// Where one stage stands.
#[derive(Debug, Clone)]
pub struct StageStatus {
    /// Its name.
    pub name: StageName,
    /// How many people must approve.
    pub required: u32,
    /// Where it stands.
    pub state: StageState,
    /// Whose approval it uses, with the review's id.
    pub approvals: Vec<(Account, u64)>,
    /// Who may approve, as the policy writes it; widened if the stage has escalated.
    pub approvers: BTreeSet<Principal>,
    /// The people among them who could still do so now.
    pub candidates: BTreeSet<Account>,
    /// When it widened, if it has.
    pub escalated_at: Option<DateTime<Utc>>,
    /// When it will widen if nobody approves.
    pub escalates_at: Option<DateTime<Utc>>,
    /// The condition under which it counts; always, without one.
    pub when: Option<String>,
    /// What it widens by, as the policy writes it, if it ever does.
    pub escalation: Option<Escalation>,
    /// The people who could approve once it has widened, besides the candidates.
    pub later: BTreeSet<Account>,
    /// It needs more people than could ever approve it. What is open to everyone, or will widen, may still be satisfied.
    pub out_of_reach: bool,
}

/// Where a stage stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StageState {
    /// Its condition is false for this request.
    Skipped,
    /// Enough people approved.
    Satisfied,
    /// People can approve now.
    Open,
    /// A stage before it is not satisfied yet.
    Waiting,
    /// Its condition could not be evaluated, which is a no.
    Failed(String),
}

/// A yes that does not count.
#[derive(Debug, Clone)]
pub struct Discounted {
    /// Who gave it.
    pub by: Option<Account>,
    /// Why it does not count.
    pub why: Discount,
}

/// Why a yes does not count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Discount {
    /// It was given for another commit than the head.
    Stale(Option<CommitId>),
    /// Its author has a hand in the request.
    Involved(Involvement),
    /// Its author is not among the approvers of any stage.
    NotAnApprover,
    /// Its author is a bot or the account is gone.
    NotAPerson,
    /// It was given after the merge.
    AfterMerge,
}

/// How somebody has a hand in a request, and therefore cannot approve it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Involvement {
    /// Opened the pull request.
    Requester,
    /// Gets the access.
    Subject,
    /// Author, committer or co-author of a commit in it.
    Contributor,
}

impl Involvement {
    /// How people say it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Requester => "opened the pull request",
            Self::Subject => "would get the access",
            Self::Contributor => "contributed a commit to the pull request",
        }
    }
}

/// Everyone with a hand in a request.
#[derive(Debug, Clone, Default)]
pub struct Involved {
    by_id: BTreeMap<UserId, Involvement>,
    by_login: BTreeMap<Login, Involvement>,
}

impl Involved {
    /// Adds an account.
    pub fn add(&mut self, account: &Account, how: Involvement) {
        self.by_id.entry(account.id).or_insert(how);
    }

    /// Adds somebody of whom only the login is known.
    pub fn add_login(&mut self, login: &Login, how: Involvement) {
        self.by_login.entry(login.clone()).or_insert(how);
    }

    /// How the account is involved, if it is.
    pub fn how(&self, account: &Account) -> Option<Involvement> {
        self.by_id.get(&account.id).or_else(|| self.by_login.get(&account.login)).copied()
    }
}

/// What an approval rule is judged on.
#[derive(Debug, Clone, Copy)]
pub struct Ballot<'a> {
    /// The policy the rule is from.
    pub policy: &'a Policy,
    /// Memberships.
    pub directory: &'a Directory,
    /// All reviews, in GitHub's order.
    pub reviews: &'a [Review],
    /// The head commit.
    pub head: &'a CommitId,
    /// Who cannot approve.
    pub involved: &'a Involved,
    /// When the first stage opened: when the pull request was opened.
    pub opened_at: DateTime<Utc>,
    /// When it was merged, if it was: later reviews do not count, and escalation is judged at that time.
    pub merged_at: Option<DateTime<Utc>>,
    /// The time of the judgement.
    pub now: DateTime<Utc>,
}

impl ApprovalStatus {
    /// Whether every stage is satisfied or skipped and nobody eligible objects.
    pub fn is_satisfied(&self) -> bool {
        self.objections.is_empty()
            && self.stages.iter().all(|stage| matches!(stage.state, StageState::Satisfied | StageState::Skipped))
    }

    /// The stages that people can approve now.
    pub fn open(&self) -> impl Iterator<Item = &StageStatus> {
        self.stages.iter().filter(|stage| stage.state == StageState::Open)
    }

    /// Everyone whose approval is used.
    pub fn approvers(&self) -> impl Iterator<Item = &Account> {
        self.stages.iter().flat_map(|stage| stage.approvals.iter().map(|(account, _)| account))
    }
}

/// Judges the rule `name`. `scope` is what its stages' `when` expressions see; without one (pull requests that change the
/// policy have no request) every stage counts.
pub fn judge(name: &ApprovalName, stages: &[Stage], ballot: Ballot<'_>, scope: Option<&Scope>) -> ApprovalStatus {
    let latest = latest_words(ballot);
    let mut yes: Vec<(&Account, &Review)> = Vec::new();
    let mut discounted = Vec::new();
    for review in latest.values().filter(|review| review.state == ReviewState::Approved) {
        match discount(review, ballot) {
            Some(why) => discounted.push(Discounted { by: review.author.clone(), why }),
            None => yes.extend(review.author.as_ref().map(|author| (author, *review))),
        }
    }
    let mut judged = walk(stages, &yes, ballot, scope);
    let everybody: BTreeSet<Principal> = judged.iter().flat_map(|stage| stage.approvers.iter().cloned()).collect();
    for (account, _) in &yes {
        if !principals::includes(&everybody, account, ballot.policy, ballot.directory) {
            discounted.push(Discounted { by: Some((*account).clone()), why: Discount::NotAnApprover });
        }
    }
    // A stale no still stands: only its author, or a dismissal, takes it back.
    let objections: Vec<Account> = latest
        .values()
        .filter(|review| review.state == ReviewState::ChangesRequested)
        .filter_map(|review| review.author.clone())
        .filter(|account| ballot.involved.how(account).is_none())
        .filter(|account| principals::includes(&everybody, account, ballot.policy, ballot.directory))
        .collect();
    for stage in &mut judged {
        let used: BTreeSet<&Account> = stage.approvals.iter().map(|(account, _)| account).collect();
        let free = |account: &Account| ballot.involved.how(account).is_none() && !used.contains(account);
        let people =
            |principals| principals::people(principals, ballot.policy, ballot.directory).into_iter().filter(free);
        let later = stage.escalation.iter().flat_map(|escalation| people(&escalation.to)).collect::<BTreeSet<_>>();
        let candidates = people(&stage.approvers).collect::<BTreeSet<_>>();
        stage.later = later.difference(&candidates).cloned().collect();
        stage.candidates = candidates;
        stage.out_of_reach = matches!(stage.state, StageState::Open | StageState::Waiting)
            && !principals::written_out(&stage.approvers, ballot.policy).contains(&Principal::Everyone)
            && stage.candidates.len() + stage.approvals.len() < stage.required as usize
            && stage.escalates_at.is_none();
    }
    ApprovalStatus { rule: name.clone(), stages: judged, objections, discounted }
}

/// The latest review of each person that says yes or no, or withdraws it. Remarks and unfinished reviews change nothing.
fn latest_words<'a>(ballot: Ballot<'a>) -> BTreeMap<Option<UserId>, &'a Review> {
    let mut latest: BTreeMap<Option<UserId>, &Review> = BTreeMap::new();
    for review in ballot.reviews {
        let says_something =
            matches!(review.state, ReviewState::Approved | ReviewState::ChangesRequested | ReviewState::Dismissed);
        if says_something && !is_after_merge(review, ballot) {
            let slot = latest.entry(review.author.as_ref().map(|author| author.id)).or_insert(review);
            if review.id >= slot.id {
                *slot = review;
            }
        }
    }
    latest
}

/// Who approves the head, by their latest word; whether they may is another question.
pub fn standing_approvals<'a>(ballot: Ballot<'a>) -> impl Iterator<Item = &'a Account> {
    latest_words(ballot)
        .into_values()
        .filter(move |review| review.state == ReviewState::Approved && review.commit.as_ref() == Some(ballot.head))
        .filter_map(|review| review.author.as_ref())
}

/// A review given after the merge says nothing about what was merged. One without a time could have been.
fn is_after_merge(review: &Review, ballot: Ballot<'_>) -> bool {
    let late = ballot.merged_at.is_some_and(|merged| review.submitted_at.is_none_or(|given| given > merged));
    late && !mutants::is(Mutant::CountReviewsAfterMerge)
}

fn discount(review: &Review, ballot: Ballot<'_>) -> Option<Discount> {
    let Some(author) = review.author.as_ref().filter(|author| !author.bot) else {
        return Some(Discount::NotAPerson);
    };
    if let Some(how) = ballot.involved.how(author).filter(|_| !mutants::is(Mutant::CountInvolvedReviews)) {
        return Some(Discount::Involved(how));
    }
    if review.commit.as_ref() != Some(ballot.head) && !mutants::is(Mutant::CountStaleReviews) {
        return Some(Discount::Stale(review.commit.clone()));
    }
    None
}

/// Goes through the stages in order, handing out the approvals so that as many stages as possible, earlier ones first, are
/// satisfied by different people.
fn walk(stages: &[Stage], yes: &[(&Account, &Review)], ballot: Ballot<'_>, scope: Option<&Scope>) -> Vec<StageStatus> {
    let judged_at = ballot.merged_at.unwrap_or(ballot.now);
    let mut seats = Seating::new(yes.len());
    let mut opened_at = Some(ballot.opened_at);
    let mut judged: Vec<StageStatus> = Vec::new();
    let mut demands: Vec<Demand> = Vec::new();
    for stage in stages {
        let counts = match (&stage.when, scope) {
            (Some(when), Some(scope)) => when.is_true(scope).map_err(|error| error.to_string()),
            _ => Ok(true),
        };
        let mut status = StageStatus {
            name: stage.name.clone(),
            required: stage.required,
            state: StageState::Waiting,
            approvals: Vec::new(),
            approvers: stage.approvers.clone(),
            candidates: BTreeSet::new(),
            escalated_at: None,
            escalates_at: None,
            when: stage.when.as_ref().map(|when| when.source().to_owned()),
            escalation: stage.escalate.clone(),
            later: BTreeSet::new(),
            out_of_reach: false,
        };
        match counts {
            Err(message) => {
                status.state = StageState::Failed(message);
                opened_at = None;
            }
            Ok(false) => status.state = StageState::Skipped,
            Ok(true) => {
                if let (Some(opened), Some(escalation)) = (opened_at, &stage.escalate) {
                    let due = opened + escalation.after.delta();
                    if due <= judged_at {
                        status.escalated_at = Some(due);
                        status.approvers.extend(escalation.to.iter().cloned());
                    } else {
                        status.escalates_at = Some(due);
                    }
                }
                let eligible: Vec<usize> = (0..yes.len())
                    .filter(|&voter| {
                        let (account, _) = yes[voter];
                        principals::includes(&status.approvers, account, ballot.policy, ballot.directory)
                    })
                    .collect();
                // Since when each of them counts: whoever may only approve because the stage widened, not before that.
                let since = |voter: usize| {
                    let (account, review) = yes[voter];
                    let given = review.submitted_at.unwrap_or(ballot.opened_at);
                    let widened = status
                        .escalated_at
                        .filter(|_| !principals::includes(&stage.approvers, account, ballot.policy, ballot.directory));
                    widened.map_or(given, |widened| given.max(widened))
                };
                let voters = eligible.iter().map(|&voter| (voter, since(voter))).collect();
                demands.push(Demand { required: stage.required, voters });
                let satisfied = seats.seat(judged.len(), stage.required, &eligible) && stage.required > 0;
                opened_at = match opened_at {
                    Some(opened) if satisfied => {
                        status.state = StageState::Satisfied;
                        Some(satisfied_at(&demands, yes.len(), opened))
                    }
                    Some(_) => {
                        status.state = StageState::Open;
                        None
                    }
                    None => None,
                };
            }
        }
        judged.push(status);
    }
    for (index, status) in judged.iter_mut().enumerate() {
        status.approvals = seats.of(index).map(|voter| (yes[voter].0.clone(), yes[voter].1.id)).collect();
    }
    judged
}

/// What a stage demands, and who could give it since when.
struct Demand {
    required: u32,
    voters: Vec<(usize, DateTime<Utc>)>,
}

/// The first time, from `opened` on, at which all `demands` could be met by different voters. Not the time of those who happen to be
/// seated: somebody who approved earlier may have done as well.
fn satisfied_at(demands: &[Demand], voters: usize, opened: DateTime<Utc>) -> DateTime<Utc> {
    let times = demands.iter().flat_map(|demand| &demand.voters).map(|(_, since)| (*since).max(opened));
    let times: BTreeSet<DateTime<Utc>> = times.collect();
    let met = |time: &DateTime<Utc>| {
        let mut seats = Seating::new(voters);
        demands.iter().enumerate().all(|(stage, demand)| {
            let by_then = demand.voters.iter().filter(|(_, since)| since <= time);
            seats.seat(stage, demand.required, &by_then.map(|(voter, _)| *voter).collect::<Vec<_>>())
        })
    };
    times.iter().find(|time| met(time)).copied().unwrap_or(opened)
}

/// Seats voters at stages, each at most once, moving those already seated if that frees a seat (augmenting paths, so an
/// earlier stage never loses what it has).
struct Seating {
    /// Per voter: the stage it is seated at.
    at: Vec<Option<usize>>,
    /// Per stage seen so far: the voters it accepts.
    accepts: BTreeMap<usize, Vec<usize>>,
}

impl Seating {
    fn new(voters: usize) -> Self {
        Self { at: vec![None; voters], accepts: BTreeMap::new() }
    }

    /// Fills up to `required` seats of `stage`; true if all are taken.
    fn seat(&mut self, stage: usize, required: u32, eligible: &[usize]) -> bool {
        self.accepts.insert(stage, eligible.to_vec());
        (0..required).all(|_| self.fill(stage, &mut BTreeSet::new()))
    }

    fn fill(&mut self, stage: usize, visited: &mut BTreeSet<usize>) -> bool {
        let candidates = self.accepts.get(&stage).cloned().unwrap_or_default();
        for voter in candidates {
            if !visited.insert(voter) || self.at[voter] == Some(stage) {
                continue;
            }
            let free = match self.at[voter] {
                None => true,
                Some(_) if mutants::is(Mutant::OnePersonTwoStages) => true,
                Some(other) => self.fill(other, visited),
            };
            if free {
                self.at[voter] = Some(stage);
                return true;
            }
        }
        false
    }

    fn of(&self, stage: usize) -> impl Iterator<Item = usize> + '_ {
        (0..self.at.len()).filter(move |&voter| self.at[voter] == Some(stage))
    }
}

#[cfg(test)]
mod tests;
