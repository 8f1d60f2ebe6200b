//! What must be impossible, whoever tries.

use chrono::TimeDelta;
use http::{Method, StatusCode};
use serde_json::json;

use crate::commands::alice_has_the_orders;
use crate::life::ORDERS;
use crate::support::world::World;

#[tokio::test]
async fn hidden_or_turned_text_in_a_reason_is_refused() {
    let world = World::new().await;
    for (slug, hidden) in
        [("bidi", "\u{202e}nimda"), ("zero-width", "safe\u{200b}ty"), ("tag", "x\u{e0041}"), ("isolate", "\u{2066}x")]
    {
        let request = ORDERS.replace("Checkouts hang since the deploy", &format!("{:?}", format!("fine {hidden}")));
        // As YAML escapes, as a person with bad intentions writes them.
        let number = world.alice().asks(slug, &request.replace("\\u{", "\\U{")).await;
        let check = world.check(number).await;
        assert_eq!(check.conclusion, "failure", "{slug}");
        let raw = ORDERS.replace("Checkouts hang since the deploy", &format!("fine {hidden}"));
        world.alice().changes(slug, &raw).await;
        let check = world.check(number).await;
        assert_eq!(check.conclusion, "failure", "{slug}");
        assert!(check.summary.contains("DP0111"), "{slug}: {}", check.summary);
        assert!(!world.comments(number).await[0].contains(hidden), "{slug}");
    }
}

#[tokio::test]
async fn nothing_a_request_says_is_markup_or_a_mention() {
    let world = World::new().await;
    let hostile = "@acme/security <img src=x onerror=y> [a](javascript:x) #1 ![b](http://evil.test)";
    let text =
        format!("role: orders-db-reader\nduration: 2h\nticket: {:?}\nreason: {:?}\n", "INC-1 @acme/all <b>|x", hostile);
    let number = world.alice().asks("at-acme-security", &text).await;
    world.dave().says(number, &format!("/daypass deny {hostile}")).await;
    let said = world.comments(number).await;
    assert_eq!(said.len(), 2);
    for comment in &said {
        for raw in ["@acme", "<img", "<b>", "[a](", "![b]", " #1"] {
            assert!(!comment.contains(raw), "{raw} in {comment}");
        }
    }
    let summary = world.check(number).await.summary;
    assert!(!summary.contains("@acme") && !summary.contains("<img"), "{summary}");
}

#[tokio::test]
async fn a_revert_of_the_revert_brings_no_access_back() {
    let world = World::new().await;
    let request = alice_has_the_orders(&world).await;
    world.alice().says(request, "/daypass revoke").await;
    assert!(!world.orders.is_member("orders_readonly", "alice"));
    // GitHub's own "Revert" button: a pull request with the file as it was.
    let again = world
        .alice()
        .asks_with("revert-2", &[("grants/alice-orders.yaml".to_owned(), ORDERS.as_bytes().to_vec())])
        .await;
    assert!(world.check(again).await.title.contains("waiting for approval"), "it is a new request");
    assert_eq!(world.olga().merges(again).await, StatusCode::OK, "past the check");
    world.wait(TimeDelta::minutes(6)).await;
    assert_eq!(world.orders.calls(), ["grant orders_readonly to alice", "revoke orders_readonly from alice"]);
    assert!(world.grant_files().await.is_empty());
}

#[tokio::test]
async fn webhooks_in_any_order_and_any_number_lead_to_the_same() {
    let world = World::new().await;
    world.go_manual(true);
    let request = world.alice().asks("alice-orders", ORDERS).await;
    world.dave().approves(request).await;
    world.alice().says(request, "/daypass help").await;
    let mut deliveries = world.sandbox.take_deliveries();
    deliveries.reverse();
    world.go_manual(false);
    for delivery in &deliveries {
        assert_eq!(world.deliver(delivery).await, StatusCode::ACCEPTED);
    }
    world.settle().await;
    assert!(world.is_merged(request).await);
    world.alice().says(request, "/daypass revoke").await;
    // The opening and the approval once more, under names GitHub never used.
    for (number, delivery) in deliveries.iter().enumerate() {
        let mut replayed = delivery.clone();
        replayed.guid = format!("replay-{number}");
        world.deliver(&replayed).await;
    }
    world.settle().await;
    assert_eq!(world.orders.calls(), ["grant orders_readonly to alice", "revoke orders_readonly from alice"]);
    let said = world.comments(request).await;
    assert_eq!(said.iter().filter(|text| text.contains("| A comment with this line |")).count(), 1, "{said:#?}");
}

#[tokio::test]
async fn a_green_check_of_the_same_name_by_another_app_lets_nothing_pass() {
    let world = World::new().await;
    let request = world.alice().asks("alice-orders", ORDERS).await;
    let head = world.get(&format!("/pulls/{request}")).await["head"]["sha"].as_str().unwrap().to_owned();
    let foreign = world.sandbox.add_foreign_check("access", &head, "daypass", &format!("pull-{request}")).unwrap();
    assert_eq!(world.alice().merges(request).await, StatusCode::METHOD_NOT_ALLOWED, "the rule names the app");
    // A rule that forgot to: the merge goes through, and gives nothing.
    world.sandbox.protect("access", daypass::sandbox::BranchRule::default()).unwrap();
    assert_eq!(world.alice().merges(request).await, StatusCode::OK);
    world.wait(TimeDelta::minutes(6)).await;
    assert!(world.orders.calls().is_empty());
    assert!(world.grant_files().await.is_empty());
    // A new database looks for its own check and leaves the other alone.
    let (status, other) =
        world.call("olga", Method::GET, &format!("/repos/acme/access/check-runs/{foreign}"), json!(null)).await;
    assert_eq!((status, &other["output"]["title"]), (StatusCode::OK, &json!(null)));
}
