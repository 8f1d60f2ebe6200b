//! The database of Daypass itself takes no writes for a while. Nothing is decided meanwhile, nothing acknowledged, nothing lost.

use chrono::TimeDelta;
use daypass::store::Store;
use http::{Request, StatusCode};
use sqlx::Connection;

use crate::life::ORDERS;
use crate::support::disk::Disk;
use crate::support::postgres::Postgres;
use crate::support::world::World;

/// A world that keeps its database at `url`.
async fn world(url: &str) -> World {
    let world = World::new().await;
    let store = Store::open(url).await.unwrap();
    world.put_around_store(std::sync::Arc::new(move |_| store.clone()));
    world.restart().await;
    world.settle().await;
    world
}

async fn readyz(world: &World) -> (StatusCode, String) {
    // It looks once a second.
    tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
    world.send(Request::get("/readyz").body(axum::body::Body::empty()).unwrap()).await
}

/// Alice's grant ends while the database takes no writes, and Bob asks for one; then it is mended.
async fn access_ends_when_it_can_be_written_down(world: &World, says: &str, break_it: impl Fn(), mend_it: impl Fn()) {
    let request = world.alice().asks("alice-orders", ORDERS).await;
    world.dave().approves(request).await;
    world.wait(TimeDelta::minutes(60)).await;
    assert!(world.orders.is_member("orders_readonly", "alice"));
    assert_eq!(readyz(world).await, (StatusCode::OK, "ready\n".to_owned()));

    break_it();
    world.advance(TimeDelta::minutes(61));
    let mut steps = 0;
    while world.engine().step().await.is_ok() {
        steps += 1;
        assert!(steps < 100, "it never fails");
    }
    assert_eq!(
        readyz(world).await,
        (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {says}; the log says more\n"))
    );
    world.go_manual(true);
    world.bob().asks("bob-orders", ORDERS).await;
    let refused = world.sandbox.take_deliveries();
    assert!(!refused.is_empty());
    for delivery in &refused {
        assert_eq!(world.deliver(delivery).await, StatusCode::SERVICE_UNAVAILABLE);
    }
    assert_eq!(world.orders.calls(), ["grant orders_readonly to alice"]);

    mend_it();
    // The engine goes on by itself; whatever was taken when it broke is free when its lease ends.
    let engine = world.engine();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let running =
        tokio::spawn(async move { engine.run(daypass::engine::Worker::Any, async { drop(stopped.await) }).await });
    for _ in 0..100 {
        world.advance(TimeDelta::seconds(5));
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        if !world.orders.is_member("orders_readonly", "alice") {
            break;
        }
    }
    drop(stop);
    running.await.unwrap();
    assert!(!world.orders.is_member("orders_readonly", "alice"));
    assert_eq!(readyz(world).await, (StatusCode::OK, "ready\n".to_owned()));
    world.go_manual(false);
    world.wait(TimeDelta::minutes(6)).await;
    assert_eq!(world.orders.calls(), ["grant orders_readonly to alice", "revoke orders_readonly from alice"]);
    assert_eq!((world.count("granted").await, world.count("ended").await, world.count("removed").await), (1, 1, 1));
    let (bobs, _) = world.open_pulls().await.into_iter().find(|(_, title)| title.contains("bob")).unwrap();
    assert!(world.check(bobs).await.title.contains("waiting"), "what the refused webhooks told is found");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root; ./test runs it"]
async fn full_disk_at_the_end_of_a_grant() {
    let disk = Disk::new();
    let world = world(&disk.store_url()).await;
    let says = "the disk of the database is full";
    // The log that SQLite keeps has room of its own until it is cut.
    let cut_log = async || {
        let mut database = sqlx::SqliteConnection::connect(&disk.store_url()).await.unwrap();
        sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut database).await.unwrap();
        database.close().await.unwrap();
    };
    let fill = || {
        tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(cut_log()));
        disk.fill();
    };
    access_ends_when_it_can_be_written_down(&world, says, fill, || disk.make_room()).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL; ./test runs it"]
async fn a_read_only_database_at_the_end_of_a_grant_on_postgres() {
    let server = Postgres::start();
    let world = world(&server.url("daypass")).await;
    let says = "the database is read-only";
    let read_only = |on| server.make_read_only(on);
    access_ends_when_it_can_be_written_down(&world, says, || read_only(true), || read_only(false)).await;
}
