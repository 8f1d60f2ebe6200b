//! `targets:` of the server's configuration: where the systems are, and the credentials for them. Policies never carry these.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use reqwest::header::{AUTHORIZATION, HeaderName};
use secrecy::SecretString;
use serde::Deserialize;
use url::Url;

use super::exec::Exec;
use super::github::GithubTeams;
use super::gitlab::Gitlab;
use super::hoop::Hoop;
use super::http::{Api, Proof};
use super::members::Members;
use super::okta::Okta;
use super::postgres::Postgres;
use super::scim::Scim;
use super::ssh::{Accounts, Ssh};
use super::vault::Vault;
use super::webhook::Webhook;
use super::{Connection, Credential, Drift, TargetError, Targets};
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
    /// A GitLab server.
    Gitlab(ServerSettings),
    /// A SCIM server: its address with the path before `/Users`.
    Scim(ServerSettings),
    /// An organisation of Okta.
    Okta(ServerSettings),
    /// A Vault or OpenBao server.
    Vault(ServerSettings),
    /// A hoop.dev gateway: its address with the path before `/users`.
    Hoop(ServerSettings),
    /// A receiver of signed requests.
    Webhook(WebhookSettings),
    /// A program on this server.
    Exec(ExecSettings),
}

/// `gitlab: { url: …, token_file: … }`, and others that speak JSON over HTTPS and want a token.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerSettings {
    /// The address.
    #[serde(deserialize_with = "address")]
    pub url: Url,
    /// The token.
    pub token: Option<SecretString>,
    /// A file that holds it; it is read at each use.
    pub token_file: Option<PathBuf>,
    /// A program, with its arguments, that prints it; it is run at each use.
    pub token_command: Option<Vec<String>>,
    /// What is done about access that somebody took away by hand; it is told unless set.
    #[serde(default)]
    pub drift: Drift,
    /// How it is connected to.
    #[serde(default)]
    pub connection: Connection,
}

/// `webhook: { url: …, secret_file: …, observes: true }`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WebhookSettings {
    /// The whole address that is posted to.
    #[serde(deserialize_with = "address")]
    pub url: Url,
    /// What requests are signed with.
    pub secret: Option<SecretString>,
    /// A file that holds it; it is read at each use.
    pub secret_file: Option<PathBuf>,
    /// A program, with its arguments, that prints it; it is run at each use.
    pub secret_command: Option<Vec<String>>,
    /// Whether the receiver can tell who has what; false unless set.
    #[serde(default)]
    pub observes: bool,
    /// How it is connected to.
    #[serde(default)]
    pub connection: Connection,
}

/// `exec: { program: /usr/local/bin/grant, arguments: [--site, main] }`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExecSettings {
    /// The absolute path of the program.
    pub program: PathBuf,
    /// What it is started with.
    #[serde(default)]
    pub arguments: Vec<String>,
}

fn address<'de, D: serde::Deserializer<'de>>(text: D) -> Result<Url, D::Error> {
    let text = String::deserialize(text)?;
    // The text is not repeated: somebody may have put a password into it.
    text.parse().map_err(|error| serde::de::Error::custom(format!("`url` is no address: {error}")))
}

impl ServerSettings {
    fn api(&self, proof: impl FnOnce(Credential) -> Proof) -> Result<Api, TargetError> {
        let given = (self.token.as_ref(), self.token_file.as_ref(), self.token_command.as_ref());
        Api::new(&self.url, Some(proof(Credential::one_of("token", given)?)), &self.connection)
    }
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
        TargetSettings::Gitlab(server) => {
            let header = HeaderName::from_static("private-token");
            Arc::new(Members {
                directory: Gitlab(server.api(|token| Proof::Header(header, "", token))?),
                drift: server.drift,
            })
        }
        TargetSettings::Scim(server) => Arc::new(Members {
            directory: Scim(server.api(Proof::Bearer)?.speaking("application/scim+json")),
            drift: server.drift,
        }),
        TargetSettings::Okta(server) => Arc::new(Members {
            directory: Okta(server.api(|token| Proof::Header(AUTHORIZATION, "SSWS ", token))?),
            drift: server.drift,
        }),
        TargetSettings::Vault(server) => {
            let header = HeaderName::from_static("x-vault-token");
            Arc::new(Members {
                directory: Vault(server.api(|token| Proof::Header(header, "", token))?),
                drift: server.drift,
            })
        }
        TargetSettings::Hoop(server) => {
            Arc::new(Members { directory: Hoop(server.api(Proof::Bearer)?), drift: server.drift })
        }
        TargetSettings::Webhook(receiver) => {
            let given = (receiver.secret.as_ref(), receiver.secret_file.as_ref(), receiver.secret_command.as_ref());
            let secret = Credential::one_of("secret", given)?;
            Arc::new(Webhook::new(&receiver.url, secret, receiver.observes, &receiver.connection)?)
        }
        TargetSettings::Exec(exec) => Arc::new(Exec::new(exec.program.clone(), exec.arguments.clone())?),
    })
}
