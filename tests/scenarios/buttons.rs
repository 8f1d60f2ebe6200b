//! The buttons on the check of a running grant.

use chrono::TimeDelta;
use http::{Method, StatusCode};
use serde_json::json;

use crate::commands::alice_has_the_orders;
use crate::life::ORDERS;
use crate::support::world::World;

#[tokio::test]
async fn the_buttons_are_there_while_the_access_is() {
    let world = World::new().await;
    let request = world.alice().asks("alice-orders", ORDERS).await;
    assert!(world.buttons(request).await.is_empty(), "nothing is running yet");
    world.dave().approves(request).await;
    assert_eq!(world.buttons(request).await, ["revoke", "extend-1h"]);
    assert_eq!(world.check(request).await.conclusion, "success");
    world.wait(TimeDelta::minutes(121)).await;
    assert!(world.buttons(request).await.is_empty());
}

#[tokio::test]
async fn alice_presses_revoke_and_bob_presses_in_vain() {
    let world = World::new().await;
    let request = alice_has_the_orders(&world).await;
    world.bob().presses(request, "revoke").await;
    assert!(world.orders.is_member("orders_readonly", "alice"));
    let said = world.last_comment(request).await;
    assert!(said.contains("`bob` pressed **Revoke now**") && said.contains("can end this"), "{said}");
    world.alice().presses(request, "revoke").await;
    assert!(!world.orders.is_member("orders_readonly", "alice"));
    assert!(world.grant_files().await.is_empty());
    assert!(world.buttons(request).await.is_empty());
}

#[tokio::test]
async fn alice_presses_extend_and_it_is_approved_like_the_first() {
    let world = World::new().await;
    let request = alice_has_the_orders(&world).await;
    world.alice().presses(request, "extend-1h").await;
    let (extension, title) = world.open_pulls().await[0].clone();
    assert_eq!(title, "Extend orders-db-reader for alice to 3h");
    world.dave().approves(extension).await;
    world.erin().approves(extension).await;
    assert!(world.is_merged(extension).await);
    assert!(world.buttons(request).await.is_empty(), "the buttons move on with the access");
    assert_eq!(world.buttons(extension).await, ["revoke", "extend-1h"]);
}

#[tokio::test]
async fn a_press_counts_once_and_by_whom_it_is_now() {
    let world = World::new().await;
    let request = alice_has_the_orders(&world).await;
    world.go_manual(true);
    world.alice().presses(request, "extend-1h").await;
    let deliveries = world.sandbox.take_deliveries();
    let press = deliveries.iter().find(|delivery| delivery.event == "check_run").unwrap();
    world.go_manual(false);
    // Delivered twice, and once more by somebody who caught it and gives it another name, which is not signed.
    for _ in 0..2 {
        world.deliver(press).await;
        world.settle().await;
    }
    let mut replayed = press.clone();
    replayed.guid = "another".to_owned();
    assert_eq!(world.deliver(&replayed).await, StatusCode::ACCEPTED);
    world.settle().await;
    assert_eq!(world.open_pulls().await.len(), 1, "one extension at a time");
    // Whoever has her old login now is not her.
    world.sandbox.rename_user("alice", "alice-smith").unwrap();
    world.sandbox.add_member("alice", false).unwrap();
    let mallory = world.sandbox.user_token("alice").unwrap();
    let path = format!("/repos/acme/access/issues/{request}/comments");
    world.call_with(&mallory, Method::POST, &path, json!({ "body": "/daypass revoke" })).await;
    world.settle().await;
    assert!(world.orders.is_member("orders_readonly", "alice"), "numbers are identity, not names");
}

#[tokio::test]
async fn a_press_on_something_else_than_our_check_does_nothing() {
    let world = World::new().await;
    let request = alice_has_the_orders(&world).await;
    let waiting = world.alice().asks("second", ORDERS).await;
    world.alice().presses(waiting, "revoke").await;
    let head = world.get(&format!("/pulls/{request}")).await["head"]["sha"].as_str().unwrap().to_owned();
    let foreign = world.sandbox.add_foreign_check("access", &head, "daypass", &format!("pull-{request}")).unwrap();
    let body = json!({ "repository": "access", "check_run": foreign, "identifier": "revoke", "login": "alice" });
    world.call("alice", Method::POST, "/_sandbox/actions", body).await;
    world.settle().await;
    assert!(world.orders.is_member("orders_readonly", "alice"));
}

#[tokio::test]
async fn a_press_is_not_lost_while_github_is_down() {
    let world = World::new().await;
    let request = alice_has_the_orders(&world).await;
    world.go_manual(true);
    world.alice().presses(request, "revoke").await;
    for delivery in world.sandbox.take_deliveries() {
        world.deliver(&delivery).await;
    }
    world.go_manual(false);
    world
        .sandbox
        .disturb(Some(std::sync::Arc::new(|_: &Method, _: &str| Some(daypass::sandbox::Disturbance::Refuse(503)))));
    world.settle().await;
    world.restart().await;
    world.settle().await;
    world.sandbox.disturb(None);
    world.wait(TimeDelta::minutes(2)).await;
    assert!(!world.orders.is_member("orders_readonly", "alice"));
}
