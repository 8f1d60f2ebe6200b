//! Access that was approved for later is looked at again when later comes.

use chrono::TimeDelta;

use crate::in_force::is_changed;
use crate::support::world::World;

const PLANNED: &str =
    "role: orders-db-reader\nduration: 2h\nreason: Month end\nticket: INC-8\nstart: 2026-11-30T22:00:00Z\n";

/// On Monday morning dave approves what alice has planned for the evening.
async fn approved_for_tonight(world: &World) -> u64 {
    let request = world.alice().asks("month-end", PLANNED).await;
    world.dave().approves(request).await;
    assert!(world.is_merged(request).await, "{}", world.check(request).await.summary);
    request
}

async fn never_given(world: &World, request: u64, because: &str) {
    world.wait(TimeDelta::minutes(1)).await;
    world.wait(TimeDelta::minutes(5)).await;
    assert!(world.orders.calls().is_empty());
    let comments = world.comments(request).await;
    assert!(comments.iter().any(|said| said.contains("is not given") && said.contains(because)), "{comments:#?}");
    assert!(world.grant_files().await.is_empty(), "and its file is taken back");
    assert_eq!((world.count("started").await, world.count("ended").await), (0, 1));
}

#[tokio::test]
async fn whoever_kept_the_right_to_it_gets_it() {
    let world = World::new().await;
    approved_for_tonight(&world).await;
    world.wait(TimeDelta::hours(12)).await;
    assert!(world.orders.is_member("orders_readonly", "alice"));
    assert_eq!(world.count("started").await, 1);
}

#[tokio::test]
async fn whoever_left_the_team_meanwhile_gets_nothing() {
    let world = World::new().await;
    let request = approved_for_tonight(&world).await;
    world.sandbox.remove_from_team("engineering", "alice").unwrap();
    world.wait(TimeDelta::hours(12)).await;
    never_given(&world, request, "may not have role").await;
}

#[tokio::test]
async fn a_role_that_is_gone_gives_nothing() {
    let world = World::new().await;
    let request = approved_for_tonight(&world).await;
    let file = "policies/roles/incident-response.yaml";
    is_changed(&world, "without", file, "roles: {}\n").await;
    world.wait(TimeDelta::hours(12)).await;
    never_given(&world, request, "orders-db-reader").await;
}

#[tokio::test]
async fn a_role_that_gives_something_else_now_gives_nothing() {
    let world = World::new().await;
    let request = approved_for_tonight(&world).await;
    let text = std::fs::read_to_string("policies/roles/incident-response.yaml").unwrap();
    let other = text.replace("role: orders_readonly", "role: orders_masked");
    assert_ne!(text, other);
    // Its tests expect the other.
    let other = other.split_once("\ntests:").unwrap().0.to_owned();
    is_changed(&world, "masked", "policies/roles/incident-response.yaml", &other).await;
    world.wait(TimeDelta::hours(12)).await;
    never_given(&world, request, "no longer gives").await;
}

#[tokio::test]
async fn while_github_does_not_answer_it_does_not_start() {
    let world = World::new().await;
    approved_for_tonight(&world).await;
    world.sandbox.disturb(Some(std::sync::Arc::new(|_, _| Some(daypass::sandbox::Disturbance::Refuse(503)))));
    world.wait(TimeDelta::hours(12)).await;
    assert!(world.orders.calls().is_empty(), "nobody knows whether she still may");
    world.sandbox.disturb(None);
    world.wait(TimeDelta::minutes(2)).await;
    assert!(world.orders.is_member("orders_readonly", "alice"));
    world.wait(TimeDelta::hours(2)).await;
    assert!(!world.orders.is_member("orders_readonly", "alice"), "the end stays where it was");
}

#[tokio::test]
async fn an_extension_that_cannot_be_decided_does_not_prolong_what_it_extends() {
    let world = World::new().await;
    let now = "role: orders-db-reader\nduration: 2h\nreason: Checkouts hang\nticket: INC-8\n";
    let running = world.alice().asks("running", now).await;
    world.dave().approves(running).await;
    let planned = world.alice().asks("extension", &PLANNED.replace("22:00", "12:00")).await;
    world.dave().approves(planned).await;
    assert!(world.is_merged(planned).await, "{}", world.check(planned).await.summary);
    world.wait(TimeDelta::minutes(115)).await;
    world.sandbox.disturb(Some(std::sync::Arc::new(|_, _| Some(daypass::sandbox::Disturbance::Refuse(503)))));
    world.wait(TimeDelta::minutes(10)).await;
    assert!(!world.orders.is_member("orders_readonly", "alice"), "the first is over, the second did not begin");
    world.sandbox.disturb(None);
    world.wait(TimeDelta::minutes(3)).await;
    assert!(world.orders.is_member("orders_readonly", "alice"));
}
