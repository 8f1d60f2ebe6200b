//! Things that are down, lost, late or killed. Access ends on time all the same, and nothing happens twice.

use std::sync::Arc;

use chrono::TimeDelta;
use daypass::sandbox::Disturbance;
use http::Method;
use serde_json::Value;

use crate::github::installation_token;
use crate::life::ORDERS;
use crate::support::world::World;

#[tokio::test]
async fn lost_webhooks_cost_at_most_five_minutes() {
    let world = World::new().await;
    world.lose_webhooks(true);
    let request = world.alice().asks("alice-orders", ORDERS).await;
    world.dave().approves(request).await;
    assert!(!world.is_merged(request).await);
    world.wait(TimeDelta::minutes(5)).await;
    assert!(world.is_merged(request).await);
    world.wait(TimeDelta::minutes(1)).await;
    assert!(world.orders.is_member("orders_readonly", "alice"));
}

#[tokio::test]
async fn github_is_down_and_access_still_ends_on_time() {
    let world = World::new().await;
    let request = world.alice().asks("alice-orders", ORDERS).await;
    world.dave().approves(request).await;
    world.wait(TimeDelta::minutes(60)).await;
    world.sandbox.disturb(Some(Arc::new(|_: &Method, _: &str| Some(Disturbance::Refuse(502)))));
    world.wait(TimeDelta::minutes(60)).await;
    assert!(!world.orders.is_member("orders_readonly", "alice"));
    world.sandbox.disturb(None);
    world.wait(TimeDelta::minutes(2)).await;
    assert!(world.grant_files().await.is_empty(), "the revert is merged once GitHub is back");
    assert_eq!(world.count("ended").await, 1);
}

#[tokio::test]
async fn a_database_that_is_down_is_retried_and_told_and_holds_up_nobody_else() {
    let world = World::new().await;
    world.orders.set_down(true);
    let request = world.alice().asks("alice-orders", ORDERS).await;
    world.dave().approves(request).await;
    let docs = world.alice().asks("docs", "role: docs-preview\nduration: 8h\nreason: Proofreading\n").await;
    assert!(world.is_merged(docs).await);
    assert!(world.sandbox.is_in_team("docs", "alice"), "another target is not affected");
    let said = world.comments(request).await;
    assert!(said.last().unwrap().contains("could not be applied yet"), "{said:?}");
    world.wait(TimeDelta::minutes(3)).await;
    world.orders.set_down(false);
    world.wait(TimeDelta::minutes(2)).await;
    assert!(world.orders.is_member("orders_readonly", "alice"));

    world.orders.set_down(true);
    world.wait(TimeDelta::minutes(120)).await;
    let said = world.comments(request).await;
    assert!(said.last().unwrap().contains("could **not be removed yet**"), "{said:?}");
    assert_eq!(
        world.grant_files().await.first().map(String::as_str),
        Some("grants/alice-orders.yaml"),
        "not gone yet, so not reverted"
    );
    world.orders.set_down(false);
    world.wait(TimeDelta::minutes(2)).await;
    assert!(!world.orders.is_member("orders_readonly", "alice"));
    assert_eq!(world.orders.calls().len(), 2);
}

#[tokio::test]
async fn half_done_calls_are_found_and_not_repeated() {
    let world = World::new().await;
    let request = world.alice().asks("alice-orders", ORDERS).await;
    // Every change the app makes happens, but answers 500 the first time.
    let seen = std::sync::Mutex::new(std::collections::BTreeSet::new());
    world.sandbox.disturb(Some(Arc::new(move |method: &Method, path: &str| {
        let app = *method != Method::GET && path.starts_with("/repos/") && !path.ends_with("/reviews");
        (app && seen.lock().unwrap().insert(format!("{method} {path}"))).then_some(Disturbance::Pretend(500))
    })));
    world.dave().approves(request).await;
    world.wait(TimeDelta::minutes(125)).await;
    assert!(world.grant_files().await.is_empty());
    assert_eq!(world.orders.calls().len(), 2);
    assert_eq!(world.count("granted").await, 1);
    let reverts = world.get("/pulls?state=all").await;
    let reverts =
        reverts.as_array().unwrap().iter().filter(|pull| pull["title"].as_str().unwrap().starts_with("Revert"));
    assert_eq!(reverts.count(), 1);
    let said = world.comments(request).await;
    assert_eq!(said.iter().filter(|text| text.contains("🟢")).count(), 1, "{said:#?}");
}

#[tokio::test]
async fn an_approved_request_that_cannot_be_merged_is_told_once_and_makes_no_noise() {
    let world = World::new().await;
    // Two requests for one file: the second cannot be merged after the first.
    let first = world.alice().asks_with("first", &[("grants/one.yaml".to_owned(), ORDERS.as_bytes().to_vec())]).await;
    let other = ORDERS.replace("2h", "1h");
    let second = world.bob().asks_with("second", &[("grants/one.yaml".to_owned(), other.into_bytes())]).await;
    world.dave().approves(first).await;
    world.dave().approves(second).await;
    world.wait(TimeDelta::minutes(10)).await;
    assert!(!world.is_merged(second).await);
    let said = world.comments(second).await;
    assert_eq!(said.iter().filter(|text| text.contains("Not merged yet")).count(), 1, "{said:#?}");
    let before = world.sandbox.take_deliveries().len();
    world.wait(TimeDelta::minutes(5)).await;
    assert_eq!((before, world.sandbox.take_deliveries().len()), (0, 0), "nothing is written that was written before");
}

#[tokio::test]
async fn the_secondary_limit_is_waited_out() {
    let world = World::new().await;
    world.sandbox.disturb(Some(Arc::new(|method: &Method, path: &str| {
        (*method == Method::POST && path.ends_with("/check-runs")).then_some(Disturbance::RateLimit(90))
    })));
    let request = world.alice().asks("alice-orders", ORDERS).await;
    world.sandbox.disturb(None);
    world.wait(TimeDelta::seconds(60)).await;
    let pull = world.get(&format!("/pulls/{request}")).await;
    let runs = world.get(&format!("/commits/{}/check-runs", pull["head"]["sha"].as_str().unwrap())).await;
    assert_eq!(runs["total_count"], 0, "Retry-After is kept");
    world.wait(TimeDelta::seconds(60)).await;
    assert!(world.check(request).await.title.contains("waiting"));
}

#[tokio::test]
async fn the_process_dies_after_every_single_step_and_everything_happens_once() {
    let world = World::new().await;
    let request = world.alice().asks("alice-orders", ORDERS).await;
    world.lose_webhooks(true);
    world.dave().approves(request).await;
    for _ in 0..130 {
        world.restart().await;
        while world.engine().step().await.unwrap() {
            world.restart().await;
            // A restart asks for a look at everything: take the work one by one, but not for ever.
            for _ in 0..40 {
                if !world.engine().step().await.unwrap() {
                    break;
                }
            }
        }
        world.advance(TimeDelta::minutes(1));
    }
    assert!(world.is_merged(request).await);
    assert!(world.grant_files().await.is_empty());
    assert_eq!(world.orders.calls(), ["grant orders_readonly to alice", "revoke orders_readonly from alice"]);
    assert_eq!((world.count("granted").await, world.count("ended").await), (1, 1));
}

#[tokio::test]
async fn a_lost_database_is_rebuilt_from_git_and_the_grant_still_ends() {
    let world = World::new().await;
    let request = world.alice().asks("alice-orders", ORDERS).await;
    world.dave().approves(request).await;
    world.wait(TimeDelta::minutes(30)).await;
    world.lose_the_database().await;
    world.settle().await;
    assert_eq!(world.grant_files().await, ["grants/alice-orders.yaml"]);
    world.wait(TimeDelta::minutes(91)).await;
    assert!(world.grant_files().await.is_empty());
    assert!(
        !world.orders.is_member("orders_readonly", "alice"),
        "what an earlier database gave is not taken for standing"
    );
    let said = world.comments(request).await;
    assert_eq!(said.iter().filter(|text| text.contains("🟢")).count(), 1, "nothing is said twice: {said:#?}");
}

#[tokio::test]
async fn a_database_lost_until_after_the_end_still_takes_access_away() {
    let world = World::new().await;
    let request = world.alice().asks("alice-orders", ORDERS).await;
    world.dave().approves(request).await;
    world.advance(TimeDelta::hours(5));
    world.lose_the_database().await;
    world.settle().await;
    assert!(!world.orders.is_member("orders_readonly", "alice"));
    assert!(world.grant_files().await.is_empty());
}

#[tokio::test]
async fn an_edited_comment_does_not_turn_granted_access_into_standing_access() {
    let world = World::new().await;
    let request = world.alice().asks("alice-orders", ORDERS).await;
    world.dave().approves(request).await;
    let comments = world.get(&format!("/issues/{request}/comments")).await;
    let applied = comments.as_array().unwrap().iter().find(|one| one["body"].as_str().unwrap().contains("🟢")).unwrap();
    let forged = applied["body"]
        .as_str()
        .unwrap()
        .replace(": alice is a member of role orders\\_readonly", ": was there before and is left alone");
    assert_ne!(applied["body"], forged.as_str());
    world.advance(TimeDelta::minutes(1));
    let path = format!("/repos/acme/access/issues/comments/{}", applied["id"]);
    let (status, _) = world.call("olga", Method::PATCH, &path, serde_json::json!({ "body": forged })).await;
    assert!(status.is_success());
    world.lose_the_database().await;
    world.wait(TimeDelta::minutes(121)).await;
    assert!(!world.orders.is_member("orders_readonly", "alice"));
}

#[tokio::test]
async fn access_from_before_is_left_alone_even_if_the_database_is_lost() {
    let world = World::new().await;
    world.orders.add("orders_readonly", "alice");
    let request = world.alice().asks("alice-orders", ORDERS).await;
    world.dave().approves(request).await;
    world.lose_the_database().await;
    world.wait(TimeDelta::minutes(121)).await;
    assert!(world.orders.is_member("orders_readonly", "alice"));
    assert!(world.grant_files().await.is_empty());
}

/// What became of every attempt to deliver a webhook so far, by GitHub's log, newest first.
async fn attempts(world: &World) -> Vec<(String, u64)> {
    let log =
        world.call_with(&world.app_token(), Method::GET, "/app/hook/deliveries?per_page=100", Value::Null).await.1;
    let read = |one: &Value| (one["guid"].as_str().unwrap().to_owned(), one["status_code"].as_u64().unwrap());
    log.as_array().unwrap().iter().map(read).collect()
}

#[tokio::test]
async fn webhooks_that_went_astray_are_asked_for_again() {
    let world = World::new().await;
    world.lose_webhooks(true);
    let request = world.alice().asks("alice-orders", ORDERS).await;
    let lost: Vec<String> =
        attempts(&world).await.into_iter().filter(|(_, code)| *code == 0).map(|(id, _)| id).collect();
    assert!(!lost.is_empty());
    world.lose_webhooks(false);
    world.wait(TimeDelta::minutes(5)).await;
    let arrived: Vec<String> =
        attempts(&world).await.into_iter().filter(|(_, code)| *code == 202).map(|(id, _)| id).collect();
    assert!(lost.iter().all(|id| arrived.contains(id)), "each of them arrived after all");
    assert!(!world.comments(request).await.is_empty(), "and was looked at");
    let before = attempts(&world).await.len();
    world.wait(TimeDelta::minutes(15)).await;
    let log = attempts(&world).await;
    let doubled = lost.iter().filter(|id| log.iter().filter(|(other, code)| other == *id && *code == 202).count() > 1);
    assert_eq!((doubled.count(), log.len() >= before), (0, true), "and none is asked for twice");
}

#[tokio::test]
async fn after_a_limit_nothing_is_asked_before_the_time_github_named() {
    let world = World::new().await;
    world.go_manual(true);
    let request = world.alice().asks("alice-orders", ORDERS).await;
    world.go_manual(false);
    // The first that asks is told to wait.
    let asked = std::sync::atomic::AtomicBool::new(false);
    world.sandbox.disturb(Some(Arc::new(move |_: &Method, path: &str| {
        let of_installation = path.starts_with("/repos/");
        let first = of_installation && !asked.swap(true, std::sync::atomic::Ordering::Relaxed);
        first.then_some(Disturbance::RateLimit(300))
    })));
    world.settle().await;
    world.sandbox.disturb(None);
    let before = world.usage().calls();
    world.dave().approves(request).await;
    world.wait(TimeDelta::minutes(4)).await;
    assert_eq!(world.usage().calls(), before);
    assert!(!world.is_merged(request).await);
    world.wait(TimeDelta::minutes(3)).await;
    assert!(world.is_merged(request).await, "afterwards everything goes on");
}

/// What the whole life of a request may cost of what GitHub allows an hour: asked, judged, approved, merged, applied, revoked,
/// reverted, its comments and buttons looked after, and written to the ledger in two or three batches of four calls.
const CALLS_OF_A_LIFE: u64 = 88;

#[tokio::test]
async fn the_whole_life_of_a_request_costs_few_calls() {
    let world = World::new().await;
    world.wait(TimeDelta::minutes(10)).await;
    let start = world.usage();
    world.wait(TimeDelta::minutes(130)).await;
    let idle = world.usage();
    let request = world.alice().asks("alice-orders", ORDERS).await;
    world.dave().approves(request).await;
    world.wait(TimeDelta::minutes(130)).await;
    assert!(world.grant_files().await.is_empty(), "it lived and is over");
    let life = world.usage();
    let (life, idle) = (life.since(&idle), idle.since(&start));
    println!("130 minutes in which nothing happens cost {} of {} calls;", idle.counted(), idle.calls());
    println!("with a life in them {} of {}:", life.counted(), life.calls());
    for (asked, times) in life.iter() {
        println!("{times:>5} × {} {} → {}", asked.method, asked.endpoint, asked.status);
    }
    assert!(life.counted() - idle.counted() <= CALLS_OF_A_LIFE, "{}", life.counted() - idle.counted());
}

#[tokio::test]
async fn a_person_github_does_not_find_for_a_while_is_not_taken_for_gone() {
    let world = World::new().await;
    let docs = world.alice().asks("docs", "role: docs-preview\nduration: 1h\nreason: Proofreading\n").await;
    assert!(world.is_merged(docs).await && world.sandbox.is_in_team("docs", "alice"));
    world.wait(TimeDelta::minutes(59)).await;
    // Neither the person, nor the membership, nor the installation.
    for hidden in ["/user/", "/memberships/", "/access_tokens"] {
        world.sandbox.disturb(Some(Arc::new(move |_: &Method, path: &str| {
            path.contains(hidden).then_some(Disturbance::Refuse(404))
        })));
        // With the next process, which has no token of the installation yet.
        world.restart().await;
        world.wait(TimeDelta::minutes(5)).await;
        assert!(world.sandbox.is_in_team("docs", "alice"), "GitHub did nothing");
        assert_eq!(world.count("removed").await, 0, "and nobody claims it did: {hidden}");
    }
    world.sandbox.disturb(None);
    world.wait(TimeDelta::minutes(2)).await;
    assert!(!world.sandbox.is_in_team("docs", "alice"));
    assert_eq!(world.count("removed").await, 1);
}

#[tokio::test]
async fn a_target_that_is_so_slow_to_look_that_time_is_up_is_not_told_to_give_access() {
    let world = Arc::new(World::new().await);
    let (slow, asked) = (Arc::downgrade(&world), std::sync::atomic::AtomicBool::new(false));
    world.orders.fail(Arc::new(move || {
        if !asked.swap(true, std::sync::atomic::Ordering::Relaxed) {
            slow.upgrade().unwrap().advance(TimeDelta::minutes(121));
        }
        None
    }));
    let request = world.alice().asks("alice-orders", ORDERS).await;
    world.dave().approves(request).await;
    world.wait(TimeDelta::minutes(6)).await;
    let calls = world.orders.calls();
    assert!(!calls.iter().any(|call| call.starts_with("grant")), "{calls:?}");
    assert!(world.grant_files().await.is_empty());
}

#[tokio::test]
async fn a_new_database_that_has_read_half_of_the_history_takes_nothing_away_that_the_rest_gives() {
    let world = World::new().await;
    let first = world.alice().asks("first", &ORDERS.replace("2h", "1h")).await;
    world.dave().approves(first).await;
    world.wait(TimeDelta::minutes(5)).await;
    let second = world.alice().asks("second", ORDERS).await;
    world.dave().approves(second).await;
    world.wait(TimeDelta::minutes(60)).await;
    assert!(world.orders.is_member("orders_readonly", "alice"), "by the second");
    // Its files and reviews: that it exists is known before anything is read.
    let hidden = format!("/pulls/{second}/");
    world.sandbox.disturb(Some(Arc::new(move |_: &Method, path: &str| {
        path.contains(&hidden).then_some(Disturbance::Refuse(503))
    })));
    world.lose_the_database().await;
    world.settle().await;
    world.sandbox.disturb(None);
    world.wait(TimeDelta::minutes(2)).await;
    assert_eq!(world.orders.calls().iter().filter(|call| call.starts_with("revoke")).count(), 0, "not for a moment");
    world.wait(TimeDelta::minutes(70)).await;
    assert!(!world.orders.is_member("orders_readonly", "alice"));
}

#[tokio::test]
async fn access_by_a_request_that_left_history_ends_even_if_the_database_is_lost_as_well() {
    let world = World::new().await;
    let before = world.get("/git/ref/heads/main").await["object"]["sha"].clone();
    let request = world.alice().asks("alice-orders", ORDERS).await;
    world.dave().approves(request).await;
    assert!(world.orders.is_member("orders_readonly", "alice"));
    world.go_manual(true);
    let back = serde_json::json!({ "sha": before, "force": true });
    world.call("olga", Method::PATCH, "/repos/acme/access/git/refs/heads/main", back).await;
    world.go_manual(false);
    world.lose_the_database().await;
    world.settle().await;
    assert!(!world.orders.is_member("orders_readonly", "alice"), "nothing gives it any more");
    world.wait(TimeDelta::minutes(10)).await;
    assert_eq!(world.orders.calls(), ["grant orders_readonly to alice", "revoke orders_readonly from alice"]);
}

#[tokio::test]
async fn webhooks_lost_by_the_hundred_hours_ago_are_all_asked_for() {
    let world = World::new().await;
    world.go_manual(true);
    let request = world.alice().asks("alice-orders", ORDERS).await;
    let path = format!("/repos/acme/access/issues/{request}/comments");
    for number in 0..700 {
        let body = serde_json::json!({ "body": number.to_string() });
        assert!(world.call("bob", Method::POST, &path, body).await.0.is_success());
    }
    let lost = world.sandbox.take_deliveries();
    lost.iter().for_each(|delivery| world.sandbox.delivered(delivery, 0));
    world.advance(TimeDelta::hours(2));
    world.go_manual(false);
    world.restart().await;
    world.settle().await;
    let mut missing = 0;
    for delivery in &lost {
        missing += usize::from(!world.engine().store().knows_delivery(&delivery.guid).await.unwrap());
    }
    assert_eq!((lost.len() > 700, missing), (true, 0));
}

#[tokio::test]
async fn the_last_tenth_of_what_github_allows_is_kept_for_those_who_wait() {
    let world = World::new().await;
    let first = world.alice().asks("alice-orders", &ORDERS.replace("2h", "30m")).await;
    world.dave().approves(first).await;
    world.sandbox.limit_requests(Some(1_000));
    let token = installation_token(&world).await;
    for _ in 0..920 {
        world.headers_with(&token, "/repos/acme/access").await;
    }
    let looks = async |number| world.get(&format!("/issues/{number}/comments")).await.as_array().unwrap().len();
    world.bob().branches("draft").await;
    world.bob().writes("draft", "grants/draft.yaml", ORDERS.as_bytes()).await;
    let body = serde_json::json!({ "title": "Not yet", "head": "draft", "base": "main", "draft": true });
    let (_, draft) = world.call("bob", Method::POST, "/repos/acme/access/pulls", body).await;
    world.settle().await;
    let draft = draft["number"].as_u64().unwrap();
    let other = world.bob().asks("bob-orders", &ORDERS.replace("2h", "1h")).await;
    assert_eq!((looks(draft).await, looks(other).await), (0, 1), "nobody waits for a draft");
    world.dave().approves(other).await;
    assert!(world.orders.is_member("orders_readonly", "bob"), "somebody waits for this");
    world.wait(TimeDelta::minutes(40)).await;
    assert!(!world.orders.is_member("orders_readonly", "alice"));
    assert!(world.comments(first).await.iter().any(|said| said.contains("⚫")), "and is told");
    assert_eq!(world.grant_files().await.len(), 2, "the reverts wait");
    world.wait(TimeDelta::minutes(25)).await;
    assert_eq!(looks(draft).await, 1);
    assert!(world.grant_files().await.is_empty(), "both are over");
}
