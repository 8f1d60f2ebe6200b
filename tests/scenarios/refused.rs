//! Bad input: each gets a red check that names the place and says what to do, and the server runs on.

use crate::life::ORDERS;
use crate::support::world::{Check, World};

/// Alice asks with this text; what the check says.
async fn refused(request: &str) -> Check {
    let world = World::new().await;
    let number = world.alice().asks("alice-orders", request).await;
    let check = world.check(number).await;
    assert_eq!(check.conclusion, "failure", "{}", check.summary);
    assert!(!world.is_merged(number).await);
    // The server runs on: the next request is judged.
    let next = world.alice().asks("next", ORDERS).await;
    assert!(world.check(next).await.title.contains("waiting"));
    check
}

/// The first annotation: where, and what it says.
fn place(check: &Check) -> (String, u64, String) {
    let first = &check.annotations[0];
    let text = |name: &str| first[name].as_str().unwrap().to_owned();
    (text("path"), first["start_line"].as_u64().unwrap(), text("message"))
}

macro_rules! refusals {
    ($($name:ident: $request:expr => line $line:literal, $says:literal;)*) => {$(
        #[tokio::test]
        async fn $name() {
            let check = refused(&$request).await;
            let (path, line, message) = place(&check);
            assert_eq!((path.as_str(), line), ("grants/alice-orders.yaml", $line), "{message}");
            assert!(message.contains($says), "{message}");
        }
    )*};
}

refusals! {
    an_unknown_role_is_corrected: ORDERS.replace("orders-db-reader", "orders-db-raeder") => line 1, "orders-db-reader";
    too_long_a_duration: ORDERS.replace("2h", "5h") => line 2, "4h";
    a_negative_duration: ORDERS.replace("2h", "-2h") => line 2, "duration";
    no_duration_at_all: ORDERS.replace("2h", "0h") => line 2, "duration";
    an_overflowing_duration: ORDERS.replace("2h", "99999999999999999999h") => line 2, "duration";
    a_missing_ticket: ORDERS.replace("ticket: INC-4711\n", "") => line 1, "ticket";
    a_ticket_of_the_wrong_kind: ORDERS.replace("INC-4711", "SUP-1") => line 3, "INC-1234";
    an_unknown_key: ORDERS.replace("reason:", "raeson: x\nreason:") => line 4, "raeson";
    a_key_twice: format!("{ORDERS}duration: 1h\n") => line 5, "duration";
    not_yaml_at_all: "role: [\n" => line 1, "";
    another_persons_login: format!("{ORDERS}subject: bob\n") => line 5, "somebody else";
    a_start_too_far_away: format!("{ORDERS}start: 9999-01-01T00:00:00Z\n") => line 5, "90 days";
    a_window_that_is_over: format!("{ORDERS}start: 2020-01-01T00:00:00Z\n") => line 5, "over already";
    a_merge_key: format!("<<: {{ duration: 8h }}\n{ORDERS}") => line 1, "";
    a_login_nobody_has: format!("{ORDERS}subject: nobody-at-all\n") => line 5, "nobody-at-all";
}

#[tokio::test]
async fn an_alias_bomb_is_defused() {
    let mut bomb = String::from("a: &a [x,x,x,x,x,x,x,x,x]\n");
    for (this, before) in "bcdefghij".chars().zip("abcdefghi".chars()) {
        bomb.push_str(&format!(
            "{this}: &{this} [*{before},*{before},*{before},*{before},*{before},*{before},*{before}]\n"
        ));
    }
    refused(&bomb).await;
}

#[tokio::test]
async fn ten_megabytes_are_not_even_read() {
    let check = refused(&format!("{ORDERS}# {}\n", "x".repeat(10 << 20))).await;
    assert!(
        check.summary.contains("too large") || check.summary.contains("KiB") || check.summary.contains("bytes"),
        "{}",
        check.summary
    );
}

#[tokio::test]
async fn links_submodules_and_strange_paths_are_refused() {
    for (branch, path, mode) in [
        ("link", "grants/link.yaml", "120000"),
        ("executable", "grants/tool.yaml", "100755"),
        ("submodule", "grants/module.yaml", "160000"),
        ("folder", "grants/deep/er.yaml", "100644"),
        ("case", "Grants/alice.yaml", "100644"),
        ("other", "grants/alice.txt", "100644"),
    ] {
        let world = World::new().await;
        world.alice().commits_entry(branch, path, mode, ORDERS).await;
        let number = world.alice().opens(branch).await;
        let check = world.check(number).await;
        assert_eq!(check.conclusion, "failure", "{path}: {}", check.summary);
        assert!(check.summary.contains(path), "{}", check.summary);
        world.olga().merges(number).await;
        assert!(world.orders.calls().is_empty(), "{path}");
    }
}

#[tokio::test]
async fn a_pull_request_too_large_to_be_read_is_told_so() {
    let world = World::new().await;
    world.alice().branches("long").await;
    for number in 0..251 {
        world.alice().writes("long", "grants/long.yaml", format!("{ORDERS}# {number}\n").as_bytes()).await;
    }
    let number = world.alice().opens("long").await;
    let check = world.check(number).await;
    assert_eq!(check.conclusion, "failure");
    assert!(check.summary.contains("250 commits"), "{}", check.summary);
    assert!(
        world.engine().store().queue().await.unwrap().iter().all(|job| job.attempts == 0),
        "it is not tried for ever"
    );
}

#[tokio::test]
async fn a_request_carries_nothing_else_along() {
    let world = World::new().await;
    let file = |path: &str, text: &str| (path.to_owned(), text.as_bytes().to_vec());
    for (branch, other) in [("with-policy", "policies/more.yaml"), ("with-readme", "README.md")] {
        let number = world
            .alice()
            .asks_with(branch, &[file(&format!("grants/{branch}.yaml"), ORDERS), file(other, "# more\n")])
            .await;
        let check = world.check(number).await;
        assert_eq!(check.conclusion, "failure", "{}", check.summary);
        assert!(check.summary.contains(other), "{}", check.summary);
        world.dave().approves(number).await;
        assert!(!world.is_merged(number).await);
    }
}

#[tokio::test]
async fn a_pull_request_about_something_else_is_none_of_daypasss_business() {
    let world = World::new().await;
    let number = world.alice().asks_with("readme", &[("README.md".to_owned(), b"# Access\n".to_vec())]).await;
    assert_eq!(world.check(number).await.conclusion, "neutral");
    assert!(world.comments(number).await.is_empty());
}

#[tokio::test]
async fn hostile_text_stays_text() {
    let world = World::new().await;
    let reason =
        "</td></tr> @acme/security ![x](http://evil.test/x.png) <!-- daypass:status --> [click](javascript:x) `code`";
    let request = ORDERS.replace("Checkouts hang since the deploy", &format!("{reason:?}"));
    let number = world.alice().asks("alice-orders", &request).await;
    let comment = &world.comments(number).await[0];
    for raw in ["</td>", "![x]", "[click](", " @acme/security "] {
        assert!(!comment.contains(raw), "{raw} in {comment}");
    }
    assert_eq!(comment.matches("<!-- daypass:status -->").count(), 1, "{comment}");
}

#[tokio::test]
async fn a_target_the_server_does_not_know_stops_only_the_roles_on_it() {
    let world = World::with_policy(|files| {
        let text = String::from_utf8(files["policies/targets.yaml"].clone()).unwrap() + "  billing-db: postgres\n";
        files.insert("policies/targets.yaml".to_owned(), text.into_bytes());
        let role = "roles:\n  billing:\n    description: Bills\n    risk: low\n    requesters: [team:engineering]\n    \
                    max_duration: 1h\n    approval: none\n    entitlements:\n      \
                    - postgres: { target: billing-db, role: reader }\n";
        files.insert("policies/roles/billing.yaml".to_owned(), role.as_bytes().to_vec());
    })
    .await;
    let bills = world.alice().asks("bills", "role: billing\nduration: 1h\nreason: A customer asks\n").await;
    let check = world.check(bills).await;
    assert_eq!(check.conclusion, "failure");
    let (path, line, message) = place(&check);
    assert_eq!((path.as_str(), line), ("grants/bills.yaml", 1));
    assert!(message.contains("billing-db") && message.contains("not configured on the server"), "{message}");
    let orders = world.alice().asks("alice-orders", ORDERS).await;
    assert!(world.check(orders).await.title.contains("waiting"));
}

#[tokio::test]
async fn where_the_first_policy_is_broken_nobody_can_ask_until_it_is_mended() {
    let broken = b"roles: { x: { requesters: [team:\n".to_vec();
    let world = World::with_policy(|files| drop(files.insert("policies/broken.yaml".to_owned(), broken))).await;
    let request = world.alice().asks("again", ORDERS).await;
    let check = world.check(request).await;
    assert_eq!(check.conclusion, "failure");
    assert!(check.title.contains("policy on the default branch is broken"), "{}", check.title);
    assert!(check.summary.contains("policies/broken.yaml:1"), "{}", check.summary);
    assert_eq!(world.count("policy-in-force").await, 0, "nobody could change it");
    assert!(world.olga().pushes_to_main("policies/broken.yaml", "groups: {}\n").await.is_success());
    assert_eq!(world.record("policy-in-force").await[0]["how"], "adopted");
    assert!(world.check(request).await.title.contains("waiting for approval"), "{}", world.check(request).await.title);
}

/// A policy that gives the orders database to everybody but members of `team`.
async fn not_for_members_of(team: &str) -> World {
    let world = World::with_policy(|files| {
        let file = files.get_mut("policies/roles/incident-response.yaml").unwrap();
        let text = String::from_utf8(file.clone()).unwrap();
        let (text, _) = text.split_once("\ntests:").unwrap();
        let condition = format!("    conditions:\n      - expr: \"!('{team}' in subject.teams)\"\n");
        let changed = text.replacen("    conditions:\n", &condition, 1);
        assert_ne!(changed, text);
        *file = changed.into_bytes();
    })
    .await;
    world.sandbox.add_team("contractors", None).unwrap();
    world
}

#[tokio::test]
async fn whoever_is_in_a_team_that_only_a_condition_names_is_excluded_by_it() {
    let world = not_for_members_of("contractors").await;
    world.sandbox.add_to_team("contractors", "alice").unwrap();
    let alices = world.alice().asks("alice-orders", ORDERS).await;
    assert_eq!(world.check(alices).await.conclusion, "failure");
    assert!(world.check(alices).await.summary.contains("contractors"));
    let bobs = world.bob().asks("bob-orders", ORDERS).await;
    world.dave().approves(bobs).await;
    assert!(world.is_merged(bobs).await, "he is no contractor");
}

#[tokio::test]
async fn a_condition_about_a_team_that_does_not_exist_lets_nobody_pass() {
    let world = not_for_members_of("contracters").await;
    let request = world.bob().asks("bob-orders", ORDERS).await;
    world.wait(chrono::TimeDelta::minutes(10)).await;
    let check = world.check(request).await;
    assert_eq!(check.conclusion, "failure", "{}", check.summary);
    assert!(check.summary.contains("there is no team") && check.summary.contains("contracters"), "{}", check.summary);
}
