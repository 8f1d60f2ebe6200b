//! From a role's templates to what a request would give, exactly.

use std::collections::BTreeMap;

use crate::policy::condition::{ExpressionError, Scope, Template};
use crate::policy::entitlement::{Access, AccessTemplate, Entitlement, EntitlementTemplate};
use crate::policy::kind::LOGIN;
use crate::policy::model::{Person, Role};
use crate::policy::{Code, Finding, Severity};

use super::facts::Account;
use super::grant::{GrantId, Window};

/// For whom, by which grant and when.
#[derive(Debug, Clone, Copy)]
pub struct Recipient<'a> {
    /// The account.
    pub subject: &'a Account,
    /// Who that is in other systems.
    pub person: &'a Person,
    /// The grant it would belong to.
    pub grant: &'a GrantId,
    /// When it would hold.
    pub window: Window,
}

/// Everything `role` gives, or why it cannot be given to this subject.
pub fn render(role: &Role, scope: &Scope, recipient: Recipient<'_>) -> (Vec<Entitlement>, Vec<Finding>) {
    let mut entitlements = Vec::new();
    let mut findings = Vec::new();
    for template in &role.entitlements {
        match access(template, scope, recipient) {
            Ok(access) => entitlements.push(Entitlement { target: template.target.clone(), access }),
            Err(obstacle) => findings.push(obstacle.finding(role, template, recipient)),
        }
    }
    entitlements.sort();
    entitlements.dedup();
    (entitlements, findings)
}

/// Why an entitlement cannot be rendered.
enum Obstacle {
    /// The person has no name in that system.
    Mapping(&'static str),
    /// An expression failed.
    Expression(ExpressionError),
    /// An expression gave a text that cannot be used there.
    Text(String),
}

impl From<ExpressionError> for Obstacle {
    fn from(error: ExpressionError) -> Self {
        Self::Expression(error)
    }
}

impl Obstacle {
    fn finding(self, role: &Role, template: &EntitlementTemplate, recipient: Recipient<'_>) -> Finding {
        let login = &recipient.subject.login;
        let (code, message, help) = match self {
            Self::Mapping(key) => (
                Code::MappingMissing,
                format!("`{login}` has no `{key}` name, which target `{}` needs", template.target),
                format!("A policy owner adds `people: {{ {login}: {{ {key}: … }} }}` to the policy."),
            ),
            Self::Expression(error) => (
                Code::EntitlementFailed,
                format!(
                    "an entitlement of role `{}` on `{}` cannot be worked out: {error}",
                    role.name, template.target
                ),
                "A policy owner has to mend the expression in the role.".to_owned(),
            ),
            Self::Text(problem) => (
                Code::EntitlementFailed,
                format!("an entitlement of role `{}` on `{}` cannot be given: {problem}", role.name, template.target),
                "Check the request's params, and the expression in the role.".to_owned(),
            ),
        };
        Finding { file: role.file.clone(), place: template.place, severity: Severity::Error, code, message, help }
    }
}

fn access(template: &EntitlementTemplate, scope: &Scope, recipient: Recipient<'_>) -> Result<Access, Obstacle> {
    match &template.access {
        AccessTemplate::Github { team } => {
            let team = team.render(scope)?;
            let team =
                team.parse().map_err(|error: crate::policy::name::NameError| Obstacle::Text(error.to_string()))?;
            Ok(Access::Github { team, user: recipient.subject.id })
        }
        AccessTemplate::Postgres { role } => Ok(Access::Postgres {
            role: usable(role, scope)?,
            login: recipient.person.postgres.clone().ok_or(Obstacle::Mapping("postgres"))?,
        }),
        AccessTemplate::Ssh { principals } => {
            let mut names = std::collections::BTreeSet::new();
            for principal in principals {
                for name in principal.render_all(scope)? {
                    names.insert(ssh_principal(name)?);
                }
            }
            if names.is_empty() {
                return Err(Obstacle::Mapping("ssh"));
            }
            Ok(Access::Ssh {
                login: recipient.subject.login.clone(),
                user: recipient.subject.id,
                keys: recipient.person.ssh_keys.clone(),
                principals: names,
                grant: recipient.grant.to_string(),
                not_before: recipient.window.starts_at,
                not_after: recipient.window.ends_at,
            })
        }
        AccessTemplate::Named { kind, fields } => {
            let person = kind.shape().map_or(&[][..], |shape| shape.person);
            let principal = person.iter().find_map(|key| name_elsewhere(recipient, key));
            let principal = principal.ok_or(Obstacle::Mapping(person.first().copied().unwrap_or(kind.as_str())))?;
            let mut texts = BTreeMap::new();
            for (field, template) in fields {
                let text = template.render(scope)?;
                if let Some(problem) = field.form.problem(&text) {
                    return Err(Obstacle::Text(format!("{} {text:?} {problem}", field.name)));
                }
                texts.insert(field.name.to_owned(), text);
            }
            Ok(Access::Named { kind: *kind, principal, fields: texts })
        }
    }
}

/// The subject's name under a key of `people`, or the login itself.
fn name_elsewhere(recipient: Recipient<'_>, key: &str) -> Option<String> {
    let person = recipient.person;
    match key {
        LOGIN => Some(recipient.subject.login.to_string()),
        "email" => person.email.clone(),
        key => person.other.get(key).cloned(),
    }
}

fn usable(template: &Template, scope: &Scope) -> Result<String, Obstacle> {
    let text = template.render(scope)?;
    if text.is_empty() || text.chars().any(char::is_control) {
        return Err(Obstacle::Text(format!("{:?} is empty or has control characters", template.source())));
    }
    Ok(text)
}

/// sshd reads principals from comma- and line-separated lists: a name must not contain either.
fn ssh_principal(name: String) -> Result<String, Obstacle> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '@' | ':' | '+');
    if name.is_empty() || name.len() > 128 || !name.chars().all(plain) {
        return Err(Obstacle::Text(format!(
            "{name:?} cannot be an SSH principal: use letters, digits and - _ . @ : +"
        )));
    }
    Ok(name)
}
