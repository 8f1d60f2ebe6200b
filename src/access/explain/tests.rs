//! Explanations tell everything, once, and nothing they do not know.

use proptest::prelude::*;

use super::*;
use crate::access::decide::has_error;
use crate::access::given;
use crate::policy::testcase::{Given, read_given};

const POLICY: &str = r#"
people:
  ann: { postgres: ann, email: ann@example.com }
  ben: { postgres: ben }
groups:
  owners: [user:ben, team:owners]
targets: { db: postgres, hub: github }
roles:
  reader:
    requesters: [team:devs, user:ben]
    may_request_for: [team:leads]
    max_duration: 2h
    limit: 2
    requires: [ticket]
    conditions:
      - expr: request.ticket.startsWith('T-')
      - expr: "!('owners' in subject.groups) || request.duration <= duration('1h')"
      - expr: size(subject.teams) != 2
    approval: two
    params: { service: { one_of: [a, b], default: a } }
    break_glass: { requesters: [team:leads], max_duration: 30m }
    entitlements:
      - postgres: { target: db, role: 'reader_${params.service}' }
  viewer:
    requesters: [everyone]
    approval: none
    entitlements:
      - github: { target: hub, team: "${subject.login == 'cat' ? 'a b' : 'viewers'}" }
approvals:
  none: { stages: [] }
  two:
    cool_down: 4h
    stages:
      - { name: owner, approvers: [group:owners], escalate: { after: 30m, to: [team:leads] } }
      - { name: lead, when: "request.duration > duration('1h') && !('leads' in subject.teams)", approvers: [team:leads] }
"#;

fn policy() -> Policy {
    let loaded = crate::policy::load(&[("policies/p.yaml".to_owned(), POLICY.as_bytes().to_vec())].into(), None);
    loaded.policy.unwrap_or_else(|| panic!("{:#?}", loaded.findings))
}

fn given(text: &str) -> Given {
    read_given("given.yaml", text.as_bytes()).unwrap()
}

fn now() -> DateTime<Utc> {
    "2026-11-30T10:00:00Z".parse().unwrap()
}

fn request(text: &str) -> Request {
    crate::policy::request::read("grants/x.yaml", text.as_bytes(), None).unwrap()
}

prop_compose! {
    fn requests()(
        subject in prop::sample::select(vec!["ann", "ben", "cat", "ghost", "app[bot]"]),
        role in prop::sample::select(vec!["reader", "viewer", "raeder"]),
        duration in prop::sample::select(vec!["20m", "1h", "90m", "3h"]),
        rest in prop::sample::subsequence(
            vec!["ticket: T-1", "break_glass: true", "params: { service: c }", "start: 2026-12-01T00:00:00Z"], 0..=4),
    ) -> Request {
        request(&format!("subject: '{subject}'\nrole: {role}\nduration: {duration}\nreason: x\n{}\n", rest.join("\n")))
    }
}

prop_compose! {
    /// Some of the teams, with some people in each.
    fn facts()(
        teams in prop::collection::btree_map(
            prop::sample::select(vec!["devs", "leads", "owners"]),
            prop::sample::subsequence(vec!["ann", "ben", "cat", "dan"], 0..=4), 0..=3),
        rest in prop::sample::subsequence(
            vec!["approved_by: [ben]", "changes_requested_by: [dan]", "commits_by: [cat]", "elapsed: 1h", "active_grants: 1",
                "active_grants: 2", "denied_at: []", "denied_at: ['2026-11-30T07:00:00Z']"], 0..=8)
            .prop_filter("each key once", |rest| {
                let keys: BTreeSet<_> = rest.iter().filter_map(|line| line.split_once(':')).map(|(key, _)| key).collect();
                keys.len() == rest.len()
            }),
    ) -> Given {
        let teams: Vec<String> = teams.iter().map(|(team, people)| format!("{team}: [{}]", people.join(", "))).collect();
        given(&format!("unknown_accounts: [ghost]\nteams: {{ {} }}\n{}\n", teams.join(", "), rest.join("\n")))
    }
}

proptest! {
    #[test]
    fn every_finding_is_told_once_and_decides(
        request in requests(), given in facts(),
        author in prop::sample::select(vec!["ann", "ben", "ghost"]),
    ) {
        let policy = policy();
        let decision = given::judge(&request, &author.parse().unwrap(), &given, &policy, now());
        let tree = Tree::of(&decision, &policy);
        let mut told: Vec<Finding> = tree.rules.iter().flat_map(|rule| rule.findings.clone()).collect();
        let mut found = decision.findings.clone();
        told.sort();
        found.sort();
        prop_assert_eq!(told, found);
        prop_assert_eq!(tree.is_allowed(), !has_error(&decision.findings));
    }

    #[test]
    fn what_is_said_to_be_known_holds_whoever_is_in_the_other_teams(
        request in requests(), known in facts(), others in facts(),
    ) {
        let policy = policy();
        let author = request.subject.clone().unwrap();
        let told = explain(&request, &author, &known, &policy, now());
        let mut world = known.clone();
        for (team, people) in others.teams {
            world.teams.entry(team).or_insert(people);
        }
        world.active_grants = world.active_grants.or(others.active_grants);
        world.denied_at = world.denied_at.or(others.denied_at);
        let truth = Tree::of(&given::judge(&request, &author, &world, &policy, now()), &policy);
        for (told, truth) in told.rules.iter().zip(&truth.rules) {
            prop_assert!(told.status == Status::Unknown || told.status == truth.status, "{told:?} but {truth:?}");
        }
        let stages = |tree: &Tree| tree.approval.clone().map(|approval| approval.stages).unwrap_or_default();
        for (told, truth) in stages(&told).iter().zip(&stages(&truth)) {
            // Who approved may turn out to be an approver.
            let same = told.status == truth.status || told.status == Status::Unknown || !known.approved_by.is_empty();
            prop_assert!(same, "{told:?} but {truth:?}");
        }
    }
}

#[test]
fn a_team_nobody_gave_is_unknown_and_an_empty_one_is_empty() {
    let (policy, ann) = (policy(), "ann".parse().unwrap());
    let text = request("subject: ann\nrole: reader\nduration: 1h\nreason: x\nticket: T-1\n");
    let status = |given: &Given| {
        let tree = explain(&text, &ann, given, &policy, now());
        tree.rules.into_iter().find(|rule| rule.text.to_string().starts_with("ann may have it")).unwrap().status
    };
    assert_eq!(status(&Given::default()), Status::Unknown);
    assert_eq!(status(&given("teams: { devs: [] }")), Status::Failed);
    assert_eq!(status(&given("teams: { devs: [ann] }")), Status::Passed);
}

#[test]
fn whoever_asks_for_somebody_else_needs_a_right_of_their_own() {
    let (policy, ben) = (policy(), "ben".parse().unwrap());
    let text = request("subject: ann\nrole: reader\nduration: 1h\nreason: x\nticket: T-1\n");
    let answers = |leads: &str| {
        let facts = given(&format!("teams: {{ devs: [ann], owners: [], leads: [{leads}] }}"));
        let tree = explain(&text, &ben, &facts, &policy, now());
        [tree.rules[2].status, tree.rules[3].status]
    };
    assert_eq!(answers("ben, dan"), [Status::Passed, Status::Passed]);
    assert_eq!(answers("dan"), [Status::Failed, Status::Skipped], "the second is not asked then");
}

#[test]
fn a_stage_tells_who_can_approve_now_and_later() {
    let (policy, ann) = (policy(), "ann".parse().unwrap());
    let text = request("subject: ann\nrole: reader\nduration: 1h\nreason: x\nticket: T-1\n");
    let facts = given("teams: { devs: [ann], owners: [cat, ann], leads: [dan] }");
    let tree = explain(&text, &ann, &facts, &policy, now());
    let stages = tree.approval.unwrap().stages;
    let names = |logins: &[Login]| logins.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    assert_eq!(names(&stages[0].people), "ben cat", "ann does not approve her own request");
    let later = stages[0].later.as_ref().unwrap();
    assert_eq!((names(&later.people).as_str(), later.at), ("dan", Some("2026-11-30T10:30:00Z".parse().unwrap())));
    assert_eq!(
        (stages[1].status, stages[1].when.as_ref().unwrap().to_string().contains("is false")),
        (Status::Skipped, true)
    );
    assert_eq!(tree.revert_at, "2026-11-30T10:50:00Z".parse::<DateTime<Utc>>().unwrap());
}

#[test]
fn who_has_it_and_what_was_denied_is_unknown_until_it_is_told() {
    let (policy, ann) = (policy(), "ann".parse().unwrap());
    let text = request("subject: ann\nrole: reader\nduration: 1h\nreason: x\nticket: T-1\n");
    let status = |facts: &str| {
        let facts = given(&format!("teams: {{ devs: [ann], owners: [], leads: [dan] }}\n{facts}"));
        let tree = explain(&text, &ann, &facts, &policy, now());
        let of = |says: &str| tree.rules.iter().find(|rule| rule.text.to_string().contains(says)).unwrap().status;
        (of("fewer than 2 have it"), of("not denied within the last 4h"), tree.unknown.len())
    };
    // Whether ann has an account is the third.
    assert_eq!(status(""), (Status::Unknown, Status::Unknown, 3));
    assert_eq!(status("active_grants: 1\ndenied_at: ['2026-11-30T05:59:00Z']"), (Status::Passed, Status::Passed, 1));
    assert_eq!(status("active_grants: 2\ndenied_at: ['2026-11-30T06:01:00Z']"), (Status::Failed, Status::Failed, 1));
}

#[test]
fn a_machine_is_measured_by_the_ceiling_for_machines() {
    let text = POLICY
        .replace("[team:devs, user:ben]", "[team:devs, 'app:agent']")
        .replace("people:\n", "people:\n  'agent[bot]': { postgres: agent }\n");
    let loaded = crate::policy::load(&[("policies/p.yaml".to_owned(), text.into_bytes())].into(), None);
    let policy = loaded.policy.unwrap();
    let rules = |subject: &str| {
        let text = format!("subject: '{subject}'\nrole: reader\nduration: 90m\nreason: x\nticket: T-1\n");
        let facts = given("teams: { devs: [ann], owners: [], leads: [dan] }");
        let tree = explain(&request(&text), &subject.parse().unwrap(), &facts, &policy, now());
        let of =
            |says: &str| tree.rules.iter().find(|rule| rule.text.to_string().contains(says)).map(|rule| rule.status);
        (of("1h30m is no longer than 2h"), of("1h30m is no longer than 1h, for which a machine may have it"))
    };
    assert_eq!(rules("ann"), (Some(Status::Passed), None));
    assert_eq!(rules("agent[bot]"), (None, Some(Status::Failed)));
}

#[test]
fn whoever_has_approved_is_not_named_among_those_who_could_still_help() {
    let (policy, ann) = (policy(), "ann".parse().unwrap());
    let text = request("subject: ann\nrole: reader\nduration: 90m\nreason: x\nticket: T-1\n");
    let facts = given("teams: { devs: [ann], owners: [cat], leads: [cat, dan] }\napproved_by: [cat]");
    let stages = explain(&text, &ann, &facts, &policy, now()).approval.unwrap().stages;
    assert_eq!((stages[0].status, stages[1].status), (Status::Passed, Status::Open));
    let people: Vec<&str> = stages[1].people.iter().map(Login::as_str).collect();
    assert_eq!(people, ["dan"], "cat's approval is used for the first stage");
    assert!(!stages[1].text.to_string().contains("cat"), "{}", stages[1].text);
}
