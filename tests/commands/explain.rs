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
    insta::assert_snapshot!(text, @"");
    let (_, text, _) = explain(&["DP0404", "--format", "json"]);
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap()["code"], "DP0404");
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
    insta::assert_snapshot!(text, @"");
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
    insta::assert_snapshot!(text, @"");
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
    insta::assert_snapshot!(text, @"");
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
    let (_dir, path) =
        file("My Request.yaml", "role: docs-preview\nduration: 1d\nreason: |\n  Proof\u{7f}\n  reading\n");
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
