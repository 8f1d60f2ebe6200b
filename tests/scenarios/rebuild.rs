//! A database that is damaged, or was put back from a backup, is read anew. Whoever has access keeps it, until its end.

use chrono::TimeDelta;
use sqlx::Connection;

use crate::life::ORDERS;
use crate::support::world::World;

/// Alice has the orders until noon.
async fn alice_has_the_orders(world: &World) -> u64 {
    let request = world.alice().asks("alice-orders", ORDERS).await;
    world.dave().approves(request).await;
    assert!(world.orders.is_member("orders_readonly", "alice"));
    request
}

/// Somebody writes into the database.
pub async fn write(world: &World, sql: &'static str) {
    let mut database = sqlx::SqliteConnection::connect(&world.database_url()).await.unwrap();
    sqlx::query(sql).execute(&mut database).await.unwrap();
    database.close().await.unwrap();
}

async fn rebuild(world: &World) -> (usize, usize, usize, usize) {
    let rebuilt = world.engine().rebuild(&"acme/access".parse().unwrap()).await.unwrap();
    (rebuilt.before, rebuilt.after, rebuilt.ended, rebuilt.refused)
}

async fn it_ends_at_noon_once(world: &World, request: u64) {
    world.settle().await;
    assert!(world.orders.is_member("orders_readonly", "alice"));
    world.wait(TimeDelta::minutes(125)).await;
    assert!(!world.orders.is_member("orders_readonly", "alice"));
    assert!(world.grant_files().await.is_empty());
    let said = world.comments(request).await;
    assert_eq!(said.iter().filter(|text| text.contains("🟢")).count(), 1, "{said:#?}");
    assert_eq!(said.iter().filter(|text| text.contains("⚫")).count(), 1, "{said:#?}");
}

#[tokio::test]
async fn what_is_well_stays_as_it_is() {
    let world = World::new().await;
    let request = alice_has_the_orders(&world).await;
    assert_eq!(rebuild(&world).await, (1, 1, 0, 0));
    it_ends_at_noon_once(&world, request).await;
    assert_eq!(world.orders.calls(), ["grant orders_readonly to alice", "revoke orders_readonly from alice"]);
    assert_eq!((world.count("granted").await, world.count("ended").await), (1, 1));
}

#[tokio::test]
async fn approvers_who_left_since_take_nothing_along() {
    let world = World::new().await;
    let request = alice_has_the_orders(&world).await;
    world.sandbox.remove_from_team("data-platform", "dave").unwrap();
    assert_eq!(rebuild(&world).await, (1, 1, 0, 0));
    it_ends_at_noon_once(&world, request).await;
}

#[tokio::test]
async fn a_grant_that_cannot_be_read_is_read_anew_from_git() {
    let world = World::new().await;
    let request = alice_has_the_orders(&world).await;
    write(&world, "UPDATE grants SET body = '{ \"id\": 7'").await;
    world.restart().await;
    let thrown_away = world.engine().discard_unreadable().await.unwrap();
    assert_eq!(thrown_away.len(), 1);
    assert_eq!((thrown_away[0].table, thrown_away[0].row.as_str()), ("grants", "acme/access alice-orders#1"));
    assert_eq!(rebuild(&world).await, (0, 1, 0, 0));
    it_ends_at_noon_once(&world, request).await;
}

#[tokio::test]
async fn access_whose_record_cannot_be_read_still_ends() {
    let world = World::new().await;
    alice_has_the_orders(&world).await;
    write(&world, "UPDATE entitlements SET holders = 'x', receipt = 'y'").await;
    world.restart().await;
    let mended = world.engine().discard_unreadable().await.unwrap();
    assert_eq!(mended.iter().map(|row| row.outcome.as_str()).collect::<Vec<_>>(), ["counts as perhaps applied"]);
    rebuild(&world).await;
    world.wait(TimeDelta::minutes(125)).await;
    assert!(!world.orders.is_member("orders_readonly", "alice"));
}

#[tokio::test]
async fn a_backup_from_before_the_grant_learns_of_it() {
    let world = World::new().await;
    let backup = world.copy_of_database().await;
    let request = alice_has_the_orders(&world).await;
    world.put_database_back(&backup).await;
    let (before, after, ended, refused) = rebuild(&world).await;
    assert_eq!((before, after, ended, refused), (0, 1, 0, 0));
    it_ends_at_noon_once(&world, request).await;
}

#[tokio::test]
async fn a_backup_nobody_rebuilds_does_not_take_granted_access_for_standing_access() {
    let world = World::new().await;
    let backup = world.copy_of_database().await;
    alice_has_the_orders(&world).await;
    world.put_database_back(&backup).await;
    world.settle().await;
    world.wait(TimeDelta::minutes(125)).await;
    assert!(!world.orders.is_member("orders_readonly", "alice"));
}

#[tokio::test]
async fn a_backup_from_before_the_end_learns_of_that_too() {
    let world = World::new().await;
    alice_has_the_orders(&world).await;
    let backup = world.copy_of_database().await;
    world.alice().branches("done").await;
    world.alice().removes("done", "grants/alice-orders.yaml").await;
    world.alice().opens("done").await;
    assert!(!world.orders.is_member("orders_readonly", "alice"));
    world.put_database_back(&backup).await;
    assert_eq!(rebuild(&world).await.1, 0, "its file is gone");
    world.settle().await;
    assert!(!world.orders.is_member("orders_readonly", "alice"));
}

#[tokio::test]
async fn access_from_before_is_not_ours_only_because_a_later_grant_gives_it_too() {
    let world = World::new().await;
    world.orders.add("orders_readonly", "alice");
    alice_has_the_orders(&world).await;
    let backup = world.copy_of_database().await;
    let longer = world.alice().asks("longer", &ORDERS.replace("2h", "3h")).await;
    world.dave().approves(longer).await;
    world.erin().approves(longer).await;
    assert!(world.is_merged(longer).await, "{}", world.check(longer).await.summary);
    world.put_database_back(&backup).await;
    rebuild(&world).await;
    world.wait(TimeDelta::minutes(190)).await;
    assert!(world.orders.is_member("orders_readonly", "alice"), "she had it before");
}
