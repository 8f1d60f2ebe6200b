//! Expressions that ask for what is elsewhere in the policy: they may say yes where they said no, whatever the change looks like.

use super::stages::of_role;
use crate::policy::Policy;
use crate::policy::condition::{Expression, Template};
use crate::policy::model::Role;

/// The expressions of a role and of its approval.
pub(super) fn expressions<'p>(role: &'p Role, policy: &'p Policy) -> impl Iterator<Item = &'p Expression> {
    judging(role, policy).chain(texts(role).flat_map(Template::expressions))
}

/// Those that say who gets it, and who has to approve it.
fn judging<'p>(role: &'p Role, policy: &'p Policy) -> impl Iterator<Item = &'p Expression> {
    let conditions = role.conditions.iter().map(|condition| &condition.expression);
    conditions.chain(of_role(role, policy).iter().filter_map(|stage| stage.when.as_ref()))
}

fn texts(role: &Role) -> impl Iterator<Item = &Template> {
    role.entitlements.iter().flat_map(|entitlement| entitlement.access.texts())
}

/// Those of a role's expressions that may depend on what stands at `path`, as they are written.
pub(super) fn readers(role: &Role, policy: &Policy, path: &[&str]) -> Vec<String> {
    let mut found: Vec<String> = expressions(role, policy)
        .filter(|expression| expression.reads().may_read(path))
        .map(|expression| expression.source().trim().to_owned())
        .collect();
    found.sort();
    found.dedup();
    found
}

/// Whether an expression of the role may do something else for somebody than put in what stands at `path` of their names.
pub(super) fn judges_by_name(role: &Role, policy: &Policy, path: &[&str]) -> bool {
    let names = path.join(".");
    let plain = |template: &&Template| {
        let source = template.source().trim();
        let inner = source.strip_prefix("${").and_then(|rest| rest.strip_suffix('}')).map(str::trim);
        inner.is_some_and(|inner| inner == names || inner.strip_prefix("subject.") == names.strip_prefix("person."))
    };
    let texts = texts(role).filter(|template| !plain(template)).flat_map(Template::expressions);
    judging(role, policy).chain(texts).any(|expression| expression.reads().may_read(path))
}
