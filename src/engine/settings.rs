//! The server's configuration, `daypass.yaml`: whom to speak to, where to keep things, with which credentials.
//!
//! Every key can also come from the environment as `DAYPASS_SECTION__KEY`, and every secret from a file as `*_file`. Mistakes are
//! told with file and line before anything starts.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use crate::policy::Duration;
use crate::policy::name::{RepositoryName, StreamName, TargetName};
use crate::stream::settings::StreamSettings;
use crate::target::settings::TargetSettings;

/// The whole configuration.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Where webhooks and health checks are served.
    #[serde(default = "default_listen")]
    pub listen: SocketAddr,
    /// The GitHub App.
    pub github: GithubSettings,
    /// The policy repositories.
    pub repositories: Vec<RepositoryName>,
    /// The database.
    pub store: StoreSettings,
    /// The systems access is granted on.
    #[serde(default)]
    pub targets: BTreeMap<TargetName, TargetSettings>,
    /// Who may report sessions.
    #[serde(default)]
    pub sessions: SessionSettings,
    /// Where events are sent besides the ledger.
    #[serde(default)]
    pub streams: BTreeMap<StreamName, StreamSettings>,
    /// How often things are looked at.
    #[serde(default)]
    pub intervals: Intervals,
    /// How it logs.
    #[serde(default)]
    pub log: LogSettings,
}

/// `github:`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GithubSettings {
    /// `https://api.github.com`, or `https://HOST/api/v3` of an Enterprise Server.
    #[serde(default = "default_api")]
    pub api_url: String,
    /// The app's id.
    pub app_id: u64,
    /// The app's private key, in PEM.
    pub private_key: Option<SecretString>,
    /// A file that holds it.
    pub private_key_file: Option<PathBuf>,
    /// The secret webhooks are signed with.
    pub webhook_secret: Option<SecretString>,
    /// A file that holds it; several lines are several secrets, all accepted, for a change of secrets.
    pub webhook_secret_file: Option<PathBuf>,
}

/// `store:`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoreSettings {
    /// `sqlite:///var/lib/daypass/daypass.db` or `postgres://…`
    pub url: Option<SecretString>,
    /// A file that holds it.
    pub url_file: Option<PathBuf>,
}

/// `sessions:`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SessionSettings {
    /// The secret reports of sessions are signed with. Without one, none are taken.
    pub secret: Option<SecretString>,
    /// A file that holds it; several lines are several secrets, all accepted.
    pub secret_file: Option<PathBuf>,
}

/// `intervals:`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Intervals {
    /// How often everything is looked at without being asked; 5 minutes unless set.
    pub resync: Duration,
}

impl Default for Intervals {
    fn default() -> Self {
        Self { resync: Duration::minutes(5) }
    }
}

/// `log:`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogSettings {
    /// `text` or `json`.
    pub format: LogFormat,
    /// As in `RUST_LOG`: `info`, `daypass=debug`.
    pub level: String,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self { format: LogFormat::Text, level: "info".to_owned() }
    }
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines.
    Json,
}

fn default_listen() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 8080))
}

fn default_api() -> String {
    "https://api.github.com".to_owned()
}

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The file cannot be read.
    #[error("{path}: {error}")]
    Io {
        /// Which.
        path: String,
        /// Why.
        error: std::io::Error,
    },
    /// The file does not say what it should.
    #[error("{path}: {message}")]
    Shape {
        /// Which.
        path: String,
        /// What is wrong, with line and column.
        message: String,
    },
    /// A secret is given twice or not at all.
    #[error("give either `{key}` or `{key}_file`")]
    OneOf {
        /// Which.
        key: &'static str,
    },
}

impl Settings {
    /// Reads the configuration at `path`, with `environment` over it.
    pub fn read(path: &Path, environment: impl Iterator<Item = (String, String)>) -> Result<Self, SettingsError> {
        let shown = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|error| SettingsError::Io { path: shown.clone(), error })?;
        Self::parse(&shown, &text, environment)
    }

    fn parse(
        path: &str,
        text: &str,
        environment: impl Iterator<Item = (String, String)>,
    ) -> Result<Self, SettingsError> {
        let shape = |message: String| SettingsError::Shape { path: path.to_owned(), message };
        let options = serde_yaml::options! { strict_booleans: true, with_snippet: false };
        let overrides: Vec<(Vec<String>, String)> =
            environment.filter_map(|(name, value)| Some((key_path(&name)?, value))).collect();
        let located = serde_yaml::from_str_with_options::<Self>(text, options.clone());
        if overrides.is_empty() {
            return located.map_err(|error| shape(error.to_string()));
        }
        let mut value: serde_json::Value =
            serde_yaml::from_str_with_options(text, options).map_err(|error| shape(error.to_string()))?;
        for (keys, text) in overrides {
            put(&mut value, &keys, scalar(&text));
        }
        serde_json::from_value(value).map_err(|error| shape(format!("{error} (with DAYPASS_… from the environment)")))
    }

    /// The app's private key.
    pub fn private_key(&self) -> Result<SecretString, SettingsError> {
        secret("github.private_key", self.github.private_key.as_ref(), self.github.private_key_file.as_deref())
    }

    /// The secrets webhooks may be signed with.
    pub fn webhook_secrets(&self) -> Result<Vec<SecretString>, SettingsError> {
        let github = &self.github;
        secrets("github.webhook_secret", github.webhook_secret.as_ref(), github.webhook_secret_file.as_deref())
    }

    /// The secrets reports of sessions may be signed with; none if no reports are taken.
    pub fn session_secrets(&self) -> Result<Vec<SecretString>, SettingsError> {
        match (&self.sessions.secret, &self.sessions.secret_file) {
            (None, None) => Ok(Vec::new()),
            (inline, file) => secrets("sessions.secret", inline.as_ref(), file.as_deref()),
        }
    }

    /// The address of the database.
    pub fn store_url(&self) -> Result<SecretString, SettingsError> {
        secret("store.url", self.store.url.as_ref(), self.store.url_file.as_deref())
    }
}

/// The keys an environment variable stands for: `DAYPASS_GITHUB__APP_ID` is `github.app_id`.
fn key_path(name: &str) -> Option<Vec<String>> {
    const SECTIONS: [&str; 9] =
        ["listen", "github", "repositories", "store", "targets", "sessions", "streams", "intervals", "log"];
    let keys: Vec<String> = name.strip_prefix("DAYPASS_")?.split("__").map(str::to_ascii_lowercase).collect();
    SECTIONS.contains(&keys.first()?.as_str()).then_some(keys)
}

fn scalar(text: &str) -> serde_json::Value {
    // Numbers, booleans and lists may be written as JSON; everything else is text.
    match serde_json::from_str(text) {
        Ok(value @ (serde_json::Value::Number(_) | serde_json::Value::Bool(_) | serde_json::Value::Array(_))) => value,
        _ => serde_json::Value::String(text.to_owned()),
    }
}

fn put(value: &mut serde_json::Value, keys: &[String], leaf: serde_json::Value) {
    let Some((first, rest)) = keys.split_first() else {
        *value = leaf;
        return;
    };
    if !value.is_object() {
        *value = serde_json::json!({});
    }
    if let Some(fields) = value.as_object_mut() {
        put(fields.entry(first.clone()).or_insert(serde_json::Value::Null), rest, leaf);
    }
}

/// A secret, or several, one a line.
fn secrets(
    key: &'static str,
    inline: Option<&SecretString>,
    file: Option<&Path>,
) -> Result<Vec<SecretString>, SettingsError> {
    let text = secret(key, inline, file)?;
    let lines = text.expose_secret().lines().map(str::trim).filter(|line| !line.is_empty());
    let secrets: Vec<SecretString> = lines.map(|line| SecretString::from(line.to_owned())).collect();
    // Without a secret everybody could sign.
    if secrets.is_empty() { Err(SettingsError::OneOf { key }) } else { Ok(secrets) }
}

fn secret(
    key: &'static str,
    inline: Option<&SecretString>,
    file: Option<&Path>,
) -> Result<SecretString, SettingsError> {
    match (inline, file) {
        (Some(secret), None) => Ok(secret.clone()),
        (None, Some(path)) => std::fs::read_to_string(path)
            .map(|text| SecretString::from(text.trim().to_owned()))
            .map_err(|error| SettingsError::Io { path: format!("{key}_file {}", path.display()), error }),
        _ => Err(SettingsError::OneOf { key }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINIMAL: &str = "github: { app_id: 7, private_key: k, webhook_secret: s }\nrepositories: [acme/access]\nstore: { url: 'sqlite://x.db' }\n";

    fn parse(text: &str, environment: &[(&str, &str)]) -> Result<Settings, SettingsError> {
        let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Settings::parse("daypass.yaml", text, environment)
    }

    #[test]
    fn little_has_to_be_said() {
        let settings = parse(MINIMAL, &[]).unwrap();
        assert_eq!(settings.github.api_url, "https://api.github.com");
        assert_eq!(settings.intervals.resync, Duration::minutes(5));
    }

    #[test]
    fn the_environment_is_stronger_than_the_file() {
        let settings =
            parse(MINIMAL, &[("DAYPASS_GITHUB__APP_ID", "9"), ("DAYPASS_LISTEN", "0.0.0.0:1"), ("DAYPASS_BIN", "x")])
                .unwrap();
        assert_eq!((settings.github.app_id, settings.listen.port()), (9, 1));
    }

    #[test]
    fn a_misspelt_key_is_told_with_its_line() {
        let error = parse(&format!("{MINIMAL}storre: x\n"), &[]).unwrap_err().to_string();
        assert!(error.contains("daypass.yaml") && error.contains("storre") && error.contains("line 4"), "{error}");
    }

    #[test]
    fn secrets_are_not_printed() {
        let settings = parse(MINIMAL, &[]).unwrap();
        let shown = format!("{settings:?}");
        assert!(!shown.contains("sqlite://x.db") && shown.contains("REDACTED"), "{shown}");
    }

    #[test]
    fn reports_of_sessions_have_secrets_of_their_own_or_are_not_taken() {
        assert!(parse(MINIMAL, &[]).unwrap().session_secrets().unwrap().is_empty());
        let given = parse(MINIMAL, &[("DAYPASS_SESSIONS__SECRET", "s3")]).unwrap();
        assert_eq!(given.session_secrets().unwrap().len(), 1);
        assert!(parse(&format!("{MINIMAL}sessions: {{ secret: '' }}\n"), &[]).unwrap().session_secrets().is_err());
    }

    #[test]
    fn an_empty_webhook_secret_is_refused() {
        let settings = parse(&MINIMAL.replace("webhook_secret: s", "webhook_secret: ''"), &[]).unwrap();
        assert!(settings.webhook_secrets().is_err());
    }
}
