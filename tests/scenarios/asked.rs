//! A stage widens when its people were asked and did not answer: not while nobody was.

use chrono::TimeDelta;
use http::{Method, StatusCode};
use serde_json::json;

use crate::support::world::World;

/// Security approves; after an hour the leads may as well, of whom carol is one.
const LOGS: &str =
    "role: log-reader\nduration: 2h\nticket: SUP-9\nreason: A customer complains\nparams: { service: checkout }\n";

async fn draft(world: &World, number: u64, draft: bool) {
    let body = json!({ "repository": "access", "number": number, "login": "alice", "draft": draft });
    let (status, _) = world.call("alice", Method::POST, "/_sandbox/draft", body).await;
    assert_eq!(status, StatusCode::OK);
    world.settle().await;
}

/// Carol has said yes; who else may is asked for an hour first.
async fn takes_an_hour_from_now(world: &World, request: u64) {
    world.wait(TimeDelta::minutes(58)).await;
    assert!(!world.is_merged(request).await, "security is asked first");
    world.wait(TimeDelta::minutes(4)).await;
    assert!(world.is_merged(request).await, "{}", world.check(request).await.summary);
}

async fn opened_as_draft(world: &World) -> u64 {
    world.alice().branches("alice-logs").await;
    world.alice().writes("alice-logs", "grants/alice-logs.yaml", LOGS.as_bytes()).await;
    let body = json!({ "title": "Logs", "head": "alice-logs", "base": "main", "draft": true });
    let (status, pull) = world.call("alice", Method::POST, "/repos/acme/access/pulls", body).await;
    assert_eq!(status, StatusCode::CREATED, "{pull}");
    world.settle().await;
    pull["number"].as_u64().unwrap()
}

#[tokio::test]
async fn nobody_is_asked_about_a_draft_and_it_is_not_granted() {
    let world = World::new().await;
    let request = opened_as_draft(&world).await;
    let asked = world.get(&format!("/pulls/{request}/requested_reviewers")).await;
    assert_eq!((asked["users"].as_array().unwrap().len(), asked["teams"].as_array().unwrap().len()), (0, 0));
    world.erin().approves(request).await;
    world.wait(TimeDelta::minutes(10)).await;
    assert!(!world.is_merged(request).await);
    assert!(world.orders.calls().is_empty());
    draft(&world, request, false).await;
    assert!(world.is_merged(request).await, "it was approved as it is");
}

#[tokio::test]
async fn time_as_a_draft_is_no_time_in_which_anybody_was_asked() {
    let world = World::new().await;
    let request = opened_as_draft(&world).await;
    world.carol().approves(request).await;
    world.wait(TimeDelta::minutes(70)).await;
    draft(&world, request, false).await;
    assert!(!world.is_merged(request).await);
    takes_an_hour_from_now(&world, request).await;
}

#[tokio::test]
async fn turning_it_into_a_draft_begins_the_hour_anew() {
    let world = World::new().await;
    let request = world.alice().asks("alice-logs", LOGS).await;
    world.wait(TimeDelta::minutes(30)).await;
    draft(&world, request, true).await;
    world.wait(TimeDelta::minutes(40)).await;
    draft(&world, request, false).await;
    world.carol().approves(request).await;
    assert_eq!(world.count("asked").await, 1);
    takes_an_hour_from_now(&world, request).await;
}

#[tokio::test]
async fn time_in_which_it_asked_for_something_else_or_was_refused_does_not_count() {
    let world = World::new().await;
    let request = world.alice().asks("alice-logs", &LOGS.replace("2h", "20h")).await;
    assert_eq!(world.check(request).await.conclusion, "failure");
    world.wait(TimeDelta::minutes(70)).await;
    world.alice().changes("alice-logs", &LOGS.replace("2h", "1h")).await;
    world.wait(TimeDelta::minutes(50)).await;
    world.alice().changes("alice-logs", LOGS).await;
    world.carol().approves(request).await;
    assert!(!world.is_merged(request).await);
    takes_an_hour_from_now(&world, request).await;
}

#[tokio::test]
async fn since_when_they_are_asked_is_known_to_a_new_database() {
    let world = World::new().await;
    let request = world.alice().asks("alice-logs", LOGS).await;
    world.carol().approves(request).await;
    world.wait(TimeDelta::minutes(50)).await;
    world.lose_the_database().await;
    world.wait(TimeDelta::minutes(8)).await;
    assert!(!world.is_merged(request).await);
    world.wait(TimeDelta::minutes(4)).await;
    assert!(world.is_merged(request).await, "the hour was not begun anew");
}

#[tokio::test]
async fn a_merge_past_the_check_is_not_helped_by_time_in_which_nobody_was_asked() {
    let world = World::new().await;
    let request = opened_as_draft(&world).await;
    world.carol().approves(request).await;
    world.wait(TimeDelta::minutes(70)).await;
    world.go_manual(true);
    draft(&world, request, false).await;
    assert_eq!(world.olga().merges(request).await, StatusCode::OK);
    world.go_manual(false);
    world.wait(TimeDelta::minutes(6)).await;
    assert!(world.orders.calls().is_empty(), "{:?}", world.orders.calls());
}
