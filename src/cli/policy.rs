//! `daypass policy`: what operators do about the policy in force.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::{Failure, out, serve, unreachable, usage};
use crate::engine::clock::Clock;
use crate::engine::settings::Settings;
use crate::policy::name::{CommitId, RepositoryName};

/// Arguments of `daypass policy`.
#[derive(Debug, Args)]
pub struct PolicyArgs {
    #[command(subcommand)]
    command: PolicyCommand,
}

#[derive(Debug, Subcommand)]
enum PolicyCommand {
    /// Says that the policy at a commit is in force from now on, whoever approved it. Goes on record.
    Trust(TrustArgs),
}

#[derive(Debug, Args)]
struct TrustArgs {
    /// The commit, in full.
    commit: CommitId,
    /// Why; it goes on record.
    #[arg(long, short)]
    reason: String,
    /// The policy repository, if the configuration has several.
    #[arg(long)]
    repository: Option<RepositoryName>,
    /// The configuration.
    #[arg(long, short, default_value = "daypass.yaml", env = "DAYPASS_CONFIG")]
    config: PathBuf,
}

pub(super) async fn run(args: PolicyArgs) -> Result<ExitCode, Failure> {
    let PolicyCommand::Trust(args) = args.command;
    let settings = Settings::read(&args.config, std::env::vars()).map_err(usage)?;
    serve::log(&settings.log)?;
    let repository = match (&args.repository, settings.repositories.as_slice()) {
        (Some(wanted), known) => known.iter().find(|known| *known == wanted).cloned(),
        (None, [one]) => Some(one.clone()),
        (None, _) => None,
    };
    let Some(repository) = repository else {
        let known: Vec<&str> = settings.repositories.iter().map(RepositoryName::as_str).collect();
        return Err(usage(anyhow::anyhow!("name one of these with --repository: {}", known.join(", "))));
    };
    let engine = serve::engine(&settings, &Clock::system()).await?;
    let tree = engine.trust_policy(&repository, &args.commit, &args.reason).await.map_err(unreachable)?;
    engine.store().close().await;
    out::line(format_args!("{repository}: the policy of {} is in force from now on (tree {tree}).", args.commit))?;
    Ok(ExitCode::SUCCESS)
}
