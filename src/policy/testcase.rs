//! `tests:` of a policy: what its owners expect it to decide, on facts they write down. Here is their shape; `access::rehearsal`
//! runs them.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::str::FromStr;

use chrono::{DateTime, TimeDelta, Utc};

use super::model::ParamValue;
use super::name::{Login, NameError, ParamName, RoleName, Slug, StageName, TeamSlug};
use super::yaml::{At, Decode, Node, Report, Schemas, decode_from_text, document, read_as};
use super::{Code, Duration, Finding, Place, Request};

/// The largest file of facts that is read, in bytes.
const GIVEN_LIMIT: usize = 256 * 1024;

/// A value with the place it is written at.
#[derive(Debug, Clone)]
pub struct Stated<T> {
    /// The value.
    pub value: T,
    /// The file it stands in.
    pub file: String,
    /// Where it stands there.
    pub place: Place,
}

impl<T> From<At<T>> for Stated<T> {
    fn from(at: At<T>) -> Self {
        let (file, place) = (at.spot.file.to_string(), at.place());
        Self { value: at.into_inner(), file, place }
    }
}

impl<T: Decode> Decode for Stated<T> {
    fn decode(node: &Node, report: &mut Report) -> Option<Self> {
        At::decode(node, report).map(Self::from)
    }

    fn schema(schemas: &mut Schemas) -> serde_json::Value {
        T::schema(schemas)
    }
}

impl<T> Deref for Stated<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.value
    }
}

/// An account as a test names it: a login, or `app:SLUG` for the bot account of an app.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Who(Login);

impl Who {
    /// Its login.
    pub fn login(&self) -> &Login {
        &self.0
    }
}

impl FromStr for Who {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        match text.strip_prefix("app:") {
            Some(slug) => format!("{slug}[bot]").parse().map(Self),
            None => text.parse().map(Self),
        }
    }
}

decode_from_text!(Who, BadName, {
    "type": ["string", "integer"], "minimum": 0,
    "pattern": r"^(app:)?[A-Za-z0-9_]([A-Za-z0-9_-]{0,58}[A-Za-z0-9_])?(\[bot\])?$",
});

impl From<Login> for Who {
    fn from(login: Login) -> Self {
        Self(login)
    }
}

document! {
    /// One expectation.
    pub struct PolicyTest, "a test" {
        /// What it shows. No other test has this name.
        name: Stated<String>,
        /// The request that is judged.
        request: TestRequest,
        /// The facts it is judged on.
        given: Given = Given::default(),
        /// What should come out.
        expect: Expect,
    }
}

document! {
    /// A request as a test writes it.
    pub struct TestRequest, "the request of a test" {
        /// Who gets access.
        subject: Who,
        /// Who opens the pull request, if somebody else.
        author: Option<Who> = None,
        /// The role.
        role: Stated<RoleName>,
        /// For how long.
        duration: Duration,
        /// Why; the name of the test, if left out.
        reason: Option<Stated<String>> = None,
        /// The ticket.
        ticket: Option<Stated<String>> = None,
        /// The planned start, RFC 3339.
        start: Option<DateTime<Utc>> = None,
        /// The emergency path.
        break_glass: bool = false,
        /// Parameters.
        params: BTreeMap<ParamName, ParamValue> = BTreeMap::new(),
    }
}

document! {
    /// Facts that are written down instead of read from GitHub.
    #[derive(Default)]
    pub struct Given, "`given`" {
        /// Members of teams, those of child teams included. A team that is left out has none.
        teams: BTreeMap<TeamSlug, Vec<Who>> = BTreeMap::new(),
        /// Members of the organisation, besides those of the teams; left out: everybody the test or the policy names.
        members: Option<Vec<Who>> = None,
        /// Logins nobody has.
        unknown_accounts: Vec<Who> = Vec::new(),
        /// Who approved the head of the pull request.
        approved_by: Vec<Who> = Vec::new(),
        /// Who requested changes.
        changes_requested_by: Vec<Who> = Vec::new(),
        /// Who has a hand in the commits, besides the author of the pull request.
        commits_by: Vec<Who> = Vec::new(),
        /// The time, RFC 3339. Left out: a day before the request's start, or else Monday, 5 January 2026, 10:00 UTC.
        now: Option<DateTime<Utc>> = None,
        /// How long the open stage has been open, for escalation.
        elapsed: Option<Duration> = None,
        /// How many others have the role while the request would, for its `limit`. Left out: nobody has it.
        active_grants: Option<u32> = None,
        /// When the role was denied to the subject, RFC 3339, for the rule's `cool_down`. Left out: never.
        denied_at: Option<Vec<DateTime<Utc>>> = None,
    }
}

impl Given {
    /// The time of the judgement, for a request that starts then. Never the time of day: a test gives the same result whenever it
    /// runs.
    pub fn now(&self, start: Option<DateTime<Utc>>) -> DateTime<Utc> {
        let monday = DateTime::from_timestamp(1_767_607_200, 0).unwrap_or_default();
        let day_before = start.and_then(|start| start.checked_sub_signed(TimeDelta::days(1)));
        self.now.or(day_before).unwrap_or(monday)
    }
}

document! {
    /// What a test expects. What is left out is not looked at.
    pub struct Expect, "`expect`" {
        /// Whether the request is allowed at all.
        valid: Stated<bool>,
        /// The stages that need approval, in order.
        stages: Option<Stated<Vec<StageName>>> = None,
        /// Whether the approvals given suffice.
        approved: Option<Stated<bool>> = None,
        /// Codes of findings: these and no others, in any order.
        findings: Option<Stated<Vec<Code>>> = None,
        /// Everybody who could approve now, in any order.
        approvers: Option<Stated<Vec<Who>>> = None,
        /// What is granted, in the words of the pull request's comment, in any order: `role reader for alice on orders-db`.
        entitlements: Option<Stated<Vec<String>>> = None,
        /// When access ends if it is merged at once.
        expires: Option<Stated<DateTime<Utc>>> = None,
    }
}

impl TestRequest {
    /// As a file in `grants/` would say it.
    pub fn request(&self, name: &str) -> Request {
        Request {
            slug: Slug::near(name),
            subject: Some(self.subject.login().clone()),
            role: self.role.value.clone(),
            duration: self.duration,
            reason: self.reason.as_ref().map_or(name, |reason| reason.value.as_str()).trim().to_owned(),
            ticket: self.ticket.as_ref().map(|ticket| ticket.trim().to_owned()),
            start: self.start,
            break_glass: self.break_glass,
            params: self.params.clone(),
            places: BTreeMap::new(),
        }
    }

    /// Who opens the pull request.
    pub fn author(&self) -> &Login {
        self.author.as_ref().unwrap_or(&self.subject).login()
    }
}

/// Reads facts from a file of their own, written as under `given:` of a test.
pub fn read_given(path: &str, bytes: &[u8]) -> Result<Given, Vec<Finding>> {
    read_as(path, bytes, GIVEN_LIMIT)
}
