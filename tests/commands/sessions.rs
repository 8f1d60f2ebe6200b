//! What alice does on a real PostgreSQL server and through a real sshd is in a clone of the policy repository, and on a stream.

use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::installation::{Installation, Setup};
use crate::support::eventually;
use crate::support::sshd::{Sshd, keygen};

/// The starter policy, in which alice has a key for servers.
fn policy(key: &str) -> Vec<(&'static str, String)> {
    let files = daypass::sandbox::starter_files();
    let with_key = |path: String, text: Vec<u8>| {
        let text = String::from_utf8(text).unwrap();
        let (ssh, keyed) = ("ssh: [alice]", format!("ssh: [alice], ssh_keys: ['{}']", key.trim()));
        let path: &'static str = Box::leak(path.into_boxed_str());
        (path, text.replace(ssh, &keyed))
    };
    files.into_iter().map(|(path, text)| with_key(path, text)).collect()
}

/// A target for servers, reports of sessions, and a stream.
fn more(dir: &std::path::Path, config: &mut Value) {
    daypass::target::ssh::generate(&dir.join("authority")).unwrap();
    std::fs::write(dir.join("sessions-secret"), "hush\n").unwrap();
    let (authority, krl) = (dir.join("authority"), dir.join("revoked.krl"));
    config["targets"]["prod-servers"] = json!({ "ssh": { "ca_key_file": authority, "krl_file": krl } });
    config["sessions"] = json!({ "secret_file": dir.join("sessions-secret") });
    config["streams"] = json!({ "archive": { "file": { "path": dir.join("events.jsonl") } } });
}

/// The kinds and sources of the sessions on the ledger, by a fresh clone.
fn sessions(daypass: &Installation) -> Vec<String> {
    let _ = std::fs::remove_dir_all(daypass.dir.path().join("clone"));
    daypass.git(&["clone", "-q", &daypass.git_address("olga"), "clone"]);
    let output = crate::daypass()
        .args(["audit", "log", "--json", "--kind", "session-opened,session-closed", "-C"])
        .arg(daypass.dir.path().join("clone"))
        .output()
        .unwrap();
    let log: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    let told = |event: &Value| {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let details = &event["details"];
        let (grant, target, source) = (text(&details["grant"]), text(&details["target"]), text(&details["source"]));
        format!("{} {grant} {target} {source}", text(&event["kind"]))
    };
    let mut all: Vec<String> = log["events"].as_array().into_iter().flatten().map(told).collect();
    all.sort();
    all
}

#[tokio::test]
#[ignore = "needs PostgreSQL and OpenSSH; ./test runs it"]
async fn what_alice_does_on_postgres_and_through_sshd_is_on_record() {
    let keys = tempfile::tempdir().unwrap();
    keygen(&keys.path().join("alice"));
    let key = std::fs::read_to_string(keys.path().join("alice.pub")).unwrap();
    let daypass = Installation::set_up(Setup { policy: policy(&key), more, ..Setup::default() });
    let orders = "role: orders-db-reader\nduration: 20s\nticket: INC-1\nreason: Checkouts hang\n";
    let orders = daypass.alice_asks("alice-orders", orders).await;
    daypass.dave_approves(orders).await;
    eventually("alice can read", || daypass.postgres.can_read_orders("alice"));
    let mut session = daypass.postgres.psql_command("alice");
    let mut session = session.args(["-c", "SELECT pg_sleep(600)"]).stderr(Stdio::null()).spawn().unwrap();

    let prod = "role: prod-responder\nduration: 10m\nticket: INC-1\nreason: Checkouts hang\n";
    let prod = daypass.alice_asks("alice-prod", prod).await;
    daypass.dave_approves(prod).await;
    let mut certificate = None;
    for _ in 0..300 {
        let comments = daypass.get(&format!("/issues/{prod}/comments?per_page=100")).await;
        let bodies = comments.as_array().unwrap().iter().filter_map(|comment| comment["body"].as_str());
        let mut lines = bodies.flat_map(str::lines).map(str::trim);
        certificate = lines.find(|line| line.starts_with("ssh-ed25519-cert-v01@openssh.com ")).map(str::to_owned);
        if certificate.is_some() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let certificate = certificate.unwrap_or_else(|| panic!("no certificate; the log says:\n{}", daypass.log()));
    let sshd = Sshd::start(daypass.dir.path());
    assert!(sshd.lets_in(&keys.path().join("alice"), &certificate), "{}", sshd.log());
    eventually("sshd says that she left", || sshd.log().contains("Disconnected from user"));
    let url = format!("http://127.0.0.1:{}/api/v1/sessions", daypass.ports[0]);
    for _ in 0..2 {
        let log = std::fs::File::open(daypass.dir.path().join("sshd.log")).unwrap();
        let forwarded: Command = {
            let mut command = crate::daypass();
            command.args(["forward", "sshd", "--host", "web-1", "--target", "prod-servers", "--url", &url]);
            command.arg("--secret-file").arg(daypass.dir.path().join("sessions-secret")).stdin(log);
            command
        };
        let output = { forwarded }.output().unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    assert!(!session.wait().unwrap().success(), "her session ended with her access");

    let expected = [
        format!("session-closed alice-orders#{orders} orders-db postgres"),
        format!("session-closed alice-prod#{prod} prod-servers sshd on web-1"),
        format!("session-opened alice-orders#{orders} orders-db postgres"),
        format!("session-opened alice-prod#{prod} prod-servers sshd on web-1"),
    ];
    eventually("the sessions are on the ledger", || sessions(&daypass) == expected);
    let show = crate::daypass()
        .args(["audit", "show", "alice-prod", "-C"])
        .arg(daypass.dir.path().join("clone"))
        .output()
        .unwrap();
    let show = String::from_utf8(show.stdout).unwrap();
    assert!(show.contains("login ") && show.contains("(seen by sshd on web-1)"), "{show}");
    let streamed = std::fs::read_to_string(daypass.dir.path().join("events.jsonl")).unwrap();
    let kinds: Vec<Value> =
        streamed.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["kind"].clone()).collect();
    for kind in ["requested", "granted", "applied", "session-opened", "session-closed", "ended"] {
        assert!(kinds.contains(&json!(kind)), "{kind} is not on the stream: {kinds:?}");
    }
    assert!(!daypass.log().contains("hush"));
}
