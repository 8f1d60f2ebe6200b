use std::collections::BTreeMap;

use crate::policy::model::Risk;
use crate::policy::{Code, Duration, Loaded, Policy, load};

fn loaded(files: &[(&str, &str)]) -> Loaded {
    load(&files.iter().map(|(path, text)| ((*path).to_owned(), text.as_bytes().to_vec())).collect(), None)
}

fn policy(text: &str) -> Policy {
    let loaded = loaded(&[("policies/all.yaml", text)]);
    assert_eq!(loaded.findings, []);
    loaded.policy.unwrap()
}

const FORTY_DATABASES: &str = "
tables:
  services:
    - { service: orders, team: shop, hours: 4h, people: 2 }
    - { service: billing, team: finance, hours: 1h, people: 1 }
targets:
  ${each.service}-db: { kind: postgres, for_each: services }
approvals:
  ${each.service}-owners:
    for_each: services
    stages:
      - { name: owner, approvers: ['team:${each.team}'], required: '${each.people}' }
templates:
  reading:
    risk: low
    requires: [ticket]
    requesters: [team:engineering]
    conditions: [{ expr: request.reason.size() > 3 }]
roles:
  ${each.service}-reader:
    for_each: services
    extends: reading
    description: Reads the ${each.service} database
    max_duration: ${each.hours}
    approval: ${each.service}-owners
    conditions:
      - expr: request.ticket.startsWith('${each.service}')
    entitlements:
      - postgres: { target: '${each.service}-db', role: '${each.service}_${subject.login}' }
";

#[test]
fn one_definition_makes_a_role_for_each_row_of_a_table() {
    let policy = policy(FORTY_DATABASES);
    let names: Vec<&str> = policy.roles.keys().map(|name| name.as_str()).collect();
    assert_eq!(names, ["billing-reader", "orders-reader"]);
    let role = &policy.roles[&"orders-reader".parse().unwrap()];
    assert_eq!(role.description, "Reads the orders database");
    assert_eq!((role.max_duration, role.risk), (Duration::hours(4), Risk::Low));
    assert_eq!(role.approval.as_str(), "orders-owners");
    assert_eq!(role.entitlements[0].target.as_str(), "orders-db");
    let rule = &policy.approvals[&role.approval];
    assert_eq!(rule.stages[0].required(), 2, "a number stays a number");
}

#[test]
fn what_restricts_adds_up_and_everything_else_is_replaced() {
    let policy = policy(FORTY_DATABASES);
    let role = &policy.roles[&"billing-reader".parse().unwrap()];
    let conditions: Vec<&str> = role.conditions.iter().map(|condition| condition.expression.source()).collect();
    assert_eq!(conditions, ["request.reason.size() > 3", "request.ticket.startsWith('billing')"]);
    assert_eq!(role.requires.len(), 1);
}

#[test]
fn defaults_hold_for_every_role_that_says_nothing_itself() {
    let policy = policy(
        "
settings: { role_defaults: careful }
targets: { db: postgres }
approvals: { owner: { stages: [{ name: owner, approvers: [team:dba] }] } }
templates: { careful: { risk: high, approval: owner, requesters: [team:engineering] } }
roles:
  one: { entitlements: [{ postgres: { target: db, role: one } }] }
  two: { risk: low, entitlements: [{ postgres: { target: db, role: two } }] }
",
    );
    let risks: BTreeMap<&str, Risk> = policy.roles.iter().map(|(name, role)| (name.as_str(), role.risk)).collect();
    assert_eq!(risks, BTreeMap::from([("one", Risk::High), ("two", Risk::Low)]));
}

#[test]
fn a_mistake_in_a_template_of_another_file_is_told_where_it_is_written() {
    let base = "templates:\n  base:\n    requesters: [group:nobody]\n";
    let roles = "targets: { db: postgres }\napprovals: { none: { stages: [] } }\nroles:\n  reader:\n    extends: base\n    \
                 approval: none\n    entitlements: [{ postgres: { target: db, role: r } }]\n";
    let loaded = loaded(&[("policies/base.yaml", base), ("policies/roles.yaml", roles)]);
    let told: Vec<_> = loaded.findings.iter().map(|f| (f.file.as_str(), f.place.line, f.code)).collect();
    assert_eq!(told, [("policies/base.yaml", 3, Code::UnknownGroup)]);
}

#[test]
fn two_parents_that_differ_are_told_with_both_places_unless_the_role_decides() {
    let text = |own: &str| {
        format!(
            "targets: {{ db: postgres }}\napprovals: {{ none: {{ stages: [] }} }}\ntemplates:\n  a: {{ risk: low }}\n  \
             b: {{ risk: high }}\nroles:\n  reader:\n    extends: [a, b]\n    {own}requesters: [team:x]\n    \
             approval: none\n    entitlements: [{{ postgres: {{ target: db, role: r }} }}]\n"
        )
    };
    let loaded = loaded(&[("policies/x.yaml", &text(""))]);
    assert_eq!(loaded.findings.len(), 1);
    let finding = &loaded.findings[0];
    assert_eq!((finding.code, finding.place.line), (Code::UnclearInheritance, 8));
    assert!(finding.message.contains("policies/x.yaml:4") && finding.message.contains("policies/x.yaml:5"));
    assert_eq!(policy(&text("risk: medium\n    ")).roles.len(), 1);
}

#[test]
fn a_mistake_every_row_makes_is_told_once() {
    let rows: String = (0..40).map(|row| format!("    - {{ name: s{row} }}\n")).collect();
    let text = format!(
        "tables:\n  rows:\n{rows}targets: {{ db: postgres }}\napprovals: {{ none: {{ stages: [] }} }}\nroles:\n  \
         r-${{each.name}}:\n    for_each: rows\n    requesters: [team:x]\n    approval: none\n    \
         entitlements: [{{ postgres: {{ target: nowhere, role: '${{each.name}}' }} }}]\n"
    );
    let loaded = loaded(&[("policies/x.yaml", &text)]);
    assert!(loaded.findings.len() <= 2, "{:#?}", loaded.findings);
}

#[test]
fn a_circle_is_told_with_all_its_places() {
    let text = "templates:\n  first: { extends: a }\n  a: { extends: b }\n  b: { extends: a }\n";
    let loaded = loaded(&[("policies/x.yaml", text)]);
    let told: Vec<_> = loaded.findings.iter().map(|f| (f.code, f.place.line, f.message.as_str())).collect();
    let circle = "`a` (policies/x.yaml:3:3) extends `b` (policies/x.yaml:4:3) extends `a`: a circle";
    assert_eq!(told, [(Code::ExtendsCircle, 3, circle)]);
}

#[test]
fn a_mistake_of_one_row_is_told_at_the_row_and_says_what_it_makes() {
    let text = FORTY_DATABASES.replace("hours: 1h", "hours: 1 fortnight");
    let loaded = loaded(&[("policies/all.yaml", &text)]);
    let [finding] = loaded.findings.as_slice() else { panic!("{:#?}", loaded.findings) };
    assert_eq!((finding.code, finding.place.line), (Code::BadDuration, 5));
    assert!(finding.message.ends_with("(made from this row at policies/all.yaml:24)"), "{}", finding.message);
}

#[test]
fn without_a_file_nothing_is_said_about_what_may_be_in_it() {
    let roles = "targets: { db: postgres }\napprovals: { none: { stages: [] } }\nroles:\n  reader:\n    extends: base\n    \
                 entitlements: [{ postgres: { target: db, role: r } }]\n  ${each.x}-reader: { for_each: rows, extends: base }\n";
    let loaded = loaded(&[("policies/base.yaml", "templates: ["), ("policies/roles.yaml", roles)]);
    let told: Vec<_> = loaded.findings.iter().map(|f| (f.file.as_str(), f.code)).collect();
    assert_eq!(told, [("policies/base.yaml", Code::Syntax)]);
}

#[test]
fn one_person_is_not_several() {
    let text = "targets: { db: postgres }\ngroups: { bots: [app:renovate] }\napprovals:\n  one:\n    stages:\n      \
                - { name: owner, approvers: [group:bots] }\nroles:\n  reader:\n    requesters: [team:x]\n    \
                approval: one\n    entitlements: [{ postgres: { target: db, role: r } }]\n";
    let loaded = loaded(&[("policies/x.yaml", text)]);
    let told: Vec<_> = loaded.findings.iter().map(|f| (f.code, f.message.as_str())).collect();
    assert_eq!(told, [(Code::TooFewPeople, "stage `owner` of `one` needs one person, and names too few")]);
}
