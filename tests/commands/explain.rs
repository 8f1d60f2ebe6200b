//! `daypass explain`: codes, and decisions before anybody asks.

use std::process::Output;

use serde_json::Value;

use crate::daypass;

const NOW: &str = "2026-11-30T10:00:00Z";

fn explain(arguments: &[&str]) -> (Option<i32>, String, String) {
    let output: Output =
        daypass().current_dir(env!("CARGO_MANIFEST_DIR")).arg("explain").args(arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

fn orders(more: &[&str]) -> (Option<i32>, String, String) {
    let asked =
        ["--subject", "alice", "--role", "orders-db-reader", "--duration", "3h", "--ticket", "INC-1", "--now", NOW];
    explain(&[&asked, more].concat())
}

fn file(name: &str, text: &str) -> (tempfile::TempDir, String) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(name);
    std::fs::write(&path, text).unwrap();
    let path = path.to_str().unwrap().to_owned();
    (dir, path)
}

#[test]
fn a_code_is_explained() {
    let (code, text, _) = explain(&["dp0404"]);
    assert_eq!(code, Some(0));
    insta::assert_snapshot!(text, @r#"
    DP0404: The duration is above the ceiling

    Ask for less time; a grant can be renewed by another request.
    "#);
    let (_, text, _) = explain(&["DP0404", "--format", "json"]);
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap()["code"], "DP0404");
}

#[test]
fn codes_of_the_record_are_explained_like_those_of_a_policy() {
    let (code, text, _) = explain(&["dp0702"]);
    assert_eq!(code, Some(0));
    assert!(text.starts_with("DP0702: An event was edited\n\n"), "{text}");
    assert_eq!(explain(&["DP0712"]).0, Some(0));
    assert!(explain(&["DP0713"]).2.contains("DP0701"));
}

#[test]
fn an_unknown_code_brings_near_ones() {
    let (code, text, error) = explain(&["DP0299"]);
    assert_eq!((code, text.as_str()), (Some(2), ""));
    assert!(error.contains("DP0299") && error.contains("DP0201"), "{error}");
    let (code, _, error) = explain(&["grants/none.yaml"]);
    assert_eq!(code, Some(2));
    assert!(error.contains("neither a code"), "{error}");
    assert_eq!(explain(&[]).0, Some(2));
    assert_eq!(explain(&["--role", "orders-db-reader"]).0, Some(2));
}

#[test]
fn offline_teams_are_not_guessed() {
    let (code, text, _) = orders(&[]);
    assert_eq!(code, Some(0));
    insta::assert_snapshot!(text, @r#"
    Who        alice
    Role       orders-db-reader
    For        3h, from the moment it is merged
    Why        To see what the policy says
    Ticket     INC-1
    Gives      role orders_readonly for alice on orders-db

    Rules
      ✓ there is a role orders-db-reader
      ✓ the account exists
      ? alice may have it: it is for team:engineering, group:dba
          otherwise DP0401: `alice` may not have role `orders-db-reader`
          → It is for `team:engineering`, `group:dba`.
      ✓ 3h is no longer than 4h
      ✓ a ticket is named
      ✓ condition request.ticket.matches('^INC-[0-9]+$') is true
      ✓ what it gives can be worked out
      ? enough people could approve each stage
          otherwise DP0415: approval stage `security` needs 1 but only 0 could give it: whoever asks or contributed cannot approve
          → A policy owner adds people to `team:security`, or somebody else opens the request.

    Approval by rule database-owner
      1. ● owner: open. Approve with a code review: group:dba: carol; widens at 2026-11-30 10:30 UTC
           not known: who is in team:data-platform
           30m after it opens, at 2026-11-30 10:30 UTC, also team:platform-leads
      2. ○ security: after the stage before it. team:security
           when: request.duration > duration('2h') || role.risk == 'critical' is true
           not known: who is in team:security

    If it is merged now
      access begins at 2026-11-30 10:00 UTC
      a pull request to take it back opens at 2026-11-30 12:50 UTC
      access ends at 2026-11-30 13:00 UTC

    Not known offline
      ? who is in team:data-platform, team:engineering, team:on-call, team:platform-leads, team:security, team:sre
      ? whether these have an account and are members of the organisation, which is assumed: alice

    Allowed, if what is not known is so; then it waits for stage owner.
    "#);
}

#[test]
fn with_facts_the_people_are_named() {
    let (_dir, facts) = file(
        "facts.yaml",
        "teams: { engineering: [alice], data-platform: [dave], platform-leads: [frank, carol], security: [erin, alice],\n  \
         on-call: [], sre: [] }\nmembers: [carol]\napproved_by: [alice]\n",
    );
    let (code, text, _) = orders(&["--given", &facts]);
    assert_eq!(code, Some(0));
    insta::assert_snapshot!(text, @r#"
    Who        alice
    Role       orders-db-reader
    For        3h, from the moment it is merged
    Why        To see what the policy says
    Ticket     INC-1
    Gives      role orders_readonly for alice on orders-db

    Rules
      ✓ there is a role orders-db-reader
      ✓ the account exists
      ✓ alice may have it: it is for team:engineering, group:dba
      ✓ 3h is no longer than 4h
      ✓ a ticket is named
      ✓ condition request.ticket.matches('^INC-[0-9]+$') is true
      ✓ what it gives can be worked out
      ✓ enough people could approve each stage

    Approval by rule database-owner
      1. ● owner: open. Approve with a code review: group:dba: carol, dave; widens at 2026-11-30 10:30 UTC
           30m after it opens, at 2026-11-30 10:30 UTC, also team:platform-leads: frank
      2. ○ security: after the stage before it. team:security: erin
           when: request.duration > duration('2h') || role.risk == 'critical' is true
      The approval of alice does not count: alice opened the pull request.

    If it is merged now
      access begins at 2026-11-30 10:00 UTC
      a pull request to take it back opens at 2026-11-30 12:50 UTC
      access ends at 2026-11-30 13:00 UTC

    Allowed; it waits for stage owner.
    "#);
}

#[test]
fn what_is_refused_says_why_and_what_to_do() {
    let (code, text, _) = explain(&[
        "--subject",
        "alice",
        "--role",
        "log-reader",
        "--duration",
        "30h",
        "--param",
        "service=chekcout",
        "--now",
        NOW,
    ]);
    assert_eq!(code, Some(1));
    insta::assert_snapshot!(text, @r#"
    Who        alice
    Role       log-reader
    For        1d6h, from the moment it is merged
    Why        To see what the policy says
    With       service = chekcout
    Gives      role logs_chekcout_reader for alice on logs-db

    Rules
      ✓ there is a role log-reader
      ✓ the account exists
      ? alice may have it: it is for team:engineering, team:sre
          otherwise DP0401: `alice` may not have role `log-reader`
          → It is for `team:engineering`, `team:sre`.
      ✗ 1d6h is no longer than 8h
          DP0404: `1d6h` is longer than role `log-reader` may last: 8h
          → Ask for 8h or less.
      ✗ a ticket is named
          DP0405: role `log-reader` requires a ticket
          → Add `ticket: …`.
      ✗ its parameters are those of the role
          DP0411: parameter `service` must be one of `checkout`, `payments`, `accounts`
          → The service whose logs are read
      ✓ what it gives can be worked out
      ✓ enough people could approve each stage

    Approval by rule log-owner
      1. ● security: open. Approve with a code review: team:security; widens at 2026-11-30 11:00 UTC
           not known: who is in team:security
           1h after it opens, at 2026-11-30 11:00 UTC, also team:platform-leads

    If it is merged now
      access begins at 2026-11-30 10:00 UTC
      a pull request to take it back opens at 2026-12-01 15:50 UTC
      access ends at 2026-12-01 16:00 UTC

    Not known offline
      ? who is in team:engineering, team:platform-leads, team:security, team:sre
      ? whether these have an account and are members of the organisation, which is assumed: alice

    Refused: 3 rules are broken.
    "#);
}

#[test]
fn the_account_of_an_app_is_named_as_in_a_policy() {
    let asked = |who: &str| explain(&["--subject", who, "--role", "docs-preview", "--duration", "1h", "--now", NOW]);
    let (code, text, error) = asked("app:renovate");
    assert_eq!(code, Some(1), "{error}");
    assert!(text.starts_with("Who        renovate[bot]\n") && text.contains("DP0401"), "{text}");
    assert_eq!(text, asked("renovate[bot]").1);
    let (code, text, _) = explain(&[
        "--subject",
        "alice",
        "--author",
        "app:renovate",
        "--role",
        "docs-preview",
        "--duration",
        "1h",
        "--now",
        NOW,
    ]);
    assert_eq!(code, Some(1));
    assert!(text.contains("DP0402"), "nobody may ask for others here: {text}");
}

/// 1: what was asked about was judged invalid, and findings were printed. 2: the command was not understood.
#[test]
fn the_exit_code_tells_a_refused_request_from_a_misused_command() {
    let asked = ["--role", "docs-preview", "--duration", "1h", "--now", NOW];
    assert_eq!(explain(&[&["--subject", "a b"], &asked[..]].concat()).0, Some(1));
    assert_eq!(explain(&[&["--subject", "alice", "--author", "a b"], &asked[..]].concat()).0, Some(2));
    let (_dir, path) = file("request.yaml", "role: [x]\nduration: never\nsubject: alice\n");
    let (code, text, _) = explain(&[&path]);
    assert_eq!(code, Some(1));
    assert!(["DP0107", "DP0106", "DP0109"].iter().all(|code| text.contains(code)), "{text}");
}

#[test]
fn json_is_the_same_tree() {
    let (code, text, _) = orders(&["--format", "json"]);
    assert_eq!(code, Some(0));
    let tree: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&tree["allowed"], &tree["verdict"]), (&true.into(), &"waiting".into()));
    assert_eq!(tree["window"]["ends_at"], "2026-11-30T13:00:00Z");
    assert_eq!(tree["revert_at"], "2026-11-30T12:50:00Z");
    assert_eq!(tree["entitlements"][0], "role orders_readonly for alice on orders-db");
    let stages = tree["approval"]["stages"].as_array().unwrap();
    assert_eq!((&stages[0]["status"], &stages[1]["status"]), (&"open".into(), &"waiting".into()));
    assert_eq!(stages[0]["later"]["to"][0], "team:platform-leads");
    assert_eq!(stages[0]["unlisted"][0], "data-platform");
    let statuses: Vec<&str> =
        tree["rules"].as_array().unwrap().iter().map(|rule| rule["status"].as_str().unwrap()).collect();
    assert_eq!(statuses.iter().filter(|status| **status == "unknown").count(), 2, "{text}");
}

#[test]
fn a_request_file_is_explained_wherever_it_lies() {
    let (_dir, path) = file("My Request.yaml", "role: docs-preview\nduration: 1d\nreason: \"Proof\\u202ereading\"\n");
    let (code, text, _) = explain(&[&path, "--author", "bob"]);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("DP0111") && text.contains("My Request.yaml:3:9"), "{text}");
    let (_dir, path) = file("My Request.yaml", "role: docs-preview\nduration: 1d\nreason: |\n  Proof\n  reading\n");
    let (code, text, _) = explain(&[&path, "--author", "bob"]);
    assert_eq!(code, Some(1));
    assert!(text.contains("DP0404") && text.contains("My Request.yaml:2:11"), "{text}");
    assert!(text.contains("Proof reading"), "a reason is one line: {text}");
    let (code, _, error) = explain(&[&path]);
    assert_eq!(code, Some(2));
    assert!(error.contains("--author"), "{error}");
}

#[test]
fn what_cannot_be_read_is_a_finding_too() {
    for (arguments, code) in [
        (["--subject", "al ice", "--role", "docs-preview", "--duration", "1h"], "DP0108"),
        (["--subject", "alice", "--role", "docs-preview", "--duration", "-1h"], "DP0109"),
        (["--subject", "alice", "--role", "docs-preveiw", "--duration", "1h"], "DP0202"),
        (["--subject", "alice", "--role", "docs\u{1b}[31m", "--duration", "1h"], "DP0108"),
    ] {
        let (exit, text, _) = explain(&arguments);
        assert_eq!(exit, Some(1), "{text}");
        assert!(text.contains(code) && !text.contains('\u{1b}'), "{text}");
    }
    let (_dir, facts) = file("facts.yaml", "teams: { security: [-x] }\n");
    let (exit, text, _) = orders(&["--given", &facts]);
    assert_eq!(exit, Some(1));
    assert!(text.contains("DP0108") && text.contains("facts.yaml:1:21"), "{text}");
    assert_eq!(orders(&["--given", "/no/such/file"]).0, Some(2));
    assert_eq!(orders(&["--policy", "/no/such/place"]).0, Some(2));
    assert_eq!(orders(&["--param", "no-value"]).0, Some(2));
}
