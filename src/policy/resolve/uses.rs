//! What approval rules mean for the roles that use them, and what is said twice.

use std::collections::BTreeMap;
use std::fmt::Display;

use super::Resolver;
use crate::policy::condition::{Environment, Expression, Problem};
use crate::policy::document::{ApprovalDoc, PolicyFile, RoleDoc};
use crate::policy::lint::Remark;
use crate::policy::model::{Policy, Role, Stage};
use crate::policy::name::ApprovalName;
use crate::policy::yaml::decode::shortened;
use crate::policy::yaml::{At, Spot};
use crate::policy::{Code, Severity};

/// Roles that are named in one sentence.
const NAMED: usize = 3;

impl Resolver<'_> {
    pub(super) fn remember_conditions(&mut self, rule: &ApprovalName, document: &ApprovalDoc) {
        for stage in &document.stages {
            if let Some(when) = &stage.when {
                self.whens.insert((rule.clone(), (*stage.name).clone()), when.clone());
            }
        }
    }

    /// The condition of a stage is asked about each of the roles that use its rule: what is in `params`, and what the role may
    /// last, is known for each of them.
    pub(super) fn check_uses(&mut self, policy: &Policy) {
        for (name, rule) in &policy.approvals {
            let roles: Vec<&Role> = policy.roles.values().filter(|role| role.approval == *name).collect();
            for stage in rule.stages.iter().filter(|_| !roles.is_empty()) {
                let source = self.whens.get(&(name.clone(), stage.name.clone())).cloned();
                if let (Some(when), Some(source)) = (&stage.when, source) {
                    self.check_when((name, stage), when, &source, &roles);
                }
            }
        }
    }

    fn check_when(
        &mut self,
        (rule, stage): (&ApprovalName, &Stage),
        when: &Expression,
        source: &At<String>,
        roles: &[&Role],
    ) {
        let mut wrong: BTreeMap<(usize, String), (Problem, Vec<&Role>)> = BTreeMap::new();
        let mut never = true;
        for role in roles {
            let environment = Environment {
                role: Some((&role.name, role.risk)),
                ceiling: Some(role.max_duration),
                params: Some(&role.params),
                optional_params: Some(when.guarded_params()),
                ..self.environment(None, None)
            };
            let checked = Expression::compile(source, &environment);
            let truth = checked.value.as_ref().and_then(Expression::always);
            never &= truth == Some(false);
            if truth == Some(true) {
                self.always_approved.insert(role.name.clone());
            }
            for problem in checked.problems.into_iter().filter(|problem| problem.severity == Severity::Error) {
                let key = (problem.span.start, problem.message.clone());
                wrong.entry(key).or_insert_with(|| (problem, Vec::new())).1.push(role);
            }
        }
        for (problem, of) in wrong.into_values() {
            let message = format!("for {}: {}", named(&of), problem.message);
            let help = match problem.code {
                Code::UnknownParam => "Declare it there, or ask first whether it is there: `has(params.x) && …`.",
                _ => problem.advice(),
            };
            let spot = self.spot_in(source, problem.span);
            self.report.error(&spot, problem.code, message, help);
        }
        if never && when.always().is_none() {
            let message = format!("this is always false for {}: stage `{}` never counts", named(roles), stage.name);
            let (code, owner) = (Code::AlwaysFalse, self.approvals.get(rule).cloned());
            self.remarks.push(Remark::new(owner.as_ref(), &source.spot, code, message, code.explanation()));
        }
    }

    /// Principals that are named twice in one list.
    pub(super) fn said_twice(&mut self, documents: &[PolicyFile]) {
        for document in documents {
            for (name, members) in &document.groups.0 {
                self.twice_among(&name.spot, members.as_deref().unwrap_or_default());
            }
            for (name, role) in document.roles.0.iter().chain(&document.templates.0) {
                let Some(role) = role else { continue };
                principals(role).into_iter().for_each(|list| self.twice_among(&name.spot, list));
            }
            for (name, rule) in &document.approvals.0 {
                for stage in rule.iter().flat_map(|rule| &rule.stages) {
                    let parts = stage.all_of.iter().chain(&stage.any_of).flat_map(|parts| parts.iter());
                    let lists = stage.approvers.iter().chain(parts.map(|part| &part.approvers));
                    for list in lists.chain(stage.escalate.0.iter().map(|step| &step.to)) {
                        self.twice_among(&name.spot, list);
                    }
                }
            }
        }
    }

    pub(super) fn twice_among<T: Ord + Display>(&mut self, owner: &Spot, list: &[At<T>]) {
        let mut seen: BTreeMap<&T, &At<T>> = BTreeMap::new();
        for entry in list {
            if let Some(first) = seen.get(&**entry) {
                let line = first.place().line;
                let message = format!("`{}` is there already, in line {line}", shortened(&entry.to_string()));
                self.warn(owner, &entry.spot, Code::SaidTwice, message, Code::SaidTwice.explanation());
            } else {
                seen.insert(entry, entry);
            }
        }
    }
}

fn principals(role: &RoleDoc) -> Vec<&[At<crate::policy::Principal>]> {
    let glass = role.break_glass.iter().map(|glass| glass.requesters.as_slice());
    [role.requesters.as_slice(), role.may_request_for.as_slice()].into_iter().chain(glass).collect()
}

/// "role `a`", "roles `a`, `b`, `c` and 4 more".
fn named(roles: &[&Role]) -> String {
    let names: Vec<String> = roles.iter().take(NAMED).map(|role| format!("`{}`", role.name)).collect();
    let more = roles.len().saturating_sub(NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{} {}{more}", if roles.len() == 1 { "role" } else { "roles" }, names.join(", "))
}
