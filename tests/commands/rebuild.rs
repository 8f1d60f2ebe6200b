//! `daypass rebuild` on the database of a real installation.

use std::process::Command;

use crate::daypass;
use crate::installation::Installation;
use crate::support::eventually;

const REQUEST: &str = "role: orders-db-reader\nduration: 40s\nticket: INC-1\nreason: Checkouts hang\n";

/// Exit code, what it printed, what it complained of.
fn rebuild(daypass_of: &Installation) -> (Option<i32>, String, String) {
    let mut command: Command = daypass();
    command.args(["rebuild", "--config"]).arg(daypass_of.dir.path().join("daypass.yaml"));
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[tokio::test]
#[ignore = "needs PostgreSQL; ./test runs it"]
async fn a_lost_database_is_rebuilt_and_access_ends_in_time_on_postgres() {
    let mut daypass = Installation::start(false);
    let number = daypass.alice_asks("alice-orders", REQUEST).await;
    daypass.dave_approves(number).await;
    eventually("alice can read", || daypass.postgres.can_read_orders("alice"));
    let (code, _, complaint) = rebuild(&daypass);
    assert_eq!(code, Some(3), "{complaint}");
    assert!(complaint.contains("stop every `daypass serve`"), "{complaint}");

    daypass.kill();
    for file in ["daypass.db", "daypass.db-wal", "daypass.db-shm"] {
        let _ = std::fs::remove_file(daypass.dir.path().join(file));
    }
    let (code, said, complaint) = rebuild(&daypass);
    assert_eq!(code, Some(0), "{complaint}");
    assert!(said.contains("acme/access: 1 live grants (0 known before), 0 ended"), "{said}");
    assert!(daypass.postgres.can_read_orders("alice"), "targets are not touched");

    daypass.serve();
    eventually("alice cannot read", || !daypass.postgres.can_read_orders("alice"));
    daypass.until_reverted().await;
    assert_eq!(daypass.orders_were_told("REVOKE orders_readonly FROM alice"), 1);
}
