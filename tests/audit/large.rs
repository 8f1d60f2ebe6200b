//! A record of years. How long it takes is printed; what must be true is asserted. `DAYPASS_LOAD=100` plays twenty thousand merges, and
//! a million events; figures are in `docs/ledger.md`.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::Instant;

use chrono::{DateTime, TimeDelta, Utc};
use daypass::ledger::{LedgerFile, Link, Pending, Tip};
use serde_json::{Value, json};

/// Merges, at a share of 100 percent.
const MERGES: i64 = 20_000;
/// Merges in a day.
const A_DAY: i64 = 60;
/// Merges whose events come to the branch together.
const TOGETHER: usize = 3;
/// Merges of the longest record: each has seven events.
const MOST_MERGES: i64 = 142_858;

fn share(of: i64, percent: i64) -> i64 {
    let percent = std::env::var("DAYPASS_LOAD").ok().and_then(|text| text.parse().ok()).unwrap_or(percent);
    of * percent / 100
}

fn merges() -> i64 {
    share(MERGES, 5)
}

fn at(merge: i64) -> DateTime<Utc> {
    let first: DateTime<Utc> = "2023-01-02T00:00:00Z".parse().unwrap();
    first + TimeDelta::minutes(24 * 60 / A_DAY * merge)
}

fn request(merge: i64) -> String {
    format!("role: orders\nduration: 1h\nreason: number {merge}\n")
}

fn fast_import(dir: &std::path::Path, stream: &[u8]) {
    let mut import = Command::new("git")
        .arg("-C")
        .arg(dir)
        .args(["-c", "safe.directory=*", "fast-import", "--quiet", "--export-marks=marks"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    import.stdin.take().unwrap().write_all(stream).unwrap();
    assert!(import.wait().unwrap().success());
}

fn data(text: &str) -> String {
    format!("data {}\n{text}\n", text.len())
}

fn commit(branch: &str, mark: i64, at: DateTime<Utc>, message: &str) -> String {
    let who = format!("daypass[bot] <3+daypass[bot]@users.noreply.github.com> {} +0000", at.timestamp());
    let github = format!("GitHub <noreply@github.com> {} +0000", at.timestamp());
    format!("commit refs/heads/{branch}\nmark :{mark}\nauthor {who}\ncommitter {github}\n{}", data(message))
}

/// The default branch: each request is merged, and the one before it taken back. The commits.
fn main_branch(dir: &std::path::Path) -> Vec<String> {
    let mut stream = String::new();
    for merge in 0..merges() {
        stream.push_str(&commit("main", merge + 1, at(merge), &format!("Merge #{merge}")));
        if merge > 0 {
            writeln!(stream, "D grants/g{}.yaml", merge - 1).unwrap();
        }
        writeln!(stream, "M 100644 inline grants/g{merge}.yaml\n{}", data(&request(merge))).unwrap();
    }
    fast_import(dir, stream.as_bytes());
    let marks = std::fs::read_to_string(dir.join("marks")).unwrap();
    let mut ids: Vec<(i64, String)> = marks
        .lines()
        .map(|line| line.trim_start_matches(':').split_once(' ').unwrap())
        .map(|(mark, id)| (mark.parse().unwrap(), id.to_owned()))
        .collect();
    ids.sort();
    ids.into_iter().map(|(_, id)| id).collect()
}

fn events(merge: i64, commit: &str) -> Vec<Pending> {
    let blob =
        gix::objs::compute_hash(gix::hash::Kind::Sha1, gix::objs::Kind::Blob, request(merge).as_bytes()).unwrap();
    let alice = json!({ "id": 7, "login": "alice", "bot": false });
    let grant = format!("g{merge}#{merge}");
    let entitlement = json!({ "target": "orders-db", "access": { "postgres": { "role": "r", "login": "alice" } } });
    let window = json!({ "starts_at": at(merge), "ends_at": at(merge) + TimeDelta::hours(1) });
    let event = |kind: &str, details: Value| Pending {
        key: format!("{grant} {kind}"),
        at: at(merge),
        body: json!({ "v": 1, "id": format!("acme/access/{grant}/{kind}"), "at": at(merge), "repository": "acme/access",
            "kind": kind, "details": details }),
    };
    vec![
        event(
            "requested",
            json!({ "pull_request": merge, "author": alice, "requests": [{ "grant": grant, "role": "orders" }] }),
        ),
        event(
            "approved",
            json!({ "pull_request": merge, "by": { "id": 8, "login": "dave" }, "stage": "owner", "review": merge }),
        ),
        event("merged", json!({ "pull_request": merge, "commit": commit })),
        event(
            "granted",
            json!({ "grant": grant, "subject": alice, "role": "orders", "window": window, "merge_commit": commit, "blob": blob.to_string() }),
        ),
        event("applied", json!({ "grant": grant, "subject": alice, "role": "orders", "entitlement": entitlement })),
        event("ended", json!({ "grant": grant, "subject": alice, "role": "orders", "reason": "expired" })),
        event("removed", json!({ "grant": grant, "subject": alice, "role": "orders", "entitlement": entitlement })),
    ]
}

/// The ledger of these commits, so many of them in a batch; how many events it has.
fn ledger_branch(dir: &std::path::Path, commits: &[String], together: usize) -> u64 {
    let (mut tip, mut first, mut stream) = (Tip::default(), 1, String::new());
    let all: Vec<(i64, &String)> = (0..).zip(commits).collect();
    for (mark, part) in (1..).zip(all.chunks(together)) {
        let pending: Vec<Pending> = part.iter().flat_map(|(merge, id)| events(*merge, id)).collect();
        let batch = tip.append(first, &pending);
        stream.push_str(&commit("daypass/ledger", mark, pending.last().unwrap().at, "Record events"));
        if stream.len() < 1_000 && mark > 1 {
            // Each run of git has to be told where the branch goes on.
            stream.push_str("from refs/heads/daypass/ledger^0\n");
        }
        for (file, content) in &batch.files {
            // A blank line would end the commit.
            write!(stream, "M 100644 inline {file}\n{}", data(content)).unwrap();
        }
        stream.push('\n');
        let (file, content): (LedgerFile, String) = batch.files.last().unwrap().clone();
        (tip, first) = (Tip { last: batch.last, file: Some(file), content }, batch.first_in_file);
        if stream.len() > 32 << 20 {
            fast_import(dir, stream.as_bytes());
            stream.clear();
        }
    }
    fast_import(dir, stream.as_bytes());
    let Link { seq, .. } = tip.last;
    seq
}

#[test]
fn years_are_verified_and_searched_in_one_go() {
    let dir = tempfile::tempdir().unwrap();
    let made = Command::new("git").args(["init", "-q", "-b", "main"]).arg(dir.path()).status().unwrap();
    assert!(made.success());
    let commits = main_branch(dir.path());
    let written = ledger_branch(dir.path(), &commits, TOGETHER);
    let run = |arguments: &[&str]| {
        let began = Instant::now();
        let output = Command::new(env!("CARGO_BIN_EXE_daypass"))
            .arg("audit")
            .args(arguments)
            .arg("-C")
            .arg(dir.path())
            .output()
            .unwrap();
        println!("{} of {} merges, {written} events: {:.2?}", arguments[0], commits.len(), began.elapsed());
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
        text
    };
    assert!(run(&["verify"]).contains(&format!("{written} events in")));
    let half = at(merges() / 2).to_rfc3339();
    assert_eq!(run(&["who", "orders-db", "--at", &half]), "Nobody.\n", "it was given and taken in the same instant");
    assert_eq!(run(&["log", "--kind", "granted"]).lines().count(), commits.len());
    assert!(run(&["report"]).contains("<svg"));
}

/// What a command kept in memory at most, in MiB, the files it reads not counted; and how it ended.
fn kept(dir: &std::path::Path, arguments: &[&str]) -> (i64, i32) {
    let began = Instant::now();
    let mut command = Command::new(env!("CARGO_BIN_EXE_daypass"));
    let command = command.arg("audit").args(arguments).arg("-C").arg(dir).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let status = format!("/proc/{}/status", child.id());
    let mut most = 0;
    let ended = loop {
        let now = std::fs::read_to_string(&status).unwrap_or_default();
        let line = now.lines().find_map(|line| line.strip_prefix("RssAnon:")?.trim().strip_suffix(" kB"));
        most = line.and_then(|kb| kb.parse().ok()).unwrap_or(0).max(most);
        if let Some(ended) = child.try_wait().unwrap() {
            break ended;
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    };
    println!("{}: {:.2?}, {} MiB", arguments.join(" "), began.elapsed(), most >> 10);
    (most >> 10, ended.code().unwrap())
}

#[test]
fn however_many_events_there_are_little_of_them_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let made = Command::new("git").args(["init", "-q", "-b", "main"]).arg(dir.path()).status().unwrap();
    assert!(made.success());
    let commits = vec!["1".repeat(40); usize::try_from(share(MOST_MERGES, 1)).unwrap()];
    let written = ledger_branch(dir.path(), &commits, 2_000);
    let main = commit("main", 1, at(0), "Begin");
    fast_import(dir.path(), format!("{main}M 100644 inline README.md\n{}", data("Grants")).as_bytes());
    println!("{written} events");
    let events = i64::try_from(written).unwrap();
    let half = at(i64::try_from(commits.len()).unwrap() / 2).to_rfc3339();
    for (arguments, bytes_an_event) in [
        (&["log", "--kind", "ended"][..], 0),
        (&["log", "--json"], 0),
        (&["show", "g7#7"], 0),
        (&["who", "orders-db", "--at", &half], 0),
        (&["export", "--format", "ocsf"], 0),
        // A word for each event and each grant.
        (&["verify"], 150),
        (&["report"], 200),
    ] {
        let (most, code) = kept(dir.path(), arguments);
        assert!(most < 64 + bytes_an_event * events / (1 << 20), "{arguments:?} kept {most} MiB");
        // Nothing of it is in the history of the default branch.
        assert_eq!(code, i32::from(arguments[0] == "verify"));
    }
}
