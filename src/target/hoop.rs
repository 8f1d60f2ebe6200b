//! Groups of a hoop.dev gateway, which stands before databases, containers and agents: `PUT /users/{emailOrID}` of its API
//! (<https://github.com/hoophq/hoop>, `gateway/api/openapi/openapiv3.json`).
//!
//! A user's groups are written with everything else about the user, as it was read a moment before. A user's group is there once
//! somebody is in it, so no group is ever missing.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use reqwest::Method;
use serde_json::{Value, json};

use super::TargetError;
use super::http::{Api, Question};
use super::members::{Directory, Fields};
use crate::policy::kind::TargetKind;

/// A gateway.
#[derive(Debug)]
pub(super) struct Hoop(pub Api);

/// What the API calls read-only, and a password, which is never sent back.
const NOT_WRITTEN: [&str; 4] = ["id", "role", "verified", "password"];

fn garbled() -> TargetError {
    TargetError::Temporary("the gateway's answer about a user is not what its API describes".to_owned())
}

impl Hoop {
    async fn user(&self, person: &str) -> Result<Option<Value>, TargetError> {
        let found = self.0.find(Question::new(Method::GET, ["users", person])).await?;
        Ok(found.map(|answer| answer.body))
    }

    async fn write(&self, person: &str, change: impl FnOnce(&mut Vec<String>) + Send) -> Result<(), TargetError> {
        let mut user = self.user(person).await?.ok_or_else(garbled)?;
        let mut groups = groups(&user)?;
        change(&mut groups);
        let fields = user.as_object_mut().ok_or_else(garbled)?;
        for name in NOT_WRITTEN {
            fields.remove(name);
        }
        fields.insert("groups".to_owned(), json!(groups));
        self.0.ask(Question::new(Method::PUT, ["users", person]).json(&user)).await.map(|_| ())
    }
}

fn groups(user: &Value) -> Result<Vec<String>, TargetError> {
    match user.get("groups") {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(groups) => serde_json::from_value(groups.clone()).map_err(|_| garbled()),
    }
}

#[async_trait]
impl Directory for Hoop {
    const KIND: TargetKind = TargetKind::Hoop;
    /// The id of a user, which does not change with the address.
    type Person = String;
    type Place = String;

    async fn check(&self) -> Result<String, TargetError> {
        self.0.ask(Question::new(Method::GET, ["users", "groups"])).await?;
        Ok(format!("the gateway answers at {}", self.0.shown()))
    }

    async fn person(&self, principal: &str) -> Result<Option<String>, TargetError> {
        let Some(user) = self.user(principal).await? else { return Ok(None) };
        user.get("id").and_then(Value::as_str).map(|id| Some(id.to_owned())).ok_or_else(garbled)
    }

    async fn place(&self, fields: &Fields) -> Result<Option<String>, TargetError> {
        Ok(fields.get("group").cloned())
    }

    async fn has(&self, person: &String, group: &String) -> Result<bool, TargetError> {
        match self.user(person).await? {
            Some(user) => Ok(groups(&user)?.contains(group)),
            None => Ok(false),
        }
    }

    async fn add(&self, person: &String, group: &String, _until: DateTime<Utc>) -> Result<(), TargetError> {
        let group = group.clone();
        self.write(person, |groups| groups.push(group)).await
    }

    async fn remove(&self, person: &String, group: &String) -> Result<(), TargetError> {
        self.write(person, |groups| groups.retain(|one| one != group)).await
    }
}
