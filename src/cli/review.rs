//! `daypass review`: opens a pull request that asks the owners of roles to look at who used them. The list is made from a clone; only
//! opening the pull request needs GitHub.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, anyhow};
use chrono::{DateTime, NaiveTime, TimeDelta, Utc};
use clap::Args;
use secrecy::SecretString;

use super::audit::filter::time;
use super::audit::{failure, read};
use super::{Failure, facts, out, unreachable, usage};
use crate::engine::clock::Clock;
use crate::github::{GithubError, PersonalRepository, Proposal, Transport};
use crate::ledger::LocalClone;
use crate::ledger::review::{self, Period, Usage};
use crate::policy::name::RepositoryName;
use crate::policy::render::Format;

/// How long a review is about, unless it is said.
const QUARTER: TimeDelta = TimeDelta::days(90);

/// Arguments of `daypass review`.
#[derive(Debug, Args)]
pub struct ReviewArgs {
    /// A clone of the policy repository.
    #[arg(long, short = 'C', value_name = "DIR", default_value = ".")]
    clone: PathBuf,
    /// From when: `2026-09-01`, or RFC 3339; 90 days before `--until` if left out.
    #[arg(long, value_name = "TIME", value_parser = time)]
    since: Option<DateTime<Utc>>,
    /// Until when, not included; the beginning of today if left out.
    #[arg(long, value_name = "TIME", value_parser = time)]
    until: Option<DateTime<Utc>>,
    /// Prints the review, and opens nothing.
    #[arg(long)]
    dry_run: bool,
    /// The policy repository on GitHub; the one the ledger is of, if left out.
    #[arg(long, value_name = "OWNER/NAME")]
    repository: Option<RepositoryName>,
    /// A file with a token that may write contents and pull requests of the repository.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// For GitHub Enterprise Server: `https://HOST/api/v3`.
    #[arg(long, default_value = "https://api.github.com", env = "GITHUB_API_URL")]
    api_url: String,
}

pub(super) async fn run(args: ReviewArgs) -> Result<ExitCode, Failure> {
    let today = Clock::system().now().date_naive().and_time(NaiveTime::MIN).and_utc();
    let until = args.until.unwrap_or(today);
    let period = Period { since: args.since.unwrap_or(until - QUARTER), until };
    if period.since >= period.until {
        return Err(usage(anyhow!("`--since` has to be before `--until`")));
    }
    let clone = LocalClone::at(&args.clone).map_err(failure)?;
    let (_, head) = clone.default_branch().map_err(failure)?;
    let mut files = clone.files(&head.to_string()).map_err(failure)?;
    files.retain(|path, _| path.starts_with("policies/"));
    let policy = match facts::load(&files, Vec::new(), Format::Human)? {
        Ok(policy) => policy,
        Err(code) => return Ok(code),
    };
    let branch = clone.ledger().map_err(failure)?;
    let (mut used, mut repository) = (Usage::default(), None);
    let gaps = read(&branch, |entry| {
        used.take(&entry, &period);
        repository = Some(entry.event.repository.clone());
        ControlFlow::Continue(())
    })?;
    if gaps.are_some() && !args.dry_run {
        // Who reviews a part takes it for the whole.
        gaps.tell();
        return Err(usage(anyhow!("nothing was opened; `--dry-run` shows what there is")));
    }
    let file = review::file(&policy, &used, &period);
    if args.dry_run {
        out::print(&file)?;
        return Ok(gaps.tell());
    }
    let Some(repository) = args.repository.clone().or(repository) else {
        return Err(usage(anyhow!("nothing has happened yet: say which repository it is by `--repository`")));
    };
    let transport = Transport::http(&args.api_url).map_err(usage)?;
    let github = PersonalRepository::new(transport, token(&args)?, repository);
    let (branch, path, title, body) = (period.branch(), period.path(), period.title(), review::body(&file));
    let proposal = Proposal { branch: &branch, path: &path, content: &file, title: &title, body: &body };
    let opened = github.propose(proposal).await.map_err(|error| match error {
        error
        @ (GithubError::Unavailable { .. } | GithubError::RateLimited { .. } | GithubError::Unexpected { .. }) => {
            unreachable(error)
        }
        error => usage(error),
    })?;
    out::line(format_args!("#{} {}", opened.number, opened.html_url))?;
    Ok(ExitCode::SUCCESS)
}

fn token(args: &ReviewArgs) -> Result<SecretString, Failure> {
    let text = match &args.token_file {
        Some(file) => std::fs::read_to_string(file)
            .with_context(|| format!("`--token-file` {}", file.display()))
            .map_err(usage)?,
        None => std::env::var("GITHUB_TOKEN").map_err(|_| {
            usage(anyhow!(
                "opening a pull request needs a token: `--token-file`, or GITHUB_TOKEN; `--dry-run` does not"
            ))
        })?,
    };
    Ok(SecretString::from(text.trim().to_owned()))
}
