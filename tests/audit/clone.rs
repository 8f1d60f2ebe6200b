//! A plain clone of the policy repository, for the auditor to read and for others to tamper with.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use chrono::{DateTime, Utc};
use daypass::ledger::{Entry, Link, link};
use serde_json::Value;

use crate::support::world::World;

/// The file the events of the stories are in.
pub const FILE: &str = "2026/11/30.jsonl";

pub struct Clone {
    dir: tempfile::TempDir,
}

impl Clone {
    /// `git clone`, with more arguments.
    pub fn of(world: &World, arguments: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let address = format!("file://{}", world.repository().display());
        let done = Command::new("git")
            .args(["-c", "safe.directory=*", "clone", "-q"])
            .args(arguments)
            .arg(address)
            .arg(dir.path().join("access"))
            .output()
            .unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        Self { dir }
    }

    pub fn path(&self) -> PathBuf {
        self.dir.path().join("access")
    }

    /// Runs git as somebody, at a time.
    pub fn git_as(&self, author: &str, committer: &str, at: &str, at_path: &Path, arguments: &[&str]) -> String {
        let person = |text: &str| {
            let (name, address) = text.split_once(" <").unwrap();
            (name.to_owned(), address.trim_end_matches('>').to_owned())
        };
        let ((name, address), (by, by_address)) = (person(author), person(committer));
        let done = Command::new("git")
            .arg("-C")
            .arg(at_path)
            .args(["-c", "safe.directory=*", "-c", "commit.gpgsign=false"])
            .args(arguments)
            .envs([("GIT_AUTHOR_NAME", &name), ("GIT_AUTHOR_EMAIL", &address), ("GIT_COMMITTER_NAME", &by)])
            .envs([("GIT_COMMITTER_EMAIL", by_address.as_str()), ("GIT_AUTHOR_DATE", at), ("GIT_COMMITTER_DATE", at)])
            .output()
            .unwrap();
        assert!(done.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).unwrap().trim().to_owned()
    }

    pub fn git(&self, arguments: &[&str]) -> String {
        self.git_as(MALLORY, MALLORY, "2026-11-30T14:00:00Z", &self.path(), arguments)
    }

    /// The lines of the ledger.
    pub fn lines(&self) -> Vec<String> {
        let shown = self.git(&["show", &format!("origin/daypass/ledger:{FILE}")]);
        shown.lines().map(str::to_owned).collect()
    }

    /// The events of the ledger, as they are before they are chained.
    pub fn bodies(&self) -> Vec<Value> {
        let body = |line: &String| serde_json::to_value(Entry::read(line.as_bytes()).unwrap().event).unwrap();
        self.lines().iter().map(body).collect()
    }

    /// Mallory commits these lines on top of the ledger, or in the place of its whole history.
    pub fn writes_ledger(&self, lines: &[String], on_top: bool) -> String {
        self.writes_ledger_as(MALLORY, MALLORY, lines, on_top)
    }

    pub fn writes_ledger_as(&self, author: &str, committer: &str, lines: &[String], on_top: bool) -> String {
        let tree = self.dir.path().join("ledger");
        if !tree.exists() {
            let at = tree.display().to_string();
            self.git(&["worktree", "add", "-q", "-b", "daypass/ledger", &at, "origin/daypass/ledger"]);
        }
        let git = |arguments: &[&str]| self.git_as(author, committer, "2026-11-30T14:00:00Z", &tree, arguments);
        if !on_top {
            git(&["checkout", "-q", "--orphan", "another"]);
        }
        std::fs::write(tree.join(FILE), lines.join("\n") + "\n").unwrap();
        git(&["add", "."]);
        git(&["commit", "-q", "-m", "Record events"]);
        if !on_top {
            git(&["branch", "-q", "-M", "another", "daypass/ledger"]);
        }
        git(&["rev-parse", "HEAD"])
    }

    /// `daypass audit`: exit code, what it printed, what it complained of.
    pub fn audit(&self, arguments: &[&str]) -> (i32, String, String) {
        self.daypass(&[&["audit"], arguments].concat())
    }

    /// `daypass` on the clone: exit code, what it printed, what it complained of.
    pub fn daypass(&self, arguments: &[&str]) -> (i32, String, String) {
        let output: Output = Command::new(env!("CARGO_BIN_EXE_daypass"))
            .env_remove("DAYPASS_CONFIG")
            .env_remove("GITHUB_TOKEN")
            .env("NO_COLOR", "1")
            .args(arguments)
            .arg("-C")
            .arg(self.path())
            .output()
            .unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    }

    /// What `verify` finds: exit code, and each finding as code, severity, line and message.
    pub fn verify(&self) -> (i32, Vec<Found>) {
        let (code, out, complaint) = self.audit(&["verify", "--json"]);
        let found: Vec<Value> = serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}{complaint}"));
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let found = found.iter().map(|one| Found {
            code: text(&one["code"]),
            severity: text(&one["severity"]),
            line: one["line"].as_u64().unwrap(),
            message: text(&one["message"]),
        });
        (code, found.collect())
    }
}

pub const MALLORY: &str = "mallory <mallory@example.com>";

#[derive(Debug)]
pub struct Found {
    pub code: String,
    pub severity: String,
    pub line: u64,
    pub message: String,
}

/// The chain of these events, as Daypass would have written it.
pub fn chained(bodies: &[Value]) -> Vec<String> {
    let mut last = Link::default();
    let line = |body: &Value| {
        let (line, next) = link(&last, body);
        last = next;
        line
    };
    bodies.iter().map(line).collect()
}

/// A time as events have it.
pub fn at(text: &str) -> Value {
    serde_json::to_value(text.parse::<DateTime<Utc>>().unwrap()).unwrap()
}
