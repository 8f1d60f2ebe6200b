//! Clocks that are wrong, or are set. Access ends in time all the same.

use chrono::TimeDelta;

use crate::life::ORDERS;
use crate::support::world::World;

/// Alice has the orders until noon; it is ten.
async fn alice_has_the_orders(world: &World) -> u64 {
    let request = world.alice().asks("alice-orders", ORDERS).await;
    world.dave().approves(request).await;
    assert!(world.orders.is_member("orders_readonly", "alice"));
    request
}

/// Within a minute of noon access ends, and its file goes.
async fn it_ends_at_noon(world: &World) {
    world
        .wait(
            TimeDelta::minutes(119)
                - (world.now() - "2026-11-30T10:00:00Z".parse::<chrono::DateTime<chrono::Utc>>().unwrap()),
        )
        .await;
    assert!(world.orders.is_member("orders_readonly", "alice"), "not before its time");
    world.wait(TimeDelta::minutes(1)).await;
    assert!(!world.orders.is_member("orders_readonly", "alice"));
    world.wait(TimeDelta::minutes(6)).await;
    assert!(world.grant_files().await.is_empty());
}

#[tokio::test]
async fn a_clock_that_is_set_back_prolongs_nothing() {
    let world = World::new().await;
    alice_has_the_orders(&world).await;
    world.wait(TimeDelta::minutes(30)).await;
    world.set_machine_clocks(TimeDelta::hours(-3));
    it_ends_at_noon(&world).await;
}

#[tokio::test]
async fn a_machine_that_starts_with_a_late_clock_goes_by_githubs() {
    let world = World::new().await;
    alice_has_the_orders(&world).await;
    world.set_machine_clocks(TimeDelta::hours(-3));
    world.restart().await;
    world.settle().await;
    it_ends_at_noon(&world).await;
}

#[tokio::test]
async fn a_clock_that_is_set_ahead_ends_access_early_and_starts_none() {
    let world = World::new().await;
    alice_has_the_orders(&world).await;
    let planned =
        "role: orders-db-reader\nduration: 2h\nreason: Month end\nticket: INC-8\nstart: 2026-11-30T22:00:00Z\n";
    let tonight = world.bob().asks("tonight", planned).await;
    world.dave().approves(tonight).await;
    world.wait(TimeDelta::minutes(10)).await;
    world.set_machine_clocks(TimeDelta::hours(13));
    world.wait(TimeDelta::minutes(5)).await;
    assert!(!world.orders.is_member("orders_readonly", "alice"), "the safe side is to revoke");
    assert!(!world.orders.is_member("orders_readonly", "bob"), "and not to begin");
    world.set_machine_clocks(TimeDelta::zero());
    world.wait(TimeDelta::hours(12)).await;
    assert!(world.orders.is_member("orders_readonly", "bob"), "set right, it begins in time");
}

#[tokio::test]
async fn clocks_that_differ_by_seconds_do_no_harm() {
    let world = World::new().await;
    world.set_machine_clocks(TimeDelta::seconds(-20));
    world.restart().await;
    alice_has_the_orders(&world).await;
    world.set_machine_clocks(TimeDelta::seconds(20));
    world.wait(TimeDelta::minutes(121)).await;
    assert!(!world.orders.is_member("orders_readonly", "alice"));
}
