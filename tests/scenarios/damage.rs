//! Rows of the database that cannot be read: nobody keeps access because of them, nor loses it, and somebody is told.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use chrono::TimeDelta;
use daypass::target::TargetError;

use crate::life::ORDERS;
use crate::rebuild::write;
use crate::support::database::Failure;
use crate::support::world::World;
use crate::watched::figures;

const BOBS: &str = "role: orders-db-reader\nduration: 2h\nticket: INC-2\nreason: Checkouts hang\n";

/// Alice and bob have the orders until noon.
async fn two_have_the_orders() -> (World, u64) {
    let world = World::new().await;
    let request = world.alice().asks("alice-orders", ORDERS).await;
    let other = world.bob().asks("bob-orders", BOBS).await;
    world.dave().approves(request).await;
    world.dave().approves(other).await;
    assert!(has(&world, "alice") && has(&world, "bob"));
    (world, request)
}

fn has(world: &World, login: &str) -> bool {
    world.orders.is_member("orders_readonly", login)
}

async fn unreadable(world: &World) -> f64 {
    figures(world).await.sum("daypass_unreadable_rows{target=\"orders-db\"}")
}

/// Somebody damages alice's row, and the sweep comes by.
async fn damaged(sql: &'static str) -> (World, u64) {
    let (world, request) = two_have_the_orders().await;
    assert_eq!(unreadable(&world).await, 0.0);
    write(&world, sql).await;
    world.restart().await;
    world.settle().await;
    (world, request)
}

/// Both lose it in time, and are told once.
async fn both_end_at_noon(world: &World, request: u64, within: TimeDelta) {
    assert!(has(world, "alice") && has(world, "bob"));
    world.wait(TimeDelta::minutes(115)).await;
    assert!(has(world, "alice") && has(world, "bob"), "it is not noon");
    world.wait(TimeDelta::minutes(5) + within).await;
    assert!(!has(world, "bob"), "he has nothing to do with it");
    assert!(!has(world, "alice"));
    world.wait(TimeDelta::minutes(10)).await;
    assert_eq!(world.orders.calls().iter().filter(|call| call.starts_with("revoke")).count(), 2);
    let said = world.comments(request).await;
    assert_eq!(said.iter().filter(|text| text.contains("⚫")).count(), 1, "{said:#?}");
    assert!(world.grant_files().await.is_empty());
}

#[tokio::test]
async fn a_row_that_does_not_say_for_whom_mends_itself() {
    let (world, request) =
        damaged("UPDATE entitlements SET holders = 'x', progress = '7' WHERE entitlement LIKE '%alice%'").await;
    both_end_at_noon(&world, request, TimeDelta::minutes(1)).await;
    assert_eq!(unreadable(&world).await, 0.0);
}

#[tokio::test]
async fn a_row_that_does_not_say_what_it_is_about_is_known_by_the_grant() {
    let (world, request) = damaged("UPDATE entitlements SET entitlement = '{' WHERE entitlement LIKE '%alice%'").await;
    both_end_at_noon(&world, request, TimeDelta::minutes(1)).await;
}

#[tokio::test]
async fn what_was_damaged_when_its_grant_was_over_is_taken_away() {
    let (world, _) = two_have_the_orders().await;
    world.orders.set_down(true);
    world.wait(TimeDelta::minutes(130)).await;
    assert!(has(&world, "alice") && has(&world, "bob"), "the database is down");
    write(&world, "UPDATE entitlements SET entitlement = '{', holders = 'x' WHERE entitlement LIKE '%alice%'").await;
    world.orders.set_down(false);
    world.wait(TimeDelta::minutes(6)).await;
    assert!(!has(&world, "alice") && !has(&world, "bob"));
}

#[tokio::test]
async fn a_row_nobody_can_name_is_told_and_keeps_nothing_else_from_ending() {
    let (world, _) = two_have_the_orders().await;
    let whole = "UPDATE entitlements SET entitlement = '{', key = 'k', standing = 'x' WHERE entitlement LIKE '%alice%'";
    write(&world, whole).await;
    write(&world, "DELETE FROM grants WHERE id LIKE 'alice%'").await;
    world.restart().await;
    world.settle().await;
    assert_eq!(unreadable(&world).await, 1.0);
    world.wait(TimeDelta::minutes(121)).await;
    assert!(!has(&world, "bob"));
    assert_eq!(unreadable(&world).await, 1.0);
}

#[tokio::test]
async fn a_grant_that_cannot_be_read_is_neither_taken_early_nor_kept() {
    let (world, _) = damaged("UPDATE grants SET body = '{' WHERE id LIKE 'alice%'").await;
    assert_eq!(unreadable(&world).await, 1.0);
    world.wait(TimeDelta::minutes(115)).await;
    assert!(has(&world, "alice") && has(&world, "bob"), "it is not noon");
    world.wait(TimeDelta::minutes(6)).await;
    assert!(!has(&world, "bob"));
    world.wait(TimeDelta::minutes(5)).await;
    assert!(!has(&world, "alice"), "the next look at everything finds that its time is over");
}

#[tokio::test]
async fn a_job_that_cannot_be_read_holds_nobody_up() {
    let (world, request) = damaged(
        "INSERT INTO work (job, lane, owner, due_at, wanted_at, revision, attempts) VALUES ('x', 0, '', 0, 0, 1, 0)",
    )
    .await;
    both_end_at_noon(&world, request, TimeDelta::minutes(1)).await;
}

#[tokio::test]
async fn a_target_that_refuses_what_such_a_grant_gave_keeps_nothing_else_from_ending() {
    let (world, _) = damaged("UPDATE grants SET body = '{' WHERE id LIKE 'alice%'").await;
    let calls = AtomicUsize::new(0);
    world.orders.fail(Arc::new(move || {
        let odd = calls.fetch_add(1, Ordering::Relaxed).is_multiple_of(2);
        odd.then(|| Failure::Refuse(TargetError::Permanent("permission denied".to_owned())))
    }));
    world.advance(TimeDelta::minutes(121));
    world.settle().await;
    assert!(!has(&world, "bob"), "hers comes first, and is refused; his goes at once");
}
