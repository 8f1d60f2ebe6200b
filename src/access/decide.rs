//! The decision about a pull request: one value that explains itself.
//!
//! Check run, comment, command line and audit events are views of it. It is a function of the policy, the facts and the time,
//! and of nothing else; what was decided before plays no part.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;

use super::approval::{self, ApprovalStatus, Ballot, Involved, Involvement, StageState};
use super::case::{Case, PullFacts, finding};
use super::entitlements::{self, Recipient};
use super::extension::Extension;
use super::facts::Account;
use super::grant::{Grant, GrantId, Window};
use super::history;
use super::machine;
use super::principals::includes;
use crate::mutants::{self, Mutant};
use crate::policy::condition::{PullRequestScope, RequestScope, RoleScope, Scope, SubjectScope};
use crate::policy::entitlement::Entitlement;
use crate::policy::model::{Approval, Person, Role};
use crate::policy::{Code, Finding, Place, Policy, Request, Severity, judge};

/// Where a decision stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It breaks a rule: see the findings.
    Refused,
    /// An eligible approver says no.
    Objected,
    /// Approvals are missing.
    Waiting,
    /// It may be merged.
    Approved,
}

/// The decision about one request.
#[derive(Debug, Clone)]
pub struct Decision {
    /// What is asked for.
    pub request: Request,
    /// Who asks: the author of the pull request; `None` if the account is gone.
    pub requester: Option<Account>,
    /// Who would get access; `None` if there is no such account.
    pub subject: Option<Account>,
    /// What breaks a rule; with an error among them the request is refused.
    pub findings: Vec<Finding>,
    /// What the role's conditions say, in the policy's order; empty if the role or the subject is unknown.
    pub conditions: Vec<Evaluated>,
    /// Where its approval stands; `None` if the role is unknown.
    pub approval: Option<ApprovalStatus>,
    /// What exactly would be granted.
    pub entitlements: Vec<Entitlement>,
    /// The running grant it takes the place of, which ends with the merge.
    pub replaces: Option<Grant>,
    /// The running grant it extends, if it does.
    pub extends: Option<Extension>,
    /// When access would be due if it were merged at the time of the judgement (or was merged then).
    pub window: Window,
}

/// A condition of a role, with what it gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evaluated {
    /// The expression.
    pub source: String,
    /// True or false, or why it cannot be evaluated, which refuses the request.
    pub value: Result<bool, String>,
}

impl Decision {
    /// Where it stands.
    pub fn verdict(&self) -> Verdict {
        match &self.approval {
            _ if has_error(&self.findings) => Verdict::Refused,
            None => Verdict::Refused,
            Some(approval) => verdict_of(approval),
        }
    }
}

/// Where an approval stands, as a verdict.
pub fn verdict_of(approval: &ApprovalStatus) -> Verdict {
    if approval.is_satisfied() {
        Verdict::Approved
    } else if !approval.objections.is_empty() {
        Verdict::Objected
    } else {
        Verdict::Waiting
    }
}

/// Whether any of the findings makes its input invalid.
pub fn has_error(findings: &[Finding]) -> bool {
    findings.iter().any(|finding| finding.severity == Severity::Error)
}

/// Judges one request of a pull request.
pub fn decide(request: &Request, case: Case<'_>) -> Decision {
    let judged_at = case.merged_at().unwrap_or(case.now);
    let window = match &case.facts.extends {
        Some(extension) => extension.window(judged_at, request.duration),
        None => Window::new(judged_at, request.start, request.duration),
    };
    let mut decision = Decision {
        request: request.clone(),
        requester: case.facts.requester().cloned(),
        subject: None,
        findings: judge::judge(request, case.policy),
        conditions: Vec::new(),
        approval: None,
        entitlements: Vec::new(),
        replaces: None,
        extends: case.facts.extends.clone(),
        window,
    };
    let Some(author) = case.facts.requester().cloned() else {
        decision.findings.push(finding(
            request,
            "",
            Code::UnknownAccount,
            "the account that opened this pull request no longer exists".to_owned(),
            "Open the request again from a living account.",
        ));
        return decision;
    };
    let subject = match (&case.facts.extends, &request.subject) {
        (Some(extension), _) => Some(extension.subject.clone()),
        (None, None) => Some(author.clone()),
        (None, Some(login)) => case.directory.account(login).cloned(),
    };
    let Some(subject) = subject else {
        let login = request.subject.as_ref().map(ToString::to_string).unwrap_or_default();
        decision.findings.push(finding(
            request,
            "subject",
            Code::UnknownAccount,
            format!("`{login}` is not an account on this GitHub"),
            "Check the spelling of the login.",
        ));
        return decision;
    };
    decision.subject = Some(subject.clone());
    let Some(role) = case.policy.roles.get(&request.role) else { return decision };
    decision.findings.extend(eligibility(request, role, &author, &subject, case));
    let scope = scope(request, role, &author, &subject, case);
    let (evaluated, unmet) = conditions(request, role, &scope);
    decision.conditions = evaluated;
    decision.findings.extend(unmet);
    let nobody = Person::default();
    let recipient = Recipient {
        subject: &subject,
        person: case.policy.people.get(&subject.login).unwrap_or(&nobody),
        grant: &GrantId { slug: request.slug.clone(), pull_request: case.facts.pull.number },
        window,
    };
    let (entitlements, obstacles) = entitlements::render(role, &scope, recipient);
    decision.entitlements = entitlements;
    if case.merged_at().is_none() {
        decision.findings.extend(unconfigured(request, &decision.entitlements, case.policy));
    }
    decision.findings.extend(obstacles.into_iter().map(|obstacle| about_request(request, obstacle)));
    decision.findings.extend(planning(request, judged_at));
    decision.findings.extend(history::refusals(request, role, (&subject, window), case));
    let (involved, unknown) = involved(case.facts, Some(&subject), case);
    decision.findings.extend(unknown);
    let mut approval = approve(request, role, &involved, &scope, case);
    if author.bot || subject.bot {
        let sponsored = machine::sponsor(role, &mut approval, ballot(&involved, case));
        decision.findings.extend(machine::refusals(request, role, sponsored));
    }
    decision.findings.extend(approval_findings(request, &approval));
    decision.approval = Some(approval);
    decision
}

/// Whether these people may ask for the role at all.
pub(super) fn eligibility(
    request: &Request,
    role: &Role,
    author: &Account,
    subject: &Account,
    case: Case<'_>,
) -> Option<Finding> {
    let (policy, directory) = (case.policy, case.directory);
    let may_have = |account: &Account| match (&role.break_glass, request.break_glass) {
        (Some(_), true) if mutants::is(Mutant::BreakAnyGlass) => true,
        (Some(path), true) => includes(&path.requesters, account, policy, directory),
        _ => includes(&role.requesters, account, policy, directory),
    };
    let who = if request.break_glass {
        role.break_glass.as_ref().map(|path| &path.requesters).unwrap_or(&role.requesters)
    } else {
        &role.requesters
    };
    if author != subject && !includes(&role.may_request_for, author, policy, directory) {
        return Some(finding(
            request,
            "subject",
            Code::OnBehalfNotAllowed,
            format!("`{}` may not request role `{}` for somebody else", author.login, role.name),
            &format!("Ask `{}` to open the pull request, or leave `subject` out to ask for yourself.", subject.login),
        ));
    }
    // Nor is an emergency somebody else's.
    let may_ask = |account: &Account| !request.break_glass || may_have(account);
    if may_have(subject) && may_ask(author) {
        return None;
    }
    let subject = if may_have(subject) { author } else { subject };
    let names: Vec<String> = who.iter().map(|principal| format!("`{principal}`")).collect();
    let path = if request.break_glass { " by break-glass" } else { "" };
    Some(finding(
        request,
        if request.subject.is_some() { "subject" } else { "role" },
        Code::RequesterNotAllowed,
        format!("`{}` may not have role `{}`{path}", subject.login, role.name),
        &format!("It is for {}.", if names.is_empty() { "nobody".to_owned() } else { names.join(", ") }),
    ))
}

/// What the role's conditions say about the request, and what is wrong with it for that.
pub(super) fn conditions(request: &Request, role: &Role, scope: &Scope) -> (Vec<Evaluated>, Vec<Finding>) {
    let (mut evaluated, mut findings) = (Vec::new(), Vec::new());
    for condition in &role.conditions {
        let source = condition.expression.source();
        let field = field_in(request, source);
        let value = condition.expression.is_true(scope);
        evaluated
            .push(Evaluated { source: source.to_owned(), value: value.clone().map_err(|error| error.to_string()) });
        match value {
            Ok(true) => {}
            Ok(false) => {
                let message =
                    condition.message.clone().unwrap_or_else(|| format!("role `{}` requires {source}", role.name));
                let help = format!("Role `{}` demands that this is true: {source}", role.name);
                findings.push(finding(request, field, Code::ConditionFalse, message, &help));
            }
            Err(error) => findings.push(finding(
                request,
                field,
                Code::ConditionFailed,
                format!("a condition of role `{}` cannot be evaluated, which counts as no: {error}", role.name),
                &format!("The condition is: {source}. If the request is right, a policy owner has to mend it."),
            )),
        }
    }
    (evaluated, findings)
}

/// How far ahead access can be planned: approval ages.
const FURTHEST_START: TimeDelta = TimeDelta::days(90);

/// Whether a planned window can still, or already, be asked for.
fn planning(request: &Request, judged_at: DateTime<Utc>) -> Option<Finding> {
    let start = request.start?;
    let (code, message) = if start > judged_at + FURTHEST_START {
        (Code::StartTooFar, format!("the start lies more than {} days ahead", FURTHEST_START.num_days()))
    } else if Window::new(start, None, request.duration).ends_at <= judged_at {
        (Code::WindowOver, "the window is over already".to_owned())
    } else {
        return None;
    };
    Some(finding(request, "start", code, message, code.explanation()))
}

/// Access to systems the server does not know cannot be given. What was merged before is not undone by this: it waits.
fn unconfigured(request: &Request, entitlements: &[Entitlement], policy: &Policy) -> Vec<Finding> {
    let targets: BTreeSet<_> = entitlements.iter().map(|entitlement| &entitlement.target).collect();
    let unknown = targets.into_iter().filter(|target| policy.unconfigured.contains(*target));
    unknown
        .map(|target| {
            let message =
                format!("role `{}` is on target `{target}`, which is not configured on the server", request.role);
            finding(request, "role", Code::TargetNotConfigured, message, Code::TargetNotConfigured.explanation())
        })
        .collect()
}

/// The field of the request that a condition names first, so that the finding can point at its line.
fn field_in<'a>(request: &'a Request, condition: &str) -> &'a str {
    let named = condition.split("request.").skip(1).map(|rest| {
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
        rest.get(..end).unwrap_or_default()
    });
    named.filter_map(|name| request.places.get_key_value(name)).map(|(name, _)| name.as_str()).next().unwrap_or("")
}

/// What expressions see.
pub(super) fn scope(request: &Request, role: &Role, author: &Account, subject: &Account, case: Case<'_>) -> Scope {
    let groups = case.policy.groups.iter();
    Scope {
        request: RequestScope {
            subject: subject.login.to_string(),
            role: role.name.to_string(),
            duration: request.duration,
            reason: request.reason.clone(),
            ticket: request.ticket.clone().unwrap_or_default(),
            start: request.start,
            break_glass: request.break_glass,
            params: judge::params_of(request, role)
                .into_iter()
                .map(|(name, value)| (name.to_string(), value))
                .collect(),
        },
        subject: SubjectScope {
            login: subject.login.to_string(),
            teams: case
                .directory
                .teams
                .keys()
                .filter(|slug| case.directory.in_team(subject, slug))
                .map(ToString::to_string)
                .collect(),
            missing_teams: {
                let missing = case.directory.teams.iter().filter(|(_, members)| members.is_none());
                missing.map(|(slug, _)| slug.to_string()).collect()
            },
            groups: groups
                .filter(|(_, members)| includes(members, subject, case.policy, case.directory))
                .map(|(name, _)| name.to_string())
                .collect(),
            person: case.policy.people.get(&subject.login).cloned().unwrap_or_default(),
        },
        role: RoleScope {
            name: role.name.to_string(),
            risk: role.risk.as_str(),
            description: role.description.clone(),
        },
        now: case.merged_at().unwrap_or(case.now),
        pull_request: PullRequestScope { number: case.facts.pull.number, author: author.login.to_string() },
    }
}

/// Everyone with a hand in the pull request; a commit whose author nobody can name is a finding, for an approver could hide
/// behind it.
pub fn involved(facts: &PullFacts, subject: Option<&Account>, case: Case<'_>) -> (Involved, Vec<Finding>) {
    let mut involved = Involved::default();
    let mut findings = Vec::new();
    for requester in facts.requester().into_iter().chain(&facts.pull.author) {
        involved.add(requester, Involvement::Requester);
    }
    if let Some(subject) = subject {
        involved.add(subject, Involvement::Subject);
    }
    for commit in &facts.commits {
        for account in [&commit.author, &commit.committer].into_iter().flatten() {
            involved.add(account, Involvement::Contributor);
        }
        for login in commit.coauthors.iter().filter(|_| !mutants::is(Mutant::CountCoauthors)) {
            involved.add_login(login, Involvement::Contributor);
        }
        for (login, person) in &case.policy.people {
            let named = person.email.as_ref().is_some_and(|email| commit.emails.contains(&email.to_ascii_lowercase()));
            if named {
                involved.add_login(login, Involvement::Contributor);
            }
        }
        for id in &commit.coauthor_ids {
            involved.add_id(*id, Involvement::Contributor);
        }
        if commit.author.is_none() || commit.committer.is_none() {
            findings.push(Finding {
                file: String::new(),
                place: Place::default(),
                severity: Severity::Error,
                code: Code::CommitAuthorUnknown,
                message: format!("GitHub knows no account for the author or committer of commit {}", commit.id.short()),
                help: "Set `git config user.email` to an address of your GitHub account, then amend the commit and push again."
                    .to_owned(),
            });
        }
    }
    for pusher in &facts.history.pushers {
        involved.add(pusher, Involvement::Pusher);
    }
    (involved, findings)
}

fn approve(request: &Request, role: &Role, involved: &Involved, scope: &Scope, case: Case<'_>) -> ApprovalStatus {
    let rule = case.policy.approvals.get(&role.approval).filter(|_| !request.break_glass);
    let none = Approval { name: role.approval.clone(), stages: Vec::new(), distinct: true, cool_down: None };
    approval::judge(rule.unwrap_or(&none), ballot(involved, case), Some(scope))
}

pub(super) fn ballot<'a>(involved: &'a Involved, case: Case<'a>) -> Ballot<'a> {
    Ballot {
        policy: case.policy,
        directory: case.directory,
        reviews: &case.facts.reviews,
        head: &case.facts.pull.head,
        involved,
        opened_at: case.facts.history.asked_since.unwrap_or_default().max(case.facts.pull.created_at),
        merged_at: case.merged_at(),
        now: case.now,
    }
}

/// Stages nobody can satisfy, said before anybody waits for them.
fn approval_findings(request: &Request, approval: &ApprovalStatus) -> Vec<Finding> {
    let mut findings = Vec::new();
    for stage in &approval.stages {
        if let StageState::Failed(error) = &stage.state {
            findings.push(finding(
                request,
                "role",
                Code::ConditionFailed,
                format!(
                    "the condition of approval stage `{}` cannot be evaluated, which counts as no: {error}",
                    stage.name
                ),
                "A policy owner has to mend the stage's `when`.",
            ));
        }
        if stage.out_of_reach {
            let could = stage.candidates.len() + stage.approvals.len();
            let names: Vec<String> = stage.approvers.iter().map(|principal| format!("`{principal}`")).collect();
            findings.push(finding(
                request,
                "role",
                Code::NobodyCanApprove,
                format!(
                    "approval stage `{}` needs {} but only {could} could give it: whoever asks or contributed cannot approve",
                    stage.name, stage.required
                ),
                &format!("A policy owner adds people to {}, or somebody else opens the request.", names.join(", ")),
            ));
        }
    }
    findings
}

/// A finding about the policy, told to the person who asked: annotations must point into the pull request.
pub(super) fn about_request(request: &Request, policy: Finding) -> Finding {
    let place = request.place("role");
    let message = format!("{} ({}:{})", policy.message, policy.file, policy.place.line);
    Finding { file: request.path(), place, message, ..policy }
}

/// The decision about a pull request that changes the policy: approved under the rule of the *base* policy.
pub fn policy_change(case: Case<'_>) -> Result<(ApprovalStatus, Vec<Finding>), Finding> {
    let rule = case.policy.settings.policy_approval.as_ref().and_then(|name| case.policy.approvals.get(name));
    // A rule without stages would let anybody change who may do what.
    let Some(rule) = rule.filter(|rule| !rule.stages.is_empty()) else {
        return Err(Finding {
            file: "policies".to_owned(),
            place: Place::default(),
            severity: Severity::Error,
            code: Code::PolicyChangeNotAllowed,
            message: "the policy names no `settings.policy_approval` with a stage, so nobody can approve changes to it"
                .to_owned(),
            help: "An administrator adds the setting on the default branch, and an operator of Daypass runs `daypass policy trust COMMIT`.".to_owned(),
        });
    };
    let (involved, findings) = involved(case.facts, None, case);
    Ok((approval::judge(rule, ballot(&involved, case), None), findings))
}
