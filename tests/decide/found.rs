//! What the comparison found: each was decided otherwise once.

use std::collections::{BTreeMap, BTreeSet};

use daypass::access::approval::{StageState, StageStatus};
use daypass::access::case::Case;
use daypass::access::decide::{Decision, decide};
use daypass::access::facts::ReviewState;

use crate::generate::{Ask, CommitPlan, Organisation, Plan, ROBOT, ReviewPlan, RolePlan, StagePlan, Who, after};

fn role(requesters: Who) -> RolePlan {
    RolePlan {
        requesters: BTreeSet::from([requesters]),
        on_behalf: BTreeSet::new(),
        ceiling: None,
        ticket: false,
        start: false,
        conditions: Vec::new(),
        rule: 0,
        glass: None,
        needs_mapping: false,
    }
}

fn stage(name: usize, approver: Who, escalate: Option<(u64, Who)>) -> StagePlan {
    let escalate = escalate.map(|(after, to)| (after, BTreeSet::from([to])));
    let approvers = BTreeSet::from([approver]);
    StagePlan { name, required: 1, when: None, approvers, other: None, escalate, again: None }
}

fn yes(by: usize, after: i64) -> ReviewPlan {
    ReviewPlan { by: Some(by), state: ReviewState::Approved, at_head: true, after: Some(after) }
}

/// Somebody asks for a role for which `requesters` may ask and that these stages approve. Everybody is a member; 1 and 2 are in
/// team 0.
fn judged(author: usize, requesters: Who, stages: Vec<StagePlan>, reviews: Vec<ReviewPlan>, minutes: i64) -> Decision {
    let plan = Plan {
        ceiling: 240,
        groups: vec![BTreeSet::from([Who::Everyone]), BTreeSet::from([Who::App])],
        roles: BTreeMap::from([(0, role(requesters))]),
        rules: vec![stages],
        shared: BTreeSet::new(),
        owners: None,
        mapped: BTreeSet::new(),
        addressed: BTreeSet::new(),
    };
    let policy = plan.policy().unwrap();
    let organisation = Organisation {
        members: (0..6).collect(),
        teams: vec![BTreeSet::from([1, 2]), BTreeSet::new(), BTreeSet::new()],
    };
    let wrote = CommitPlan {
        author: Some(author),
        committer: Some(author),
        coauthors: BTreeSet::new(),
        addresses: BTreeSet::new(),
    };
    let ask = Ask {
        author,
        subject: None,
        role: 0,
        minutes: 60,
        ticket: None,
        start: None,
        break_glass: false,
        commits: vec![wrote],
        reviews,
        judged: minutes,
        merged: false,
    };
    let (directory, facts) = (organisation.directory(), ask.facts());
    decide(&ask.request(), Case { policy: &policy, directory: &directory, facts: &facts, now: after(minutes) })
}

fn second(decision: &Decision) -> &StageStatus {
    let stages = &decision.approval.as_ref().unwrap().stages;
    assert_eq!(stages[0].state, StageState::Satisfied);
    &stages[1]
}

#[test]
fn a_group_with_everyone_in_it_is_not_nobody() {
    let decision = judged(0, Who::Everyone, vec![stage(0, Who::Group(0), None)], Vec::new(), 0);
    assert_eq!(decision.findings, [], "any of the others can approve");
}

#[test]
fn an_app_may_ask_as_one_of_a_group() {
    let decision = judged(ROBOT, Who::Group(1), vec![stage(0, Who::Team(0), None)], Vec::new(), 0);
    assert_eq!(decision.findings, []);
}

#[test]
fn a_stage_opens_when_the_first_of_those_who_suffice_has_approved() {
    let stages = vec![stage(0, Who::Team(0), None), stage(1, Who::Team(1), Some((60, Who::Person(4))))];
    // Person 2 approves at once, person 1 half an hour later: it had been enough.
    let decision = judged(0, Who::Everyone, stages, vec![yes(2, 0), yes(1, 30)], 45);
    assert_eq!(second(&decision).escalates_at, Some(after(60)));
}

#[test]
fn a_stage_does_not_open_before_whoever_satisfied_the_one_before_was_allowed_to() {
    let stages =
        vec![stage(0, Who::Team(1), Some((60, Who::Person(4)))), stage(1, Who::Team(0), Some((60, Who::Person(5))))];
    // Person 4 says yes early, but may only approve once the first stage has waited an hour.
    let decision = judged(0, Who::Everyone, stages, vec![yes(4, 5)], 90);
    assert_eq!((second(&decision).escalated_at, second(&decision).escalates_at), (None, Some(after(120))));
}
