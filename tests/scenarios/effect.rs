//! What reviewers of a policy change read: its effect, the most dangerous first.

use crate::life::ORDERS;
use crate::support::world::World;

fn changed(file: &str, edits: &[(&str, &str)]) -> (String, Vec<u8>) {
    let files = daypass::sandbox::starter_files();
    let (_, text) = files.into_iter().find(|(path, _)| path == file).unwrap();
    let mut text = String::from_utf8(text).unwrap();
    for (from, to) in edits {
        assert!(text.contains(from), "{from} is in {file}");
        text = text.replacen(from, to, 1);
    }
    (file.to_owned(), text.into_bytes())
}

#[tokio::test]
async fn reviewers_read_who_gains_what_and_which_guards_fall() {
    let world = World::new().await;
    let granted = world.alice().asks("alice-orders", ORDERS).await;
    world.dave().approves(granted).await;
    assert!(world.is_merged(granted).await);
    let open = world.alice().asks("alice-longer", &ORDERS.replace("2h", "4h")).await;
    world.dave().approves(open).await;
    assert!(!world.is_merged(open).await, "it waits for security");

    // Erin, in security, may request too; who may request for four hours needs no security any more; three hours must do.
    let roles = changed(
        "policies/roles/incident-response.yaml",
        &[("requesters: [team:engineering, group:dba]", "requesters: [team:engineering, group:dba, team:security]")],
    );
    let approvals = changed(
        "policies/approvals.yaml",
        &[(
            "      - name: security\n        when: request.duration > duration('2h') || role.risk == 'critical'\n        approvers: [team:security]\n",
            "",
        )],
    );
    // The tests of the starter policy know of the stage.
    let text = String::from_utf8(roles.1).unwrap();
    let (roles_alone, _) = text.split_once("\ntests:").unwrap();
    let change = world.bob().asks_with("wider", &[(roles.0, roles_alone.as_bytes().to_vec()), approvals]).await;
    let comment = &world.comments(change).await[0];
    insta::assert_snapshot!(comment, @r#"
        <!-- daypass:status -->
        ### Policy change: waiting for approval stage security

        This pull request changes the policy: who may get which access.

        **What merging this would change**, the most dangerous first

        | | Role | What would be different |
        |---|---|---|
        | 🔴 critical | `orders-db-reader` | open request in pull request 2 for `alice` would be approved at once |
        | 🟠 high | `orders-db-reader` | approval stage `security` is gone; until now 1 of `erin` (in `team:security`) had to approve |
        | 🟡 medium | `orders-db-reader` | `erin` (in `team:security`) may now request it |

        **Approval** by rule `policy-owners`

        1. 🟡 `security`: open. Approve with a code review: `team:platform-leads`, `team:security`: `carol`, `erin`

        **Tests** of the proposed policy: ✅ 7 tests passed

        A comment with `/daypass help` tells what else can be asked for.
        "#);
    assert!(world.check(change).await.summary.contains("What merging this would change"));
}

#[tokio::test]
async fn running_access_that_the_new_policy_would_refuse_is_named() {
    let world = World::new().await;
    let granted = world.alice().asks("alice-orders", ORDERS).await;
    world.dave().approves(granted).await;
    assert!(world.is_merged(granted).await);
    let file = changed(
        "policies/roles/incident-response.yaml",
        &[("requesters: [team:engineering, group:dba]", "requesters: [group:dba]")],
    );
    let change = world.bob().asks_with("narrower", &[file]).await;
    let comment = &world.comments(change).await[0];
    let rows: Vec<&str> = comment.lines().filter(|line| line.contains("`orders-db-reader`")).collect();
    assert_eq!(
        rows,
        [
            "| ⚪ neutral | `orders-db-reader` | running grant `grants/alice-orders.yaml` of `alice` would be refused (DP0401): `'alice' may not have role 'orders-db-reader'` |",
            "| 🟢 narrower | `orders-db-reader` | `alice`, `bob` (in `team:engineering`) may no longer request it |",
        ]
    );
}

#[tokio::test]
async fn a_change_of_words_has_no_effect_and_says_so() {
    let world = World::new().await;
    let file = changed(
        "policies/roles/incident-response.yaml",
        &[("Read-only SQL on the orders database", "Looking at orders")],
    );
    let change = world.bob().asks_with("words", &[file]).await;
    let comment = &world.comments(change).await[0];
    assert!(comment.contains("No effect: nobody can do more or less than before."), "{comment}");
}

#[tokio::test]
async fn a_change_that_was_made_before_others_were_merged_does_not_seem_to_take_those_back() {
    let world = World::new().await;
    let settings = changed("policies/settings.yaml", &[("pending_timeout: 7d", "pending_timeout: 3d")]);
    let people = changed("policies/people.yaml", &[("postgres: erin", "postgres: erin2")]);
    let first = world.bob().asks_with("first", &[settings]).await;
    let second = world.bob().asks_with("second", &[people]).await;
    world.erin().approves(first).await;
    assert!(world.is_merged(first).await, "{}", world.check(first).await.summary);
    let comment = &world.comments(second).await[0];
    assert!(comment.contains("`people.erin.postgres` is now `erin2`"), "{comment}");
    assert!(!comment.contains("wait for approval for"), "that was the other one: {comment}");
}

#[tokio::test]
async fn hostile_names_stay_text_and_the_table_stays_within_a_comment() {
    let world = World::new().await;
    let roles: String = (0..900)
        .map(|number| format!("  r{number}:\n    requesters: [user:alice]\n    approval: none\n    conditions:\n      - expr: \"request.reason != '`|@acme/security <img src=x> [a](http://evil) {number}'\"\n    entitlements:\n      - postgres: {{ target: orders-db, role: \"x`|<b>{number}\" }}\n"))
        .collect();
    let file = ("policies/roles/many.yaml".to_owned(), format!("roles:\n{roles}").into_bytes());
    let change = world.bob().asks_with("many", &[file]).await;
    let comment = &world.comments(change).await[0];
    assert!(comment.chars().count() < 65_536, "{} characters", comment.chars().count());
    assert!(
        comment.contains("more, none of them more dangerous than these. See them all with `daypass diff "),
        "it says what is cut"
    );
    let row = comment.lines().find(|line| line.contains("`r0`")).unwrap();
    let free: Vec<&str> = row.split("``").step_by(2).collect();
    assert!(!free.join("").contains("<b>"), "{row}");
    assert_eq!(row.matches(" | ").count(), 2, "three cells, whatever is in them: {row}");
}
