//! `daypass test`, as policy owners and their CI run it.

use std::path::Path;

use serde_json::Value;

use crate::daypass;

const STARTER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/.");

/// A policy with one role, and these tests.
const ROLE: &str = "targets: { hub: github }\nroles:\n  viewer:\n    requesters: [team:devs]\n    approval: owner\n    \
                    entitlements: [github: { target: hub, team: viewers }]\napprovals:\n  owner:\n    stages:\n      \
                    - { name: owner, approvers: [user:ben], when: \"request.duration > duration('1h')\" }\n";

fn policy(tests: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("policies")).unwrap();
    std::fs::write(dir.path().join("policies/p.yaml"), format!("{ROLE}{tests}")).unwrap();
    dir
}

fn test(name: &str, valid: bool) -> String {
    let name = serde_json::to_string(name).unwrap();
    format!(
        "  - name: {name}\n    request: {{ subject: ann, role: viewer, duration: 2h }}\n    \
         given: {{ teams: {{ devs: [ann] }} }}\n    expect: {{ valid: {valid}, stages: [owner] }}\n"
    )
}

fn run(dir: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = daypass().arg("test").arg(dir).args(arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn the_starter_policy_passes_its_tests_and_they_show_all_of_it() {
    let (code, text, _) = run(Path::new(STARTER), &["--coverage"]);
    assert_eq!(code, Some(0), "{text}");
    insta::assert_snapshot!(text, @r#"
    policies/roles/everyday.yaml
      ok    documentation is for the asking
      ok    but not for people from elsewhere

    policies/roles/incident-response.yaml
      ok    an engineer may read orders for two hours, if a database owner agrees
      ok    one approval is enough for two hours
      ok    four hours need security too
      ok    when no owner answers, the platform leads can
      ok    nobody approves their own request, nor a commit of their own
      ok    orders are read for an incident, not for curiosity
      ok    a responder needs one colleague
      ok    breaking the glass waits for nobody
      ok    the glass is not for every day

    policies/roles/security-patching.yaml
      ok    a patch window needs a lead and security
      ok    security comes after the lead
      ok    a window belongs to a change, not to a ticket of another kind

    policies/roles/sensitive-logs.yaml
      ok    logs of one service, approved by security
      ok    logs of a service that has none

    16 tests passed.
    Covered: 5 of 5 roles, 1 of 1 emergency paths, 6 of 6 stages, 6 of 6 values of conditions.
    "#);
}

#[test]
fn a_failure_shows_what_was_expected_and_what_was_found() {
    let dir = policy(&format!("tests:\n{}{}", test("as it is", true), test("as it is not", false)));
    let (code, text, _) = run(dir.path(), &["--coverage"]);
    assert_eq!(code, Some(1));
    insta::assert_snapshot!(text, @r#"
    policies/p.yaml
      ok    as it is
      FAIL  as it is not
            valid (policies/p.yaml:19:22)
              - expected false
              + found    true

    1 test passed, 1 failed.
    Covered: 1 of 1 roles, 0 of 0 emergency paths, 1 of 1 stages, 1 of 2 values of conditions.
      - the condition of stage `owner` of `owner` is never false: request.duration > duration('1h')
    "#);
    let forgotten = test("a team is forgotten", true).replace("{ devs: [ann] }", "{ dev: [ann] }");
    let (code, text, _) = run(policy(&format!("tests:\n{forgotten}")).path(), &[]);
    assert_eq!(code, Some(1));
    insta::assert_snapshot!(text, @r#"
    policies/p.yaml
      FAIL  a team is forgotten
            valid (policies/p.yaml:15:22)
              - expected true
              + found    false
            DP0401: `ann` may not have role `viewer`
            → Role `viewer` does not depend on team `dev`, which the test gives. Did you mean `devs`?
            → The test puts nobody into `devs`.

    0 tests passed, 1 failed.
    "#);
}

#[test]
fn json_is_one_document() {
    let dir = policy(&format!("tests:\n{}{}", test("as it is", true), test("as it is not", false)));
    let (code, text, _) = run(dir.path(), &["--format", "json", "--coverage", "--filter", "VIEW"]);
    assert_eq!(code, Some(1));
    let document: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&document["passed"], &document["failed"], &document["left_out"]), (&1.into(), &1.into(), &0.into()));
    let failed = &document["tests"][1];
    assert_eq!((failed["file"].as_str(), failed["line"].as_u64()), (Some("policies/p.yaml"), Some(16)));
    assert_eq!(failed["differences"][0]["key"], "valid");
    assert_eq!(failed["differences"][0]["line"], 19);
    assert_eq!(document["coverage"]["roles"]["of"], 1);
    assert_eq!(document["coverage"]["conditions"], serde_json::json!({ "covered": 1, "of": 2 }));
}

#[test]
fn junit_is_xml_whatever_tests_are_called() {
    let names = ["a <b> & \"c\" ]]> 'd'", &"n".repeat(200), "é 🦀 %0A ::error::"];
    let tests: String = names.iter().map(|name| test(name, false)).collect();
    let dir = policy(&format!("tests:\n{}{tests}", test("as it is", true)));
    let (code, text, _) = run(dir.path(), &["--format", "junit"]);
    assert_eq!(code, Some(1));
    let document = roxmltree::Document::parse(&text).unwrap();
    let suite = document.descendants().find(|node| node.has_tag_name("testsuite")).unwrap();
    assert_eq!((suite.attribute("tests"), suite.attribute("failures")), (Some("4"), Some("3")));
    let cases: Vec<_> = document.descendants().filter(|node| node.has_tag_name("testcase")).collect();
    let read: Vec<_> = cases.iter().skip(1).map(|case| case.attribute("name").unwrap()).collect();
    assert_eq!(read, names);
    assert_eq!(cases[1].attribute("line"), Some("16"));
    let failure = cases[1].first_element_child().unwrap();
    assert_eq!(failure.attribute("message"), Some("valid: expected false, found true"));
}

#[test]
fn github_annotates_the_failing_expectation_and_no_name_escapes_its_annotation() {
    let dir = policy(&format!("tests:\n{}", test("x ::error::y %0A", false)));
    let (code, text, _) = run(dir.path(), &["--format", "github"]);
    assert_eq!(code, Some(1));
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(
        text.starts_with("::error file=policies/p.yaml,line=15,col=22,endColumn=26,title=DP0216::the test"),
        "{text}"
    );
    assert!(text.contains("%250A"), "{text}");
}

#[test]
fn names_that_would_command_a_terminal_are_refused_with_their_place() {
    for (name, code) in
        [("\u{1b}[31mred", "DP0111"), ("two\nlines", "DP0111"), (&*"n".repeat(100_000), "DP0112"), ("", "DP0112")]
    {
        let dir = policy(&format!("tests:\n{}", test(name, true)));
        for format in ["human", "json", "junit", "github"] {
            let (exit, text, _) = run(dir.path(), &["--format", format]);
            assert_eq!(exit, Some(1), "{text}");
            assert!(text.contains(code) && !text.contains('\u{1b}'), "{format}: {text}");
            match format {
                "human" => assert!(text.contains("policies/p.yaml:12:11"), "{text}"),
                "json" => assert_eq!(serde_json::from_str::<Value>(&text).unwrap()["findings"][0]["line"], 12),
                "junit" => assert!(roxmltree::Document::parse(&text).is_ok(), "{text}"),
                _ => assert!(text.starts_with("::error file=policies/p.yaml,line=12,col=11"), "{text}"),
            }
        }
    }
}

#[test]
fn a_filter_selects_by_name_or_role_and_says_so_if_nothing_is_left() {
    let (code, text, _) = run(Path::new(STARTER), &["--filter", "Patch Window"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("1 test passed; 15 left out by --filter."), "{text}");
    let (code, text, _) = run(Path::new(STARTER), &["--filter", "log-reader"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("2 tests passed; 14 left out"), "{text}");
    let (code, _, error) = run(Path::new(STARTER), &["--filter", "no such test"]);
    assert_eq!(code, Some(2));
    assert!(error.contains("no test has \"no such test\" in its name or role; the policy has 16 tests"), "{error}");
}

#[test]
fn without_a_policy_or_tests_there_is_nothing_to_run() {
    let dir = tempfile::tempdir().unwrap();
    let (code, _, error) = run(dir.path(), &[]);
    assert_eq!(code, Some(2));
    assert!(error.contains("no policy repository"), "{error}");
    let (code, text, _) = run(policy("").path(), &["--coverage"]);
    assert_eq!(code, Some(0));
    assert!(text.contains("has no tests") && text.contains("0 of 1 roles"), "{text}");
}

#[test]
fn a_policy_that_cannot_be_read_fails_in_every_format() {
    let dir = policy(&format!("tests:\n{}", test("n", true).replace("role: viewer", "role: veiwer")));
    for format in ["human", "json", "junit", "github"] {
        let (code, text, _) = run(dir.path(), &["--format", format]);
        assert_eq!(code, Some(1), "{text}");
        assert!(text.contains("DP0202"), "{text}");
    }
    let (_, text, _) = run(dir.path(), &[]);
    assert!(text.contains("policies/p.yaml:13:36") && text.contains("Did you mean `viewer`?"), "{text}");
}

#[test]
fn validate_runs_no_tests() {
    let dir = policy(&format!("tests:\n{}", test("as it is not", false)));
    assert_eq!(daypass().arg("validate").arg(dir.path()).output().unwrap().status.code(), Some(0));
}
