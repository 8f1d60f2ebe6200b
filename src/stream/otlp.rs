//! OpenTelemetry logs by HTTP, <https://opentelemetry.io/docs/specs/otlp/#otlphttp>, as Protocol Buffers.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry_proto::tonic::collector::logs::v1::{ExportLogsServiceRequest, ExportLogsServiceResponse};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs, SeverityNumber};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message;
use secrecy::{ExposeSecret, SecretString};

use super::{Sink, StreamError, line, request_error, webhook};
use crate::ledger::{Event, Gravity};

/// The longest answer that is read, in bytes.
const LONGEST_ANSWER: usize = 64 << 10;

/// A collector.
pub(super) struct Otlp {
    url: url::Url,
    headers: HeaderMap,
    client: reqwest::Client,
}

impl std::fmt::Debug for Otlp {
    /// Neither address nor headers: they may hold a secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Otlp")
    }
}

impl Otlp {
    pub fn new(url: url::Url, headers: &[(String, SecretString)]) -> Result<Self, StreamError> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let header =
                HeaderName::try_from(name.as_str()).ok().zip(HeaderValue::from_str(value.expose_secret()).ok());
            let (header, mut value) =
                header.ok_or_else(|| StreamError(format!("`headers`: {name:?} is no header, or its value none")))?;
            value.set_sensitive(true);
            map.insert(header, value);
        }
        Ok(Self { url, headers: map, client: webhook::client()? })
    }
}

fn text(text: impl Into<String>) -> Option<AnyValue> {
    Some(AnyValue { value: Some(Value::StringValue(text.into())) })
}

fn attribute(key: &str, value: impl Into<String>) -> KeyValue {
    KeyValue { key: key.to_owned(), value: text(value), ..KeyValue::default() }
}

fn nanoseconds(at: DateTime<Utc>) -> u64 {
    at.timestamp_nanos_opt().and_then(|nanoseconds| u64::try_from(nanoseconds).ok()).unwrap_or(0)
}

fn record(event: &Event, now: DateTime<Utc>) -> LogRecord {
    let (number, word) = match event.kind.gravity() {
        Gravity::Alarming => (SeverityNumber::Error, "ERROR"),
        Gravity::Notable => (SeverityNumber::Warn, "WARN"),
        Gravity::Ordinary => (SeverityNumber::Info, "INFO"),
    };
    LogRecord {
        time_unix_nano: nanoseconds(event.at),
        observed_time_unix_nano: nanoseconds(now),
        severity_number: number.into(),
        severity_text: word.to_owned(),
        event_name: format!("daypass.{}", event.kind),
        body: text(line(event)),
        attributes: vec![
            attribute("daypass.event.id", &event.id),
            attribute("daypass.event.kind", event.kind.as_str()),
            attribute("daypass.repository", event.repository.as_str()),
        ],
        ..LogRecord::default()
    }
}

fn request(events: &[Event], now: DateTime<Utc>) -> ExportLogsServiceRequest {
    let scope = InstrumentationScope {
        name: "daypass/ledger".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..InstrumentationScope::default()
    };
    let logs = ScopeLogs {
        scope: Some(scope),
        log_records: events.iter().map(|event| record(event, now)).collect(),
        ..ScopeLogs::default()
    };
    let resource = Resource { attributes: vec![attribute("service.name", "daypass")], ..Resource::default() };
    let logs = ResourceLogs { resource: Some(resource), scope_logs: vec![logs], ..ResourceLogs::default() };
    ExportLogsServiceRequest { resource_logs: vec![logs] }
}

#[async_trait]
impl Sink for Otlp {
    async fn send(&self, events: &[Event], now: DateTime<Utc>) -> Result<(), StreamError> {
        let post = self.client.post(self.url.clone()).headers(self.headers.clone());
        let post = post.header("content-type", "application/x-protobuf").body(request(events, now).encode_to_vec());
        let answer = post.send().await.map_err(|error| request_error(&error))?;
        let status = answer.status();
        if !status.is_success() {
            return Err(StreamError(format!("it answers {}", status.as_u16())));
        }
        let body = answer.bytes().await.map_err(|error| request_error(&error))?;
        // An answer in another form says nothing about what was refused.
        let partly = ExportLogsServiceResponse::decode(body.slice(..body.len().min(LONGEST_ANSWER)));
        if let Some(partly) = partly.ok().and_then(|answer| answer.partial_success)
            && partly.rejected_log_records > 0
        {
            // The protocol forbids to send them again.
            let why: String = partly.error_message.chars().take(200).collect();
            tracing::error!(
                rejected = partly.rejected_log_records,
                why,
                "an OpenTelemetry receiver refused events for good"
            );
        }
        Ok(())
    }
}
