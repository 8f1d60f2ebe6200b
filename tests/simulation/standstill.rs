//! A process stands still in the middle of a call of a target, and goes on hours later. What it does then is found and put right.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use chrono::TimeDelta;
use daypass::engine::EngineError;
use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::sync::Notify;

use crate::support::database::Failure;
use crate::support::world::World;

const ORDERS: &str = "role: orders-db-reader\nduration: 2h\nticket: INC-1\nreason: Checkouts hang\n";

/// The step of a process that stands still.
type Step = BoxFuture<'static, Result<bool, EngineError>>;

/// A world in which several processes share the database.
async fn world() -> World {
    let world = World::new().await;
    world.put_around_store(Arc::new(|store| store.shared()));
    world.restart().await;
    world.settle().await;
    world
}

/// From now on the `nth` call of the orders database does not return, and has no effect before.
fn stall_at(world: &World, nth: usize) -> Arc<Notify> {
    let (stalled, calls) = (Arc::new(Notify::new()), AtomicUsize::new(0));
    let told = stalled.clone();
    world.orders.fail(Arc::new(move || {
        let stalls = calls.fetch_add(1, Ordering::Relaxed) + 1 == nth;
        stalls.then(|| {
            told.notify_one();
            Failure::Stall { done: false }
        })
    }));
    stalled
}

/// Lets Daypass work until it stands still; then another process starts.
async fn work_until(world: &World, stalled: &Notify) -> Step {
    loop {
        for delivery in world.sandbox.take_deliveries() {
            world.deliver(&delivery).await;
        }
        let engine = world.engine();
        let mut step = async move { engine.step().await }.boxed();
        tokio::select! {
            biased;
            () = stalled.notified() => {
                world.start_another().await;
                return step;
            }
            worked = &mut step => assert!(worked.unwrap(), "it never stands still"),
        }
    }
}

/// The process that stood still goes on.
async fn goes_on(world: &World, step: Step) {
    world.orders.resume();
    step.await.unwrap();
}

#[tokio::test]
async fn a_grant_that_lands_after_its_end_is_taken_away_at_once() {
    let world = world().await;
    world.go_manual(true);
    let request = world.alice().asks("alice-orders", ORDERS).await;
    world.dave().approves(request).await;
    // The first call looks, the second one gives.
    let step = work_until(&world, &stall_at(&world, 2)).await;
    world.go_manual(false);
    world.wait(TimeDelta::hours(3)).await;
    assert!(world.grant_files().await.is_empty(), "the other process ended it");
    assert!(!world.orders.is_member("orders_readonly", "alice"));

    goes_on(&world, step).await;
    assert!(world.orders.is_member("orders_readonly", "alice"), "it cannot be kept from landing");
    world.settle().await;
    assert!(!world.orders.is_member("orders_readonly", "alice"));
    assert_eq!((world.count("granted").await, world.count("ended").await), (1, 1));
}

#[tokio::test]
async fn what_ended_while_the_target_was_looked_at_is_not_given() {
    let world = world().await;
    world.go_manual(true);
    let request = world.alice().asks("alice-orders", ORDERS).await;
    world.dave().approves(request).await;
    let step = work_until(&world, &stall_at(&world, 1)).await;
    world.go_manual(false);
    // Its lease holds, so nobody takes the target over; but another process reads that the file is gone.
    assert_eq!(world.olga().removes("main", "grants/alice-orders.yaml").await, axum::http::StatusCode::OK);
    world.settle().await;
    goes_on(&world, step).await;
    assert!(!world.orders.is_member("orders_readonly", "alice"), "not even for a moment");
    world.settle().await;
    assert!(!world.orders.is_member("orders_readonly", "alice"));
}

#[tokio::test]
async fn a_revocation_that_lands_in_the_next_grant_is_made_good_at_once() {
    let world = world().await;
    let request = world.alice().asks("alice-orders", ORDERS).await;
    world.dave().approves(request).await;
    assert!(world.orders.is_member("orders_readonly", "alice"));
    world.go_manual(true);
    world.advance(TimeDelta::hours(2));
    let step = work_until(&world, &stall_at(&world, 1)).await;
    world.go_manual(false);
    world.wait(TimeDelta::minutes(5)).await;
    assert!(!world.orders.is_member("orders_readonly", "alice"), "the other process took it away");
    let again = world.alice().asks("alice-again", ORDERS).await;
    world.dave().approves(again).await;
    assert!(world.orders.is_member("orders_readonly", "alice"));

    goes_on(&world, step).await;
    assert!(!world.orders.is_member("orders_readonly", "alice"), "it cannot be kept from landing");
    world.settle().await;
    assert!(world.orders.is_member("orders_readonly", "alice"), "she has a grant");
}

/// The process that stood still goes on until its call has landed, and dies before it writes anything.
async fn lands_and_dies(world: &World, mut step: Step) {
    world.orders.resume();
    for _ in 0..1_000 {
        if world.orders.is_member("orders_readonly", "alice") {
            break;
        }
        let _ = futures::poll!(&mut step);
    }
}

#[tokio::test]
async fn a_grant_that_lands_after_its_end_by_a_process_that_dies_then_is_found() {
    let world = world().await;
    world.go_manual(true);
    let request = world.alice().asks("alice-orders", ORDERS).await;
    world.dave().approves(request).await;
    let step = work_until(&world, &stall_at(&world, 2)).await;
    world.go_manual(false);
    world.wait(TimeDelta::hours(3)).await;
    assert!(!world.orders.is_member("orders_readonly", "alice"));

    lands_and_dies(&world, step).await;
    assert!(world.orders.is_member("orders_readonly", "alice"), "nobody knows of it");
    world.wait(TimeDelta::minutes(10)).await;
    assert!(!world.orders.is_member("orders_readonly", "alice"));
    assert_eq!((world.count("granted").await, world.count("ended").await), (1, 1));
    assert_eq!(world.count("removed").await, 1);
}

#[tokio::test]
async fn a_grant_that_lands_before_the_next_one_is_not_taken_for_standing_access() {
    let world = world().await;
    world.go_manual(true);
    let request = world.alice().asks("alice-orders", ORDERS).await;
    world.dave().approves(request).await;
    let step = work_until(&world, &stall_at(&world, 2)).await;
    world.go_manual(false);
    world.wait(TimeDelta::hours(3)).await;
    lands_and_dies(&world, step).await;

    let again = world.alice().asks("alice-again", ORDERS).await;
    world.dave().approves(again).await;
    assert!(world.orders.is_member("orders_readonly", "alice"));
    world.wait(TimeDelta::minutes(121)).await;
    assert!(!world.orders.is_member("orders_readonly", "alice"));
}

#[tokio::test]
async fn what_was_given_and_taken_in_the_ordinary_course_is_not_looked_at_again() {
    let world = world().await;
    let looks = Arc::new(AtomicUsize::new(0));
    let counted = looks.clone();
    world.orders.fail(Arc::new(move || {
        counted.fetch_add(1, Ordering::Relaxed);
        None
    }));
    let request = world.alice().asks("alice-orders", ORDERS).await;
    world.dave().approves(request).await;
    world.wait(TimeDelta::hours(6)).await;
    assert_eq!(looks.load(Ordering::Relaxed), 3, "one look, one grant, one revocation");
}
