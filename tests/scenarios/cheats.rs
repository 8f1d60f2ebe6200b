//! Ways to be let in, or to stay, that do not work.

use chrono::TimeDelta;
use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::life::ORDERS;
use crate::support::world::World;

/// People merge; some past the check.
async fn with_manual_merges() -> World {
    World::with_policy(|files| {
        let text = String::from_utf8(files["policies/settings.yaml"].clone()).unwrap();
        files.insert("policies/settings.yaml".to_owned(), text.replace("merge: auto", "merge: manual").into_bytes());
    })
    .await
}

/// A world in which carol may ask for others.
async fn with_proxies() -> World {
    World::with_policy(|files| {
        for text in files.values_mut() {
            let role = "  orders-db-reader:\n";
            let changed = String::from_utf8(text.clone()).unwrap();
            *text = changed.replace(role, &format!("{role}    may_request_for: [user:carol]\n")).into_bytes();
        }
    })
    .await
}

fn has(world: &World, login: &str) -> bool {
    world.orders.is_member("orders_readonly", login)
}

#[tokio::test]
async fn neither_who_asks_for_somebody_nor_who_gets_it_approves_it() {
    let world = with_proxies().await;
    // Dave gets it, and both could approve it for others.
    let request = ORDERS.replace("role:", "subject: dave\nrole:");
    let asked = world.carol().asks("dave-orders", &request).await;
    world.dave().approves(asked).await;
    assert!(!world.is_merged(asked).await);
    let comment = world.comments(asked).await.remove(0);
    assert!(comment.contains("`dave` does not count: `dave` would get the access"), "{comment}");
}

#[tokio::test]
async fn a_login_in_other_letters_is_the_same_person() {
    let world = with_proxies().await;
    let asked = world.dave().asks("dave-orders", &ORDERS.replace("role:", "subject: DAVE\nrole:")).await;
    assert_eq!(world.dave().reviews(asked, "APPROVE").await, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(!world.is_merged(asked).await);
    let by_carol = world.carol().asks("carol-for-dave", &ORDERS.replace("role:", "subject: Dave\nrole:")).await;
    world.dave().approves(by_carol).await;
    assert!(!world.is_merged(by_carol).await, "it is his, however it is written");
}

#[tokio::test]
async fn an_approval_does_not_survive_a_force_push_even_back_to_what_was_approved() {
    let world = with_manual_merges().await;
    let request = world.alice().asks("alice-orders", ORDERS).await;
    let approved = world.get(&format!("/pulls/{request}")).await["head"]["sha"].clone();
    world.dave().approves(request).await;
    let reference = "/repos/acme/access/git/refs/heads/alice-orders";
    // Something else in between, unseen by Daypass, merged by somebody who can.
    world.go_manual(true);
    world.alice().changes("alice-orders", &ORDERS.replace("2h", "4h")).await;
    world.go_manual(false);
    world.settle().await;
    assert_ne!(world.check(request).await.conclusion, "success");
    let (status, _) = world.call("alice", Method::PATCH, reference, json!({ "sha": approved, "force": true })).await;
    assert_eq!(status, StatusCode::OK);
    world.settle().await;
    assert_ne!(world.check(request).await.conclusion, "success", "the review was returned, and does not come back");
    assert!(!has(&world, "alice"));
}

#[tokio::test]
async fn a_reviewer_who_left_before_the_merge_approved_nothing() {
    let world = with_manual_merges().await;
    let request = world.alice().asks("alice-orders", ORDERS).await;
    world.dave().approves(request).await;
    assert_eq!(world.check(request).await.conclusion, "success");
    world.go_manual(true);
    world.sandbox.remove_from_team("data-platform", "dave").unwrap();
    assert_eq!(world.alice().merges(request).await, StatusCode::OK, "the check was still green");
    world.go_manual(false);
    world.wait(TimeDelta::minutes(5)).await;
    assert!(!has(&world, "alice"));
    assert!(world.grant_files().await.is_empty(), "it is taken back");
    assert!(world.comments(request).await.iter().any(|said| said.contains("gives nobody access")));
}

#[tokio::test]
async fn a_review_dismissed_between_the_check_and_the_merge_approved_nothing() {
    let world = with_manual_merges().await;
    let request = world.alice().asks("alice-orders", ORDERS).await;
    world.dave().approves(request).await;
    world.go_manual(true);
    let reviews = world.get(&format!("/pulls/{request}/reviews")).await;
    let path = format!("/repos/acme/access/pulls/{request}/reviews/{}/dismissals", reviews[0]["id"]);
    assert_eq!(world.call("carol", Method::PUT, &path, json!({ "message": "wait" })).await.0, StatusCode::OK);
    assert_eq!(world.alice().merges(request).await, StatusCode::OK, "the check was still green");
    world.go_manual(false);
    world.wait(TimeDelta::minutes(5)).await;
    assert!(!has(&world, "alice"));
    assert!(world.grant_files().await.is_empty());
}

#[tokio::test]
async fn whoever_takes_over_a_login_inherits_neither_approvals_nor_grants() {
    let world = with_manual_merges().await;
    let request = world.alice().asks("alice-orders", ORDERS).await;
    world.carol().approves(request).await;
    assert_eq!(world.check(request).await.conclusion, "success");
    // Carol is somebody else now, and mallory is carol.
    world.sandbox.rename_user("carol", "caroline").unwrap();
    world.sandbox.add_user("mallory").unwrap();
    world.sandbox.add_member("mallory", false).unwrap();
    world.sandbox.rename_user("mallory", "carol").unwrap();
    world.engine().begin().await.unwrap();
    world.settle().await;
    assert_ne!(world.check(request).await.conclusion, "success", "what she said is not what `user:carol` says now");

    // Alice's grant stays hers, by her number, whoever is called alice.
    world.dave().approves(request).await;
    assert_eq!(world.alice().merges(request).await, StatusCode::OK);
    assert!(has(&world, "alice"));
    world.sandbox.rename_user("alice", "alice-two").unwrap();
    world.sandbox.add_user("eve").unwrap();
    world.sandbox.add_member("eve", false).unwrap();
    world.sandbox.rename_user("eve", "alice").unwrap();
    let eve = world.sandbox.user_token("alice").unwrap();
    let path = format!("/repos/acme/access/issues/{request}/comments");
    let (status, _) = world.call_with(&eve, Method::POST, &path, json!({ "body": "/daypass extend 1h" })).await;
    assert_eq!(status, StatusCode::CREATED);
    world.settle().await;
    assert!(world.open_pulls().await.is_empty(), "it is not hers to extend");
    world.wait(TimeDelta::minutes(125)).await;
    assert!(!has(&world, "alice"), "and it ends for whom it was given to");
}

#[tokio::test]
async fn a_policy_change_does_not_ride_along_with_a_request() {
    let world = World::new().await;
    let policy = world.get("/contents/policies/settings.yaml").await;
    assert!(policy["sha"].is_string());
    let files = [
        ("grants/alice-orders.yaml".to_owned(), ORDERS.as_bytes().to_vec()),
        ("policies/extra.yaml".to_owned(), b"groups: { friends: [user:alice] }\n".to_vec()),
    ];
    let request = world.alice().asks_with("both", &files).await;
    world.dave().approves(request).await;
    world.erin().approves(request).await;
    assert!(!world.is_merged(request).await);
    assert_eq!(world.check(request).await.conclusion, "failure");
    assert!(world.comments(request).await[0].contains("DP0501"));
    // Somebody who can merges it all the same.
    assert_eq!(world.olga().merges(request).await, StatusCode::OK);
    world.wait(TimeDelta::minutes(5)).await;
    assert!(!has(&world, "alice"));
    assert!(world.grant_files().await.is_empty());
}

#[tokio::test]
async fn changing_the_base_does_not_carry_an_approval_along() {
    let world = World::new().await;
    world.olga().branches("elsewhere").await;
    world.alice().branches("alice-orders").await;
    world.alice().writes("alice-orders", "grants/alice-orders.yaml", ORDERS.as_bytes()).await;
    let body = json!({ "title": "Please", "head": "alice-orders", "base": "elsewhere" });
    let (_, pull) = world.call("alice", Method::POST, "/repos/acme/access/pulls", body).await;
    let request = pull["number"].as_u64().unwrap();
    world.settle().await;
    assert_eq!(world.comments(request).await, Vec::<String>::new(), "Daypass decides about `main` only");
    assert_eq!(world.alice().merges(request).await, StatusCode::OK);
    world.settle().await;
    assert!(!has(&world, "alice"));
}

#[tokio::test]
async fn what_was_committed_by_an_approver_is_not_approved_by_them() {
    let world = World::new().await;
    world.alice().branches("alice-orders").await;
    world.alice().writes("alice-orders", "grants/alice-orders.yaml", ORDERS.as_bytes()).await;
    // Alice writes it, dave commits it.
    let head = world.get("/git/ref/heads/alice-orders").await["object"]["sha"].clone();
    let commit = world.get(&format!("/git/commits/{}", head.as_str().unwrap())).await;
    let body = json!({ "message": "Ask again", "tree": commit["tree"]["sha"], "parents": [head],
        "author": { "name": "alice", "email": commit["author"]["email"], "date": "2026-11-30T10:00:00Z" },
        "committer": { "name": "dave", "email": "dave@example.com", "date": "2026-11-30T10:00:00Z" } });
    let (status, made) = world.call("dave", Method::POST, "/repos/acme/access/git/commits", body).await;
    assert_eq!(status, StatusCode::CREATED, "{made}");
    let reference = "/repos/acme/access/git/refs/heads/alice-orders";
    let (status, _) = world.call("dave", Method::PATCH, reference, json!({ "sha": made["sha"] })).await;
    assert_eq!(status, StatusCode::OK);
    let request = world.alice().opens("alice-orders").await;
    world.dave().approves(request).await;
    assert!(!world.is_merged(request).await);
    let (_, commits) =
        world.call("alice", Method::GET, &format!("/repos/acme/access/pulls/{request}/commits"), Value::Null).await;
    assert_eq!(commits[1]["committer"]["login"], "dave", "{commits}");
    world.carol().approves(request).await;
    assert!(world.is_merged(request).await);
}
