//! More of what one has: asked for in a comment, approved like the first time, without a gap, and never above the ceiling.

use chrono::TimeDelta;
use http::{Method, StatusCode};
use serde_json::json;

use crate::commands::alice_has_the_orders;
use crate::life::ORDERS;
use crate::support::world::World;

/// The open pull request that asks to extend something.
async fn extension(world: &World) -> u64 {
    let pulls = world.open_pulls().await;
    let found = pulls.iter().find(|(_, title)| title.starts_with("Extend ")).map(|(number, _)| *number);
    found.unwrap_or_else(|| panic!("nobody asks to extend anything: {pulls:?}"))
}

async fn state(world: &World, number: u64) -> serde_json::Value {
    world.get(&format!("/pulls/{number}")).await["state"].clone()
}

async fn file(world: &World) -> String {
    use base64::Engine as _;
    let file = world.get("/contents/grants/alice-orders.yaml").await;
    let encoded: String = file["content"].as_str().unwrap().split_whitespace().collect();
    String::from_utf8(base64::engine::general_purpose::STANDARD.decode(encoded).unwrap()).unwrap()
}

#[tokio::test]
async fn one_hour_more_is_one_comment_and_one_review() {
    let world = World::new().await;
    let request = alice_has_the_orders(&world).await;
    world.wait(TimeDelta::minutes(60)).await;
    let comment = world.alice().says(request, "/daypass extend 30m").await;
    assert_eq!(world.reactions(comment).await, ["eyes", "rocket"]);
    let extension = extension(&world).await;
    insta::assert_snapshot!(world.last_comment(request).await, @r"
    ⏩ #2 asks for 30m more of role `orders-db-reader`, until 2026-11-30 12:30 UTC. It is approved like the first request; until it is merged, and if it is not, the access ends at 2026-11-30 12:00 UTC.
    ");
    insta::assert_snapshot!(world.get(&format!("/pulls/{extension}")).await["body"].as_str().unwrap(), @r"
    `alice` asks in #1 for 30m more of role `orders-db-reader`: 2h30m in all, until 2026-11-30 12:30 UTC.

    The access goes on until 2026-11-30 12:00 UTC whatever happens here. If this is merged before, it goes on without a gap; if not, it ends and this is closed.

    Daypass-Extends: alice-orders#1
    ");
    insta::assert_snapshot!(world.comments(extension).await[0], @r"
    <!-- daypass:status -->
    ### orders-db-reader for alice: waiting for approval stage owner

    | | |
    |---|---|
    | **Who** | `alice` |
    | **Role** | `orders-db-reader` |
    | **For** | 2h30m in all: until 2026-11-30 12:30 UTC, and no gap before |
    | **Why** | Checkouts hang since the deploy |
    | **Ticket** | INC\-4711 |
    | **Extends** | `alice-orders#1`, which runs since 2026-11-30 10:00 UTC until 2026-11-30 12:00 UTC |
    | **Gives** | `role orders_readonly for alice on orders-db` |

    **Approval** by rule `database-owner`

    1. 🟡 `owner`: open. Approve with a code review: `group:dba`: `carol`, `dave`; widens at 2026-11-30 11:30 UTC
    2. ⚪ `security`: after the stage before it. `team:security`: `erin`

    A comment with `/daypass help` tells what else can be asked for.
    ");

    world.wait(TimeDelta::minutes(20)).await;
    // More than two hours in all take security, too.
    world.dave().approves(extension).await;
    assert!(!world.is_merged(extension).await);
    world.erin().approves(extension).await;
    assert!(world.is_merged(extension).await);
    assert_eq!(file(&world).await, ORDERS.replace("2h", "2h30m"));
    world.wait(TimeDelta::minutes(69)).await;
    assert!(world.orders.is_member("orders_readonly", "alice"), "it is hers until half past twelve");
    world.wait(TimeDelta::minutes(1)).await;
    assert!(
        !world.orders.is_member("orders_readonly", "alice"),
        "and not a minute longer, however late it was approved"
    );
    assert_eq!(world.orders.calls(), ["grant orders_readonly to alice", "revoke orders_readonly from alice"], "no gap");
    assert!(world.grant_files().await.is_empty());
    assert_eq!((world.count("granted").await, world.count("ended").await), (2, 2));
    let branches = world
        .call("olga", Method::GET, "/repos/acme/access/git/ref/heads/daypass/extend/alice-orders-1", json!(null))
        .await;
    assert_eq!(branches.0, StatusCode::NOT_FOUND, "its branch is gone");
}

#[tokio::test]
async fn neither_who_has_it_nor_who_asked_for_it_approves_more_of_it() {
    let world = World::new().await;
    // Carol may approve, and has the access herself.
    let request = world.carol().asks("carol-orders", &ORDERS.replace("2h", "1h")).await;
    world.dave().approves(request).await;
    assert!(world.orders.is_member("orders_readonly", "carol"));
    world.carol().says(request, "/daypass extend 1h").await;
    let extension = extension(&world).await;
    let asked = world.get(&format!("/pulls/{extension}/requested_reviewers")).await;
    assert_eq!(asked["users"], json!([]), "she is not asked to approve her own");
    world.carol().approves(extension).await;
    assert!(!world.is_merged(extension).await, "GitHub takes her review, for she did not open it; Daypass does not");
    assert!(world.comments(extension).await[0].contains("`carol` does not count"));
    world.dave().approves(extension).await;
    assert!(world.is_merged(extension).await);
}

#[tokio::test]
async fn only_who_has_it_or_asked_for_it_asks_for_more() {
    let world = World::new().await;
    let request = alice_has_the_orders(&world).await;
    for person in [world.dave(), world.bob()] {
        let comment = person.says(request, "/daypass extend 30m").await;
        assert_eq!(world.reactions(comment).await, ["eyes", "-1"]);
    }
    assert!(world.last_comment(request).await.contains("Only `alice` can ask to extend this."));
    assert_eq!(world.open_pulls().await, []);
}

#[tokio::test]
async fn a_chain_of_extensions_never_goes_above_the_ceiling() {
    let world = World::new().await;
    let first = alice_has_the_orders(&world).await;
    world.wait(TimeDelta::minutes(60)).await;
    world.alice().says(first, "/daypass extend 1h30m").await;
    let second = extension(&world).await;
    world.dave().approves(second).await;
    world.erin().approves(second).await;
    assert!(world.is_merged(second).await);
    world.wait(TimeDelta::minutes(120)).await;
    // It lasts since ten, and four hours are the most.
    world.alice().says(second, "/daypass extend 1h").await;
    let said = world.last_comment(second).await;
    assert!(said.contains("may last 4h in all") && said.contains("30m more can be asked for"), "{said}");
    // The first pull request is about it still.
    world.alice().says(first, "/daypass extend 30m").await;
    let third = extension(&world).await;
    world.dave().approves(third).await;
    world.erin().approves(third).await;
    assert!(world.is_merged(third).await, "{}", world.check(third).await.summary);
    let chain = world.record("granted").await;
    assert_eq!(chain.last().unwrap()["chain"]["first"], format!("alice-orders#{first}"));
    world.wait(TimeDelta::minutes(59)).await;
    assert!(world.orders.is_member("orders_readonly", "alice"));
    world.wait(TimeDelta::minutes(1)).await;
    assert!(!world.orders.is_member("orders_readonly", "alice"), "at two, four hours after it began");
    assert_eq!(world.orders.calls().len(), 2);
}

#[tokio::test]
async fn a_longer_duration_pushed_onto_the_branch_is_still_held_against_the_whole() {
    let world = World::new().await;
    let request = alice_has_the_orders(&world).await;
    world.alice().says(request, "/daypass extend 1h").await;
    let extension = extension(&world).await;
    let branch = world.get(&format!("/pulls/{extension}")).await["head"]["ref"].as_str().unwrap().to_owned();
    // Five hours in all: above the ceiling, though only three more.
    world.alice().writes(&branch, "grants/alice-orders.yaml", ORDERS.replace("2h", "5h").as_bytes()).await;
    world.settle().await;
    assert_eq!(world.check(extension).await.conclusion, "failure");
    // Another role, by the way.
    let other = ORDERS.replace("orders-db-reader", "docs-preview");
    world.alice().writes(&branch, "grants/alice-orders.yaml", other.as_bytes()).await;
    world.settle().await;
    let summary = world.check(extension).await.summary;
    assert!(summary.contains("DP0510") && summary.contains("more than the duration"), "{summary}");
    // Something beside it.
    world.alice().writes(&branch, "grants/alice-orders.yaml", ORDERS.replace("2h", "3h").as_bytes()).await;
    world.alice().writes(&branch, "grants/bob-orders.yaml", ORDERS.as_bytes()).await;
    world.settle().await;
    world.dave().approves(extension).await;
    world.erin().approves(extension).await;
    assert!(!world.is_merged(extension).await);
    world.olga().merges(extension).await;
    assert!(!world.orders.is_member("orders_readonly", "bob"));
    world.wait(TimeDelta::minutes(121)).await;
    assert!(!world.orders.is_member("orders_readonly", "alice"));
}

#[tokio::test]
async fn nobody_makes_an_extension_by_naming_a_branch_like_one() {
    let world = World::new().await;
    let request = alice_has_the_orders(&world).await;
    world.wait(TimeDelta::minutes(90)).await;
    let branch = format!("daypass/extend/alice-orders-{request}");
    let files = [("grants/alice-orders.yaml".to_owned(), ORDERS.replace("2h", "1h").into_bytes())];
    let pull = world.alice().asks_with(&branch, &files).await;
    assert!(
        world.check(pull).await.title.contains("waiting"),
        "it is a request like any other, with a clock of its own"
    );
    world.dave().approves(pull).await;
    assert!(world.is_merged(pull).await);
    world.wait(TimeDelta::minutes(59)).await;
    assert!(world.orders.is_member("orders_readonly", "alice"));
    world.wait(TimeDelta::minutes(1)).await;
    assert!(!world.orders.is_member("orders_readonly", "alice"));
}

#[tokio::test]
async fn access_ends_if_nobody_approves_more_of_it() {
    let world = World::new().await;
    let request = alice_has_the_orders(&world).await;
    world.alice().says(request, "/daypass extend 30m").await;
    let extension = extension(&world).await;
    let again = world.alice().says(request, "/daypass extend 1h").await;
    assert_eq!(world.reactions(again).await, ["eyes", "-1"], "one at a time");
    assert!(world.last_comment(request).await.contains(&format!("#{extension} asks to extend this already")));
    world.wait(TimeDelta::minutes(119)).await;
    assert!(world.orders.is_member("orders_readonly", "alice"));
    world.wait(TimeDelta::minutes(1)).await;
    assert!(!world.orders.is_member("orders_readonly", "alice"));
    assert_eq!(state(&world, extension).await, "closed");
    assert!(world.last_comment(extension).await.contains("The access this would extend is over"));
    assert!(world.grant_files().await.is_empty());
    assert_eq!((world.count("rejected").await, world.count("withdrawn").await), (1, 0));
}

#[tokio::test]
async fn ending_it_early_closes_what_would_have_extended_it() {
    let world = World::new().await;
    let request = alice_has_the_orders(&world).await;
    world.alice().says(request, "/daypass extend 30m").await;
    let extension = extension(&world).await;
    world.alice().says(request, "/daypass revoke").await;
    assert!(!world.orders.is_member("orders_readonly", "alice"));
    assert_eq!(state(&world, extension).await, "closed");
    assert!(world.grant_files().await.is_empty());
}

#[tokio::test]
async fn an_extension_merged_too_late_gives_nothing() {
    let world = World::new().await;
    let request = alice_has_the_orders(&world).await;
    world.alice().says(request, "/daypass extend 30m").await;
    let extension = extension(&world).await;
    // Approved in time, but Daypass is away until after the end, and olga merges it then.
    world.go_manual(true);
    world.dave().approves(extension).await;
    world.erin().approves(extension).await;
    world.advance(TimeDelta::minutes(125));
    assert_eq!(world.olga().merges(extension).await, StatusCode::OK);
    world.go_manual(false);
    world.wait(TimeDelta::minutes(6)).await;
    assert!(!world.orders.is_member("orders_readonly", "alice"));
    assert!(world.grant_files().await.is_empty());
    assert_eq!(world.count("granted").await, 1);
}

#[tokio::test]
async fn a_lost_database_reads_the_chain_from_git() {
    let world = World::new().await;
    let request = alice_has_the_orders(&world).await;
    world.wait(TimeDelta::minutes(60)).await;
    world.alice().says(request, "/daypass extend 1h").await;
    let extension = extension(&world).await;
    world.dave().approves(extension).await;
    world.erin().approves(extension).await;
    assert!(world.is_merged(extension).await);
    // The first grant would be over by now.
    world.wait(TimeDelta::minutes(75)).await;
    world.lose_the_database().await;
    world.wait(TimeDelta::minutes(10)).await;
    assert!(world.orders.is_member("orders_readonly", "alice"), "{:?}", world.events().await);
    assert_eq!(world.grant_files().await, ["grants/alice-orders.yaml"]);
    world.wait(TimeDelta::minutes(34)).await;
    assert!(world.orders.is_member("orders_readonly", "alice"), "until one");
    world.wait(TimeDelta::minutes(2)).await;
    assert!(!world.orders.is_member("orders_readonly", "alice"));
    assert!(world.grant_files().await.is_empty());
}

#[tokio::test]
async fn a_lost_database_does_not_give_up_what_waits_for_approval() {
    let world = World::new().await;
    let request = alice_has_the_orders(&world).await;
    world.alice().says(request, "/daypass extend 30m").await;
    let extension = extension(&world).await;
    world.lose_the_database().await;
    world.settle().await;
    assert_eq!(state(&world, extension).await, "open");
    world.wait(TimeDelta::minutes(6)).await;
    world.dave().approves(extension).await;
    world.erin().approves(extension).await;
    assert!(world.is_merged(extension).await, "{}", world.check(extension).await.summary);
    world.wait(TimeDelta::minutes(143)).await;
    assert!(world.orders.is_member("orders_readonly", "alice"));
    world.wait(TimeDelta::minutes(1)).await;
    assert!(!world.orders.is_member("orders_readonly", "alice"));
}

#[tokio::test]
async fn an_extension_can_be_denied_and_asked_for_again() {
    let world = World::new().await;
    let request = alice_has_the_orders(&world).await;
    world.alice().says(request, "/daypass extend 30m").await;
    let denied = extension(&world).await;
    world.carol().says(denied, "/daypass deny enough").await;
    assert_eq!(state(&world, denied).await, "closed");
    world.alice().says(request, "/daypass extend 1h").await;
    let again = extension(&world).await;
    assert_ne!(again, denied);
    world.dave().approves(again).await;
    world.erin().approves(again).await;
    assert!(world.is_merged(again).await);
    assert_eq!(file(&world).await, ORDERS.replace("2h", "3h"));
}
