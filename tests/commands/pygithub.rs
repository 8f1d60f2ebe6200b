//! A client none of us wrote drives a whole request from outside: PyGithub, and plain git. On real PostgreSQL, for the role and
//! for Daypass's own database.

use std::process::Command;

use serde_json::Value;

use crate::installation::Installation;
use crate::support::eventually;

/// Runs a step of `pygithub.py`; what it prints.
fn python(daypass: &Installation, arguments: &[&str]) -> Value {
    let python = std::env::var("DAYPASS_TEST_PYTHON").expect("DAYPASS_TEST_PYTHON is not set; run ./test");
    let output = Command::new(python)
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/commands/pygithub.py"))
        .arg(daypass.dir.path().join("facts.json"))
        .args(arguments)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}\n{}", String::from_utf8_lossy(&output.stderr), daypass.log());
    serde_json::from_slice(&output.stdout).unwrap()
}

#[tokio::test]
#[ignore = "needs PostgreSQL and PyGithub; ./test runs it"]
async fn a_whole_request_by_pygithub_and_git_on_postgres() {
    let daypass = Installation::start(true);

    let asked =
        python(&daypass, &["ask", "alice", "alice-orders", "role: orders-db-reader\nduration: 20 h\nreason: x\n"]);
    let number = asked["number"].as_u64().unwrap().to_string();
    let red = python(&daypass, &["check", "failure", &number]);
    assert!(
        red["annotations"].as_array().unwrap().iter().any(|one| one["path"] == "grants/alice-orders.yaml"),
        "{red}"
    );

    daypass.git(&["clone", "-q", "-b", "alice-orders", &daypass.git_address("alice"), "clone"]);
    let file = daypass.dir.path().join("clone/grants/alice-orders.yaml");
    std::fs::write(file, "role: orders-db-reader\nduration: 30s\nticket: INC-1\nreason: Checkouts hang\n").unwrap();
    daypass.git(&["-C", "clone", "commit", "-q", "-a", "-m", "Mend it"]);
    daypass.git(&["-C", "clone", "push", "-q", "origin", "alice-orders"]);
    python(&daypass, &["check", "waiting", &number]);
    assert!(!daypass.postgres.can_read_orders("alice"));

    let merged = python(&daypass, &["approve", "dave", &number]);
    assert_eq!(merged["merged_by"], "daypass[bot]");
    eventually("alice can read", || daypass.postgres.can_read_orders("alice"));
    eventually("alice can no longer read", || !daypass.postgres.can_read_orders("alice"));
    daypass.until_reverted().await;

    let told = python(&daypass, &["read", &number]);
    let comments: Vec<&str> = told["comments"].as_array().unwrap().iter().map(|one| one.as_str().unwrap()).collect();
    assert!(
        comments.iter().any(|text| text.contains("🟢")) && comments.iter().any(|text| text.contains("⚫")),
        "{told}"
    );
    let readme = python(&daypass, &["merge-readme", "bob"]);
    assert_eq!((&readme["merged"], &readme["content"]), (&true.into(), &"# Access\n".into()), "{readme}");
    let people = python(&daypass, &["people"]);
    assert!(people["teams"]["engineering"].as_array().unwrap().contains(&"alice".into()), "{people}");
    daypass.git(&["-C", "clone", "fetch", "-q"]);
    let history = daypass.git(&["-C", "clone", "log", "--format=%s", "origin/main"]);
    assert!(history.contains("Revert \"Grant orders-db-reader to alice\""), "{history}");
}
