//! `streams:` of the server's configuration: where events go besides the ledger.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use super::file::Lines;
use super::otlp::Otlp;
use super::syslog::Syslog;
use super::webhook::Webhook;
use super::{Sink, StreamError};
use crate::policy::name::StreamName;

/// One stream, by kind.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StreamSettings {
    /// Signed requests.
    Webhook(WebhookSettings),
    /// JSON lines in a file.
    File(FileSettings),
    /// RFC 5424.
    Syslog(SyslogSettings),
    /// OpenTelemetry, by HTTP.
    Otlp(OtlpSettings),
}

/// `webhook: { url: …, secret_file: … }`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WebhookSettings {
    /// Where to.
    pub url: Option<SecretString>,
    /// A file that holds it.
    pub url_file: Option<PathBuf>,
    /// What requests are signed with.
    pub secret: Option<SecretString>,
    /// A file that holds it.
    pub secret_file: Option<PathBuf>,
}

/// `file: { path: … }`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileSettings {
    /// The file; it is made if it is missing, its folder is not.
    pub path: PathBuf,
}

/// `syslog: { address: tcp://…, facility: audit }`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SyslogSettings {
    /// `tcp://HOST:PORT`, `udp://HOST:PORT` or `unix:///PATH`.
    pub address: String,
    /// The facility; `audit` unless set.
    #[serde(default)]
    pub facility: Facility,
}

/// Facilities of RFC 5424 that fit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Facility {
    /// 1
    User,
    /// 4
    Auth,
    /// 10
    Authpriv,
    /// 13
    #[default]
    Audit,
    /// 16
    Local0,
    /// 17
    Local1,
    /// 18
    Local2,
    /// 19
    Local3,
    /// 20
    Local4,
    /// 21
    Local5,
    /// 22
    Local6,
    /// 23
    Local7,
}

impl Facility {
    const fn number(self) -> u8 {
        match self {
            Self::User => 1,
            Self::Auth => 4,
            Self::Authpriv => 10,
            Self::Audit => 13,
            Self::Local0 => 16,
            Self::Local1 => 17,
            Self::Local2 => 18,
            Self::Local3 => 19,
            Self::Local4 => 20,
            Self::Local5 => 21,
            Self::Local6 => 22,
            Self::Local7 => 23,
        }
    }
}

/// `otlp: { url: …/v1/logs, headers_file: … }`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OtlpSettings {
    /// The whole address, `…/v1/logs`.
    pub url: SecretString,
    /// Headers to send along, such as a key of the receiver.
    #[serde(default)]
    pub headers: BTreeMap<String, SecretString>,
    /// A file with such headers, `name: value` a line.
    pub headers_file: Option<PathBuf>,
}

/// A stream that cannot be set up.
#[derive(Debug, thiserror::Error)]
#[error("stream `{name}`: {error}")]
pub struct StreamSettingsError {
    /// Which.
    pub name: StreamName,
    /// Why.
    pub error: StreamError,
}

/// Sets up every stream. Nothing is connected yet.
pub fn build(
    settings: &BTreeMap<StreamName, StreamSettings>,
) -> Result<BTreeMap<StreamName, Arc<dyn Sink>>, StreamSettingsError> {
    let build = |(name, settings): (&StreamName, &StreamSettings)| {
        let sink = one(name, settings).map_err(|error| StreamSettingsError { name: name.clone(), error })?;
        Ok((name.clone(), sink))
    };
    settings.iter().map(build).collect()
}

fn one(name: &StreamName, settings: &StreamSettings) -> Result<Arc<dyn Sink>, StreamError> {
    Ok(match settings {
        StreamSettings::Webhook(webhook) => {
            let url = secret("url", webhook.url.as_ref(), webhook.url_file.as_ref())?;
            let secret = secret("secret", webhook.secret.as_ref(), webhook.secret_file.as_ref())?;
            if secret.expose_secret().is_empty() {
                return Err(StreamError::new("its secret is empty: everybody could sign"));
            }
            Arc::new(Webhook::new(name.clone(), address(&url)?, secret)?)
        }
        StreamSettings::File(file) => Arc::new(Lines::new(file.path.clone())),
        StreamSettings::Syslog(syslog) => Arc::new(Syslog::new(syslog.address.parse()?, syslog.facility.number())),
        StreamSettings::Otlp(otlp) => {
            let mut headers: Vec<(String, SecretString)> = otlp.headers.clone().into_iter().collect();
            if let Some(file) = &otlp.headers_file {
                let text = read("headers_file", file)?;
                for line in text.expose_secret().lines().map(str::trim).filter(|line| !line.is_empty()) {
                    let (name, value) = line
                        .split_once(':')
                        .ok_or_else(|| StreamError::new("`headers_file` has to have `name: value` on each line"))?;
                    headers.push((name.trim().to_owned(), SecretString::from(value.trim().to_owned())));
                }
            }
            Arc::new(Otlp::new(address(&otlp.url)?, &headers)?)
        }
    })
}

fn address(url: &SecretString) -> Result<url::Url, StreamError> {
    // The error would quote the address, which may hold a secret.
    let parsed = url::Url::parse(url.expose_secret()).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
    parsed.ok_or_else(|| StreamError::new("its `url` is no http:// or https:// address"))
}

fn secret(key: &str, inline: Option<&SecretString>, file: Option<&PathBuf>) -> Result<SecretString, StreamError> {
    match (inline, file) {
        (Some(secret), None) => Ok(secret.clone()),
        (None, Some(file)) => read(&format!("{key}_file"), file),
        _ => Err(StreamError(format!("give either `{key}` or `{key}_file`"))),
    }
}

fn read(key: &str, file: &PathBuf) -> Result<SecretString, StreamError> {
    let text =
        std::fs::read_to_string(file).map_err(|error| StreamError(format!("`{key}` {}: {error}", file.display())))?;
    Ok(SecretString::from(text.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn built(text: &str) -> Result<BTreeMap<StreamName, Arc<dyn Sink>>, String> {
        let settings: BTreeMap<StreamName, StreamSettings> =
            serde_yaml::from_str(text).map_err(|error| error.to_string())?;
        build(&settings).map_err(|error| error.to_string())
    }

    #[test]
    fn every_kind_is_written_in_a_line() {
        let all = "siem: { webhook: { url: 'https://siem.example.com/in', secret: s } }\n\
                   archive: { file: { path: /var/log/daypass/events.jsonl } }\n\
                   logs: { syslog: { address: 'tcp://logs.example.com:601', facility: local0 } }\n\
                   traces: { otlp: { url: 'https://otel.example.com/v1/logs', headers: { x-key: k } } }\n";
        assert_eq!(built(all).unwrap().len(), 4);
    }

    #[test]
    fn what_is_wrong_is_said_with_the_name_of_the_stream_and_without_the_secret() {
        for (text, says) in [
            ("siem: { webhook: { url: 'https://x.test' } }", "stream `siem`: give either `secret` or `secret_file`"),
            (
                "siem: { webhook: { url: 'hush', secret: s } }",
                "stream `siem`: its `url` is no http:// or https:// address",
            ),
            ("siem: { webhook: { url: 'https://x.test', secret: '' } }", "stream `siem`: its secret is empty"),
            ("logs: { syslog: { address: 'logs:1' } }", "stream `logs`: `address` has to be"),
            ("logs: { carrier-pigeon: {} }", "carrier-pigeon"),
            ("otel: { otlp: { url: 'http://x.test', headers: { 'a b': k } } }", "stream `otel`: `headers`"),
        ] {
            let error = built(text).unwrap_err();
            assert!(error.contains(says) && !error.contains("hush"), "{error}");
        }
    }
}
