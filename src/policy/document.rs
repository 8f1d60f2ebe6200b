//! The YAML as it is written: shapes only. `resolve` turns it into a policy.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::Duration;
use super::model::{MergeMethod, MergeMode, ParamValue, Requirement, Risk, TargetKind};
use super::name::{ApprovalName, GroupName, Login, ParamName, RoleName, StageName, TargetName};
use super::principal::Principal;
use super::yaml::At;

/// The sections a policy file may hold.
pub(crate) const SECTIONS: &[&str] =
    &["version", "settings", "people", "groups", "roles", "approvals", "targets", "tests"];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PolicyFile {
    pub version: Option<At<u64>>,
    pub settings: Option<At<SettingsDoc>>,
    #[serde(default)]
    pub people: BTreeMap<At<Login>, BTreeMap<At<String>, At<OneOrMany>>>,
    #[serde(default)]
    pub groups: BTreeMap<At<GroupName>, Vec<At<Principal>>>,
    #[serde(default)]
    pub targets: BTreeMap<At<TargetName>, At<TargetKind>>,
    #[serde(default)]
    pub roles: BTreeMap<At<RoleName>, RoleDoc>,
    #[serde(default)]
    pub approvals: BTreeMap<At<ApprovalName>, ApprovalDoc>,
    #[serde(default)]
    pub tests: Vec<super::testcase::PolicyTest>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SettingsDoc {
    pub merge: Option<MergeMode>,
    pub merge_method: Option<MergeMethod>,
    pub max_duration: Option<Duration>,
    pub revert_lead: Option<Duration>,
    pub pending_timeout: Option<Duration>,
    pub policy_approval: Option<At<ApprovalName>>,
}

/// One text or several.
#[derive(Deserialize, Clone)]
#[serde(untagged)]
pub(crate) enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RoleDoc {
    #[serde(default)]
    pub description: String,
    #[serde(default)]
    pub risk: Risk,
    #[serde(default)]
    pub requesters: Vec<At<Principal>>,
    #[serde(default)]
    pub may_request_for: Vec<At<Principal>>,
    pub max_duration: Option<At<Duration>>,
    #[serde(default)]
    pub requires: Vec<Requirement>,
    #[serde(default)]
    pub conditions: Vec<ConditionDoc>,
    pub approval: At<ApprovalName>,
    pub break_glass: Option<BreakGlassDoc>,
    #[serde(default)]
    pub params: BTreeMap<At<ParamName>, ParamDoc>,
    #[serde(default)]
    pub entitlements: Vec<At<EntitlementDoc>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ConditionDoc {
    pub expr: At<String>,
    pub message: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct BreakGlassDoc {
    pub requesters: Vec<At<Principal>>,
    pub max_duration: Option<At<Duration>>,
    pub review_within: Option<Duration>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ParamDoc {
    #[serde(rename = "type")]
    pub kind: Option<At<ParamType>>,
    pub one_of: Option<Vec<ParamValue>>,
    pub default: Option<At<ParamValue>>,
    #[serde(default)]
    pub description: String,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ParamType {
    String,
    Integer,
    Boolean,
}

/// Externally tagged, so that the places inside survive.
#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum EntitlementDoc {
    Github(GithubDoc),
    Postgres(PostgresDoc),
    Ssh(SshDoc),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct GithubDoc {
    pub target: At<TargetName>,
    pub team: At<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PostgresDoc {
    pub target: At<TargetName>,
    pub role: At<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SshDoc {
    pub target: At<TargetName>,
    pub principals: Vec<At<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ApprovalDoc {
    pub stages: Vec<StageDoc>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StageDoc {
    pub name: At<StageName>,
    pub when: Option<At<String>>,
    pub approvers: Vec<At<Principal>>,
    pub required: Option<At<u32>>,
    pub escalate: Option<EscalationDoc>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EscalationDoc {
    pub after: Duration,
    pub to: Vec<At<Principal>>,
}
