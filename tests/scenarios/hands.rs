//! Whoever has a hand in a request does not approve it, however the hand is hidden.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::TimeDelta;
use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::life::ORDERS;
use crate::support::world::World;

/// `by` puts a commit on a branch that says that `author` has made it.
async fn pushes_in_the_name_of(world: &World, by: &str, author: &str, branch: &str, path: &str, text: &str) {
    let base = "/repos/acme/access/git";
    let call = async |method: Method, path: &str, body: Value| {
        let (status, value) = world.call(by, method, &format!("{base}{path}"), body).await;
        assert!(status.is_success(), "{path}: {value}");
        value
    };
    let head = call(Method::GET, &format!("/ref/heads/{branch}"), Value::Null).await["object"]["sha"].clone();
    let entry = json!({ "path": path, "mode": "100644", "type": "blob", "content": text });
    let tree = call(Method::POST, "/trees", json!({ "base_tree": head, "tree": [entry] })).await["sha"].clone();
    let who = json!({ "name": author, "email": format!("{author}@example.com"), "date": "2026-11-30T09:00:00Z" });
    let commit = json!({ "message": "Ask", "tree": tree, "parents": [head], "author": who, "committer": who });
    let commit = call(Method::POST, "/commits", commit).await["sha"].clone();
    call(Method::PATCH, &format!("/refs/heads/{branch}"), json!({ "sha": commit })).await;
    world.settle().await;
}

#[tokio::test]
async fn whoever_pushes_a_commit_in_the_name_of_another_does_not_approve_it() {
    let world = World::new().await;
    let request = world.alice().asks("alice-orders", &ORDERS.replace("2h", "1h")).await;
    pushes_in_the_name_of(&world, "dave", "alice", "alice-orders", "grants/alice-orders.yaml", ORDERS).await;
    world.dave().approves(request).await;
    assert!(!world.is_merged(request).await, "git says alice, the push was his");
    let comment = &world.comments(request).await[0];
    assert!(comment.contains("`dave` does not count: `dave` pushed a commit"), "{comment}");
    world.carol().approves(request).await;
    assert!(world.is_merged(request).await);
}

#[tokio::test]
async fn who_pushed_is_known_to_a_new_database() {
    let world = World::new().await;
    let request = world.alice().asks("alice-orders", &ORDERS.replace("2h", "1h")).await;
    pushes_in_the_name_of(&world, "dave", "alice", "alice-orders", "grants/alice-orders.yaml", ORDERS).await;
    world.wait(TimeDelta::minutes(2)).await;
    world.lose_the_database().await;
    world.settle().await;
    world.dave().approves(request).await;
    assert!(!world.is_merged(request).await, "{}", world.comments(request).await[0]);
}

#[tokio::test]
async fn a_co_author_who_is_called_something_else_by_now_does_not_approve_it() {
    let world = World::new().await;
    let dave = world.call("alice", Method::GET, "/users/dave", Value::Null).await.1["id"].clone();
    world.alice().branches("alice-orders").await;
    let message = format!("Ask\n\nCo-authored-by: Dave <{dave}+dave@users.noreply.github.com>\n");
    let body = json!({ "message": message, "content": STANDARD.encode(ORDERS), "branch": "alice-orders" });
    let path = "/repos/acme/access/contents/grants/alice-orders.yaml";
    let (status, answer) = world.call("alice", Method::PUT, path, body).await;
    assert!(status.is_success(), "{answer}");
    let request = world.alice().opens("alice-orders").await;
    world.sandbox.rename_user("dave", "david").unwrap();
    world.dave().approves(request).await;
    assert!(!world.is_merged(request).await);
    let comment = &world.comments(request).await[0];
    assert!(comment.contains("`david` does not count: `david` contributed"), "{comment}");
}

#[tokio::test]
async fn whoever_wrote_what_is_extended_does_not_approve_the_extension() {
    let world = World::new().await;
    let request = world.alice().asks("alice-orders", &ORDERS.replace("2h", "1h")).await;
    world.dave().changes("alice-orders", ORDERS).await;
    world.carol().approves(request).await;
    assert!(world.is_merged(request).await);
    world.alice().says(request, "/daypass extend 1h").await;
    let extension = world.open_pulls().await[0].0;
    world.dave().approves(extension).await;
    world.erin().approves(extension).await;
    assert!(!world.is_merged(extension).await, "dave wrote the first request");
    world.carol().approves(extension).await;
    assert!(world.is_merged(extension).await, "{}", world.check(extension).await.summary);
}

#[tokio::test]
async fn whoever_wrote_an_emergency_does_not_review_it() {
    let world = World::new().await;
    let glass = "role: prod-break-glass\nduration: 30m\nreason: Checkouts hang\nbreak_glass: true\n";
    world.alice().branches("glass").await;
    world.erin().writes("glass", "grants/glass.yaml", glass.as_bytes()).await;
    let request = world.alice().opens("glass").await;
    assert!(world.is_merged(request).await);
    let issue = world.get("/issues?state=open").await[0]["number"].as_u64().unwrap();
    world.erin().says(issue, "/daypass reviewed").await;
    world.wait(TimeDelta::minutes(12)).await;
    assert_eq!(world.get(&format!("/issues/{issue}")).await["state"], "open");
    world.carol().says(issue, "/daypass reviewed").await;
    assert_eq!(world.get(&format!("/issues/{issue}")).await["state"], "closed");
}

#[tokio::test]
async fn a_suspended_account_approves_nothing() {
    let world = World::new().await;
    let request = world.alice().asks("alice-orders", &ORDERS.replace("2h", "3h")).await;
    world.dave().approves(request).await;
    world.sandbox.suspend("dave").unwrap();
    world.erin().approves(request).await;
    assert!(!world.is_merged(request).await, "dave was suspended, and is in his team still");
    world.carol().approves(request).await;
    assert!(world.is_merged(request).await);
}

#[tokio::test]
async fn nothing_of_a_fork_is_trusted() {
    let world = World::new().await;
    // Mallory is nobody of acme. Her fork has a policy of her own, and a green check of the same name.
    world.sandbox.add_user("mallory").unwrap();
    world.olga().branches("patch").await;
    pushes_in_the_name_of(&world, "olga", "mallory", "patch", "grants/mallory.yaml", ORDERS).await;
    let body = json!({ "repository": "access", "login": "mallory", "branch": "patch" });
    let (status, _) = world.call("olga", Method::POST, "/_sandbox/forks", body).await;
    assert_eq!(status, StatusCode::OK);
    world.settle().await;
    let (request, _) = world.open_pulls().await[0].clone();
    assert_eq!(world.get(&format!("/pulls/{request}")).await["head"]["repo"]["fork"], true);
    let check = world.check(request).await;
    assert_eq!(check.conclusion, "failure");
    assert!(check.summary.contains("may not have role"), "{}", check.summary);
    world.dave().approves(request).await;
    assert!(!world.is_merged(request).await);
    // A fork's branch may be called like one of Daypass's; nobody takes it for that.
    assert_eq!(world.olga().merges(request).await, StatusCode::OK);
    world.wait(TimeDelta::minutes(6)).await;
    assert!(world.orders.calls().is_empty());
    assert!(world.grant_files().await.is_empty());
}

#[tokio::test]
async fn a_member_asks_from_a_fork_as_from_anywhere() {
    let world = World::new().await;
    world.alice().branches("from-home").await;
    world.alice().writes("from-home", "grants/alice-orders.yaml", ORDERS.as_bytes()).await;
    let body = json!({ "repository": "access", "login": "alice", "branch": "from-home" });
    world.call("alice", Method::POST, "/_sandbox/forks", body).await;
    world.settle().await;
    let (request, _) = world.open_pulls().await[0].clone();
    world.dave().approves(request).await;
    assert!(world.is_merged(request).await, "{}", world.check(request).await.summary);
    assert!(world.orders.is_member("orders_readonly", "alice"));
}

#[tokio::test]
async fn who_pushes_something_else_after_a_denial_is_denied_all_the_same() {
    let world = World::with_policy(|files| {
        let text = String::from_utf8(files["policies/approvals.yaml"].clone()).unwrap();
        let text = text.replace("  database-owner:\n", "  database-owner:\n    cool_down: 4h\n");
        files.insert("policies/approvals.yaml".to_owned(), text.into_bytes());
    })
    .await;
    let request = world.alice().asks("alice-orders", ORDERS).await;
    world.advance(TimeDelta::seconds(5));
    world.go_manual(true);
    world.dave().says(request, "/daypass deny not today").await;
    world.advance(TimeDelta::seconds(5));
    let docs = "role: docs-preview\nduration: 1h\nreason: Proofreading\n";
    world.alice().changes("alice-orders", docs).await;
    world.go_manual(false);
    world.settle().await;
    let again = world.alice().asks("alice-again", ORDERS).await;
    assert!(world.check(again).await.summary.contains("DP0420"), "{}", world.check(again).await.summary);
}
