//! A request's whole life, as everybody hopes it goes.

use chrono::TimeDelta;

use crate::support::world::World;

pub const ORDERS: &str =
    "role: orders-db-reader\nduration: 2h\nticket: INC-4711\nreason: Checkouts hang since the deploy\n";
const RESPONDER: &str = "role: prod-responder\nduration: 1h\nticket: INC-4711\nreason: Checkouts hang\n";

#[tokio::test]
async fn alice_asks_dave_approves_the_role_is_hers_for_two_hours() {
    let world = World::new().await;
    let (alice, dave) = (world.alice(), world.dave());

    let request = alice.asks("alice-orders", ORDERS).await;
    let asked = world.get(&format!("/pulls/{request}/requested_reviewers")).await;
    assert_eq!(asked["users"][0]["login"], "carol");
    assert_eq!(asked["teams"][0]["slug"], "data-platform");
    let check = world.check(request).await;
    assert_eq!(check.conclusion, "", "the check is still running: it waits for approval");
    assert_eq!(check.title, "orders-db-reader for alice: waiting for approval stage owner");
    assert!(!world.orders.is_member("orders_readonly", "alice"));

    dave.approves(request).await;
    assert!(world.is_merged(request).await);
    assert!(world.orders.is_member("orders_readonly", "alice"));
    assert_eq!(world.check(request).await.conclusion, "success");
    assert_eq!(world.grant_files().await, ["grants/alice-orders.yaml"]);

    world.wait(TimeDelta::minutes(109)).await;
    assert_eq!(world.open_pulls().await, []);
    world.wait(TimeDelta::minutes(1)).await;
    let revert = world.open_pulls().await;
    assert_eq!(revert[0].1, "Revert \"Grant orders-db-reader to alice\"");
    assert!(world.orders.is_member("orders_readonly", "alice"), "it is hers until the end");

    world.wait(TimeDelta::minutes(10)).await;
    assert!(!world.orders.is_member("orders_readonly", "alice"));
    assert!(world.is_merged(revert[0].0).await);
    assert!(world.grant_files().await.is_empty());

    let said = world.comments(request).await;
    assert_eq!(said.len(), 4, "{said:#?}");
    assert!(said[0].contains("**Merged.**"), "the status comment is edited in place: {}", said[0]);
    assert!(said[1].contains("alice") && said[1].contains("has role") && said[1].contains("2026-11-30 12:00 UTC"));
    assert!(said[2].contains(&format!("#{}", revert[0].0)));
    assert!(said[3].contains("no longer has role"));
    assert_eq!(world.orders.calls(), ["grant orders_readonly to alice", "revoke orders_readonly from alice"]);
}

#[tokio::test]
async fn a_responder_joins_the_team_and_gets_a_certificate_for_exactly_the_window() {
    let world = World::new().await;
    let request = world.alice().asks("alice-prod", RESPONDER).await;
    world.bob().approves(request).await;
    assert!(world.sandbox.is_in_team("prod-responders", "alice"));

    let said = world.comments(request).await.join("\n");
    let line = said.lines().find(|line| line.starts_with("ssh-ed25519-cert-v01@openssh.com ")).unwrap();
    let certificate = ssh_key::Certificate::from_openssh(line).unwrap();
    assert_eq!(certificate.valid_principals(), ["alice", "responder"]);
    assert_eq!(certificate.key_id(), format!("daypass:alice-prod#{request}:alice"));
    let now = u64::try_from(world.now().timestamp()).unwrap();
    assert_eq!((certificate.valid_after(), certificate.valid_before()), (now, now + 3_600));

    world.wait(TimeDelta::hours(1)).await;
    assert!(!world.sandbox.is_in_team("prod-responders", "alice"));
    assert!(world.grant_files().await.is_empty());
}

#[tokio::test]
async fn a_low_risk_role_waits_for_nobody() {
    let world = World::new().await;
    let request = world.alice().asks("docs", "role: docs-preview\nduration: 8h\nreason: Proofreading\n").await;
    assert!(world.is_merged(request).await);
    assert!(world.sandbox.is_in_team("docs", "alice"));
}

#[tokio::test]
async fn the_glass_is_broken_at_night_and_everybody_can_see_it() {
    let world = World::new().await;
    let text = "role: prod-break-glass\nduration: 30m\nreason: Nobody answers the phone\nbreak_glass: true\n";
    let request = world.alice().asks("glass", text).await;
    assert!(world.is_merged(request).await);
    assert!(world.comments(request).await[0].contains("break-glass"));
    world.wait(TimeDelta::minutes(30)).await;
    assert!(world.grant_files().await.is_empty());
}

#[tokio::test]
async fn a_patch_window_announced_by_day_opens_at_night() {
    let world = World::new().await;
    let text = "role: patch-window\nduration: 4h\nticket: CHG-7\nreason: OpenSSL\nstart: 2026-11-30T22:00:00Z\n";
    world.sandbox.add_key("bob", &world_key()).unwrap();
    let request = world.bob().asks("patching", text).await;
    world.erin().approves(request).await;
    assert!(!world.is_merged(request).await, "the lead comes first");
    world.carol().approves(request).await;
    assert!(world.is_merged(request).await);
    assert!(!world.sandbox.is_in_team("patch-crew", "bob"), "not yet");
    world.wait(TimeDelta::hours(12)).await;
    assert!(world.sandbox.is_in_team("patch-crew", "bob"));
    world.wait(TimeDelta::hours(4)).await;
    assert!(!world.sandbox.is_in_team("patch-crew", "bob"));
}

fn world_key() -> String {
    let key = ssh_key::private::Ed25519Keypair::from_seed(&[9; 32]);
    ssh_key::PrivateKey::new(key.into(), "bob").unwrap().public_key().to_openssh().unwrap()
}

#[tokio::test]
async fn removing_the_file_by_pull_request_ends_access_early() {
    let world = World::new().await;
    let request = world.alice().asks("alice-orders", ORDERS).await;
    world.dave().approves(request).await;
    assert!(world.orders.is_member("orders_readonly", "alice"));

    world.alice().branches("done").await;
    world.alice().removes("done", "grants/alice-orders.yaml").await;
    let done = world.alice().opens("done").await;
    assert!(world.is_merged(done).await, "the subject may give access back at once");
    assert!(!world.orders.is_member("orders_readonly", "alice"));
    assert!(world.comments(request).await.last().unwrap().contains("it was ended early"));
}

#[tokio::test]
async fn merging_the_revert_early_ends_access_early() {
    let world = World::new().await;
    let request = world.alice().asks("alice-orders", ORDERS).await;
    world.dave().approves(request).await;
    world.wait(TimeDelta::minutes(112)).await;
    let revert = world.open_pulls().await[0].0;
    assert_eq!(world.alice().merges(revert).await, http::StatusCode::OK);
    assert!(!world.orders.is_member("orders_readonly", "alice"));
}

#[tokio::test]
async fn two_grants_share_an_entitlement_and_the_longer_one_keeps_it() {
    let world = World::new().await;
    let short = world.alice().asks("short", &ORDERS.replace("2h", "1h")).await;
    let long = world.alice().asks("long", ORDERS).await;
    world.dave().approves(short).await;
    world.dave().approves(long).await;
    world.wait(TimeDelta::minutes(61)).await;
    assert_eq!(world.grant_files().await, ["grants/long.yaml"]);
    assert!(world.orders.is_member("orders_readonly", "alice"));
    world.wait(TimeDelta::minutes(60)).await;
    assert!(!world.orders.is_member("orders_readonly", "alice"));
    assert_eq!(world.orders.calls().len(), 2);
}

#[tokio::test]
async fn access_somebody_had_before_is_left_alone() {
    let world = World::new().await;
    world.orders.add("orders_readonly", "alice");
    let request = world.alice().asks("alice-orders", ORDERS).await;
    world.dave().approves(request).await;
    world.wait(TimeDelta::minutes(121)).await;
    assert!(world.orders.is_member("orders_readonly", "alice"));
    assert!(world.orders.calls().is_empty());
    assert!(world.grant_files().await.is_empty());
}
