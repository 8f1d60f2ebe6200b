//! `daypass serve`: the server.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use clap::Args;
use secrecy::ExposeSecret;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tracing_subscriber::EnvFilter;

use super::{Failure, asked_to_stop, unreachable, usage};
use crate::engine::clock::Clock;
use crate::engine::settings::{LogFormat, LogSettings, Settings};
use crate::engine::{Engine, Options, Worker};
use crate::github::{App, Transport};
use crate::store::Store;
use crate::{target, web};

/// Workers that look at due things at the same time, so that one slow target does not hold up the others. Two of them see to nothing
/// but access, however much GitHub has to be told.
const WORKERS: [Worker; 6] = [Worker::Access, Worker::Access, Worker::Any, Worker::Any, Worker::Any, Worker::Any];

/// Arguments of `daypass serve`.
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// The configuration.
    #[arg(long, short, default_value = "daypass.yaml", env = "DAYPASS_CONFIG")]
    config: PathBuf,
}

pub(super) async fn run(args: ServeArgs) -> Result<ExitCode, Failure> {
    let settings = Settings::read(&args.config, std::env::vars()).map_err(usage)?;
    log(&settings.log)?;
    let listener = TcpListener::bind(settings.listen)
        .await
        .with_context(|| format!("`listen` {} cannot be used", settings.listen))
        .map_err(usage)?;
    let server = Server::start(&settings, &Clock::system(), listener).await?;
    tracing::info!(address = %server.address, version = env!("CARGO_PKG_VERSION"), "Daypass is up");
    asked_to_stop().await;
    tracing::info!("stopping: what has begun is finished first");
    server.stop().await?;
    Ok(ExitCode::SUCCESS)
}

/// The running app: its entrance and its workers.
pub(super) struct Server {
    /// Where it listens.
    pub address: SocketAddr,
    engine: Engine,
    stop: watch::Sender<bool>,
    workers: Vec<JoinHandle<()>>,
    entrance: JoinHandle<std::io::Result<()>>,
}

impl Server {
    /// Starts everything; webhooks are taken on `listener`.
    pub(super) async fn start(settings: &Settings, clock: &Clock, listener: TcpListener) -> Result<Self, Failure> {
        let engine = engine(settings, clock).await?;
        let secrets = settings.webhook_secrets().map_err(usage)?;
        let address = listener.local_addr().map_err(unreachable)?;
        engine.begin().await.map_err(unreachable)?;
        let (stop, stopping) = watch::channel(false);
        let stopped = move || {
            let mut stopping = stopping.clone();
            async move {
                // An error means that the sender is gone, which is a stop too.
                let _ = stopping.wait_for(|stop| *stop).await;
            }
        };
        let workers = WORKERS
            .into_iter()
            .map(|worker| {
                let (engine, stopped) = (engine.clone(), stopped());
                tokio::spawn(async move { engine.run(worker, stopped).await })
            })
            .collect();
        let entrance = axum::serve(listener, web::router(engine.clone(), secrets)).with_graceful_shutdown(stopped());
        let entrance = tokio::spawn(entrance.into_future());
        Ok(Self { address, engine, stop, workers, entrance })
    }

    /// Stops; what has begun is finished first.
    pub(super) async fn stop(self) -> Result<(), Failure> {
        let _ = self.stop.send(true);
        for worker in self.workers {
            worker.await.map_err(unreachable)?;
        }
        self.entrance.await.map_err(unreachable)?.map_err(unreachable)?;
        self.engine.store().close().await;
        Ok(())
    }
}

async fn engine(settings: &Settings, clock: &Clock) -> Result<Engine, Failure> {
    let Some(repository) = settings.repositories.first() else {
        return Err(usage(anyhow::anyhow!(
            "`repositories` names no policy repository; write repositories: [owner/name]"
        )));
    };
    let transport = Transport::http(&settings.github.api_url).map_err(usage)?;
    let private_key = settings.private_key().map_err(usage)?;
    let app = App::new(transport, settings.github.app_id, &private_key, Arc::new(clock.clone())).map_err(usage)?;
    let targets = target::settings::build(&settings.targets, &app, repository).map_err(usage)?;
    let url = settings.store_url().map_err(usage)?;
    let store = Store::open(url.expose_secret()).await.map_err(unreachable)?;
    let options = Options { repositories: settings.repositories.clone(), resync: settings.intervals.resync.delta() };
    Ok(Engine::new(store, app, targets, clock.clone(), options))
}

fn log(settings: &LogSettings) -> Result<(), Failure> {
    let filter = EnvFilter::try_from_default_env().or_else(|_| EnvFilter::try_new(&settings.level)).map_err(usage)?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match settings.format {
        LogFormat::Text => builder.with_ansi(false).init(),
        LogFormat::Json => builder.json().init(),
    }
    Ok(())
}
