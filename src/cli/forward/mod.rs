//! `daypass forward`: reads the log of a program and reports the sessions in it to the server.
//!
//! Lines are read no faster than they are delivered, so that nothing piles up here: what writes the log keeps it. Reports are
//! idempotent, and may be made again after a restart.

mod sshd;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, anyhow};
use clap::{Args, Subcommand};
use secrecy::SecretString;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, BufReader};

use super::{Failure, usage};
use crate::engine::clock::Clock;
use crate::policy::name::{RepositoryName, TargetName};
use crate::signature;

/// How long a line may be, in bytes; what is longer is none of those that are looked for.
const LONGEST_LINE: usize = 8 << 10;
/// How long the server may take.
const PATIENCE: Duration = Duration::from_secs(15);
/// The longest pause between two attempts.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Arguments of `daypass forward`.
#[derive(Debug, Args)]
pub struct ForwardArgs {
    #[command(subcommand)]
    command: ForwardCommand,
}

#[derive(Debug, Subcommand)]
enum ForwardCommand {
    /// Reads lines of sshd from standard input, and reports logins with certificates of Daypass.
    Sshd(SshdArgs),
}

#[derive(Debug, Args)]
struct SshdArgs {
    /// The server's address for reports: `https://HOST/api/v1/sessions`.
    #[arg(long)]
    url: url::Url,
    /// A file with the secret, as `sessions.secret_file` of the server's configuration has it; its first line counts.
    #[arg(long, value_name = "FILE")]
    secret_file: PathBuf,
    /// What this machine is called in the record.
    #[arg(long, value_name = "NAME")]
    host: Option<String>,
    /// The target this machine belongs to; that of the grant if left out.
    #[arg(long)]
    target: Option<TargetName>,
    /// The policy repository, where the server has several.
    #[arg(long, value_name = "OWNER/NAME")]
    repository: Option<RepositoryName>,
}

pub(super) async fn run(args: ForwardArgs) -> Result<ExitCode, Failure> {
    let ForwardCommand::Sshd(args) = args.command;
    let text = std::fs::read_to_string(&args.secret_file)
        .with_context(|| format!("`--secret-file` {}", args.secret_file.display()))
        .map_err(usage)?;
    let secret = text.lines().map(str::trim).find(|line| !line.is_empty());
    let secret = secret.ok_or_else(|| usage(anyhow!("`--secret-file` {} is empty", args.secret_file.display())))?;
    let host = args
        .host
        .clone()
        .or_else(hostname)
        .ok_or_else(|| usage(anyhow!("say by `--host` what this machine is called")))?;
    let client = reqwest::Client::builder().timeout(PATIENCE).redirect(reqwest::redirect::Policy::none());
    let server = Server {
        url: args.url,
        secret: SecretString::from(secret.to_owned()),
        client: client.build().map_err(usage)?,
        clock: Clock::system(),
    };
    let mut reader = sshd::Reader::new(&host, args.target, args.repository);
    let mut input = BufReader::new(tokio::io::stdin());
    let mut line = Vec::new();
    while next_line(&mut input, &mut line).await.context("standard input").map_err(super::unreachable)? {
        let Ok(text) = std::str::from_utf8(&line) else { continue };
        if let Some(report) = reader.take(text.trim_end(), server.clock.now()) {
            server.deliver(&report).await;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn hostname() -> Option<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    Some(name.trim().to_owned()).filter(|name| !name.is_empty())
}

/// Reads the next line without its end, of which so much is kept as may matter; false at the end of the input.
async fn next_line(input: &mut (impl AsyncBufRead + Unpin), line: &mut Vec<u8>) -> std::io::Result<bool> {
    line.clear();
    let mut any = false;
    loop {
        let part = input.fill_buf().await?;
        if part.is_empty() {
            return Ok(any);
        }
        any = true;
        let end = part.iter().position(|byte| *byte == b'\n');
        let text = part.get(..end.unwrap_or(part.len())).unwrap_or_default();
        let room = LONGEST_LINE.saturating_sub(line.len());
        line.extend(text.iter().take(room));
        let used = end.map_or(part.len(), |end| end + 1);
        input.consume(used);
        if end.is_some() {
            return Ok(true);
        }
    }
}

/// Where reports go.
struct Server {
    url: url::Url,
    secret: SecretString,
    client: reqwest::Client,
    clock: Clock,
}

/// What became of an attempt.
enum Outcome {
    Taken,
    /// The server will never take it.
    Refused(String),
    /// It may the next time.
    Later(String),
}

impl Server {
    /// Delivers a report, however long that takes; or says why it is refused.
    async fn deliver(&self, report: &serde_json::Value) {
        let body = report.to_string();
        let mut pause = Duration::from_secs(1);
        loop {
            match self.send(body.clone()).await {
                Outcome::Taken => return,
                Outcome::Refused(why) => {
                    anstream::eprintln!("daypass: the server does not take a session of {}: {why}", report["grant"]);
                    return;
                }
                Outcome::Later(why) => {
                    anstream::eprintln!(
                        "daypass: a session cannot be reported: {why}; trying again in {} seconds",
                        pause.as_secs()
                    );
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
    }

    async fn send(&self, body: String) -> Outcome {
        let signed = signature::sign(&self.secret, self.clock.now(), body.as_bytes());
        let request = self.client.post(self.url.clone()).header("content-type", "application/json");
        let answer = match request.header(signature::HEADER, signed).body(body).send().await {
            Ok(answer) => answer,
            Err(error) => return Outcome::Later(error.to_string()),
        };
        let status = answer.status();
        let said = answer.text().await.unwrap_or_default();
        let said = crate::policy::render::tame(&said.chars().take(300).collect::<String>());
        match status.as_u16() {
            200..300 => Outcome::Taken,
            // With another time in its line the same session was reported before.
            409 => Outcome::Taken,
            // The secret, or the address, is wrong here or there; once that is mended nothing shall be missing.
            401 | 403 | 405 | 429 => Outcome::Later(format!("{status}: {said}")),
            400..500 => Outcome::Refused(said),
            _ => Outcome::Later(format!("{status}: {said}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lines_are_read_whatever_their_length_and_end() {
        let long = "x".repeat(LONGEST_LINE * 3);
        let text = format!("one\n\n{long}\nlast");
        let mut input = BufReader::with_capacity(7, text.as_bytes());
        let (mut line, mut read) = (Vec::new(), Vec::new());
        while next_line(&mut input, &mut line).await.unwrap() {
            read.push(line.len());
        }
        assert_eq!(read, [3, 0, LONGEST_LINE, 4]);
    }
}
