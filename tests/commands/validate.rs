//! `daypass validate` and the exit codes of the command line.

use std::path::Path;
use std::process::Output;

use crate::daypass;

const ORDERS: &str = "role: orders-db-reader\nduration: 2h\nticket: INC-1\nreason: Checkouts hang\n";

/// A working tree with the starter policy and these grant files.
fn tree(grants: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let copied = std::process::Command::new("cp")
        .arg("-r")
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("policies"))
        .arg(dir.path())
        .status()
        .unwrap();
    assert!(copied.success());
    std::fs::create_dir(dir.path().join("grants")).unwrap();
    for (name, text) in grants {
        std::fs::write(dir.path().join("grants").join(name), text).unwrap();
    }
    dir
}

fn validate(dir: &tempfile::TempDir, arguments: &[&str]) -> (Option<i32>, String) {
    let output: Output = daypass().arg("validate").arg(dir.path()).args(arguments).output().unwrap();
    (output.status.code(), String::from_utf8(output.stdout).unwrap())
}

#[test]
fn a_good_tree_is_good_in_every_format() {
    let dir = tree(&[("alice.yaml", ORDERS)]);
    for format in ["human", "json", "github"] {
        let (code, text) = validate(&dir, &["--format", format]);
        assert_eq!(code, Some(0), "{text}");
    }
    assert!(validate(&dir, &[]).1.contains("1 grant: 0 errors, 0 warnings."));
}

#[test]
fn a_mistake_is_shown_with_its_place_in_every_format() {
    let dir = tree(&[("alice.yaml", &ORDERS.replace("orders-db-reader", "orders-db-raeder"))]);
    let (code, human) = validate(&dir, &["--format", "human"]);
    assert_eq!(code, Some(1));
    assert!(human.contains("grants/alice.yaml:1:7") && human.contains("orders-db-reader"), "{human}");
    let (code, json) = validate(&dir, &["--format", "json"]);
    assert_eq!(code, Some(1));
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert!(json.to_string().contains("DP"), "{json}");
    assert_eq!((&json[0]["column"], &json[0]["end_column"]), (&7.into(), &23.into()));
    let (code, github) = validate(&dir, &["--format", "github"]);
    assert_eq!(code, Some(1));
    assert!(github.starts_with("::error file=grants/alice.yaml,line=1,col=7,endColumn=22,"), "{github}");
}

#[test]
fn settings_that_are_there_twice_are_told_and_the_first_count() {
    let dir = tree(&[]);
    std::fs::write(dir.path().join("policies/zz.yaml"), "settings: { merge: manual }\n").unwrap();
    let (code, text) = validate(&dir, &["--format", "json"]);
    assert_eq!(code, Some(1));
    assert!(text.contains("DP0201") && !text.contains("DP0615"), "{text}");
}

#[test]
fn a_policy_too_large_to_be_held_is_not_read() {
    let dir = tree(&[]);
    let large = format!("# {}\n", "x".repeat(200 * 1024));
    for number in 0..21 {
        std::fs::write(dir.path().join(format!("policies/large-{number}.yaml")), &large).unwrap();
    }
    let (code, text) = validate(&dir, &[]);
    assert_eq!(code, Some(1));
    assert!(text.contains("DP0102") && text.contains("at most 4096 KiB are read"), "{text}");
}

#[test]
fn what_cannot_be_read_is_a_usage_error() {
    let output = daypass().args(["validate", "/no/such/place"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let output = daypass().args(["serve", "--config", "/no/such/daypass.yaml"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().contains("/no/such/daypass.yaml"));
    assert_eq!(daypass().arg("no-such-command").output().unwrap().status.code(), Some(2));
}

#[test]
fn history_tells_which_ceiling_nobody_needs_unless_that_is_meant() {
    let dir = tree(&[]);
    let git = |arguments: &[&str]| {
        let identity = ["-c", "user.name=alice", "-c", "user.email=alice@example.com"];
        let output = std::process::Command::new("git").args(identity).args(arguments).current_dir(dir.path()).output();
        assert!(output.unwrap().status.success(), "{arguments:?}");
    };
    git(&["init", "-q"]);
    for number in 0..5 {
        let text = ORDERS.replace("2h", &format!("{}m", 40 + number));
        std::fs::write(dir.path().join("grants/alice.yaml"), text).unwrap();
        git(&["add", "."]);
        git(&["commit", "-q", "-m", "granted"]);
    }
    git(&["rm", "-q", "grants/alice.yaml"]);
    git(&["commit", "-q", "-m", "reverted"]);
    assert!(!validate(&dir, &[]).1.contains("DP0613"), "nobody asked about history");
    let (code, text) = validate(&dir, &["--history"]);
    assert_eq!(code, Some(0));
    assert!(text.contains("DP0613") && text.contains("the longest of 5 requests was for 44m"), "{text}");
    let path = dir.path().join("policies/roles/incident-response.yaml");
    let policy = std::fs::read_to_string(&path).unwrap();
    let allowed = policy.replacen("    risk:", "    allow: { DP0613: Outages may take long }\n    risk:", 1);
    assert_ne!(allowed, policy);
    std::fs::write(&path, allowed).unwrap();
    let (_, text) = validate(&dir, &["--history"]);
    assert!(!text.contains("DP0613") && !text.contains("DP0610"), "{text}");
}

#[test]
fn a_pipe_in_the_tree_is_refused_instead_of_waited_for() {
    let dir = tree(&[]);
    let made = std::process::Command::new("mkfifo").arg(dir.path().join("policies/pipe.yaml")).status().unwrap();
    assert!(made.success());
    let (code, text) = validate(&dir, &[]);
    assert_eq!(code, Some(1));
    assert!(text.contains("DP0504") && text.contains("`policies/pipe.yaml` is a pipe"), "{text}");
}

#[test]
fn a_policy_nobody_can_change_is_told_of_unless_that_is_meant() {
    let dir = tree(&[]);
    let path = dir.path().join("policies/settings.yaml");
    let settings = std::fs::read_to_string(&path).unwrap();
    assert!(!validate(&dir, &[]).1.contains("DP0615"));
    let without: String =
        settings.lines().filter(|line| !line.contains("policy_approval")).map(|l| format!("{l}\n")).collect();
    // The rule that nothing names any more is another matter.
    std::fs::write(&path, format!("{without}  allow: {{ DP0211: To be used again }}\n")).unwrap();
    let (code, text) = validate(&dir, &["--deny-warnings"]);
    assert_eq!(code, Some(1));
    assert!(text.contains("DP0615") && text.contains("policies/settings.yaml:"), "{text}");
    let allow = "  allow: { DP0211: To be used again, DP0615: Changed by hand }\n";
    std::fs::write(&path, format!("{without}{allow}")).unwrap();
    let (code, text) = validate(&dir, &["--deny-warnings"]);
    assert_eq!(code, Some(0), "{text}");
}

#[test]
fn who_stops_reading_is_no_failure() {
    use std::process::Stdio;
    let mut child = daypass().args(["schema", "policy"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "", "no panic");
}

#[test]
fn a_policy_for_another_version_is_told_so_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("policies")).unwrap();
    let policy = "version: 2\nchannels: { slack: x }\nroles: { r: { newer: x } }\n";
    std::fs::write(dir.path().join("policies/p.yaml"), policy).unwrap();
    let (code, text) = validate(&dir, &[]);
    assert!(text.contains("DP0113") && !text.contains("DP0104"), "{text}");
    assert_eq!(code, Some(1));
}

/// GitHub shows nothing of a log that has no place in it: what is about a whole file is at its beginning.
#[test]
fn what_is_about_a_whole_file_has_a_place_for_code_scanning() {
    let dir = tree(&[("empty.yaml", "")]);
    std::fs::write(dir.path().join("policies/empty.yaml"), "# Nothing yet\n").unwrap();
    let (code, sarif) = validate(&dir, &["--format", "sarif"]);
    assert_eq!(code, Some(1));
    let log: serde_json::Value = serde_json::from_str(&sarif).unwrap();
    let results = log["runs"][0]["results"].as_array().unwrap();
    let files: Vec<&str> = results
        .iter()
        .map(|result| &result["locations"][0]["physicalLocation"])
        .inspect(|place| assert_eq!(place["region"]["startLine"], 1, "{place}"))
        .map(|place| place["artifactLocation"]["uri"].as_str().unwrap())
        .collect();
    assert_eq!(files, ["grants/empty.yaml", "policies/empty.yaml"]);
    let (_, github) = validate(&dir, &["--format", "github"]);
    assert_eq!(github.lines().filter(|line| line.starts_with("::error file=") && line.contains("DP0106")).count(), 2);
}

/// A disk that is full is told of: no command panics, none says that all went well.
#[cfg(target_os = "linux")]
#[test]
fn what_cannot_be_printed_is_a_failure_with_a_sentence() {
    let (dir, there) = (tree(&[("alice.yaml", ORDERS)]), tempfile::tempdir().unwrap());
    let git = |arguments: &[&str]| {
        let identity = ["-c", "user.name=alice", "-c", "user.email=alice@example.com"];
        let output = std::process::Command::new("git").args(identity).args(arguments).current_dir(dir.path()).output();
        assert!(output.unwrap().status.success(), "{arguments:?}");
    };
    git(&["init", "-q"]);
    git(&["add", "."]);
    git(&["commit", "-q", "-m", "first"]);
    let (policy, new) = (dir.path().to_str().unwrap(), there.path().to_str().unwrap());
    let grant = format!("{policy}/grants/alice.yaml");
    let full = || std::fs::File::options().write(true).open("/dev/full").unwrap();
    for arguments in [
        &["--help"][..],
        &["validate", policy],
        &["validate", policy, "--format", "sarif"],
        &["explain", "DP0404"],
        &["explain", &grant, "--author", "alice", "--policy", policy],
        &["test", policy],
        &["test", policy, "--format", "junit"],
        &["who-can", "orders-db-reader", policy],
        &["what-can", "carol", policy, "--format", "json"],
        &["diff", "HEAD..HEAD", policy],
        &["schema", "policy"],
        &["init", new],
        &["demo", "--headless"],
    ] {
        let output = daypass().args(arguments).stdout(full()).output().unwrap();
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(3), "{arguments:?}: {told}");
        assert!(
            told.contains("printed: No space left on device") && !told.contains("panicked"),
            "{arguments:?}: {told}"
        );
    }
    // And where not even that can be said, the exit code says it.
    let output = daypass().args(["validate", policy]).stdout(full()).stderr(full()).status().unwrap();
    assert_eq!(output.code(), Some(3));
}
