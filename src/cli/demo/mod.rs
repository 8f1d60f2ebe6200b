//! `daypass demo`: a request's whole life in under a minute, on this machine alone.
//!
//! It starts what a real installation has, an embedded GitHub in place of the real one, and then only acts as people do: through
//! GitHub's API and git. Whatever it claims it has observed there.

mod stage;
mod story;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use tokio::net::TcpListener;
use tracing_subscriber::EnvFilter;

use super::serve::Server;
use super::{Failure, asked_to_stop, out, unreachable, usage};
use crate::engine::clock::Clock;
use crate::engine::settings::Settings;
use crate::sandbox::{Options, Sandbox, WebhookSink, starter_files};
use crate::target::ssh;
use stage::Stage;

/// Arguments of `daypass demo`.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Ends after the story: exit code 0 only if every step was observed.
    #[arg(long)]
    headless: bool,
    /// Keeps what it makes in this directory, which must be empty: the policy repository as `policy.git`.
    #[arg(long)]
    dir: Option<PathBuf>,
}

pub(super) async fn run(args: DemoArgs) -> Result<ExitCode, Failure> {
    let temporary = tempfile::tempdir().map_err(unreachable)?;
    let dir = match &args.dir {
        Some(dir) => empty(dir).map_err(usage)?,
        None => temporary.path().to_owned(),
    };
    log_to(&dir.join("daypass.log")).map_err(unreachable)?;
    let clock = Clock::system();
    let (server, stage) = set_up(&dir, &clock).await?;
    let told = story::tell(&stage).await;
    if let Err(error) = &told {
        let log = dir.join("daypass.log");
        out::beside(format_args!("\n✘ {error:#}\n  The log: {}", log.display()));
    } else if !args.headless {
        // It is up, whoever reads that.
        if let Err(failure) = story::what_to_try(&stage) {
            out::beside(format_args!("daypass: {failure}"));
        }
        asked_to_stop().await;
    }
    server.stop(std::time::Duration::ZERO).await?;
    match told {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(_) => {
            // What went wrong is worth keeping.
            let _ = temporary.keep();
            Ok(ExitCode::from(3))
        }
    }
}

fn empty(dir: &Path) -> anyhow::Result<PathBuf> {
    let shown = dir.display();
    std::fs::create_dir_all(dir).with_context(|| format!("--dir {shown}"))?;
    let mut entries = std::fs::read_dir(dir).with_context(|| format!("--dir {shown}"))?;
    anyhow::ensure!(entries.next().is_none(), "--dir {shown} is not empty; name a new directory");
    dir.canonicalize().with_context(|| format!("--dir {shown}"))
}

/// The app's log goes to a file: the terminal is for the story.
fn log_to(path: &Path) -> anyhow::Result<()> {
    let file = std::fs::File::create(path).with_context(|| path.display().to_string())?;
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false).with_writer(std::sync::Mutex::new(file)).init();
    Ok(())
}

/// The embedded GitHub and the app, each on a free port of this machine.
async fn set_up(dir: &Path, clock: &Clock) -> Result<(Server, Stage), Failure> {
    let free_port = || TcpListener::bind(("127.0.0.1", 0));
    let (github, app) = (free_port().await.map_err(unreachable)?, free_port().await.map_err(unreachable)?);
    let base_url = format!("http://{}", github.local_addr().map_err(unreachable)?);
    let webhooks = format!("http://{}/webhooks/github", app.local_addr().map_err(unreachable)?);
    let sandbox = Sandbox::open(Options {
        dir: dir.to_owned(),
        organisation: "acme".to_owned(),
        repository: "policy".to_owned(),
        clock: clock.clone(),
        base_url: base_url.clone(),
        webhooks: WebhookSink::Http(webhooks),
        record: None,
        persist: true,
    })
    .await
    .map_err(unreachable)?;
    let tokens = sandbox.example(&starter_files()).map_err(unreachable)?;
    tokio::spawn(sandbox.clone().deliver());
    let router = sandbox.router();
    tokio::spawn(async move { axum::serve(github, router).await });
    ssh::generate(&dir.join("ssh-authority")).map_err(unreachable)?;
    let config = dir.join("daypass.yaml");
    std::fs::write(&config, configuration(dir, &base_url, sandbox.app().id)).map_err(unreachable)?;
    let settings = Settings::read(&config, std::iter::empty()).map_err(usage)?;
    let server = Server::start(&settings, clock, app).await?;
    let stage = Stage::new(sandbox, base_url, tokens, dir.to_owned())?;
    Ok((server, stage))
}

/// What `daypass serve` would be given. The databases of the starter policy are left out: they need servers.
fn configuration(dir: &Path, base_url: &str, app_id: u64) -> String {
    let dir = dir.display();
    format!(
        "github:\n  api_url: {base_url}/api/v3\n  app_id: {app_id}\n  private_key_file: '{dir}/app.pem'\n  \
         webhook_secret_file: '{dir}/webhook-secret'\nrepositories: [acme/policy]\n\
         store: {{ url: 'sqlite://{dir}/daypass.db' }}\ntargets:\n  github: {{ github: {{}} }}\n  \
         prod-servers: {{ ssh: {{ ca_key_file: '{dir}/ssh-authority', krl_file: '{dir}/revoked.krl' }} }}\n"
    )
}
