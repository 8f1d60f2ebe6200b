//! What expressions can ask: the values of `request`, `subject`, `role`, `now`, `pull_request`, `params` and `person`.

use std::collections::BTreeMap;

use cel::Value;
use chrono::{DateTime, Utc};
use serde::Serialize;

use super::super::Duration;
use super::super::model::{ParamValue, Person};

/// What expressions can ask.
#[derive(Debug, Clone)]
pub struct Scope {
    /// `request`
    pub request: RequestScope,
    /// `subject`
    pub subject: SubjectScope,
    /// `role`
    pub role: RoleScope,
    /// `now`
    pub now: DateTime<Utc>,
    /// `pull_request`
    pub pull_request: PullRequestScope,
}

/// `request.…`; `params` is also at the top level.
#[derive(Debug, Clone)]
pub struct RequestScope {
    /// Login of the subject.
    pub subject: String,
    /// Role name.
    pub role: String,
    /// A CEL duration.
    pub duration: Duration,
    /// Hostile text.
    pub reason: String,
    /// Empty if left out.
    pub ticket: String,
    /// A CEL timestamp, or null.
    pub start: Option<DateTime<Utc>>,
    /// Whether the emergency path is asked for.
    pub break_glass: bool,
    /// Values with defaults filled in.
    pub params: BTreeMap<String, ParamValue>,
}

/// `subject.…`
#[derive(Debug, Clone, Default)]
pub struct SubjectScope {
    /// GitHub login.
    pub login: String,
    /// Slugs of the policy's teams the subject is in.
    pub teams: Vec<String>,
    /// Slugs an expression may name although GitHub has no such team: who is in it cannot be said.
    pub missing_teams: Vec<String>,
    /// Names of the policy's groups the subject is in.
    pub groups: Vec<String>,
    /// The subject's entry in `people`, also at the top level as `person`; absent texts are empty.
    pub person: Person,
}

/// `role.…`
#[derive(Debug, Clone)]
pub struct RoleScope {
    /// Role name.
    pub name: String,
    /// low, medium, high or critical.
    pub risk: &'static str,
    /// Its description.
    pub description: String,
}

/// `pull_request.…`
#[derive(Debug, Clone, Default)]
pub struct PullRequestScope {
    /// Its number; 0 offline.
    pub number: u64,
    /// Login of its author; empty offline.
    pub author: String,
}

#[derive(Serialize)]
struct RequestVars<'a> {
    subject: &'a str,
    role: &'a str,
    duration: cel::Duration,
    reason: &'a str,
    ticket: &'a str,
    start: Option<cel::Timestamp>,
    break_glass: bool,
    params: &'a BTreeMap<String, ParamValue>,
}

#[derive(Serialize)]
struct PersonVars<'a> {
    email: &'a str,
    postgres: &'a str,
    ssh: &'a [String],
    other: &'a BTreeMap<String, String>,
}

#[derive(Serialize)]
struct SubjectVars<'a> {
    login: &'a str,
    teams: &'a [String],
    groups: &'a [String],
    #[serde(flatten)]
    person: PersonVars<'a>,
}

#[derive(Serialize)]
struct RoleVars<'a> {
    name: &'a str,
    risk: &'a str,
    description: &'a str,
}

fn person(person: &Person) -> PersonVars<'_> {
    PersonVars {
        email: person.email.as_deref().unwrap_or_default(),
        postgres: person.postgres.as_deref().unwrap_or_default(),
        ssh: &person.ssh,
        other: &person.other,
    }
}

#[derive(Serialize)]
struct PullRequestVars<'a> {
    number: i64,
    author: &'a str,
}

impl Scope {
    /// The value of a name at the beginning of an expression; `None` if there is nothing of that name.
    pub(super) fn variable(&self, name: &str) -> Option<Result<Value, cel::SerializationError>> {
        let request = &self.request;
        // Logins and the slugs of teams have no case: here there is one way to write them.
        let lower = |text: &String| text.to_ascii_lowercase();
        let teams: Vec<String> = self.subject.teams.iter().map(lower).collect();
        Some(match name {
            "request" => cel::to_value(RequestVars {
                subject: &lower(&request.subject),
                role: &request.role,
                duration: cel::Duration(request.duration.delta()),
                reason: &request.reason,
                ticket: &request.ticket,
                start: request.start.map(|start| cel::Timestamp(start.fixed_offset())),
                break_glass: request.break_glass,
                params: &request.params,
            }),
            "params" => cel::to_value(&request.params),
            "subject" => cel::to_value(SubjectVars {
                login: &lower(&self.subject.login),
                teams: &teams,
                groups: &self.subject.groups,
                person: person(&self.subject.person),
            }),
            "person" => cel::to_value(person(&self.subject.person)),
            "role" => cel::to_value(RoleVars {
                name: &self.role.name,
                risk: self.role.risk,
                description: &self.role.description,
            }),
            "now" => cel::to_value(cel::Timestamp(self.now.fixed_offset())),
            "pull_request" => cel::to_value(PullRequestVars {
                number: i64::try_from(self.pull_request.number).unwrap_or(i64::MAX),
                author: &lower(&self.pull_request.author),
            }),
            _ => return None,
        })
    }
}
