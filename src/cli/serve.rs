//! `daypass serve`: the server.
//!
//! It stops in order: asked to, it takes no new work, tells load balancers to leave, finishes what has begun, and lets go of what
//! does not end in time. Whatever it leaves, the next process finds in the database.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use secrecy::ExposeSecret;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};
use tracing_subscriber::EnvFilter;

use super::{Failure, Signals, unreachable, usage};
use crate::engine::clock::Clock;
use crate::engine::settings::{LogFormat, LogSettings, Settings};
use crate::engine::{Engine, Options, Worker};
use crate::github::{App, Transport};
use crate::policy::model::TargetKind;
use crate::policy::name::{RepositoryName, TargetName};
use crate::store::Store;
use crate::{stream, target, web};

/// Workers that look at due things at the same time, so that one slow target does not hold up the others. Two of them see to nothing
/// but access, however much GitHub has to be told.
const WORKERS: [Worker; 6] = [Worker::Access, Worker::Access, Worker::Any, Worker::Any, Worker::Any, Worker::Any];
/// How long stopping takes at most: less than the 30 seconds Kubernetes gives before it kills.
/// <https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#pod-termination>
const BOUND: Duration = Duration::from_secs(25);
/// What of it is kept for letting go: giving back leases, closing the database.
const LETTING_GO: Duration = Duration::from_secs(3);
/// When the entrance closes at the latest, so that what comes in last can be answered: a request takes 9 seconds at most.
const ENTRANCE: Duration = Duration::from_secs(15);
/// How long the entrance stays open at the least, so that load balancers can see that this process leaves.
const LEAVE: Duration = Duration::from_secs(2);

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
    let mut signals = Signals::listen().map_err(unreachable)?;
    let clock = Clock::system();
    let server = tokio::select! {
        server = Server::start(&settings, &clock, listener) => server?,
        () = signals.asked_to_stop() => return Ok(ExitCode::SUCCESS),
    };
    tracing::info!(address = %server.address, version = env!("CARGO_PKG_VERSION"), "Daypass is up");
    signals.asked_to_stop().await;
    tracing::info!("stopping: what has begun is finished first, within {} seconds", BOUND.as_secs());
    tokio::select! {
        stopped = server.stop(LEAVE) => stopped?,
        () = signals.asked_to_stop() => {
            return Err(unreachable(anyhow::anyhow!(
                "asked twice, it stopped at once; what had begun is carried on by the next process"
            )));
        }
    }
    tracing::info!("stopped");
    Ok(ExitCode::SUCCESS)
}

/// The running app: its entrance and its workers.
pub(super) struct Server {
    /// Where it listens.
    pub address: SocketAddr,
    engine: Engine,
    /// Ends the work; `/readyz` tells.
    stop: watch::Sender<bool>,
    /// Closes the entrance.
    close: watch::Sender<bool>,
    workers: Vec<JoinHandle<()>>,
    /// Pass events on.
    streams: Vec<JoinHandle<()>>,
    entrance: JoinHandle<std::io::Result<()>>,
    /// Says that it serves.
    heart: JoinHandle<()>,
}

impl Server {
    /// Starts everything; webhooks are taken on `listener`.
    pub(super) async fn start(settings: &Settings, clock: &Clock, listener: TcpListener) -> Result<Self, Failure> {
        let engine = engine(settings, clock).await?;
        let webhooks = settings.webhook_secrets().map_err(usage)?;
        let secrets = web::Secrets { webhooks, sessions: settings.session_secrets().map_err(usage)? };
        let sinks = stream::settings::build(&settings.streams).map_err(usage)?;
        let address = listener.local_addr().map_err(unreachable)?;
        engine.begin().await.map_err(unreachable)?;
        let ((stop, stopping), (close, closing)) = (watch::channel(false), watch::channel(false));
        let workers = WORKERS
            .into_iter()
            .map(|worker| {
                let (engine, stopped) = (engine.clone(), told(stopping.clone()));
                tokio::spawn(async move { engine.run(worker, stopped).await })
            })
            .collect();
        let streams = engine.streams(sinks).await.map_err(unreachable)?.into_iter().map(|stream| {
            let stopped = told(stopping.clone());
            tokio::spawn(async move { stream.run(stopped).await })
        });
        let streams = streams.collect();
        let router = web::router(engine.clone(), secrets, stopping);
        let entrance = axum::serve(listener, router).with_graceful_shutdown(told(closing));
        let entrance = tokio::spawn(entrance.into_future());
        let heart = engine.clone();
        let heart = tokio::spawn(async move { heart.say_serving().await });
        Ok(Self { address, engine, stop, close, workers, streams, entrance, heart })
    }

    /// Stops, within [`BOUND`]. What has begun is finished first; meanwhile, and for `leave` at the least, the entrance stays
    /// open: what it takes is on disk, and somebody else's work.
    pub(super) async fn stop(self, leave: Duration) -> Result<(), Failure> {
        let Self { engine, stop, close, mut workers, streams, mut entrance, heart, .. } = self;
        let asked = Instant::now();
        let _ = stop.send(true);
        let work = async {
            finish(&mut workers, asked + BOUND - LETTING_GO).await;
            for stream in streams {
                // What was under way is sent again by whoever comes next.
                let _ = timeout_at(asked + BOUND - LETTING_GO, stream).await;
            }
            let _ = timeout_at(asked + BOUND, engine.let_go()).await;
            heart.abort();
            let _ = timeout_at(asked + BOUND, engine.store().say_serving(false, engine.clock().now())).await;
        };
        let mut work = std::pin::pin!(work);
        let worked = timeout_at(asked + ENTRANCE, async {
            tokio::join!(&mut work, tokio::time::sleep(leave));
        })
        .await;
        let _ = close.send(true);
        if worked.is_err() {
            work.await;
        }
        let closed = match timeout_at(asked + BOUND, &mut entrance).await {
            Ok(closed) => closed.map_err(unreachable)?.map_err(unreachable),
            Err(_) => {
                entrance.abort();
                tracing::warn!("some connections were still open; they are cut");
                Ok(())
            }
        };
        // A database that does not answer must not hold it up.
        let _ = timeout_at(asked + BOUND, engine.store().close()).await;
        closed
    }
}

/// Completes once `told` holds true.
async fn told(mut told: watch::Receiver<bool>) {
    // An error means that the sender is gone, which is a stop too.
    let _ = told.wait_for(|told| *told).await;
}

/// Waits for the steps that have begun; drops those that have not ended at `bound`.
async fn finish(workers: &mut [JoinHandle<()>], bound: Instant) {
    let mut dropped = 0;
    for worker in workers {
        match timeout_at(bound, &mut *worker).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(%error, "a worker ended before it was asked to"),
            Err(_) => {
                worker.abort();
                dropped += 1;
                let _ = timeout_at(bound + LETTING_GO / 3, worker).await;
            }
        }
    }
    if dropped > 0 {
        tracing::warn!(steps = dropped, "some steps did not end in time; whoever comes next does them again");
    }
}

pub(super) async fn engine(settings: &Settings, clock: &Clock) -> Result<Engine, Failure> {
    let Some(repository) = settings.repositories.first() else {
        return Err(usage(anyhow::anyhow!(
            "`repositories` names no policy repository; write repositories: [owner/name]"
        )));
    };
    let transport = Transport::http(&settings.github.api_url).map_err(usage)?;
    let private_key = settings.private_key().map_err(usage)?;
    let app = App::new(transport, settings.github.app_id, &private_key, Arc::new(clock.clone())).map_err(usage)?;
    let targets = target::settings::build(&settings.targets, &app, repository).map_err(usage)?;
    one_organisation_for_teams(&settings.repositories, &targets.kinds()).map_err(usage)?;
    let url = settings.store_url().map_err(usage)?;
    let store = Store::open(url.expose_secret()).await.map_err(unreachable)?;
    let options = Options { repositories: settings.repositories.clone(), resync: settings.intervals.resync.delta() };
    Ok(Engine::new(store, app, targets, clock.clone(), options))
}

/// A `github` target is the teams of one organisation. The policy of another must not change them: its approvers are not theirs.
fn one_organisation_for_teams(
    repositories: &[RepositoryName],
    targets: &BTreeMap<TargetName, TargetKind>,
) -> anyhow::Result<()> {
    let owners: BTreeSet<String> = repositories.iter().map(|name| name.owner().to_ascii_lowercase()).collect();
    let teams = targets.iter().find(|(_, kind)| **kind == TargetKind::Github);
    match teams.filter(|_| owners.len() > 1) {
        Some((name, _)) => Err(anyhow::anyhow!(
            "target `{name}` is the teams of one organisation, and `repositories` are of several ({}); run a server for each of them",
            owners.into_iter().collect::<Vec<_>>().join(", ")
        )),
        None => Ok(()),
    }
}

pub(super) fn log(settings: &LogSettings) -> Result<(), Failure> {
    let filter = EnvFilter::try_from_default_env().or_else(|_| EnvFilter::try_new(&settings.level)).map_err(usage)?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match settings.format {
        LogFormat::Text => builder.with_ansi(false).init(),
        LogFormat::Json => builder.json().init(),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_of_one_organisation_changes_no_teams_of_another() {
        let repositories =
            |names: &[&str]| names.iter().map(|name| name.parse().unwrap()).collect::<Vec<RepositoryName>>();
        let target = |kind| BTreeMap::from([("main".parse::<TargetName>().unwrap(), kind)]);
        let two = repositories(&["acme/access", "other/access"]);
        let refused = one_organisation_for_teams(&two, &target(TargetKind::Github)).unwrap_err().to_string();
        assert!(refused.contains("`main`") && refused.contains("acme, other"), "{refused}");
        assert!(one_organisation_for_teams(&two, &target(TargetKind::Postgres)).is_ok());
        let one = repositories(&["acme/access", "Acme/more"]);
        assert!(one_organisation_for_teams(&one, &target(TargetKind::Github)).is_ok());
    }
}
