//! Groups of whatever speaks SCIM 2.0 (RFC 7643, RFC 7644): Okta, Entra, GitLab, Slack and many others, as servers.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use reqwest::Method;
use serde_json::{Value, json};

use super::TargetError;
use super::http::{Api, Question};
use super::members::{Directory, Fields};
use crate::policy::kind::TargetKind;

/// A SCIM server.
#[derive(Debug)]
pub(super) struct Scim(pub Api);

/// RFC 7644, section 3.5.2.
const PATCH: &str = "urn:ietf:params:scim:api:messages:2.0:PatchOp";

fn garbled(what: &str) -> TargetError {
    TargetError::Temporary(format!("the server's answer about {what} is not what RFC 7644 describes"))
}

impl Scim {
    /// The id of the one resource whose attribute is exactly so.
    async fn the_one(&self, kind: &str, attribute: &str, text: &str) -> Result<Option<String>, TargetError> {
        // Section 3.4.2.2: a comparison value is written as in JSON.
        let filter = format!("{attribute} eq {}", Value::from(text));
        let question = Question::new(Method::GET, [kind])
            .with("filter", &filter)
            .with("attributes", attribute)
            .with("count", "50");
        let answer = self.0.ask(question).await?;
        let total = answer.body.get("totalResults").and_then(Value::as_u64).ok_or_else(|| garbled("a search"))?;
        let resources = answer.body.get("Resources").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let named = |one: &&Value| one.get(attribute).and_then(Value::as_str).is_none_or(|name| name == text);
        let found: Vec<&Value> = resources.iter().filter(named).collect();
        match found.as_slice() {
            [] if total > resources.len() as u64 => Err(garbled("a search")),
            [] => Ok(None),
            [one] => one.get("id").and_then(Value::as_str).map(|id| Some(id.to_owned())).ok_or_else(|| garbled(kind)),
            _ => Err(TargetError::Permanent(format!("there are several {kind} with {attribute} {text:?}"))),
        }
    }

    async fn patch(&self, group: &str, operation: &Value) -> Result<(), TargetError> {
        let body = json!({ "schemas": [PATCH], "Operations": [operation] });
        self.0.ask(Question::new(Method::PATCH, ["Groups", group]).json(&body)).await.map(|_| ())
    }
}

#[async_trait]
impl Directory for Scim {
    const KIND: TargetKind = TargetKind::Scim;
    type Person = String;
    type Place = String;

    async fn check(&self) -> Result<String, TargetError> {
        self.0.ask(Question::new(Method::GET, ["Groups"]).with("count", "1").with("attributes", "id")).await?;
        Ok(format!("a SCIM server answers at {}", self.0.shown()))
    }

    async fn person(&self, principal: &str) -> Result<Option<String>, TargetError> {
        self.the_one("Users", "userName", principal).await
    }

    async fn place(&self, fields: &Fields) -> Result<Option<String>, TargetError> {
        self.the_one("Groups", "displayName", fields.get("group").map(String::as_str).unwrap_or_default()).await
    }

    async fn has(&self, person: &String, group: &String) -> Result<bool, TargetError> {
        let question = Question::new(Method::GET, ["Groups", group]).with("attributes", "members");
        let Some(answer) = self.0.find(question).await? else { return Ok(false) };
        let members = answer.body.get("members").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        Ok(members.iter().any(|member| member.get("value").and_then(Value::as_str) == Some(person)))
    }

    async fn add(&self, person: &String, group: &String, _until: DateTime<Utc>) -> Result<(), TargetError> {
        self.patch(group, &json!({ "op": "add", "path": "members", "value": [{ "value": person }] })).await
    }

    async fn remove(&self, person: &String, group: &String) -> Result<(), TargetError> {
        let path = format!("members[value eq {}]", Value::from(person.as_str()));
        self.patch(group, &json!({ "op": "remove", "path": path })).await
    }
}
