//! Principals: the ways a policy names who may do something.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::name::{AppSlug, GroupName, Login, NameError, TeamSlug};

/// Somebody, or a set of people, as written in a policy.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "Cow<'_, str>", into = "String")]
pub enum Principal {
    /// `user:LOGIN`: one GitHub account.
    User(Login),
    /// `team:SLUG`: a team of the organisation, its child teams included.
    Team(TeamSlug),
    /// `group:NAME`: a group the policy defines.
    Group(GroupName),
    /// `app:SLUG`: the bot account of a GitHub App.
    App(AppSlug),
    /// `everyone`: all members of the organisation.
    Everyone,
}

/// Why a text is not a principal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PrincipalError {
    /// No known prefix.
    #[error("{0:?} is not a principal: write user:LOGIN, team:SLUG, group:NAME, app:SLUG or everyone")]
    Form(String),
    /// The part after the prefix is malformed.
    #[error(transparent)]
    Name(#[from] NameError),
}

impl FromStr for Principal {
    type Err = PrincipalError;

    fn from_str(text: &str) -> Result<Self, PrincipalError> {
        if text == "everyone" {
            return Ok(Self::Everyone);
        }
        match text.split_once(':') {
            Some(("user", login)) => Ok(Self::User(login.parse()?)),
            Some(("team", slug)) => Ok(Self::Team(slug.parse()?)),
            Some(("group", name)) => Ok(Self::Group(name.parse()?)),
            Some(("app", slug)) => Ok(Self::App(slug.parse()?)),
            _ => Err(PrincipalError::Form(text.chars().take(60).collect())),
        }
    }
}

impl TryFrom<Cow<'_, str>> for Principal {
    type Error = PrincipalError;
    fn try_from(text: Cow<'_, str>) -> Result<Self, PrincipalError> {
        text.parse()
    }
}

impl From<Principal> for String {
    fn from(principal: Principal) -> String {
        principal.to_string()
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(login) => write!(f, "user:{login}"),
            Self::Team(slug) => write!(f, "team:{slug}"),
            Self::Group(name) => write!(f, "group:{name}"),
            Self::App(slug) => write!(f, "app:{slug}"),
            Self::Everyone => f.write_str("everyone"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_form_reads_and_prints_the_same() {
        for text in ["user:alice", "team:on-call", "group:dba", "app:renovate", "everyone"] {
            assert_eq!(text.parse::<Principal>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for text in ["alice", "users:alice", "team:", "user:a b", "Everyone", "team:../x"] {
            assert!(text.parse::<Principal>().is_err(), "{text:?}");
        }
    }
}
