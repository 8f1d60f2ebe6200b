//! `daypass audit` on plain clones, with everything else switched off: what it answers, and that whoever tampers is found.

// A test that cannot go on fails by panicking.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../support/mod.rs"]
mod support;

mod answers;
mod browser;
mod clone;
mod large;
mod review;
mod tamper;

use chrono::TimeDelta;
use clone::Clone;
use support::world::World;

const ORDERS: &str =
    "role: orders-db-reader\nduration: 2h\nticket: INC-4711\nreason: Checkouts hang, since the deploy\n";

/// Alice had the orders from ten to noon; dave had approved it. Bob asked too, and dave objected.
async fn a_morning() -> World {
    let world = World::new().await;
    world.wait(TimeDelta::minutes(1)).await;
    let request = world.alice().asks("alice-orders", ORDERS).await;
    world.dave().approves(request).await;
    world.wait(TimeDelta::minutes(5)).await;
    let request = world.bob().asks("bob-orders", &ORDERS.replace("4711", "4712")).await;
    world.dave().requests_changes(request).await;
    world.wait(TimeDelta::minutes(130)).await;
    assert_eq!(world.ledger_differs().await, None);
    world
}

/// A clone of that, and nothing else.
async fn a_clone() -> Clone {
    Clone::of(&a_morning().await, &[])
}
