//! Values that are one word, and names.

use serde_json::json;

use super::ParamType;
use crate::policy::Duration;
use crate::policy::kind::TargetKind;
use crate::policy::model::{MergeMethod, MergeMode, Requirement, Risk};
use crate::policy::name::{
    ApprovalName, CalendarName, GroupName, Login, ParamName, RoleName, StageName, TargetName, TeamSlug,
};
use crate::policy::principal::Principal;
use crate::policy::yaml::declare::word;
use crate::policy::yaml::{Decode, Node, Report, Schemas, decode_from_text, one_of_words};

one_of_words!(MergeMode, "a merge mode", { "auto" => MergeMode::Auto, "manual" => MergeMode::Manual, });
one_of_words!(MergeMethod, "a merge method", {
    "merge" => MergeMethod::Merge,
    "squash" => MergeMethod::Squash,
    "rebase" => MergeMethod::Rebase,
});
one_of_words!(Risk, "a risk", {
    "low" => Risk::Low,
    "medium" => Risk::Medium,
    "high" => Risk::High,
    "critical" => Risk::Critical,
});
one_of_words!(Requirement, "something a request can carry", {
    "ticket" => Requirement::Ticket,
    "start" => Requirement::Start,
});
one_of_words!(ParamType, "a kind of parameter", {
    "string" => ParamType::String,
    "integer" => ParamType::Integer,
    "boolean" => ParamType::Boolean,
});

impl Decode for TargetKind {
    fn decode(node: &Node, report: &mut Report) -> Option<Self> {
        let words = Self::ALL.map(Self::as_str);
        word(node, report, "a kind of target", &words)?.parse().ok()
    }

    fn schema(_: &mut Schemas) -> serde_json::Value {
        json!({ "enum": Self::ALL.map(Self::as_str) })
    }
}

decode_from_text!(Login, BadName, {
    "type": ["string", "integer"], "minimum": 0,
    "pattern": r"^[A-Za-z0-9_]([A-Za-z0-9_-]{0,58}[A-Za-z0-9_])?(\[bot\])?$",
});
decode_from_text!(TeamSlug, BadName, { "type": ["string", "number"], "pattern": "^[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}$" });
decode_from_text!(GroupName, BadName, { "type": ["string", "integer"], "minimum": 0, "pattern": (NAME) });
decode_from_text!(TargetName, BadName, { "type": ["string", "integer"], "minimum": 0, "pattern": (NAME) });
decode_from_text!(RoleName, BadName, { "type": ["string", "integer"], "minimum": 0, "pattern": (NAME) });
decode_from_text!(ApprovalName, BadName, { "type": ["string", "integer"], "minimum": 0, "pattern": (NAME) });
decode_from_text!(StageName, BadName, { "type": ["string", "integer"], "minimum": 0, "pattern": (NAME) });
decode_from_text!(ParamName, BadName, { "type": ["string", "integer"], "minimum": 0, "pattern": (NAME) });
decode_from_text!(CalendarName, BadName, { "type": ["string", "integer"], "minimum": 0, "pattern": (NAME) });
decode_from_text!(Principal, BadName, {
    "type": "string",
    "pattern": r"^(everyone|user:[A-Za-z0-9_]([A-Za-z0-9_-]{0,58}[A-Za-z0-9_])?(\[bot\])?|(team|app):[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}|group:[a-z0-9][a-z0-9_-]{0,99})$",
});
decode_from_text!(Duration, BadDuration, {
    "type": "string", "minLength": 2, "pattern": (crate::policy::duration::PATTERN), "examples": ["30m", "2h", "1h30m", "3d", "PT2H"],
});

/// The form of most names, for editors.
const NAME: &str = "^[a-z0-9][a-z0-9_-]{0,99}$";

/// The form of a time, for editors that do not look at formats.
pub(super) const TIME: &str =
    r"^\s*[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?([Zz]|[+-][0-9]{2}:[0-9]{2})\s*$";
