//! `tests:` of a policy: what its owners expect it to decide, on facts they write down. Here is their shape; `access::rehearsal`
//! runs them.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Deref;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Deserialize;

use super::model::{ParamValue, Role};
use super::name::{Login, NameError, ParamName, RoleName, Slug, StageName, TeamSlug};
use super::request::is_deceptive;
use super::yaml::{self, At};
use super::{Code, Duration, Finding, Place, Request, Severity, suggest};

/// The largest file of facts that is read, in bytes.
const GIVEN_LIMIT: usize = 256 * 1024;

/// Characters the name of a test may have.
const LONGEST_NAME: usize = 200;

/// The keys of `given`.
const GIVEN: &[&str] =
    &["teams", "members", "unknown_accounts", "approved_by", "changes_requested_by", "commits_by", "now", "elapsed"];

/// A value with the place it is written at.
#[derive(Debug, Clone, Deserialize)]
#[serde(from = "At<T>", bound = "T: Deserialize<'de>")]
pub struct Stated<T> {
    /// The value.
    pub value: T,
    /// Where it stands.
    pub place: Place,
}

impl<T> From<At<T>> for Stated<T> {
    fn from(at: At<T>) -> Self {
        let place = at.place();
        Self { value: at.into_inner(), place }
    }
}

impl<T> Deref for Stated<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.value
    }
}

/// An account as a test names it: a login, or `app:SLUG` for the bot account of an app.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "Cow<'_, str>")]
pub struct Who(Login);

impl Who {
    /// Its login.
    pub fn login(&self) -> &Login {
        &self.0
    }
}

impl TryFrom<Cow<'_, str>> for Who {
    type Error = NameError;
    fn try_from(text: Cow<'_, str>) -> Result<Self, NameError> {
        match text.strip_prefix("app:") {
            Some(slug) => format!("{slug}[bot]").parse().map(Self),
            None => text.parse().map(Self),
        }
    }
}

impl From<Login> for Who {
    fn from(login: Login) -> Self {
        Self(login)
    }
}

/// One expectation.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyTest {
    /// The file it stands in.
    #[serde(skip)]
    pub file: String,
    /// What it shows.
    pub name: Stated<String>,
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
    pub subject: Who,
    /// Who opens the pull request, if somebody else.
    pub author: Option<Who>,
    /// The role.
    pub role: Stated<RoleName>,
    /// For how long.
    pub duration: Duration,
    /// Why.
    #[serde(default)]
    pub reason: String,
    /// The ticket.
    pub ticket: Option<String>,
    /// The planned start, RFC 3339.
    pub start: Option<DateTime<Utc>>,
    /// The emergency path.
    #[serde(default)]
    pub break_glass: bool,
    /// Parameters.
    #[serde(default)]
    pub params: BTreeMap<ParamName, ParamValue>,
}

/// Facts that are written down instead of read from GitHub.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Given {
    /// Members of teams, those of child teams included. A team that is left out has none.
    #[serde(default)]
    pub teams: BTreeMap<TeamSlug, Vec<Who>>,
    /// Members of the organisation, besides those of the teams; left out: everybody the test or the policy names.
    pub members: Option<Vec<Who>>,
    /// Logins nobody has.
    #[serde(default)]
    pub unknown_accounts: Vec<Who>,
    /// Who approved the head of the pull request.
    #[serde(default)]
    pub approved_by: Vec<Who>,
    /// Who requested changes.
    #[serde(default)]
    pub changes_requested_by: Vec<Who>,
    /// Who has a hand in the commits, besides the author of the pull request.
    #[serde(default)]
    pub commits_by: Vec<Who>,
    /// The time, RFC 3339. Left out: a day before the request's start, or else Monday, 5 January 2026, 10:00 UTC.
    pub now: Option<DateTime<Utc>>,
    /// How long the open stage has been open, for escalation.
    pub elapsed: Option<Duration>,
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

/// What a test expects. What is left out is not looked at.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expect {
    /// Whether the request is allowed at all.
    pub valid: Stated<bool>,
    /// The stages that need approval, in order.
    pub stages: Option<Stated<Vec<StageName>>>,
    /// Whether the approvals given suffice.
    pub approved: Option<Stated<bool>>,
    /// Codes of findings: these and no others, in any order.
    pub findings: Option<Stated<Vec<Code>>>,
    /// Everybody who could approve now, in any order.
    pub approvers: Option<Stated<Vec<Who>>>,
    /// What is granted, in the words of the pull request's comment, in any order: `role reader for alice on orders-db`.
    pub entitlements: Option<Stated<Vec<String>>>,
    /// When access ends if it is merged at once.
    pub expires: Option<Stated<DateTime<Utc>>>,
}

impl TestRequest {
    /// As a file in `grants/` would say it.
    pub fn request(&self, name: &str) -> Request {
        Request {
            slug: Slug::near(name),
            subject: Some(self.subject.login().clone()),
            role: self.role.value.clone(),
            duration: self.duration,
            reason: self.reason.clone(),
            ticket: self.ticket.clone(),
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

/// What is wrong with tests of a policy that has these roles: they have names of their own and ask for roles there are.
pub(crate) fn check(tests: &[PolicyTest], roles: &BTreeMap<RoleName, Role>) -> Vec<Finding> {
    let mut names: BTreeMap<&str, &PolicyTest> = BTreeMap::new();
    let mut findings = Vec::new();
    for test in tests {
        let mut refuse = |place: Place, code: Code, message: String, help: &str| {
            let (file, help) = (test.file.clone(), help.to_owned());
            findings.push(Finding { file, place, severity: Severity::Error, code, message, help });
        };
        let (name, place) = (test.name.trim(), test.name.place);
        let shown: String = name.chars().take(60).collect();
        let length = name.chars().count();
        if length == 0 || length > LONGEST_NAME {
            let message = format!("a test's name must have 1 to {LONGEST_NAME} characters; it has {length}");
            refuse(place, Code::BadText, message, "Say in a few words what the test shows.");
        }
        if name.chars().any(|c| c.is_control() || is_deceptive(c)) {
            let message = "a test's name is one line without invisible or control characters".to_owned();
            refuse(place, Code::HiddenText, message, Code::HiddenText.explanation());
        }
        if let Some(first) = names.get(name) {
            let message =
                format!("a test with the name {shown:?} is there already, in {}:{}", first.file, first.name.place.line);
            refuse(place, Code::DefinedTwice, message, Code::DefinedTwice.explanation());
        }
        names.entry(name).or_insert(test);
        let role = &test.request.role;
        if !roles.contains_key(&role.value) {
            let near = suggest(role.as_str(), roles.keys().map(RoleName::as_str));
            let help =
                near.map_or(Code::UnknownRole.explanation().to_owned(), |near| format!("Did you mean `{near}`?"));
            let message = format!("the test {shown:?} asks for role `{}`, which does not exist", role.value);
            let place = Place { length: u32::try_from(role.as_str().len()).unwrap_or(0), ..role.place };
            refuse(place, Code::UnknownRole, message, &help);
        }
    }
    findings
}

/// Reads facts from a file of their own, written as under `given:` of a test.
pub fn read_given(path: &str, bytes: &[u8]) -> Result<Given, Finding> {
    yaml::read(path, bytes, GIVEN_LIMIT, GIVEN)
}
