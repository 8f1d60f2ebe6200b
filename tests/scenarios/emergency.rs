//! Emergencies: access at once, and a review that does not go away.

use chrono::TimeDelta;
use http::{Method, StatusCode};
use serde_json::json;

use crate::support::world::World;

const GLASS: &str =
    "role: prod-break-glass\nduration: 30m\nreason: Checkouts hang, nobody is awake\nbreak_glass: true\n";

/// The issue about the emergency.
async fn issue(world: &World) -> u64 {
    let issues = world.get("/issues?state=all").await;
    let title = |issue: &&serde_json::Value| {
        issue["title"].as_str().unwrap() == "Review the emergency access of alice to prod-break-glass"
    };
    let found: Vec<u64> =
        issues.as_array().unwrap().iter().filter(title).map(|issue| issue["number"].as_u64().unwrap()).collect();
    assert_eq!(found.len(), 1, "one issue: {issues:#}");
    found[0]
}

async fn is_open(world: &World, issue: u64) -> bool {
    world.get(&format!("/issues/{issue}")).await["state"] == "open"
}

async fn says(world: &World, login: &str, issue: u64, text: &str) -> u64 {
    let path = format!("/repos/acme/access/issues/{issue}/comments");
    let (status, comment) = world.call(login, Method::POST, &path, json!({ "body": text })).await;
    assert_eq!(status, StatusCode::CREATED, "{comment}");
    world.settle().await;
    comment["id"].as_u64().unwrap()
}

async fn breaks_the_glass(world: &World) -> (u64, u64) {
    let request = world.alice().asks("alice-glass", GLASS).await;
    assert!(world.is_merged(request).await, "nobody is waited for");
    (request, issue(world).await)
}

#[tokio::test]
async fn alice_breaks_the_glass_and_erin_reviews_it() {
    let world = World::new().await;
    let (request, issue) = breaks_the_glass(&world).await;
    let told = world.comments(request).await.join("\n");
    assert!(told.contains("ssh-ed25519-cert-v01@openssh.com "), "she is in at once: {told}");
    assert!(told.contains(&format!("reviewed in #{issue} by 2026-12-01 10:00 UTC")), "{told}");
    let body = world.get(&format!("/issues/{issue}")).await["body"].as_str().unwrap().to_owned();
    for text in ["@acme/security", "@acme/platform-leads", "`/daypass reviewed`", "Checkouts hang, nobody is awake"] {
        assert!(body.contains(text), "{text}: {body}");
    }

    // It outlives the access.
    world.wait(TimeDelta::minutes(31)).await;
    assert!(world.comments(request).await.join("\n").contains("no longer has role"));
    assert!(is_open(&world, issue).await);

    says(&world, "erin", issue, "Looked at the shell history, all fine.\n\n/daypass reviewed").await;
    assert!(!is_open(&world, issue).await);
    assert!(world.comments(issue).await.last().unwrap().contains("Reviewed by `erin`"));
    assert_eq!(world.count("reviewed").await, 1);
    world.wait(TimeDelta::hours(25)).await;
    assert_eq!(world.count("review-overdue").await, 0);
}

#[tokio::test]
async fn nobody_reviews_their_own_emergency_nor_one_they_could_not_have_approved() {
    let world = World::new().await;
    let (_, issue) = breaks_the_glass(&world).await;
    says(&world, "alice", issue, "/daypass reviewed").await;
    says(&world, "bob", issue, "/daypass reviewed").await;
    says(&world, "erin", issue, "> /daypass reviewed\n\nwas that you?").await;
    world.wait(TimeDelta::minutes(15)).await;
    assert!(is_open(&world, issue).await);
    let said = world.comments(issue).await;
    let answers: Vec<&String> = said.iter().filter(|said| said.contains("@alice") || said.contains("@bob")).collect();
    assert_eq!(answers.len(), 2, "each is told why, once: {said:#?}");
    assert!(answers[0].contains("whoever asked for the access, or had it, cannot review its use"), "{answers:?}");
    assert_eq!(world.count("reviewed").await, 0);
}

#[tokio::test]
async fn a_comment_that_was_changed_reviews_nothing() {
    let world = World::new().await;
    let (_, issue) = breaks_the_glass(&world).await;
    let comment = says(&world, "erin", issue, "I shall have a look").await;
    world.wait(TimeDelta::minutes(1)).await;
    // People with write access can change what others wrote.
    let path = format!("/repos/acme/access/issues/comments/{comment}");
    let (status, _) = world.call("olga", Method::PATCH, &path, json!({ "body": "/daypass reviewed" })).await;
    assert_eq!(status, StatusCode::OK);
    world.settle().await;
    assert!(is_open(&world, issue).await);
    assert!(world.last_comment(issue).await.contains("a comment that was changed commands nothing"));
}

#[tokio::test]
async fn a_command_that_is_misspelt_is_answered_once() {
    let world = World::new().await;
    let (_, issue) = breaks_the_glass(&world).await;
    let before = world.comments(issue).await.len();
    let comment = says(&world, "erin", issue, "/daypass review").await;
    assert_eq!(world.reactions(comment).await, ["confused"]);
    assert!(world.last_comment(issue).await.contains("`/daypass reviewed`"));
    says(&world, "erin", issue, "/daypass reviewd").await;
    assert_eq!(world.comments(issue).await.len(), before + 1);
    assert!(is_open(&world, issue).await);
}

#[tokio::test]
async fn a_review_by_somebody_who_left_since_is_known_to_a_new_database() {
    let world = World::new().await;
    let (_, issue) = breaks_the_glass(&world).await;
    says(&world, "erin", issue, "/daypass reviewed").await;
    assert!(!is_open(&world, issue).await);
    world.wait(TimeDelta::minutes(2)).await;
    world.sandbox.remove_member("erin").unwrap();
    world.lose_the_database().await;
    world.wait(TimeDelta::minutes(12)).await;
    assert!(!is_open(&world, issue).await, "nobody is asked again");
}

#[tokio::test]
async fn closing_the_issue_is_no_review() {
    let world = World::new().await;
    let (_, issue) = breaks_the_glass(&world).await;
    let path = format!("/repos/acme/access/issues/{issue}");
    let (status, _) = world.call("olga", Method::PATCH, &path, json!({ "state": "closed" })).await;
    assert_eq!(status, StatusCode::OK);
    world.settle().await;
    assert!(is_open(&world, issue).await);
    assert!(world.comments(issue).await.last().unwrap().contains("not reviewed yet"));
}

#[tokio::test]
async fn a_review_that_is_overdue_grows_louder_every_day() {
    let world = World::new().await;
    let (_, issue) = breaks_the_glass(&world).await;
    let unreviewed = async || {
        let request = http::Request::get("/metrics").body(axum::body::Body::empty()).unwrap();
        let (_, text) = world.send(request).await;
        let of = |state: &str| {
            let line = format!("daypass_emergencies_unreviewed{{state=\"{state}\"}} ");
            text.lines().find_map(|told| told.strip_prefix(&line).map(str::to_owned)).unwrap()
        };
        (of("waiting"), of("overdue"))
    };
    assert_eq!(unreviewed().await, ("1".to_owned(), "0".to_owned()));
    let overdue = async || world.comments(issue).await.iter().filter(|said| said.contains("overdue")).count();
    world.wait(TimeDelta::hours(24) - TimeDelta::minutes(1)).await;
    assert_eq!(overdue().await, 0);
    world.wait(TimeDelta::minutes(1)).await;
    assert_eq!(overdue().await, 1);
    assert_eq!(unreviewed().await, ("1".to_owned(), "1".to_owned()));
    world.wait(TimeDelta::hours(24)).await;
    assert_eq!(overdue().await, 2);
    assert_eq!(world.count("review-overdue").await, 2);
    says(&world, "carol", issue, "/daypass reviewed").await;
    assert!(!is_open(&world, issue).await);
    assert_eq!(unreviewed().await, ("0".to_owned(), "0".to_owned()));
}

#[tokio::test]
async fn a_new_database_knows_what_waits_for_review_also_if_the_access_is_over() {
    let world = World::new().await;
    let (_, issue) = breaks_the_glass(&world).await;
    world.wait(TimeDelta::minutes(40)).await;
    assert!(world.grant_files().await.is_empty(), "it is over, and reverted");
    world.lose_the_database().await;
    world.settle().await;
    world.wait(TimeDelta::minutes(10)).await;
    says(&world, "alice", issue, "/daypass reviewed").await;
    world.wait(TimeDelta::minutes(15)).await;
    assert!(is_open(&world, issue).await, "she is still not the one to review it");
    says(&world, "carol", issue, "/daypass reviewed").await;
    assert!(!is_open(&world, issue).await);

    // And what was reviewed is not asked for again.
    world.wait(TimeDelta::minutes(5)).await;
    world.lose_the_database().await;
    world.settle().await;
    world.wait(TimeDelta::hours(25)).await;
    assert!(!is_open(&world, issue).await);
    assert_eq!(world.count("review-overdue").await, 0);
}

#[tokio::test]
async fn a_review_is_found_without_webhooks_and_after_the_database_was_lost() {
    let world = World::new().await;
    let (_, first) = breaks_the_glass(&world).await;
    world.lose_the_database().await;
    world.settle().await;
    assert_eq!(issue(&world).await, first, "no second issue");
    world.lose_webhooks(true);
    says(&world, "erin", first, "/daypass reviewed").await;
    assert!(is_open(&world, first).await);
    world.wait(TimeDelta::minutes(20)).await;
    assert!(!is_open(&world, first).await, "the sweep finds it");
}
