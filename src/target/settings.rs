//! `targets:` of the server's configuration: where the systems are, and the credentials for them. Policies never carry these.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use secrecy::SecretString;
use serde::Deserialize;

use super::github::GithubTeams;
use super::postgres::Postgres;
use super::ssh::{Accounts, Ssh};
use super::{Drift, TargetError, Targets};
use crate::github::App;
use crate::policy::name::{RepositoryName, TargetName};

/// One target, by kind.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TargetSettings {
    /// Teams of the organisation the policy repository belongs to.
    Github(GithubSettings),
    /// A PostgreSQL server.
    Postgres(PostgresSettings),
    /// An OpenSSH certificate authority.
    Ssh(SshSettings),
}

/// `github: { drift: report }`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GithubSettings {
    /// What is done about memberships that somebody else took away.
    #[serde(default)]
    pub drift: Drift,
}

/// `postgres: { url_file: …, terminate_sessions: true }`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PostgresSettings {
    /// The address with credentials.
    pub url: Option<SecretString>,
    /// A file that holds it.
    pub url_file: Option<PathBuf>,
    /// Whether running sessions of the grantee are ended on revoke; true unless set.
    pub terminate_sessions: Option<bool>,
    /// What is done about memberships that somebody else took away.
    #[serde(default)]
    pub drift: Drift,
}

/// `ssh: { ca_key_file: …, krl_file: … }`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SshSettings {
    /// The authority's private key: ed25519, OpenSSH format, no passphrase.
    pub ca_key_file: PathBuf,
    /// Where the revocation list is kept for the servers.
    pub krl_file: PathBuf,
    /// Certificate extensions; `permit-pty` unless set.
    pub extensions: Option<Vec<String>>,
    /// Addresses certificates may be used from (`source-address`).
    #[serde(default)]
    pub source_addresses: Vec<String>,
}

/// A target that cannot be set up.
#[derive(Debug, thiserror::Error)]
#[error("target `{name}`: {error}")]
pub struct TargetSettingsError {
    /// Which.
    pub name: TargetName,
    /// Why.
    pub error: TargetError,
}

/// Sets up every target. Nothing is connected yet.
pub fn build(
    settings: &BTreeMap<TargetName, TargetSettings>,
    app: &App,
    repository: &RepositoryName,
) -> Result<Targets, TargetSettingsError> {
    let mut targets = Targets::new();
    for (name, settings) in settings {
        let target =
            one(settings, app, repository).map_err(|error| TargetSettingsError { name: name.clone(), error })?;
        targets.insert(name.clone(), target);
    }
    Ok(targets)
}

fn one(
    settings: &TargetSettings,
    app: &App,
    repository: &RepositoryName,
) -> Result<Arc<dyn super::Target>, TargetError> {
    let accounts = || Accounts { app: app.clone(), repository: repository.clone() };
    Ok(match settings {
        TargetSettings::Github(github) => {
            Arc::new(GithubTeams::new(app.clone(), repository.clone()).on_drift(github.drift))
        }
        TargetSettings::Postgres(postgres) => {
            let url = match (&postgres.url, &postgres.url_file) {
                (Some(url), None) => url.clone(),
                (None, Some(file)) => {
                    let text = std::fs::read_to_string(file)
                        .map_err(|error| TargetError::Permanent(format!("`url_file` {}: {error}", file.display())))?;
                    SecretString::from(text.trim().to_owned())
                }
                _ => return Err(TargetError::Permanent("give either `url` or `url_file`".to_owned())),
            };
            Arc::new(Postgres::new(&url, postgres.terminate_sessions.unwrap_or(true))?.on_drift(postgres.drift))
        }
        TargetSettings::Ssh(ssh) => Arc::new(Ssh::open(
            &ssh.ca_key_file,
            ssh.krl_file.clone(),
            ssh.extensions.clone().unwrap_or_else(|| vec!["permit-pty".to_owned()]),
            ssh.source_addresses.clone(),
            accounts(),
        )?),
    })
}
