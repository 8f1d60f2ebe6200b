//! Somebody else takes away what Daypass gave.

use chrono::TimeDelta;
use daypass::target::Drift;
use serde_json::json;

use crate::life::ORDERS;
use crate::support::world::World;

async fn alice_has_the_orders(drift: Drift) -> (World, u64) {
    let world = World::new().await;
    world.orders.on_drift(drift);
    let request = world.alice().asks("alice-orders", ORDERS).await;
    world.dave().approves(request).await;
    world.wait(TimeDelta::minutes(6)).await;
    assert!(world.record("drifted").await.is_empty() && world.orders.is_member("orders_readonly", "alice"));
    world.orders.take_away("orders_readonly", "alice");
    world.wait(TimeDelta::minutes(12)).await;
    (world, request)
}

#[tokio::test]
async fn what_somebody_else_took_away_is_told_once_and_left_so() {
    let (world, request) = alice_has_the_orders(Drift::Report).await;
    assert!(!world.orders.is_member("orders_readonly", "alice"));
    world.wait(TimeDelta::minutes(12)).await;
    let [drifted] = &world.record("drifted").await[..] else { panic!("once") };
    assert_eq!((&drifted["grant"], &drifted["repaired"]), (&json!("alice-orders#1"), &json!(false)));
    let told = world
        .comments(request)
        .await
        .iter()
        .filter(|text| text.contains("by somebody else. Daypass leaves it so."))
        .count();
    assert_eq!(told, 1);
    world.wait(TimeDelta::minutes(120)).await;
    assert_eq!(world.count("removed").await, 1, "its end is as any other");
    assert_eq!(world.ledger_differs().await, None);
}

#[tokio::test]
async fn or_it_is_given_again_each_time_where_the_setting_says_so() {
    let (world, request) = alice_has_the_orders(Drift::Repair).await;
    assert!(world.orders.is_member("orders_readonly", "alice"));
    world.orders.take_away("orders_readonly", "alice");
    world.wait(TimeDelta::minutes(12)).await;
    assert!(world.orders.is_member("orders_readonly", "alice"));
    assert_eq!(world.record("drifted").await.iter().filter(|event| event["repaired"] == true).count(), 2);
    let told = world.comments(request).await.iter().filter(|text| text.contains("Daypass gives it again.")).count();
    assert_eq!(told, 2);
    world.wait(TimeDelta::minutes(120)).await;
    assert!(!world.orders.is_member("orders_readonly", "alice"), "what is over is not given again");
}

#[tokio::test]
async fn where_nobody_looks_nothing_is_told() {
    let (world, _) = alice_has_the_orders(Drift::Ignore).await;
    assert!(world.record("drifted").await.is_empty());
}

#[tokio::test]
async fn a_team_somebody_was_removed_from_by_hand_is_told() {
    let world = World::new().await;
    let request = "role: prod-responder\nduration: 3h\nticket: INC-1\nreason: Checkouts hang\n";
    let request = world.alice().asks("alice-prod", request).await;
    world.dave().approves(request).await;
    world.wait(TimeDelta::minutes(1)).await;
    let path = "/orgs/acme/teams/prod-responders/memberships/alice";
    let (status, _) = world.call("olga", http::Method::DELETE, path, serde_json::Value::Null).await;
    assert_eq!(status, http::StatusCode::NO_CONTENT);
    world.wait(TimeDelta::minutes(70)).await;
    let drifted = world.record("drifted").await;
    assert_eq!(drifted.len(), 1, "{drifted:#?}");
    assert!(drifted[0]["entitlement"]["access"]["github"].is_object(), "{drifted:#?}");
}
