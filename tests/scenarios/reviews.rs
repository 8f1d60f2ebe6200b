//! Whose approval counts, and whose does not.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::TimeDelta;
use http::{Method, StatusCode};

use crate::life::ORDERS;
use crate::support::world::World;

#[tokio::test]
async fn nobody_approves_their_own_request() {
    let world = World::new().await;
    // Carol may approve as a database owner, and asks herself.
    let request = world.carol().asks("carol-orders", ORDERS).await;
    assert_eq!(
        world.carol().reviews(request, "APPROVE").await,
        StatusCode::UNPROCESSABLE_ENTITY,
        "GitHub itself says no"
    );
    assert!(!world.is_merged(request).await);
}

#[tokio::test]
async fn whoever_wrote_a_commit_does_not_approve_it() {
    let world = World::new().await;
    let request = world.alice().asks("alice-orders", ORDERS).await;
    world.dave().changes("alice-orders", &ORDERS.replace("2h", "1h")).await;
    world.dave().approves(request).await;
    assert!(!world.is_merged(request).await);
    let comment = &world.comments(request).await[0];
    assert!(comment.contains("`dave` does not count"), "{comment}");
    world.carol().approves(request).await;
    assert!(world.is_merged(request).await);
}

#[tokio::test]
async fn an_approval_from_before_the_last_push_does_not_count() {
    let world = World::with_policy(|files| {
        let text = String::from_utf8(files["policies/settings.yaml"].clone()).unwrap();
        files.insert("policies/settings.yaml".to_owned(), text.replace("merge: auto", "merge: manual").into_bytes());
    })
    .await;
    let request = world.alice().asks("alice-orders", ORDERS).await;
    world.dave().approves(request).await;
    assert_eq!(world.check(request).await.conclusion, "success");
    world.alice().changes("alice-orders", &ORDERS.replace("Checkouts hang", "Checkouts are slow")).await;
    assert_ne!(world.check(request).await.conclusion, "success");
    assert!(world.last_comment(request).await.contains("before the last push: what would be merged"));
    assert_eq!(world.alice().merges(request).await, StatusCode::METHOD_NOT_ALLOWED);
    world.dave().approves(request).await;
    assert_eq!(world.alice().merges(request).await, StatusCode::OK);
    assert!(world.orders.is_member("orders_readonly", "alice"));
}

#[tokio::test]
async fn a_co_author_does_not_approve_it() {
    let world = World::new().await;
    world.alice().branches("alice-orders").await;
    let body = serde_json::json!({
        "message": "Ask\n\nCo-authored-by: Dave <7+dave@users.noreply.github.com>\n",
        "content": STANDARD.encode(ORDERS), "branch": "alice-orders",
    });
    let path = "/repos/acme/access/contents/grants/alice-orders.yaml";
    let (status, answer) = world.call("alice", Method::PUT, path, body).await;
    assert!(status.is_success(), "{answer}");
    let request = world.alice().opens("alice-orders").await;
    world.dave().approves(request).await;
    assert!(!world.is_merged(request).await, "it says that he wrote it too");
    let comment = &world.comments(request).await[0];
    assert!(comment.contains("`dave` does not count"), "{comment}");
    world.carol().approves(request).await;
    assert!(world.is_merged(request).await);
}

#[tokio::test]
async fn an_approval_after_the_merge_gives_nothing() {
    let world = World::new().await;
    let request = world.alice().asks("alice-orders", ORDERS).await;
    // Daypass sees nothing before all of it has happened.
    world.go_manual(true);
    assert_eq!(world.olga().merges(request).await, StatusCode::OK);
    world.advance(TimeDelta::seconds(5));
    world.dave().approves(request).await;
    world.go_manual(false);
    world.wait(TimeDelta::minutes(5)).await;
    assert!(world.orders.calls().is_empty(), "{:?}", world.orders.calls());
    assert!(world.grant_files().await.is_empty(), "it is taken back");
    assert_eq!(world.count("refused").await, 1);
}

#[tokio::test]
async fn one_person_in_both_teams_does_not_approve_for_both() {
    let world = World::new().await;
    world.sandbox.add_to_team("security", "dave").unwrap();
    let request = world.alice().asks("alice-orders", &ORDERS.replace("2h", "3h")).await;
    world.dave().approves(request).await;
    assert!(!world.is_merged(request).await, "more than two hours take two people");
    world.carol().approves(request).await;
    assert!(world.is_merged(request).await, "{}", world.check(request).await.summary);
}

#[tokio::test]
async fn the_approval_of_somebody_else_does_not_count() {
    let world = World::new().await;
    let request = world.alice().asks("alice-orders", ORDERS).await;
    world.bob().approves(request).await;
    assert!(!world.is_merged(request).await);
    assert!(world.comments(request).await[0].contains("is not an approver of this role"));
}

#[tokio::test]
async fn an_objection_blocks_until_it_is_taken_back() {
    let world = World::new().await;
    let request = world.alice().asks("alice-orders", ORDERS).await;
    world.dave().requests_changes(request).await;
    assert_eq!(world.check(request).await.conclusion, "failure");
    world.carol().approves(request).await;
    assert!(!world.is_merged(request).await);
    world.dave().approves(request).await;
    assert!(world.is_merged(request).await);
}

#[tokio::test]
async fn whoever_takes_back_a_yes_to_an_early_end_does_not_end_it() {
    let world = World::new().await;
    let request = world.alice().asks("alice-orders", ORDERS).await;
    world.dave().approves(request).await;
    // Erin has no say over this role for two hours, bob has none at all: bob asks, carol says yes and then no.
    world.bob().branches("end-it").await;
    world.bob().removes("end-it", "grants/alice-orders.yaml").await;
    world.lose_webhooks(true);
    let end = world.bob().opens("end-it").await;
    world.carol().approves(end).await;
    world.carol().requests_changes(end).await;
    world.lose_webhooks(false);
    world.wait(chrono::TimeDelta::minutes(6)).await;
    assert!(!world.is_merged(end).await);
    assert!(world.orders.is_member("orders_readonly", "alice"));
    world.carol().approves(end).await;
    assert!(world.is_merged(end).await);
    assert!(!world.orders.is_member("orders_readonly", "alice"));
}

#[tokio::test]
async fn a_stage_that_waits_too_long_is_opened_to_others() {
    let world = World::new().await;
    let text =
        "role: log-reader\nduration: 2h\nticket: SUP-9\nreason: A customer complains\nparams: { service: checkout }\n";
    let request = world.alice().asks("alice-logs", text).await;
    world.carol().approves(request).await;
    assert!(world.comments(request).await[0].contains("`carol` is not an approver"));
    world.wait(chrono::TimeDelta::minutes(59)).await;
    assert!(!world.is_merged(request).await);
    world.wait(chrono::TimeDelta::minutes(1)).await;
    assert!(world.is_merged(request).await, "after an hour the leads may say yes, and carol has");
    assert!(world.orders.is_member("logs_checkout_reader", "alice"));
}

#[tokio::test]
async fn two_have_to_say_yes_where_two_are_required() {
    let world = World::with_policy(|files| {
        let text = String::from_utf8(files["policies/approvals.yaml"].clone()).unwrap();
        let two = text.replacen("approvers: [group:dba]", "approvers: [group:dba]\n        required: 2", 1);
        files.insert("policies/approvals.yaml".to_owned(), two.into_bytes());
    })
    .await;
    let request = world.alice().asks("alice-orders", ORDERS).await;
    world.dave().approves(request).await;
    world.dave().approves(request).await;
    assert!(!world.is_merged(request).await, "one person is one person, however often");
    world.carol().approves(request).await;
    assert!(world.is_merged(request).await);
}

#[tokio::test]
async fn whoever_is_in_a_team_of_a_team_is_in_it() {
    let world = World::new().await;
    world.sandbox.add_team("checkout", Some("engineering")).unwrap();
    let text = "role: docs-preview\nduration: 1h\nreason: Proofreading\n";
    let refused = world.erin().asks("before", text).await;
    assert_eq!(world.check(refused).await.conclusion, "failure");
    world.sandbox.add_to_team("checkout", "erin").unwrap();
    let request = world.erin().asks("after", text).await;
    assert!(world.is_merged(request).await);
    assert!(world.sandbox.is_in_team("docs", "erin"));
}

#[tokio::test]
async fn more_than_two_hours_need_security_after_the_owner() {
    let world = World::new().await;
    let request = world.alice().asks("alice-orders", &ORDERS.replace("2h", "4h")).await;
    world.dave().approves(request).await;
    assert_eq!(world.check(request).await.title, "orders-db-reader for alice: waiting for approval stage security");
    world.erin().approves(request).await;
    assert!(world.is_merged(request).await);
}

#[tokio::test]
async fn a_policy_change_is_approved_by_its_owners_and_judges_open_requests_anew() {
    let world = World::new().await;
    let request = world.alice().asks("alice-orders", ORDERS).await;
    let roles = world.get("/contents/policies/roles/incident-response.yaml").await;
    use base64::Engine as _;
    let encoded: String = roles["content"].as_str().unwrap().split_whitespace().collect();
    let text = String::from_utf8(base64::engine::general_purpose::STANDARD.decode(encoded).unwrap()).unwrap();
    let shorter = text.replacen("max_duration: 4h", "max_duration: 1h", 1);
    // Its tests expect the longer one.
    let shorter = shorter.split_once("\ntests:").unwrap().0.to_owned();
    let change = world
        .bob()
        .asks_with("shorter", &[("policies/roles/incident-response.yaml".to_owned(), shorter.into_bytes())])
        .await;
    assert!(!world.is_merged(change).await);
    world.erin().approves(change).await;
    assert!(world.is_merged(change).await, "{}", world.check(change).await.summary);
    let check = world.check(request).await;
    assert_eq!(check.conclusion, "failure");
    assert!(check.summary.contains("1h"), "{}", check.summary);
}
