//! Approval: which reviews count, which stages they satisfy, who can still approve.
//!
//! Everything is computed from scratch from the reviews GitHub reports; nothing is remembered. A review counts if it is the
//! latest word of its author, says yes, was given for the head commit, and its author is one of the stage's approvers and has
//! no hand in the request. One person satisfies one stage at most.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};

use super::facts::{Account, Directory, Review, ReviewState};
use super::principals;
use crate::mutants::{self, Mutant};
use crate::policy::condition::Scope;
use crate::policy::model::{Approval, Escalation, Part, Stage};
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
    /// How many people must approve, at the least.
    pub required: u32,
    /// Its parts, if it has several, as people say them.
    pub parts: Option<Parts>,
    /// Where it stands.
    pub state: StageState,
    /// Whose approval it uses, with the review's id.
    pub approvals: Vec<(Account, u64)>,
    /// Who may approve, as the policy writes it; widened if the stage has escalated.
    pub approvers: BTreeSet<Principal>,
    /// The people among them who could still do so now.
    pub candidates: BTreeSet<Account>,
    /// How many people are asked for a review; all, if it does not say.
    pub ask: Option<u32>,
    /// When it widened last, if it has.
    pub escalated_at: Option<DateTime<Utc>>,
    /// How often it has widened.
    pub widened: usize,
    /// When it will widen, or widen again, if nobody approves.
    pub escalates_at: Option<DateTime<Utc>>,
    /// The condition under which it counts; always, without one.
    pub when: Option<String>,
    /// What it widens by next, as the policy writes it, if it does.
    pub escalation: Option<Escalation>,
    /// The people who could approve once it has widened by all it ever will, besides the candidates.
    pub later: BTreeSet<Account>,
    /// Those of them who could once it widens next.
    pub next: BTreeSet<Account>,
    /// It needs more people than could ever approve it. What is open to everyone, or will widen, may still be satisfied.
    pub out_of_reach: bool,
}

/// The parts of a stage that has several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parts {
    /// Whether all of them must approve, or one.
    pub all: bool,
    /// So many of these, in the policy's order.
    pub parts: Vec<Part>,
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
    /// Pushed a commit to it, whoever it says has written it.
    Pusher,
}

impl Involvement {
    /// How people say it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Requester => "opened the pull request",
            Self::Subject => "would get the access",
            Self::Contributor => "contributed a commit to the pull request",
            Self::Pusher => "pushed a commit to the pull request",
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

    /// Adds somebody of whom only the id is known.
    pub fn add_id(&mut self, id: UserId, how: Involvement) {
        self.by_id.entry(id).or_insert(how);
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

impl StageStatus {
    /// Whom to ask for a review, if the stage asks only so many: whoever is asked already, then others, in an order that is
    /// another one for each pull request, so that the load is spread.
    pub fn to_ask(&self, pull_request: u64, asked: &BTreeSet<Login>) -> BTreeSet<Login> {
        let wanted = self.ask.map_or(usize::MAX, |ask| usize::try_from(ask).unwrap_or(usize::MAX));
        let mut candidates: Vec<&Account> = self.candidates.iter().collect();
        candidates.sort_by_key(|account| {
            let lot = Sha256::digest(format!("{pull_request} {}", account.id));
            (!asked.contains(&account.login), lot)
        });
        // Each time it widens, others are asked as well.
        let left = wanted.saturating_mul(1 + self.widened).saturating_sub(self.approvals.len());
        candidates.into_iter().take(left).map(|account| account.login.clone()).collect()
    }
}

/// Judges a rule. `scope` is what its stages' `when` expressions see; without one (pull requests that change the policy have no
/// request) every stage counts.
pub fn judge(rule: &Approval, ballot: Ballot<'_>, scope: Option<&Scope>) -> ApprovalStatus {
    let latest = latest_words(ballot);
    let mut yes: Vec<(&Account, &Review)> = Vec::new();
    let mut discounted = Vec::new();
    for review in latest.values().filter(|review| review.state == ReviewState::Approved) {
        match discount(review, ballot) {
            Some(why) => discounted.push(Discounted { by: review.author.clone(), why }),
            None => yes.extend(review.author.as_ref().map(|author| (author, *review))),
        }
    }
    let mut judged = seating::walk(rule, &yes, ballot, scope);
    let counting = judged.iter().filter(|stage| stage.state != StageState::Skipped);
    let asked: BTreeSet<Principal> = counting.flat_map(|stage| stage.approvers.iter().cloned()).collect();
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
        .filter(|account| principals::includes(&asked, account, ballot.policy, ballot.directory))
        .collect();
    for (status, stage) in judged.iter_mut().zip(&rule.stages) {
        reach(status, stage, ballot);
    }
    // Whoever's approval is used, at whichever stage, has done what they can.
    let used: BTreeSet<Account> =
        judged.iter().flat_map(|stage| stage.approvals.iter().map(|(account, _)| account.clone())).collect();
    for status in &mut judged {
        for people in [&mut status.candidates, &mut status.next, &mut status.later] {
            people.retain(|account| !used.contains(account));
        }
    }
    ApprovalStatus { rule: rule.name.clone(), stages: judged, objections, discounted }
}

/// Finds out who could still approve a stage, now and in the end.
fn reach(status: &mut StageStatus, stage: &Stage, ballot: Ballot<'_>) {
    let used: BTreeSet<&Account> = status.approvals.iter().map(|(account, _)| account).collect();
    let free = |account: &Account| ballot.involved.how(account).is_none() && !used.contains(account);
    let people = |principals| principals::people(principals, ballot.policy, ballot.directory).into_iter().filter(free);
    let candidates = people(&status.approvers).collect::<BTreeSet<_>>();
    let everybody = stage.everybody();
    let later = people(&everybody).collect::<BTreeSet<_>>();
    status.later = later.difference(&candidates).cloned().collect();
    let next = status.escalation.iter().flat_map(|step| people(&step.to)).collect::<BTreeSet<_>>();
    status.next = next.difference(&candidates).cloned().collect();
    status.candidates = candidates;
    let undecided = matches!(status.state, StageState::Open | StageState::Waiting) && status.escalates_at.is_none();
    status.out_of_reach = undecided && !seating::can_be_met(stage, status, ballot);
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

mod seating;
#[cfg(test)]
mod tests;
