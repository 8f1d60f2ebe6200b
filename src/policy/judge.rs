//! What can be said about a request without knowing who anybody is: the role exists, the ceilings hold, what the role demands
//! is there. The rest is for `access::decide`.

use std::collections::BTreeMap;

use super::model::{ParamKind, ParamSpec, ParamValue, Requirement, Role};
use super::name::{ParamName, RoleName};
use super::suggest::suggest;
use super::{Code, Finding, Policy, Request, Severity, request};

impl ParamSpec {
    /// Why `value` is not allowed, as the end of a sentence.
    pub fn problem(&self, value: &ParamValue) -> Option<String> {
        match (&self.kind, value) {
            (ParamKind::String, ParamValue::String(_))
            | (ParamKind::Integer, ParamValue::Integer(_))
            | (ParamKind::Boolean, ParamValue::Boolean(_)) => None,
            (ParamKind::String, _) => Some("must be a text".to_owned()),
            (ParamKind::Integer, _) => Some("must be a whole number".to_owned()),
            (ParamKind::Boolean, _) => Some("must be true or false".to_owned()),
            (ParamKind::OneOf(values), value) if values.contains(value) => None,
            (ParamKind::OneOf(values), _) => {
                let values: Vec<String> = values.iter().map(|value| format!("`{value}`")).collect();
                Some(format!("must be one of {}", values.join(", ")))
            }
        }
    }
}

/// The parameters of a request, with the role's defaults filled in.
pub fn params_of(request: &Request, role: &Role) -> BTreeMap<ParamName, ParamValue> {
    let defaults = role.params.iter().filter_map(|(name, spec)| Some((name.clone(), spec.default.clone()?)));
    defaults.chain(request.params.iter().map(|(name, value)| (name.clone(), value.clone()))).collect()
}

/// Everything that is wrong with the request in a file: how it is written and, as far as it can be read, what breaks a rule.
pub fn review(path: &str, bytes: &[u8], policy: Option<&Policy>) -> Vec<Finding> {
    let (request, mut findings) = request::read_in_part(path, bytes, policy);
    // What it lacks may be there, and cannot be read.
    let lacks = [Code::TicketMissing, Code::StartMissing, Code::MissingParam];
    let whole = findings.is_empty();
    if let (Some(request), Some(policy)) = (request, policy) {
        findings.extend(judge(&request, policy).into_iter().filter(|found| whole || !lacks.contains(&found.code)));
    }
    findings
}

/// Everything about `request` that breaks a rule of `policy`, whoever asks.
pub fn judge(request: &Request, policy: &Policy) -> Vec<Finding> {
    let Some(role) = policy.roles.get(&request.role) else {
        let near = suggest(request.role.as_str(), policy.roles.keys().map(RoleName::as_str));
        let help = match near {
            Some(near) => format!("Did you mean `{near}`?"),
            None => format!("The policy has: {}.", list(policy.roles.keys().map(RoleName::as_str))),
        };
        return vec![finding(
            request,
            "role",
            Code::UnknownRole,
            format!("role `{}` does not exist", request.role),
            &help,
        )];
    };
    let mut findings = Vec::new();
    let ceiling = match (&role.break_glass, request.break_glass) {
        (None, true) => {
            let message = format!("role `{}` has no emergency path", role.name);
            let help = Code::BreakGlassNotAllowed.explanation();
            findings.push(finding(request, "break_glass", Code::BreakGlassNotAllowed, message, help));
            role.max_duration
        }
        (Some(path), true) => path.max_duration,
        (_, false) => role.max_duration,
    };
    if request.break_glass && request.start.is_some() {
        let message = "an emergency cannot be planned".to_owned();
        findings.push(finding(request, "start", Code::GlassPlanned, message, Code::GlassPlanned.explanation()));
    }
    if request.duration > ceiling {
        let path = if request.break_glass { " by break-glass" } else { "" };
        let message = format!("`{}` is longer than role `{}` may last{path}: {ceiling}", request.duration, role.name);
        findings.push(finding(
            request,
            "duration",
            Code::DurationTooLong,
            message,
            &format!("Ask for {ceiling} or less."),
        ));
    }
    for requirement in &role.requires {
        match requirement {
            Requirement::Ticket if request.ticket.is_none() => {
                let message = format!("role `{}` requires a ticket", role.name);
                findings.push(finding(request, "", Code::TicketMissing, message, "Add `ticket: …`."));
            }
            Requirement::Start if request.start.is_none() => {
                let message = format!("role `{}` is for planned windows and requires a start", role.name);
                let help = "Add `start: 2026-12-01T22:00:00Z`, with the time you mean.";
                findings.push(finding(request, "", Code::StartMissing, message, help));
            }
            Requirement::Ticket | Requirement::Start => {}
        }
    }
    params(request, role, &mut findings);
    findings
}

fn params(request: &Request, role: &Role, findings: &mut Vec<Finding>) {
    for (name, value) in &request.params {
        let field = format!("params.{name}");
        match role.params.get(name) {
            None => {
                let near = suggest(name.as_str(), role.params.keys().map(ParamName::as_str));
                let help = match near {
                    Some(near) => format!("Did you mean `{near}`?"),
                    None if role.params.is_empty() => "Role takes no parameters; remove it.".to_owned(),
                    None => format!("Role takes: {}.", list(role.params.keys().map(ParamName::as_str))),
                };
                let message = format!("role `{}` takes no parameter `{name}`", role.name);
                findings.push(finding(request, &field, Code::UnknownParam, message, &help));
            }
            Some(spec) => {
                if let Some(problem) = spec.problem(value) {
                    let message = format!("parameter `{name}` {problem}");
                    findings.push(finding(request, &field, Code::BadParam, message, &spec.description));
                }
            }
        }
    }
    for (name, spec) in
        role.params.iter().filter(|(name, spec)| spec.default.is_none() && !request.params.contains_key(*name))
    {
        let message = format!("role `{}` needs parameter `{name}`", role.name);
        let help = format!("Add `params: {{ {name}: … }}`. {}", spec.description);
        findings.push(finding(request, "", Code::MissingParam, message, help.trim()));
    }
}

fn list<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.take(20).collect();
    names.join(", ")
}

fn finding(request: &Request, field: &str, code: Code, message: String, help: &str) -> Finding {
    let (file, help) = (request.path(), help.to_owned());
    Finding { file, place: request.place(field), severity: Severity::Error, code, message, help }
}
