//! Requests that wait: approvals that go stale, requests nobody approves, requests that are closed and opened again.

use chrono::TimeDelta;
use serde_json::{Value, json};

use crate::life::ORDERS;
use crate::support::world::World;

async fn manual() -> World {
    World::with_policy(|files| {
        let text = String::from_utf8(files["policies/settings.yaml"].clone()).unwrap();
        files.insert("policies/settings.yaml".to_owned(), text.replace("merge: auto", "merge: manual").into_bytes());
    })
    .await
}

async fn review(world: &World, number: u64) -> Value {
    world.get(&format!("/pulls/{number}/reviews")).await[0]["state"].clone()
}

async fn asked(world: &World, number: u64) -> Vec<String> {
    let asked = world.get(&format!("/pulls/{number}/requested_reviewers")).await;
    asked["users"].as_array().unwrap().iter().map(|user| user["login"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_push_makes_an_approval_stale_and_everybody_is_told() {
    let world = manual().await;
    let request = world.alice().asks("alice-orders", ORDERS).await;
    world.dave().approves(request).await;
    world.bob().approves(request).await;
    assert_eq!(asked(&world, request).await, ["carol"]);
    let old = world.get(&format!("/pulls/{request}")).await["head"]["sha"].as_str().unwrap().to_owned();
    world.alice().changes("alice-orders", &ORDERS.replace("Checkouts hang", "Checkouts are slow")).await;
    let said = world.last_comment(request).await;
    insta::assert_snapshot!(said.replace(&old[..7], "0123456"), @r"
    🔁 The approval of `dave` no longer counts: it was given for `0123456`, before the last push: what would be merged is not what they read. Daypass asks them to review it again; only a new approval counts.
    ");
    assert_eq!(review(&world, request).await, "DISMISSED");
    assert_eq!(asked(&world, request).await, ["carol", "dave"]);
    let reviews = world.get(&format!("/pulls/{request}/reviews")).await;
    assert_eq!(reviews[1]["state"], "APPROVED", "bob's never counted; nobody is bothered about it");
    let before = world.comments(request).await.len();
    world.wait(TimeDelta::minutes(12)).await;
    assert_eq!(world.comments(request).await.len(), before, "it is told once");
    world.dave().approves(request).await;
    assert_eq!(world.check(request).await.conclusion, "success");
}

#[tokio::test]
async fn a_request_nobody_approves_is_closed_in_the_end() {
    let world = World::with_policy(|files| {
        let text = String::from_utf8(files["policies/settings.yaml"].clone()).unwrap();
        files.insert(
            "policies/settings.yaml".to_owned(),
            text.replace("pending_timeout: 7d", "pending_timeout: 3h").into_bytes(),
        );
    })
    .await;
    let request = world.alice().asks("alice-orders", ORDERS).await;
    world.wait(TimeDelta::minutes(100)).await;
    world.restart().await;
    world.wait(TimeDelta::minutes(79)).await;
    assert_eq!(world.get(&format!("/pulls/{request}")).await["state"], "open");
    world.wait(TimeDelta::minutes(1)).await;
    assert_eq!(world.get(&format!("/pulls/{request}")).await["state"], "closed");
    assert!(world.last_comment(request).await.contains("Nobody approved this within 3h"));
    assert_eq!((world.count("rejected").await, world.count("withdrawn").await), (1, 0));
    world.alice().reopens(request).await;
    world.wait(TimeDelta::minutes(179)).await;
    assert_eq!(world.get(&format!("/pulls/{request}")).await["state"], "open", "it has its whole time again");
    world.dave().approves(request).await;
    assert!(world.is_merged(request).await);
}

#[tokio::test]
async fn alice_withdraws_it_by_closing_it() {
    let world = World::new().await;
    let request = world.alice().asks("alice-orders", ORDERS).await;
    world.alice().closes(request).await;
    let withdrawn = world.record("withdrawn").await;
    assert_eq!((withdrawn.len(), &withdrawn[0]["by"]["login"]), (1, &json!("alice")));
}

#[tokio::test]
async fn closing_and_reopening_loses_the_approvals() {
    let world = manual().await;
    let request = world.alice().asks("alice-orders", ORDERS).await;
    world.dave().approves(request).await;
    assert_eq!(world.check(request).await.conclusion, "success");
    world.advance(TimeDelta::seconds(30));
    world.alice().closes(request).await;
    world.advance(TimeDelta::seconds(30));
    world.alice().reopens(request).await;
    assert_ne!(world.check(request).await.conclusion, "success");
    assert_eq!(review(&world, request).await, "DISMISSED");
    assert!(world.last_comment(request).await.contains("before this pull request was closed and reopened"));
    world.advance(TimeDelta::seconds(30));
    world.dave().approves(request).await;
    assert_eq!(world.check(request).await.conclusion, "success");
}

#[tokio::test]
async fn what_was_approved_before_a_reopening_gives_nothing_even_if_it_is_merged_past_the_check() {
    let world = manual().await;
    let request = world.alice().asks("alice-orders", ORDERS).await;
    world.dave().approves(request).await;
    // All at once, before Daypass looks.
    world.go_manual(true);
    for (closes, wait) in [(true, 30), (false, 30)] {
        world.advance(TimeDelta::seconds(wait));
        if closes { world.alice().closes(request).await } else { world.alice().reopens(request).await }
    }
    world.olga().merges(request).await;
    world.go_manual(false);
    world.wait(TimeDelta::minutes(6)).await;
    assert!(world.orders.calls().is_empty(), "{:?}", world.orders.calls());
    assert!(world.grant_files().await.is_empty());
}

#[tokio::test]
async fn near_its_end_the_owner_is_told_how_long_it_lasts_and_how_to_extend_it() {
    let world = World::new().await;
    let request = crate::commands::alice_has_the_orders(&world).await;
    world.wait(TimeDelta::minutes(110)).await;
    insta::assert_snapshot!(world.last_comment(request).await, @r"
    ⏳ @alice: access to role `orders-db-reader` ends in 10m, at 2026-11-30 12:00 UTC. #2 takes it back; merge it to end access earlier. To keep it longer, comment `/daypass extend 1h` here.
    ");
}
