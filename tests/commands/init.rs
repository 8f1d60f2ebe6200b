//! `daypass init`: what it writes is a policy repository that passes its own checks.

use std::path::Path;
use std::process::{Command, Output};

fn daypass(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_daypass")).args(arguments).current_dir(folder).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn a_new_repository_passes_its_own_checks() {
    let folder = tempfile::tempdir().unwrap();
    let made = daypass(folder.path(), &["init", "--organisation", "acme"]);
    assert_eq!(made.status.code(), Some(0), "{}", text(&made.stderr));
    assert!(text(&made.stdout).contains("policies/settings.yaml"));
    let checked = daypass(folder.path(), &["validate", "--deny-warnings"]);
    assert_eq!(checked.status.code(), Some(0), "{}", text(&checked.stdout));
    let owners = std::fs::read_to_string(folder.path().join(".github/CODEOWNERS")).unwrap();
    assert!(owners.contains("/policies/ @acme/security"), "{owners}");
    let again = daypass(folder.path(), &["init", "--organisation", "acme"]);
    assert_eq!(again.status.code(), Some(0), "the same again changes nothing");
}

#[test]
fn nothing_is_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("README.md"), "ours").unwrap();
    let refused = daypass(folder.path(), &["init"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(text(&refused.stderr).contains("README.md"), "{}", text(&refused.stderr));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing was written");
}

#[test]
fn nothing_is_written_through_a_link() {
    let (folder, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let behind = outside.path().join("behind.md");
    for (link, to) in [("policies", outside.path()), ("README.md", behind.as_path())] {
        std::os::unix::fs::symlink(to, folder.path().join(link)).unwrap();
        let refused = daypass(folder.path(), &["init"]);
        assert_eq!(refused.status.code(), Some(2));
        assert!(text(&refused.stderr).contains(&format!("\n  {link}\n")), "{}", text(&refused.stderr));
        std::fs::remove_file(folder.path().join(link)).unwrap();
    }
    assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 0, "nothing is outside");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "nothing was written");
}

#[test]
fn the_organisation_is_that_of_the_clone() {
    let folder = tempfile::tempdir().unwrap();
    let git = |arguments: &[&str]| Command::new("git").args(arguments).current_dir(folder.path()).output().unwrap();
    git(&["init", "-q"]);
    git(&["remote", "add", "origin", "git@github.com:octo-org/access.git"]);
    assert_eq!(daypass(folder.path(), &["init"]).status.code(), Some(0));
    let owners = std::fs::read_to_string(folder.path().join(".github/CODEOWNERS")).unwrap();
    assert!(owners.contains("@octo-org/security"), "{owners}");
}

/// What editors are told: the first line of each policy file leads to a schema that accepts the file.
#[test]
fn the_schemas_accept_what_is_accepted_and_refuse_what_is_misspelt() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(daypass(folder.path(), &["init"]).status.code(), Some(0));
    let path = folder.path().join("policies/roles/everyday.yaml");
    let policy = std::fs::read_to_string(&path).unwrap();
    let schema = policy.lines().next().unwrap().strip_prefix("# yaml-language-server: $schema=").unwrap();
    let schema = std::fs::read_to_string(path.parent().unwrap().join(schema)).unwrap();
    let validator = jsonschema::validator_for(&serde_json::from_str(&schema).unwrap()).unwrap();
    let as_json = |text: &str| serde_yaml::from_str::<serde_json::Value>(text).unwrap();
    let problems: Vec<String> = validator.iter_errors(&as_json(&policy)).map(|error| error.to_string()).collect();
    assert_eq!(problems, Vec::<String>::new());
    assert!(!validator.is_valid(&as_json(&policy.replace("requesters:", "requestors:"))));
    let request: serde_json::Value =
        serde_json::from_slice(&daypass(folder.path(), &["schema", "request"]).stdout).unwrap();
    let validator = jsonschema::validator_for(&request).unwrap();
    assert!(validator.is_valid(&as_json("role: orders-db-reader\nduration: 2h\nreason: Why not\nticket: 4711\n")));
    assert!(!validator.is_valid(&as_json("role: orders-db-reader\nduration: 2h\n")), "the reason is missing");
}

/// A new user copies what the README prints, with a name and a login of their own.
#[test]
fn every_command_of_the_readme_works_as_it_is_printed() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(daypass(folder.path(), &["init", "--organisation", "acme"]).status.code(), Some(0));
    let git = |arguments: &[&str]| {
        let identity = ["-c", "user.name=alice", "-c", "user.email=alice@example.com"];
        let output = Command::new("git").args(identity).args(arguments).current_dir(folder.path()).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
    };
    git(&["init", "-q", "-b", "main"]);
    git(&["add", "."]);
    git(&["commit", "-q", "-m", "A policy to begin with"]);
    git(&["checkout", "-q", "-b", "ask"]);
    let readme = std::fs::read_to_string(folder.path().join("README.md")).unwrap();
    let block = |kind: &str| {
        let after = readme.split_once(&format!("```{kind}\n")).unwrap().1;
        let lines: Vec<&str> = after.split("```").next().unwrap().lines().map(str::trim).collect();
        lines.into_iter().filter(|line| !line.is_empty()).map(str::to_owned).collect::<Vec<String>>()
    };
    std::fs::write(folder.path().join("grants/checkout.yaml"), block("yaml").join("\n") + "\n").unwrap();
    let commands = block("sh");
    assert!(commands.len() >= 4, "{commands:?}");
    for line in commands {
        let command = line.split('#').next().unwrap().replace("NAME", "checkout").replace("LOGIN", "alice");
        let words: Vec<&str> = command.split_whitespace().collect();
        let output = daypass(folder.path(), words.strip_prefix(&["daypass"]).unwrap());
        assert_eq!(output.status.code(), Some(0), "{line}\n{}{}", text(&output.stdout), text(&output.stderr));
    }
}
