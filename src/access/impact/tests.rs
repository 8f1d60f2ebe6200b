use std::collections::BTreeMap;

use super::*;
use crate::access::facts::Account;
use crate::policy::name::{Login, UserId};
use crate::policy::{self, Request};

mod asked;

const POLICY: &str = "\
settings: { policy_approval: owners }
groups:
  dba: [user:carol, team:data]
people:
  alice: { postgres: alice }
  bob: { postgres: bob }
targets: { orders-db: postgres, servers: ssh }
roles:
  reader:
    requesters: [team:eng]
    max_duration: 4h
    requires: [ticket]
    conditions:
      - expr: request.ticket.startsWith('INC-')
    approval: owner-then-security
    break_glass: { requesters: [user:bob], max_duration: 1h, review_within: 24h }
    params: { db: { one_of: [orders] } }
    entitlements:
      - postgres: { target: orders-db, role: '${params.db}_reader' }
approvals:
  owner-then-security:
    stages:
      - { name: owner, approvers: [group:dba], escalate: { after: 30m, to: [team:leads] } }
      - { name: security, when: request.duration > duration('2h'), approvers: [team:security], required: 2 }
  owners: { stages: [{ name: owners, approvers: [team:security] }] }
";

fn load(text: &str) -> Policy {
    let loaded = policy::load(&BTreeMap::from([("policies/p.yaml".to_owned(), text.as_bytes().to_vec())]), None);
    loaded.policy.unwrap_or_else(|| panic!("{:#?}\n{text}", loaded.findings))
}

/// POLICY with each of `edits` made once.
fn edited(edits: &[(&str, &str)]) -> String {
    edits.iter().fold(POLICY.to_owned(), |text, (from, to)| {
        assert!(text.contains(from), "{from} is in the policy");
        text.replacen(from, to, 1)
    })
}

fn directory(teams: &[(&str, &[&str])], others: &[&str]) -> Directory {
    let named = teams.iter().flat_map(|(_, logins)| logins.iter()).chain(others);
    let logins: BTreeSet<Login> = named.map(|login| login.parse().unwrap()).collect();
    let accounts: BTreeMap<Login, Account> =
        (1..).zip(logins).map(|(id, login)| (login.clone(), Account { id: UserId(id), login, bot: false })).collect();
    let team = |(slug, logins): &(&str, &[&str])| {
        let members = logins.iter().map(|login| accounts[&login.parse::<Login>().unwrap()].clone());
        (slug.parse().unwrap(), Some(members.collect()))
    };
    Directory {
        teams: teams.iter().map(team).collect(),
        members: accounts.values().map(|account| account.id).collect(),
        suspended: Default::default(),
        accounts: accounts.into_iter().map(|(login, account)| (login, Some(account))).collect(),
    }
}

/// Acme: everybody is known.
fn acme() -> Directory {
    directory(
        &[
            ("eng", &["alice", "bob"]),
            ("data", &["dave"]),
            ("leads", &["lea"]),
            ("security", &["erin", "sam"]),
            ("interns", &["ivy", "alice"]),
            ("on-call", &["alice"]),
        ],
        &["carol"],
    )
}

/// Nobody told who is in which team.
fn offline() -> Directory {
    directory(&[], &["alice", "bob", "carol", "mallory"])
}

fn effects_between(old: &str, new: &str, directory: &Directory) -> Vec<String> {
    let impact = compare(&load(old), &load(new), directory);
    let line = |effect: &Effect| {
        let role = effect.role.as_ref().map_or("-", RoleName::as_str);
        format!("{} {role}: {}", effect.danger.as_str(), effect.sentence)
    };
    impact.effects.iter().map(line).collect()
}

fn effects(edits: &[(&str, &str)], directory: &Directory) -> Vec<String> {
    effects_between(POLICY, &edited(edits), directory)
}

#[test]
fn a_policy_has_no_effect_on_itself() {
    assert_eq!(effects(&[], &acme()), [""; 0]);
    assert_eq!(effects(&[], &offline()), [""; 0]);
}

#[test]
fn other_words_for_the_same_have_no_effect() {
    let same: &[&[(&str, &str)]] = &[
        // Another name for the group, for the rule, for a stage.
        &[("dba: [user", "owners: [user"), ("group:dba", "group:owners")],
        &[("owner-then-security\n", "two\n"), ("owner-then-security:", "two:")],
        &[("name: security", "name: second")],
        // The group written out, and in a group of its own.
        &[("[group:dba]", "[team:data, user:carol]")],
        &[("dba: [user:carol, team:data]", "dba: [group:more, user:carol]\n  more: [team:data]")],
        // Order, comments, descriptions.
        &[("[user:carol, team:data]", "[team:data, user:carol]"), ("max_duration: 4h", "max_duration: 240m # four")],
        &[("    requesters: [team:eng]", "    description: Reads\n    requesters: [team:eng]")],
    ];
    for edits in same {
        assert_eq!(effects(edits, &acme()), [""; 0], "{edits:?}");
        assert_eq!(effects(edits, &offline()), [""; 0], "{edits:?}");
    }
}

#[test]
fn who_may_request_is_told_person_by_person_where_memberships_are_known() {
    let edits = [("requesters: [team:eng]", "requesters: [team:eng, team:interns, user:bob]")];
    assert_eq!(effects(&edits, &acme()), ["medium reader: `ivy` (in `team:interns`) may now request it"]);
    assert_eq!(
        effects(&edits, &offline()),
        ["medium reader: `team:interns`, `bob` (unless already in `team:eng`) may now request it"]
    );
    assert_eq!(
        effects(&[("[team:eng]", "[team:interns]")], &acme()),
        [
            "medium reader: `ivy` (in `team:interns`) may now request it",
            "narrower reader: `bob` (in `team:eng`) may no longer request it",
        ]
    );
    assert_eq!(
        effects(&[("[team:eng]", "[everyone]")], &offline()),
        ["high reader: everyone in the organisation (unless already in `team:eng`) may now request it"]
    );
}

#[test]
fn a_team_that_nobody_gains_by_is_no_effect_but_said() {
    let new = edited(&[("requesters: [team:eng]", "requesters: [team:eng, team:on-call]")]);
    let impact = compare(&load(POLICY), &load(&new), &acme());
    assert_eq!(impact.effects, []);
    let dormant: Vec<String> = impact.dormant.iter().map(ToString::to_string).collect();
    assert_eq!(dormant, ["role `reader`: `team:on-call` may now request it"]);
}

#[test]
fn an_approval_that_falls_away_is_the_first_thing_one_reads() {
    let edits = [
        ("approval: owner-then-security", "approval: none"),
        ("  owner-then-security:", "  none: { stages: [] }\n  unused:"),
    ];
    let told = effects(&[edits[0], edits[1], ("max_duration: 4h", "max_duration: 8h")], &acme());
    assert_eq!(
        told,
        [
            "critical reader: nobody has to approve any more; until now: `owner`, `security`",
            "medium reader: access may last 8h instead of 4h",
        ]
    );
}

#[test]
fn stages_are_compared_by_what_they_demand() {
    let second = "      - { name: security, when: request.duration > duration('2h'), approvers: [team:security], required: 2 }\n";
    assert_eq!(
        effects(&[(second, "")], &acme()),
        [
            "high reader: approval stage `security` is gone; until now 2 of `erin`, `sam` (in `team:security`) had to approve"
        ]
    );
    assert_eq!(
        effects(&[("required: 2", "required: 1")], &acme()),
        ["high reader: stage `security` needs 1 person to approve instead of 2"]
    );
    assert_eq!(
        effects(&[("duration('2h')", "duration('4h')")], &acme()),
        [
            "high reader: stage `security` now counts if `request.duration > duration('4h')`; until now if `request.duration > duration('2h')`"
        ]
    );
    assert_eq!(
        effects(&[("after: 30m", "after: 5m"), ("approvers: [group:dba]", "approvers: [user:mallory]")], &offline()),
        [
            "high reader: `mallory` (unless already in `team:data`) may now approve stage `owner`",
            "low reader: stage `owner` opens to others sooner: after 5m instead of 30m",
            "narrower reader: `team:data`, `carol` may no longer approve stage `owner`",
        ]
    );
    assert_eq!(
        effects(&[("to: [team:leads]", "to: [team:leads, team:interns]")], &acme()),
        ["medium reader: `alice`, `ivy` (in `team:interns`) may now approve stage `owner` after it has waited 30m"]
    );
}

#[test]
fn whoever_only_has_to_wait_has_not_lost_the_right() {
    let edits =
        [("approvers: [group:dba]", "approvers: [user:carol]"), ("to: [team:leads]", "to: [team:leads, team:data]")];
    for directory in [acme(), offline()] {
        let told = effects(&edits, &directory);
        let who = if directory.teams.is_empty() { "`team:data`" } else { "`dave` (in `team:data`)" };
        assert_eq!(told, [format!("narrower reader: {who} may only after a while approve stage `owner`")]);
    }
}

#[test]
fn guards_of_a_request_that_fall_away_are_shown_with_their_text() {
    let told = effects(
        &[
            ("    requires: [ticket]\n", ""),
            ("startsWith('INC-')", "startsWith('')"),
            ("[orders]", "[orders, payroll]"),
        ],
        &acme(),
    );
    assert_eq!(
        told,
        [
            "high reader: a condition is now `request.ticket.startsWith('')`; until now `request.ticket.startsWith('INC-')`",
            "medium reader: a request no longer needs a `ticket`",
            "medium reader: parameter `db` may be `orders, payroll`; until now `orders`",
        ]
    );
    let told = effects(&[("    conditions:\n      - expr: request.ticket.startsWith('INC-')\n", "")], &acme());
    assert_eq!(told, ["high reader: the condition `request.ticket.startsWith('INC-')` is gone"]);
}

#[test]
fn what_a_role_gives_is_compared_in_the_words_of_its_templates() {
    let told = effects(
        &[("${params.db}_reader' }", "${params.db}_owner' }\n      - ssh: { target: servers, principals: [root] }")],
        &acme(),
    );
    assert_eq!(
        told,
        [
            "high reader: it also gives `SSH as root on servers`",
            "high reader: it also gives `role ${params.db}_owner on orders-db`",
            "narrower reader: it no longer gives `role ${params.db}_reader on orders-db`",
        ]
    );
}

#[test]
fn the_emergency_path_and_the_harm_a_role_can_do() {
    let told = effects(
        &[
            (
                "requesters: [user:bob], max_duration: 1h, review_within: 24h",
                "requesters: [team:eng], max_duration: 2h, review_within: 72h",
            ),
            ("    requires", "    risk: high\n    requires"),
        ],
        &acme(),
    );
    assert_eq!(
        told,
        [
            "critical reader: `alice` (in `team:eng`) may now break the glass for it: have it without approval",
            "high reader: break-glass access may last 2h instead of 1h",
            "medium reader: its review may take 3d instead of 1d",
            "narrower reader: its risk is high instead of medium",
        ]
    );
}

#[test]
fn whoever_gets_the_name_of_somebody_else_gets_their_access() {
    let told = effects(&[("alice: { postgres: alice }", "alice: { postgres: bob }")], &acme());
    assert_eq!(told, ["critical -: `people.alice.postgres` is now `bob`, the account of `bob`; until now `alice`"]);
    let told = effects(
        &[(
            "bob: { postgres: bob }",
            "bob: { postgres: bob, ssh_keys: [ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ] }",
        )],
        &acme(),
    );
    assert_eq!(
        told,
        [
            "high -: `people.bob.ssh_keys` is now `ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ`"
        ]
    );
    let told = effects(&[("bob: { postgres: bob }", "bob: {}\n  zoe: { postgres: zoe }")], &acme());
    assert_eq!(
        told,
        ["low -: `people.zoe.postgres` is now `zoe`", "narrower -: `people.bob.postgres` is no longer `bob`"]
    );
}

#[test]
fn how_conditions_are_written_has_no_effect() {
    let same: &[&[(&str, &str)]] = &[
        &[("request.ticket.startsWith('INC-')", "(request . ticket.startsWith(\"INC-\")) // an incident")],
        &[("when: request.duration > duration('2h')", "when: (request.duration>duration(\"2h\"))")],
        &[("'${params.db}_reader'", "'${ params.db }_reader'")],
    ];
    for edits in same {
        assert_eq!(effects(edits, &acme()), [""; 0], "{edits:?}");
    }
}

#[test]
fn a_stage_that_counts_for_every_change_of_the_policy_is_not_said_to_have_a_condition() {
    let stage = "{ name: owners, approvers: [team:security] }";
    let with = |when: &str| format!("{{ name: owners, when: {when}, approvers: [team:security] }}");
    assert_eq!(effects(&[(stage, &with("request.break_glass"))], &acme()), [""; 0]);
    let two = format!("{stage}, {}", with("request.break_glass").replace("name: owners", "name: more"));
    let told = effects(&[(stage, &two)], &acme());
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("stage `more` is new") && !told[0].contains(", if "), "{told:?}");
}

#[test]
fn who_approves_changes_of_the_policy_is_as_dangerous_as_it_gets() {
    let told = effects(
        &[("name: owners, approvers: [team:security]", "name: owners, approvers: [team:security, team:interns]")],
        &acme(),
    );
    assert_eq!(
        told,
        ["critical -: changes of the policy: `alice`, `ivy` (in `team:interns`) may now approve stage `owners`"]
    );
    let told = effects(
        &[("settings: { policy_approval: owners }", "settings: { policy_approval: owners, max_duration: 2h }")],
        &acme(),
    );
    assert_eq!(
        told,
        [
            "narrower -: the ceiling over every role is 2h instead of 12h",
            "narrower reader: access may last 2h instead of 4h",
        ]
    );
}

#[test]
fn new_and_removed_roles_are_told_in_one_sentence_each() {
    let role = "  root:\n    risk: critical\n    requesters: [team:interns]\n    approval: none\n    entitlements: [ssh: { target: servers, principals: [root] }]\n";
    let new = edited(&[("approvals:\n", &format!("{role}approvals:\n  none: {{ stages: [] }}\n"))]);
    assert_eq!(
        effects_between(POLICY, &new, &acme()),
        [
            "critical root: new role, risk critical: `alice`, `ivy` (in `team:interns`) may request it for up to 12h, without anybody's approval; it gives `SSH as root on servers`"
        ]
    );
    assert_eq!(
        effects_between(&new, POLICY, &acme()),
        ["narrower root: the role is gone; until now `alice`, `ivy` (in `team:interns`) could request it"]
    );
}

#[test]
fn groups_matter_by_themselves_where_expressions_ask_for_them() {
    let asks = |text: &str| text.replace("request.ticket.startsWith('INC-')", "subject.groups.exists(g, g == 'dba')");
    let new = edited(&[
        ("dba: [user:carol, team:data]", "dba: [user:carol, team:data, user:bob]"),
        ("[group:dba]", "[user:carol, team:data]"),
    ]);
    assert_eq!(effects_between(POLICY, &new, &acme()), [""; 0]);
    assert_eq!(
        effects_between(&asks(POLICY), &asks(&new), &acme()),
        [
            "high reader: for `bob`: the condition `subject.groups.exists(g, g == 'dba')` is now met, so they can have it",
            "neutral -: `bob` joins group `dba`, which expressions can ask for in: `reader`",
        ]
    );
}

#[test]
fn the_same_effect_on_many_roles_is_one_row() {
    let roles: String = (0..50)
        .map(|number| format!("  r{number}:\n    requesters: [team:eng]\n    approval: owner-then-security\n    entitlements: [ssh: {{ target: servers, principals: [x] }}]\n"))
        .collect();
    let old = edited(&[("approvals:\n", &format!("{roles}approvals:\n"))]);
    let new = old.replacen("required: 2", "required: 1", 1).replacen("max_duration: 4h", "max_duration: 5h", 1);
    let impact = compare(&load(&old), &load(&new), &acme());
    let rows: Vec<(Danger, usize)> = impact.rows().iter().map(|row| (row.danger, row.roles.len())).collect();
    assert_eq!(rows, [(Danger::High, 51), (Danger::Medium, 1)]);
    assert!(impact.touches(&"r7".parse().unwrap()) && !impact.touches(&"spare".parse().unwrap()));
}

fn grant(subject: &str) -> Request {
    let text =
        format!("subject: {subject}\nrole: reader\nduration: 3h\nticket: INC-1\nreason: x\nparams: {{ db: orders }}\n");
    policy::request::read("grants/g.yaml", text.as_bytes(), None).unwrap()
}

#[test]
fn running_grants_that_the_new_policy_would_refuse_are_named() {
    let now = "2026-11-30T10:00:00Z".parse().unwrap();
    let told = |edits: &[(&str, &str)], directory: &Directory| {
        let (old, new) = (load(POLICY), load(&edited(edits)));
        running_grant(&grant("alice"), None, (&old, &new), directory, now).map(|effect| effect.sentence.to_string())
    };
    assert_eq!(told(&[], &acme()), None);
    assert_eq!(
        told(&[("max_duration: 4h", "max_duration: 2h")], &acme()).unwrap(),
        "running grant `grants/g.yaml` of `alice` would be refused (DP0404): `'3h' is longer than role 'reader' may last: 2h`"
    );
    let other = &[("requesters: [team:eng]", "requesters: [team:data]")];
    assert_eq!(
        told(other, &acme()).unwrap(),
        "running grant `grants/g.yaml` of `alice` would be refused (DP0401): `'alice' may not have role 'reader'`"
    );
    assert_eq!(told(other, &offline()), None, "who is in either team is not known");
    let other = &[("requesters: [team:eng]", "requesters: [user:bob]")];
    assert_eq!(
        told(other, &offline()).unwrap(),
        "running grant `grants/g.yaml` of `alice` would be refused (DP0401): `'alice' may not have role 'reader'`"
    );
    assert_eq!(
        told(&[("_reader' }", "_owner' }")], &acme()).unwrap(),
        "running grant `grants/g.yaml` of `alice` would give other things if it were asked for again: `role orders_owner for alice on orders-db` instead of `role orders_reader for alice on orders-db`"
    );
}

#[test]
fn sentences_list_ten_names_and_count_the_rest() {
    let many: Vec<String> = (0..25).map(|number| format!("p{number:02}")).collect();
    let names: Vec<&str> = many.iter().map(String::as_str).collect();
    let told = effects(&[("[team:eng]", "[team:eng, team:many]")], &directory(&[("eng", &[]), ("many", &names)], &[]));
    assert_eq!(
        told,
        [
            "medium reader: `p00`, `p01`, `p02`, `p03`, `p04`, `p05`, `p06`, `p07`, `p08`, `p09` and 15 more (in `team:many`) may now request it"
        ]
    );
}

/// A policy of one role, with this stage.
fn staged(stage: &str) -> String {
    format!(
        "version: 1
settings: {{ policy_approval: admins }}
targets: {{ hub: github }}
calendars:
  office: {{ time_zone: UTC }}
  early: {{ time_zone: UTC, hours: 07:00-15:00, days: [mon, tue], holidays: [2026-12-25] }}
roles:
  deploy: {{ requesters: [user:alice], approval: chain, entitlements: [github: {{ target: hub, team: x }}] }}
approvals:
  admins: {{ stages: [{{ name: admins, approvers: [user:root] }}] }}
  chain: {{ stages: [{{ name: gate, {stage} }}] }}
"
    )
}

#[test]
fn parts_that_come_are_narrower_and_parts_that_go_are_dangerous() {
    let everybody = directory(&[], &["alice", "bob", "carol", "dora", "lea", "root"]);
    let (bob, carol) = ("{ approvers: [user:bob] }", "{ approvers: [user:carol, user:dora] }");
    let two = staged(&format!("all_of: [{bob}, {carol}]"));
    let three = staged(&format!("all_of: [{bob}, {carol}, {{ approvers: [user:carol, user:dora] }}]"));
    let either = staged(&format!("any_of: [{bob}, {carol}]"));
    let first = |old: &str, new: &str| effects_between(old, new, &everybody).first().cloned().unwrap_or_default();
    let all = "1 of `user:bob`, and 1 of `user:carol`, `user:dora`";
    assert_eq!(
        first(&two, &three),
        format!(
            "narrower deploy: stage `gate` is satisfied by {all}, and 1 of `user:carol`, `user:dora`; until now by {all}"
        )
    );
    assert!(first(&three, &two).starts_with("high deploy: stage `gate` is satisfied by 1 of `user:bob`, and"));
    assert_eq!(
        first(&two, &either),
        format!(
            "high deploy: stage `gate` is satisfied by 1 of `user:bob`, or by 1 of `user:carol`, `user:dora`; until now by {all}"
        )
    );
    assert!(first(&either, &two).starts_with("narrower deploy: stage `gate` is satisfied by"));
    let gone = first(&two, &staged("approvers: [user:bob]").replace("name: gate", "name: other"));
    assert_eq!(gone, format!("high deploy: approval stage `gate` is gone; until now {all} had to approve"));
}

#[test]
fn what_a_calendar_changes_is_told_with_its_hours() {
    let widens = |how: &str| staged(&format!("approvers: [user:bob], escalate: {{ {how}, to: [user:lea] }}"));
    let (all, office, early) =
        (widens("after: 2h"), widens("after: 2h, calendar: office"), widens("after: 2h, calendar: early"));
    let everybody = directory(&[], &["alice", "bob", "lea", "root"]);
    let told = |old: &str, new: &str| effects_between(old, new, &everybody);
    let (at_office, in_the_morning) = (
        "after 2h of working time (Mon Tue Wed Thu Fri, 09:00-17:00 in UTC) to `user:lea`",
        "after 2h of working time (Mon Tue, 07:00-15:00 in UTC, but not on 2026-12-25) to `user:lea`",
    );
    let steps = "stage `gate` opens to others in other steps";
    assert_eq!(
        told(&all, &office),
        [format!("narrower deploy: {steps}: {at_office}; until now: after 2h to `user:lea`")]
    );
    assert_eq!(told(&office, &all), [format!("low deploy: {steps}: after 2h to `user:lea`; until now: {at_office}")]);
    assert_eq!(told(&office, &early), [format!("low deploy: {steps}: {in_the_morning}; until now: {at_office}")]);
    // Four hours of all time may be sooner than two of working time.
    assert_eq!(
        told(&office, &widens("after: 4h")),
        [format!("low deploy: {steps}: after 4h to `user:lea`; until now: {at_office}")]
    );
    let later = told(&office, &widens("after: 4h, calendar: office"));
    assert_eq!(later, ["narrower deploy: stage `gate` opens to others later: after 4h instead of 2h"]);
}
