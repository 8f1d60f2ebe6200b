//! A program on the server: the plug-in way. It is started without a shell and with a clean environment, reads one JSON object and
//! writes one:
//!
//! `{"call": "grant", "principal": "alice", "fields": {"access": "root", "resource": "db1"}, "until": "2026-01-01T14:00:00Z"}`
//!
//! Calls are `check`, `observe`, `grant` and `revoke`. Its answer may have a `summary` for people; that to `observe` has `present`, true
//! or false, or nothing if it cannot tell. Exit status 0 is done, 75 (`EX_TEMPFAIL` of sysexits.h) is worth trying again, any other
//! is a refusal; `error` in the answer says why. It is ended after its time limit; what
//! it started is its own to end.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::members::{Fields, wanted};
use super::webhook::{observed, receipt};
use super::{Observed, Occasion, Receipt, Target, TargetError};
use crate::policy::entitlement::Entitlement;
use crate::policy::kind::TargetKind;

/// How long a program may run.
const PATIENCE: Duration = Duration::from_secs(15);
/// Bytes it may write.
const LONGEST: u64 = 64 * 1024;
/// `EX_TEMPFAIL` of sysexits.h.
const TRY_AGAIN: i32 = 75;

/// A program that gives and takes access.
#[derive(Debug)]
pub(super) struct Exec {
    program: PathBuf,
    arguments: Vec<String>,
}

impl Exec {
    /// The program at a path that must be absolute: what is found in the working directory of a service is nobody's intention.
    pub fn new(program: PathBuf, arguments: Vec<String>) -> Result<Self, TargetError> {
        match program.is_absolute() {
            true => Ok(Self { program, arguments }),
            false => Err(TargetError::Permanent(format!("`program` {} is no absolute path", program.display()))),
        }
    }

    async fn call(
        &self,
        call: &'static str,
        (principal, fields): (&str, &Fields),
        until: Option<DateTime<Utc>>,
    ) -> Result<Value, TargetError> {
        let mut question = json!({ "call": call, "principal": principal, "fields": fields });
        if let Some(until) = until {
            question["until"] = json!(until);
        }
        tokio::time::timeout(PATIENCE, self.run(question.to_string())).await.unwrap_or_else(|_| {
            let name = self.program.display();
            Err(TargetError::Temporary(format!("{name} takes longer than {} seconds", PATIENCE.as_secs())))
        })
    }

    async fn run(&self, question: String) -> Result<Value, TargetError> {
        let name = self.program.display();
        let broke = |error: std::io::Error| TargetError::Temporary(format!("{name}: {error}"));
        let mut command = tokio::process::Command::new(&self.program);
        command.args(&self.arguments).env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin").current_dir("/");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
        let mut child = command.spawn().map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound | std::io::ErrorKind::PermissionDenied => {
                TargetError::Permanent(format!("{name} cannot be run: {error}"))
            }
            _ => broke(error),
        })?;
        if let Some(mut input) = child.stdin.take() {
            // A program need not read what it does not care for.
            let _ = input.write_all(question.as_bytes()).await;
        }
        let mut bytes = Vec::new();
        if let Some(output) = child.stdout.take() {
            output.take(LONGEST + 1).read_to_end(&mut bytes).await.map_err(broke)?;
        }
        if bytes.len() as u64 > LONGEST {
            return Err(TargetError::Permanent(format!("{name} writes more than {} KiB", LONGEST / 1024)));
        }
        let status = child.wait().await.map_err(broke)?;
        let answer = match bytes.trim_ascii() {
            b"" => Ok(Value::Null),
            text => serde_json::from_slice(text),
        };
        if status.success() {
            return answer.map_err(|error| TargetError::Permanent(format!("{name} wrote no JSON: {error}")));
        }
        let said = answer.ok().and_then(|answer| answer.get("error").and_then(Value::as_str).map(str::to_owned));
        let said = said.map(|text| receipt(&json!({ "summary": text }), String::new()).summary);
        let text = format!("{name}: {}", said.unwrap_or_else(|| status.to_string()));
        Err(if status.code() == Some(TRY_AGAIN) { TargetError::Temporary(text) } else { TargetError::Permanent(text) })
    }
}

#[async_trait]
impl Target for Exec {
    fn kind(&self) -> TargetKind {
        TargetKind::Exec
    }

    async fn check(&self) -> Result<String, TargetError> {
        let answer = self.call("check", ("", &Fields::new()), None).await?;
        Ok(receipt(&answer, format!("{} answers", self.program.display())).summary)
    }

    async fn observe(&self, entitlement: &Entitlement) -> Result<Observed, TargetError> {
        let answer = self.call("observe", wanted(TargetKind::Exec, entitlement)?, None).await?;
        if answer.is_null() { Ok(Observed::Unknown) } else { observed(&answer) }
    }

    async fn grant(
        &self,
        entitlement: &Entitlement,
        until: DateTime<Utc>,
        _occasion: &Occasion,
    ) -> Result<Receipt, TargetError> {
        let answer = self.call("grant", wanted(TargetKind::Exec, entitlement)?, Some(until)).await?;
        Ok(receipt(&answer, format!("{} gave it", self.program.display())))
    }

    async fn revoke(
        &self,
        entitlement: &Entitlement,
        _receipt: Option<&Receipt>,
        _occasion: &Occasion,
    ) -> Result<Receipt, TargetError> {
        let answer = self.call("revoke", wanted(TargetKind::Exec, entitlement)?, None).await?;
        Ok(receipt(&answer, format!("{} took it away", self.program.display())))
    }
}
