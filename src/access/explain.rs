//! Why a decision is as it is: a tree of everything that was asked, with the answer to each.
//!
//! The tree is built from a [`Decision`]. The comment on a pull request and `daypass explain` are two views of it. Where facts are
//! missing, [`explain`] judges the request in each world that could be, and says of what differs between them that it is not known.

mod offline;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use serde::{Serialize, Serializer};

use super::approval::{ApprovalStatus, Discount, Parts, StageState, StageStatus};
use super::decide::{Decision, Verdict};
use super::grant::{Grant, Window};
use super::text::{Text, when};
use crate::policy::model::{Requirement, Role};
use crate::policy::name::{ApprovalName, Login, StageName, TeamSlug};
use crate::policy::{Code, Duration, Finding, Policy, Principal, Request, Severity, render};

pub use offline::explain;

/// The explanation of a decision about one request.
#[derive(Debug, Clone, Serialize)]
pub struct Tree {
    /// Where the request stands.
    pub verdict: Verdict,
    /// What is asked for and what it would give.
    pub summary: Vec<Row>,
    /// Every rule the request has to keep.
    pub rules: Vec<Rule>,
    /// Who has to agree; `None` if that cannot be told.
    pub approval: Option<ApprovalTree>,
    /// When access would begin and end if it were merged at the time of the judgement.
    pub window: Window,
    /// When the pull request that takes it back would be opened.
    pub revert_at: DateTime<Utc>,
    /// What exactly would be granted.
    pub entitlements: Vec<String>,
    /// What is not known, and was not guessed.
    pub unknown: Vec<Text>,
}

/// A line of the summary.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Row {
    /// What it is about.
    pub label: &'static str,
    /// What there is to say.
    pub text: Text,
}

/// A rule, and whether it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Rule {
    /// Whether it is kept.
    pub status: Status,
    /// What it says.
    pub text: Text,
    /// What is wrong; where the status is unknown, what would be.
    #[serde(skip_serializing_if = "Vec::is_empty", serialize_with = "as_printed")]
    pub findings: Vec<Finding>,
}

/// As every command prints findings in JSON.
fn as_printed<S: Serializer>(findings: &[Finding], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(findings.iter().map(render::json))
}

/// The answer to one question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Yes.
    Passed,
    /// No.
    Failed,
    /// It depends on facts that are missing.
    Unknown,
    /// It is not asked.
    Skipped,
    /// People can answer now.
    Open,
    /// Its turn has not come.
    Waiting,
}

/// An approval rule and where it stands.
#[derive(Debug, Clone, Serialize)]
pub struct ApprovalTree {
    /// The rule.
    pub rule: ApprovalName,
    /// Its stages in order.
    pub stages: Vec<StageNode>,
    /// Objections, and approvals that do not count.
    pub remarks: Vec<Text>,
}

/// A stage and where it stands.
#[derive(Debug, Clone, Serialize)]
pub struct StageNode {
    /// Its name.
    pub name: StageName,
    /// Where it stands.
    pub status: Status,
    /// The same in a sentence.
    pub text: Text,
    /// The condition under which it counts, with its value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub when: Option<Text>,
    /// How many people must approve.
    pub required: u32,
    /// Who may approve now, as the policy writes it.
    pub approvers: BTreeSet<Principal>,
    /// The people among them who could.
    pub people: Vec<Login>,
    /// Teams among the approvers whose members are not known.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub unlisted: BTreeSet<TeamSlug>,
    /// Who else may later.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub later: Option<Later>,
    /// Too few people could approve, ever.
    pub out_of_reach: bool,
}

/// How a stage will widen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Later {
    /// How long after it opens.
    pub after: Duration,
    /// Whether only working time counts.
    pub working_time: bool,
    /// When, if it is open.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<DateTime<Utc>>,
    /// By whom, as the policy writes it.
    pub to: BTreeSet<Principal>,
    /// The people among them who could approve then.
    pub people: Vec<Login>,
}

impl Tree {
    /// The explanation of a decision that was made under `policy`.
    pub fn of(decision: &Decision, policy: &Policy) -> Self {
        let lead = policy.settings.revert_lead_for(decision.request.duration);
        Self {
            verdict: decision.verdict(),
            summary: summary(decision),
            rules: rules(decision, policy),
            approval: decision.approval.as_ref().map(ApprovalTree::of),
            window: decision.window,
            revert_at: Grant::revert_at(decision.window, lead),
            entitlements: decision.entitlements.iter().map(ToString::to_string).collect(),
            unknown: Vec::new(),
        }
    }

    /// Whether no rule is broken, as far as is known.
    pub fn is_allowed(&self) -> bool {
        self.rules.iter().all(|rule| rule.status != Status::Failed)
    }
}

fn summary(decision: &Decision) -> Vec<Row> {
    let request = &decision.request;
    let who = decision.subject.as_ref().map_or_else(|| "?".to_owned(), |subject| subject.login.to_string());
    let period = match request.start {
        _ if decision.extends.is_some() => {
            format!("{} in all: until {}, and no gap before", request.duration, when(decision.window.ends_at))
        }
        Some(start) if decision.window.starts_at == start => {
            format!("{}, from {} to {}", request.duration, when(start), when(decision.window.ends_at))
        }
        _ => format!("{}, from the moment it is merged", request.duration),
    };
    let mut rows = vec![
        row("Who", Text::new().name(who)),
        row("Role", Text::new().name(&request.role)),
        row("For", Text::new().words(period)),
        row("Why", Text::new().foreign(&request.reason)),
    ];
    rows.extend(request.ticket.as_ref().map(|ticket| row("Ticket", Text::new().foreign(ticket))));
    if request.break_glass {
        rows.push(row("Emergency", Text::new().strong("break-glass").words(": no approval is awaited")));
    }
    for (name, value) in &request.params {
        rows.push(row("With", Text::new().name(name).words(" = ").name(value)));
    }
    if let Some(extension) = &decision.extends {
        let since = format!(", which runs since {} until {}", when(extension.chain.since), when(extension.until));
        rows.push(row("Extends", Text::new().name(&extension.chain.extends).words(since)));
    } else if let Some(grant) = &decision.replaces {
        let until = format!(", which would last until {}", when(grant.window.ends_at));
        rows.push(row("Ends", Text::new().name(&grant.role).words(" of ").name(&grant.subject.login).words(until)));
    }
    rows.extend(decision.entitlements.iter().map(|entitlement| row("Gives", Text::new().name(entitlement))));
    rows
}

fn row(label: &'static str, text: Text) -> Row {
    Row { label, text }
}

/// Hands out the findings of a decision to the rules they are about, so that each is told once.
struct Findings(Vec<Finding>);

impl Findings {
    fn take(&mut self, codes: &[Code]) -> Vec<Finding> {
        let (taken, left) = self.0.drain(..).partition(|finding| codes.contains(&finding.code));
        self.0 = left;
        taken
    }

    fn take_first(&mut self, codes: &[Code]) -> Vec<Finding> {
        let first = self.0.iter().position(|finding| codes.contains(&finding.code));
        first.map(|index| self.0.remove(index)).into_iter().collect()
    }
}

impl Rule {
    fn new(text: Text, findings: Vec<Finding>) -> Self {
        let broken = findings.iter().any(|finding| finding.severity == Severity::Error);
        Self { status: if broken { Status::Failed } else { Status::Passed }, text, findings }
    }
}

/// Every rule, in the order in which people think of them. Their number depends on the policy and the request alone, so that the
/// rules of two worlds can be compared; only what no rule claims comes after them.
fn rules(decision: &Decision, policy: &Policy) -> Vec<Rule> {
    let request = &decision.request;
    let mut findings = Findings(decision.findings.clone());
    let mut rules =
        vec![Rule::new(Text::new().words("there is a role ").name(&request.role), findings.take(&[Code::UnknownRole]))];
    if let Some(role) = policy.roles.get(&request.role) {
        rules.push(Rule::new(Text::new().words("the account exists"), findings.take(&[Code::UnknownAccount])));
        // Nothing else is asked about an account that does not exist.
        eligibility(decision, role, &mut rules, &mut findings);
        about_request(decision, role, &mut rules, &mut findings);
        about_history(request, role, policy, &mut rules, &mut findings);
        if decision.subject.is_some() {
            rules.extend(decision.conditions.iter().map(|condition| {
                let text = Text::new().words("condition ").name(&condition.source);
                let unmet = match condition.value {
                    Ok(true) => Vec::new(),
                    _ => findings.take_first(&[Code::ConditionFalse, Code::ConditionFailed]),
                };
                Rule::new(value_of(text, &condition.value), unmet)
            }));
            let codes = [Code::MappingMissing, Code::EntitlementFailed, Code::TargetNotConfigured];
            rules.push(Rule::new(Text::new().words("what it gives can be worked out"), findings.take(&codes)));
            let codes = [Code::NobodyCanApprove, Code::ConditionFailed];
            if decision.approval.as_ref().is_some_and(|approval| !approval.stages.is_empty()) {
                rules.push(Rule::new(
                    Text::new().words("enough people could approve each stage"),
                    findings.take(&codes),
                ));
            }
        }
    }
    rules.extend(findings.0.into_iter().map(|finding| {
        let text = Text::new().words(finding.code.title());
        Rule::new(text, vec![finding])
    }));
    rules
}

fn value_of(expression: Text, value: &Result<bool, String>) -> Text {
    match value {
        Ok(value) => expression.words(format!(" is {value}")),
        Err(error) => expression.words(" cannot be evaluated, which refuses the request: ").foreign(error),
    }
}

/// Whether these people may ask for the role at all.
fn eligibility(decision: &Decision, role: &Role, rules: &mut Vec<Rule>, findings: &mut Findings) {
    let (Some(requester), Some(subject)) = (&decision.requester, &decision.subject) else { return };
    let listed = |text: Text, who: &BTreeSet<Principal>| match who.is_empty() {
        true => text.words("nobody"),
        false => text.names(who),
    };
    let mut asked = true;
    if requester != subject {
        let text = Text::new().name(&requester.login).words(" may ask for somebody else: that is for ");
        let rule = Rule::new(listed(text, &role.may_request_for), findings.take(&[Code::OnBehalfNotAllowed]));
        asked = rule.status == Status::Passed;
        rules.push(rule);
    }
    let path = role.break_glass.as_ref().filter(|_| decision.request.break_glass);
    let who = path.map_or(&role.requesters, |path| &path.requesters);
    let by = if path.is_some() { " by break-glass" } else { "" };
    let text = Text::new().name(&subject.login).words(format!(" may have it{by}: it is for "));
    let rule = Rule::new(listed(text, who), findings.take(&[Code::RequesterNotAllowed]));
    rules.push(Rule { status: if asked { rule.status } else { Status::Skipped }, ..rule });
}

/// What can be told from the request alone.
fn about_request(decision: &Decision, role: &Role, rules: &mut Vec<Rule>, findings: &mut Findings) {
    let request = &decision.request;
    let machine = [&decision.requester, &decision.subject].into_iter().flatten().any(|account| account.bot);
    if machine {
        let text = Text::new().words("a machine may ask like this, and a human has to approve");
        rules.push(Rule::new(text, findings.take(&[Code::MachineRefused])));
    }
    if request.break_glass {
        let text = Text::new().words("the role has an emergency path");
        rules.push(Rule::new(text, findings.take(&[Code::BreakGlassNotAllowed])));
    }
    let path = role.break_glass.as_ref().filter(|_| request.break_glass);
    let ceiling = path.map_or(role.max_duration, |path| path.max_duration);
    let ceiling = if machine { ceiling.min(role.machines.max_duration) } else { ceiling };
    let text = Text::new().name(request.duration).words(" is no longer than ").name(ceiling);
    let text = if machine { text.words(", for which a machine may have it") } else { text };
    rules.push(Rule::new(text, findings.take(&[Code::DurationTooLong])));
    for requirement in &role.requires {
        let (text, code) = match requirement {
            Requirement::Ticket => ("a ticket is named", Code::TicketMissing),
            Requirement::Start => ("a start is named", Code::StartMissing),
        };
        rules.push(Rule::new(Text::new().words(text), findings.take(&[code])));
    }
    if !role.params.is_empty() || !request.params.is_empty() {
        let text = Text::new().words("its parameters are those of the role");
        rules.push(Rule::new(text, findings.take(&[Code::UnknownParam, Code::MissingParam, Code::BadParam])));
    }
    if request.start.is_some() {
        let text = Text::new().words("the window is neither over nor too far away");
        rules.push(Rule::new(text, findings.take(&[Code::StartTooFar, Code::WindowOver])));
    }
}

/// What depends on what happened before, and goes on beside it. An emergency does not ask for it.
fn about_history(request: &Request, role: &Role, policy: &Policy, rules: &mut Vec<Rule>, findings: &mut Findings) {
    if request.break_glass {
        return;
    }
    if let Some(limit) = role.limit {
        let text = Text::new().words(format!("fewer than {limit} have it at that time"));
        rules.push(Rule::new(text, findings.take(&[Code::RoleFull])));
    }
    if let Some(cool_down) = policy.approvals.get(&role.approval).and_then(|rule| rule.cool_down) {
        let text = Text::new().words("it was not denied within the last ").name(cool_down);
        rules.push(Rule::new(text, findings.take(&[Code::DeniedRecently])));
    }
}

impl ApprovalTree {
    /// Where an approval stands.
    pub fn of(approval: &ApprovalStatus) -> Self {
        let objections = approval.objections.iter().map(|account| {
            Text::new()
                .name(&account.login)
                .words(" requested changes, which blocks the request until they approve or their review is dismissed.")
        });
        let discounted = approval
            .discounted
            .iter()
            .map(|review| discounted(review.by.as_ref().map(|account| &account.login), &review.why));
        Self {
            rule: approval.rule.clone(),
            stages: approval.stages.iter().map(StageNode::of).collect(),
            remarks: objections.chain(discounted).collect(),
        }
    }
}

impl StageNode {
    fn of(stage: &StageStatus) -> Self {
        let status = match &stage.state {
            StageState::Satisfied => Status::Passed,
            StageState::Skipped => Status::Skipped,
            StageState::Failed(_) => Status::Failed,
            StageState::Open => Status::Open,
            StageState::Waiting => Status::Waiting,
        };
        let condition = stage.when.as_ref().map(|source| {
            let value = match &stage.state {
                StageState::Skipped => Ok(false),
                StageState::Failed(error) => Err(error.clone()),
                _ => Ok(true),
            };
            value_of(Text::new().name(source), &value)
        });
        let people = |accounts: &BTreeSet<super::facts::Account>| {
            let mut logins: Vec<Login> = accounts.iter().map(|account| account.login.clone()).collect();
            logins.sort();
            logins
        };
        let later = stage.escalation.as_ref().map(|escalation| Later {
            after: escalation.after,
            working_time: escalation.calendar.is_some(),
            at: stage.escalates_at,
            to: escalation.to.clone(),
            people: people(&stage.next),
        });
        Self {
            name: stage.name.clone(),
            status,
            text: stage_text(stage),
            when: condition,
            required: stage.required,
            approvers: stage.approvers.clone(),
            people: people(&stage.candidates),
            unlisted: BTreeSet::new(),
            later,
            out_of_reach: stage.out_of_reach,
        }
    }
}

fn stage_text(stage: &StageStatus) -> Text {
    let name = Text::new().name(&stage.name);
    let given = if stage.approvals.is_empty() {
        Text::new()
    } else {
        Text::new().words(" (").names(stage.approvals.iter().map(|(by, _)| &by.login)).words(" approved)")
    };
    match &stage.state {
        StageState::Satisfied => name.then(given),
        StageState::Skipped => name.words(": not needed for this request"),
        StageState::Failed(error) => name.words(": its condition cannot be evaluated: ").foreign(error),
        StageState::Open => {
            let text = name.words(": open").then(given).words(". Approve with a code review: ").then(approvers(stage));
            match (stage.escalated_at, stage.escalates_at) {
                (Some(at), Some(again)) => {
                    text.words(format!("; widened at {}, and will again at {}", when(at), when(again)))
                }
                (Some(at), None) => text.words(format!("; widened at {}", when(at))),
                (None, Some(at)) => text.words(format!("; widens at {}", when(at))),
                (None, None) => text,
            }
        }
        StageState::Waiting => name.words(": after the stage before it").then(given).words(". ").then(approvers(stage)),
    }
}

/// Who may approve: how many of whom, and which people that is.
fn approvers(stage: &StageStatus) -> Text {
    let text = match &stage.parts {
        Some(parts) => parts_text(parts),
        None => some_of(stage.required, &stage.approvers),
    };
    if stage.candidates.is_empty() {
        return text;
    }
    let text = text.words(": ").names(stage.candidates.iter().take(10).map(|person| &person.login));
    match stage.candidates.len().saturating_sub(10) {
        0 => text,
        more => text.words(format!(" and {more} more")),
    }
}

/// So many of these.
fn some_of(required: u32, approvers: &BTreeSet<Principal>) -> Text {
    let text = if required == 1 { Text::new() } else { Text::new().words(format!("{required} of ")) };
    text.names(approvers)
}

fn parts_text(parts: &Parts) -> Text {
    let mut text = Text::new();
    for (index, part) in parts.parts.iter().enumerate() {
        if index > 0 {
            text = text.words(if parts.all { ", and " } else { ", or " });
        }
        text = text.then(some_of(part.required, &part.approvers));
    }
    text
}

fn discounted(login: Option<&Login>, why: &Discount) -> Text {
    let who = || match login {
        Some(login) => Text::new().name(login),
        None => Text::new().words("somebody whose account is gone"),
    };
    let text = Text::new().words("The approval of ").then(who());
    match why {
        Discount::Stale(_) => text.words(" was given before the last push and no longer counts; please review again."),
        Discount::Involved(how) => text.words(" does not count: ").then(who()).words(format!(" {}.", how.as_str())),
        Discount::NotAnApprover => {
            text.words(" does not count: ").then(who()).words(" is not an approver of this role.")
        }
        Discount::NotAPerson => text.words(" does not count: only people approve."),
        Discount::AfterMerge => text.words(" does not count: it was given after the merge."),
    }
}
