//! The names that occur in policies, requests and on GitHub, each its own type, so that a role cannot be passed where a
//! team is meant. Parsing is the only way to make one: a value of these types is always well formed.

use std::borrow::Cow;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Why a text is not a name of the wanted kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a valid {kind}: {rule}")]
pub struct NameError {
    /// What was expected, as people say it: "role name", "login".
    pub kind: &'static str,
    /// The offending text, shortened.
    pub text: String,
    /// The rule it breaks, as a sentence.
    pub rule: &'static str,
}

impl NameError {
    fn new(kind: &'static str, text: &str, rule: &'static str) -> Self {
        let shown: String = text.chars().take(60).collect();
        Self { kind, text: shown, rule }
    }
}

/// Lower-case letters, digits, `-` and `_`; starts with a letter or digit; 100 characters at most.
fn is_plain_name(text: &str) -> bool {
    text.len() <= 100
        && text.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_')
}

/// `[a-z0-9][a-z0-9-]{0,99}`.
fn is_slug(text: &str) -> bool {
    is_plain_name(text) && !text.contains('_')
}

/// GitHub logins: letters, digits, single inner hyphens, and `_` (Enterprise Managed Users carry `_shortcode`); 39
/// characters plus room for the short code. A bot account ends in `[bot]`.
fn is_login(text: &str) -> bool {
    let stem = text.strip_suffix("[bot]").unwrap_or(text);
    !stem.is_empty()
        && stem.len() <= 60
        && !stem.starts_with('-')
        && !stem.ends_with('-')
        && stem.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

fn is_repository(text: &str) -> bool {
    let part = |s: &str| {
        !s.is_empty()
            && s.len() <= 100
            && s != "."
            && s != ".."
            && s.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
    };
    text.split_once('/').is_some_and(|(owner, name)| part(owner) && part(name))
}

fn is_object_id(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

/// From text, checked, and back.
macro_rules! conversions {
    ($name:ident, $kind:literal, $check:path, $rule:expr) => {
        impl FromStr for $name {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                if $check(text) { Ok(Self(text.to_owned())) } else { Err(NameError::new($kind, text, $rule)) }
            }
        }

        impl TryFrom<Cow<'_, str>> for $name {
            type Error = NameError;
            fn try_from(text: Cow<'_, str>) -> Result<Self, NameError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
    };
}

macro_rules! names {
    ($($(#[$doc:meta])* $name:ident, $kind:literal, $check:path, $rule:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "Cow<'_, str>", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        conversions!($name, $kind, $check, $rule);
    )*};
}

const PLAIN: &str =
    "use lower-case letters, digits, `-` and `_`, at most 100 characters, starting with a letter or digit";

names! {
    /// A role: what people ask for.
    RoleName, "role name", is_plain_name, "use lower-case letters, digits, `-` and `_`, at most 100 characters, starting with a letter or digit";
    /// A group of principals defined in the policy.
    GroupName, "group name", is_plain_name, "use lower-case letters, digits, `-` and `_`, at most 100 characters, starting with a letter or digit";
    /// A target: one system the operator has configured.
    TargetName, "target name", is_plain_name, "use lower-case letters, digits, `-` and `_`, at most 100 characters, starting with a letter or digit";
    /// An approval rule.
    ApprovalName, "approval rule name", is_plain_name, "use lower-case letters, digits, `-` and `_`, at most 100 characters, starting with a letter or digit";
    /// A calendar: when people are at work.
    CalendarName, "calendar name", is_plain_name, "use lower-case letters, digits, `-` and `_`, at most 100 characters, starting with a letter or digit";
    /// A stage of an approval rule.
    StageName, "stage name", is_plain_name, "use lower-case letters, digits, `-` and `_`, at most 100 characters, starting with a letter or digit";
    /// A parameter of a role.
    ParamName, "parameter name", is_plain_name, "use lower-case letters, digits, `-` and `_`, at most 100 characters, starting with a letter or digit";
    /// A stream of events, besides the ledger.
    StreamName, "stream name", is_plain_name, "use lower-case letters, digits, `-` and `_`, at most 100 characters, starting with a letter or digit";
    /// An organisation on GitHub.
    OrganisationName, "organisation", is_login, "use the name in its address on GitHub";
    /// The name of a grant's file without `grants/` and `.yaml`.
    Slug, "grant slug", is_slug, "use lower-case letters, digits and `-`, at most 100 characters, starting with a letter or digit";
    /// A repository as `owner/name`.
    RepositoryName, "repository", is_repository, "write it as owner/name";
    /// The id of a git commit, in lower-case hex.
    CommitId, "commit id", is_object_id, "expected 40 or 64 lower-case hex digits";
    /// The id of a git tree, in lower-case hex.
    TreeId, "tree id", is_object_id, "expected 40 or 64 lower-case hex digits";
    /// The id of a git blob, in lower-case hex.
    BlobId, "blob id", is_object_id, "expected 40 or 64 lower-case hex digits";
}

impl RepositoryName {
    /// The organisation or user the repository belongs to.
    pub fn owner(&self) -> &str {
        self.0.split_once('/').map_or("", |(owner, _)| owner)
    }

    /// The repository's name without its owner.
    pub fn name(&self) -> &str {
        self.0.split_once('/').map_or("", |(_, name)| name)
    }
}

impl Slug {
    /// The slug nearest to any text: for files nobody has named yet.
    pub fn near(text: &str) -> Self {
        let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
        let dashed: String = text.chars().take(100).map(plain).collect();
        let words: Vec<&str> = dashed.split('-').filter(|word| !word.is_empty()).collect();
        Self(if words.is_empty() { "request".to_owned() } else { words.join("-") })
    }
}

impl CommitId {
    /// What git writes where there is no commit.
    pub fn zero() -> Self {
        Self("0".repeat(40))
    }

    /// The first seven digits, as people quote commits.
    pub fn short(&self) -> &str {
        self.0.get(..7).unwrap_or(&self.0)
    }
}

/// Names that GitHub compares without regard to letter case. The spelling first seen is kept for display.
macro_rules! caseless_names {
    ($($(#[$doc:meta])* $name:ident, $kind:literal, $check:path, $rule:expr;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Serialize, Deserialize)]
        #[serde(try_from = "Cow<'_, str>", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The name as it was written.
            pub fn as_str(&self) -> &str {
                &self.0
            }

            fn folded(&self) -> impl Iterator<Item = u8> + '_ {
                self.0.bytes().map(|b| b.to_ascii_lowercase())
            }
        }

        impl PartialEq for $name {
            fn eq(&self, other: &Self) -> bool {
                self.0.eq_ignore_ascii_case(&other.0)
            }
        }
        impl Eq for $name {}
        impl PartialOrd for $name {
            fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
                Some(self.cmp(other))
            }
        }
        impl Ord for $name {
            fn cmp(&self, other: &Self) -> std::cmp::Ordering {
                self.folded().cmp(other.folded())
            }
        }
        impl Hash for $name {
            fn hash<H: Hasher>(&self, state: &mut H) {
                self.folded().for_each(|b| state.write_u8(b));
                state.write_u8(0xff);
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({:?})", stringify!($name), self.0)
            }
        }

        conversions!($name, $kind, $check, $rule);
    )*};
}

fn is_team_slug(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 100
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
        && !text.starts_with('.')
}

caseless_names! {
    /// A GitHub login. Compared without case, as GitHub does; identity over time is [`UserId`], for logins can be renamed.
    Login, "GitHub login", is_login, "use letters, digits and inner hyphens, as on GitHub";
    /// The slug of a team of the organisation.
    TeamSlug, "team slug", is_team_slug, PLAIN;
    /// The slug of a GitHub App, whose account is `slug[bot]`.
    AppSlug, "app slug", is_team_slug, PLAIN;
}

/// GitHub's numeric account id: the identity of a person or bot that survives a renamed login.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UserId(pub u64);

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logins_compare_without_case_and_keep_their_spelling() {
        let upper: Login = "Alice".parse().unwrap();
        let lower: Login = "alice".parse().unwrap();
        assert_eq!(upper, lower);
        assert_eq!(upper.to_string(), "Alice");
        assert_eq!(std::collections::HashSet::from([upper, lower]).len(), 1);
    }

    #[test]
    fn look_alikes_and_tricks_are_no_logins() {
        for text in ["", "-a", "a-", "a b", "аlice", "alice\u{202e}", "../x", "a/b", "[bot]", "@alice"] {
            assert!(text.parse::<Login>().is_err(), "{text:?} must be refused");
        }
        assert!("octo_acme".parse::<Login>().is_ok());
        assert!("dependabot[bot]".parse::<Login>().is_ok());
    }

    #[test]
    fn a_slug_has_one_form() {
        assert!("20261201-alice-orders-db-reader-k3fz".parse::<Slug>().is_ok());
        for text in ["", "-x", "A", "a_b", "a.b", "a/b", &"a".repeat(101)] {
            assert!(text.parse::<Slug>().is_err(), "{text:?} must be refused");
        }
    }

    #[test]
    fn any_text_has_a_slug_near_it() {
        for (text, slug) in
            [("Four hours, too!", "four-hours-too"), ("", "request"), ("--\u{1b}[31m", "31m"), ("é", "request")]
        {
            assert_eq!(Slug::near(text).as_str(), slug);
        }
        assert!(Slug::near(&"x".repeat(1_000)).as_str().parse::<Slug>().is_ok());
    }

    #[test]
    fn a_repository_has_owner_and_name() {
        let repository: RepositoryName = "acme/access".parse().unwrap();
        assert_eq!((repository.owner(), repository.name()), ("acme", "access"));
        assert!("acme".parse::<RepositoryName>().is_err());
        assert!("acme/../x".parse::<RepositoryName>().is_err());
    }
}
