//! What the engine can be watched by, in the format of Prometheus. Labels never hold what a pull request says.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::OnceLock;

use chrono::{DateTime, Utc};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use super::{Engine, EngineError};
use crate::github::{RateLimit, Usage};
use crate::policy::name::{RepositoryName, StreamName};
use crate::store::{Backlog, StreamBacklog};

/// What is counted as it happens.
pub(super) struct Metrics {
    registry: Registry,
    late: Histogram,
    target_calls: Family<TargetCall, Counter>,
    steps_failed: Counter,
    unreadable: Family<[(&'static str, String); 1], Gauge>,
    ledger_altered: Family<[(&'static str, String); 1], Counter>,
    streams: OnceLock<Vec<StreamName>>,
}

/// A call of a target.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TargetCall {
    target: String,
    call: &'static str,
    outcome: &'static str,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("daypass");
        let late = Histogram::new([0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 1_800.0, 7_200.0]);
        let (target_calls, steps_failed) = (Family::default(), Counter::default());
        let lateness = "How long after its end access was taken away, by the clock that is believed";
        registry.register_with_unit("revocation_lateness", lateness, Unit::Seconds, late.clone());
        registry.register("target_calls", "Calls of targets", Family::clone(&target_calls));
        registry.register("steps_failed", "Work that failed and is tried again", steps_failed.clone());
        let unreadable: Family<[(&'static str, String); 1], Gauge> = Family::default();
        let help = "Rows of the database that concern a target and cannot be read; `daypass rebuild` mends them";
        registry.register("unreadable_rows", help, Family::clone(&unreadable));
        let ledger_altered: Family<[(&'static str, String); 1], Counter> = Family::default();
        let help = "How often the branch of a ledger was found altered by somebody else than Daypass";
        registry.register("ledger_altered", help, Family::clone(&ledger_altered));
        let version: Family<[(&'static str, &'static str); 1], Gauge> = Family::default();
        version.get_or_create(&[("version", env!("CARGO_PKG_VERSION"))]).set(1);
        registry.register("build_info", "The version that runs", version);
        Self { registry, late, target_calls, steps_failed, unreadable, ledger_altered, streams: OnceLock::new() }
    }
}

impl Metrics {
    /// Access that was over at `ended` was taken away at `now`.
    pub fn revoked(&self, ended: DateTime<Utc>, now: DateTime<Utc>) {
        self.late.observe((now - ended).as_seconds_f64().max(0.0));
    }

    /// A target was called.
    pub fn called<T, E>(&self, target: &str, call: &'static str, answer: &Result<T, E>) {
        let outcome = if answer.is_ok() { "done" } else { "failed" };
        self.target_calls.get_or_create(&TargetCall { target: target.to_owned(), call, outcome }).inc();
    }

    /// So many rows that concern a target cannot be read; true if it were not as many before.
    pub fn unreadable(&self, target: &str, rows: usize) -> bool {
        let rows = i64::try_from(rows).unwrap_or(i64::MAX);
        self.unreadable.get_or_create(&[("target", target.to_owned())]).set(rows) != rows
    }

    /// The branch of a ledger was found altered.
    pub fn ledger_altered(&self, repository: &RepositoryName) {
        self.ledger_altered.get_or_create(&[("repository", repository.to_string())]).inc();
    }

    /// These streams are to be watched.
    pub fn has_streams(&self, names: Vec<StreamName>) {
        // Streams are configured once.
        let _ = self.streams.set(names);
    }

    /// A step failed.
    pub fn failed(&self) {
        self.steps_failed.inc();
    }
}

/// What is read when somebody asks.
#[derive(Debug)]
struct Now {
    usage: Usage,
    limits: Vec<RateLimit>,
    backlog: Vec<Backlog>,
    overdue: Vec<(String, i64, f64)>,
    deliveries: i64,
    /// Emergencies to be reviewed in time, and those that should have been.
    unreviewed: [(&'static str, u64); 2],
    unwritten: Vec<(String, i64, DateTime<Utc>)>,
    /// Policies that are not in force and still on the default branch.
    unverified: Vec<(String, i64)>,
    streams: Vec<StreamBacklog>,
    clock_difference: f64,
    now: DateTime<Utc>,
}

impl Engine {
    /// What should be gone, on every target that is configured or where there is any: how much, and for how many seconds.
    async fn overdue(&self) -> Result<Vec<(String, i64, f64)>, EngineError> {
        let now = self.inner.clock.instant().latest;
        let kinds = self.inner.targets.kinds();
        let mut overdue: BTreeMap<String, (i64, f64)> =
            kinds.into_keys().map(|name| (name.to_string(), (0, 0.0))).collect();
        for over in self.inner.store.overdue(now).await? {
            overdue.insert(over.target, (over.count, (now - over.since).as_seconds_f64()));
        }
        Ok(overdue.into_iter().map(|(target, (count, seconds))| (target, count, seconds)).collect())
    }

    /// What waits for the streams that are configured.
    async fn stream_backlogs(&self) -> Result<Vec<StreamBacklog>, EngineError> {
        let Some(names) = self.inner.metrics.streams.get().filter(|names| !names.is_empty()) else {
            return Ok(Vec::new());
        };
        let mut backlogs = self.inner.store.stream_backlogs().await?;
        backlogs.retain(|backlog| names.iter().any(|name| name.as_str() == backlog.name));
        Ok(backlogs)
    }

    /// What can be watched, as <https://prometheus.io/docs/specs/om/open_metrics_spec/> has it.
    ///
    /// # Errors
    ///
    /// If the database cannot be read: a part would look like nothing to do.
    pub async fn metrics(&self) -> Result<String, EngineError> {
        let now = self.inner.clock.now();
        let difference = self.inner.clock.difference().unwrap_or_default();
        let read = Now {
            usage: self.inner.github.usage(),
            limits: self.inner.github.rate_limits().await,
            backlog: self.inner.store.backlog(now).await?,
            overdue: self.overdue().await?,
            unreviewed: {
                let (all, overdue) = self.inner.store.count_unreviewed(now).await?;
                [("waiting", all), ("overdue", overdue)]
            },
            deliveries: self.inner.store.count_waiting_deliveries().await?,
            unwritten: self.inner.store.waiting_events().await?,
            unverified: {
                let mut found = Vec::new();
                for repository in &self.inner.options.repositories {
                    let refused = self.inner.store.refusals(repository).await?;
                    let policies = refused.iter().filter(|refusal| refusal.path == super::in_force::FOLDER).count();
                    found.push((repository.to_string(), i64::try_from(policies).unwrap_or(i64::MAX)));
                }
                found
            },
            streams: self.stream_backlogs().await?,
            clock_difference: difference.as_seconds_f64(),
            now,
        };
        let mut registry = Registry::with_prefix("daypass");
        registry.register_collector(Box::new(read));
        let mut text = String::new();
        let encoded = prometheus_client::encoding::text::encode_registry(&mut text, &registry)
            .and_then(|()| encode(&mut text, &self.inner.metrics.registry));
        encoded.map_err(|error| EngineError::NotYet(format!("the metrics cannot be written: {error}")))?;
        Ok(text)
    }
}

impl Collector for Now {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Requests to GitHub; status 0 is no answer, and 304 costs nothing of the limit";
        let mut requests = encoder.encode_descriptor("github_requests", help, None, MetricType::Counter)?;
        for (asked, times) in self.usage.iter() {
            let status = asked.status.to_string();
            let labels =
                [("method", asked.method.as_str()), ("endpoint", asked.endpoint.as_str()), ("status", status.as_str())];
            ConstCounter::new(times).encode(requests.encode_family(&labels)?)?;
        }
        let help = "What GitHub still allows an installation in this hour, when it last said so";
        let mut remaining = encoder.encode_descriptor("github_rate_remaining", help, None, MetricType::Gauge)?;
        for limit in &self.limits {
            let labels = [("installation", limit.installation.to_string())];
            ConstGauge::new(limit.remaining).encode(remaining.encode_family(&labels)?)?;
        }
        let help = "Work that is due and not done, by lane";
        let mut due = encoder.encode_descriptor("work_due", help, None, MetricType::Gauge)?;
        for backlog in &self.backlog {
            ConstGauge::new(backlog.due).encode(due.encode_family(&[("lane", backlog.lane)])?)?;
        }
        let (help, unit) = ("How long the oldest work that is due has been waiting, by lane", Unit::Seconds);
        let mut age = encoder.encode_descriptor("work_oldest_due", help, Some(&unit), MetricType::Gauge)?;
        for backlog in &self.backlog {
            let waited = backlog.oldest.map_or(0.0, |oldest| (self.now - oldest).as_seconds_f64());
            ConstGauge::new(waited.max(0.0)).encode(age.encode_family(&[("lane", backlog.lane)])?)?;
        }
        let help = "Access that should be gone and is not, by target";
        let mut overdue = encoder.encode_descriptor("revocations_overdue", help, None, MetricType::Gauge)?;
        for (target, count, _) in &self.overdue {
            ConstGauge::new(*count).encode(overdue.encode_family(&[("target", target.as_str())])?)?;
        }
        let (help, unit) = ("For how long the first of it should have been gone, by target", Unit::Seconds);
        let mut since = encoder.encode_descriptor("revocation_overdue", help, Some(&unit), MetricType::Gauge)?;
        for (target, _, seconds) in &self.overdue {
            ConstGauge::new(*seconds).encode(since.encode_family(&[("target", target.as_str())])?)?;
        }
        let help = "Events that are not on the branch of the ledger yet";
        let mut events = encoder.encode_descriptor("ledger_events_waiting", help, None, MetricType::Gauge)?;
        for (repository, count, _) in &self.unwritten {
            ConstGauge::new(*count).encode(events.encode_family(&[("repository", repository.as_str())])?)?;
        }
        let (help, unit) = ("How long the oldest of them has been waiting", Unit::Seconds);
        let mut age = encoder.encode_descriptor("ledger_oldest_waiting", help, Some(&unit), MetricType::Gauge)?;
        for (repository, _, since) in &self.unwritten {
            let waited = (self.now - *since).as_seconds_f64().max(0.0);
            ConstGauge::new(waited).encode(age.encode_family(&[("repository", repository.as_str())])?)?;
        }
        let help = "Policies on the default branch that nobody approved: they are not in force, and are taken back";
        let mut unverified = encoder.encode_descriptor("policy_unverified", help, None, MetricType::Gauge)?;
        for (repository, count) in &self.unverified {
            ConstGauge::new(*count).encode(unverified.encode_family(&[("repository", repository.as_str())])?)?;
        }
        let help = "Events that a stream has not taken yet";
        let mut events = encoder.encode_descriptor("stream_events_waiting", help, None, MetricType::Gauge)?;
        for stream in &self.streams {
            ConstGauge::new(stream.waiting).encode(events.encode_family(&[("stream", stream.name.as_str())])?)?;
        }
        let (help, unit) = ("How long the oldest of them has been waiting", Unit::Seconds);
        let mut age = encoder.encode_descriptor("stream_oldest_waiting", help, Some(&unit), MetricType::Gauge)?;
        for stream in &self.streams {
            let waited = stream.oldest.map_or(0.0, |oldest| (self.now - oldest).as_seconds_f64().max(0.0));
            ConstGauge::new(waited).encode(age.encode_family(&[("stream", stream.name.as_str())])?)?;
        }
        let help = "Webhooks that were acknowledged and not looked at yet";
        let waiting = encoder.encode_descriptor("webhooks_waiting", help, None, MetricType::Gauge)?;
        ConstGauge::new(self.deliveries).encode(waiting)?;
        let help = "Emergencies nobody has reviewed: all of them, and those that should have been";
        let mut unreviewed = encoder.encode_descriptor("emergencies_unreviewed", help, None, MetricType::Gauge)?;
        for (state, count) in self.unreviewed {
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            ConstGauge::new(count).encode(unreviewed.encode_family(&[("state", state)])?)?;
        }
        let help = "How much later it is by GitHub's clock than by this machine's; 0 if they agree";
        let clock = encoder.encode_descriptor("clock_difference", help, Some(&Unit::Seconds), MetricType::Gauge)?;
        ConstGauge::new(self.clock_difference).encode(clock)
    }
}
