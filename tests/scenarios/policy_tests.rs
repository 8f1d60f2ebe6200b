//! A policy is held to the tests it brings along.

use crate::life::ORDERS;
use crate::support::world::World;

const FILE: &str = "policies/roles/incident-response.yaml";

fn incident_response() -> String {
    let files = daypass::sandbox::starter_files();
    let (_, bytes) = files.into_iter().find(|(path, _)| path == FILE).unwrap();
    String::from_utf8(bytes).unwrap()
}

#[tokio::test]
async fn a_policy_that_breaks_an_expectation_is_red_until_it_is_mended() {
    let world = World::new().await;
    let shorter = incident_response().replacen("max_duration: 4h", "max_duration: 3h", 1);
    let change = world.bob().asks_with("shorter", &[(FILE.to_owned(), shorter.clone().into_bytes())]).await;

    let check = world.check(change).await;
    assert_eq!(check.conclusion, "failure");
    assert_eq!(check.title, "Policy change: refused, 1 problem");
    assert!(check.summary.contains("❌ 15 tests passed, 1 failed"), "{}", check.summary);
    let [annotation] = check.annotations.as_slice() else { panic!("{:?}", check.annotations) };
    assert_eq!((annotation["path"].as_str(), annotation["title"].as_str()), (Some(FILE), Some("DP0216")));
    let line = usize::try_from(annotation["start_line"].as_u64().unwrap()).unwrap();
    let lines: Vec<&str> = shorter.lines().collect();
    assert!(lines[line - 4].contains("four hours need security too"), "it points into the test: {}", lines[line - 1]);
    let message = annotation["message"].as_str().unwrap();
    assert!(message.contains("valid: expected true, found false") && message.contains("DP0404"), "{message}");

    world.erin().approves(change).await;
    assert!(!world.is_merged(change).await, "whoever approves it");

    let mended = shorter
        .replace("name: four hours", "name: three hours")
        .replace("duration: 4h, reason: Ch", "duration: 3h, reason: Ch");
    let (status, answer) = world.bob().writes("shorter", FILE, mended.as_bytes()).await;
    assert!(status.is_success(), "{answer}");
    world.settle().await;
    assert!(world.check(change).await.summary.contains("✅ 16 tests passed"));
    world.erin().approves(change).await;
    assert!(world.is_merged(change).await, "{}", world.check(change).await.summary);
}

#[tokio::test]
async fn the_tests_are_those_of_the_proposed_policy_and_none_run_if_it_cannot_be_read() {
    let world = World::new().await;
    let without = incident_response().split_once("\ntests:").unwrap().0.to_owned();
    let change = world.bob().asks_with("without", &[(FILE.to_owned(), without.clone().into_bytes())]).await;
    assert!(world.check(change).await.summary.contains("✅ 7 tests passed"), "{}", world.check(change).await.summary);

    let (status, _) =
        world.bob().writes("without", FILE, without.replace("risk: medium", "risk: tiny").as_bytes()).await;
    assert!(status.is_success());
    world.settle().await;
    let check = world.check(change).await;
    assert_eq!(check.conclusion, "failure");
    assert!(!check.summary.contains("tests passed"), "{}", check.summary);
}

#[tokio::test]
async fn the_tests_of_the_policy_in_force_stop_no_request() {
    let world = World::with_policy(|files| {
        let text = String::from_utf8(files[FILE].clone()).unwrap();
        files.insert(FILE.to_owned(), text.replacen("max_duration: 4h", "max_duration: 3h", 1).into_bytes());
    })
    .await;
    let request = world.alice().asks("alice-orders", ORDERS).await;
    assert!(world.check(request).await.title.contains("waiting for approval stage owner"));
}
