//! Why a decision is as it is: a tree of everything that was asked, with the answer to each.
//!
//! The tree is built from a [`Decision`]. The comment on a pull request and `daypass explain` are two views of it. Where facts are
//! missing, [`explain`] judges the request in each world that could be, and says of what differs between them that it is not known.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use serde::{Serialize, Serializer};

use super::approval::{ApprovalStatus, Discount, StageState, StageStatus};
use super::decide::{Decision, Verdict};
use super::given::{self, Accounts};
use super::grant::{Grant, Window};
use super::principals::Needs;
use super::text::{Text, when};
use crate::policy::model::{Requirement, Role};
use crate::policy::name::{ApprovalName, Login, StageName, TeamSlug};
use crate::policy::testcase::Given;
use crate::policy::{Code, Duration, Finding, Policy, Principal, Request, Severity, render};

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
    /// When, if it is open.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<DateTime<Utc>>,
    /// By whom, as the policy writes it.
    pub to: BTreeSet<Principal>,
    /// The people among them who could approve then.
    pub people: Vec<Login>,
}

/// Explains what the policy says to a request that `author` would make, as far as it can be told from what is given. Teams that
/// are not given are unknown, not empty.
pub fn explain(request: &Request, author: &Login, given: &Given, policy: &Policy, now: DateTime<Utc>) -> Tree {
    let accounts = Accounts::new(request, author, given, policy);
    let needs = given::needs(request, &accounts.pull(author, given, now), policy);
    let missing: BTreeSet<TeamSlug> = needs.teams.into_iter().filter(|team| !given.teams.contains_key(team)).collect();
    let with = |teams: &[&TeamSlug]| {
        let mut world = given.clone();
        for team in teams {
            let people = [Some(author), request.subject.as_ref()].into_iter().flatten();
            world.teams.insert((*team).clone(), people.map(|login| login.clone().into()).collect());
        }
        Tree::of(&given::judge(request, author, &world, policy, now), policy)
    };
    let mut tree = with(&[]);
    if !missing.is_empty() {
        let worlds: Vec<Tree> = memberships(&missing).iter().map(|teams| with(teams)).collect();
        tree.doubt(&worlds, &missing, policy);
    }
    if given.members.is_none() {
        let people = [request.subject.as_ref(), Some(author).filter(|author| request.subject.as_ref() != Some(author))];
        let people = people.into_iter().flatten();
        tree.unknown.push(
            Text::new()
                .words("whether these have an account and are members of the organisation, which is assumed: ")
                .names(people),
        );
    }
    tree
}

/// The sets of these teams somebody could be in: all there are, or, of more than six teams, those that differ most.
fn memberships(teams: &BTreeSet<TeamSlug>) -> Vec<Vec<&TeamSlug>> {
    let teams: Vec<&TeamSlug> = teams.iter().collect();
    if teams.len() <= 6 {
        let chosen = |set: usize| (0..teams.len()).filter(move |index| set & (1 << index) != 0);
        return (0..1 << teams.len())
            .map(|set| chosen(set).filter_map(|index| teams.get(index).copied()).collect())
            .collect();
    }
    let one = teams.iter().map(|team| vec![*team]);
    let all_but_one = (0..teams.len()).map(|left_out| {
        let kept = teams.iter().enumerate().filter(move |(index, _)| *index != left_out);
        kept.map(|(_, team)| *team).collect()
    });
    one.chain(all_but_one).chain([teams.clone()]).collect()
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

    /// Says of what is otherwise in one of the other worlds that it is not known. They differ only in who is in `missing`.
    fn doubt(&mut self, worlds: &[Self], missing: &BTreeSet<TeamSlug>, policy: &Policy) {
        let depends = |principals: &BTreeSet<Principal>| !teams_of(principals, policy).is_disjoint(missing);
        let (mut perhaps_reached, mut never_reached) = (false, false);
        for (index, stage) in self.approval.iter_mut().flat_map(|approval| &mut approval.stages).enumerate() {
            let others = worlds.iter().filter_map(|world| world.approval.as_ref()?.stages.get(index));
            if others.into_iter().any(|other| other.status != stage.status) {
                stage.status = Status::Unknown;
            }
            stage.unlisted = teams_of(&stage.approvers, policy).intersection(missing).cloned().collect();
            let widest =
                stage.approvers.iter().chain(stage.later.iter().flat_map(|later| &later.to)).cloned().collect();
            if stage.out_of_reach && depends(&widest) {
                stage.out_of_reach = false;
                perhaps_reached = true;
            }
            never_reached |= stage.out_of_reach;
        }
        for (index, rule) in self.rules.iter_mut().enumerate() {
            let others: Vec<&Rule> = worlds.iter().filter_map(|world| world.rules.get(index)).collect();
            let people = rule.findings.iter().any(|finding| finding.code == Code::NobodyCanApprove);
            if others.iter().any(|other| other.status != rule.status) || (people && perhaps_reached && !never_reached) {
                rule.status = Status::Unknown;
                if let (true, Some(other)) =
                    (rule.findings.is_empty(), others.iter().find(|rule| !rule.findings.is_empty()))
                {
                    rule.findings.clone_from(&other.findings);
                }
            }
        }
        if worlds.iter().any(|world| world.entitlements != self.entitlements) {
            self.unknown.push(Text::new().words("what is granted, which depends on these teams"));
        }
        let teams = missing.iter().map(|team| Principal::Team(team.clone()));
        self.unknown.insert(0, Text::new().words("who is in ").names(teams));
        if self.verdict == Verdict::Refused && self.is_allowed() {
            self.verdict = Verdict::Waiting;
        }
    }
}

fn teams_of(principals: &BTreeSet<Principal>, policy: &Policy) -> BTreeSet<TeamSlug> {
    let mut needs = Needs::default();
    needs.add(principals, policy);
    needs.teams
}

fn summary(decision: &Decision) -> Vec<Row> {
    let request = &decision.request;
    let who = decision.subject.as_ref().map_or_else(|| "?".to_owned(), |subject| subject.login.to_string());
    let period = match request.start {
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
    if let Some(grant) = &decision.replaces {
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
        if decision.subject.is_some() {
            rules.push(eligibility(decision, role, &mut findings));
        }
        about_request(request, role, &mut rules, &mut findings);
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
            let stages = decision.approval.as_ref().is_some_and(|approval| !approval.stages.is_empty());
            let text = if stages { "enough people could approve each stage" } else { "no approval is needed" };
            rules.push(Rule::new(Text::new().words(text), findings.take(&codes)));
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
        Err(error) => expression.words(" cannot be evaluated, which counts as false: ").foreign(error),
    }
}

fn eligibility(decision: &Decision, role: &Role, findings: &mut Findings) -> Rule {
    let path = role.break_glass.as_ref().filter(|_| decision.request.break_glass);
    let who = path.map_or(&role.requesters, |path| &path.requesters);
    let subject = decision.subject.as_ref().map(|subject| subject.login.to_string()).unwrap_or_default();
    let by = if path.is_some() { " by break-glass" } else { "" };
    let text = Text::new().name(subject).words(format!(" may have it{by}: it is for "));
    let text = if who.is_empty() { text.words("nobody") } else { text.names(who) };
    let codes = [Code::RequesterNotAllowed, Code::OnBehalfNotAllowed];
    Rule::new(text, findings.take(&codes))
}

/// What can be told from the request alone.
fn about_request(request: &Request, role: &Role, rules: &mut Vec<Rule>, findings: &mut Findings) {
    if request.break_glass {
        let text = Text::new().words("the role has an emergency path");
        rules.push(Rule::new(text, findings.take(&[Code::BreakGlassNotAllowed])));
    }
    let path = role.break_glass.as_ref().filter(|_| request.break_glass);
    let ceiling = path.map_or(role.max_duration, |path| path.max_duration);
    let text = Text::new().name(request.duration).words(" is no longer than ").name(ceiling);
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
        let later = stage.escalation.as_ref().filter(|_| stage.escalated_at.is_none()).map(|escalation| Later {
            after: escalation.after,
            at: stage.escalates_at,
            to: escalation.to.clone(),
            people: people(&stage.later),
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
            out_of_reach: stage.is_out_of_reach(),
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
                (Some(at), _) => text.words(format!("; widened at {}", when(at))),
                (None, Some(at)) => text.words(format!("; widens at {}", when(at))),
                (None, None) => text,
            }
        }
        StageState::Waiting => name.words(": after the stage before it").then(given).words(". ").then(approvers(stage)),
    }
}

/// Who may approve: how many of whom, and which people that is.
fn approvers(stage: &StageStatus) -> Text {
    let text = if stage.required == 1 { Text::new() } else { Text::new().words(format!("{} of ", stage.required)) };
    let text = text.names(&stage.approvers);
    if stage.candidates.is_empty() {
        return text;
    }
    let text = text.words(": ").names(stage.candidates.iter().take(10).map(|person| &person.login));
    match stage.candidates.len().saturating_sub(10) {
        0 => text,
        more => text.words(format!(" and {more} more")),
    }
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::access::decide::has_error;
    use crate::policy::testcase::read_given;

    const POLICY: &str = r#"
people:
  ann: { postgres: ann, email: ann@example.com }
  ben: { postgres: ben }
groups:
  owners: [user:ben, team:owners]
targets: { db: postgres, hub: github }
roles:
  reader:
    requesters: [team:devs, user:ben]
    may_request_for: [team:leads]
    max_duration: 2h
    requires: [ticket]
    conditions:
      - expr: request.ticket.startsWith('T-')
      - expr: "!('owners' in subject.groups) || request.duration <= duration('1h')"
      - expr: size(subject.teams) != 2
    approval: two
    params: { service: { one_of: [a, b], default: a } }
    break_glass: { requesters: [team:leads], max_duration: 30m }
    entitlements:
      - postgres: { target: db, role: 'reader_${params.service}' }
  viewer:
    requesters: [everyone]
    approval: none
    entitlements:
      - github: { target: hub, team: "${subject.login == 'cat' ? 'a b' : 'viewers'}" }
approvals:
  none: { stages: [] }
  two:
    stages:
      - { name: owner, approvers: [group:owners], escalate: { after: 30m, to: [team:leads] } }
      - { name: lead, when: "request.duration > duration('1h') && !('leads' in subject.teams)", approvers: [team:leads] }
"#;

    fn policy() -> Policy {
        let loaded = crate::policy::load(&[("policies/p.yaml".to_owned(), POLICY.as_bytes().to_vec())].into(), None);
        loaded.policy.unwrap_or_else(|| panic!("{:#?}", loaded.findings))
    }

    fn given(text: &str) -> Given {
        read_given("given.yaml", text.as_bytes()).unwrap()
    }

    fn now() -> DateTime<Utc> {
        "2026-11-30T10:00:00Z".parse().unwrap()
    }

    fn request(text: &str) -> Request {
        crate::policy::request::read("grants/x.yaml", text.as_bytes(), None).unwrap()
    }

    prop_compose! {
        fn requests()(
            subject in prop::sample::select(vec!["ann", "ben", "cat", "ghost", "app[bot]"]),
            role in prop::sample::select(vec!["reader", "viewer", "raeder"]),
            duration in prop::sample::select(vec!["20m", "1h", "90m", "3h"]),
            rest in prop::sample::subsequence(
                vec!["ticket: T-1", "break_glass: true", "params: { service: c }", "start: 2026-12-01T00:00:00Z"], 0..=4),
        ) -> Request {
            request(&format!("subject: '{subject}'\nrole: {role}\nduration: {duration}\nreason: x\n{}\n", rest.join("\n")))
        }
    }

    prop_compose! {
        /// Some of the teams, with some people in each.
        fn facts()(
            teams in prop::collection::btree_map(
                prop::sample::select(vec!["devs", "leads", "owners"]),
                prop::sample::subsequence(vec!["ann", "ben", "cat", "dan"], 0..=4), 0..=3),
            rest in prop::sample::subsequence(
                vec!["approved_by: [ben]", "changes_requested_by: [dan]", "commits_by: [cat]", "elapsed: 1h"], 0..=4),
        ) -> Given {
            let teams: Vec<String> = teams.iter().map(|(team, people)| format!("{team}: [{}]", people.join(", "))).collect();
            given(&format!("unknown_accounts: [ghost]\nteams: {{ {} }}\n{}\n", teams.join(", "), rest.join("\n")))
        }
    }

    proptest! {
        #[test]
        fn every_finding_is_told_once_and_decides(
            request in requests(), given in facts(),
            author in prop::sample::select(vec!["ann", "ben", "ghost"]),
        ) {
            let policy = policy();
            let decision = given::judge(&request, &author.parse().unwrap(), &given, &policy, now());
            let tree = Tree::of(&decision, &policy);
            let mut told: Vec<Finding> = tree.rules.iter().flat_map(|rule| rule.findings.clone()).collect();
            let mut found = decision.findings.clone();
            told.sort();
            found.sort();
            prop_assert_eq!(told, found);
            prop_assert_eq!(tree.is_allowed(), !has_error(&decision.findings));
        }

        #[test]
        fn what_is_said_to_be_known_holds_whoever_is_in_the_other_teams(
            request in requests(), known in facts(), others in facts(),
        ) {
            let policy = policy();
            let author = request.subject.clone().unwrap();
            let told = explain(&request, &author, &known, &policy, now());
            let mut world = known.clone();
            for (team, people) in others.teams {
                world.teams.entry(team).or_insert(people);
            }
            let truth = Tree::of(&given::judge(&request, &author, &world, &policy, now()), &policy);
            for (told, truth) in told.rules.iter().zip(&truth.rules) {
                prop_assert!(told.status == Status::Unknown || told.status == truth.status, "{told:?} but {truth:?}");
            }
            let stages = |tree: &Tree| tree.approval.clone().map(|approval| approval.stages).unwrap_or_default();
            for (told, truth) in stages(&told).iter().zip(&stages(&truth)) {
                // Who approved may turn out to be an approver.
                let same = told.status == truth.status || told.status == Status::Unknown || !known.approved_by.is_empty();
                prop_assert!(same, "{told:?} but {truth:?}");
            }
        }
    }

    #[test]
    fn a_team_nobody_gave_is_unknown_and_an_empty_one_is_empty() {
        let (policy, ann) = (policy(), "ann".parse().unwrap());
        let text = request("subject: ann\nrole: reader\nduration: 1h\nreason: x\nticket: T-1\n");
        let status = |given: &Given| {
            let tree = explain(&text, &ann, given, &policy, now());
            tree.rules.into_iter().find(|rule| rule.text.to_string().starts_with("ann may have it")).unwrap().status
        };
        assert_eq!(status(&Given::default()), Status::Unknown);
        assert_eq!(status(&given("teams: { devs: [] }")), Status::Failed);
        assert_eq!(status(&given("teams: { devs: [ann] }")), Status::Passed);
    }

    #[test]
    fn a_stage_tells_who_can_approve_now_and_later() {
        let (policy, ann) = (policy(), "ann".parse().unwrap());
        let text = request("subject: ann\nrole: reader\nduration: 1h\nreason: x\nticket: T-1\n");
        let facts = given("teams: { devs: [ann], owners: [cat, ann], leads: [dan] }");
        let tree = explain(&text, &ann, &facts, &policy, now());
        let stages = tree.approval.unwrap().stages;
        let names = |logins: &[Login]| logins.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        assert_eq!(names(&stages[0].people), "ben cat", "ann does not approve her own request");
        let later = stages[0].later.as_ref().unwrap();
        assert_eq!((names(&later.people).as_str(), later.at), ("dan", Some("2026-11-30T10:30:00Z".parse().unwrap())));
        assert_eq!(
            (stages[1].status, stages[1].when.as_ref().unwrap().to_string().contains("is false")),
            (Status::Skipped, true)
        );
        assert_eq!(tree.revert_at, "2026-11-30T10:50:00Z".parse::<DateTime<Utc>>().unwrap());
    }
}
