//! The kinds of system Daypass knows, and what an entitlement on each is made of: one table, which YAML, schema,
//! rendering and comparison are read from. Three kinds have shapes of their own (`github`, `postgres`, `ssh`); all others are a name of the
//! person in that system and a few named texts.

use serde::{Deserialize, Serialize};

use super::name::TeamSlug;

/// The kinds of system this crate knows; the tag used in `targets:` and in entitlements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TargetKind {
    /// Teams of the organisation on GitHub.
    Github,
    /// Role membership in PostgreSQL.
    Postgres,
    /// OpenSSH certificates.
    Ssh,
    /// Membership of groups and projects in GitLab.
    Gitlab,
    /// Groups of whatever speaks SCIM 2.0.
    Scim,
    /// Groups of Okta.
    Okta,
    /// Identity groups of HashiCorp Vault and OpenBao.
    Vault,
    /// Groups of a hoop.dev gateway.
    Hoop,
    /// Anything that takes a signed request.
    Webhook,
    /// Anything a program on the server can do.
    Exec,
}

impl TargetKind {
    /// Every kind, in the order they are documented.
    pub const ALL: [Self; 10] = [
        Self::Github,
        Self::Postgres,
        Self::Ssh,
        Self::Gitlab,
        Self::Scim,
        Self::Okta,
        Self::Vault,
        Self::Hoop,
        Self::Webhook,
        Self::Exec,
    ];

    /// The word used in YAML.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Github => "github",
            Self::Postgres => "postgres",
            Self::Ssh => "ssh",
            Self::Gitlab => "gitlab",
            Self::Scim => "scim",
            Self::Okta => "okta",
            Self::Vault => "vault",
            Self::Hoop => "hoop",
            Self::Webhook => "webhook",
            Self::Exec => "exec",
        }
    }

    /// An entitlement of this kind, in a sentence.
    pub const fn as_entitlement(self) -> &'static str {
        match self {
            Self::Github => "a `github` entitlement",
            Self::Postgres => "a `postgres` entitlement",
            Self::Ssh => "an `ssh` entitlement",
            Self::Gitlab => "a `gitlab` entitlement",
            Self::Scim => "a `scim` entitlement",
            Self::Okta => "an `okta` entitlement",
            Self::Vault => "a `vault` entitlement",
            Self::Hoop => "a `hoop` entitlement",
            Self::Webhook => "a `webhook` entitlement",
            Self::Exec => "an `exec` entitlement",
        }
    }

    /// What an entitlement of this kind is made of, unless the kind has a shape of its own.
    pub const fn shape(self) -> Option<&'static Shape> {
        match self {
            Self::Github | Self::Postgres | Self::Ssh => None,
            Self::Gitlab => Some(&GITLAB),
            Self::Scim => Some(&SCIM),
            Self::Okta => Some(&OKTA),
            Self::Vault => Some(&VAULT),
            Self::Hoop => Some(&HOOP),
            Self::Webhook => Some(&WEBHOOK),
            Self::Exec => Some(&EXEC),
        }
    }
}

impl std::fmt::Display for TargetKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

impl std::str::FromStr for TargetKind {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or(())
    }
}

/// What an entitlement is made of.
#[derive(Debug)]
pub struct Shape {
    /// What it gives, in a sentence.
    pub about: &'static str,
    /// The keys of `people.LOGIN` that hold the person's name in that system: the first that is there counts.
    pub person: &'static [&'static str],
    /// Its texts.
    pub fields: &'static [Field],
    /// Of these exactly one is there.
    pub one_of: &'static [&'static str],
}

/// One text of an entitlement.
#[derive(Debug)]
pub struct Field {
    /// Its key in YAML.
    pub name: &'static str,
    /// What it is, in a sentence.
    pub about: &'static str,
    /// Whether it has to be there, whatever else is.
    pub required: bool,
    /// What it can be.
    pub form: Form,
}

/// What a text can be. Control characters never are.
#[derive(Debug, Clone, Copy)]
pub enum Form {
    /// The slug of a team on GitHub.
    TeamSlug,
    /// A name of a role in PostgreSQL, which cuts longer ones, and means another role then.
    PostgresRole,
    /// A name sshd can accept a certificate for: it reads principals from lists with commas.
    SshPrincipal,
    /// Any text of up to so many bytes.
    Text(usize),
    /// One of a few words.
    Words(&'static [&'static str]),
}

impl Form {
    /// Why nothing can be called `text`, as the end of a sentence.
    pub fn problem(self, text: &str) -> Option<String> {
        if text.is_empty() {
            return Some(self.missed("is"));
        }
        self.part_problem(text).map(|_| self.missed("is")).or_else(|| {
            let fits = match self {
                Self::TeamSlug => text.parse::<TeamSlug>().is_ok(),
                Self::Words(words) => words.contains(&text),
                Self::PostgresRole | Self::SshPrincipal | Self::Text(_) => true,
            };
            (!fits).then(|| self.missed("is"))
        })
    }

    /// The same for a part of a text, which may be empty.
    pub fn part_problem(self, text: &str) -> Option<String> {
        let of = |allowed: fn(char) -> bool| text.chars().all(allowed);
        let fits = match self {
            // Between letters every part of a slug makes a slug.
            Self::TeamSlug => format!("a{text}a").parse::<TeamSlug>().is_ok(),
            Self::PostgresRole => text.len() <= 63,
            Self::SshPrincipal => text.len() <= 128 && of(in_ssh_principal),
            Self::Text(most) => text.len() <= most,
            Self::Words(words) => words.iter().any(|word| word.contains(text)),
        };
        (!fits || text.chars().any(char::is_control)).then(|| self.missed("makes"))
    }

    fn missed(self, verb: &str) -> String {
        match self {
            Self::TeamSlug => format!("{verb} no slug of a team"),
            Self::PostgresRole => format!("{verb} no name of a role: it has 1 to 63 bytes"),
            Self::SshPrincipal => format!("{verb} no SSH principal: use letters, digits and - _ . @ : +"),
            Self::Text(most) => format!("{verb} no text of 1 to {most} bytes without control characters"),
            Self::Words(words) => format!("{verb} none of {}", words.join(", ")),
        }
    }
}

/// In place of a key of `people.LOGIN`: the login itself.
pub const LOGIN: &str = "login";

fn in_ssh_principal(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '@' | ':' | '+')
}

const fn required(name: &'static str, form: Form, about: &'static str) -> Field {
    Field { name, about, required: true, form }
}

const fn optional(name: &'static str, form: Form, about: &'static str) -> Field {
    Field { name, about, required: false, form }
}

/// Of one required field, for people whose name is under one of these keys.
const fn only(about: &'static str, person: &'static [&'static str], fields: &'static [Field]) -> Shape {
    Shape { about, person, fields, one_of: &[] }
}

const GITLAB: Shape = Shape {
    about: "Membership of a group or project in GitLab, for `people.LOGIN.gitlab`: a username.",
    person: &["gitlab"],
    fields: &[
        optional("group", Form::Text(255), "The path of the group, as `platform/infra`."),
        optional("project", Form::Text(255), "The path of the project, as `platform/infra/dns`."),
        required("level", Form::Words(&GITLAB_LEVELS), "The access level."),
    ],
    one_of: &["group", "project"],
};

/// Access levels of GitLab: <https://docs.gitlab.com/api/members/#roles>.
const GITLAB_LEVELS: [&str; 6] = ["guest", "planner", "reporter", "developer", "maintainer", "owner"];

const SCIM: Shape = only(
    "Membership of a group through SCIM 2.0, for `people.LOGIN.scim` or `email`: the `userName` there.",
    &["scim", "email"],
    &[required("group", Form::Text(255), "The group, by its `displayName`.")],
);

const OKTA: Shape = only(
    "Membership of a group in Okta, for `people.LOGIN.okta` or `email`: the login there.",
    &["okta", "email"],
    &[required("group", Form::Text(255), "The group, by its name.")],
);

const VAULT: Shape = only(
    "Membership of an identity group in HashiCorp Vault or OpenBao, for `people.LOGIN.vault`: the name of the entity.",
    &["vault"],
    &[required("group", Form::Text(255), "The group, by its name; its type must be `internal`.")],
);

const HOOP: Shape = only(
    "Membership of a group of a hoop.dev gateway, for `people.LOGIN.hoop` or `email`.",
    &["hoop", "email"],
    &[required("group", Form::Text(255), "The group.")],
);

const WEBHOOK: Shape = only(
    "Whatever the receiver of signed requests does, for `people.LOGIN.webhook`, or else the GitHub login.",
    &["webhook", LOGIN],
    &[
        required("access", Form::Text(255), "What is given: a word the receiver knows."),
        optional("resource", Form::Text(1024), "On what."),
    ],
);

const EXEC: Shape = only(
    "Whatever a program on the server does, for `people.LOGIN.exec`, or else the GitHub login.",
    &["exec", LOGIN],
    &[
        required("access", Form::Text(255), "What is given: a word the program knows."),
        optional("resource", Form::Text(1024), "On what."),
    ],
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_names_only_fields_that_are_there() {
        for kind in TargetKind::ALL {
            assert_eq!(kind.as_str().parse(), Ok(kind));
            let Some(shape) = kind.shape() else { continue };
            for name in shape.one_of {
                let field = shape.fields.iter().find(|field| field.name == *name);
                assert!(field.is_some_and(|field| !field.required), "{kind}: {name}");
            }
        }
    }

    #[test]
    fn texts_are_what_the_system_can_take() {
        for (form, good, bad) in
            [(Form::Words(&GITLAB_LEVELS), "developer", "root"), (Form::Text(8), "Größe", "too long for it")]
        {
            assert_eq!(form.problem(good), None, "{form:?}");
            assert!(form.problem(bad).is_some(), "{form:?}");
            assert!(form.problem("").is_some() && form.problem("a\nb").is_some(), "{form:?}");
        }
        assert_eq!(Form::Words(&GITLAB_LEVELS).part_problem("main"), None, "what comes before an expression");
    }
}
