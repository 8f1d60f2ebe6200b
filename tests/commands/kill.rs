//! `kill -9` of `daypass serve` at the worst moments. After a restart what was due happens, once.

use std::time::Duration;

use crate::installation::Installation;
use crate::support::eventually;

const GRANT: &str = "GRANT orders_readonly TO alice";
const REVOKE: &str = "REVOKE orders_readonly FROM alice";

fn request(duration: &str) -> String {
    format!("role: orders-db-reader\nduration: {duration}\nticket: INC-1\nreason: Checkouts hang\n")
}

#[tokio::test]
#[ignore = "needs PostgreSQL; ./test runs it"]
async fn killed_between_merge_and_grant_on_postgres() {
    let mut daypass = Installation::start(false);
    daypass.postgres.crash();
    let number = daypass.alice_asks("alice-orders", &request("1h")).await;
    daypass.dave_approves(number).await;
    daypass.until_merged(number).await;
    daypass.kill();
    daypass.postgres.resume();
    assert!(!daypass.postgres.can_read_orders("alice"), "merged, but not granted");
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(daypass.orders_were_told(GRANT), 0, "nobody is there to do it");

    daypass.serve();
    eventually("alice can read", || daypass.postgres.can_read_orders("alice"));
    // Several looks later it is still one.
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(daypass.orders_were_told(GRANT), 1);
    assert_eq!(daypass.comments_with(number, "🟢").await, 1);
}

#[tokio::test]
#[ignore = "needs PostgreSQL; ./test runs it"]
async fn killed_between_expiry_and_revoke_on_postgres() {
    let mut daypass = Installation::start(false);
    let number = daypass.alice_asks("alice-orders", &request("20s")).await;
    daypass.dave_approves(number).await;
    eventually("alice can read", || daypass.postgres.can_read_orders("alice"));
    daypass.postgres.crash();
    tokio::time::sleep(Duration::from_secs(21)).await;
    daypass.kill();
    daypass.postgres.resume();
    assert!(daypass.postgres.can_read_orders("alice"), "expired, but not revoked");

    daypass.serve();
    eventually("alice cannot read", || !daypass.postgres.can_read_orders("alice"));
    daypass.until_reverted().await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!((daypass.orders_were_told(GRANT), daypass.orders_were_told(REVOKE)), (1, 1));
    assert_eq!(daypass.comments_with(number, "⚫").await, 1);
}

#[tokio::test]
#[ignore = "needs PostgreSQL; ./test runs it"]
async fn killed_again_and_again_on_postgres() {
    let mut daypass = Installation::start(false);
    daypass.kill();
    // Long enough that it is granted in spite of everything, however slow the machine.
    let number = daypass.alice_asks("alice-orders", &request("40s")).await;
    daypass.dave_approves(number).await;
    // Some of these hit between a write and the next; the pauses are primes, so that they drift through the work.
    for pause in
        [67, 131, 197, 263, 331, 397, 463, 541, 601, 673, 739, 809, 877, 953, 1_021, 1_091].into_iter().cycle().take(32)
    {
        daypass.serve();
        tokio::time::sleep(Duration::from_millis(pause)).await;
        daypass.kill();
    }
    daypass.serve();
    daypass.until_merged(number).await;
    daypass.until_reverted().await;
    assert!(!daypass.postgres.can_read_orders("alice"));
    assert!(daypass.orders_were_told(REVOKE) >= 1);
    assert_eq!(daypass.comments_with(number, "🟢").await, 1);
    assert_eq!(daypass.comments_with(number, "⚫").await, 1);
    assert!(!daypass.log().contains("open-sesame") && !daypass.log().contains("PRIVATE KEY"), "no secret is logged");
}
