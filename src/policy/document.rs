//! The YAML as it is written: shapes only. [`super::expand`] has replaced `extends` and `for_each` before these are read;
//! [`super::resolve`] makes a policy of them.

mod entitlement;
mod words;

use std::collections::BTreeSet;

use chrono::{DateTime, NaiveDate, Utc, Weekday};
use serde_json::json;

pub(crate) use entitlement::EntitlementDoc;
use words::TIME;

use super::kind::TargetKind;
use super::model::{MergeMethod, MergeMode, ParamValue, Requirement, Risk};
use super::name::{ApprovalName, CalendarName, GroupName, Login, ParamName, RoleName, StageName, TargetName};
use super::principal::Principal;
use super::testcase::PolicyTest;
use super::yaml::decode::{Readable, integer};
use super::yaml::node::Kind;
use super::yaml::{At, Decode, Entries, Node, Report, Schemas, Value, document, one_of_words};
use super::{Code, Duration};

document! {
    /// A file of `policies/`. Any file may hold any of the sections; names are shared between all files.
    pub(crate) struct PolicyFile, "a policy file" {
        /// The version of this format: 1.
        version: Option<At<Version>> = None,
        /// What holds for the whole repository. In one file only.
        settings: Option<At<SettingsDoc>> = None,
        /// Who a GitHub login is elsewhere.
        people: Entries<Login, PersonDoc> = Entries::default(),
        /// People by a name, to be used as `group:NAME`.
        groups: Entries<GroupName, Vec<At<Principal>>> = Entries::default(),
        /// The systems roles give access to, by kind. Addresses and secrets are in the server's configuration.
        targets: Entries<TargetName, TargetDoc> = Entries::default(),
        /// Rows that `for_each` makes roles, targets and approval rules from.
        tables: Entries<String, Table> = Entries::default(),
        /// What roles have in common, to be named in `extends`. Nobody can request a template.
        templates: Entries<RoleName, RoleDoc> = Entries::default(),
        /// What people can ask for.
        roles: Entries<RoleName, RoleDoc> = Entries::default(),
        /// When people are at work, to be named by escalations.
        calendars: Entries<CalendarName, CalendarDoc> = Entries::default(),
        /// Who has to approve what.
        approvals: Entries<ApprovalName, ApprovalDoc> = Entries::default(),
        /// What this policy is expected to decide. `daypass test` runs them.
        tests: Readable<PolicyTest> = Readable::default(),
    }
}

/// The version of the format of policies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Version(pub u64);

impl Decode for Version {
    fn decode(node: &Node, report: &mut Report) -> Option<Self> {
        integer(node, report).map(Self)
    }

    fn schema(_: &mut Schemas) -> serde_json::Value {
        json!({ "const": 1 })
    }
}

/// The rows of a table, or the name of one.
#[derive(Debug, Clone)]
pub(crate) struct Row;

/// A table.
#[derive(Debug, Clone)]
pub(crate) struct Table;

document! {
    /// What holds for the whole repository.
    pub(crate) struct SettingsDoc, "`settings`", keeps_going {
        /// Who merges an approved request: `auto` (Daypass does) or `manual` (a person does).
        merge: MergeMode = MergeMode::Auto,
        /// How it is merged.
        merge_method: MergeMethod = MergeMethod::Merge,
        /// The ceiling over every role; 12h unless set.
        max_duration: Option<Duration> = None,
        /// How long before its end the revert pull request of a grant is opened; 10m unless set.
        revert_lead: Option<Duration> = None,
        /// Requests that are not approved by then are closed; 7d unless set.
        pending_timeout: Option<Duration> = None,
        /// The approval rule for pull requests that change `policies/`. Without it nobody can change them.
        policy_approval: Option<At<ApprovalName>> = None,
        /// The template every role extends after those it names itself.
        role_defaults: Option<At<RoleName>> = None,
        /// Warnings that are meant to be so, anywhere: a code with the reason.
        allow: Entries<Code, String> = Entries::default(),
    }
}

document! {
    /// Who a GitHub login is elsewhere. Names in systems without a key of their own here may stand beside these.
    pub(crate) struct PersonKeys, "a person" {
        /// E-mail address.
        email: Option<At<String>> = None,
        /// Login role in PostgreSQL.
        postgres: Option<At<String>> = None,
        /// Login names on servers.
        ssh: Option<At<OneOrMany>> = None,
        /// Public keys SSH certificates are issued for, in OpenSSH format. Without any, the keys of the GitHub account.
        ssh_keys: Option<At<OneOrMany>> = None,
    }
}

/// A person: the keys of [`PersonKeys`], and any other with one text.
#[derive(Debug, Clone)]
pub(crate) struct PersonDoc(pub Entries<String, At<OneOrMany>>);

impl Decode for PersonDoc {
    fn decode(node: &Node, report: &mut Report) -> Option<Self> {
        Entries::decode(node, report).map(Self)
    }

    fn schema(schemas: &mut Schemas) -> serde_json::Value {
        let reference = PersonKeys::schema(schemas);
        schemas.change("PersonKeys", |shape| {
            let pattern =
                r"^[^\u0000-\u001f\u007f-\u009f]*[^\s\u0000-\u001f\u007f-\u009f][^\u0000-\u001f\u007f-\u009f]*$";
            let name = json!({ "type": ["string", "number"], "pattern": pattern });
            let keys = shape.get_mut("properties").and_then(serde_json::Value::as_object_mut);
            for known in keys.into_iter().flat_map(|keys| keys.values_mut()) {
                known["pattern"] = pattern.into();
                if let Some(items) = known.get_mut("items") {
                    *items = name.clone();
                }
            }
            shape.insert("additionalProperties".to_owned(), name);
        });
        reference
    }
}

/// One text or several.
#[derive(Debug, Clone)]
pub(crate) enum OneOrMany {
    One(At<String>),
    Many(Vec<At<String>>),
}

impl OneOrMany {
    /// Each of them.
    pub fn texts(&self) -> &[At<String>] {
        match self {
            Self::One(text) => std::slice::from_ref(text),
            Self::Many(texts) => texts,
        }
    }
}

impl Decode for OneOrMany {
    fn decode(node: &Node, report: &mut Report) -> Option<Self> {
        match &node.value {
            Value::List(_) => Vec::decode(node, report).map(Self::Many),
            _ => At::decode(node, report).map(Self::One),
        }
    }

    fn schema(_: &mut Schemas) -> serde_json::Value {
        json!({ "type": ["string", "number", "array"], "items": { "type": ["string", "number"] } })
    }
}

document! {
    /// What people can ask for: who may, for how long, who approves, and what it gives.
    pub(crate) struct RoleDoc, "a role", keeps_going {
        /// Templates or roles whose keys count where this one has none. `requires` and `conditions` add up.
        extends: Option<OneOrMany> = None,
        /// Makes one role from each row of a table; `${each.COLUMN}` stands for a value of the row, in the name too.
        for_each: Option<Row> = None,
        /// One line for people.
        description: Option<At<String>> = None,
        /// How much harm it can do; medium unless set.
        risk: Risk = Risk::Medium,
        /// Who may ask for it.
        requesters: Vec<At<Principal>> = Vec::new(),
        /// Who may ask for it on behalf of one of `requesters`.
        may_request_for: Vec<At<Principal>> = Vec::new(),
        /// The longest time; the ceiling of `settings` unless set.
        max_duration: Option<At<Duration>> = None,
        /// How many grants of it may run at the same time; as many as there are, if left out.
        limit: Option<At<u32>> = None,
        /// What a request must carry.
        requires: BTreeSet<Requirement> = BTreeSet::new(),
        /// Expressions that must all be true.
        conditions: Readable<ConditionDoc> = Readable::default(),
        /// The approval rule. Required, here or in what it extends.
        approval: Option<At<ApprovalName>> = None,
        /// The emergency path. Without it there is none.
        break_glass: Option<BreakGlassDoc> = None,
        /// What holds for requests by bots, or for them.
        machines: Option<MachinesDoc> = None,
        /// What a request can choose, for use as `params.NAME`.
        params: Entries<ParamName, ParamDoc> = Entries::default(),
        /// What it gives.
        entitlements: Readable<At<EntitlementDoc>> = Readable::default(),
        /// Warnings that are meant to be so for this role: a code with the reason.
        allow: Entries<Code, String> = Entries::default(),
    }
}

document! {
    /// An expression that must be true.
    pub(crate) struct ConditionDoc, "a condition" {
        /// A CEL expression.
        expr: At<String>,
        /// What people read when it is false.
        message: Option<At<String>> = None,
    }
}

document! {
    /// The emergency path of a role: no approval is awaited; the use is reviewed afterwards.
    pub(crate) struct BreakGlassDoc, "`break_glass`" {
        /// Who may use it.
        requesters: Vec<At<Principal>>,
        /// The ceiling in an emergency; 1h unless set.
        max_duration: Option<At<Duration>> = None,
        /// How soon its use must be reviewed; 24h unless set.
        review_within: Option<Duration> = None,
    }
}

document! {
    /// What holds for requests by bots and AI agents, or for them. They must be named as `app:SLUG` to ask at all.
    pub(crate) struct MachinesDoc, "`machines`" {
        /// The ceiling for them; 1h unless set.
        max_duration: Option<At<Duration>> = None,
        /// People of whom one must be among the approvers. Whoever may approve anyway, if left out; if nobody has to approve, a
        /// machine gets nothing.
        sponsors: Vec<At<Principal>> = Vec::new(),
    }
}

document! {
    /// What a request can choose.
    pub(crate) struct ParamDoc, "a parameter" {
        /// What kind of value: `string`, `integer` or `boolean`.
        kind as "type": Option<At<ParamType>> = None,
        /// The values there are, instead of `type`.
        one_of: Option<Vec<At<ParamValue>>> = None,
        /// Used when a request leaves it out; without one it is required.
        default: Option<At<ParamValue>> = None,
        /// One line for people.
        description: Option<At<String>> = None,
    }
}

/// The kinds of value a parameter takes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum ParamType {
    String,
    Integer,
    Boolean,
}

document! {
    /// When people are at work: certain days, from one time of day to another.
    pub(crate) struct CalendarDoc, "a calendar" {
        /// By the clocks of this place: a name such as `Europe/Berlin`.
        time_zone: At<String>,
        /// The days of the week; Monday to Friday unless set.
        days: Vec<Weekday> = crate::policy::calendar::WORKING_DAYS.to_vec(),
        /// The hours, as `09:00-17:00`, which is what they are unless set.
        hours: Option<At<String>> = None,
        /// Days on which nobody works: `2026-12-25`.
        holidays: Vec<NaiveDate> = Vec::new(),
    }
}

one_of_words!(Weekday, "a day of the week", {
    "mon" => Weekday::Mon,
    "tue" => Weekday::Tue,
    "wed" => Weekday::Wed,
    "thu" => Weekday::Thu,
    "fri" => Weekday::Fri,
    "sat" => Weekday::Sat,
    "sun" => Weekday::Sun,
});

document! {
    /// Who has to approve.
    pub(crate) struct ApprovalDoc, "an approval rule", keeps_going {
        /// Makes one rule from each row of a table.
        for_each: Option<Row> = None,
        /// In order: a stage opens when the one before it is satisfied. None at all: approved at once.
        stages: Vec<StageDoc>,
        /// Whether the approval of one person counts for one stage at most; true unless set.
        distinct: bool = true,
        /// How long after a denial the same subject cannot ask for the same role again. Not at all, if left out.
        cool_down: Option<Duration> = None,
        /// Warnings that are meant to be so for this rule: a code with the reason.
        allow: Entries<Code, String> = Entries::default(),
    }
}

document! {
    /// One stage of an approval rule: `approvers`, `all_of` or `any_of`.
    pub(crate) struct StageDoc, "a stage" {
        /// Its name.
        name: At<StageName>,
        /// A CEL expression: the stage counts only if it is true. Always, if left out.
        when: Option<At<String>> = None,
        /// Who may approve.
        approvers: Option<Vec<At<Principal>>> = None,
        /// How many different people must; 1 unless set.
        required: Option<At<u32>> = None,
        /// Instead of `approvers`: parts that must all approve, each by people of its own.
        all_of: Option<At<Vec<PartDoc>>> = None,
        /// Instead of `approvers`: parts of which one must approve.
        any_of: Option<At<Vec<PartDoc>>> = None,
        /// How many people are asked for a review, chosen so that the load is spread. Everybody, and teams as teams, if left out.
        ask: Option<At<u32>> = None,
        /// Who else may approve after a while; several, if it widens again and again.
        escalate: Steps = Steps::default(),
    }
}

document! {
    /// A part of a stage.
    pub(crate) struct PartDoc, "a part of a stage" {
        /// Who may approve.
        approvers: Vec<At<Principal>>,
        /// How many different people must; 1 unless set.
        required: Option<At<u32>> = None,
    }
}

document! {
    /// Widens a stage that stays open.
    pub(crate) struct EscalationDoc, "`escalate`" {
        /// How long after the stage opened.
        after: At<Duration>,
        /// Only time within this counts. All time, if left out.
        calendar: Option<At<CalendarName>> = None,
        /// Who may approve from then on, besides the approvers.
        to: Vec<At<Principal>>,
    }
}

/// The steps in which a stage widens: one, or a list.
#[derive(Debug, Clone, Default)]
pub(crate) struct Steps(pub Vec<EscalationDoc>);

impl Decode for Steps {
    fn decode(node: &Node, report: &mut Report) -> Option<Self> {
        match &node.value {
            Value::List(_) => Vec::decode(node, report).map(Self),
            _ => EscalationDoc::decode(node, report).map(|step| Self(vec![step])),
        }
    }

    fn schema(schemas: &mut Schemas) -> serde_json::Value {
        let step = EscalationDoc::schema(schemas);
        json!({ "anyOf": [step.clone(), { "type": "array", "items": step }] })
    }
}

/// A target: its kind, or its kind with the table it is made from.
#[derive(Debug, Clone)]
pub(crate) struct TargetDoc {
    /// Its kind.
    pub kind: At<TargetKind>,
}

document! {
    /// Targets made from a table.
    struct TargetMap, "a target" {
        /// The kind of each.
        kind: At<TargetKind>,
        /// Makes one target from each row of a table.
        for_each: Option<Row> = None,
    }
}

impl Decode for TargetDoc {
    fn decode(node: &Node, report: &mut Report) -> Option<Self> {
        let kind = match &node.value {
            Value::Map(_) => TargetMap::decode(node, report)?.kind,
            _ => At::decode(node, report)?,
        };
        Some(Self { kind })
    }

    fn schema(schemas: &mut Schemas) -> serde_json::Value {
        json!({ "anyOf": [TargetKind::schema(schemas), TargetMap::schema(schemas)] })
    }
}

impl Decode for Row {
    /// Rows are read where they are used, by [`super::expand`].
    fn decode(_: &Node, _: &mut Report) -> Option<Self> {
        Some(Self)
    }

    fn schema(schemas: &mut Schemas) -> serde_json::Value {
        json!({ "anyOf": [{ "type": "string" }, Table::schema(schemas)] })
    }
}

impl Decode for Table {
    /// Rows are read where they are used, by [`super::expand`].
    fn decode(_: &Node, _: &mut Report) -> Option<Self> {
        Some(Self)
    }

    fn schema(_: &mut Schemas) -> serde_json::Value {
        let value = json!({
            "type": ["string", "number", "boolean"],
            "pattern": r"^[^'\u0022\\`${}\u0000-\u001f\u007f-\u009f]+$",
        });
        json!({ "type": "array", "minItems": 1, "items": { "type": "object", "additionalProperties": value } })
    }
}

impl Decode for ParamValue {
    fn decode(node: &Node, report: &mut Report) -> Option<Self> {
        match &node.value {
            Value::Scalar(scalar) if scalar.kind == Kind::Boolean => bool::decode(node, report).map(Self::Boolean),
            // 1.5 is a text here: there is no kind of parameter for it.
            Value::Scalar(scalar) if scalar.kind == Kind::Number && !scalar.text.contains('.') => {
                integer(node, report).map(Self::Integer)
            }
            _ => String::decode(node, report).map(Self::String),
        }
    }

    fn schema(_: &mut Schemas) -> serde_json::Value {
        json!({ "type": ["string", "number", "boolean"] })
    }
}

impl Decode for NaiveDate {
    fn decode(node: &Node, report: &mut Report) -> Option<Self> {
        let text = String::decode(node, report)?;
        // The library also reads `2026-1-5`.
        let form = |(at, byte): (usize, u8)| if matches!(at, 4 | 7) { byte == b'-' } else { byte.is_ascii_digit() };
        let plain = text.len() == 10 && text.bytes().enumerate().all(form);
        let day = plain.then(|| text.parse().ok()).flatten();
        if day.is_none() {
            let message = format!("`{}` is not a day: write it as 2026-12-25", super::yaml::decode::shortened(&text));
            report.error(&node.spot, Code::BadTime, message, "");
        }
        day
    }

    fn schema(_: &mut Schemas) -> serde_json::Value {
        json!({ "type": "string", "format": "date", "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}$" })
    }
}

impl Decode for DateTime<Utc> {
    fn decode(node: &Node, report: &mut Report) -> Option<Self> {
        let text = String::decode(node, report)?;
        // Whole seconds: certificates know nothing finer.
        let time =
            DateTime::parse_from_rfc3339(text.trim()).ok().and_then(|time| Self::from_timestamp(time.timestamp(), 0));
        if time.is_none() {
            let message = format!("`{}` is not a time", super::yaml::decode::shortened(&text));
            report.error(&node.spot, Code::BadTime, message, Code::BadTime.explanation());
        }
        time
    }

    fn schema(_: &mut Schemas) -> serde_json::Value {
        json!({ "type": "string", "format": "date-time", "pattern": TIME })
    }
}

impl Decode for Code {
    fn decode(node: &Node, report: &mut Report) -> Option<Self> {
        let text = String::decode(node, report)?;
        match text.parse() {
            Ok(code) => Some(code),
            Err(error) => {
                let known = Self::ALL.iter().map(|code| code.as_str());
                let help = super::yaml::decode::did_you_mean(&text, known, "`docs/findings.md` lists all of them.");
                report.error(&node.spot, Self::BadName, format!("{error}"), help);
                None
            }
        }
    }

    fn schema(_: &mut Schemas) -> serde_json::Value {
        json!({ "enum": Self::ALL.iter().map(|code| code.as_str()).collect::<Vec<_>>() })
    }
}
