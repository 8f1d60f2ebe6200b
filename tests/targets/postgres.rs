//! `GRANT` and `REVOKE` on a real PostgreSQL server.

use std::collections::BTreeSet;
use std::process::Stdio;

use daypass::policy::entitlement::{Access, Entitlement};
use daypass::target::postgres::Postgres as PostgresTarget;
use daypass::target::{Observed, Target, TargetError};
use secrecy::SecretString;

use crate::support::eventually;
use crate::support::postgres::Postgres;

fn target(server: &Postgres) -> PostgresTarget {
    PostgresTarget::new(&SecretString::from(server.url("postgres")), true).unwrap()
}

fn membership(role: &str, login: &str) -> Entitlement {
    let access = Access::Postgres { role: role.to_owned(), login: login.to_owned() };
    Entitlement { target: "orders-db".parse().unwrap(), access }
}

#[tokio::test]
#[ignore = "needs PostgreSQL; ./test runs it"]
async fn alice_reads_the_orders_while_she_has_the_role_and_not_afterwards() {
    let server = Postgres::start();
    let (target, now) = (target(&server), chrono::Utc::now());
    let access = membership("orders_readonly", "alice");
    assert!(target.check().await.unwrap().starts_with("PostgreSQL "));
    assert!(!server.can_read_orders("alice"));
    assert_eq!(target.observe(&access).await.unwrap(), Observed::Absent);

    let receipt = target.grant(&access, now).await.unwrap();
    assert_eq!(target.grant(&access, now).await.unwrap(), receipt, "twice is once");
    assert!(server.can_read_orders("alice"));
    assert!(!server.can_read_orders("bob"));
    assert_eq!(target.observe(&access).await.unwrap(), Observed::Present);

    target.revoke(&access, Some(&receipt), now).await.unwrap();
    target.revoke(&access, Some(&receipt), now).await.unwrap();
    assert!(!server.can_read_orders("alice"));
    assert_eq!(target.observe(&access).await.unwrap(), Observed::Absent);
}

#[tokio::test]
#[ignore = "needs PostgreSQL; ./test runs it"]
async fn what_is_so_already_is_not_said_again_and_sessions_end_all_the_same_on_postgres() {
    let server = Postgres::start();
    let (target, now) = (target(&server), chrono::Utc::now());
    let access = membership("orders_readonly", "alice");
    let told = |statement: &str| server.log().lines().filter(|line| line.contains(statement)).count();
    for _ in 0..3 {
        target.grant(&access, now).await.unwrap();
    }
    assert_eq!(told("GRANT orders_readonly TO alice"), 1);

    // As if a process had died between the statement and the end of the sessions.
    server.admin("REVOKE orders_readonly FROM alice");
    let mut session =
        server.psql_command("alice").args(["-c", "SELECT pg_sleep(600)"]).stderr(Stdio::null()).spawn().unwrap();
    let sessions = || server.psql("admin", "SELECT count(*) FROM pg_stat_activity WHERE usename = 'alice'").unwrap();
    eventually("alice's session runs", || sessions() == "1");
    let receipt = target.revoke(&access, None, now).await.unwrap();
    assert_eq!(receipt.summary, "alice is no longer a member of role orders_readonly; 1 running session ended");
    assert_eq!(told("REVOKE orders_readonly FROM alice"), 1, "that was the administrator");
    assert!(!session.wait().unwrap().success());

    server.admin("DROP ROLE alice");
    target.revoke(&access, None, now).await.unwrap();
}

#[tokio::test]
#[ignore = "needs PostgreSQL; ./test runs it"]
async fn what_nobody_waits_for_any_more_does_not_take_effect_later_on_postgres() {
    let server = Postgres::start();
    let (target, now) = (target(&server), chrono::Utc::now());
    let access = membership("orders_readonly", "alice");
    let lock = "BEGIN; LOCK pg_auth_members IN SHARE MODE; SELECT pg_sleep(600)";
    let mut locking = server.psql_command("admin").args(["-c", lock]).stderr(Stdio::null()).spawn().unwrap();
    let waiting = || {
        let sql = "SELECT count(*) FROM pg_locks WHERE relation = 'pg_auth_members'::regclass AND NOT granted";
        server.psql("admin", sql).unwrap()
    };
    let granted = "SELECT count(*) FROM pg_locks WHERE relation = 'pg_auth_members'::regclass AND mode = 'ShareLock'";
    eventually("memberships are locked", || server.psql("admin", granted).unwrap() == "1");
    let gave_up = tokio::time::timeout(std::time::Duration::from_secs(2), target.grant(&access, now)).await;
    assert!(gave_up.is_err(), "it hangs");
    assert_eq!(waiting(), "1", "the server does not know that nobody waits any more");
    // Less than any call may take: when we give one up in earnest, the server has done so before.
    eventually("the server gives up, too", || waiting() == "0");
    server.admin("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(600)%' AND pid <> pg_backend_pid()");
    locking.wait().unwrap();
    assert!(!server.can_read_orders("alice"));
}

#[tokio::test]
#[ignore = "needs PostgreSQL; ./test runs it"]
async fn a_session_that_is_open_when_the_role_is_revoked_is_ended() {
    let server = Postgres::start();
    let (target, now) = (target(&server), chrono::Utc::now());
    let access = membership("orders_readonly", "alice");
    target.grant(&access, now).await.unwrap();
    let mut session =
        server.psql_command("alice").args(["-c", "SELECT pg_sleep(600)"]).stderr(Stdio::null()).spawn().unwrap();
    let sessions = || server.psql("admin", "SELECT count(*) FROM pg_stat_activity WHERE usename = 'alice'").unwrap();
    eventually("alice's session runs", || sessions() == "1");
    let receipt = target.revoke(&access, None, now).await.unwrap();
    assert!(receipt.summary.contains("1"), "{}", receipt.summary);
    eventually("alice's session is gone", || sessions() == "0");
    assert!(!session.wait().unwrap().success());
}

#[tokio::test]
#[ignore = "needs PostgreSQL; ./test runs it"]
async fn names_are_names_and_never_sql() {
    let server = Postgres::start();
    let (target, now) = (target(&server), chrono::Utc::now());
    let nasty = r#"x"; DROP TABLE orders; --"#;
    server.psql("admin", &format!("CREATE ROLE \"{}\" NOLOGIN", nasty.replace('"', "\"\""))).unwrap();
    server.psql("admin", &format!("GRANT \"{}\" TO daypass WITH ADMIN OPTION", nasty.replace('"', "\"\""))).unwrap();
    let access = membership(nasty, "alice");
    target.grant(&access, now).await.unwrap();
    assert_eq!(target.observe(&access).await.unwrap(), Observed::Present);
    target.revoke(&access, None, now).await.unwrap();
    assert_eq!(server.psql("admin", "SELECT count(*) FROM orders"), Ok("1".to_owned()));
    for login in ["", "a\0b", &"x".repeat(64)] {
        assert!(matches!(
            target.grant(&membership("orders_readonly", login), now).await,
            Err(TargetError::Permanent(_))
        ));
    }
}

#[tokio::test]
#[ignore = "needs PostgreSQL; ./test runs it"]
async fn what_is_missing_or_forbidden_is_permanent_and_what_is_down_is_temporary() {
    let mut server = Postgres::start();
    let (target, now) = (target(&server), chrono::Utc::now());
    for (role, login, says) in [
        ("orders_readonly", "nobody_at_all", "there is no login"),
        ("orders_reader", "alice", "there is no role"),
        ("admin", "alice", "SQLSTATE 42501"),
    ] {
        match target.grant(&membership(role, login), now).await {
            Err(TargetError::Permanent(message)) => assert!(message.contains(says), "{message}"),
            other => panic!("{other:?}"),
        }
    }
    server.crash();
    match target.grant(&membership("orders_readonly", "alice"), now).await {
        Err(error @ TargetError::Temporary(_)) => assert!(!format!("{error:?}").contains("open-sesame"), "{error:?}"),
        other => panic!("{other:?}"),
    }
    server.resume();
    target.grant(&membership("orders_readonly", "alice"), now).await.unwrap();
    assert!(server.can_read_orders("alice"));
}

#[tokio::test]
#[ignore = "needs PostgreSQL; ./test runs it"]
async fn who_is_connected_is_seen_and_since_when_by_whoever_may_know_on_postgres() {
    let server = Postgres::start();
    let target = target(&server);
    let (alice, bob) = (membership("orders_readonly", "alice"), membership("orders_readonly", "bob"));
    let of = BTreeSet::from([alice.clone(), bob]);
    assert!(target.sees_sessions());
    assert!(target.sessions(&of).await.unwrap().is_empty());
    let before = chrono::Utc::now();
    let mut session = server.psql_command("alice");
    session.args(["-c", "SELECT pg_sleep(600)"]).env("PGAPPNAME", "shell of alice").stderr(Stdio::null());
    let mut session = session.spawn().unwrap();
    let sessions = || server.psql("admin", "SELECT count(*) FROM pg_stat_activity WHERE usename = 'alice'").unwrap();
    eventually("alice's session runs", || sessions() == "1");
    let [(entitlement, seen)] = &target.sessions(&of).await.unwrap()[..] else { panic!("one") };
    assert_eq!((entitlement, seen.what.as_str()), (&alice, "database postgres, program shell of alice"));
    assert_eq!(seen.opened_at, None, "without pg_read_all_stats nobody tells Daypass since when");

    server.admin("GRANT pg_read_all_stats TO daypass");
    let [(_, known)] = &target.sessions(&of).await.unwrap()[..] else { panic!("one") };
    assert_eq!(known.key, seen.key);
    let began = known.opened_at.unwrap();
    assert!(before - chrono::TimeDelta::seconds(1) <= began && began <= chrono::Utc::now(), "{began}");
    session.kill().unwrap();
    session.wait().unwrap();
    server.admin("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'alice'");
    eventually("alice's session is gone", || sessions() == "0");
    assert!(target.sessions(&of).await.unwrap().is_empty());
}
