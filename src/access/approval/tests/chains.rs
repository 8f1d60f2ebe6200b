//! Stages of several parts, stages that widen again and again, and people who may serve twice.

use super::*;

/// The rule `two` with these stages, as YAML in one line, and what else the rule says.
fn rule(stages: &str, rest: &str) -> String {
    format!(
        "version: 1\ntargets: {{ orders-db: postgres }}\ncalendars:\n  office: {{ time_zone: UTC, hours: 09:00-17:00 }}\n\
         roles:\n  reader: {{ requesters: [everyone], approval: two, \
         entitlements: [{{ postgres: {{ target: orders-db, role: r }} }}] }}\n\
         approvals:\n  two: {{ stages: [{stages}]{rest} }}\n"
    )
}

fn now(rule: &str, approvals: &[&str]) -> ApprovalStatus {
    under(rule, &yes(approvals), &asked_by_alice(), None)
}

#[test]
fn every_part_wants_people_of_its_own() {
    let both = rule(
        "{ name: both, all_of: [{ approvers: [user:dave, user:carol] }, { approvers: [user:erin, user:carol] }] }",
        "",
    );
    assert!(now(&both, &["dave", "erin"]).is_satisfied());
    assert!(now(&both, &["carol", "dave"]).is_satisfied(), "carol stands for the second part");
    assert!(!now(&both, &["carol"]).is_satisfied(), "she cannot stand for both");
    let half = now(&both, &["dave"]);
    assert_eq!(states(&half), [StageState::Open]);
    assert_eq!(half.stages[0].approvals.len(), 1, "what he gave is shown");
}

#[test]
fn one_part_is_enough_if_any_will_do() {
    let either = rule(
        "{ name: either, any_of: [{ approvers: [user:erin] }, { approvers: [user:dave, user:carol], required: 2 }] }",
        "",
    );
    assert!(now(&either, &["erin"]).is_satisfied());
    assert!(now(&either, &["carol", "dave"]).is_satisfied());
    assert!(!now(&either, &["dave"]).is_satisfied());
}

#[test]
fn a_part_is_chosen_so_that_later_stages_find_their_people_too() {
    // If dave's approval were used for the first stage, nobody would be left for the second.
    let two = rule(
        "{ name: first, any_of: [{ approvers: [user:dave] }, { approvers: [user:carol] }] }, \
         { name: second, approvers: [user:dave] }",
        "",
    );
    let status = now(&two, &["dave", "carol"]);
    assert!(status.is_satisfied());
    assert_eq!(status.stages[0].approvals[0].0, account("carol"));
}

#[test]
fn one_person_serves_twice_only_if_the_rule_says_so() {
    let stages = "{ name: owner, approvers: [user:carol, user:dave] }, { name: security, approvers: [user:carol] }";
    assert!(!now(&rule(stages, ""), &["carol"]).is_satisfied());
    assert!(now(&rule(stages, ", distinct: false"), &["carol"]).is_satisfied());
}

#[test]
fn a_stage_widens_again_and_again() {
    let stage = "{ name: owner, approvers: [user:dave], \
                 escalate: [{ after: 20m, to: [user:erin] }, { after: 3h, to: [user:carol] }] }";
    // An hour has gone by.
    let status = now(&rule(stage, ""), &[]);
    let stage = &status.stages[0];
    assert_eq!((stage.widened, stage.escalated_at), (1, Some(opened() + TimeDelta::minutes(20))));
    assert_eq!(stage.escalates_at, Some(opened() + TimeDelta::hours(3)));
    assert_eq!(stage.candidates, BTreeSet::from([account("dave"), account("erin")]));
    assert_eq!(stage.later, BTreeSet::from([account("carol")]));
}

#[test]
fn whoever_is_let_in_later_does_not_count_before() {
    let stage = "{ name: owner, approvers: [user:dave], escalate: { after: 20m, to: [user:erin] } }";
    let merged = |after| {
        let said = yes(&["erin"]);
        under(&rule(stage, ""), &said, &asked_by_alice(), Some(opened() + TimeDelta::minutes(after))).is_satisfied()
    };
    assert!(!merged(19));
    assert!(merged(20));
}

#[test]
fn only_working_time_counts_if_the_escalation_says_so() {
    // It was opened at 08:00, and it is 09:00 now.
    let stage = |after| {
        let text = format!(
            "{{ name: owner, approvers: [user:dave], escalate: {{ after: {after}, calendar: office, to: [user:erin] }} }}"
        );
        now(&rule(&text, ""), &[]).stages[0].escalates_at
    };
    let nine = opened() + TimeDelta::hours(1);
    assert_eq!(nine.to_rfc3339(), "2027-01-15T09:00:00+00:00");
    assert_eq!(stage("30m"), Some(nine + TimeDelta::minutes(30)));
    // It is a Friday.
    assert_eq!(stage("9h"), Some(nine + TimeDelta::days(3) + TimeDelta::hours(1)));
}

#[test]
fn few_are_asked_and_not_always_the_same() {
    let stage = "{ name: owner, approvers: [user:carol, user:dave, user:erin], ask: 1 }";
    let status = now(&rule(stage, ""), &[]);
    let asked: BTreeSet<Login> = (1..50).flat_map(|pull| status.stages[0].to_ask(pull, &BTreeSet::new())).collect();
    assert_eq!(asked.len(), 3, "each of them now and then");
    let nobody = BTreeSet::new();
    assert_eq!(status.stages[0].to_ask(7, &nobody).len(), 1);
    let carol = BTreeSet::from(["carol".parse().unwrap()]);
    assert_eq!(status.stages[0].to_ask(7, &carol), carol, "whoever is asked stays asked");
}

#[test]
fn parts_that_too_few_people_can_meet_are_told_before_anybody_waits() {
    let both = rule("{ name: both, all_of: [{ approvers: [user:dave] }, { approvers: [user:dave, user:alice] }] }", "");
    assert!(now(&both, &[]).stages[0].out_of_reach, "alice asks, and dave cannot stand for both");
}

#[test]
fn stages_that_cannot_be_are_told() {
    let problems = |stages: &str| {
        let files = BTreeMap::from([("policies/all.yaml".to_owned(), rule(stages, "").into_bytes())]);
        let findings = policy::load(&files, None).findings;
        findings.into_iter().map(|finding| finding.message).collect::<Vec<_>>().join("; ")
    };
    for (stages, problem) in [
        ("{ name: a }", "in more than one way, or not at all"),
        ("{ name: a, approvers: [user:dave], any_of: [{ approvers: [user:erin] }] }", "in more than one way"),
        ("{ name: a, any_of: [] }", "has no part"),
        ("{ name: a, all_of: [{ approvers: [user:dave] }], required: 1 }", "`required` belongs to the parts"),
        ("{ name: a, approvers: [user:dave, user:erin], required: 2, ask: 1 }", "asks fewer people than it requires"),
        (
            "{ name: a, approvers: [user:dave], escalate: [{ after: 2h, to: [user:erin] }, { after: 1h, to: [user:carol] }] }",
            "widens after 1h, no later than by the step before it",
        ),
        (
            "{ name: a, approvers: [user:dave], escalate: { after: 1h, calendar: ofice, to: [user:erin] } }",
            "calendar `ofice` does not exist",
        ),
    ] {
        assert!(problems(stages).contains(problem), "{stages}: {}", problems(stages));
    }
    let many =
        "{ name: sN, any_of: [{ approvers: [user:dave] }, { approvers: [user:erin] }, { approvers: [user:carol] }] }";
    let many: Vec<String> = (0..4).map(|nth| many.replace('N', &nth.to_string())).collect();
    assert!(problems(&many.join(", ")).contains("81 ways; at most 64"));
}
