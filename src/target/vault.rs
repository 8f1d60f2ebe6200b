//! Identity groups of HashiCorp Vault and OpenBao. <https://developer.hashicorp.com/vault/api-docs/secret/identity/group>
//!
//! A group's members are written as a whole: Daypass is the only one that should change the groups it is given.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use reqwest::Method;
use serde_json::{Value, json};

use super::TargetError;
use super::http::{Api, Question};
use super::members::{Directory, Fields};
use crate::policy::kind::TargetKind;

/// A Vault or OpenBao server.
#[derive(Debug)]
pub(super) struct Vault(pub Api);

fn garbled(what: &str) -> TargetError {
    TargetError::Temporary(format!("Vault's answer about {what} is not what its API describes"))
}

impl Vault {
    async fn by_name(&self, kind: &str, name: &str) -> Result<Option<Value>, TargetError> {
        let question = Question::new(Method::GET, ["v1", "identity", kind, "name", name]);
        let found = self.0.find(question).await?;
        found.map(|answer| answer.body.get("data").cloned().ok_or_else(|| garbled(kind))).transpose()
    }

    /// The members of a group, all of them.
    async fn members(&self, group: &str) -> Result<Option<Vec<String>>, TargetError> {
        let question = Question::new(Method::GET, ["v1", "identity", "group", "id", group]);
        let Some(answer) = self.0.find(question).await? else { return Ok(None) };
        match answer.body.pointer("/data/member_entity_ids") {
            None | Some(Value::Null) => Ok(Some(Vec::new())),
            Some(members) => serde_json::from_value(members.clone()).map(Some).map_err(|_| garbled("a group")),
        }
    }

    async fn write(&self, group: &str, members: &[String]) -> Result<(), TargetError> {
        let question = Question::new(Method::POST, ["v1", "identity", "group", "id", group]);
        self.0.ask(question.json(&json!({ "member_entity_ids": members }))).await.map(|_| ())
    }
}

#[async_trait]
impl Directory for Vault {
    const KIND: TargetKind = TargetKind::Vault;
    type Person = String;
    type Place = String;

    async fn check(&self) -> Result<String, TargetError> {
        let answer = self.0.ask(Question::new(Method::GET, ["v1", "auth", "token", "lookup-self"])).await?;
        let policies = answer.body.pointer("/data/policies").cloned().unwrap_or_default();
        Ok(format!("{} answers; the token has the policies {policies}", self.0.shown()))
    }

    async fn person(&self, principal: &str) -> Result<Option<String>, TargetError> {
        let Some(entity) = self.by_name("entity", principal).await? else { return Ok(None) };
        entity.get("id").and_then(Value::as_str).map(|id| Some(id.to_owned())).ok_or_else(|| garbled("an entity"))
    }

    async fn place(&self, fields: &Fields) -> Result<Option<String>, TargetError> {
        let name = fields.get("group").map(String::as_str).unwrap_or_default();
        let Some(group) = self.by_name("group", name).await? else { return Ok(None) };
        match (group.get("type").and_then(Value::as_str), group.get("id").and_then(Value::as_str)) {
            (Some("internal"), Some(id)) => Ok(Some(id.to_owned())),
            (Some(other), Some(_)) => Err(TargetError::Permanent(format!(
                "group {name:?} is of type {other}: its members come from elsewhere; make it an internal one"
            ))),
            _ => Err(garbled("a group")),
        }
    }

    async fn has(&self, person: &String, group: &String) -> Result<bool, TargetError> {
        Ok(self.members(group).await?.is_some_and(|members| members.contains(person)))
    }

    async fn add(&self, person: &String, group: &String, _until: DateTime<Utc>) -> Result<(), TargetError> {
        let mut members = self.members(group).await?.ok_or_else(|| garbled("a group"))?;
        members.push(person.clone());
        self.write(group, &members).await
    }

    async fn remove(&self, person: &String, group: &String) -> Result<(), TargetError> {
        let mut members = self.members(group).await?.unwrap_or_default();
        members.retain(|member| member != person);
        self.write(group, &members).await
    }
}
