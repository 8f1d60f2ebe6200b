//! Files nobody should have to trust: each of `policies/` and `grants/` yields exactly the findings `expected.txt` names, at
//! their lines, and nothing else. The fuzz targets begin with the same files.

// A test that cannot go on fails by panicking.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod schema;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use daypass::policy::{self, Finding, Policy};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/hostile")
}

/// Path and expected findings, such as `DP0104:3`, in order.
fn expected() -> Vec<(String, Vec<String>)> {
    let text = std::fs::read_to_string(folder().join("expected.txt")).unwrap();
    let lines = text.lines().map(|line| line.split_once('\t').unwrap_or_else(|| panic!("{line:?} has no tab")));
    lines.map(|(path, codes)| (path.to_owned(), codes.split_whitespace().map(str::to_owned).collect())).collect()
}

fn base() -> Policy {
    let files = BTreeMap::from([("policies/base.yaml".to_owned(), std::fs::read(folder().join("base.yaml")).unwrap())]);
    let loaded = policy::load(&files, None);
    assert_eq!(loaded.findings, []);
    loaded.policy.unwrap()
}

fn findings(path: &str, bytes: Vec<u8>, base: &Policy) -> Vec<Finding> {
    if path.starts_with("policies/") {
        return policy::load(&BTreeMap::from([(path.to_owned(), bytes)]), None).findings;
    }
    policy::judge::review(path, &bytes, Some(base))
}

fn in_short(findings: &[Finding]) -> Vec<String> {
    let mut short: Vec<_> = findings.iter().map(|finding| (finding.place.line, finding.code.as_str())).collect();
    short.sort_unstable();
    short.iter().map(|(line, code)| format!("{code}:{line}")).collect()
}

#[test]
fn every_hostile_file_yields_what_is_expected_at_its_line_and_nothing_else() {
    let base = base();
    let mut wrong = Vec::new();
    let expected = expected();
    for (path, codes) in &expected {
        let found = findings(path, std::fs::read(folder().join(path)).unwrap(), &base);
        let mut codes: Vec<String> = codes.clone();
        codes.sort_by_key(|code| code.split_once(':').map(|(code, line)| (line.parse::<u32>().ok(), code.to_owned())));
        if in_short(&found) != codes {
            let told =
                found.iter().map(|f| format!("\n      {}:{} {} {}", f.place.line, f.place.column, f.code, f.message));
            wrong.push(format!("{path}: expected {codes:?}, found{}", told.collect::<String>()));
        }
        for finding in &found {
            let text = format!("{}{}", finding.message, finding.help);
            assert!(text.len() < 1_000, "{path}: a finding of {} bytes", text.len());
        }
    }
    assert!(expected.len() >= 150, "{} files", expected.len());
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), expected.len(), wrong.join("\n"));
    println!("{} hostile files", expected.len());
}

#[test]
fn no_file_is_forgotten_in_the_list() {
    let listed: Vec<String> = expected().into_iter().map(|(path, _)| path).collect();
    let mut there = Vec::new();
    for kind in ["grants", "policies"] {
        for entry in std::fs::read_dir(folder().join(kind)).unwrap() {
            there.push(format!("{kind}/{}", entry.unwrap().file_name().to_str().unwrap()));
        }
    }
    there.sort();
    assert_eq!(there, listed);
}

/// What the command prints goes to terminals and logs: nothing of a hostile file may be obeyed there.
#[test]
fn daypass_validate_prints_nothing_a_terminal_obeys() {
    let repository = tempfile::tempdir().unwrap();
    let (grants, policies) = (repository.path().join("grants"), repository.path().join("policies"));
    std::fs::create_dir(&policies).unwrap();
    std::fs::create_dir(&grants).unwrap();
    std::fs::copy(folder().join("base.yaml"), policies.join("base.yaml")).unwrap();
    for (path, _) in expected().iter().filter(|(path, _)| path.starts_with("grants/")) {
        std::fs::copy(folder().join(path), repository.path().join(path)).unwrap();
    }
    for format in ["human", "json", "github", "sarif"] {
        let output = Command::new(env!("CARGO_BIN_EXE_daypass"))
            .args(["validate", "--format", format])
            .arg(repository.path())
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(1), "{format}: {}", String::from_utf8_lossy(&output.stderr));
        let obeyed = |c: char| c.is_control() && c != '\n' || ('\u{202a}'..='\u{202e}').contains(&c);
        assert_eq!(text.chars().find(|c| obeyed(*c)), None, "{format}");
        assert!(text.contains("DP0111"), "{format}");
    }
}

/// A large company: 1,000 roles, 1,000 people, 200 groups and 10,000 grants are judged in full.
#[test]
fn a_thousand_roles_and_ten_thousand_grants_are_judged() {
    let repository = tempfile::tempdir().unwrap();
    let write = |path: String, text: String| {
        let path = repository.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    let many = |count: usize, line: &dyn Fn(usize) -> String| (0..count).map(line).collect::<String>();
    let people = |i| format!("  p{i}: {{ email: p{i}@example.com, postgres: p{i} }}\n");
    let group = |i| format!("  g{i}: [user:p{i}, user:p{}, user:p{}]\n", i + 200, i + 400);
    let rule =
        |i| format!("  rule{i}: {{ stages: [{{ name: owner, approvers: [group:g{i}, 'team:t{}'] }}] }}\n", i % 50);
    let role = |i: usize| {
        format!(
            "  r{i}:\n    requesters: [group:g{g}, 'team:t{t}']\n    requires: [ticket]\n    conditions:\n      - expr: \
             request.ticket.matches('^INC-[0-9]+$')\n    approval: rule{g}\n    entitlements: [{{ postgres: {{ target: db, \
             role: r{i} }} }}]\n",
            g = i % 200,
            t = i % 50
        )
    };
    write("policies/people.yaml".to_owned(), format!("people:\n{}", many(1_000, &people)));
    write("policies/groups.yaml".to_owned(), format!("groups:\n{}", many(200, &group)));
    let rules = many(200, &rule);
    let settings = "settings: { policy_approval: rule0 }";
    write("policies/rules.yaml".to_owned(), format!("{settings}\ntargets: {{ db: postgres }}\napprovals:\n{rules}"));
    write("policies/roles.yaml".to_owned(), format!("roles:\n{}", many(1_000, &role)));
    for i in 0..10_000 {
        // Every hundredth asks for too long.
        let hours = if i % 100 == 0 { 13 } else { 2 };
        let text = format!(
            "subject: p{}\nrole: r{}\nduration: {hours}h\nreason: Number {i}\nticket: INC-{i}\n",
            i % 1_000,
            i % 999
        );
        write(format!("grants/g{i}.yaml"), text);
    }
    let output = Command::new(env!("CARGO_BIN_EXE_daypass"))
        .args(["validate", "--format", "json"])
        .arg(repository.path())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
    let findings: Vec<serde_json::Value> = serde_json::from_slice(&output.stdout).unwrap();
    let codes: Vec<&str> = findings.iter().map(|finding| finding["code"].as_str().unwrap()).collect();
    assert_eq!(codes, vec!["DP0404"; 100]);
}
