//! Changes of what looks like words, and of memberships, under expressions that ask for them.

use super::*;

/// POLICY with one more role that has these lines.
fn with_role(lines: &[&str]) -> String {
    let lines: String = lines.iter().map(|line| format!("    {line}\n")).collect();
    let role = format!("  asked:\n    requesters: [user:alice, user:bob]\n{lines}");
    edited(&[("approvals:\n", &format!("{role}approvals:\n"))])
}

fn told(lines: &[&str], old: &[(&str, &str)], new: &[(&str, &str)]) -> Vec<String> {
    let policy = with_role(lines);
    let edit = |edits: &[(&str, &str)]| {
        edits.iter().fold(policy.clone(), |text, (from, to)| {
            assert!(text.contains(from), "{from} is in {text}");
            text.replacen(from, to, 1)
        })
    };
    effects_between(&edit(old), &edit(new), &acme())
}

const GIVES: &str = "entitlements: [postgres: { target: orders-db, role: ro }]";

#[test]
fn a_description_that_expressions_read_is_no_mere_text() {
    let change = [("description: slow", "description: fast")];
    let lines =
        ["description: slow", "approval: owners", "conditions: [ expr: \"role.description != 'fast'\" ]", GIVES];
    assert_eq!(
        told(&lines, &change, &[]),
        [
            "high asked: its description is `slow` instead of `fast`; expressions ask for it: `role.description != 'fast'`"
        ]
    );
    let gives = "entitlements: [postgres: { target: orders-db, role: '${role.description}' }]";
    let told_of = told(&["description: slow", "approval: owners", gives], &change, &[]);
    assert_eq!(told_of.len(), 1, "{told_of:?}");
    assert_eq!(told(&["description: slow", "approval: owners", GIVES], &change, &[]), [""; 0]);
}

#[test]
fn a_higher_risk_that_expressions_read_is_not_called_narrower() {
    let change = [("risk: low", "risk: critical")];
    for lines in [
        [
            "risk: low",
            "approval: owners",
            "conditions: [ expr: \"role.risk == 'critical' || request.ticket != ''\" ]",
            GIVES,
        ],
        [
            "risk: low",
            "approval: owners",
            "conditions: []",
            "entitlements: [postgres: { target: orders-db, role: \"${role.risk == 'critical' ? 'superuser' : 'ro'}\" }]",
        ],
    ] {
        let told = told(&lines, &[], &change);
        assert!(
            told.len() == 1 && told[0].starts_with("high asked: its risk is critical instead of low; "),
            "{told:?}"
        );
    }
    let lines = ["risk: low", "approval: owners", GIVES];
    assert_eq!(told(&lines, &[], &change), ["narrower asked: its risk is critical instead of low"]);
}

#[test]
fn a_name_that_expressions_ask_for_does_not_only_take_away() {
    let lines = ["approval: owners", "conditions: [ expr: '!has(person.other.aws)' ]", GIVES];
    let aws = [("alice: { postgres: alice }", "alice: { postgres: alice, aws: al }")];
    assert_eq!(
        told(&lines, &aws, &[]),
        ["medium -: `people.alice.aws` is no longer `al`; expressions ask for it in: `asked`"]
    );
    let plain = "entitlements: [ssh: { target: servers, principals: ['${person.ssh}'] }]";
    let ssh = |names: &str| format!("alice: {{ postgres: alice, ssh: [{names}] }}");
    let (one, other, alone) = (ssh("al, root"), ssh("root, al"), ssh("root"));
    let alice = "alice: { postgres: alice }";
    assert_eq!(told(&["approval: owners", plain], &[(alice, &one)], &[(alice, &other)]), [""; 0]);
    assert_eq!(
        told(&["approval: owners", plain], &[(alice, &one)], &[(alice, &alone)]),
        ["narrower -: `people.alice.ssh` is no longer `al`"]
    );
    let first = "entitlements: [ssh: { target: servers, principals: ['${person.ssh[0]}'] }]";
    assert_eq!(
        told(&["approval: owners", first], &[(alice, &one)], &[(alice, &other)]),
        [
            "high -: `people.alice.ssh` comes in another order: `root`, `al`; until now `al`, `root`; expressions ask for it in: `asked`"
        ]
    );
    assert_eq!(
        told(&["approval: owners", first], &[(alice, &one)], &[(alice, &alone)]),
        ["high -: `people.alice.ssh` is no longer `al`; expressions ask for it in: `asked`"]
    );
    assert_eq!(
        told(&["approval: owners", plain], &[(alice, &ssh("al"))], &[(alice, &one)]),
        ["high -: `people.alice.ssh` has `root` among others"]
    );
}

#[test]
fn who_comes_into_a_group_that_expressions_ask_for_gains_what_they_say() {
    let into = [("dba: [user:carol", "oncall: []\n  dba: [user:carol")];
    let bob = [("dba: [user:carol", "oncall: [user:bob]\n  dba: [user:carol")];
    let row = "neutral -: `bob` joins group `oncall`, which expressions can ask for in: `asked`";
    let lines = ["approval: owners", "conditions: [ expr: \"'oncall' in subject.groups\" ]", GIVES];
    let met = "high asked: for `bob`: the condition `'oncall' in subject.groups` is now met, so they can have it";
    assert_eq!(told(&lines, &into, &bob), [met, row]);
    assert_eq!(
        told(&lines, &bob, &into)[1],
        "narrower asked: for `bob`: the condition `'oncall' in subject.groups` is no longer met"
    );
    let gives =
        "entitlements: [postgres: { target: orders-db, role: \"${'oncall' in subject.groups ? 'rw' : 'ro'}\" }]";
    assert_eq!(
        told(&["approval: owners", gives], &into, &bob),
        ["high asked: for `bob`: it gives `rw` on `orders-db`; until now `ro`", row]
    );
    // Carol may not have it.
    let carol = [("dba: [user:carol", "oncall: [user:carol]\n  dba: [user:carol")];
    assert_eq!(told(&lines, &into, &carol), [row.replace("`bob`", "`carol`")]);
    // What depends on the request cannot be told.
    let lines =
        ["approval: owners", "conditions: [ expr: \"'oncall' in subject.groups || request.ticket != ''\" ]", GIVES];
    assert_eq!(told(&lines, &into, &bob), [row.replace("neutral", "high")]);
}

#[test]
fn who_comes_into_a_group_may_skip_a_stage() {
    let rule = [
        (
            "  owners: { stages",
            "  skipping: { stages: [{ name: second, when: \"!('oncall' in subject.groups)\", approvers: [team:security] }] }\n  owners: { stages",
        ),
        ("dba: [user:carol", "oncall: []\n  dba: [user:carol"),
    ];
    let bob = [rule[0], ("dba: [user:carol", "oncall: [user:bob]\n  dba: [user:carol")];
    let told = told(&["approval: skipping", GIVES], &rule, &bob);
    assert_eq!(told[0], "high asked: for `bob`: approval stage `second` no longer counts", "{told:?}");
}

#[test]
fn a_running_grant_is_judged_again_if_only_a_description_is_another() {
    let condition = ("request.ticket.startsWith('INC-')", "role.description != 'fast'");
    let old = load(&edited(&[condition, ("    requires: [ticket]", "    description: slow")]));
    let new = load(&edited(&[condition, ("    requires: [ticket]", "    description: fast")]));
    let impact = compare(&old, &new, &acme());
    assert!(impact.touches(&"reader".parse().unwrap()));
    let now = "2026-11-30T10:00:00Z".parse().unwrap();
    let effect = running_grant(&grant("alice"), None, (&old, &new), &acme(), now).unwrap();
    assert!(effect.sentence.to_string().contains("would be refused (DP0407)"), "{}", effect.sentence);
}
