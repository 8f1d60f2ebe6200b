//! Chains of approvals: parts, escalations, people asked in turn, and what a merge queue is told.

use chrono::TimeDelta;
use http::{Method, StatusCode};

use crate::life::ORDERS;
use crate::support::world::World;

/// A world in which `database-owner` has these stages.
async fn with_stages(stages: &str) -> World {
    let policy = format!("approvals:\n  database-owner:\n    stages:\n{stages}\n");
    World::with_policy(|files| {
        let text = String::from_utf8(files["policies/approvals.yaml"].clone()).unwrap();
        let (before, rest) = text.split_once("approvals:\n  database-owner:\n").unwrap();
        let after = rest.split_once("\n\n").unwrap().1;
        files.insert("policies/approvals.yaml".to_owned(), format!("{before}{policy}\n{after}").into_bytes());
    })
    .await
}

#[tokio::test]
async fn both_owner_and_security_say_yes_in_one_stage() {
    let world =
        with_stages("      - { name: both, all_of: [{ approvers: [group:dba] }, { approvers: [team:security] }] }")
            .await;
    let request = world.alice().asks("alice-orders", ORDERS).await;
    let comment = world.comments(request).await.remove(0);
    assert!(comment.contains("`group:dba`, and `team:security`"), "{comment}");
    world.dave().approves(request).await;
    assert!(!world.is_merged(request).await);
    world.erin().approves(request).await;
    assert!(world.is_merged(request).await);
}

#[tokio::test]
async fn a_stage_nobody_answers_widens_twice_and_says_so_each_time() {
    let world = with_stages(
        "      - name: owner\n        approvers: [user:carol]\n        escalate:\n          \
         - { after: 30m, to: [team:platform-leads] }\n          - { after: 1h, to: [team:security] }",
    )
    .await;
    let request = world.alice().asks("alice-orders", ORDERS).await;
    world.wait(TimeDelta::minutes(29)).await;
    assert_eq!(world.comments(request).await.len(), 1);
    world.wait(TimeDelta::minutes(1)).await;
    let said = world.comments(request).await;
    assert_eq!(said.len(), 2, "{said:#?}");
    assert!(said[1].contains("Stage `owner` still waits") && said[1].contains("`team:platform-leads`"), "{}", said[1]);
    assert!(said[1].contains("widens again at 2026-11-30 11:00 UTC"), "{}", said[1]);
    let asked = world.get(&format!("/pulls/{request}/requested_reviewers")).await;
    assert_eq!(asked["teams"][0]["slug"], "platform-leads", "they are asked for a review too");

    // A restart in between loses nothing and says nothing twice.
    world.restart().await;
    world.wait(TimeDelta::minutes(30)).await;
    let said = world.comments(request).await;
    assert_eq!(said.len(), 3, "{said:#?}");
    assert!(said[2].contains("`team:security`"), "{}", said[2]);
    assert_eq!(world.count("escalated").await, 2);

    world.erin().approves(request).await;
    assert!(world.is_merged(request).await);
    assert!(world.orders.is_member("orders_readonly", "alice"));
}

#[tokio::test]
async fn whoever_may_only_approve_later_has_not_approved_yet() {
    let world = with_stages(
        "      - name: owner\n        approvers: [user:carol]\n        escalate: { after: 30m, to: [team:security] }",
    )
    .await;
    let request = world.alice().asks("alice-orders", ORDERS).await;
    world.erin().approves(request).await;
    assert!(!world.is_merged(request).await);
    world.wait(TimeDelta::minutes(30)).await;
    assert!(world.is_merged(request).await, "what she said counts from then on");
}

#[tokio::test]
async fn one_of_several_is_asked_and_others_only_when_it_widens() {
    let world = with_stages(
        "      - name: owner\n        approvers: [user:carol, user:dave, user:erin]\n        ask: 1\n        \
         escalate: { after: 30m, to: [team:security] }",
    )
    .await;
    let asked = async |request: u64| {
        let asked = world.get(&format!("/pulls/{request}/requested_reviewers")).await;
        assert_eq!(asked["teams"].as_array().unwrap().len(), 0, "people are asked, not teams");
        asked["users"]
            .as_array()
            .unwrap()
            .iter()
            .map(|user| user["login"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    let request = world.alice().asks("alice-orders", ORDERS).await;
    let first = asked(request).await;
    assert_eq!(first.len(), 1);
    world.wait(TimeDelta::minutes(5)).await;
    world.engine().begin().await.unwrap();
    world.settle().await;
    assert_eq!(asked(request).await, first, "nobody else is bothered");
    world.wait(TimeDelta::minutes(25)).await;
    assert_eq!(asked(request).await.len(), 2);
}

#[tokio::test]
async fn on_call_needs_no_approval_and_others_do() {
    let world =
        with_stages("      - { name: owner, approvers: [group:dba], when: \"!('on-call' in subject.teams)\" }").await;
    let waiting = world.bob().asks("bob-orders", ORDERS).await;
    assert!(!world.is_merged(waiting).await);
    let request = world.alice().asks("alice-orders", ORDERS).await;
    assert!(world.is_merged(request).await, "alice is on call");
    assert!(world.orders.is_member("orders_readonly", "alice"));
}

/// People merge, by a queue.
async fn with_queue() -> World {
    World::with_policy(|files| {
        let text = String::from_utf8(files["policies/settings.yaml"].clone()).unwrap();
        files.insert("policies/settings.yaml".to_owned(), text.replace("merge: auto", "merge: manual").into_bytes());
    })
    .await
}

#[tokio::test]
async fn a_merge_queue_gets_its_check_and_what_it_merges_is_given() {
    let world = with_queue().await;
    let first = world.alice().asks("alice-orders", ORDERS).await;
    let second = world.bob().asks("bob-orders", ORDERS).await;
    assert_eq!(world.queues("alice", first).await, StatusCode::UNPROCESSABLE_ENTITY, "nobody approved it");
    world.dave().approves(first).await;
    world.dave().approves(second).await;
    assert_eq!(world.queues("alice", first).await, StatusCode::OK);
    assert_eq!(world.queues("bob", second).await, StatusCode::OK);
    assert!(!world.is_merged(first).await);
    world.runs_the_queue().await;
    assert!(world.is_merged(first).await && world.is_merged(second).await);
    assert!(world.orders.is_member("orders_readonly", "alice"));
    assert!(world.orders.is_member("orders_readonly", "bob"));
}

#[tokio::test]
async fn what_lost_its_approval_on_the_way_does_not_pass_the_queue() {
    let world = with_queue().await;
    let request = world.alice().asks("alice-orders", ORDERS).await;
    world.dave().approves(request).await;
    // Daypass has not heard of it yet when the queue begins.
    world.go_manual(true);
    let reviews = world.get(&format!("/pulls/{request}/reviews")).await;
    let path = format!("/repos/acme/access/pulls/{request}/reviews/{}/dismissals", reviews[0]["id"]);
    let (status, _) = world.call("carol", Method::PUT, &path, serde_json::json!({ "message": "wait" })).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(world.queues("alice", request).await, StatusCode::OK);
    world.go_manual(false);
    world.settle().await;
    world.runs_the_queue().await;
    assert!(!world.is_merged(request).await);
    assert!(!world.orders.is_member("orders_readonly", "alice"));
}

/// A world in which only one person may have `orders-db-reader` at a time.
async fn with_limit() -> World {
    World::with_policy(|files| {
        for text in files.values_mut() {
            let changed = String::from_utf8(text.clone())
                .unwrap()
                .replace("  orders-db-reader:\n", "  orders-db-reader:\n    limit: 1\n");
            *text = changed.into_bytes();
        }
    })
    .await
}

#[tokio::test]
async fn two_race_for_a_role_only_one_may_have() {
    let world = with_limit().await;
    let first = world.alice().asks("alice-orders", ORDERS).await;
    let second = world.bob().asks("bob-orders", ORDERS).await;
    // Both are approved before Daypass looks at either.
    world.go_manual(true);
    world.dave().approves(first).await;
    world.dave().approves(second).await;
    world.go_manual(false);
    world.settle().await;
    let has = |login| world.orders.is_member("orders_readonly", login);
    assert!(has("alice") != has("bob"), "one of them");
    world.wait(TimeDelta::minutes(1)).await;
    let waits = if has("alice") { second } else { first };
    assert!(!world.is_merged(waits).await);
    let comment = world.comments(waits).await.remove(0);
    assert!(comment.contains("is held by 1 at that time, and 1 may have it at once"), "{comment}");
    // And when the first one gives it back, it is the other's.
    world.wait(TimeDelta::minutes(135)).await;
    assert!(world.is_merged(waits).await);
    assert_eq!(world.orders.calls().iter().filter(|call| call.starts_with("grant")).count(), 2);
}

#[tokio::test]
async fn a_merge_past_the_limit_of_a_role_gives_nothing() {
    let world = with_limit().await;
    let first = world.alice().asks("alice-orders", ORDERS).await;
    world.dave().approves(first).await;
    let second = world.bob().asks("bob-orders", ORDERS).await;
    world.dave().approves(second).await;
    assert_eq!(world.olga().merges(second).await, StatusCode::OK, "an administrator can");
    assert!(!world.orders.is_member("orders_readonly", "bob"));
    assert!(world.orders.is_member("orders_readonly", "alice"));
    world.wait(TimeDelta::minutes(5)).await;
    assert_eq!(world.grant_files().await, ["grants/alice-orders.yaml"], "it is taken back");
}

#[tokio::test]
async fn one_pull_request_does_not_hold_a_role_twice_either() {
    let world = with_limit().await;
    let request = |reason: &str| format!("{}# {reason}\n", ORDERS.replace("2h", "1h")).into_bytes();
    let files =
        [("grants/alice-one.yaml".to_owned(), request("one")), ("grants/alice-two.yaml".to_owned(), request("two"))];
    let both = world.alice().asks_with("both", &files).await;
    world.dave().approves(both).await;
    assert!(!world.is_merged(both).await);
    assert!(world.comments(both).await[0].contains("DP0421"));
}

#[tokio::test]
async fn what_was_denied_cools_down_before_it_can_be_asked_for_again() {
    let world = with_stages("      - { name: owner, approvers: [group:dba] }\n    cool_down: 4h").await;
    let request = world.alice().asks("alice-orders", ORDERS).await;
    let path = format!("/repos/acme/access/issues/{request}/comments");
    let body = serde_json::json!({ "body": "/daypass deny use the replica" });
    world.call("dave", Method::POST, &path, body).await;
    world.settle().await;

    let again = world.alice().asks("alice-again", ORDERS).await;
    let comment = world.comments(again).await.remove(0);
    assert!(comment.contains("DP0420") && comment.contains("it can be asked for again at 2026"), "{comment}");
    world.dave().approves(again).await;
    assert!(!world.is_merged(again).await);
    let other = world.bob().asks("bob-orders", ORDERS).await;
    world.dave().approves(other).await;
    assert!(world.is_merged(other).await, "nobody denied it to bob");

    // A lost database forgets nothing: the ledger tells.
    world.wait(TimeDelta::minutes(5)).await;
    world.lose_the_database().await;
    world.settle().await;
    assert!(!world.is_merged(again).await);
    world.wait(TimeDelta::hours(4)).await;
    assert!(world.is_merged(again).await, "it is over");
}

#[tokio::test]
async fn two_plan_the_same_night_for_a_role_only_one_may_have() {
    let world = World::with_policy(|files| {
        for text in files.values_mut() {
            let changed = String::from_utf8(text.clone()).unwrap().replace("merge: auto", "merge: manual");
            *text = changed.replace("  orders-db-reader:\n", "  orders-db-reader:\n    limit: 1\n").into_bytes();
        }
    })
    .await;
    let tonight = format!("{ORDERS}start: 2026-11-30T22:00:00Z\n");
    let first = world.alice().asks("alice-orders", &tonight).await;
    let second = world.bob().asks("bob-orders", &tonight).await;
    world.dave().approves(first).await;
    world.dave().approves(second).await;
    // Both checks are green, and people merge both before Daypass looks again.
    world.go_manual(true);
    assert_eq!(world.alice().merges(first).await, StatusCode::OK);
    assert_eq!(world.bob().merges(second).await, StatusCode::OK);
    world.go_manual(false);
    world.wait(TimeDelta::hours(12) + TimeDelta::minutes(30)).await;
    let has = |login| world.orders.is_member("orders_readonly", login);
    assert!(has("alice") && !has("bob"), "whoever was merged first");
}

#[tokio::test]
async fn a_queue_counts_those_before() {
    let world = World::with_policy(|files| {
        for text in files.values_mut() {
            let changed = String::from_utf8(text.clone()).unwrap().replace("merge: auto", "merge: manual");
            *text = changed.replace("  orders-db-reader:\n", "  orders-db-reader:\n    limit: 1\n").into_bytes();
        }
    })
    .await;
    let first = world.alice().asks("alice-orders", ORDERS).await;
    let second = world.bob().asks("bob-orders", ORDERS).await;
    world.dave().approves(first).await;
    world.dave().approves(second).await;
    assert_eq!(world.queues("alice", first).await, StatusCode::OK);
    assert_eq!(world.queues("bob", second).await, StatusCode::OK);
    world.runs_the_queue().await;
    assert!(world.is_merged(first).await);
    assert!(!world.is_merged(second).await, "the first one has it by then");
}

#[tokio::test]
async fn a_bot_approves_nothing_even_where_everybody_may() {
    let world = with_stages("      - { name: owner, approvers: [everyone] }").await;
    let request = world.alice().asks("alice-orders", ORDERS).await;
    let token = crate::github::installation_token(&world).await;
    let path = format!("/repos/acme/access/pulls/{request}/reviews");
    let body = serde_json::json!({ "event": "APPROVE", "body": "looks good" });
    let (status, answer) = world.call_with(&token, Method::POST, &path, body).await;
    assert!(status.is_success(), "{answer}");
    world.settle().await;
    assert!(!world.is_merged(request).await);
    world.bob().approves(request).await;
    assert!(world.is_merged(request).await);
}
