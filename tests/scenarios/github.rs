//! The embedded GitHub itself, where it matters to clients that it does as GitHub does. Shapes are held against GitHub's own
//! description in `tests/contract`.

use chrono::TimeDelta;
use daypass::sandbox::Disturbance;
use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::life::ORDERS;
use crate::support::world::World;

async fn olga(world: &World, method: Method, path: &str, body: Value) -> (StatusCode, Value) {
    world.call("olga", method, &format!("/repos/acme/access{path}"), body).await
}

#[tokio::test]
async fn refs_move_by_compare_and_swap() {
    let world = World::new().await;
    let main = world.get("/git/ref/heads/main").await["object"]["sha"].clone();
    world.alice().branches("one").await;
    let again = olga(&world, Method::POST, "/git/refs", json!({ "ref": "refs/heads/one", "sha": main })).await;
    assert_eq!(again.0, StatusCode::UNPROCESSABLE_ENTITY, "it exists");
    world.alice().writes("one", "grants/a.yaml", b"a").await;
    let back = olga(&world, Method::PATCH, "/git/refs/heads/one", json!({ "sha": main })).await;
    assert_eq!(back.0, StatusCode::UNPROCESSABLE_ENTITY, "it is no fast-forward: {}", back.1);
    let forced = olga(&world, Method::PATCH, "/git/refs/heads/one", json!({ "sha": main, "force": true })).await;
    assert_eq!(forced.0, StatusCode::OK);
    let nowhere =
        olga(&world, Method::POST, "/git/refs", json!({ "ref": "refs/heads/two", "sha": "0".repeat(40) })).await;
    assert_eq!(nowhere.0, StatusCode::UNPROCESSABLE_ENTITY);
}

#[tokio::test]
async fn a_merge_names_the_head_it_means() {
    let world = World::new().await;
    let number = world.alice().asks_with("readme", &[("README.md".to_owned(), b"one\n".to_vec())]).await;
    let old = world.get(&format!("/pulls/{number}")).await["head"]["sha"].clone();
    world.alice().writes("readme", "README.md", b"two\n").await;
    world.settle().await;
    let moved = olga(&world, Method::PUT, &format!("/pulls/{number}/merge"), json!({ "sha": old })).await;
    assert_eq!(moved.0, StatusCode::CONFLICT, "{}", moved.1);
    let merged =
        olga(&world, Method::PUT, &format!("/pulls/{number}/merge"), json!({ "merge_method": "squash" })).await;
    assert_eq!(merged.0, StatusCode::OK);
    let of = world.get(&format!("/commits/{}/pulls", merged.1["sha"].as_str().unwrap())).await;
    assert_eq!(of[0]["number"], number);
    let twice = olga(&world, Method::PUT, &format!("/pulls/{number}/merge"), json!({})).await;
    assert_eq!(twice.0, StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn lists_come_in_pages() {
    let world = World::new().await;
    for number in 0..5 {
        olga(&world, Method::POST, "/issues", json!({ "title": format!("issue {number}") })).await;
    }
    let first = world.get("/issues?per_page=2").await;
    let third = world.get("/issues?per_page=2&page=3").await;
    assert_eq!((first.as_array().unwrap().len(), third.as_array().unwrap().len()), (2, 1));
    let headers = world.headers("olga", "/repos/acme/access/issues?per_page=2&page=2", None).await.1;
    let link = headers["link"].to_str().unwrap();
    for relation in ["rel=\"prev\"", "rel=\"next\"", "rel=\"first\"", "rel=\"last\""] {
        assert!(link.contains(relation), "{link}");
    }
    assert!(headers.contains_key("x-ratelimit-remaining"));
}

#[tokio::test]
async fn what_has_not_changed_is_not_sent_again() {
    let world = World::new().await;
    let path = "/repos/acme/access/git/ref/heads/main";
    let (status, headers) = world.headers("olga", path, None).await;
    assert_eq!(status, StatusCode::OK);
    let etag = headers["etag"].to_str().unwrap().to_owned();
    assert_eq!(world.headers("olga", path, Some(&etag)).await.0, StatusCode::NOT_MODIFIED);
    world.olga().pushes_to_main("README.md", "new").await;
    assert_eq!(world.headers("olga", path, Some(&etag)).await.0, StatusCode::OK);
}

#[tokio::test]
async fn reviews_go_stale_and_can_be_dismissed() {
    let world = World::new().await;
    let number = world.alice().asks("alice-orders", &ORDERS.replace("2h", "4h")).await;
    world.dave().approves(number).await;
    let reviews = world.get(&format!("/pulls/{number}/reviews")).await;
    let head = world.get(&format!("/pulls/{number}")).await["head"]["sha"].clone();
    assert_eq!((&reviews[0]["state"], &reviews[0]["commit_id"]), (&json!("APPROVED"), &head));
    let path = format!("/pulls/{number}/reviews/{}/dismissals", reviews[0]["id"]);
    let (status, _) = olga(&world, Method::PUT, &path, json!({ "message": "changed my mind" })).await;
    assert_eq!(status, StatusCode::OK);
    world.settle().await;
    assert!(world.check(number).await.title.contains("waiting for approval stage owner"));
}

#[tokio::test]
async fn strangers_see_nothing_and_wrong_tokens_are_refused() {
    let world = World::new().await;
    world.sandbox.add_user("stranger").unwrap();
    let token = world.sandbox.user_token("stranger").unwrap();
    let path = "/repos/acme/access";
    assert_eq!(world.headers_with(&token, path).await, StatusCode::NOT_FOUND);
    assert_eq!(world.headers_with(&"ghp_wrong".to_owned().into(), path).await, StatusCode::UNAUTHORIZED);
    assert_eq!(world.headers_with(&"not.a.jwt".to_owned().into(), "/app").await, StatusCode::UNAUTHORIZED);
}

/// A token of the installation, as the app gets one.
pub async fn installation_token(world: &World) -> secrecy::SecretString {
    let app = world.app_token();
    let (_, installation) = world.call_with(&app, Method::GET, "/repos/acme/access/installation", Value::Null).await;
    let path = format!("/app/installations/{}/access_tokens", installation["id"]);
    let (status, token) = world.call_with(&app, Method::POST, &path, Value::Null).await;
    assert_eq!(status, StatusCode::CREATED, "{token}");
    token["token"].as_str().unwrap().to_owned().into()
}

#[tokio::test]
async fn installation_tokens_expire_after_an_hour_and_the_app_gets_new_ones() {
    let world = World::new().await;
    let token = installation_token(&world).await;
    assert_eq!(world.headers_with(&token, "/repos/acme/access").await, StatusCode::OK);
    world.wait(TimeDelta::minutes(150)).await;
    assert_eq!(world.headers_with(&token, "/repos/acme/access").await, StatusCode::UNAUTHORIZED);
    let request = world.alice().asks("alice-orders", ORDERS).await;
    assert!(world.check(request).await.title.contains("waiting"));
}

#[tokio::test]
async fn a_missed_webhook_is_in_the_log_and_can_be_delivered_again() {
    let world = World::new().await;
    world.lose_webhooks(true);
    let request = world.alice().asks("alice-orders", ORDERS).await;
    world.lose_webhooks(false);
    let app = world.app_token();
    let (_, log) = world.call_with(&app, Method::GET, "/app/hook/deliveries", Value::Null).await;
    let opened = log.as_array().unwrap().iter().find(|one| one["event"] == "pull_request").unwrap().clone();
    let path = format!("/app/hook/deliveries/{}/attempts", opened["id"]);
    assert_eq!(world.call_with(&app, Method::POST, &path, json!({})).await.0, StatusCode::ACCEPTED);
    world.settle().await;
    assert!(world.check(request).await.title.contains("waiting"));
}

#[tokio::test]
async fn a_check_takes_fifty_annotations_a_call_and_daypass_shows_them_all() {
    let world = World::new().await;
    let annotations = |count: usize| -> Vec<Value> {
        let one = json!({ "path": "a", "start_line": 1, "end_line": 1, "annotation_level": "notice", "message": "m" });
        vec![one; count]
    };
    let token = installation_token(&world).await;
    let head = world.get("/git/ref/heads/main").await["object"]["sha"].clone();
    for (count, status) in [(50, StatusCode::CREATED), (51, StatusCode::UNPROCESSABLE_ENTITY)] {
        let output = json!({ "title": "t", "summary": "s", "annotations": annotations(count) });
        let body = json!({ "name": "other", "head_sha": head, "output": output });
        let path = "/repos/acme/access/check-runs";
        assert_eq!(world.call_with(&token, Method::POST, path, body).await.0, status, "{count}");
    }
    let role = |number: usize| {
        format!(
            "  r{number}: {{ requesters: [everyone], approval: nobody, entitlements: [{{ github: {{ target: github, team: docs }} }}] }}\n"
        )
    };
    let text: String = std::iter::once("roles:\n".to_owned()).chain((0..70).map(role)).collect();
    let number = world.bob().asks_with("many", &[("policies/many.yaml".to_owned(), text.into_bytes())]).await;
    let check = world.check(number).await;
    let unknown = check.annotations.iter().filter(|one| one["message"].as_str().unwrap().contains("does not exist"));
    assert_eq!((check.conclusion.as_str(), unknown.count()), ("failure", 70));
}

#[tokio::test]
async fn a_button_on_the_check_makes_daypass_look_again() {
    let world = World::new().await;
    world.lose_webhooks(true);
    let request = world.alice().asks("alice-orders", ORDERS).await;
    world.wait(TimeDelta::minutes(6)).await;
    world.dave().approves(request).await;
    world.lose_webhooks(false);
    assert!(!world.is_merged(request).await, "nobody told Daypass about the approval");
    let head = world.get(&format!("/pulls/{request}")).await["head"]["sha"].as_str().unwrap().to_owned();
    let run = world.get(&format!("/commits/{head}/check-runs")).await["check_runs"][0]["id"].clone();
    let body = json!({ "repository": "access", "check_run": run, "identifier": "recheck", "login": "alice" });
    assert_eq!(world.call("alice", Method::POST, "/_sandbox/actions", body).await.0, StatusCode::OK);
    world.settle().await;
    assert!(world.is_merged(request).await);
}

#[tokio::test]
async fn a_disturbed_github_says_so() {
    let world = World::new().await;
    world.sandbox.disturb(Some(std::sync::Arc::new(|_: &Method, _: &str| Some(Disturbance::RateLimit(60)))));
    let (status, headers) = world.headers("olga", "/repos/acme/access", None).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    assert_eq!(headers["retry-after"], "60");
}
