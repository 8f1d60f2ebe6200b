//! Whoever tampers with the record is found, and what they did is named.

use std::io::Write;
use std::process::{Command, Stdio};

use chrono::TimeDelta;
use daypass::ledger::{Entry, Link, link};
use http::Method;
use serde_json::{Value, json};

use crate::clone::{Clone, FILE, Found, MALLORY, at, chained};
use crate::support::world::World;
use crate::{a_clone, a_morning};

/// The errors of a code.
fn errors<'a>(found: &'a [Found], code: &str) -> Vec<&'a Found> {
    found.iter().filter(|one| one.code == code && one.severity == "error").collect()
}

fn one_error<'a>(found: &'a [Found], code: &str) -> &'a Found {
    let all = errors(found, code);
    assert_eq!(all.len(), 1, "one {code}: {found:#?}");
    all[0]
}

/// The place of the first event of a kind.
fn position(lines: &[String], kind: &str) -> usize {
    lines.iter().position(|line| line.contains(&format!("\"kind\":\"{kind}\""))).unwrap()
}

#[tokio::test]
async fn an_honest_record_passes() {
    let clone = a_clone().await;
    let (code, out, complaint) = clone.audit(&["verify"]);
    assert_eq!(code, 0, "{out}{complaint}");
    assert!(out.contains(": 0 errors, 0 warnings."), "{out}");
    let lines = clone.lines();
    let last = Entry::read(lines.last().unwrap().as_bytes()).unwrap();
    assert!(out.contains(&format!("Newest: event {} {}", last.seq, last.hash)), "{out}");
}

#[tokio::test]
async fn an_edited_line_is_named_with_the_commits_around_it() {
    let clone = a_clone().await;
    let before = clone.git(&["rev-parse", "origin/daypass/ledger"]);
    let mut lines = clone.lines();
    let granted = position(&lines, "granted");
    lines[granted] = lines[granted].replace("INC-4711", "INC-9999");
    let after = clone.writes_ledger(&lines, true);
    let (code, found) = clone.verify();
    assert_eq!(code, 1);
    let edited = one_error(&found, "DP0702");
    assert_eq!(edited.line, granted as u64 + 1);
    assert!(edited.message.contains(&format!("event {}, granted", granted + 1)), "{edited:?}");
    let commit = one_error(&found, "DP0705");
    assert!(commit.message.contains(&format!("between commits {} and {}", &before[..10], &after[..10])), "{commit:?}");
    assert_eq!(commit.line, granted as u64 + 1);
    assert!(one_error(&found, "DP0707").message.contains("is by mallory"), "{found:#?}");
}

#[tokio::test]
async fn an_edited_line_with_a_hash_of_its_own_is_still_found() {
    let clone = a_clone().await;
    let (mut lines, bodies) = (clone.lines(), clone.bodies());
    let granted = position(&lines, "granted");
    let entry = Entry::read(lines[granted].as_bytes()).unwrap();
    let mut body = bodies[granted].clone();
    body["details"]["subject"]["login"] = json!("mallory");
    lines[granted] = link(&Link { seq: entry.seq - 1, hash: entry.prev }, &body).0;
    clone.writes_ledger(&lines, true);
    let (code, found) = clone.verify();
    assert_eq!(code, 1);
    let replaced = one_error(&found, "DP0702");
    assert!(
        replaced.message.contains(&format!("event {} does not follow the event {}", granted + 2, granted + 1)),
        "{replaced:?}"
    );
}

#[tokio::test]
async fn a_dropped_line_is_missed() {
    let clone = a_clone().await;
    let mut lines = clone.lines();
    let approved = position(&lines, "approved");
    lines.remove(approved);
    clone.writes_ledger(&lines, true);
    let (code, found) = clone.verify();
    assert_eq!(code, 1);
    assert!(one_error(&found, "DP0703").message.contains(&format!("event {} is missing", approved + 1)), "{found:#?}");
    assert!(one_error(&found, "DP0705").message.contains("1 lines were dropped"), "{found:#?}");
}

#[tokio::test]
async fn the_last_lines_are_missed_too() {
    let clone = a_clone().await;
    let mut lines = clone.lines();
    lines.truncate(lines.len() - 2);
    clone.writes_ledger(&lines, true);
    let (code, found) = clone.verify();
    assert_eq!(code, 1);
    assert!(one_error(&found, "DP0705").message.contains("2 lines were dropped"), "{found:#?}");
}

#[tokio::test]
async fn lines_in_another_order_are_noticed() {
    let clone = a_clone().await;
    let mut lines = clone.lines();
    lines.swap(1, 3);
    clone.writes_ledger(&lines, true);
    let (code, found) = clone.verify();
    assert_eq!(code, 1);
    assert_eq!(errors(&found, "DP0704").len(), 2, "{found:#?}");
    assert!(errors(&found, "DP0703").is_empty(), "nothing is missing: {found:#?}");
    assert!(one_error(&found, "DP0705").message.contains("another order"), "{found:#?}");
}

#[tokio::test]
async fn a_ledger_written_anew_contradicts_the_reverts() {
    let clone = a_clone().await;
    let mut bodies = clone.bodies();
    bodies.iter_mut().for_each(|body| {
        if body["details"]["ticket"] == "INC-4711" {
            body["details"]["ticket"] = json!("INC-9999");
        }
    });
    // Every hash is right, every time too, and the App's name is on it.
    let app = clone.git(&["log", "-1", "--format=%an <%ae>", "origin/daypass/ledger"]);
    let github = clone.git(&["log", "-1", "--format=%cn <%ce>", "origin/daypass/ledger"]);
    clone.writes_ledger_as(&app, &github, &chained(&bodies), false);
    let (code, found) = clone.verify();
    assert_eq!(code, 1);
    let quoted = one_error(&found, "DP0706");
    assert!(quoted.message.contains("the ledger has another event"), "{quoted:?}");
    assert_eq!(found.iter().filter(|one| one.severity == "error").count(), 1, "nothing else gives it away: {found:#?}");
}

#[tokio::test]
async fn an_event_that_was_left_out_of_a_ledger_written_anew_is_in_the_history() {
    let clone = a_clone().await;
    let mut bodies = clone.bodies();
    bodies.retain(|body| body["kind"] != "granted");
    clone.writes_ledger(&chained(&bodies), false);
    let (_, found) = clone.verify();
    assert!(
        one_error(&found, "DP0710").message.contains("brings `grants/alice-orders.yaml`, and that is not on record"),
        "{found:#?}"
    );
}

#[tokio::test]
async fn a_default_branch_that_was_rewritten_lacks_what_is_on_record() {
    let clone = a_clone().await;
    let merge = clone.git(&["log", "--merges", "--reverse", "--format=%H", "-1", "origin/main"]);
    let first = clone.git(&["rev-list", "--max-parents=0", "origin/main"]);
    assert_ne!(merge, first);
    clone.git(&["update-ref", "refs/remotes/origin/main", &first]);
    let (code, found) = clone.verify();
    assert_eq!(code, 1);
    let missing = errors(&found, "DP0709");
    assert!(
        !missing.is_empty() && missing.iter().all(|one| one.message.contains("is not in the history")),
        "{found:#?}"
    );
}

#[tokio::test]
async fn a_grant_that_was_slipped_into_the_history_is_not_on_record() {
    let clone = a_clone().await;
    let path = clone.path();
    std::fs::write(path.join("grants/mallory.yaml"), "role: orders-db-reader\nduration: 2h\nreason: x\n").unwrap();
    clone.git(&["add", "."]);
    // Dated before the newest entry of the ledger, as if Daypass had been there.
    clone.git_as(MALLORY, MALLORY, "2026-11-30T11:00:00Z", &path, &["commit", "-q", "-m", "Merge pull request #1"]);
    clone.git(&["update-ref", "refs/remotes/origin/main", "HEAD"]);
    let (code, found) = clone.verify();
    assert_eq!(code, 1);
    assert!(one_error(&found, "DP0710").message.contains("grants/mallory.yaml"), "{found:#?}");
}

#[tokio::test]
async fn a_forged_author_is_not_committed_by_github() {
    let clone = a_clone().await;
    let (mut lines, app) = (clone.lines(), clone.git(&["log", "-1", "--format=%an <%ae>", "origin/daypass/ledger"]));
    let last = Entry::read(lines.last().unwrap().as_bytes()).unwrap();
    let body = json!({ "v": 1, "id": "acme/access/pull-2/approved/review-99", "at": at("2026-11-30T13:00:00Z"), "repository": "acme/access",
        "kind": "approved", "details": { "pull_request": 2, "by": { "id": 7, "login": "carol" } } });
    lines.push(link(&Link { seq: last.seq, hash: last.hash }, &body).0);
    clone.writes_ledger_as(&app, MALLORY, &lines, true);
    let (code, found) = clone.verify();
    assert_eq!(code, 1);
    let forged = one_error(&found, "DP0707");
    assert!(forged.message.contains(&format!("says it is by {app}, but was committed by mallory")), "{forged:?}");
}

#[tokio::test]
async fn a_moved_clock_is_out_of_order() {
    let clone = a_clone().await;
    let mut bodies = clone.bodies();
    let ended = bodies.iter().position(|body| body["kind"] == "ended").unwrap();
    bodies[ended]["at"] = at("2026-11-30T09:30:00Z");
    bodies[ended]["details"]["ended_at"] = at("2026-11-30T09:30:00Z");
    clone.writes_ledger(&chained(&bodies), true);
    let (_, found) = clone.verify();
    assert_eq!(one_error(&found, "DP0708").line, ended as u64 + 1, "{found:#?}");
}

#[tokio::test]
async fn an_event_from_after_its_commit_is_impossible() {
    let clone = a_clone().await;
    let mut bodies = clone.bodies();
    bodies.last_mut().unwrap()["at"] = at("2026-11-30T20:00:00Z");
    clone.writes_ledger(&chained(&bodies), true);
    let (_, found) = clone.verify();
    assert!(one_error(&found, "DP0708").message.contains("commit"), "{found:#?}");
}

#[tokio::test]
async fn the_same_event_twice_is_noticed() {
    let clone = a_clone().await;
    let mut bodies = clone.bodies();
    bodies.push(bodies.last().unwrap().clone());
    clone.writes_ledger(&chained(&bodies), true);
    let (_, found) = clone.verify();
    assert_eq!(one_error(&found, "DP0711").line, bodies.len() as u64);
}

#[tokio::test]
async fn what_daypass_noticed_and_put_right_is_told_as_that() {
    let world = a_defaced_morning("nothing happened\n").await;
    let clone = Clone::of(&world, &[]);
    let (code, found) = clone.verify();
    assert_eq!(code, 0, "{found:#?}");
    let told = found.iter().find(|one| one.code == "DP0705" && one.severity == "warning").unwrap();
    assert!(told.message.contains("Daypass noticed, and put it right"), "{told:?}");
    assert!(found.iter().any(|one| one.code == "DP0707" && one.message.contains("olga")), "{found:#?}");
    assert_eq!(clone.audit(&["verify", "--deny-warnings"]).0, 1);
}

/// Olga writes this in the place of the ledger, and Daypass puts it right.
async fn a_defaced_morning(content: &str) -> World {
    let world = a_morning().await;
    let file = world.get(&format!("/contents/{FILE}?ref=daypass%2Fledger")).await;
    let content = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, content);
    let body = json!({ "message": "x", "content": content, "branch": "daypass/ledger", "sha": file["sha"] });
    let path = format!("/repos/acme/access/contents/{FILE}");
    let (status, answer): (_, Value) = world.call("olga", Method::PUT, &path, body).await;
    assert!(status.is_success(), "{answer}");
    world.wait(TimeDelta::minutes(15)).await;
    world
}

/// Mallory's lines, and what makes them look as if Daypass had found and mended them.
fn altered(expected: &Value, found: &str) -> Value {
    json!({ "v": 1, "id": "acme/access/ledger/ledger-altered/x", "at": at("2026-11-30T13:59:00Z"), "repository": "acme/access",
        "kind": "ledger-altered", "details": { "expected": expected, "found": found, "seq": 1, "how": "x" } })
}

#[tokio::test]
async fn who_says_that_daypass_put_it_right_does_not_make_it_so() {
    for known in [true, false] {
        let clone = a_clone().await;
        let tip = clone.git(&["rev-parse", "origin/daypass/ledger"]);
        let mut bodies = clone.bodies();
        let last = bodies.len() - 1;
        bodies[last]["details"]["receipt"] = json!({ "summary": "forged" });
        let found = clone.writes_ledger(&chained(&bodies), true);
        let expected = if known { json!(tip) } else { Value::Null };
        bodies.push(altered(&expected, &found));
        clone.writes_ledger(&chained(&bodies), true);
        let (code, told) = clone.verify();
        assert_eq!(code, 1, "{told:#?}");
        let rewritten = errors(&told, "DP0705");
        assert!(rewritten.iter().any(|one| one.message.contains("does not do that")), "{told:#?}");
        assert!(rewritten.iter().any(|one| one.message.contains("lines were replaced")), "{told:#?}");
        assert!(one_error(&told, "DP0707").message.contains("and 1 more: it is by mallory"), "{told:#?}");
    }
}

/// With the App's name on it, it still has to bring back what was there.
#[tokio::test]
async fn what_was_not_put_right_is_not_told_as_that_whoever_says_so() {
    let clone = a_clone().await;
    let tip = clone.git(&["rev-parse", "origin/daypass/ledger"]);
    let app = clone.git(&["log", "-1", "--format=%an <%ae>", "origin/daypass/ledger"]);
    let github = clone.git(&["log", "-1", "--format=%cn <%ce>", "origin/daypass/ledger"]);
    let mut bodies = clone.bodies();
    let last = bodies.len() - 1;
    bodies[last]["details"]["receipt"] = json!({ "summary": "forged" });
    let found = clone.writes_ledger_as(&app, &github, &chained(&bodies), true);
    bodies.push(altered(&json!(tip), &found));
    clone.writes_ledger_as(&app, &github, &chained(&bodies), true);
    let (code, told) = clone.verify();
    assert_eq!(code, 1);
    assert!(errors(&told, "DP0705").iter().any(|one| one.message.contains("lines were replaced")), "{told:#?}");
}

#[tokio::test]
async fn whose_work_was_put_right_once_is_not_forgiven_the_next_time() {
    let clone = Clone::of(&a_defaced_morning("nothing happened\n").await, &[]);
    let mut bodies = clone.bodies();
    let committer = clone.git(&["log", "--format=%cn <%ce>", "--author=olga", "-1", "origin/daypass/ledger"]);
    let author = clone.git(&["log", "--format=%an <%ae>", "--author=olga", "-1", "origin/daypass/ledger"]);
    let mut more = bodies[0].clone();
    more["id"] = json!("acme/access/x");
    more["at"] = bodies.last().unwrap()["at"].clone();
    bodies.push(more);
    clone.writes_ledger_as(&author, &committer, &chained(&bodies), true);
    let (code, told) = clone.verify();
    assert_eq!(code, 1, "{told:#?}");
    assert!(errors(&told, "DP0707").iter().any(|one| one.message.contains("olga")), "{told:#?}");
}

/// A line dated a year ahead, which Daypass put right.
#[tokio::test]
async fn a_time_that_was_put_right_is_no_error_for_ever() {
    let body = json!({ "v": 1, "id": "acme/access/x", "at": at("2027-11-30T13:00:00Z"), "repository": "acme/access",
        "kind": "withdrawn", "details": {} });
    let clone = Clone::of(&a_defaced_morning(&(link(&Link::default(), &body).0 + "\n")).await, &[]);
    let (code, told) = clone.verify();
    assert_eq!(code, 0, "{told:#?}");
    assert!(told.iter().any(|one| one.code == "DP0708" && one.severity == "warning"), "{told:#?}");
}

#[tokio::test]
async fn a_file_that_is_hidden_by_its_mode_is_missed() {
    let clone = a_clone().await;
    clone.git(&["worktree", "add", "-q", "-b", "daypass/ledger", "../ledger", "origin/daypass/ledger"]);
    let tree = clone.path().with_file_name("ledger");
    let git = |arguments: &[&str]| clone.git_as(MALLORY, MALLORY, "2026-11-30T14:00:00Z", &tree, arguments);
    git(&["update-index", "--chmod=+x", FILE]);
    git(&["commit", "-q", "-m", "x"]);
    let (code, told) = clone.verify();
    assert_eq!(code, 1);
    assert!(one_error(&told, "DP0705").message.contains("something else than a plain file"), "{told:#?}");
    assert!(one_error(&told, "DP0701").message.contains("a link, a program or a folder"), "{told:#?}");
    let (code, _, complaint) = clone.audit(&["log"]);
    assert_eq!((code, complaint.contains("a part of what there was")), (1, true), "{complaint}");
}

/// The ledger ends before what the default branch holds: at once that is a matter of time, an hour later it is not.
#[tokio::test]
async fn a_ledger_that_was_set_back_is_not_merely_too_new() {
    let clone = a_clone().await;
    let path = clone.path();
    std::fs::write(path.join("grants/mallory.yaml"), "role: orders-db-reader\nduration: 2h\nreason: x\n").unwrap();
    clone.git(&["add", "."]);
    clone.git_as(MALLORY, MALLORY, "2026-11-30T14:00:00Z", &path, &["commit", "-q", "-m", "Merge pull request #9"]);
    clone.git(&["update-ref", "refs/remotes/origin/main", "HEAD"]);
    let opened = daypass::ledger::LocalClone::at(&path).unwrap();
    let severity = |now: &str| {
        let verified = daypass::ledger::verify::verify(&opened, now.parse().unwrap()).unwrap();
        let told = verified.findings.into_iter().find(|one| one.code.as_str() == "DP0710").unwrap();
        (format!("{:?}", told.severity), told.message.contains("set back"))
    };
    assert_eq!(severity("2026-11-30T14:01:00Z"), ("Note".to_owned(), false));
    assert_eq!(severity("2026-12-01T14:01:00Z"), ("Error".to_owned(), true));
    assert_eq!(severity("2026-11-30T12:00:00Z"), ("Error".to_owned(), true), "from the future");
}

#[tokio::test]
async fn a_person_who_quotes_a_revert_contradicts_nobody() {
    let clone = a_clone().await;
    let message =
        format!("x\n\nDaypass-Grant: alice-orders#1\nDaypass-Reason: expired\nDaypass-Ledger: 3 {}", "a".repeat(64));
    clone.git_as(
        MALLORY,
        MALLORY,
        "2026-11-30T14:00:00Z",
        &clone.path(),
        &["commit", "-q", "--allow-empty", "-m", &message],
    );
    clone.git(&["update-ref", "refs/remotes/origin/main", "HEAD"]);
    let (code, told) = clone.verify();
    assert_eq!(code, 0, "{told:#?}");
    let bot = "daypass-acme[bot] <bot@example.com>";
    clone.git_as(bot, bot, "2026-11-30T14:00:00Z", &clone.path(), &["commit", "-q", "--allow-empty", "-m", &message]);
    clone.git(&["update-ref", "refs/remotes/origin/main", "HEAD"]);
    assert_eq!(errors(&clone.verify().1, "DP0706").len(), 1);
}

#[tokio::test]
async fn numbers_and_times_beyond_all_reason_break_nothing() {
    let clone = a_clone().await;
    let lines = clone.lines();
    let last = Entry::read(lines.last().unwrap().as_bytes()).unwrap();
    let mut body = clone.bodies()[0].clone();
    body["at"] = json!("+262142-12-31T23:59:59Z");
    let far = link(&Link { seq: last.seq, hash: last.hash }, &body).0;
    body["at"] = json!("-262143-01-01T00:00:00Z");
    let long_ago = link(&Link { seq: last.seq + 1, ..Link::default() }, &body).0;
    let many = lines[0].replace("\"seq\":1,", "\"seq\":18446744073709551615,");
    clone.writes_ledger(&[lines, vec![far, long_ago, many.clone(), many]].concat(), true);
    let path = clone.path();
    clone.git_as(MALLORY, MALLORY, "@8210266876799 +0000", &path, &["commit", "-q", "--allow-empty", "-m", "x"]);
    clone.git(&["update-ref", "refs/remotes/origin/main", "HEAD"]);
    for command in [&["verify"][..], &["report"], &["log"], &["who", "orders-db", "--at", "2026-11-30T11:00"]] {
        let (code, _, complaint) = clone.audit(command);
        assert_eq!((code, complaint.contains("panicked")), (1, false), "{command:?} {complaint}");
    }
    assert_eq!(errors(&clone.verify().1, "DP0701").len(), 4);
}

/// A few small trees that hold a hundred million names: how they are put into the root of a commit.
fn bomb(clone: &Clone, onto: &str, folder: &str) -> String {
    let mktree = |lines: String| -> String {
        let mut child = Command::new("git")
            .arg("-C")
            .arg(clone.path())
            .arg("mktree")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
        String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap().trim().to_owned()
    };
    let blob = clone.git(&[
        "rev-parse",
        &format!("{onto}:{}", clone.git(&["ls-tree", "-r", "--name-only", onto]).lines().next().unwrap()),
    ]);
    let mut tree = mktree((0..10).map(|number| format!("100644 blob {blob}\tf{number}\n")).collect());
    for _ in 0..8 {
        tree = mktree((0..10).map(|number| format!("040000 tree {tree}\td{number}\n")).collect());
    }
    let root = mktree(format!("{}\n040000 tree {tree}\t{folder}\n", clone.git(&["ls-tree", onto])));
    clone.git(&["commit-tree", &root, "-p", onto, "-m", "x"])
}

#[tokio::test]
async fn a_tree_nobody_can_read_is_not_read() {
    let clone = a_clone().await;
    let commit = bomb(&clone, "origin/main", "zz");
    clone.git(&["update-ref", "refs/remotes/origin/main", &commit]);
    let (code, told) = clone.verify();
    assert_eq!(code, 0, "it is in no folder of Daypass: {told:#?}");
    let commit = bomb(&clone, "origin/daypass/ledger", "zz");
    clone.git(&["update-ref", "refs/remotes/origin/daypass/ledger", &commit]);
    let (code, told) = clone.verify();
    assert_eq!(code, 1);
    assert!(errors(&told, "DP0705").iter().any(|one| one.message.contains("more was changed than can be looked at")));
    assert_eq!(clone.audit(&["log"]).0, 0);
}
