//! A policy after parsing and resolving: names point at things that exist, groups are flattened, expressions are compiled.
//!
//! Values of these types come only from `resolve`; whoever holds a [`Policy`] need not validate again.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::Duration;
use super::calendar::Calendar;
use super::condition::Expression;
use super::entitlement::EntitlementTemplate;
use super::finding::Place;
use super::name::{ApprovalName, GroupName, Login, ParamName, RoleName, StageName, TargetName};
use super::principal::Principal;

/// Everything `policies/` says, resolved.
#[derive(Debug, Clone)]
pub struct Policy {
    /// Repository-wide settings.
    pub settings: Settings,
    /// Who a login is elsewhere.
    pub people: BTreeMap<Login, Person>,
    /// Groups as written, nested ones resolved to users, teams, apps and `everyone` (never another group).
    pub groups: BTreeMap<GroupName, BTreeSet<Principal>>,
    /// The systems roles may name, by name.
    pub targets: BTreeMap<TargetName, TargetKind>,
    /// Those of them the server has no configuration for: what is on them cannot be requested. Empty where nobody knows.
    pub unconfigured: BTreeSet<TargetName>,
    /// What people can ask for.
    pub roles: BTreeMap<RoleName, Role>,
    /// The approval rules, `none` included if it is written down.
    pub approvals: BTreeMap<ApprovalName, Approval>,
    /// What its owners expect it to decide.
    pub tests: Vec<super::testcase::PolicyTest>,
}

impl Policy {
    /// `principals` with the members of groups in place of the groups.
    pub fn written_out(&self, principals: &BTreeSet<Principal>) -> BTreeSet<Principal> {
        let mut flat = BTreeSet::new();
        for principal in principals {
            match principal {
                // Groups have no groups in them.
                Principal::Group(name) => flat.extend(self.groups.get(name).into_iter().flatten().cloned()),
                other => {
                    flat.insert(other.clone());
                }
            }
        }
        flat
    }
}

/// `settings:` with the defaults filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Who merges an approved request.
    pub merge: MergeMode,
    /// How it is merged.
    pub merge_method: MergeMethod,
    /// The ceiling over every role; 12 hours unless set.
    pub max_duration: Duration,
    /// How long before expiry the revert pull request is opened; 10 minutes unless set. Never more than a quarter of the
    /// grant's duration: see [`Settings::revert_lead_for`].
    pub revert_lead: Duration,
    /// Unapproved requests are closed after this; 7 days unless set.
    pub pending_timeout: Duration,
    /// The rule for pull requests that change `policies/`. Without it no such pull request can pass.
    pub policy_approval: Option<ApprovalName>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            merge: MergeMode::Auto,
            merge_method: MergeMethod::Merge,
            max_duration: Duration::hours(12),
            revert_lead: Duration::minutes(10),
            pending_timeout: Duration::hours(7 * 24),
            policy_approval: None,
        }
    }
}

impl Settings {
    /// The lead for a grant of `duration`: `revert_lead`, but never more than a quarter of the duration.
    pub fn revert_lead_for(&self, duration: Duration) -> chrono::TimeDelta {
        let quarter = chrono::TimeDelta::seconds((duration.seconds() / 4).try_into().unwrap_or(i64::MAX / 1_000));
        self.revert_lead.delta().min(quarter)
    }
}

/// Who merges an approved pull request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MergeMode {
    /// Daypass, as soon as it is approved.
    Auto,
    /// A person, on GitHub.
    Manual,
}

/// The merge method, as GitHub names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MergeMethod {
    /// A merge commit.
    Merge,
    /// One new commit.
    Squash,
    /// The commits again, on top of the base.
    Rebase,
}

/// Who a GitHub login is in other systems. A target that needs a mapping and finds none is a validation error.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Person {
    /// E-mail address.
    pub email: Option<String>,
    /// Login role in PostgreSQL.
    pub postgres: Option<String>,
    /// Login names on servers, offered to `ssh` entitlements as `person.ssh`.
    pub ssh: Vec<String>,
    /// Public keys that SSH certificates are issued for, in OpenSSH format. Without any, the keys of the GitHub account.
    pub ssh_keys: Vec<String>,
    /// Names in systems without a field of their own here, such as `aws`.
    pub other: BTreeMap<String, String>,
}

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
}

impl TargetKind {
    /// Every kind, in the order they are documented.
    pub const ALL: [Self; 3] = [Self::Github, Self::Postgres, Self::Ssh];

    /// The word used in YAML.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Github => "github",
            Self::Postgres => "postgres",
            Self::Ssh => "ssh",
        }
    }
}

impl std::fmt::Display for TargetKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// How much harm a role can do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Risk {
    /// Little.
    Low,
    /// The default.
    #[default]
    Medium,
    /// Much.
    High,
    /// The company.
    Critical,
}

impl Risk {
    /// The word used in YAML and in expressions.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

/// What people ask for: who may, for how long, under which conditions, who approves and what it gives.
#[derive(Debug, Clone)]
pub struct Role {
    /// Its name.
    pub name: RoleName,
    /// One line for people.
    pub description: String,
    /// How much harm it can do.
    pub risk: Risk,
    /// Who may ask for it.
    pub requesters: BTreeSet<Principal>,
    /// Who may open a request for somebody else (the subject must still be one of `requesters`). Nobody unless written.
    pub may_request_for: BTreeSet<Principal>,
    /// The longest duration: the role's own ceiling, already bounded by the settings' ceiling.
    pub max_duration: Duration,
    /// How many grants of it may run at the same time.
    pub limit: Option<u32>,
    /// Fields a request must carry.
    pub requires: BTreeSet<Requirement>,
    /// Expressions that must all be true.
    pub conditions: Vec<Condition>,
    /// The approval rule.
    pub approval: ApprovalName,
    /// The emergency path, if the role has one.
    pub break_glass: Option<BreakGlass>,
    /// What holds for bots.
    pub machines: Machines,
    /// Declared parameters.
    pub params: BTreeMap<ParamName, ParamSpec>,
    /// What it gives.
    pub entitlements: Vec<EntitlementTemplate>,
    /// Warnings that are meant to be so, for this role or everywhere.
    pub allowed: BTreeSet<super::Code>,
    /// The file it stands in.
    pub file: String,
    /// Where its name stands in that file.
    pub place: Place,
}

/// A request field a role can demand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Requirement {
    /// `ticket:` must be there and not empty.
    Ticket,
    /// `start:` must be there: the role is for planned windows.
    Start,
}

/// An expression that must be true, with the sentence people read when it is not.
#[derive(Debug, Clone)]
pub struct Condition {
    /// The compiled expression.
    pub expression: Expression,
    /// What to say when it is false.
    pub message: Option<String>,
}

/// The emergency path of a role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BreakGlass {
    /// Who may use it.
    pub requesters: BTreeSet<Principal>,
    /// The shorter ceiling.
    pub max_duration: Duration,
    /// How soon an eligible approver must review its use.
    pub review_within: Duration,
}

/// The name of the stage in which a sponsor vouches for a machine.
pub const SPONSOR: &str = "sponsor";

/// What holds for requests by bots and AI agents, or for them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machines {
    /// The ceiling for them: never above that of the role.
    pub max_duration: Duration,
    /// People of whom one must be among the approvers; nobody: whoever may approve.
    pub sponsors: BTreeSet<Principal>,
}

/// A parameter a role declares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParamSpec {
    /// What kind of value it takes.
    pub kind: ParamKind,
    /// Used when a request leaves it out; without one the parameter is required.
    pub default: Option<ParamValue>,
    /// One line for people.
    pub description: String,
}

/// The values a parameter can take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ParamKind {
    /// Text of 1 to 255 visible characters.
    String,
    /// A whole number.
    Integer,
    /// True or false.
    Boolean,
    /// One of a list.
    OneOf(Vec<ParamValue>),
}

/// The value of a parameter.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ParamValue {
    /// `true` or `false`.
    Boolean(bool),
    /// A whole number.
    Integer(i64),
    /// Text.
    String(String),
}

impl std::fmt::Display for ParamValue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Boolean(value) => value.fmt(f),
            Self::Integer(value) => value.fmt(f),
            Self::String(value) => f.pad(value),
        }
    }
}

/// An approval rule: its stages in order. No stages: approved at once.
#[derive(Debug, Clone)]
pub struct Approval {
    /// Its name.
    pub name: ApprovalName,
    /// A stage opens when the one before it is satisfied.
    pub stages: Vec<Stage>,
    /// Whether the approval of one person counts for one stage at most. True unless the rule says otherwise.
    pub distinct: bool,
    /// How long after a denial the same subject cannot ask for the same role again.
    pub cool_down: Option<Duration>,
}

/// One stage of an approval rule.
#[derive(Debug, Clone)]
pub struct Stage {
    /// Its name.
    pub name: StageName,
    /// The stage counts only if this is true; always, if left out.
    pub when: Option<Expression>,
    /// Who must approve.
    pub demand: Demand,
    /// How many people are asked for a review; everybody, and teams as teams, if left out.
    pub ask: Option<u32>,
    /// Who else may approve after a while, the earliest first.
    pub escalate: Vec<Escalation>,
}

impl Stage {
    /// Whoever may approve, in whatever part.
    pub fn approvers(&self) -> BTreeSet<Principal> {
        self.demand.parts().flat_map(|part| part.approvers.iter().cloned()).collect()
    }

    /// Whoever may ever approve: the approvers, and those it widens to.
    pub fn everybody(&self) -> BTreeSet<Principal> {
        let mut everybody = self.approvers();
        everybody.extend(self.escalate.iter().flat_map(|escalation| escalation.to.iter().cloned()));
        everybody
    }

    /// How many people satisfy it at the least.
    pub fn required(&self) -> u32 {
        self.demand.required()
    }
}

/// Who must approve a stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Demand {
    /// Every part. A stage with one list of approvers is one part.
    All(Vec<Part>),
    /// One of the parts.
    Any(Vec<Part>),
}

/// A part of a stage: so many of these people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Who may approve.
    pub approvers: BTreeSet<Principal>,
    /// How many different people must.
    pub required: u32,
}

impl Demand {
    /// So many of one list of approvers.
    pub fn of(approvers: BTreeSet<Principal>, required: u32) -> Self {
        Self::All(vec![Part { approvers, required }])
    }

    /// Its parts.
    pub fn parts(&self) -> impl Iterator<Item = &Part> {
        match self {
            Self::All(parts) | Self::Any(parts) => parts.iter(),
        }
    }

    /// The one part there is, if there is one.
    pub fn single(&self) -> Option<&Part> {
        match self {
            Self::All(parts) | Self::Any(parts) => match parts.as_slice() {
                [part] => Some(part),
                _ => None,
            },
        }
    }

    /// The ways in which it can be met: each a list of parts that must all be met, by different people.
    pub fn ways(&self) -> Vec<Vec<&Part>> {
        match self {
            Self::All(parts) => vec![parts.iter().collect()],
            Self::Any(parts) => parts.iter().map(|part| vec![part]).collect(),
        }
    }

    /// How many people meet it at the least.
    pub fn required(&self) -> u32 {
        let people = |way: &Vec<&Part>| way.iter().map(|part| part.required).fold(0, u32::saturating_add);
        self.ways().iter().map(people).min().unwrap_or_default()
    }
}

/// Widens a stage that stays unsatisfied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Escalation {
    /// Counted from when the stage opened.
    pub after: Duration,
    /// Only time within this counts; all time, if left out.
    pub calendar: Option<std::sync::Arc<Calendar>>,
    /// Who may approve from then on, besides the approvers; in every part.
    pub to: BTreeSet<Principal>,
}

impl Escalation {
    /// When a stage that opened at `opened` widens.
    pub fn due(&self, opened: DateTime<Utc>) -> DateTime<Utc> {
        match &self.calendar {
            None => opened + self.after.delta(),
            Some(calendar) => calendar.after(opened, self.after),
        }
    }
}
