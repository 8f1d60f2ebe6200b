//! Content of the default branch that no approved pull request brought gives nobody anything.

use axum::body::Body;
use chrono::TimeDelta;
use daypass::sandbox::BranchRule;
use http::{Request, StatusCode};

use crate::life::ORDERS;
use crate::support::world::World;

const FILE: &str = "grants/olga-orders.yaml";

#[tokio::test]
async fn a_direct_push_gives_nothing_is_reported_and_reverted() {
    let world = World::new().await;
    assert_eq!(world.alice().pushes_to_main(FILE, ORDERS).await, StatusCode::CONFLICT, "the branch is protected");
    assert!(world.olga().pushes_to_main(FILE, ORDERS).await.is_success(), "an owner may push past the rule");
    assert!(world.orders.calls().is_empty());
    assert!(world.grant_files().await.is_empty(), "it is taken back");
    let issues = world.get("/issues?state=open").await;
    let title = format!("Revert unverified change of {FILE}");
    assert!(issues.as_array().unwrap().iter().any(|issue| issue["title"] == title.as_str()), "{issues:#}");
    assert_eq!(world.count("refused").await, 1);
    assert!(world.open_pulls().await.is_empty(), "the pull request that took it back is merged");
}

/// Alice's grant has ended; the commit that had brought it.
async fn an_ended_grant(world: &World) -> (u64, String) {
    let request = world.alice().asks("alice-orders", ORDERS).await;
    world.dave().approves(request).await;
    let merge = world.get("/git/ref/heads/main").await["object"]["sha"].as_str().unwrap().to_owned();
    world.alice().branches("done").await;
    world.alice().removes("done", "grants/alice-orders.yaml").await;
    world.alice().opens("done").await;
    assert!(!world.orders.is_member("orders_readonly", "alice"));
    (request, merge)
}

async fn nothing_came_back(world: &World, request: u64) {
    world.settle().await;
    world.wait(TimeDelta::minutes(6)).await;
    assert_eq!(world.orders.calls(), ["grant orders_readonly to alice", "revoke orders_readonly from alice"]);
    assert!(world.grant_files().await.is_empty());
    assert_eq!((world.count("granted").await, world.count("ended").await), (1, 1));
    assert!(world.comments(request).await.last().unwrap().contains("no longer has role"));
}

#[tokio::test]
async fn a_rewritten_history_brings_no_grant_back() {
    let world = World::new().await;
    let (request, merge) = an_ended_grant(&world).await;
    let body = serde_json::json!({ "sha": merge, "force": true });
    let path = "/repos/acme/access/git/refs/heads/main";
    let (status, answer) = world.call("olga", http::Method::PATCH, path, body).await;
    assert!(status.is_success(), "{answer}");
    nothing_came_back(&world, request).await;
    assert_eq!(world.count("history-rewritten").await, 1, "it does not go without a trace");
}

#[tokio::test]
async fn a_history_set_back_to_just_where_it_was_read_hides_nothing() {
    let world = World::new().await;
    world.lose_webhooks(true);
    world.olga().pushes_to_main(FILE, ORDERS).await;
    let pushed = world.get("/git/ref/heads/main").await["object"]["sha"].as_str().unwrap().to_owned();
    world.wait(TimeDelta::minutes(12)).await;
    assert!(world.grant_files().await.is_empty(), "it was taken back");
    assert!(world.engine().store().refusals(&"acme/access".parse().unwrap()).await.unwrap().is_empty());
    // As if Daypass had died before it read what it had merged itself.
    let mut tx = world.engine().store().begin().await.unwrap();
    let so_far = daypass::store::ReadSoFar { head: Some(pushed.clone()), first_until: None };
    tx.set_read_so_far("acme/access", &so_far, world.now()).await.unwrap();
    tx.commit().await.unwrap();
    let body = serde_json::json!({ "sha": pushed, "force": true });
    world.call("olga", http::Method::PATCH, "/repos/acme/access/git/refs/heads/main", body).await;
    assert_eq!(world.grant_files().await, [FILE]);
    world.wait(TimeDelta::minutes(6)).await;
    assert!(world.grant_files().await.is_empty(), "and is again");
}

#[tokio::test]
async fn an_old_commit_put_in_the_line_again_brings_no_grant_back() {
    let world = World::new().await;
    let (request, merge) = an_ended_grant(&world).await;
    let main = world.get("/git/ref/heads/main").await["object"]["sha"].clone();
    let tree = world.get(&format!("/git/commits/{merge}")).await["tree"]["sha"].clone();
    let commit = serde_json::json!({ "message": "Merge", "tree": tree, "parents": [merge, main] });
    let (_, commit) = world.call("olga", http::Method::POST, "/repos/acme/access/git/commits", commit).await;
    let path = "/repos/acme/access/git/refs/heads/main";
    let body = serde_json::json!({ "sha": commit["sha"] });
    let (status, answer) = world.call("olga", http::Method::PATCH, path, body).await;
    assert!(status.is_success(), "it is a fast-forward: {answer}");
    nothing_came_back(&world, request).await;
}

#[tokio::test]
async fn a_history_without_the_file_ends_the_grant() {
    let world = World::new().await;
    let before = world.get("/git/ref/heads/main").await["object"]["sha"].clone();
    let request = world.alice().asks("alice-orders", ORDERS).await;
    world.dave().approves(request).await;
    let path = "/repos/acme/access/git/refs/heads/main";
    let body = serde_json::json!({ "sha": before, "force": true });
    world.call("olga", http::Method::PATCH, path, body).await;
    world.settle().await;
    assert!(!world.orders.is_member("orders_readonly", "alice"));
}

#[tokio::test]
async fn nobody_puts_a_request_of_their_own_in_the_place_of_somebody_elses_grant() {
    let world = World::new().await;
    let request = world.alice().asks("alice-orders", ORDERS).await;
    world.dave().approves(request).await;
    let docs = "role: docs-preview\nduration: 1h\nreason: Proofreading\n";
    let files = [("grants/alice-orders.yaml".to_owned(), docs.as_bytes().to_vec())];
    let theft = world.bob().asks_with("theft", &files).await;
    assert!(!world.is_merged(theft).await);
    assert!(world.check(theft).await.summary.contains("running grant of"), "{}", world.check(theft).await.summary);
    world.olga().merges(theft).await;
    assert!(world.orders.is_member("orders_readonly", "alice"), "a merge past the check does not end it either");
    assert!(!world.sandbox.is_in_team("docs", "bob"));
    let renewal = world
        .alice()
        .asks_with("renewal", &[("grants/alice-orders.yaml".to_owned(), ORDERS.replace("2h", "1h").into_bytes())])
        .await;
    let comment = &world.comments(renewal).await[0];
    assert!(comment.contains("**Ends**") && comment.contains("12:00 UTC"), "dave is told what else it does: {comment}");
    world.dave().approves(renewal).await;
    assert!(
        world.is_merged(renewal).await,
        "she may put another of her own there: {}",
        world.check(renewal).await.summary
    );
}

#[tokio::test]
async fn a_merge_past_a_red_check_gives_nothing() {
    let world = World::new().await;
    let request = world.alice().asks("alice-orders", ORDERS).await;
    assert_eq!(world.alice().merges(request).await, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(world.olga().merges(request).await, StatusCode::OK, "an owner may merge past the check");
    assert!(world.orders.calls().is_empty());
    assert!(world.grant_files().await.is_empty());
    let said = world.comments(request).await;
    assert!(said.last().unwrap().contains("gives nobody access"), "the pull request is told: {said:?}");
}

#[tokio::test]
async fn a_merge_by_hand_that_says_something_else_than_what_was_approved_gives_nothing() {
    let world = World::with_policy(|files| {
        let text = String::from_utf8(files["policies/settings.yaml"].clone()).unwrap();
        files.insert("policies/settings.yaml".to_owned(), text.replace("merge: auto", "merge: manual").into_bytes());
    })
    .await;
    let request = world.alice().asks("alice-orders", ORDERS).await;
    world.dave().approves(request).await;
    assert_eq!(world.check(request).await.conclusion, "success");
    world.olga().merges_by_hand(request, "grants/alice-orders.yaml", &ORDERS.replace("2h", "4h")).await;
    assert!(world.is_merged(request).await, "GitHub takes it for a merge");
    assert!(world.orders.calls().is_empty(), "{:?}", world.orders.calls());
    assert!(world.grant_files().await.is_empty(), "it is taken back");
    assert_eq!((world.count("granted").await, world.count("refused").await), (0, 1));
}

#[tokio::test]
async fn a_longer_duration_pushed_into_a_running_grant_is_taken_back_and_the_grant_runs_on() {
    let world = World::new().await;
    let request = world.alice().asks("alice-orders", ORDERS).await;
    world.dave().approves(request).await;
    world.olga().pushes_to_main("grants/alice-orders.yaml", &ORDERS.replace("2h", "4h")).await;
    let file = world.get("/contents/grants/alice-orders.yaml").await;
    use base64::Engine as _;
    let encoded: String = file["content"].as_str().unwrap().split_whitespace().collect();
    let text = base64::engine::general_purpose::STANDARD.decode(encoded).unwrap();
    assert_eq!(String::from_utf8(text).unwrap(), ORDERS);
    assert!(world.orders.is_member("orders_readonly", "alice"));
    world.wait(TimeDelta::minutes(121)).await;
    assert!(!world.orders.is_member("orders_readonly", "alice"), "it ends when it was going to");
    assert!(world.grant_files().await.is_empty());
}

#[tokio::test]
async fn squashed_and_rebased_requests_are_verified_like_merged_ones() {
    for method in ["squash", "rebase"] {
        let world = World::with_policy(|files| {
            let text = String::from_utf8(files["policies/settings.yaml"].clone()).unwrap();
            let text = text.replace("merge_method: merge ", &format!("merge_method: {method} "));
            files.insert("policies/settings.yaml".to_owned(), text.into_bytes());
        })
        .await;
        let request = world.alice().asks("alice-orders", &ORDERS.replace("2h", "1h")).await;
        world.alice().changes("alice-orders", ORDERS).await;
        world.dave().approves(request).await;
        assert!(world.is_merged(request).await, "{method}");
        assert!(world.orders.is_member("orders_readonly", "alice"), "{method}");
        world.wait(TimeDelta::minutes(121)).await;
        assert!(!world.orders.is_member("orders_readonly", "alice"), "{method}");
    }
}

#[tokio::test]
async fn the_branch_of_a_revert_cannot_be_used_to_smuggle() {
    let world = World::new().await;
    let request = world.alice().asks("alice-orders", ORDERS).await;
    world.dave().approves(request).await;
    world.wait(TimeDelta::minutes(111)).await;
    let pulls = world.get("/pulls?state=open").await;
    let branch = pulls[0]["head"]["ref"].as_str().unwrap().to_owned();
    let number = pulls[0]["number"].as_u64().unwrap();
    let (status, _) = world.alice().writes(&branch, "grants/more.yaml", ORDERS.as_bytes()).await;
    assert!(status.is_success());
    world.settle().await;
    world.alice().merges(number).await;
    world.wait(TimeDelta::minutes(15)).await;
    assert_eq!(world.orders.calls(), ["grant orders_readonly to alice", "revoke orders_readonly from alice"]);
    assert!(world.grant_files().await.is_empty());
}

#[tokio::test]
async fn files_pushed_onto_the_branch_of_a_revert_cannot_end_the_access_of_others() {
    let world = World::new().await;
    let mine = world.alice().asks("alice-orders", &ORDERS.replace("2h", "1h")).await;
    let theirs = world.bob().asks("bob-orders", ORDERS).await;
    world.dave().approves(mine).await;
    world.dave().approves(theirs).await;
    world.wait(TimeDelta::minutes(51)).await;
    let (revert, _) = world.open_pulls().await[0].clone();
    let pull = world.get(&format!("/pulls/{revert}")).await;
    world.alice().removes(pull["head"]["ref"].as_str().unwrap(), "grants/bob-orders.yaml").await;
    world.settle().await;
    assert_eq!(world.check(revert).await.conclusion, "failure");
    assert_eq!(world.alice().merges(revert).await, StatusCode::METHOD_NOT_ALLOWED);
    world.wait(TimeDelta::minutes(10)).await;
    assert_eq!(world.grant_files().await, ["grants/bob-orders.yaml"]);
    assert!(world.orders.is_member("orders_readonly", "bob"));
}

#[tokio::test]
async fn where_merge_commits_are_forbidden_reverts_are_merged_otherwise() {
    let world = World::with_policy(|files| {
        let text = String::from_utf8(files["policies/settings.yaml"].clone()).unwrap();
        let text = text.replace("merge_method: merge ", "merge_method: squash ");
        files.insert("policies/settings.yaml".to_owned(), text.into_bytes());
    })
    .await;
    let rule =
        BranchRule { required_check: true, pull_request_required: true, admins_bypass: true, linear_history: true };
    world.sandbox.protect("access", rule).unwrap();
    let request = world.alice().asks("alice-orders", ORDERS).await;
    world.dave().approves(request).await;
    assert!(world.orders.is_member("orders_readonly", "alice"));
    world.wait(TimeDelta::minutes(121)).await;
    assert!(world.grant_files().await.is_empty());
}

#[tokio::test]
async fn forged_webhooks_are_turned_away_and_leave_nothing() {
    let world = World::new().await;
    let body = r#"{"action":"opened","repository":{"full_name":"acme/access"},"pull_request":{"number":1}}"#;
    for signature in [
        None,
        Some(""),
        Some("sha256="),
        Some("sha256=00"),
        Some("sha1=abc"),
        Some(&*format!("sha256={}", "0".repeat(64))),
    ] {
        let mut request = Request::post("/webhooks/github")
            .header("x-github-delivery", "forged")
            .header("x-github-event", "pull_request");
        if let Some(signature) = signature {
            request = request.header("x-hub-signature-256", signature);
        }
        let (status, _) = world.send(request.body(Body::from(body)).unwrap()).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED, "{signature:?}");
    }
    assert!(world.engine().store().waiting_deliveries(10).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_payload_above_githubs_own_limit_is_not_taken() {
    let world = World::new().await;
    let body = "x".repeat((25 << 20) + 1);
    let request =
        Request::post("/webhooks/github").header("x-github-delivery", "large").header("x-github-event", "push");
    let signature = daypass::sandbox::sign(&world.sandbox.app().webhook_secret, body.as_bytes());
    let request = request.header("x-hub-signature-256", signature).body(Body::from(body)).unwrap();
    assert_eq!(world.send(request).await.0, StatusCode::PAYLOAD_TOO_LARGE);
    assert!(world.engine().store().waiting_deliveries(10).await.unwrap().is_empty());
}

#[tokio::test]
async fn what_was_approved_under_one_policy_is_not_merged_into_another() {
    let world = World::new().await;
    let request = world.alice().asks("alice-orders", ORDERS).await;
    let roles = "policies/roles/incident-response.yaml";
    let shorter = std::fs::read_to_string(roles).unwrap().replacen("max_duration: 4h", "max_duration: 1h", 1);
    // Its tests expect the longer one.
    let shorter = shorter.split_once("\ntests:").unwrap().0.to_owned();
    let change = world.bob().asks_with("shorter", &[(roles.to_owned(), shorter.into_bytes())]).await;
    world.go_manual(true);
    world.dave().approves(request).await;
    for delivery in world.sandbox.take_deliveries() {
        world.deliver(&delivery).await;
    }
    // Daypass has judged and writes its check; before it can merge, another policy is approved and merged.
    let (stalled, told) = tokio::sync::oneshot::channel();
    let stalled = std::sync::Mutex::new(Some(stalled));
    world.sandbox.disturb(Some(std::sync::Arc::new(move |method: &http::Method, path: &str| {
        let writes_check = *method != http::Method::GET && path.contains("/check-runs");
        let first = writes_check.then(|| stalled.lock().unwrap().take()).flatten()?;
        first.send(()).ok()?;
        Some(daypass::sandbox::Disturbance::Stall { done: true })
    })));
    let engine = world.engine();
    let daypass = tokio::spawn(async move { engine.settle().await });
    told.await.unwrap();
    world.erin().approves(change).await;
    assert_eq!(world.olga().merges(change).await, StatusCode::OK);
    // The call may not have reached its silence yet.
    while !daypass.is_finished() {
        world.sandbox.resume();
        tokio::task::yield_now().await;
    }
    daypass.await.unwrap().unwrap();
    assert!(!world.is_merged(request).await);
    assert!(world.check(request).await.summary.contains("longer than"), "{}", world.check(request).await.summary);
}

#[tokio::test]
async fn a_repeated_and_an_unknown_webhook_do_no_harm() {
    let world = World::new().await;
    world.lose_webhooks(true);
    let request = world.alice().asks("alice-orders", ORDERS).await;
    world.lose_webhooks(false);
    world.dave().approves(request).await;
    world.dave().reviews(request, "COMMENT").await;
    assert_eq!(world.count("granted").await, 1);
    let secret = world.sandbox.app().webhook_secret;
    for event in ["sponsorship", "pull_request", "ping"] {
        let body = "{\"zen\":\"\\u0000\"}";
        let request = Request::post("/webhooks/github")
            .header("x-github-delivery", format!("x-{event}"))
            .header("x-github-event", event)
            .header("x-hub-signature-256", daypass::sandbox::sign(&secret, body.as_bytes()))
            .body(Body::from(body))
            .unwrap();
        assert_eq!(world.send(request).await.0, StatusCode::ACCEPTED);
    }
    world.settle().await;
    assert!(world.engine().store().waiting_deliveries(10).await.unwrap().is_empty());
}

#[tokio::test]
async fn without_the_bypass_a_refused_file_is_still_refused_after_the_database_is_lost() {
    let world = World::new().await;
    let request = world.alice().asks("alice-orders", ORDERS).await;
    world.dave().approves(request).await;
    world.sandbox.protect("access", BranchRule::default()).unwrap();
    world.olga().pushes_to_main(FILE, ORDERS).await;
    world.lose_the_database().await;
    world.settle().await;
    assert_eq!(world.grant_files().await, ["grants/alice-orders.yaml"]);
    world.wait(TimeDelta::minutes(121)).await;
    assert!(world.grant_files().await.is_empty());
    assert!(!world.sandbox.is_in_team("prod-responders", "olga"));
}
