//! Groups of Okta. <https://developer.okta.com/docs/api/openapi/okta-management/management/tag/Group/>
//!
//! Only groups Okta itself manages can be changed (`OKTA_GROUP`).

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use reqwest::Method;
use serde_json::Value;

use super::TargetError;
use super::http::{Api, Question};
use super::members::{Directory, Fields};
use crate::policy::kind::TargetKind;

/// An organisation of Okta.
#[derive(Debug)]
pub(super) struct Okta(pub Api);

/// Most groups a search is read for.
const PAGE: &str = "200";

fn garbled(what: &str) -> TargetError {
    TargetError::Temporary(format!("Okta's answer about {what} is not what its API describes"))
}

fn id(value: &Value) -> Option<String> {
    value.get("id").and_then(Value::as_str).map(str::to_owned)
}

#[async_trait]
impl Directory for Okta {
    const KIND: TargetKind = TargetKind::Okta;
    type Person = String;
    type Place = String;

    async fn check(&self) -> Result<String, TargetError> {
        self.0.ask(Question::new(Method::GET, ["api", "v1", "groups"]).with("limit", "1")).await?;
        Ok(format!("Okta answers at {}", self.0.shown()))
    }

    async fn person(&self, principal: &str) -> Result<Option<String>, TargetError> {
        let found = self.0.find(Question::new(Method::GET, ["api", "v1", "users", principal])).await?;
        found.map(|answer| id(&answer.body).ok_or_else(|| garbled("a user"))).transpose()
    }

    async fn place(&self, fields: &Fields) -> Result<Option<String>, TargetError> {
        let name = fields.get("group").map(String::as_str).unwrap_or_default();
        // As in SCIM: a text in quotes, as JSON writes it.
        let search = format!("profile.name eq {}", Value::from(name));
        let question = Question::new(Method::GET, ["api", "v1", "groups"]).with("search", &search).with("limit", PAGE);
        let answer = self.0.ask(question).await?;
        let groups = answer.body.as_array().ok_or_else(|| garbled("groups"))?;
        let named = |group: &&Value| group.pointer("/profile/name").and_then(Value::as_str) == Some(name);
        let found: Vec<&Value> = groups.iter().filter(named).collect();
        match found.as_slice() {
            [] => Ok(None),
            [group] if group.get("type").and_then(Value::as_str) == Some("OKTA_GROUP") => {
                id(group).map(Some).ok_or_else(|| garbled("a group"))
            }
            [_] => Err(TargetError::Permanent(format!("group {name:?} is managed elsewhere; Okta cannot change it"))),
            _ => Err(TargetError::Permanent(format!("there are several groups named {name:?}"))),
        }
    }

    async fn has(&self, person: &String, group: &String) -> Result<bool, TargetError> {
        // People have fewer groups than groups have people.
        let mut after: Option<String> = None;
        loop {
            let mut question = Question::new(Method::GET, ["api", "v1", "users", person, "groups"]).with("limit", PAGE);
            if let Some(after) = &after {
                question = question.with("after", after);
            }
            let answer = self.0.ask(question).await?;
            let groups = answer.body.as_array().ok_or_else(|| garbled("the groups of a user"))?;
            if groups.iter().any(|one| id(one).as_ref() == Some(group)) {
                return Ok(true);
            }
            let next = answer.next("after");
            if next.is_none() || next == after {
                return Ok(false);
            }
            after = next;
        }
    }

    async fn add(&self, person: &String, group: &String, _until: DateTime<Utc>) -> Result<(), TargetError> {
        self.0.ask(Question::new(Method::PUT, ["api", "v1", "groups", group, "users", person])).await.map(|_| ())
    }

    async fn remove(&self, person: &String, group: &String) -> Result<(), TargetError> {
        self.0.find(Question::new(Method::DELETE, ["api", "v1", "groups", group, "users", person])).await.map(|_| ())
    }
}
