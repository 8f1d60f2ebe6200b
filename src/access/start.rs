//! A planned grant is looked at again when it starts: approval on Monday does not give access on Friday to somebody who lost the
//! right to it on Tuesday, or under a policy that no longer gives it.

use super::case::{Case, finding};
use super::decide::{about_request, conditions, eligibility, has_error, scope};
use super::entitlements::{self, Recipient};
use super::grant::Grant;
use crate::policy::entitlement::Entitlement;
use crate::policy::model::Person;
use crate::policy::{Code, Finding, Request, judge};

/// What stands in the way of a planned grant now; nothing if it may start. `request` is its file, `case` the policy and the
/// memberships of today. Whoever approved it is not asked again.
pub fn obstacles(request: &Request, grant: &Grant, case: Case<'_>) -> Vec<Finding> {
    let mut findings = judge::judge(request, case.policy);
    findings.retain(|finding| has_error(std::slice::from_ref(finding)));
    let Some(role) = case.policy.roles.get(&request.role) else { return findings };
    let (author, subject) = (&grant.requester, &grant.subject);
    findings.extend(eligibility(request, role, author, subject, case));
    let scope = scope(request, role, author, subject, case);
    findings.extend(conditions(request, role, &scope).1);
    let nobody = Person::default();
    let recipient = Recipient {
        subject,
        person: case.policy.people.get(&subject.login).unwrap_or(&nobody),
        grant: &grant.id,
        window: grant.window,
    };
    let (given, problems) = entitlements::render(role, &scope, recipient);
    findings.extend(problems.into_iter().map(|problem| about_request(request, problem)));
    let missing: Vec<&Entitlement> = grant.entitlements.iter().filter(|approved| !given.contains(approved)).collect();
    if let Some(first) = missing.first().filter(|_| !has_error(&findings)) {
        let message = format!("role `{}` no longer gives {first}, which was approved", role.name);
        findings.push(finding(request, "role", Code::RoleChanged, message, Code::RoleChanged.explanation()));
    }
    findings
}
