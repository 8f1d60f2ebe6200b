//! The ledger's branch: what happened is on it, once, whatever crashed, and whatever others did to it.

use std::sync::Arc;

use chrono::TimeDelta;
use daypass::ledger::{Entry, Link, link};
use daypass::sandbox::Disturbance;
use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::life::ORDERS;
use crate::support::world::World;

const REF: &str = "/git/refs/heads/daypass/ledger";

/// Alice has the orders until noon, and that is on the branch.
async fn alice_has_the_orders(world: &World) -> u64 {
    let request = world.alice().asks("alice-orders", ORDERS).await;
    world.dave().approves(request).await;
    world.wait(TimeDelta::minutes(1)).await;
    assert_eq!(world.ledger_differs().await, None);
    request
}

async fn olga(world: &World, method: Method, path: &str, body: Value) -> (StatusCode, Value) {
    world.call("olga", method, &format!("/repos/acme/access{path}"), body).await
}

async fn head(world: &World) -> String {
    world.get("/git/ref/heads/daypass/ledger").await["object"]["sha"].as_str().unwrap().to_owned()
}

/// Olga commits this file on top of the branch, or with no parent, and points the branch at it.
async fn olga_writes(world: &World, path: &str, content: &str, on_top: bool) {
    let parents: Vec<String> = if on_top { vec![head(world).await] } else { Vec::new() };
    let entry = json!({ "path": path, "mode": "100644", "type": "blob", "content": content });
    let mut tree = json!({ "tree": [entry] });
    if on_top {
        tree["base_tree"] = json!(parents[0]);
    }
    let tree = olga(world, Method::POST, "/git/trees", tree).await.1;
    let body = json!({ "message": "Nothing to see here", "tree": tree["sha"], "parents": parents,
        "author": { "name": "olga", "email": "olga@users.noreply.github.com" } });
    let commit = olga(world, Method::POST, "/git/commits", body).await.1;
    let (status, answer) = olga(world, Method::PATCH, REF, json!({ "sha": commit["sha"], "force": true })).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    world.settle().await;
}

async fn kinds(world: &World) -> Vec<String> {
    let lines = world.ledger().await;
    lines.iter().map(|line| Entry::read(line.as_bytes()).unwrap().event.kind.as_str().to_owned()).collect()
}

#[tokio::test]
async fn a_whole_life_is_on_the_branch_with_who_and_why() {
    let world = World::new().await;
    let request = world.alice().asks("alice-orders", ORDERS).await;
    world.dave().approves(request).await;
    assert!(!kinds(&world).await.contains(&"granted".to_owned()), "events wait for each other");
    world.wait(TimeDelta::minutes(130)).await;
    assert!(world.grant_files().await.is_empty());
    assert_eq!(world.ledger_differs().await, None);
    let entries: Vec<Entry> = world.ledger().await.iter().map(|line| Entry::read(line.as_bytes()).unwrap()).collect();
    let of = |kind: &str| {
        let found = entries.iter().find(|entry| entry.event.kind.as_str() == kind);
        found.unwrap_or_else(|| panic!("no {kind}")).event.details.clone()
    };
    assert_eq!(
        (&of("requested")["author"]["login"], &of("requested")["requests"][0]["ticket"]),
        (&json!("alice"), &json!("INC-4711"))
    );
    let approved = of("approved");
    assert_eq!((&approved["by"]["login"], &approved["stage"]), (&json!("dave"), &json!("owner")));
    assert!(approved["by"]["id"].is_u64() && approved["review"].is_u64());
    assert_eq!(approved["head"], of("merged")["head"], "an approval names the commit it is for");
    let decided = of("decided");
    assert_eq!(
        (&decided["verdict"], &decided["decision"]["requests"][0]["approval"]["stages"][0]["state"]),
        (&json!("waiting"), &json!("open"))
    );
    let main = decided["policy"]["commit"].as_str().unwrap().to_owned();
    let tree = world.get(&format!("/git/trees/{main}")).await;
    let policies = tree["tree"].as_array().unwrap().iter().find(|entry| entry["path"] == "policies").unwrap().clone();
    assert_eq!(decided["policy"]["tree"], policies["sha"], "the version of the policy is the tree git has");
    assert_eq!(
        (&of("granted")["policy"]["tree"], &of("granted")["subject"]["login"]),
        (&policies["sha"], &json!("alice"))
    );
    assert_eq!(of("merged")["by"]["login"], "daypass[bot]");
    assert!(of("applied")["receipt"]["summary"].is_string());
    assert_eq!(
        (&of("applied")["role"], &of("removed")["subject"]["login"]),
        (&json!("orders-db-reader"), &json!("alice"))
    );
    assert_eq!(of("ended")["reason"], "expired");
    let commit = world.get(&format!("/git/commits/{}", head(&world).await)).await;
    assert_eq!(commit["author"]["name"], "daypass[bot]");
}

#[tokio::test]
async fn a_revert_quotes_the_newest_event() {
    let world = World::new().await;
    alice_has_the_orders(&world).await;
    let last = Entry::read(world.ledger().await.last().unwrap().as_bytes()).unwrap();
    world.wait(TimeDelta::minutes(110)).await;
    let revert = world.open_pulls().await[0].0;
    let pull = world.get(&format!("/pulls/{revert}")).await;
    let line = format!("Daypass-Ledger: {} {}", last.seq, last.hash);
    assert!(pull["body"].as_str().unwrap().contains(&line), "{}", pull["body"]);
    let commit = world.get(&format!("/git/commits/{}", pull["head"]["sha"].as_str().unwrap())).await;
    assert!(commit["message"].as_str().unwrap().contains(&line), "{}", commit["message"]);
}

/// What a batch may cost: a look at the branch, a tree, a commit, the move of the branch.
const CALLS_OF_A_BATCH: u64 = 4;

#[tokio::test]
async fn a_batch_costs_a_handful_of_calls_and_what_it_pushes_makes_no_other_work() {
    let world = World::new().await;
    alice_has_the_orders(&world).await;
    world.alice().asks("again", &ORDERS.replace("2h", "1h")).await;
    let before = world.usage();
    // Not as long as the next look at everything takes to come.
    world.wait(TimeDelta::seconds(45)).await;
    assert_eq!(world.ledger_differs().await, None);
    let cost = world.usage().since(&before);
    assert!(cost.counted() <= CALLS_OF_A_BATCH, "{cost:#?}");
}

#[tokio::test]
async fn after_days_without_github_everything_is_written() {
    let world = World::new().await;
    alice_has_the_orders(&world).await;
    world.sandbox.disturb(Some(Arc::new(|method: &Method, path: &str| {
        let of_daypass = path.ends_with("/git/trees") || path.ends_with("/git/commits");
        (of_daypass && method == Method::POST).then_some(Disturbance::Refuse(503))
    })));
    for number in 0..5 {
        world.bob().asks(&format!("bob-{number}"), ORDERS).await;
        world.advance(TimeDelta::hours(8));
        world.settle().await;
    }
    world.sandbox.disturb(None);
    assert!(world.ledger_differs().await.is_some());
    world.wait(TimeDelta::minutes(10)).await;
    assert_eq!(world.ledger_differs().await, None);
    let tree = world.get("/git/trees/daypass%2Fledger?recursive=1").await;
    let files = tree["tree"].as_array().unwrap().iter().filter(|entry| entry["type"] == "blob");
    assert_eq!(files.count(), 3, "one file a day");
}

#[tokio::test]
async fn a_batch_that_was_written_and_not_remembered_is_not_written_again() {
    let world = World::new().await;
    for (slug, duration) in [("one", "2h"), ("two", "1h")] {
        let before = world.ledger().await.len();
        world.go_manual(true);
        world.alice().asks(slug, &ORDERS.replace("2h", duration)).await;
        world.go_manual(false);
        world.settle().await;
        // The branch moves, and nobody learns of it.
        world.sandbox.disturb(Some(Arc::new(|method: &Method, path: &str| {
            let moves = *method == Method::PATCH || *method == Method::POST && path.ends_with("/git/refs");
            (moves && path.contains("/git/refs")).then_some(Disturbance::Pretend(502))
        })));
        world.wait(TimeDelta::seconds(35)).await;
        assert!(world.ledger().await.len() > before, "it is on the branch");
        world.sandbox.disturb(None);
        world.restart().await;
        world.wait(TimeDelta::minutes(2)).await;
        assert_eq!(world.ledger_differs().await, None);
    }
    assert!(!kinds(&world).await.contains(&"ledger-altered".to_owned()));
}

#[tokio::test]
async fn two_processes_write_each_event_once() {
    let world = World::new().await;
    alice_has_the_orders(&world).await;
    let other = world.start_another().await;
    for number in 0..6 {
        world.bob().asks(&format!("bob-{number}"), ORDERS).await;
        world.advance(TimeDelta::seconds(31));
        tokio::join!(async { other.settle().await.unwrap() }, world.settle());
    }
    world.wait(TimeDelta::minutes(1)).await;
    assert_eq!(world.ledger_differs().await, None);
    other.store().close().await;
}

#[tokio::test]
async fn a_new_database_knows_what_is_on_the_branch_and_writes_none_of_it_twice() {
    let world = World::new().await;
    let request = alice_has_the_orders(&world).await;
    let before = world.ledger().await;
    world.lose_the_database().await;
    world.wait(TimeDelta::minutes(10)).await;
    assert_eq!(world.ledger_differs().await, None);
    let after = world.ledger().await;
    assert_eq!(after[..before.len()], before[..], "what was written stays");
    world.wait(TimeDelta::minutes(120)).await;
    assert_eq!(world.ledger_differs().await, None);
    for (kind, times) in
        [("requested", 1), ("approved", 1), ("granted", 1), ("applied", 1), ("ended", 1), ("removed", 1), ("merged", 2)]
    {
        assert_eq!(kinds(&world).await.iter().filter(|known| *known == kind).count(), times, "{kind} of #{request}");
    }
}

#[tokio::test]
async fn rebuilding_reads_the_ledger_first() {
    let world = World::new().await;
    alice_has_the_orders(&world).await;
    let written = world.ledger().await.len();
    world.lose_the_database().await;
    let rebuilt = world.engine().rebuild(&"acme/access".parse().unwrap()).await.unwrap();
    assert_eq!(rebuilt.events, written as u64);
    assert_eq!(world.engine().store().events().await.unwrap().len(), written, "and records nothing anew");
}

#[tokio::test]
async fn a_backup_learns_what_was_written_since() {
    let world = World::new().await;
    let backup = world.copy_of_database().await;
    alice_has_the_orders(&world).await;
    let before = world.ledger().await;
    world.put_database_back(&backup).await;
    world.wait(TimeDelta::minutes(130)).await;
    assert_eq!(world.ledger_differs().await, None);
    assert_eq!(world.ledger().await[..before.len()], before[..]);
    assert_eq!(kinds(&world).await.iter().filter(|kind| *kind == "granted").count(), 1);
}

/// Olga did something to the branch: Daypass says so, and the branch is what it should be.
async fn it_is_noticed_and_put_right(world: &World, before: &[String], how: &str) {
    // Longer than the time between two looks, and than it takes to be certain.
    world.wait(TimeDelta::minutes(10)).await;
    assert_eq!(world.ledger_differs().await, None);
    let lines = world.ledger().await;
    assert_eq!(lines[..before.len()], *before, "nothing is lost");
    let told: Vec<Entry> = lines[before.len()..].iter().map(|line| Entry::read(line.as_bytes()).unwrap()).collect();
    let told: Vec<&Value> = told
        .iter()
        .filter(|entry| entry.event.kind.as_str() == "ledger-altered")
        .map(|entry| &entry.event.details)
        .collect();
    assert_eq!(told.len(), 1, "once");
    assert!(told[0]["how"].as_str().unwrap().contains(how), "{}", told[0]);
    let metrics = world.engine().metrics().await.unwrap();
    assert!(metrics.contains("daypass_ledger_altered_total{repository=\"acme/access\"} 1"), "{metrics}");
}

#[tokio::test]
async fn a_deleted_branch_is_made_again() {
    let world = World::new().await;
    alice_has_the_orders(&world).await;
    let before = world.ledger().await;
    for times in 0..2 {
        assert_eq!(olga(&world, Method::DELETE, REF, Value::Null).await.0, StatusCode::NO_CONTENT);
        if times == 0 {
            it_is_noticed_and_put_right(&world, &before, "was deleted").await;
        }
    }
    world.wait(TimeDelta::minutes(10)).await;
    assert_eq!(world.ledger_differs().await, None, "and again");
}

#[tokio::test]
async fn a_branch_that_is_set_back_is_put_right() {
    let world = World::new().await;
    alice_has_the_orders(&world).await;
    let first = head(&world).await;
    world.alice().asks("again", &ORDERS.replace("2h", "1h")).await;
    world.wait(TimeDelta::minutes(1)).await;
    let before = world.ledger().await;
    olga(&world, Method::PATCH, REF, json!({ "sha": first, "force": true })).await;
    it_is_noticed_and_put_right(&world, &before, "another history").await;
}

#[tokio::test]
async fn another_history_in_its_place_is_put_right() {
    let world = World::new().await;
    alice_has_the_orders(&world).await;
    let before = world.ledger().await;
    olga_writes(&world, "2026/11/30.jsonl", &format!("{}\n", before[0]), false).await;
    it_is_noticed_and_put_right(&world, &before, "another history").await;
}

#[tokio::test]
async fn a_line_that_somebody_edits_is_put_back() {
    let world = World::new().await;
    alice_has_the_orders(&world).await;
    let before = world.ledger().await;
    let edited = before.join("\n").replace("INC-4711", "INC-9999");
    olga_writes(&world, "2026/11/30.jsonl", &format!("{edited}\n"), true).await;
    it_is_noticed_and_put_right(&world, &before, "changed lines of `2026/11/30.jsonl`").await;
}

#[tokio::test]
async fn an_event_that_somebody_adds_does_not_stay() {
    let world = World::new().await;
    alice_has_the_orders(&world).await;
    let before = world.ledger().await;
    let last = Entry::read(before.last().unwrap().as_bytes()).unwrap();
    let body = json!({ "v": 1, "id": "acme/access/olga/granted/x", "at": "2026-11-30T10:00:00Z", "repository": "acme/access",
        "kind": "granted", "details": { "grant": "olga#9" } });
    let (line, _) = link(&Link { seq: last.seq, hash: last.hash }, &body);
    olga_writes(&world, "2026/11/30.jsonl", &format!("{}\n{line}\n", before.join("\n")), true).await;
    it_is_noticed_and_put_right(&world, &before, "somebody else added events").await;
    assert!(!world.ledger().await.iter().any(|line| line.contains("olga#9")));
}

#[tokio::test]
async fn a_file_that_does_not_belong_there_goes() {
    let world = World::new().await;
    alice_has_the_orders(&world).await;
    let before = world.ledger().await;
    olga_writes(&world, "README.md", "hello\n", true).await;
    it_is_noticed_and_put_right(&world, &before, "changed `README.md`").await;
    let tree = world.get("/git/trees/daypass%2Fledger?recursive=1").await;
    assert!(!tree.to_string().contains("README.md"));
}

#[tokio::test]
async fn a_broken_ledger_and_no_database_still_go_on() {
    let world = World::new().await;
    alice_has_the_orders(&world).await;
    let mut lines = world.ledger().await;
    lines[1] = "{ broken".to_owned();
    lines.remove(3);
    olga_writes(&world, "2026/11/30.jsonl", &format!("{}\n", lines.join("\n")), true).await;
    world.lose_the_database().await;
    world.wait(TimeDelta::minutes(130)).await;
    let now = world.ledger().await;
    assert_eq!(now[..lines.len()], lines[..], "it is not for Daypass to say what was there");
    let rest: Vec<Entry> = now[lines.len()..].iter().map(|line| Entry::read(line.as_bytes()).unwrap()).collect();
    let altered = rest.iter().find(|entry| entry.event.kind.as_str() == "ledger-altered").unwrap();
    assert!(altered.event.details["how"].as_str().unwrap().contains("line 2 of `2026/11/30.jsonl`"));
    assert_eq!(rest.iter().filter(|entry| entry.event.kind.as_str() == "ended").count(), 1);
}

#[tokio::test]
async fn what_two_grants_give_is_told_of_both() {
    let world = World::new().await;
    let first = world.alice().asks("one", &ORDERS.replace("2h", "20m")).await;
    world.dave().approves(first).await;
    let second = world.alice().asks("two", &ORDERS.replace("2h", "1h")).await;
    world.dave().approves(second).await;
    world.wait(TimeDelta::minutes(70)).await;
    assert_eq!(world.orders.calls(), ["grant orders_readonly to alice", "revoke orders_readonly from alice"]);
    let mut lives = daypass::ledger::replay::Lives::default();
    for line in world.ledger().await {
        lives.take(&Entry::read(line.as_bytes()).unwrap().event);
    }
    let lasted = |grant: &str| {
        let interval = &lives.0[grant].access["role orders_readonly for alice on orders-db"][0];
        (interval.to.unwrap() - interval.from).num_minutes()
    };
    assert_eq!((lasted("one#1"), lasted("two#2")), (20, 60));
}
