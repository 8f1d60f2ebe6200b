//! Entitlements: one concrete piece of access on one target.
//!
//! A role holds *templates*, whose texts may carry `${EXPRESSION}` (CEL, see [`super::condition`]). Rendered for a subject and
//! a request they become [`Entitlement`]s, which say exactly what is granted to whom, and are what targets apply and remove.
//! Which fields a kind takes is defined here once, for YAML, documents and schema alike.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::condition::Template;
use super::finding::Place;
use super::model::TargetKind;
use super::name::{Login, TargetName, TeamSlug, UserId};

/// What a role gives on one target, before it is known to whom.
#[derive(Debug, Clone)]
pub struct EntitlementTemplate {
    /// The target it is for; its kind matches `access`.
    pub target: TargetName,
    /// What is given there.
    pub access: AccessTemplate,
    /// Where it stands in the role's file.
    pub place: Place,
}

/// The fields of an entitlement by kind, with expressions still in them.
#[derive(Debug, Clone)]
pub enum AccessTemplate {
    /// `github: { target, team }`
    Github {
        /// Slug of the team to become a member of.
        team: Template,
    },
    /// `postgres: { target, role }`
    Postgres {
        /// The role to become a member of.
        role: Template,
    },
    /// `ssh: { target, principals }`
    Ssh {
        /// The principals of the certificate: the names sshd accepts it for. One that yields a list adds them all.
        principals: Vec<Template>,
    },
}

impl AccessTemplate {
    /// The kind of target this is for.
    pub fn kind(&self) -> TargetKind {
        match self {
            Self::Github { .. } => TargetKind::Github,
            Self::Postgres { .. } => TargetKind::Postgres,
            Self::Ssh { .. } => TargetKind::Ssh,
        }
    }
}

impl AccessTemplate {
    /// The texts in it.
    pub fn texts(&self) -> Vec<&Template> {
        match self {
            Self::Github { team } => vec![team],
            Self::Postgres { role } => vec![role],
            Self::Ssh { principals } => principals.iter().collect(),
        }
    }
}

/// Bytes a name in PostgreSQL may have; it cuts longer ones, and means another role then.
const LONGEST_POSTGRES_NAME: usize = 63;

/// Whether PostgreSQL can have a role of this name.
pub(crate) fn is_postgres_name(text: &str) -> bool {
    !text.is_empty() && text.len() <= LONGEST_POSTGRES_NAME && !text.chars().any(char::is_control)
}

/// Whether sshd can accept a certificate for this name: it reads principals from lists with commas.
pub(crate) fn is_ssh_principal(text: &str) -> bool {
    !text.is_empty() && text.len() <= 128 && text.chars().all(in_ssh_principal)
}

fn in_ssh_principal(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '@' | ':' | '+')
}

impl TargetKind {
    /// Why nothing on a target of this kind can be called `text`, as the end of a sentence.
    pub(super) fn name_problem(self, text: &str) -> Option<&'static str> {
        match self {
            Self::Github => text.parse::<TeamSlug>().err().map(|_| "is no slug of a team"),
            Self::Postgres => (!is_postgres_name(text)).then_some("is no name of a role"),
            Self::Ssh => (!is_ssh_principal(text)).then_some("is no SSH principal"),
        }
    }

    /// The same for a part of a name.
    pub(super) fn part_problem(self, text: &str) -> Option<&'static str> {
        match self {
            // Between letters every part of a slug makes a slug.
            Self::Github => format!("a{text}a").parse::<TeamSlug>().err().map(|_| "makes no slug of a team"),
            Self::Postgres => (!text.is_empty() && !is_postgres_name(text)).then_some("makes no name of a role"),
            Self::Ssh => (!text.chars().all(in_ssh_principal)).then_some("makes no SSH principal"),
        }
    }
}

/// One concrete piece of access for one subject on one target. Two grants that give equal entitlements share one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Entitlement {
    /// The target it is on.
    pub target: TargetName,
    /// What is given, and to whom there.
    pub access: Access,
}

/// What is given on a target, and to whom there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Access {
    /// Membership of a team of the organisation.
    Github {
        /// The team.
        team: TeamSlug,
        /// The account, by its lasting id.
        user: UserId,
    },
    /// Membership of a role.
    Postgres {
        /// The role that is granted.
        role: String,
        /// The login role that becomes a member.
        login: String,
    },
    /// A certificate. It belongs to one grant, so that ending one never ends another's.
    Ssh {
        /// Who it is for.
        login: Login,
        /// The account whose keys are certified.
        user: UserId,
        /// Keys named in the policy (`people.LOGIN.ssh_keys`); empty: the keys of the GitHub account.
        keys: Vec<String>,
        /// The names sshd accepts it for.
        principals: BTreeSet<String>,
        /// The grant it belongs to: `slug#pull-request`.
        grant: String,
        /// Valid from this instant.
        not_before: DateTime<Utc>,
        /// Valid until this instant.
        not_after: DateTime<Utc>,
    },
}

impl Entitlement {
    /// The kind of target this is for.
    pub fn kind(&self) -> TargetKind {
        match self.access {
            Access::Github { .. } => TargetKind::Github,
            Access::Postgres { .. } => TargetKind::Postgres,
            Access::Ssh { .. } => TargetKind::Ssh,
        }
    }
}

impl std::fmt::Display for Entitlement {
    /// As people read it: `team sre-oncall on github`, `role orders_readonly for alice on orders-db`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.access {
            Access::Github { team, .. } => write!(f, "team {team} on {}", self.target),
            Access::Postgres { role, login } => write!(f, "role {role} for {login} on {}", self.target),
            Access::Ssh { principals, .. } => {
                let names: Vec<&str> = principals.iter().map(String::as_str).collect();
                write!(f, "SSH as {} on {}", names.join(", "), self.target)
            }
        }
    }
}
