//! Which policy counts: the newest one that was approved, whatever lies on the default branch.

use chrono::TimeDelta;
use daypass::sandbox::Disturbance;
use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::life::ORDERS;
use crate::support::world::World;

const APPROVALS: &str = "policies/approvals.yaml";
const SETTINGS: &str = "policies/settings.yaml";

/// A policy file of the starter, edited.
fn edited(path: &str, from: &str, to: &str) -> String {
    let files = daypass::sandbox::starter_files();
    let (_, bytes) = files.into_iter().find(|(known, _)| known == path).unwrap();
    let text = String::from_utf8(bytes).unwrap();
    assert!(text.contains(from), "{from:?} is in {path}");
    text.replacen(from, to, 1)
}

/// Whoever asks for the orders gets them, and nobody has to approve it.
fn nobody_approves() -> String {
    edited(
        APPROVALS,
        "    stages:                          # in order: a stage opens when the one before it is satisfied\n      - name: owner\n        \
         approvers: [group:dba]\n        escalate: { after: 30m, to: [team:platform-leads] }\n      - name: security\n        \
         when: request.duration > duration('2h') || role.risk == 'critical'\n        approvers: [team:security]\n",
        "    stages: []\n",
    )
}

/// A change of the policy in the way it is meant: proposed, approved and merged.
pub async fn is_changed(world: &World, branch: &str, path: &str, content: &str) -> u64 {
    let change = world.bob().asks_with(branch, &[(path.to_owned(), content.as_bytes().to_vec())]).await;
    world.erin().approves(change).await;
    assert!(world.is_merged(change).await, "{}", world.check(change).await.summary);
    change
}

/// The policies that were in force, oldest first.
async fn on_record(world: &World) -> Vec<Value> {
    let (store, repository) = (world.engine().store().clone(), "acme/access".parse().unwrap());
    let events = store.events_in_order(&repository, daypass::ledger::EventKind::PolicyInForce).await.unwrap();
    events.into_iter().map(|event| event.details).collect()
}

async fn policy_file(world: &World, path: &str) -> String {
    use base64::Engine as _;
    let file = world.get(&format!("/contents/{path}")).await;
    let encoded: String = file["content"].as_str().unwrap().split_whitespace().collect();
    String::from_utf8(base64::engine::general_purpose::STANDARD.decode(encoded).unwrap()).unwrap()
}

/// From now on GitHub refuses every merge, or none any more.
fn nothing_is_merged(world: &World, refused: bool) {
    world.sandbox.disturb(refused.then(|| -> daypass::sandbox::Fault {
        std::sync::Arc::new(|method: &Method, path: &str| {
            let merges = *method == Method::PUT && path.ends_with("/merge");
            merges.then_some(Disturbance::Refuse(405))
        })
    }));
}

async fn issues(world: &World) -> Vec<String> {
    let issues = world.get("/issues?state=open").await;
    issues.as_array().unwrap().iter().map(|issue| issue["title"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn the_first_policy_is_adopted_and_each_later_one_is_approved_under_the_one_before() {
    let world = World::new().await;
    is_changed(&world, "shorter", SETTINGS, &edited(SETTINGS, "pending_timeout: 7d", "pending_timeout: 3d")).await;
    let record = on_record(&world).await;
    let how: Vec<&str> = record.iter().map(|event| event["how"].as_str().unwrap()).collect();
    assert_eq!(how, ["adopted", "approved"]);
    assert_eq!(record[1]["before"], record[0]["commit"]);
    assert_eq!(world.count("policy-unverified").await, 0);
}

#[tokio::test]
async fn a_policy_that_is_pushed_does_not_count_is_reported_and_taken_back() {
    let world = World::new().await;
    let before = policy_file(&world, APPROVALS).await;
    assert!(world.olga().pushes_to_main(APPROVALS, &nobody_approves()).await.is_success());
    assert_eq!(policy_file(&world, APPROVALS).await, before, "it is taken back");
    assert!(issues(&world).await.contains(&"Revert unverified change of policies".to_owned()));
    assert_eq!((world.count("policy-unverified").await, world.count("policy-in-force").await), (1, 1));
    let request = world.alice().asks("alice-orders", ORDERS).await;
    assert!(!world.is_merged(request).await);
    assert!(world.check(request).await.title.contains("waiting for approval stage owner"));
}

#[tokio::test]
async fn a_policy_merged_without_approval_does_not_count() {
    let world = World::new().await;
    let change = world.bob().asks_with("easy", &[(APPROVALS.to_owned(), nobody_approves().into_bytes())]).await;
    assert_eq!(world.olga().merges(change).await, StatusCode::OK, "an owner may merge past the check");
    assert!(world.last_comment(change).await.contains("is not in force"), "{}", world.last_comment(change).await);
    assert!(policy_file(&world, APPROVALS).await.contains("group:dba"));
    let request = world.alice().asks("alice-orders", ORDERS).await;
    assert!(!world.is_merged(request).await);
}

#[tokio::test]
async fn a_request_merged_a_second_after_it_gives_nothing() {
    let world = World::new().await;
    let request = world.alice().asks("alice-orders", ORDERS).await;
    // Daypass sees nothing before both have happened.
    world.go_manual(true);
    assert!(world.olga().pushes_to_main(APPROVALS, &nobody_approves()).await.is_success());
    assert_eq!(world.olga().merges(request).await, StatusCode::OK);
    world.go_manual(false);
    world.wait(TimeDelta::minutes(6)).await;
    assert!(world.orders.calls().is_empty(), "{:?}", world.orders.calls());
    assert!(world.grant_files().await.is_empty());
    assert!(policy_file(&world, APPROVALS).await.contains("group:dba"));
}

#[tokio::test]
async fn where_it_cannot_be_taken_back_it_still_does_not_count_also_for_a_new_database() {
    let world = World::new().await;
    nothing_is_merged(&world, true);
    assert!(world.olga().pushes_to_main(APPROVALS, &nobody_approves()).await.is_success());
    world.wait(TimeDelta::minutes(6)).await;
    // The new one cannot read the ledger at first, and adopts nothing meanwhile.
    world.lose_the_database().await;
    world.sandbox.disturb(Some(std::sync::Arc::new(|_: &Method, path: &str| {
        path.contains("ledger").then_some(Disturbance::Refuse(503))
    })));
    world.wait(TimeDelta::minutes(2)).await;
    assert_eq!(world.count("policy-in-force").await, 0);
    nothing_is_merged(&world, true);
    world.wait(TimeDelta::minutes(2)).await;
    assert_eq!(policy_file(&world, APPROVALS).await, nobody_approves());
    let request = world.alice().asks("alice-orders", ORDERS).await;
    assert!(world.check(request).await.title.contains("waiting for approval stage owner"));
    assert!(world.comments(request).await[0].contains("holds a change of the policy that nobody approved"));
    let metrics = world.engine().metrics().await.unwrap();
    assert!(metrics.contains("daypass_policy_unverified{repository=\"acme/access\"} 1"), "{metrics}");
    nothing_is_merged(&world, false);
    world.wait(TimeDelta::minutes(6)).await;
    assert!(policy_file(&world, APPROVALS).await.contains("group:dba"));
    assert!(!world.is_merged(request).await);
}

#[tokio::test]
async fn a_broken_policy_that_is_pushed_stops_nobody() {
    let world = World::new().await;
    world.go_manual(true);
    assert!(world.olga().pushes_to_main("policies/broken.yaml", "roles: [\n").await.is_success());
    world.go_manual(false);
    let request = world.alice().asks("alice-orders", ORDERS).await;
    world.dave().approves(request).await;
    assert!(world.is_merged(request).await, "{}", world.check(request).await.summary);
    assert!(world.orders.is_member("orders_readonly", "alice"));
}

#[tokio::test]
async fn an_approved_change_does_not_bring_along_what_nobody_approved() {
    let world = World::new().await;
    let shorter = edited(SETTINGS, "pending_timeout: 7d", "pending_timeout: 3d");
    let change = world.bob().asks_with("shorter", &[(SETTINGS.to_owned(), shorter.into_bytes())]).await;
    // Before Daypass has looked, somebody pushes, erin approves what she reads, and it is merged.
    world.go_manual(true);
    assert!(world.olga().pushes_to_main(APPROVALS, &nobody_approves()).await.is_success());
    world.erin().approves(change).await;
    assert_eq!(world.olga().merges(change).await, StatusCode::OK);
    world.go_manual(false);
    world.wait(TimeDelta::minutes(6)).await;
    assert!(policy_file(&world, APPROVALS).await.contains("group:dba"), "neither is in force");
    let request = world.alice().asks("alice-orders", ORDERS).await;
    assert!(!world.is_merged(request).await);
}

#[tokio::test]
async fn two_changes_of_one_file_are_not_mixed() {
    let world = World::new().await;
    let first = edited(SETTINGS, "pending_timeout: 7d", "pending_timeout: 3d");
    let second = edited(SETTINGS, "merge_method: merge ", "merge_method: squash ");
    let late = world.bob().asks_with("squash", &[(SETTINGS.to_owned(), second.into_bytes())]).await;
    is_changed(&world, "three-days", SETTINGS, &first).await;
    world.erin().approves(late).await;
    assert!(!world.is_merged(late).await, "what is merged would be neither");
    assert!(world.check(late).await.summary.contains("DP0512"), "{}", world.check(late).await.summary);
    let both = first.replacen("merge_method: merge ", "merge_method: squash ", 1);
    let main = world.get("/git/ref/heads/main").await["object"]["sha"].clone();
    world.call("bob", Method::DELETE, "/repos/acme/access/git/refs/heads/squash", json!(null)).await;
    let body = json!({ "ref": "refs/heads/again", "sha": main });
    world.call("bob", Method::POST, "/repos/acme/access/git/refs", body).await;
    world.bob().writes("again", SETTINGS, both.as_bytes()).await;
    let again = world.bob().opens("again").await;
    world.erin().approves(again).await;
    assert!(world.is_merged(again).await, "{}", world.check(again).await.summary);
}

#[tokio::test]
async fn a_policy_of_old_does_not_come_back_with_the_history() {
    let world = World::new().await;
    let before = world.get("/git/ref/heads/main").await["object"]["sha"].clone();
    let roles = "policies/roles/incident-response.yaml";
    let strict = edited(roles, "max_duration: 4h", "max_duration: 1h");
    // Its tests expect the longer one.
    is_changed(&world, "strict", roles, strict.split_once("\ntests:").unwrap().0).await;
    let body = json!({ "sha": before, "force": true });
    world.call("olga", Method::PATCH, "/repos/acme/access/git/refs/heads/main", body).await;
    world.settle().await;
    assert!(!policy_file(&world, roles).await.contains("max_duration: 4h"), "it is put back");
    let request = world.alice().asks("alice-orders", ORDERS).await;
    world.dave().approves(request).await;
    assert!(!world.is_merged(request).await, "two hours are too long by now");
}

#[tokio::test]
async fn what_an_operator_trusts_is_in_force() {
    let world = World::new().await;
    world.go_manual(true);
    assert!(world.olga().pushes_to_main(APPROVALS, &nobody_approves()).await.is_success());
    let commit = world.get("/git/ref/heads/main").await["object"]["sha"].as_str().unwrap().parse().unwrap();
    let repository = "acme/access".parse().unwrap();
    world.engine().trust_policy(&repository, &commit, "the owners of the policy have left").await.unwrap();
    world.go_manual(false);
    world.settle().await;
    let record = on_record(&world).await;
    assert_eq!((record[1]["how"].as_str(), record.len()), (Some("trusted"), 2));
    let request = world.alice().asks("alice-orders", ORDERS).await;
    assert!(world.is_merged(request).await);
    assert!(world.orders.is_member("orders_readonly", "alice"));
    world.lose_the_database().await;
    world.wait(TimeDelta::minutes(6)).await;
    assert!(world.orders.is_member("orders_readonly", "alice"), "a new database knows it from the ledger");
}

#[tokio::test]
async fn a_repair_is_approved_under_the_policy_in_force() {
    let world = World::new().await;
    nothing_is_merged(&world, true);
    world.olga().pushes_to_main(APPROVALS, &nobody_approves()).await;
    let better = edited(APPROVALS, "  none: { stages: [] }", "  # Nobody has to say yes.\n  none: { stages: [] }");
    let repair = world.bob().asks_with("repair", &[(APPROVALS.to_owned(), better.clone().into_bytes())]).await;
    nothing_is_merged(&world, false);
    world.erin().approves(repair).await;
    assert!(world.is_merged(repair).await, "{}", world.check(repair).await.summary);
    assert_eq!(policy_file(&world, APPROVALS).await, better);
    assert_eq!(on_record(&world).await.last().unwrap()["how"], "approved");
}
