//! What an auditor asks.

use chrono::TimeDelta;
use daypass::ledger::{Entry, Link, link};
use serde_json::Value;

use crate::clone::{Clone, FILE, at, chained};
use crate::support::world::World;
use crate::{ORDERS, a_clone, a_morning};

/// What differs from run to run.
fn steady(text: &str) -> String {
    let hex = |c: char| c.is_ascii_hexdigit();
    let word = |word: &str| match word {
        word if word.len() >= 10 && word.trim_end_matches(',').chars().all(hex) => "COMMIT".to_owned(),
        word => word.to_owned(),
    };
    text.split('\n').map(|line| line.split(' ').map(word).collect::<Vec<_>>().join(" ")).collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn the_log_tells_what_happened_in_order() {
    let clone = a_clone().await;
    let (code, log, complaint) = clone.audit(&["log"]);
    assert_eq!((code, complaint.as_str()), (0, ""));
    insta::assert_snapshot!(steady(&log));
    let kinds = |arguments: &[&str]| -> Vec<String> {
        let (code, log, _) = clone.audit(&[&["log"], arguments].concat());
        assert_eq!(code, 0);
        log.lines().map(|line| line.split_whitespace().nth(2).unwrap().to_owned()).collect()
    };
    assert_eq!(kinds(&["--kind", "granted,ended"]), ["granted", "ended"]);
    assert_eq!(kinds(&["--person", "DAVE", "--kind", "approved,objected,requested"]), ["approved", "objected"]);
    assert_eq!(kinds(&["--role", "orders-db-reader", "--kind", "applied,removed"]), ["applied", "removed"]);
    assert_eq!(kinds(&["--target", "orders-db"]).last().unwrap(), "removed");
    assert_eq!(kinds(&["--pull-request", "2", "--kind", "requested,objected"]), ["requested", "objected"]);
    assert_eq!(kinds(&["--since", "2026-11-30T12:00", "--until", "2026-12-01", "--kind", "ended"]), ["ended"]);
    assert!(kinds(&["--until", "2026-11-30"]).is_empty());
    let (_, json, _) = clone.audit(&["log", "--json", "--kind", "granted"]);
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(
        (&json["partial"], &json["events"][0]["details"]["subject"]["login"]),
        (&Value::Bool(false), &"alice".into())
    );
}

#[tokio::test]
async fn who_had_the_orders_at_eleven() {
    let clone = a_clone().await;
    for name in ["orders-db-reader", "orders-db"] {
        let (code, who, _) = clone.audit(&["who", name, "--at", "2026-11-30T11:00"]);
        assert_eq!(code, 0);
        assert!(who.contains("alice") && who.contains("alice-orders#1") && who.contains("approved by dave"), "{who}");
        assert!(who.contains("role orders_readonly for alice on orders-db since 2026-11-30 10:01:00Z"), "{who}");
        for at in ["2026-11-30T10:00", "2026-11-30T12:30"] {
            assert_eq!(clone.audit(&["who", name, "--at", at]).1.lines().next(), Some("Nobody."));
        }
    }
    let (_, json, _) = clone.audit(&["who", "orders-db", "--at", "2026-11-30T11:00", "--json"]);
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["holders"][0]["subject"]["login"], "alice");
    let (code, _, complaint) = clone.audit(&["who", "orders-db-raeder", "--at", "2026-11-30"]);
    assert_eq!(code, 2);
    assert!(complaint.contains("Did you mean `orders-db-reader`?"), "{complaint}");
    let (_, later, _) = clone.audit(&["who", "orders-db", "--at", "2027-01-01"]);
    assert!(later.contains("what happened since is not known here"), "{later}");
}

#[tokio::test]
async fn the_whole_life_of_a_grant_is_on_one_screen() {
    let clone = a_clone().await;
    let (code, life, _) = clone.audit(&["show", "alice-orders#1"]);
    assert_eq!(code, 0);
    insta::assert_snapshot!(steady(&life));
    assert_eq!(clone.audit(&["show", "alice-orders"]).1, life);
    assert_eq!(clone.audit(&["show", "#1"]).1, life);
    assert!(
        clone.audit(&["show", "bob-orders"]).1.contains("dave asks for changes"),
        "a request that never was a grant"
    );
    let (code, _, complaint) = clone.audit(&["show", "nobody"]);
    assert_eq!((code, complaint.contains("no event is about a grant `nobody`")), (2, true));
}

#[tokio::test]
async fn the_record_is_exported_in_every_form() {
    let world = a_morning().await;
    let formula = ORDERS.replace("Checkouts hang, since the deploy", "\"=HYPERLINK(1) <script>\"");
    world.erin().asks("erin-orders", &formula).await;
    world.wait(TimeDelta::minutes(6)).await;
    let clone = Clone::of(&world, &[]);
    let export = |format: &str| {
        let (code, text, _) = clone.audit(&["export", "--format", format]);
        assert_eq!(code, 0, "{text}");
        text
    };
    let lines = clone.lines();
    assert_eq!(export("jsonl").lines().collect::<Vec<_>>(), lines, "as they are");
    let json: Vec<Value> = serde_json::from_str(&export("json")).unwrap();
    let csv = export("csv");
    assert_eq!((json.len(), csv.lines().count()), (lines.len(), lines.len() + 1));
    assert!(csv.contains("\"Checkouts hang") || csv.contains("Checkouts hang, since the deploy\""), "quoted: {csv}");
    let html = export("html");
    assert!(html.contains("&lt;script&gt;") && !html.contains("<script>"), "{html}");
    assert!(!html.contains("http://") && !html.contains("https://"), "a page by itself");
    let ocsf: Vec<Value> = export("ocsf").lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let applied = ocsf.iter().find(|event| event["unmapped"]["kind"] == "applied").unwrap();
    assert_eq!((&applied["class_uid"], &applied["type_uid"]), (&3005.into(), &300_501.into()));
    assert_eq!(applied["user"]["name"], "alice");
    // As published, without the descriptions: https://schema.ocsf.io/1.3.0
    let schemas = [(3005, include_str!("ocsf/3005.json")), (3004, include_str!("ocsf/3004.json"))];
    let schemas =
        schemas.map(|(class, text)| (class, jsonschema::validator_for(&serde_json::from_str(text).unwrap()).unwrap()));
    for event in &ocsf {
        let (_, schema) = schemas.iter().find(|(class, _)| event["class_uid"] == *class).unwrap();
        let wrong: Vec<String> =
            schema.iter_errors(event).map(|error| format!("{}: {error}", error.instance_path())).collect();
        assert!(wrong.is_empty(), "{wrong:#?} in {event:#}");
    }
}

#[tokio::test]
async fn without_a_branch_it_says_what_to_do() {
    let world = a_morning().await;
    let clone = Clone::of(&world, &["--single-branch"]);
    for command in [&["log"][..], &["verify"], &["show", "x"], &["who", "x", "--at", "2026-11-30"], &["export"]] {
        let (code, out, complaint) = clone.audit(command);
        assert_eq!((code, out.as_str()), (2, ""), "{command:?}");
        assert!(complaint.contains("git fetch origin daypass/ledger:daypass/ledger"), "{complaint}");
    }
    // The advice is good.
    clone.git(&["fetch", "-q", "origin", "daypass/ledger:daypass/ledger"]);
    assert_eq!(clone.audit(&["verify"]).0, 0);
    let nowhere = tempfile::tempdir().unwrap();
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_daypass"))
        .args(["audit", "log", "-C"])
        .arg(nowhere.path())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("not in a git repository"));
}

#[tokio::test]
async fn a_shallow_clone_says_what_it_did_not_look_at() {
    let clone = Clone::of(&a_morning().await, &["--depth", "1", "--no-single-branch"]);
    assert_eq!(clone.audit(&["log"]).0, 0, "the newest ledger is whole");
    let (code, found) = clone.verify();
    assert_eq!(code, 0, "{found:#?}");
    assert!(
        found.iter().any(|one| one.code == "DP0712" && one.message.contains("git fetch --unshallow")),
        "{found:#?}"
    );
}

#[tokio::test]
async fn broken_json_in_the_middle_leaves_the_rest_and_is_said() {
    let clone = a_clone().await;
    let mut lines = clone.lines();
    lines[2] = "{\"seq\": 3, broken".to_owned();
    clone.writes_ledger(&lines, true);
    let (code, log, complaint) = clone.audit(&["log"]);
    assert_eq!((code, log.lines().count()), (1, lines.len() - 1));
    assert!(complaint.contains("a part of what there was") && complaint.contains(&format!("{FILE}:3")), "{complaint}");
    let (_, json, _) = clone.audit(&["log", "--json"]);
    assert_eq!(serde_json::from_str::<Value>(&json).unwrap()["partial"], true);
    assert_eq!(clone.audit(&["who", "orders-db", "--at", "2026-11-30T11:00"]).0, 1);
    let (code, found) = clone.verify();
    assert_eq!(code, 1);
    assert!(found.iter().any(|one| one.code == "DP0701" && one.line == 3), "{found:#?}");
}

#[tokio::test]
async fn a_ledger_from_before_anything_happened() {
    let world = World::new().await;
    world.wait(TimeDelta::minutes(6)).await;
    let clone = Clone::of(&world, &[]);
    let (code, found) = clone.verify();
    assert_eq!(code, 0, "{found:#?}");
}

#[tokio::test]
async fn the_report_is_a_page_by_itself() {
    let clone = a_clone().await;
    let path = clone.path().join("report.html");
    let (code, _, complaint) = clone.audit(&["report", "--output", path.to_str().unwrap()]);
    assert_eq!(code, 0, "{complaint}");
    let page = std::fs::read_to_string(&path).unwrap();
    for part in ["<b>2</b>requests", "<b>1</b>grants", "orders-db-reader", "Time to approval", "<svg"] {
        assert!(page.contains(part), "{part} is missing in {page}");
    }
    for outside in ["<script", "http://", "https://", "src=", "url("] {
        assert!(!page.contains(outside), "{outside}");
    }
    let (_, json, _) = clone.audit(&["report", "--json"]);
    assert!(serde_json::from_str::<Value>(&json).unwrap()["suggestions"].is_array());
}

#[tokio::test]
async fn the_report_arranges_the_evidence_by_the_controls_of_a_framework() {
    let clone = a_clone().await;
    for (framework, controls) in [
        ("soc2", &["CC6.1", "CC6.2", "CC6.3", "CC7.2", "CC7.3", "CC8.1"][..]),
        ("hipaa", &["§ 164.308(a)(4)(ii)(B)", "§ 164.312(a)(2)(ii)", "§ 164.312(b)"]),
        ("iso27001", &["A.5.3", "A.5.15", "A.5.18", "A.8.2", "A.8.15"]),
        ("pci", &["7.2.4", "8.2.5", "10.3.4", "10.5.1"]),
    ] {
        let (code, page, complaint) = clone.audit(&["report", "--control", framework]);
        assert_eq!((code, complaint.as_str()), (0, ""));
        for control in controls {
            assert!(page.contains(&format!("<h3>{control}: ")), "{control} is missing");
        }
        assert!(page.contains("Not in the record: ") && page.contains("alice-orders#1"), "{page}");
        assert!(!page.contains("http://") && !page.contains("https://"), "a page by itself");
    }
    assert!(
        clone.audit(&["report", "--control", "soc2"]).1.contains("Grants: 1. Approved by a person: 1. Emergencies: 0.")
    );
    let (code, _, complaint) = clone.audit(&["report", "--control", "sox"]);
    assert_eq!((code, complaint.contains("iso27001")), (2, true), "{complaint}");
}

#[tokio::test]
async fn a_local_branch_that_stayed_behind_is_not_taken_for_the_ledger() {
    let clone = a_clone().await;
    let newest = clone.audit(&["log"]).1;
    clone.git(&["branch", "-q", "daypass/ledger", "origin/daypass/ledger~1"]);
    assert_eq!(clone.audit(&["log"]).1, newest);
    let (_, found) = clone.verify();
    assert!(found.is_empty(), "{found:#?}");
}

/// The ledger is read as it is: only `verify` asks who wrote it.
#[tokio::test]
async fn who_had_it_before_daypass_still_has_it_and_who_lost_it_on_the_target_has_not() {
    let clone = a_clone().await;
    let bodies = clone.bodies();
    let applied = bodies.iter().position(|body| body["kind"] == "applied").unwrap();
    let mut standing = bodies.clone();
    standing[applied]["details"]["standing"] = true.into();
    clone.writes_ledger(&chained(&standing), true);
    for at in ["2026-11-30T11:00", "2026-11-30T13:00"] {
        let who = clone.audit(&["who", "orders-db", "--at", at]).1;
        assert!(who.contains("alice") && who.contains("since before Daypass"), "{who}");
    }
    let mut drifted = bodies.clone();
    let mut gone = bodies[applied].clone();
    (gone["kind"], gone["id"], gone["at"]) = ("drifted".into(), "x".into(), at("2026-11-30T10:30:00Z"));
    gone["details"]["repaired"] = false.into();
    drifted.insert(applied + 1, gone);
    clone.writes_ledger(&chained(&drifted), true);
    assert_eq!(clone.audit(&["who", "orders-db", "--at", "2026-11-30T11:00"]).1, "Nobody.\n");
    let who = clone.audit(&["who", "orders-db-reader", "--at", "2026-11-30T11:00"]).1;
    assert!(who.contains("what it gave was gone from the target"), "{who}");
}

#[tokio::test]
async fn an_event_that_was_replaced_makes_every_answer_a_part() {
    let clone = a_clone().await;
    let (mut lines, bodies) = (clone.lines(), clone.bodies());
    let granted = bodies.iter().position(|body| body["kind"] == "granted").unwrap();
    let entry = Entry::read(lines[granted].as_bytes()).unwrap();
    let mut body = bodies[granted].clone();
    body["details"]["subject"]["login"] = "mallory".into();
    lines[granted] = link(&Link { seq: entry.seq - 1, hash: entry.prev }, &body).0;
    clone.writes_ledger(&lines, true);
    for command in [&["log"][..], &["who", "orders-db", "--at", "2026-11-30T11:00"], &["report"], &["export"]] {
        let (code, _, complaint) = clone.audit(command);
        assert_eq!(code, 1, "{command:?}");
        assert!(complaint.contains("1 do not fit what is around them, 0 events are missing"), "{complaint}");
    }
}

/// Whatever a report is about, it counts lives as a whole.
#[tokio::test]
async fn a_report_about_a_role_or_a_person_counts_as_the_whole_one_does() {
    let clone = a_clone().await;
    for about in [&[][..], &["--role", "orders-db-reader"]] {
        let page = clone.audit(&[&["report"], about].concat()).1;
        for part in ["<b>2</b>requests", "<b>1</b>requests not granted", "<b>0</b>running now", "stage owner"] {
            assert!(page.contains(part), "{part} is missing in {about:?}: {page}");
        }
    }
    let page = clone.audit(&["report", "--person", "alice"]).1;
    assert!(page.contains("<b>1</b>requests</div>") && page.contains("<b>0</b>requests not granted"), "{page}");
    assert!(clone.audit(&["report", "--person", "dave"]).1.contains("<b>0</b>running now"));
    let log = clone.audit(&["log", "--role", "orders-db-reader"]).1;
    for kind in ["decided", "approved", "merged", "escalated"] {
        assert!(log.contains(kind), "{kind} is missing in {log}");
    }
    let log = clone.audit(&["log", "--target", "orders-db"]).1;
    assert!(log.contains("requested") && log.contains("decided") && !log.contains("bob"), "{log}");
}
