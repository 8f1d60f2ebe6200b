//! Entitlements: one concrete piece of access on one target.
//!
//! A role holds *templates*, whose texts may carry `${EXPRESSION}` (CEL, see [`super::condition`]). Rendered for a subject and
//! a request they become [`Entitlement`]s, which say exactly what is granted to whom, and are what targets apply and remove.
//! Which fields a kind takes is defined here once, for YAML, documents and schema alike.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::condition::Template;
use super::finding::Place;
use super::kind::{Field, TargetKind};
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
    /// `KIND: { target, … }`: a kind with a [`super::kind::Shape`].
    Named {
        /// Which.
        kind: TargetKind,
        /// The texts, in the order of the shape.
        fields: Vec<(&'static Field, Template)>,
    },
}

impl AccessTemplate {
    /// The kind of target this is for.
    pub fn kind(&self) -> TargetKind {
        match self {
            Self::Github { .. } => TargetKind::Github,
            Self::Postgres { .. } => TargetKind::Postgres,
            Self::Ssh { .. } => TargetKind::Ssh,
            Self::Named { kind, .. } => *kind,
        }
    }

    /// The texts in it.
    pub fn texts(&self) -> Vec<&Template> {
        match self {
            Self::Github { team } => vec![team],
            Self::Postgres { role } => vec![role],
            Self::Ssh { principals } => principals.iter().collect(),
            Self::Named { fields, .. } => fields.iter().map(|(_, text)| text).collect(),
        }
    }

    /// What it gives, piece by piece, each piece as its texts after what they are: every principal of a certificate is a piece, and
    /// an account with its permission set is one.
    pub fn pieces(&self) -> Vec<Vec<(&'static str, &Template)>> {
        match self {
            Self::Github { team } => vec![vec![("team", team)]],
            Self::Postgres { role } => vec![vec![("role", role)]],
            Self::Ssh { principals } => principals.iter().map(|principal| vec![("SSH as", principal)]).collect(),
            Self::Named { fields, .. } => vec![fields.iter().map(|(field, text)| (field.name, text)).collect()],
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
    /// What a kind with a [`super::kind::Shape`] gives.
    Named {
        /// Which.
        kind: TargetKind,
        /// The person's name in that system.
        principal: String,
        /// The texts, by the names of the shape's fields.
        fields: BTreeMap<String, String>,
    },
}

impl Entitlement {
    /// The kind of target this is for.
    pub fn kind(&self) -> TargetKind {
        match self.access {
            Access::Github { .. } => TargetKind::Github,
            Access::Postgres { .. } => TargetKind::Postgres,
            Access::Ssh { .. } => TargetKind::Ssh,
            Access::Named { kind, .. } => kind,
        }
    }
}

impl std::fmt::Display for Entitlement {
    /// As people read it: `team sre-oncall on github`, `role orders_readonly for alice on orders-db`,
    /// `account 210987654321, permission set ReadOnly for alice on aws`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.access {
            Access::Github { team, .. } => write!(f, "team {team} on {}", self.target),
            Access::Postgres { role, login } => write!(f, "role {role} for {login} on {}", self.target),
            Access::Ssh { principals, .. } => {
                let names: Vec<&str> = principals.iter().map(String::as_str).collect();
                write!(f, "SSH as {} on {}", names.join(", "), self.target)
            }
            Access::Named { kind, principal, fields } => {
                let known = kind.shape().map_or(&[][..], |shape| shape.fields);
                let texts = known.iter().filter_map(|field| Some((field.name, fields.get(field.name)?)));
                let texts: Vec<String> = texts.map(|(name, text)| format!("{name} {text}")).collect();
                write!(f, "{} for {principal} on {}", texts.join(", "), self.target)
            }
        }
    }
}
