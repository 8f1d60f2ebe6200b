//! Groups and projects of GitLab: direct membership with an access level, through the REST API, version 4.
//! <https://docs.gitlab.com/api/members/>
//!
//! GitLab ends memberships at the beginning of a day (`expires_at`): the day after the end of the grant is the second lock. It has
//! one direct membership per person and place: whoever has another level there already is left alone, and the grant fails.

use async_trait::async_trait;
use chrono::{DateTime, Days, Utc};
use reqwest::Method;
use serde_json::{Value, json};

use super::TargetError;
use super::http::{Api, Question};
use super::members::{Directory, Fields};
use crate::policy::kind::TargetKind;

/// A GitLab server.
#[derive(Debug)]
pub(super) struct Gitlab(pub Api);

/// A group or a project, and a level of access to it.
#[derive(Debug)]
pub(super) struct Place {
    /// `groups` or `projects`.
    kind: &'static str,
    id: String,
    level: u64,
}

/// Access levels: <https://docs.gitlab.com/api/members/#roles>.
fn level(word: &str) -> Option<u64> {
    Some(match word {
        "guest" => 10,
        "planner" => 15,
        "reporter" => 20,
        "developer" => 30,
        "maintainer" => 40,
        "owner" => 50,
        _ => return None,
    })
}

/// An id, which GitLab gives as a number.
fn id(value: &Value) -> Option<String> {
    value.get("id").and_then(Value::as_u64).map(|id| id.to_string())
}

fn garbled(what: &str) -> TargetError {
    TargetError::Temporary(format!("GitLab's answer about {what} is not what its API describes"))
}

impl Gitlab {
    /// The level of the direct membership, if there is one.
    async fn level(&self, person: &str, place: &Place) -> Result<Option<u64>, TargetError> {
        let path = ["api", "v4", place.kind, &place.id, "members", person];
        let Some(answer) = self.0.find(Question::new(Method::GET, path)).await? else { return Ok(None) };
        answer.body.get("access_level").and_then(Value::as_u64).map(Some).ok_or_else(|| garbled("a membership"))
    }
}

#[async_trait]
impl Directory for Gitlab {
    const KIND: TargetKind = TargetKind::Gitlab;
    type Person = String;
    type Place = Place;

    async fn check(&self) -> Result<String, TargetError> {
        let answer = self.0.ask(Question::new(Method::GET, ["api", "v4", "version"])).await?;
        let version = answer.body.get("version").and_then(Value::as_str).unwrap_or("of an unknown version");
        Ok(format!("GitLab {version} answers"))
    }

    async fn person(&self, principal: &str) -> Result<Option<String>, TargetError> {
        let question = Question::new(Method::GET, ["api", "v4", "users"]).with("username", principal);
        let answer = self.0.ask(question).await?;
        let users = answer.body.as_array().ok_or_else(|| garbled("users"))?;
        // It compares without case, and so do we: its usernames differ in more than that.
        let same = |user: &&Value| {
            user.get("username").and_then(Value::as_str).is_some_and(|name| name.eq_ignore_ascii_case(principal))
        };
        users.iter().find(same).map(|user| id(user).ok_or_else(|| garbled("a user"))).transpose()
    }

    async fn place(&self, fields: &Fields) -> Result<Option<Place>, TargetError> {
        let wanted = [("groups", "group"), ("projects", "project")];
        let found = wanted.into_iter().find_map(|(kind, field)| Some((kind, fields.get(field)?)));
        let ((kind, path), Some(level)) = (
            found.ok_or_else(|| TargetError::Permanent("it names neither a group nor a project".to_owned()))?,
            fields.get("level").and_then(|word| level(word)),
        ) else {
            return Err(TargetError::Permanent("it names no access level".to_owned()));
        };
        let question = Question::new(Method::GET, ["api", "v4", kind, path]).with("with_projects", "false");
        let Some(answer) = self.0.find(question).await? else { return Ok(None) };
        let id = id(&answer.body).ok_or_else(|| garbled("a group or project"))?;
        Ok(Some(Place { kind, id, level }))
    }

    async fn has(&self, person: &String, place: &Place) -> Result<bool, TargetError> {
        Ok(self.level(person, place).await? == Some(place.level))
    }

    async fn add(&self, person: &String, place: &Place, until: DateTime<Utc>) -> Result<(), TargetError> {
        let last = until.date_naive().checked_add_days(Days::new(1)).unwrap_or(until.date_naive()).to_string();
        let body = json!({ "user_id": person, "access_level": place.level, "expires_at": last });
        let members = ["api", "v4", place.kind, &place.id, "members"];
        let question = match self.level(person, place).await? {
            None => Question::new(Method::POST, members),
            Some(level) if level == place.level => {
                Question::new(Method::PUT, members.into_iter().chain([person.as_str()]))
            }
            Some(other) => {
                return Err(TargetError::Permanent(format!(
                    "they are a member with access level {other} already, and GitLab knows one membership per person: give the \
                     role a group or project of its own, or end the other membership"
                )));
            }
        };
        self.0.ask(question.json(&body)).await.map(|_| ())
    }

    async fn remove(&self, person: &String, place: &Place) -> Result<(), TargetError> {
        // Memberships of subgroups and projects below are somebody else's.
        let question = Question::new(Method::DELETE, ["api", "v4", place.kind, &place.id, "members", person])
            .with("skip_subresources", "true");
        self.0.find(question).await.map(|_| ())
    }

    fn ends_by_itself(&self) -> bool {
        true
    }
}
