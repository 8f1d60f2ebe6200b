//! Somebody watches Daypass by its metrics: what they read is what happened.

use axum::http::{Request, StatusCode};
use chrono::TimeDelta;

use crate::life::ORDERS;
use crate::support::world::World;

/// The figures of `/metrics`.
pub async fn figures(world: &World) -> Figures {
    let (status, text) = world.send(Request::get("/metrics").body(axum::body::Body::empty()).unwrap()).await;
    assert_eq!(status, StatusCode::OK, "{text}");
    assert!(text.ends_with("# EOF\n"), "{text}");
    Figures(text)
}

pub struct Figures(pub String);

impl Figures {
    /// The sum of the samples that begin like this.
    pub fn sum(&self, start: &str) -> f64 {
        let samples = self.0.lines().filter(|line| line.starts_with(start));
        samples.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
    }
}

#[tokio::test]
async fn the_figures_tell_what_a_life_cost_and_how_late_it_ended() {
    let world = World::new().await;
    let before = figures(&world).await;
    let request = world.alice().asks("alice-orders", ORDERS).await;
    world.dave().approves(request).await;
    let after = figures(&world).await;
    let merges = r#"daypass_github_requests_total{method="PUT",endpoint="repos/pulls/merge",status="200"}"#;
    assert_eq!((before.sum(merges), after.sum(merges)), (0.0, 1.0));
    assert_eq!(after.sum(r#"daypass_target_calls_total{target="orders-db",call="grant",outcome="done"}"#), 1.0);
    assert_eq!(after.sum("daypass_github_requests_total") as u64, world.usage().calls());
    assert!(after.sum("daypass_github_rate_remaining{installation=") > 0.0);

    world.wait(TimeDelta::minutes(130)).await;
    let end = figures(&world).await;
    assert_eq!(end.sum("daypass_revocation_lateness_seconds_count"), 1.0);
    assert!(end.sum("daypass_revocation_lateness_seconds_sum") < 60.0);
    assert_eq!(end.sum("daypass_work_due{"), 0.0, "nothing is left to do");
    for private in ["alice", "dave", "orders_readonly", "orders-db-reader", "ghs_"] {
        assert!(!end.0.contains(private), "{private}: {}", end.0);
    }
}

#[tokio::test]
async fn the_figures_tell_of_work_that_waits_and_of_a_wrong_clock() {
    let world = World::new().await;
    world.go_manual(true);
    let _ = world.alice().asks("alice-orders", ORDERS).await;
    for delivery in world.sandbox.take_deliveries() {
        assert_eq!(world.deliver(&delivery).await, StatusCode::ACCEPTED);
    }
    assert!(figures(&world).await.sum("daypass_webhooks_waiting ") > 0.0);
    world.go_manual(false);
    world.settle().await;
    assert_eq!(figures(&world).await.sum("daypass_webhooks_waiting "), 0.0);
    assert_eq!(figures(&world).await.sum("daypass_clock_difference_seconds "), 0.0);
    world.set_machine_clocks(TimeDelta::hours(-3));
    world.wait(TimeDelta::minutes(11)).await;
    let difference = figures(&world).await.sum("daypass_clock_difference_seconds ");
    assert!((difference - 10_800.0).abs() < 10.0, "{difference}");
}

#[tokio::test]
async fn the_figures_tell_of_access_that_should_be_gone() {
    let world = World::new().await;
    let over = r#"daypass_revocations_overdue{target="orders-db"}"#;
    let since = r#"daypass_revocation_overdue_seconds{target="orders-db"}"#;
    let request = world.alice().asks("alice-orders", ORDERS).await;
    world.dave().approves(request).await;
    world.orders.set_down(true);
    world.wait(TimeDelta::minutes(119)).await;
    let running = figures(&world).await;
    assert_eq!((running.sum(over), running.sum(since)), (0.0, 0.0), "{}", running.0);
    world.wait(TimeDelta::minutes(181)).await;
    assert!(world.orders.is_member("orders_readonly", "alice"), "the database is down");
    let late = figures(&world).await;
    assert_eq!(late.sum(over), 1.0, "{}", late.0);
    assert!(late.sum(since) > 10_000.0, "three hours: {}", late.0);
    assert!(late.sum(r#"daypass_work_oldest_due_seconds{lane="targets"}"#) > 10_000.0, "however often it was tried");
    assert_eq!(late.sum(r#"daypass_work_due{lane="targets"}"#), 1.0);
    world.orders.set_down(false);
    world.wait(TimeDelta::minutes(3)).await;
    let gone = figures(&world).await;
    assert_eq!((gone.sum(over), gone.sum(since)), (0.0, 0.0), "{}", gone.0);
    assert_eq!(gone.sum(r#"daypass_work_oldest_due_seconds{lane="targets"}"#), 0.0);
}

#[tokio::test]
async fn access_that_was_ended_early_is_overdue_from_then_on() {
    let world = World::new().await;
    let request = world.alice().asks("alice-orders", ORDERS).await;
    world.dave().approves(request).await;
    world.orders.set_down(true);
    world.alice().branches("done").await;
    world.alice().removes("done", "grants/alice-orders.yaml").await;
    world.alice().opens("done").await;
    world.wait(TimeDelta::minutes(10)).await;
    let figures = figures(&world).await;
    assert_eq!(figures.sum("daypass_revocations_overdue"), 1.0, "{}", figures.0);
    assert!(figures.sum("daypass_revocation_overdue_seconds") >= 600.0, "{}", figures.0);
}
