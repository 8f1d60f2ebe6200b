//! Comments as commands: who may ask for what, once, in their own words.

use chrono::TimeDelta;
use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::life::ORDERS;
use crate::support::world::World;

/// Alice asks and dave approves: the number of the merged request.
pub async fn alice_has_the_orders(world: &World) -> u64 {
    let request = world.alice().asks("alice-orders", ORDERS).await;
    world.dave().approves(request).await;
    assert!(world.orders.is_member("orders_readonly", "alice"));
    request
}

async fn state(world: &World, number: u64) -> Value {
    world.get(&format!("/pulls/{number}")).await["state"].clone()
}

#[tokio::test]
async fn dave_denies_it_with_a_reason_and_it_is_closed() {
    let world = World::new().await;
    let request = world.alice().asks("alice-orders", ORDERS).await;
    let comment = world.dave().says(request, "Sorry.\n\n/daypass deny use the replica, @acme/all **really**").await;
    assert_eq!(state(&world, request).await, "closed");
    assert_eq!(world.reactions(comment).await, ["eyes", "rocket"]);
    insta::assert_snapshot!(world.last_comment(request).await, @r"
    ⛔ **Denied** by `dave`: use the replica, @‌acme/all \*\*really\*\*

    This pull request is closed. A new request can be opened once that is settled.
    ");
    let denied = world.record("denied").await;
    assert_eq!((denied.len(), &denied[0]["by"]["login"]), (1, &json!("dave")));
    assert_eq!(world.count("withdrawn").await, 0, "alice did not withdraw it");
}

#[tokio::test]
async fn who_may_only_approve_once_a_stage_widens_may_deny_and_whoever_has_a_hand_in_it_may_not() {
    let world = World::new().await;
    // Carol, an approver, wrote a commit; bob approves nothing; alice asks.
    let request = world.alice().asks("alice-orders", ORDERS).await;
    world.carol().changes("alice-orders", &ORDERS.replace("2h", "1h")).await;
    for person in [world.carol(), world.bob(), world.alice()] {
        let comment = person.says(request, "/daypass deny no").await;
        assert_eq!(world.reactions(comment).await, ["eyes", "-1"]);
    }
    assert_eq!(state(&world, request).await, "open");
    assert!(world.last_comment(request).await.contains("withdraws it by closing"));
    // Security would be asked about longer requests only, and the leads after half an hour.
    world.sandbox.add_to_team("platform-leads", "erin").unwrap();
    world.erin().says(request, "/daypass deny too close to the audit").await;
    assert_eq!(state(&world, request).await, "closed");
}

#[tokio::test]
async fn a_denial_comes_before_an_approval_that_arrives_with_it() {
    let world = World::new().await;
    let request = world.alice().asks("alice-orders", ORDERS).await;
    world.go_manual(true);
    world.dave().approves(request).await;
    world.carol().says(request, "/daypass deny not today").await;
    world.go_manual(false);
    world.settle().await;
    assert!(!world.is_merged(request).await);
    assert_eq!(state(&world, request).await, "closed");
}

#[tokio::test]
async fn alice_ends_her_access_with_one_line_even_while_it_cannot_be_merged() {
    let world = World::new().await;
    let request = alice_has_the_orders(&world).await;
    world.sandbox.disturb(Some(std::sync::Arc::new(|method: &Method, path: &str| {
        let writes = *method != Method::GET && (path.ends_with("/merge") || path.contains("/git/"));
        writes.then_some(daypass::sandbox::Disturbance::Refuse(503))
    })));
    let comment = world.alice().says(request, "/daypass revoke").await;
    assert_eq!(world.reactions(comment).await, ["eyes", "rocket"]);
    assert!(!world.orders.is_member("orders_readonly", "alice"), "access does not wait for the file");
    assert_eq!(world.grant_files().await, ["grants/alice-orders.yaml"]);
    world.sandbox.disturb(None);
    world.wait(TimeDelta::minutes(2)).await;
    assert!(world.grant_files().await.is_empty());
    assert_eq!(world.reactions(comment).await, ["eyes", "rocket"]);
    let ended = world.record("ended").await;
    assert_eq!((ended.len(), &ended[0]["by"]["login"]), (1, &json!("alice")));
    let said = world.comments(request).await;
    assert!(said.iter().any(|text| text.contains("`alice` ends role `orders-db-reader` of `alice` now")), "{said:#?}");
    assert!(said.iter().any(|text| text.contains("no longer has role")), "{said:#?}");
}

#[tokio::test]
async fn an_approver_ends_it_and_others_do_not() {
    let world = World::new().await;
    let request = alice_has_the_orders(&world).await;
    let comment = world.bob().says(request, "/daypass revoke").await;
    assert_eq!(world.reactions(comment).await, ["eyes", "-1"]);
    assert!(world.orders.is_member("orders_readonly", "alice"));
    assert!(
        world.last_comment(request).await.contains("`alice` or an approver of role `orders-db-reader` can end this")
    );
    world.carol().says(request, "/daypass revoke").await;
    assert!(!world.orders.is_member("orders_readonly", "alice"));
    assert!(world.grant_files().await.is_empty());
}

#[tokio::test]
async fn it_can_be_ended_from_the_pull_request_that_takes_it_back() {
    let world = World::new().await;
    let request = alice_has_the_orders(&world).await;
    world.wait(TimeDelta::minutes(111)).await;
    let revert = world.open_pulls().await[0].0;
    let comment = world.alice().says(revert, "/daypass revoke").await;
    assert_eq!(world.reactions(comment).await, ["eyes", "rocket"]);
    assert!(!world.orders.is_member("orders_readonly", "alice"));
    assert!(world.comments(request).await.iter().any(|text| text.contains("ends role")));
    assert!(world.is_merged(revert).await);
}

#[tokio::test]
async fn what_is_no_command_is_left_alone() {
    let world = World::new().await;
    let request = alice_has_the_orders(&world).await;
    let before = world.comments(request).await;
    for text in [
        "> /daypass revoke",
        "> he wrote\n/daypass revoke",
        "```\n/daypass revoke\n```",
        "<!--\n/daypass revoke\n-->",
        "I would say /daypass revoke",
        "    /daypass revoke",
    ] {
        let comment = world.alice().says(request, text).await;
        assert!(world.reactions(comment).await.is_empty(), "{text:?}");
    }
    assert_eq!(world.comments(request).await, before);
    assert!(world.orders.is_member("orders_readonly", "alice"));
}

#[tokio::test]
async fn an_edited_comment_commands_nothing() {
    let world = World::new().await;
    let request = alice_has_the_orders(&world).await;
    let comment = world.alice().says(request, "Thank you!").await;
    world.advance(TimeDelta::seconds(5));
    // Whoever can write to the repository can put words into her mouth.
    let path = format!("/repos/acme/access/issues/comments/{comment}");
    let (status, _) = world.call("bob", Method::PATCH, &path, json!({ "body": "/daypass revoke" })).await;
    assert_eq!(status, StatusCode::OK);
    world.settle().await;
    assert!(world.orders.is_member("orders_readonly", "alice"));
    assert_eq!(world.reactions(comment).await, ["eyes", "confused"], "and it is told so");
    assert!(world.last_comment(request).await.contains("a comment that was changed commands nothing"));
}

#[tokio::test]
async fn a_comment_that_was_edited_within_the_second_commands_nothing_either() {
    let world = World::new().await;
    let request = alice_has_the_orders(&world).await;
    world.go_manual(true);
    let comment = world.alice().says(request, "Thank you!").await;
    let path = format!("/repos/acme/access/issues/comments/{comment}");
    world.call("bob", Method::PATCH, &path, json!({ "body": "/daypass revoke" })).await;
    world.go_manual(false);
    world.settle().await;
    assert!(world.orders.is_member("orders_readonly", "alice"), "its times are the same, the webhook told");
    assert_eq!(world.reactions(comment).await, ["eyes", "confused"]);
}

#[tokio::test]
async fn strangers_and_bots_get_no_answer() {
    let world = World::new().await;
    let request = alice_has_the_orders(&world).await;
    let before = world.comments(request).await.len();
    let stranger = world.alice().says(request, "/daypass revoke now").await;
    assert_eq!(world.reactions(stranger).await, ["eyes", "confused"], "a member is told what is wrong");
    assert_eq!(world.comments(request).await.len(), before + 1);
    // Bob leaves the organisation right after he wrote; the app itself quotes a command.
    world.go_manual(true);
    let bobs = world.bob().says(request, "/daypass help").await;
    let token = crate::github::installation_token(&world).await;
    let path = format!("/repos/acme/access/issues/{request}/comments");
    let (_, apps) = world.call_with(&token, Method::POST, &path, json!({ "body": "/daypass revoke" })).await;
    world.sandbox.remove_member("bob").unwrap();
    world.go_manual(false);
    world.settle().await;
    assert!(world.reactions(bobs).await.is_empty());
    assert!(world.reactions(apps["id"].as_u64().unwrap()).await.is_empty());
    assert!(world.orders.is_member("orders_readonly", "alice"));
}

#[tokio::test]
async fn an_unknown_command_is_answered_with_help_once() {
    let world = World::new().await;
    let request = world.alice().asks("alice-orders", ORDERS).await;
    let comment = world.alice().says(request, "/daypass approve").await;
    assert_eq!(world.reactions(comment).await, ["eyes", "confused"]);
    insta::assert_snapshot!(world.last_comment(request).await, @r"
    I do not know that command.

    | A comment with this line | |
    |---|---|
    | `/daypass deny REASON` | an approver refuses the request; it is closed |
    | `/daypass extend 1h` | whoever has the access, or asked for it, asks for more of it; that is approved like the first request |
    | `/daypass revoke` | whoever has the access, asked for it or may approve it ends it at once |
    | `/daypass explain` | why it stands as it does, rule by rule |
    | `/daypass recheck` | look again now |
    | `/daypass help` | this |

    One command a comment, at the beginning of a line. Approving is a code review. Closing a pull request withdraws it.
    ");
    let before = world.comments(request).await.len();
    let again = world.dave().says(request, "/daypass aprove").await;
    assert_eq!(world.reactions(again).await, ["eyes", "confused"]);
    assert_eq!(world.comments(request).await.len(), before, "once is enough");
    assert!(!world.is_merged(request).await, "there is no approving by comment");
}

#[tokio::test]
async fn explain_tells_every_rule_and_recheck_looks_again() {
    let world = World::new().await;
    let request = world.alice().asks("alice-orders", &ORDERS.replace("2h", "3h")).await;
    world.bob().says(request, "/daypass explain").await;
    insta::assert_snapshot!(world.last_comment(request).await, @r"
    **Rules**

    - ✅ there is a role `orders-db-reader`
    - ✅ the account exists
    - ✅ `alice` may have it: it is for `team:engineering`, `group:dba`
    - ✅ `3h` is no longer than `4h`
    - ✅ a ticket is named
    - ✅ condition `request.ticket.matches('^INC-[0-9]+$')` is true
    - ✅ what it gives can be worked out
    - ✅ enough people could approve each stage

    **Approval** by rule `database-owner`

    1. 🟡 `owner`: open. Approve with a code review: `group:dba`: `carol`, `dave`; widens at 2026-11-30 10:30 UTC
    2. ⚪ `security`: after the stage before it. `team:security`: `erin`

    Merged now, access would last from 2026-11-30 10:00 UTC to 2026-11-30 13:00 UTC.
    ");
    world.lose_webhooks(true);
    world.dave().approves(request).await;
    world.erin().approves(request).await;
    world.lose_webhooks(false);
    let comment = world.alice().says(request, "/daypass recheck").await;
    assert_eq!(world.reactions(comment).await, ["eyes", "rocket"]);
    assert!(world.is_merged(request).await);
    world.dave().says(request, "/daypass explain").await;
    let text = world.last_comment(request).await;
    assert!(
        text.contains("`alice` has role `orders-db-reader` since 2026-11-30 10:00 UTC, until 2026-11-30 13:00 UTC"),
        "{text}"
    );
    assert!(text.contains("`dave`, `erin` approved it"), "{text}");
}

#[tokio::test]
async fn a_lost_webhook_changes_nothing() {
    let world = World::new().await;
    let request = alice_has_the_orders(&world).await;
    let open = world.bob().asks("bob-orders", ORDERS).await;
    world.wait(TimeDelta::minutes(6)).await;
    world.lose_webhooks(true);
    world.alice().says(request, "/daypass revoke").await;
    world.dave().says(open, "/daypass deny not now").await;
    assert!(world.orders.is_member("orders_readonly", "alice"));
    world.wait(TimeDelta::minutes(6)).await;
    assert!(!world.orders.is_member("orders_readonly", "alice"));
    assert_eq!(state(&world, open).await, "closed");
}

#[tokio::test]
async fn a_command_is_done_once_whatever_is_lost_or_repeated() {
    let world = World::new().await;
    let request = world.alice().asks("alice-orders", ORDERS).await;
    world.go_manual(true);
    let comment = world.dave().says(request, "/daypass deny no").await;
    let deliveries = world.sandbox.take_deliveries();
    world.go_manual(false);
    for delivery in deliveries.iter().chain(&deliveries) {
        world.deliver(delivery).await;
    }
    world.settle().await;
    assert_eq!(state(&world, request).await, "closed");
    world.alice().reopens(request).await;
    assert_eq!(state(&world, request).await, "open", "what was said about its earlier life is done");
    world.lose_the_database().await;
    world.wait(TimeDelta::minutes(6)).await;
    assert_eq!(state(&world, request).await, "open", "and a new database sees that by the reaction");
    assert_eq!(world.reactions(comment).await, ["eyes", "rocket"]);
    let said = world.comments(request).await;
    assert_eq!(said.iter().filter(|text| text.contains("**Denied**")).count(), 1, "{said:#?}");
}

#[tokio::test]
async fn the_process_dies_at_every_step_of_a_denial_and_it_happens_once() {
    let world = World::new().await;
    let request = world.alice().asks("alice-orders", ORDERS).await;
    world.go_manual(true);
    let comment = world.dave().says(request, "/daypass deny no").await;
    world.go_manual(false);
    for delivery in world.sandbox.take_deliveries() {
        world.deliver(&delivery).await;
    }
    // Each call of GitHub that changes something is done and then takes the answer along, once.
    let done = std::sync::Mutex::new(std::collections::BTreeSet::new());
    world.sandbox.disturb(Some(std::sync::Arc::new(move |method: &Method, path: &str| {
        let first = *method != Method::GET && done.lock().unwrap().insert(format!("{method} {path}"));
        first.then_some(daypass::sandbox::Disturbance::Pretend(502))
    })));
    for _ in 0..40 {
        world.restart().await;
        world.engine().step().await.unwrap();
        world.advance(TimeDelta::seconds(20));
    }
    world.sandbox.disturb(None);
    world.wait(TimeDelta::minutes(6)).await;
    assert_eq!(state(&world, request).await, "closed");
    assert_eq!(world.reactions(comment).await, ["eyes", "rocket"]);
    assert_eq!((world.count("denied").await, world.count("withdrawn").await), (1, 0));
    let said = world.comments(request).await;
    assert_eq!(said.iter().filter(|text| text.contains("**Denied**")).count(), 1, "{said:#?}");
}

#[tokio::test]
async fn a_lost_database_does_not_bring_revoked_access_back() {
    let world = World::new().await;
    let request = alice_has_the_orders(&world).await;
    // The file cannot leave the default branch.
    world.sandbox.disturb(Some(std::sync::Arc::new(|method: &Method, path: &str| {
        let writes = *method != Method::GET && (path.ends_with("/merge") || path.contains("/git/"));
        writes.then_some(daypass::sandbox::Disturbance::Refuse(503))
    })));
    world.alice().says(request, "/daypass revoke").await;
    assert!(!world.orders.is_member("orders_readonly", "alice"));
    world.lose_the_database().await;
    world.wait(TimeDelta::minutes(10)).await;
    assert_eq!(world.grant_files().await, ["grants/alice-orders.yaml"]);
    let given = world.orders.calls().iter().filter(|call| call.starts_with("grant")).count();
    assert_eq!(given, 1, "{:?}", world.orders.calls());
    world.sandbox.disturb(None);
    world.wait(TimeDelta::minutes(2)).await;
    assert!(world.grant_files().await.is_empty());
    // Once it is gone for good, the next database has nothing to add.
    let said = world.comments(request).await;
    world.lose_the_database().await;
    world.bob().says(request, "Thanks").await;
    world.wait(TimeDelta::minutes(12)).await;
    assert_eq!(world.comments(request).await, said);
}
