//! GitHub does not always find what is there. Nothing final follows from that, and nobody loses anything by it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use chrono::TimeDelta;
use daypass::sandbox::Disturbance;
use http::Method;

use crate::life::ORDERS;
use crate::support::world::World;

const DOCS: &str = "role: docs-preview\nduration: 1h\nreason: Proofreading\n";

/// From now on GitHub finds nothing whose address contains `hidden`.
fn hide(world: &World, hidden: &'static str) {
    world.sandbox.disturb(Some(Arc::new(move |method: &Method, path: &str| {
        (*method == Method::GET && path.contains(hidden)).then_some(Disturbance::Refuse(404))
    })));
}

/// A request of alice that is approved and merged, which Daypass has not looked at yet.
async fn merged_unseen(world: &World) -> u64 {
    let request = world.alice().asks("alice-orders", ORDERS).await;
    world.go_manual(true);
    world.dave().approves(request).await;
    assert!(world.olga().merges(request).await.is_success());
    request
}

#[tokio::test]
async fn a_team_somebody_was_in_before_is_left_alone_whatever_github_did_not_find() {
    for hidden in ["/memberships/", "/user/", "/members", "/orgs/"] {
        let world = World::new().await;
        world.sandbox.add_to_team("docs", "alice").unwrap();
        hide(&world, hidden);
        world.alice().asks("docs", DOCS).await;
        world.wait(TimeDelta::minutes(3)).await;
        world.sandbox.disturb(None);
        world.wait(TimeDelta::minutes(90)).await;
        assert!(world.sandbox.is_in_team("docs", "alice"), "{hidden}: she was in the team before");
        assert!(world.grant_files().await.is_empty());
    }
}

#[tokio::test]
async fn nobody_is_put_into_a_team_before_it_is_certain_that_they_were_not_in_it() {
    let world = World::new().await;
    world.sandbox.add_to_team("docs", "alice").unwrap();
    let hidden = Arc::new(AtomicBool::new(true));
    let hides = hidden.clone();
    world.sandbox.disturb(Some(Arc::new(move |method: &Method, path: &str| {
        let asked = *method == Method::GET && path.contains("/teams/docs/");
        (asked && hides.load(Ordering::Relaxed)).then_some(Disturbance::Refuse(404))
    })));
    let request = world.alice().asks("docs", DOCS).await;
    assert!(world.is_merged(request).await, "nobody has to approve this role");
    world.wait(TimeDelta::minutes(3)).await;
    assert!(!world.comments(request).await.iter().any(|said| said.contains("has access")), "nothing was given");
    hidden.store(false, Ordering::Relaxed);
    world.wait(TimeDelta::minutes(90)).await;
    assert!(world.sandbox.is_in_team("docs", "alice"), "she was in the team before");
}

#[tokio::test]
async fn what_github_does_not_find_for_a_moment_takes_no_due_grant_away() {
    for hidden in ["/teams/", "/orgs/acme/members/", "/users/", "/pulls", "/commits/", "/reviews", "/git/", "/"] {
        let world = World::new().await;
        merged_unseen(&world).await;
        hide(&world, hidden);
        world.go_manual(false);
        world.settle().await;
        world.restart().await;
        world.settle().await;
        world.sandbox.disturb(None);
        world.wait(TimeDelta::minutes(3)).await;
        assert!(world.orders.is_member("orders_readonly", "alice"), "{hidden}: it was approved and merged");
        assert_eq!(world.count("refused").await, 0);
    }
}

#[tokio::test]
async fn what_github_does_not_find_for_minutes_is_not_there_also_if_processes_come_and_go() {
    let world = World::new().await;
    let request = merged_unseen(&world).await;
    hide(&world, "/teams/");
    world.go_manual(false);
    world.settle().await;
    for _ in 0..5 {
        world.wait(TimeDelta::minutes(1)).await;
        world.restart().await;
        world.settle().await;
    }
    world.sandbox.disturb(None);
    world.wait(TimeDelta::minutes(10)).await;
    assert!(!world.orders.is_member("orders_readonly", "alice"));
    assert_eq!(world.count("refused").await, 1);
    assert!(world.grant_files().await.is_empty());
    let comments = world.comments(request).await;
    assert!(comments.iter().any(|said| said.contains("was merged although")), "{comments:#?}");
}

#[tokio::test]
async fn a_planned_grant_found_late_has_the_same_patience() {
    let world = World::new().await;
    let planned =
        "role: orders-db-reader\nduration: 2h\nreason: Month end\nticket: INC-8\nstart: 2026-11-30T11:00:00Z\n";
    let request = world.alice().asks("planned", planned).await;
    world.dave().approves(request).await;
    world.go_manual(true);
    world.advance(TimeDelta::minutes(75));
    hide(&world, "/teams/");
    world.go_manual(false);
    world.settle().await;
    world.sandbox.disturb(None);
    world.wait(TimeDelta::minutes(3)).await;
    assert!(world.orders.is_member("orders_readonly", "alice"), "its start was due for a quarter of an hour");
}

#[tokio::test]
async fn what_is_doubtful_is_doubted_together() {
    let world = World::new().await;
    merged_unseen(&world).await;
    let other = world.bob().asks("bob-orders", ORDERS).await;
    world.dave().approves(other).await;
    assert!(world.olga().merges(other).await.is_success());
    hide(&world, "/teams/");
    world.go_manual(false);
    world.settle().await;
    assert_eq!(world.count("refused").await, 0);
    world.wait(TimeDelta::minutes(4)).await;
    assert_eq!(world.count("refused").await, 2, "neither waits for the other");
}
