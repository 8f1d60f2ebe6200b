//! `tests:` of a policy: what its owners expect it to decide. Their shape is checked with the policy.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::Duration;
use super::model::ParamValue;
use super::name::{Login, ParamName, RoleName, StageName, TeamSlug};

/// One expectation.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyTest {
    /// What it shows.
    pub name: String,
    /// The request that is judged.
    pub request: TestRequest,
    /// The facts it is judged on.
    #[serde(default)]
    pub given: Given,
    /// What should come out.
    pub expect: Expect,
}

/// A request as a test writes it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TestRequest {
    /// Who gets access.
    pub subject: Login,
    /// Who opens the pull request, if somebody else.
    pub author: Option<Login>,
    /// The role.
    pub role: RoleName,
    /// For how long.
    pub duration: Duration,
    /// Why.
    #[serde(default)]
    pub reason: String,
    /// The ticket.
    pub ticket: Option<String>,
    /// The planned start, RFC 3339.
    pub start: Option<chrono::DateTime<chrono::Utc>>,
    /// The emergency path.
    #[serde(default)]
    pub break_glass: bool,
    /// Parameters.
    #[serde(default)]
    pub params: BTreeMap<ParamName, ParamValue>,
}

/// The facts of a test.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Given {
    /// Members of teams.
    #[serde(default)]
    pub teams: BTreeMap<TeamSlug, Vec<Login>>,
    /// Whose approvals there are.
    #[serde(default)]
    pub approved_by: Vec<Login>,
    /// The time, RFC 3339.
    pub now: Option<chrono::DateTime<chrono::Utc>>,
}

/// What a test expects.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expect {
    /// Whether the request is allowed at all.
    pub valid: bool,
    /// The stages that need approval, in order.
    pub stages: Option<Vec<StageName>>,
    /// Whether the approvals given suffice.
    pub approved: Option<bool>,
    /// Codes of findings.
    pub findings: Option<Vec<super::Code>>,
}
