//! One request, a few people, and which of their words count.

use chrono::TimeDelta;

use super::*;
use crate::policy;

mod chains;

/// Dave owns the data, erin is security, carol is both.
const POLICY: &str = "version: 1\nsettings: { max_duration: 4h }\ntargets: { orders-db: postgres }\nroles:\n  \
    reader: { requesters: [everyone], approval: two, entitlements: [{ postgres: { target: orders-db, role: r } }] }\n\
    approvals:\n  two: { stages: [{ name: owner, approvers: [user:dave, user:carol] }, \
    { name: security, approvers: [user:erin, user:carol] }] }\n";

const PEOPLE: [&str; 4] = ["alice", "carol", "dave", "erin"];

fn opened() -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000, 0).unwrap()
}

fn account(login: &str) -> Account {
    let id = PEOPLE.iter().position(|known| *known == login).unwrap() as u64;
    Account { id: UserId(id), login: login.parse().unwrap(), bot: false }
}

fn commit(letter: &str) -> CommitId {
    letter.repeat(40).parse().unwrap()
}

/// Reviews of the head, a minute apart, in that order.
fn reviews(words: &[(&str, ReviewState)]) -> Vec<Review> {
    let review = |(nth, (login, state)): (usize, &(&str, ReviewState))| Review {
        id: nth as u64 + 1,
        author: Some(account(login)),
        state: *state,
        commit: Some(commit("a")),
        submitted_at: Some(opened() + TimeDelta::minutes(nth as i64 + 1)),
    };
    words.iter().enumerate().map(review).collect()
}

fn yes(logins: &[&str]) -> Vec<Review> {
    reviews(&logins.iter().map(|login| (*login, ReviewState::Approved)).collect::<Vec<_>>())
}

/// Judged at head `a`, with `involved` having a hand in it.
fn judged(reviews: &[Review], involved: &Involved, merged_at: Option<DateTime<Utc>>) -> ApprovalStatus {
    under(POLICY, reviews, involved, merged_at)
}

/// Judged under the rule `two` of another policy.
fn under(policy: &str, reviews: &[Review], involved: &Involved, merged_at: Option<DateTime<Utc>>) -> ApprovalStatus {
    let files = BTreeMap::from([("policies/all.yaml".to_owned(), policy.as_bytes().to_vec())]);
    let loaded = policy::load(&files, None);
    let policy = loaded.policy.unwrap_or_else(|| panic!("{:?}", loaded.findings));
    let directory = Directory {
        accounts: PEOPLE.iter().map(|login| (login.parse().unwrap(), Some(account(login)))).collect(),
        members: PEOPLE.iter().map(|login| account(login).id).collect(),
        ..Directory::default()
    };
    let head = commit("a");
    let ballot = Ballot {
        policy: &policy,
        directory: &directory,
        reviews,
        head: &head,
        involved,
        opened_at: opened(),
        merged_at,
        now: opened() + TimeDelta::hours(1),
    };
    judge(&policy.approvals[&"two".parse().unwrap()], ballot, None)
}

/// Judged while it is open; alice asks.
fn open(reviews: &[Review]) -> ApprovalStatus {
    judged(reviews, &asked_by_alice(), None)
}

fn asked_by_alice() -> Involved {
    let mut involved = Involved::default();
    involved.add(&account("alice"), Involvement::Requester);
    involved
}

fn states(status: &ApprovalStatus) -> Vec<StageState> {
    status.stages.iter().map(|stage| stage.state.clone()).collect()
}

fn why(status: &ApprovalStatus) -> Vec<Discount> {
    status.discounted.iter().map(|discounted| discounted.why.clone()).collect()
}

#[test]
fn two_people_satisfy_two_stages() {
    assert!(open(&yes(&["dave", "erin"])).is_satisfied());
    assert!(open(&yes(&["erin", "dave"])).is_satisfied(), "in any order");
}

#[test]
fn one_person_does_not_satisfy_two_stages() {
    let alone = open(&yes(&["carol"]));
    assert!(!alone.is_satisfied());
    assert_eq!(states(&alone), [StageState::Satisfied, StageState::Open]);
    // Nor by saying it twice.
    assert!(!open(&yes(&["carol", "carol"])).is_satisfied());
}

#[test]
fn who_could_stand_for_either_stage_stands_where_nobody_else_does() {
    for (other, first) in [("dave", "dave"), ("erin", "carol")] {
        for order in [["carol", other], [other, "carol"]] {
            let status = open(&yes(&order));
            assert!(status.is_satisfied(), "{order:?}");
            assert_eq!(status.stages[0].approvals[0].0, account(first), "{order:?}");
        }
    }
}

#[test]
fn a_stage_after_an_open_one_waits_even_if_its_people_have_spoken() {
    assert_eq!(states(&open(&yes(&["erin"]))), [StageState::Open, StageState::Waiting]);
}

#[test]
fn what_is_said_after_the_merge_does_not_count() {
    let (said, asked) = (yes(&["dave", "erin"]), asked_by_alice());
    let merged_after = |minutes| judged(&said, &asked, Some(opened() + TimeDelta::minutes(minutes)));
    assert!(!merged_after(0).is_satisfied(), "neither had spoken");
    assert!(!merged_after(1).is_satisfied(), "one had");
    assert!(merged_after(2).is_satisfied(), "both had");
}

#[test]
fn a_word_without_a_time_may_have_been_said_after_the_merge() {
    let mut said = yes(&["dave", "erin"]);
    said[1].submitted_at = None;
    assert!(open(&said).is_satisfied());
    assert!(!judged(&said, &asked_by_alice(), Some(opened() + TimeDelta::minutes(9))).is_satisfied());
}

#[test]
fn an_objection_after_the_merge_does_not_take_back_what_was_approved() {
    let said = reviews(&[
        ("dave", ReviewState::Approved),
        ("erin", ReviewState::Approved),
        ("dave", ReviewState::ChangesRequested),
    ]);
    assert!(judged(&said, &asked_by_alice(), Some(opened() + TimeDelta::minutes(2))).is_satisfied());
    assert!(!open(&said).is_satisfied());
}

#[test]
fn whoever_has_a_hand_in_it_does_not_count_by_account_or_by_name() {
    for how in [Involvement::Requester, Involvement::Subject, Involvement::Contributor] {
        let (mut by_id, mut by_login) = (asked_by_alice(), asked_by_alice());
        by_id.add(&account("erin"), how);
        by_login.add_login(&"erin".parse().unwrap(), how);
        for involved in [by_id, by_login] {
            let status = judged(&yes(&["dave", "erin"]), &involved, None);
            assert!(!status.is_satisfied(), "{how:?}");
            assert_eq!(why(&status), [Discount::Involved(how)]);
            assert!(!status.stages[1].candidates.contains(&account("erin")), "nobody waits for her");
        }
    }
}

#[test]
fn a_yes_to_another_commit_does_not_count() {
    let mut said = yes(&["dave", "erin"]);
    said[1].commit = Some(commit("b"));
    let status = open(&said);
    assert!(!status.is_satisfied());
    assert_eq!(why(&status), [Discount::Stale(Some(commit("b")))]);
    said[1].commit = None;
    assert_eq!(why(&open(&said)), [Discount::Stale(None)]);
}

#[test]
fn the_last_word_counts_and_remarks_leave_it_as_it_is() {
    let then = |state| {
        let mut words = vec![("dave", ReviewState::Approved), ("erin", ReviewState::Approved)];
        words.push(("erin", state));
        open(&reviews(&words)).is_satisfied()
    };
    assert!(then(ReviewState::Commented) && then(ReviewState::Pending) && then(ReviewState::Unknown));
    assert!(!then(ReviewState::ChangesRequested) && !then(ReviewState::Dismissed));
    let taken_back =
        [("dave", ReviewState::ChangesRequested), ("erin", ReviewState::Approved), ("dave", ReviewState::Approved)];
    assert!(open(&reviews(&taken_back)).is_satisfied());
}

#[test]
fn only_approvers_object_and_a_no_to_an_older_commit_stands() {
    let with = |login: &str, of: &str| {
        let words =
            [("dave", ReviewState::Approved), ("erin", ReviewState::Approved), (login, ReviewState::ChangesRequested)];
        let mut said = reviews(&words);
        said[2].commit = Some(commit(of));
        open(&said)
    };
    assert!(with("alice", "a").is_satisfied(), "who asks cannot object, but close it");
    assert_eq!(with("carol", "a").objections, [account("carol")]);
    assert!(!with("carol", "b").is_satisfied());
}

#[test]
fn bots_deleted_accounts_and_strangers_do_not_count() {
    let mut said = yes(&["dave", "erin", "alice"]);
    said[0].author.as_mut().unwrap().bot = true;
    said[1].author = None;
    let status = judged(&said, &Involved::default(), None);
    assert!(!status.is_satisfied());
    assert_eq!(why(&status), [Discount::NotAPerson, Discount::NotAPerson, Discount::NotAnApprover]);
}

#[test]
fn a_rule_without_stages_asks_nobody_and_still_hears_nobody() {
    let files = BTreeMap::from([("policies/all.yaml".to_owned(), POLICY.as_bytes().to_vec())]);
    let policy = policy::load(&files, None).policy.unwrap();
    let (directory, head, involved) = (Directory::default(), commit("a"), asked_by_alice());
    let ballot = Ballot {
        policy: &policy,
        directory: &directory,
        reviews: &[],
        head: &head,
        involved: &involved,
        opened_at: opened(),
        merged_at: None,
        now: opened(),
    };
    let none = Approval { name: "none".parse().unwrap(), stages: Vec::new(), distinct: true, cool_down: None };
    let status = judge(&none, ballot, None);
    assert!(status.is_satisfied());
    assert_eq!(status.approvers().count(), 0);
}
