//! Attacks that somebody tried, and that got through before they were stopped.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::TimeDelta;
use http::{Method, StatusCode};
use serde_json::json;

use crate::commands::alice_has_the_orders;
use crate::life::ORDERS;
use crate::support::world::World;

const GLASS: &str = "role: prod-break-glass\nduration: 30m\nreason: Checkouts hang\nbreak_glass: true\n";
const LOGS: &str =
    "role: log-reader\nduration: 2h\nticket: SUP-9\nreason: A customer complains\nparams: { service: checkout }\n";

async fn edited(edits: &[(&str, &str)]) -> World {
    World::with_policy(|files| {
        let mut hit = vec![false; edits.len()];
        for text in files.values_mut() {
            let mut new = String::from_utf8(text.clone()).unwrap();
            for (n, (from, to)) in edits.iter().enumerate() {
                hit[n] |= new.contains(from);
                new = new.replace(from, to);
            }
            *text = new.into_bytes();
        }
        assert!(hit.iter().all(|hit| *hit));
    })
    .await
}

async fn comment(world: &World, login: &str, issue: u64, text: &str) -> u64 {
    let path = format!("/repos/acme/access/issues/{issue}/comments");
    let (status, comment) = world.call(login, Method::POST, &path, json!({ "body": text })).await;
    assert_eq!(status, StatusCode::CREATED, "{comment}");
    world.settle().await;
    comment["id"].as_u64().unwrap()
}

fn has(world: &World, login: &str) -> bool {
    world.orders.is_member("orders_readonly", login)
}

#[tokio::test]
async fn a_denied_forgery_does_not_lock_the_victim_out() {
    let world =
        edited(&[("  database-owner:\n    stages:", "  database-owner:\n    cool_down: 4h\n    stages:")]).await;
    // Bob may not ask for others at all.
    let forged = world.bob().asks("for-alice", &format!("subject: alice\n{ORDERS}")).await;
    comment(&world, "dave", forged, "/daypass deny you may not ask for alice").await;
    let own = world.alice().asks("alice-orders", ORDERS).await;
    let said = world.comments(own).await.remove(0);
    assert!(!said.contains("DP0420"), "{said}");
    world.dave().approves(own).await;
    assert!(world.is_merged(own).await);
}

#[tokio::test]
async fn a_denial_does_not_count_for_roles_the_denier_has_no_say_over() {
    let world =
        edited(&[("  database-owner:\n    stages:", "  database-owner:\n    cool_down: 4h\n    stages:")]).await;
    let responder = "role: prod-responder\nduration: 1h\nticket: INC-4711\nreason: Checkouts hang\n";
    let files = [
        ("grants/alice-orders.yaml".to_owned(), ORDERS.as_bytes().to_vec()),
        ("grants/alice-prod.yaml".to_owned(), responder.as_bytes().to_vec()),
    ];
    let both = world.alice().asks_with("both", &files).await;
    comment(&world, "bob", both, "/daypass deny no production today").await;
    let own = world.alice().asks("alice-again", ORDERS).await;
    let said = world.comments(own).await.remove(0);
    assert!(!said.contains("DP0420"), "bob is no database owner: {said}");
}

#[tokio::test]
async fn who_may_ask_for_alice_does_not_end_what_they_may_not_end() {
    let world = edited(&[("  docs-preview:\n", "  docs-preview:\n    may_request_for: [user:bob]\n")]).await;
    alice_has_the_orders(&world).await;
    let docs = "subject: alice\nrole: docs-preview\nduration: 1h\nreason: Proofreading\n";
    let theft = world.bob().asks_with("theft", &[("grants/alice-orders.yaml".to_owned(), docs.into())]).await;
    eprintln!("merged: {} {}", world.is_merged(theft).await, world.check(theft).await.title);
    assert!(has(&world, "alice"), "bob may neither end nor change it");
}

#[tokio::test]
async fn an_emergency_is_not_planned_for_february() {
    let world = World::new().await;
    let request = world.alice().asks("alice-glass", &format!("{GLASS}start: 2027-02-20T22:00:00Z\n")).await;
    eprintln!("{:?}", world.record("emergency").await);
    assert!(!world.is_merged(request).await, "an emergency is now");
}

#[tokio::test]
async fn emergencies_in_a_row_do_not_make_a_day() {
    let world = World::new().await;
    let files: Vec<(String, Vec<u8>)> = (10..22)
        .map(|hour| {
            let text = GLASS.replace("30m", "1h");
            (format!("grants/alice-glass-{hour}.yaml"), format!("{text}start: 2026-11-30T{hour}:00:00Z\n").into_bytes())
        })
        .collect();
    let request = world.alice().asks_with("alice-glass", &files).await;
    eprintln!("granted: {}", world.count("granted").await);
    assert!(!world.is_merged(request).await, "the ceiling is one hour");
}

#[tokio::test]
async fn an_emergency_is_merged_also_where_people_merge() {
    let world = edited(&[("merge: auto", "merge: manual")]).await;
    let request = world.alice().asks("alice-glass", GLASS).await;
    world.wait(TimeDelta::minutes(6)).await;
    assert!(world.is_merged(request).await, "DESIGN 4: the merge is automatic");
}

#[tokio::test]
async fn a_revocation_is_not_overtaken_by_an_unread_extension() {
    let world = edited(&[("merge: auto", "merge: manual")]).await;
    let request = world.alice().asks("alice-orders", ORDERS).await;
    world.dave().approves(request).await;
    assert_eq!(world.alice().merges(request).await, StatusCode::OK);
    assert!(has(&world, "alice"));
    world.wait(TimeDelta::minutes(60)).await;
    world.alice().says(request, "/daypass extend 1h").await;
    let extension = world.open_pulls().await[0].0;
    world.dave().approves(extension).await;
    world.erin().approves(extension).await;
    assert_eq!(world.check(extension).await.conclusion, "success");
    // The webhook about the merge is lost.
    world.lose_webhooks(true);
    assert_eq!(world.alice().merges(extension).await, StatusCode::OK);
    world.lose_webhooks(false);
    world.advance(TimeDelta::seconds(20));
    world.dave().says(request, "/daypass revoke").await;
    world.wait(TimeDelta::minutes(6)).await;
    eprintln!("{:?}\n{:#?}", world.orders.calls(), world.comments(request).await);
    assert!(!has(&world, "alice"), "dave ended it");
}

#[tokio::test]
async fn a_branch_made_beforehand_does_not_keep_alice_from_extending() {
    let world = World::new().await;
    let request = alice_has_the_orders(&world).await;
    let branch = format!("daypass/extend/alice-orders-{request}");
    let squat = world.bob().asks_with(&branch, &[("README.md".to_owned(), b"x\n".to_vec())]).await;
    world.alice().says(request, "/daypass extend 1h").await;
    eprintln!("squat {squat}; {:?}; {}", world.open_pulls().await, world.last_comment(request).await);
    for (number, _) in world.open_pulls().await {
        eprintln!("{number}: {}", world.check(number).await.title);
        world.dave().approves(number).await;
        world.erin().approves(number).await;
    }
    world.wait(TimeDelta::minutes(125)).await;
    assert!(has(&world, "alice"), "two approved one more hour");
}

#[tokio::test]
async fn a_branch_made_beforehand_does_not_keep_the_file() {
    let world = World::new().await;
    let request = alice_has_the_orders(&world).await;
    let branch = format!("daypass/revert/alice-orders-{request}");
    world.bob().asks_with(&branch, &[("README.md".to_owned(), b"x\n".to_vec())]).await;
    world.wait(TimeDelta::minutes(200)).await;
    eprintln!("{:?} {:#?}", world.open_pulls().await, world.comments(request).await);
    assert!(!has(&world, "alice"));
    assert!(world.grant_files().await.is_empty(), "it is reverted");
}

#[tokio::test]
async fn a_branch_made_beforehand_with_another_base_does_not_keep_the_file() {
    let world = World::new().await;
    let request = alice_has_the_orders(&world).await;
    world.olga().branches("elsewhere").await;
    let branch = format!("daypass/revert/alice-orders-{request}");
    world.bob().branches(&branch).await;
    world.bob().writes(&branch, "README.md", b"x\n").await;
    let body = json!({ "title": "x", "head": branch, "base": "elsewhere" });
    let (status, _) = world.call("bob", Method::POST, "/repos/acme/access/pulls", body).await;
    assert_eq!(status, StatusCode::CREATED);
    world.wait(TimeDelta::minutes(200)).await;
    eprintln!("{:?} {:#?}", world.open_pulls().await, world.comments(request).await);
    assert!(!has(&world, "alice"));
    assert!(world.grant_files().await.is_empty(), "it is reverted");
}

#[tokio::test]
async fn an_emergency_does_not_wait_for_a_full_role() {
    let world = edited(&[("  prod-break-glass:\n", "  prod-break-glass:\n    limit: 1\n")]).await;
    let first = world.bob().asks("bob-glass", GLASS).await;
    assert!(world.is_merged(first).await);
    let second = world.alice().asks("alice-glass", GLASS).await;
    assert!(world.is_merged(second).await, "{}", world.check(second).await.summary);
}

#[tokio::test]
async fn an_approval_does_not_survive_a_change_of_the_base() {
    let world = World::new().await;
    // A branch of alice's own that has the request already.
    world.alice().branches("elsewhere").await;
    world.alice().writes("elsewhere", "grants/alice-orders.yaml", ORDERS.as_bytes()).await;
    let head = world.get("/git/ref/heads/elsewhere").await["object"]["sha"].clone();
    let body = json!({ "ref": "refs/heads/alice-orders", "sha": head });
    assert_eq!(world.call("alice", Method::POST, "/repos/acme/access/git/refs", body).await.0, StatusCode::CREATED);
    world.alice().writes("alice-orders", "grants/alice-orders.yaml", format!("# a typo\n{ORDERS}").as_bytes()).await;
    let body = json!({ "title": "Fix a typo in a comment", "head": "alice-orders", "base": "elsewhere" });
    let (_, pull) = world.call("alice", Method::POST, "/repos/acme/access/pulls", body).await;
    let request = pull["number"].as_u64().unwrap();
    world.settle().await;
    world.advance(TimeDelta::seconds(30));
    // What dave reads is one line of comment; Daypass says nothing about it.
    world.dave().approves(request).await;
    assert_eq!(world.comments(request).await, Vec::<String>::new());
    world.advance(TimeDelta::seconds(30));
    let path = format!("/repos/acme/access/pulls/{request}");
    let (status, answer) = world.call("alice", Method::PATCH, &path, json!({ "base": "main" })).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    world.wait(TimeDelta::minutes(6)).await;
    eprintln!("{:#?}", world.comments(request).await);
    assert!(!has(&world, "alice"), "dave approved something else");
    assert!(!world.is_merged(request).await);
}

#[tokio::test]
async fn hidden_text_by_a_right_escape_is_refused() {
    let world = World::new().await;
    let request = ORDERS.replace("Checkouts hang since the deploy", "\"fine \\u202enimda\"");
    let number = world.alice().asks("bidi", &request).await;
    let check = world.check(number).await;
    assert!(check.summary.contains("DP0111"), "{}", check.summary);
}

#[tokio::test]
async fn an_old_review_does_not_count_for_a_new_emergency() {
    use sha2::Digest as _;
    let world = World::new().await;
    let first = world.alice().asks("alice-one", GLASS).await;
    assert!(world.is_merged(first).await);
    let issue = world.record("emergency").await[0]["issue"].as_u64().unwrap();
    comment(&world, "erin", issue, "/daypass reviewed").await;
    assert_eq!(world.count("reviewed").await, 1);
    world.wait(TimeDelta::minutes(120)).await;
    let all = world.get("/issues?state=all&per_page=100").await;
    let next = all.as_array().unwrap().iter().map(|one| one["number"].as_u64().unwrap()).max().unwrap() + 1;
    let digest = sha2::Sha256::digest(format!("acme/access/alice-two#{next}/emergency").as_bytes());
    let mark: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    let path = format!("/repos/acme/access/issues/{issue}");
    let body = json!({ "body": format!("<!-- daypass:{mark} -->\nReviewed long ago") });
    let (status, answer) = world.call("alice", Method::PATCH, &path, body).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    let second = world.alice().asks("alice-two", GLASS).await;
    assert_eq!(second, next);
    assert!(world.is_merged(second).await);
    eprintln!("{:?} {:?}", world.record("emergency").await, world.record("reviewed").await);
    assert_eq!(world.count("reviewed").await, 1, "nobody looked at the second");
}

#[tokio::test]
async fn an_emergency_is_not_forgotten_with_the_database() {
    let world = World::new().await;
    let request = world.alice().asks("alice-glass", GLASS).await;
    assert!(world.is_merged(request).await);
    let issue = world.record("emergency").await[0]["issue"].as_u64().unwrap();
    world.wait(TimeDelta::minutes(45)).await;
    assert!(world.grant_files().await.is_empty());
    world.lose_the_database().await;
    world.wait(TimeDelta::minutes(10)).await;
    let path = format!("/repos/acme/access/issues/{issue}");
    let (status, _) = world.call("alice", Method::PATCH, &path, json!({ "state": "closed" })).await;
    assert_eq!(status, StatusCode::OK);
    world.settle().await;
    world.wait(TimeDelta::hours(25)).await;
    assert_eq!(world.get(&format!("/issues/{issue}")).await["state"], "open", "alice closed her own review");
}

#[tokio::test]
async fn who_may_not_break_the_glass_does_not_break_it_for_somebody() {
    let world = edited(&[("  prod-break-glass:\n", "  prod-break-glass:\n    may_request_for: [user:carol]\n")]).await;
    let request = world.carol().asks("alice-glass", &format!("subject: alice\n{GLASS}")).await;
    assert!(!world.is_merged(request).await, "carol is none of break_glass.requesters");
}

#[tokio::test]
async fn a_revocation_between_merge_and_reading() {
    let world = World::new().await;
    let request = alice_has_the_orders(&world).await;
    world.wait(TimeDelta::minutes(60)).await;
    world.alice().says(request, "/daypass extend 1h").await;
    let extension = world.open_pulls().await[0].0;
    world.dave().approves(extension).await;
    world.go_manual(true);
    world.erin().approves(extension).await;
    for delivery in world.sandbox.take_deliveries() {
        world.deliver(&delivery).await;
    }
    while !world.is_merged(extension).await {
        assert!(world.engine().step().await.unwrap());
    }
    world.advance(TimeDelta::seconds(2));
    world.dave().says(request, "/daypass revoke").await;
    world.go_manual(false);
    world.settle().await;
    world.wait(TimeDelta::minutes(6)).await;
    eprintln!("{:?}", world.orders.calls());
    assert!(!has(&world, "alice"), "dave ended it");
}

#[tokio::test]
async fn who_asks_does_not_wipe_an_objection_away() {
    let world = World::new().await;
    let request = world.alice().asks("alice-orders", ORDERS).await;
    world.dave().requests_changes(request).await;
    world.carol().approves(request).await;
    assert!(!world.is_merged(request).await, "dave objects");
    let reviews = world.get(&format!("/pulls/{request}/reviews")).await;
    let path = format!("/repos/acme/access/pulls/{request}/reviews/{}/dismissals", reviews[0]["id"]);
    let (status, answer) = world.call("alice", Method::PUT, &path, json!({ "message": "no" })).await;
    assert_eq!(status, StatusCode::OK, "alice has write access: {answer}");
    world.settle().await;
    assert!(!world.is_merged(request).await, "alice took dave's no away");
}

#[tokio::test]
async fn whoever_is_not_asked_does_not_block() {
    let world = World::new().await;
    // Two hours: the stage `security` is not needed.
    let request = world.alice().asks("alice-orders", ORDERS).await;
    world.erin().requests_changes(request).await;
    world.dave().approves(request).await;
    eprintln!("{}", world.check(request).await.title);
    assert!(world.is_merged(request).await, "erin is no approver of this");
}

#[tokio::test]
async fn a_branch_in_the_way_of_all_reverts() {
    let world = World::new().await;
    let request = alice_has_the_orders(&world).await;
    world.bob().branches("daypass/revert").await;
    world.wait(TimeDelta::minutes(200)).await;
    eprintln!("{:?} {:#?}", world.open_pulls().await, world.last_comment(request).await);
    assert!(!has(&world, "alice"));
    assert!(world.grant_files().await.is_empty(), "it is reverted");
}

#[tokio::test]
async fn a_branch_in_the_way_of_taking_back() {
    let world = World::new().await;
    world.bob().branches("daypass/refuse").await;
    let request = world.alice().asks("alice-orders", ORDERS).await;
    assert_eq!(world.olga().merges(request).await, StatusCode::OK);
    world.wait(TimeDelta::minutes(30)).await;
    assert!(!has(&world, "alice"));
    assert!(world.grant_files().await.is_empty(), "it is taken back");
}

#[tokio::test]
async fn a_branch_in_the_way_of_all_extensions() {
    let world = World::new().await;
    let request = alice_has_the_orders(&world).await;
    world.bob().branches("daypass/extend").await;
    let comment = world.alice().says(request, "/daypass extend 1h").await;
    world.wait(TimeDelta::minutes(5)).await;
    let after = world.dave().says(request, "/daypass revoke").await;
    world.wait(TimeDelta::minutes(5)).await;
    eprintln!(
        "{:?} {:?} {:?} {}",
        world.open_pulls().await,
        world.reactions(comment).await,
        world.reactions(after).await,
        world.last_comment(request).await
    );
    assert!(!has(&world, "alice"), "dave ended it; alice's comment before his cannot be followed");
}

#[tokio::test]
async fn an_emergency_of_last_week_is_not_forgotten_with_the_database() {
    let world = World::new().await;
    let request = world.alice().asks("alice-glass", GLASS).await;
    assert!(world.is_merged(request).await);
    let issue = world.record("emergency").await[0]["issue"].as_u64().unwrap();
    for _ in 0..16 {
        world.advance(TimeDelta::hours(3));
        world.settle().await;
    }
    assert!(world.count("review-overdue").await > 0);
    world.lose_the_database().await;
    world.wait(TimeDelta::minutes(10)).await;
    let path = format!("/repos/acme/access/issues/{issue}");
    let (status, _) = world.call("alice", Method::PATCH, &path, json!({ "state": "closed" })).await;
    assert_eq!(status, StatusCode::OK);
    world.settle().await;
    world.wait(TimeDelta::minutes(20)).await;
    assert_eq!(world.get(&format!("/issues/{issue}")).await["state"], "open", "alice closed her own review");
}

#[tokio::test]
async fn a_later_denial_does_not_undo_what_was_granted_before() {
    let world =
        edited(&[("  database-owner:\n    stages:", "  database-owner:\n    cool_down: 4h\n    stages:")]).await;
    let request = alice_has_the_orders(&world).await;
    world.wait(TimeDelta::minutes(10)).await;
    world.alice().says(request, "/daypass extend 1h").await;
    let extension = world.open_pulls().await[0].0;
    world.dave().says(extension, "/daypass deny two hours are enough").await;
    assert!(has(&world, "alice"));
    world.wait(TimeDelta::minutes(5)).await;
    world.lose_the_database().await;
    world.wait(TimeDelta::minutes(20)).await;
    eprintln!("{:?} {:?} {:#?}", world.orders.calls(), world.grant_files().await, world.last_comment(request).await);
    assert!(has(&world, "alice"), "it runs until noon");
    assert_eq!(world.grant_files().await, ["grants/alice-orders.yaml"]);
}

#[tokio::test]
async fn a_later_denial_does_not_undo_an_unread_merge() {
    let world = edited(&[
        ("merge: auto", "merge: manual"),
        ("  database-owner:\n    stages:", "  database-owner:\n    cool_down: 4h\n    stages:"),
    ])
    .await;
    let first = world.alice().asks("alice-orders", ORDERS).await;
    world.dave().approves(first).await;
    let second = world.alice().asks("alice-more", &format!("{ORDERS}# more\n")).await;
    world.lose_webhooks(true);
    assert_eq!(world.alice().merges(first).await, StatusCode::OK);
    world.lose_webhooks(false);
    world.advance(TimeDelta::seconds(20));
    world.dave().says(second, "/daypass deny one is enough").await;
    world.wait(TimeDelta::minutes(20)).await;
    eprintln!("{:?} {:#?}", world.grant_files().await, world.last_comment(first).await);
    assert!(has(&world, "alice"), "approved and merged before");
}

#[tokio::test]
async fn escalation_does_not_run_on_another_base() {
    let world = World::new().await;
    world.olga().branches("elsewhere").await;
    world.alice().branches("alice-logs").await;
    world.alice().writes("alice-logs", "grants/alice-logs.yaml", LOGS.as_bytes()).await;
    let body = json!({ "title": "x", "head": "alice-logs", "base": "elsewhere" });
    let (_, pull) = world.call("alice", Method::POST, "/repos/acme/access/pulls", body).await;
    let request = pull["number"].as_u64().unwrap();
    world.wait(TimeDelta::minutes(61)).await;
    let path = format!("/repos/acme/access/pulls/{request}");
    assert_eq!(world.call("alice", Method::PATCH, &path, json!({ "base": "main" })).await.0, StatusCode::OK);
    world.settle().await;
    world.carol().approves(request).await;
    assert!(!world.is_merged(request).await, "security never had its hour");
}

#[tokio::test]
async fn a_press_that_fails_does_not_hold_up_the_others() {
    let world = World::new().await;
    let request = alice_has_the_orders(&world).await;
    world.alice().branches("daypass/extend").await;
    world.alice().presses(request, "extend-1h").await;
    world.dave().presses(request, "revoke").await;
    world.dave().says(request, "/daypass revoke").await;
    world.wait(TimeDelta::minutes(30)).await;
    assert!(!has(&world, "alice"), "neither button nor comment end it");
}

#[tokio::test]
async fn another_file_in_place_of_ones_own_on_the_branch_of_a_revert() {
    let world = World::new().await;
    let mine = world.alice().asks("alice-orders", &ORDERS.replace("2h", "1h")).await;
    let theirs = world.bob().asks("bob-orders", ORDERS).await;
    world.dave().approves(mine).await;
    world.dave().approves(theirs).await;
    world.wait(TimeDelta::minutes(51)).await;
    let (revert, _) = world.open_pulls().await[0].clone();
    let branch = world.get(&format!("/pulls/{revert}")).await["head"]["ref"].as_str().unwrap().to_owned();
    let main = world.get("/git/ref/heads/main").await["object"]["sha"].clone();
    let reference = format!("/repos/acme/access/git/refs/heads/{branch}");
    let (status, _) = world.call("alice", Method::PATCH, &reference, json!({ "sha": main, "force": true })).await;
    assert_eq!(status, StatusCode::OK);
    world.alice().removes(&branch, "grants/bob-orders.yaml").await;
    world.settle().await;
    eprintln!("{:?} {}", world.check(revert).await, world.get(&format!("/pulls/{revert}")).await["state"]);
    let merged = world.alice().merges(revert).await;
    eprintln!("{merged}");
    assert!(has(&world, "bob"), "alice may not end bob's access");
}

#[tokio::test]
async fn a_rebuild_does_not_refuse_what_was_given_and_is_over() {
    let world = edited(&[("  orders-db-reader:\n", "  orders-db-reader:\n    limit: 1\n")]).await;
    let request = alice_has_the_orders(&world).await;
    world.wait(TimeDelta::minutes(20)).await;
    world.alice().says(request, "/daypass revoke").await;
    world.wait(TimeDelta::minutes(5)).await;
    assert!(world.grant_files().await.is_empty());
    let bobs = world.bob().asks("bob-orders", ORDERS).await;
    world.dave().approves(bobs).await;
    assert!(has(&world, "bob"));
    world.wait(TimeDelta::minutes(5)).await;
    let rebuilt = world.engine().rebuild(&"acme/access".parse().unwrap()).await.unwrap();
    world.settle().await;
    world.wait(TimeDelta::minutes(10)).await;
    eprintln!(
        "{} {} {} {} {}",
        rebuilt.before,
        rebuilt.after,
        rebuilt.ended,
        rebuilt.refused,
        world.last_comment(request).await
    );
    assert!(has(&world, "bob"));
    assert_eq!((rebuilt.refused, world.count("refused").await), (0, 0));
}

#[tokio::test]
async fn a_machine_asks_and_a_human_approves() {
    let world = edited(&[
        ("people:\n", "people:\n  'daypass[bot]': { postgres: agent }\n"),
        (
            "    requesters: [team:engineering, group:dba]\n",
            "    requesters: [team:engineering, group:dba, 'app:daypass']\n    machines: { sponsors: [user:dave] }\n",
        ),
    ])
    .await;
    let token = crate::github::installation_token(&world).await;
    world.alice().branches("agent").await;
    let path = "/repos/acme/access/contents/grants/agent.yaml";
    let body = json!({ "message": "Ask", "branch": "agent", "content": STANDARD.encode(ORDERS.replace("2h", "1h")) });
    let (status, answer) = world.call_with(&token, Method::PUT, path, body).await;
    assert!(status.is_success(), "{answer}");
    let body = json!({ "title": "An agent asks", "head": "agent", "base": "main" });
    let (status, pull) = world.call_with(&token, Method::POST, "/repos/acme/access/pulls", body).await;
    assert_eq!(status, StatusCode::CREATED, "{pull}");
    world.settle().await;
    let request = pull["number"].as_u64().unwrap();
    world.carol().approves(request).await;
    eprintln!("{}", world.check(request).await.title);
    assert!(!world.is_merged(request).await, "carol is no sponsor");
    world.dave().approves(request).await;
    eprintln!("{} {:?}", world.check(request).await.title, world.orders.calls());
    assert!(world.is_merged(request).await);
}

#[tokio::test]
async fn a_draft_is_not_merged() {
    let world = World::new().await;
    world.alice().branches("draft").await;
    world.alice().writes("draft", "grants/draft.yaml", ORDERS.as_bytes()).await;
    let body = json!({ "title": "Not yet", "head": "draft", "base": "main", "draft": true });
    let (_, draft) = world.call("alice", Method::POST, "/repos/acme/access/pulls", body).await;
    world.settle().await;
    let number = draft["number"].as_u64().unwrap();
    world.dave().approves(number).await;
    let asked = world.get(&format!("/pulls/{number}/requested_reviewers")).await;
    eprintln!("{} {}", world.check(number).await.title, asked["teams"]);
    assert!(!world.is_merged(number).await);
    assert_eq!(world.olga().merges(number).await, StatusCode::METHOD_NOT_ALLOWED);
}
