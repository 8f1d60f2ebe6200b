//! A program that gives access: a shell script, as an operator would write one, with files for a memory.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use daypass::policy::entitlement::Entitlement;
use daypass::policy::kind::TargetKind;
use daypass::target::Target;
use serde_json::json;

use super::{named, target};
use crate::conformance::Bench;

/// Python reads JSON; nothing of what is asked for is ever a command.
const PROGRAM: &str = r#"#!/usr/bin/env python3
import hashlib, json, os, sys

memory = sys.argv[1]
call = json.load(sys.stdin)
if call["call"] == "check":
    print(json.dumps({"summary": "the program answers"}))
    sys.exit(0)
if os.path.exists(os.path.join(memory, "away")):
    print(json.dumps({"error": "the store is away"}))
    sys.exit(75)
name = json.dumps([call["principal"], call["fields"]["resource"]])
path = os.path.join(memory, hashlib.sha256(name.encode()).hexdigest())
if call["call"] == "grant":
    with open(path, "w") as file:
        file.write(name + " until " + call["until"])
elif call["call"] == "revoke" and os.path.exists(path):
    os.remove(path)
print(json.dumps({"present": os.path.exists(path), "summary": call["call"] + " done"}))
"#;

pub struct Program {
    dir: tempfile::TempDir,
}

pub fn start() -> Program {
    let dir = tempfile::tempdir().unwrap();
    let program = Program { dir };
    std::fs::write(program.path(), PROGRAM).unwrap();
    std::fs::set_permissions(program.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::create_dir(program.dir.path().join("memory")).unwrap();
    program
}

impl Program {
    fn path(&self) -> PathBuf {
        self.dir.path().join("give")
    }

    fn with(&self, memory: PathBuf) -> Arc<dyn Target> {
        target("exec", &json!({ "program": self.path(), "arguments": [memory] }))
    }

    fn file(&self, principal: &str, name: &str) -> PathBuf {
        use sha2::{Digest, Sha256};
        // As Python writes JSON.
        let script = "import hashlib, json, sys; print(hashlib.sha256(json.dumps(sys.argv[1:]).encode()).hexdigest())";
        let output = std::process::Command::new("python3").args(["-c", script, principal, name]).output().unwrap();
        let digest = String::from_utf8(output.stdout).unwrap().trim().to_owned();
        assert_eq!(digest.len(), Sha256::output_size() * 2);
        self.dir.path().join("memory").join(digest)
    }
}

#[async_trait]
impl Bench for Program {
    fn name(&self) -> (&'static str, &'static str) {
        ("exec", "a program in Python")
    }

    fn target(&self) -> Arc<dyn Target> {
        self.with(self.dir.path().join("memory"))
    }

    fn forged(&self) -> Option<Arc<dyn Target>> {
        None
    }

    fn nowhere(&self) -> Arc<dyn Target> {
        let away = self.dir.path().join("elsewhere");
        std::fs::create_dir_all(&away).unwrap();
        std::fs::write(away.join("away"), "").unwrap();
        self.with(away)
    }

    fn access(&self, principal: &str, name: &str) -> Entitlement {
        named(TargetKind::Exec, principal, [("access", "enter"), ("resource", name)])
    }

    async fn make(&self, _name: &str) {}

    async fn has(&self, principal: &str, name: &str) -> bool {
        self.file(principal, name).exists()
    }

    async fn give(&self, principal: &str, name: &str) {
        std::fs::write(self.file(principal, name), "by hand").unwrap();
    }

    fn knows_people(&self) -> bool {
        false
    }
}
