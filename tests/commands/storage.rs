//! `daypass serve` while its own database takes no writes: it says so, acknowledges nothing, and carries on by itself once it
//! is mended. And two of them on one database.

use std::time::Duration;

use ::daypass::engine::clock::Clock;
use ::daypass::sandbox::{Options, Sandbox, WebhookSink};
use ::daypass::store::Store;
use hmac::{Hmac, KeyInit, Mac};
use http::StatusCode;
use secrecy::ExposeSecret;
use sqlx::Connection;

use crate::daypass;
use crate::installation::Installation;
use crate::support::eventually;

const REQUEST: &str = "role: orders-db-reader\nduration: 25s\nticket: INC-1\nreason: Checkouts hang\n";

/// Until `/readyz` says so.
async fn until_ready_says(daypass: &Installation, status: StatusCode, text: &str) {
    for _ in 0..300 {
        if daypass.ready().await == (status, text.to_owned()) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("it says {:?}; the log says:\n{}", daypass.ready().await, daypass.log());
}

/// A webhook as GitHub sends it; what it is answered.
async fn webhook(daypass: &Installation, id: &str) -> StatusCode {
    let secret = std::fs::read(daypass.facts["webhook_secret_file"].as_str().unwrap()).unwrap();
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(secret.trim_ascii()).unwrap();
    mac.update(b"{}");
    let signature = format!("sha256={}", hex::encode(mac.finalize().into_bytes()));
    let headers = [("x-github-delivery", id), ("x-github-event", "ping"), ("x-hub-signature-256", &signature)];
    daypass.post_webhook(&headers, "{}").await
}

#[tokio::test]
#[ignore = "needs PostgreSQL; ./test runs it"]
async fn access_that_ends_while_the_database_is_read_only_is_revoked_after_the_repair_on_postgres() {
    let daypass = Installation::start(true);
    let number = daypass.alice_asks("alice-orders", REQUEST).await;
    daypass.dave_approves(number).await;
    eventually("alice can read", || daypass.postgres.can_read_orders("alice"));
    until_ready_says(&daypass, StatusCode::OK, "ready\n").await;
    assert_eq!(webhook(&daypass, "before").await, StatusCode::ACCEPTED);

    daypass.postgres.make_read_only(true);
    let red = "not ready: the database is read-only; the log says more\n";
    until_ready_says(&daypass, StatusCode::SERVICE_UNAVAILABLE, red).await;
    assert_eq!(webhook(&daypass, "during").await, StatusCode::SERVICE_UNAVAILABLE);
    let second = daypass.alice_asks("alice-again", &REQUEST.replace("25s", "1h")).await;
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert!(daypass.postgres.can_read_orders("alice"), "it is over, but nothing can be promised to the record");
    assert!(daypass.log().contains("the database is read-only"), "{}", daypass.log());
    let checks = daypass.get(&format!("/commits/{}/check-runs", daypass.head(second).await)).await;
    assert_eq!(checks["total_count"], 0, "nothing was decided meanwhile");

    daypass.postgres.make_read_only(false);
    until_ready_says(&daypass, StatusCode::OK, "ready\n").await;
    eventually("alice cannot read", || !daypass.postgres.can_read_orders("alice"));
    daypass.until_reverted().await;
    assert_eq!(webhook(&daypass, "during").await, StatusCode::ACCEPTED, "GitHub delivers it again");
    for _ in 0..300 {
        let checks = daypass.get(&format!("/commits/{}/check-runs", daypass.head(second).await)).await;
        if checks["total_count"] == 1 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("the request whose webhook was refused is never found; the log says:\n{}", daypass.log());
}

#[tokio::test]
#[ignore = "needs PostgreSQL; ./test runs it"]
async fn a_process_that_is_stopped_is_stood_in_for_by_another_on_postgres() {
    let daypass = Installation::start(true);
    let number = daypass.alice_asks("alice-orders", REQUEST).await;
    daypass.dave_approves(number).await;
    eventually("alice can read", || daypass.postgres.can_read_orders("alice"));
    let _another = daypass.another();
    // Somewhere in the middle of its looking around, which it does all the time.
    tokio::time::sleep(Duration::from_millis(2_345)).await;
    daypass.signal(0, "STOP");
    // What it held is free when its lease ends, 30 seconds later at most.
    eventually("alice cannot read", || !daypass.postgres.can_read_orders("alice"));
    daypass.until_reverted().await;
    daypass.signal(0, "CONT");
    // It carries on where it was, and notices that it is late.
    tokio::time::sleep(Duration::from_secs(8)).await;
    assert_eq!(daypass.orders_were_told("GRANT orders_readonly TO alice"), 1);
    assert_eq!(daypass.orders_were_told("REVOKE orders_readonly FROM alice"), 1);
    assert_eq!((daypass.comments_with(number, "🟢").await, daypass.comments_with(number, "⚫").await), (1, 1));
    until_ready_says(&daypass, StatusCode::OK, "ready\n").await;
}

/// What `daypass serve` says to a database it cannot use.
async fn refusal(url: &str) -> String {
    let dir = tempfile::tempdir().unwrap();
    let sandbox = Sandbox::open(Options {
        dir: dir.path().join("github"),
        organisation: "acme".to_owned(),
        repository: "access".to_owned(),
        clock: Clock::system(),
        base_url: "http://127.0.0.1:1".to_owned(),
        webhooks: WebhookSink::Nowhere,
        record: None,
        persist: false,
    });
    let key = dir.path().join("key.pem");
    std::fs::write(&key, sandbox.await.unwrap().app().private_key.expose_secret()).unwrap();
    std::fs::write(dir.path().join("secret"), "a webhook secret of some length").unwrap();
    let config = serde_json::json!({
        "listen": "127.0.0.1:0",
        "github": {
            "api_url": "http://127.0.0.1:1", "app_id": 1, "private_key_file": key,
            "webhook_secret_file": dir.path().join("secret"),
        },
        "repositories": ["acme/access"],
        "store": { "url": url },
        "targets": { "github": { "github": {} } },
    });
    let path = dir.path().join("daypass.yaml");
    std::fs::write(&path, config.to_string()).unwrap();
    let output = daypass().args(["serve", "--config"]).arg(&path).output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stderr).unwrap()
}

#[tokio::test]
async fn a_database_that_cannot_be_used_is_refused_at_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("daypass.db");
    let url = format!("sqlite://{}", path.display());
    std::fs::write(&path, b"Dear diary, ".repeat(1_000)).unwrap();
    let said = refusal(&url).await;
    assert!(said.starts_with("daypass: the database is damaged: "), "{said}");

    std::fs::remove_file(&path).unwrap();
    Store::open(&url).await.unwrap().close().await;
    let mut other = sqlx::AnyConnection::connect(&url).await.unwrap();
    let later = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
                 VALUES (99990101, 'later', TRUE, X'00', 0)";
    sqlx::query(later).execute(&mut other).await.unwrap();
    other.close().await.unwrap();
    let said = refusal(&url).await;
    assert!(said.contains("the database was written by a newer version of Daypass"), "{said}");
    assert!(said.contains("start that version"), "{said}");
}
