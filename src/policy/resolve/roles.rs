//! Roles: who may ask, for how long, and what it gives.

use std::collections::{BTreeMap, BTreeSet};

use super::Resolver;
use crate::policy::condition::{Checked, Environment, Expression, Span, Template};
use crate::policy::document::{BreakGlassDoc, EntitlementDoc, MachinesDoc, ParamDoc, ParamType, RoleDoc};
use crate::policy::entitlement::{AccessTemplate, EntitlementTemplate};
use crate::policy::lint::Remark;
use crate::policy::model::{
    BreakGlass, Condition, Machines, ParamKind, ParamSpec, ParamValue, Risk, Role, Settings, TargetKind,
};
use crate::policy::name::{ParamName, RoleName, TargetName};
use crate::policy::principal::Principal;
use crate::policy::yaml::decode::{did_you_mean, shortened};
use crate::policy::yaml::{At, Entries, Spot};
use crate::policy::{Code, Duration, Severity};

/// The highest limit of a role: who has it is counted one by one.
pub(in crate::policy) const MOST_AT_ONCE: u32 = 10_000;

impl Resolver<'_> {
    /// A role, if it has what every role needs. Of a template some may still be missing, and nothing comes of it.
    pub(super) fn role(
        &mut self,
        name: At<RoleName>,
        document: RoleDoc,
        settings: &Settings,
        is_template: bool,
    ) -> Option<Role> {
        let unread = self.report.is_partial(&name.spot);
        let partial = is_template || unread || self.expanded.unfinished.contains(&name.spot);
        if document.entitlements.0.is_empty() && !partial {
            let message = format!("role `{}` gives nothing", *name);
            self.report.error(&name.spot, Code::NoEntitlements, message, Code::NoEntitlements.explanation());
        }
        if document.approval.is_none() && !partial {
            let message = format!("role `{}` needs `approval`", *name);
            let help = "Name an approval rule here or in a template it extends; one without stages if none is needed.";
            self.report.error(&name.spot, Code::MissingKey, message, help);
        }
        let owner = name.spot.clone();
        let name = name.into_inner();
        let mut max_duration = settings.max_duration;
        if let Some(own) = &document.max_duration {
            if **own > settings.max_duration {
                let ceiling = settings.max_duration;
                let message = format!("`{name}` may last {}, above the ceiling of {ceiling} over every role", **own);
                self.warn(&owner, &own.spot, Code::AboveCeiling, message, Code::AboveCeiling.explanation());
            }
            max_duration = max_duration.min(**own);
        }
        let requesters = self.principals(&document.requesters);
        let may_request_for = self.principals(&document.may_request_for);
        if let Some(approval) = &document.approval {
            self.known_approval(approval);
        }
        let break_glass = document.break_glass.map(|document| self.break_glass(&name, document, max_duration));
        if let Some(limit) = document.limit.as_ref().filter(|limit| !(1..=MOST_AT_ONCE).contains(&***limit)) {
            let message = match **limit {
                0 => format!("role `{name}` may be held by nobody"),
                most => format!("a limit of {most} is none: at most {MOST_AT_ONCE} are counted"),
            };
            self.report.error(&limit.spot, Code::BadLimit, message, Code::BadLimit.explanation());
        }
        let machines = self.machines(&name, document.machines, max_duration);
        let params = self.params(&name, document.params);
        if let Some(description) = &document.description {
            self.readable("the description", description);
        }
        let mut conditions = Vec::new();
        // What several roles share may be true of one of them and not of another: that is no mistake.
        let shares = is_template || document.extends.is_some() || document.for_each.is_some() || self.has_role_defaults;
        let role = (!shares).then_some((&name, document.risk));
        let ceiling = Some(if shares { settings.max_duration } else { max_duration });
        for condition in document.conditions.0 {
            let environment = Environment { ceiling, ..self.environment(role, Some(&params)) };
            let checked = Expression::compile(&condition.expr, &environment);
            if let Some(message) = &condition.message {
                self.readable("the message", message);
            }
            if let Some(expression) = self.checked(Some(&owner), &condition.expr, checked) {
                conditions.push(Condition { expression, message: condition.message.map(At::into_inner) });
            }
        }
        let entitlements = document
            .entitlements
            .0
            .into_iter()
            .filter_map(|entitlement| self.entitlement(entitlement, &owner, role, &params))
            .collect();
        Some(Role {
            name,
            description: document.description.map(At::into_inner).unwrap_or_default(),
            risk: document.risk,
            requesters,
            may_request_for,
            max_duration,
            limit: document.limit.map(At::into_inner),
            requires: document.requires,
            conditions,
            approval: document.approval?.into_inner(),
            break_glass,
            machines,
            params,
            entitlements,
            allowed: document.allow.0.iter().map(|(code, _)| **code).chain(self.allowed.iter().copied()).collect(),
            file: owner.file.to_string(),
            place: owner.place,
        })
    }

    fn break_glass(&mut self, role: &RoleName, document: BreakGlassDoc, ceiling: Duration) -> BreakGlass {
        let requesters = self.principals(&document.requesters);
        let mut max_duration = Duration::hours(1).min(ceiling);
        if let Some(own) = &document.max_duration {
            if **own > ceiling {
                let message =
                    format!("break-glass of `{role}` may last {}, longer than the role itself ({ceiling})", **own);
                let help = "An emergency is shorter than the planned use.";
                self.report.error(&own.spot, Code::AboveCeiling, message, help);
            }
            max_duration = **own;
        }
        BreakGlass { requesters, max_duration, review_within: document.review_within.unwrap_or(Duration::hours(24)) }
    }

    fn machines(&mut self, role: &RoleName, document: Option<MachinesDoc>, ceiling: Duration) -> Machines {
        let mut machines = Machines { max_duration: Duration::hours(1).min(ceiling), sponsors: BTreeSet::new() };
        let Some(document) = document else { return machines };
        if let Some(own) = document.max_duration {
            if *own > ceiling {
                let message = format!("machines may have `{role}` for {}, longer than people ({ceiling})", *own);
                self.report.error(&own.spot, Code::AboveCeiling, message, "The lower one is what people may have.");
            }
            machines.max_duration = own.into_inner();
        }
        machines.sponsors = self.principals(&document.sponsors);
        if let Some(bot) = document.sponsors.iter().find(|sponsor| matches!(***sponsor, Principal::App(_))) {
            let message = format!("`{}` cannot sponsor a machine: only people approve", **bot);
            self.report.error(&bot.spot, Code::BadStage, message, "Name people, teams or groups.");
        }
        machines
    }

    fn params(&mut self, role: &RoleName, documents: Entries<ParamName, ParamDoc>) -> BTreeMap<ParamName, ParamSpec> {
        let mut params = BTreeMap::new();
        for (name, document) in documents.0 {
            let Some(document) = document else { continue };
            let spec = self.param(&name, document);
            self.params.insert((role.clone(), (*name).clone()), name.spot.clone());
            params.insert(name.into_inner(), spec);
        }
        params
    }

    fn param(&mut self, name: &At<ParamName>, document: ParamDoc) -> ParamSpec {
        for value in document.one_of.iter().flatten().chain(&document.default) {
            if let ParamValue::String(text) = &**value {
                self.readable_at(&format!("a value of parameter `{}`", **name), text, &value.spot);
            }
        }
        let kind = match (document.kind.as_deref(), document.one_of) {
            (None, Some(values)) if !values.is_empty() => {
                ParamKind::OneOf(values.into_iter().map(At::into_inner).collect())
            }
            (Some(ParamType::String), None) => ParamKind::String,
            (Some(ParamType::Integer), None) => ParamKind::Integer,
            (Some(ParamType::Boolean), None) => ParamKind::Boolean,
            _ => {
                let message = format!("parameter `{}` needs either `type` or a list `one_of`", **name);
                let help = "Write `{ type: string }` or `{ one_of: [a, b] }`.";
                self.report.error(&name.spot, Code::WrongType, message, help);
                ParamKind::String
            }
        };
        if let Some(description) = &document.description {
            self.readable("the description", description);
        }
        let description = document.description.map(At::into_inner).unwrap_or_default();
        let spec = ParamSpec { kind, default: None, description };
        let default = document.default.and_then(|default| match spec.problem(&default) {
            None => Some(default.into_inner()),
            Some(problem) => {
                let message = format!("the default of parameter `{}` {problem}", **name);
                self.report.error(&default.spot, Code::BadParam, message, "");
                None
            }
        });
        ParamSpec { default, ..spec }
    }

    fn entitlement(
        &mut self,
        document: At<EntitlementDoc>,
        owner: &Spot,
        role: Option<(&RoleName, Risk)>,
        params: &BTreeMap<ParamName, ParamSpec>,
    ) -> Option<EntitlementTemplate> {
        let place = document.place();
        let mut template = |source: &At<String>, many: bool, kind: TargetKind| {
            let checked = Template::compile(source, &self.environment(role, Some(params)), many);
            let template = self.checked(Some(owner), source, checked)?;
            self.possible(source, &template, kind).then_some(template)
        };
        let (target, access) = match document.into_inner() {
            EntitlementDoc::Github(doc) => {
                (doc.target, AccessTemplate::Github { team: template(&doc.team, false, TargetKind::Github)? })
            }
            EntitlementDoc::Postgres(doc) => {
                (doc.target, AccessTemplate::Postgres { role: template(&doc.role, false, TargetKind::Postgres)? })
            }
            EntitlementDoc::Ssh(doc) => {
                let templates: Vec<_> =
                    doc.principals.iter().map(|principal| template(principal, true, TargetKind::Ssh)).collect();
                self.twice_among(owner, &doc.principals);
                if doc.principals.is_empty() {
                    let message = "an SSH entitlement needs at least one principal";
                    let help = "Name the login on the server, or ${person.ssh}.";
                    self.report.error(&doc.target.spot, Code::MissingKey, message, help);
                }
                (doc.target, AccessTemplate::Ssh { principals: templates.into_iter().collect::<Option<_>>()? })
            }
        };
        self.known_target(&target, &access);
        Some(EntitlementTemplate { target: target.into_inner(), access, place })
    }

    /// Whether a target can ever take this, as far as it is written out.
    fn possible(&mut self, source: &At<String>, template: &Template, kind: TargetKind) -> bool {
        if !self.readable("this", source) {
            return false;
        }
        let problem = match template.constant() {
            Some(text) => kind.name_problem(text),
            // What comes of the expressions is not known: each text between them has to be a part of a name.
            None => template.literals().find_map(|text| kind.part_problem(text)),
        };
        if let Some(problem) = problem {
            let message = format!("`{}` {problem}", shortened(source));
            self.report.error(&source.spot, Code::NoSuchThing, message, Code::NoSuchThing.explanation());
        }
        problem.is_none()
    }

    fn known_target(&mut self, target: &At<TargetName>, access: &AccessTemplate) {
        self.used.targets.insert((**target).clone());
        match self.targets.get(&**target).copied() {
            Some(kind) if kind == access.kind() => {}
            Some(kind) => {
                let message = format!("target `{}` is a `{kind}`, not a `{}`", **target, access.kind());
                self.report.error(&target.spot, Code::KindMismatch, message, Code::KindMismatch.explanation());
            }
            // A target whose kind could not be read has been told of.
            None if self.target_places.contains_key(&**target) => {}
            None if self.expanded.incomplete.contains("targets") => {}
            None => {
                let known = self.targets.keys().map(TargetName::as_str);
                let help = did_you_mean(target.as_str(), known, Code::UnknownTarget.explanation());
                let message = format!("target `{}` does not exist", **target);
                self.report.error(&target.spot, Code::UnknownTarget, message, help);
            }
        }
    }

    /// What is known where an expression stands; `role` and `params` only if it is for this role alone.
    pub(super) fn environment<'e>(
        &'e self,
        role: Option<(&'e RoleName, Risk)>,
        params: Option<&'e BTreeMap<ParamName, ParamSpec>>,
    ) -> Environment<'e> {
        let (roles, groups, ceiling) = (&self.role_names[..], Some(&self.group_names[..]), self.ceiling);
        Environment { params, role, roles, groups, ceiling, ..Environment::default() }
    }

    /// Where characters of a text stand.
    pub(super) fn spot_in(&self, source: &At<String>, span: Span) -> Spot {
        let file = self.files.and_then(|files| files.get(&*source.spot.file));
        let file = file.and_then(|bytes| std::str::from_utf8(bytes).ok());
        let place = file.map_or(source.place(), |file| {
            let text = file.strip_prefix('\u{feff}').unwrap_or(file);
            source.place_of(text, span.start, span.length)
        });
        Spot { place, ..source.spot.clone() }
    }

    /// Reports what there is to say about an expression, each at its own characters.
    pub(super) fn checked<T>(&mut self, owner: Option<&Spot>, source: &At<String>, checked: Checked<T>) -> Option<T> {
        for problem in &checked.problems {
            let spot = self.spot_in(source, problem.span);
            match problem.severity {
                Severity::Error => self.report.error(&spot, problem.code, problem.message.clone(), problem.advice()),
                _ => {
                    let remark = Remark::new(owner, &spot, problem.code, problem.message.clone(), problem.advice());
                    self.remarks.push(remark);
                }
            }
        }
        checked.value
    }
}
