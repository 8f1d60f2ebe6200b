//! `daypass rebuild`: reads every grant anew from git and GitHub into the database.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::{Failure, out, serve, unreachable, usage};
use crate::engine::Engine;
use crate::engine::clock::Clock;
use crate::engine::settings::Settings;

/// Arguments of `daypass rebuild`.
#[derive(Debug, Args)]
pub struct RebuildArgs {
    /// The configuration.
    #[arg(long, short, default_value = "daypass.yaml", env = "DAYPASS_CONFIG")]
    config: PathBuf,
}

pub(super) async fn run(args: RebuildArgs) -> Result<ExitCode, Failure> {
    let settings = Settings::read(&args.config, std::env::vars()).map_err(usage)?;
    serve::log(&settings.log)?;
    let clock = Clock::system();
    let engine = serve::engine(&settings, &clock).await?;
    if engine.store().is_served(clock.now() - Engine::SERVING_KEPT).await.map_err(unreachable)? {
        let why = "the database is in use; stop every `daypass serve`, wait half a minute, and run this again";
        return Err(unreachable(anyhow::anyhow!(why)));
    }
    // What cannot be printed keeps nothing from being done.
    let mut told = Ok(());
    for row in engine.discard_unreadable().await.map_err(unreachable)? {
        told = told.and(out::line(format_args!("{} {}: {}", row.table, row.row, row.outcome)));
    }
    for repository in &settings.repositories {
        let rebuilt = engine
            .rebuild(repository)
            .await
            .map_err(|error| unreachable(anyhow::anyhow!("{repository}: {error}; nothing is lost, run this again")))?;
        told = told.and(out::line(format_args!(
            "{}: {} live grants ({} known before), {} ended because their file is gone, {} files refused; {} events in the ledger",
            rebuilt.repository, rebuilt.after, rebuilt.before, rebuilt.ended, rebuilt.refused, rebuilt.events
        )));
    }
    engine.store().close().await;
    told?;
    out::line("Start `daypass serve`: it brings the targets to where they should be.")?;
    Ok(ExitCode::SUCCESS)
}
