//! Anything that takes a signed request: what Daypass has no target for, somebody's own service can do.
//!
//! Each call is one `POST` of JSON, signed as [`crate::signature`] says, with an `Idempotency-Key`, which is the same whenever the same
//! call is made again. An answer 2xx is the receipt; its `summary`, if it is JSON with one, is shown to people. The receiver is asked
//! whether somebody has something already only if it is configured to tell (`observes`).

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use reqwest::Method;
use reqwest::header::{HeaderName, HeaderValue};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use url::Url;

use super::http::{Api, Connection, Question};
use super::members::{Fields, wanted};
use super::{Credential, Observed, Occasion, Receipt, Target, TargetError};
use crate::policy::entitlement::Entitlement;
use crate::policy::kind::TargetKind;
use crate::signature;

/// Characters of a summary that are kept.
const LONGEST_SUMMARY: usize = 300;

/// A receiver of signed requests.
#[derive(Debug)]
pub(super) struct Webhook {
    api: Api,
    secret: Credential,
    observes: bool,
}

impl Webhook {
    /// The receiver at `url`, whole with its path.
    pub fn new(url: &Url, secret: Credential, observes: bool, connection: &Connection) -> Result<Self, TargetError> {
        Ok(Self { api: Api::new(url, None, connection)?, secret, observes })
    }

    async fn call(
        &self,
        call: &'static str,
        (principal, fields): (&str, &Fields),
        until: Option<DateTime<Utc>>,
        occasion: &Occasion,
    ) -> Result<Value, TargetError> {
        let mut body = json!({ "call": call, "principal": principal, "fields": fields });
        if let Some(until) = until {
            body["until"] = json!(until);
        }
        let body = body.to_string().into_bytes();
        let mut key = Sha256::new_with_prefix(&body);
        key.update(&occasion.key);
        let signature = signature::sign(&self.secret.read().await?, occasion.now, &body);
        let text =
            |text: String| HeaderValue::from_str(&text).map_err(|error| TargetError::Permanent(error.to_string()));
        let question = Question::new(Method::POST, [])
            .header(HeaderName::from_static(signature::HEADER), text(signature)?)
            .header(HeaderName::from_static("idempotency-key"), text(hex::encode(key.finalize()))?)
            .bytes(body);
        Ok(self.api.ask(question).await?.body)
    }
}

/// What the answer says, or else what is true.
pub(super) fn receipt(answer: &Value, otherwise: String) -> Receipt {
    let said = answer.get("summary").and_then(Value::as_str).map(|text| {
        text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(LONGEST_SUMMARY).collect::<String>()
    });
    Receipt { summary: said.filter(|text| !text.trim().is_empty()).unwrap_or(otherwise), ..Receipt::default() }
}

/// Whether the answer says that somebody has it.
pub(super) fn observed(answer: &Value) -> Result<Observed, TargetError> {
    match answer.get("present").and_then(Value::as_bool) {
        Some(true) => Ok(Observed::Present),
        Some(false) => Ok(Observed::Absent),
        None => Err(TargetError::Permanent("its answer to `observe` has no `present`, true or false".to_owned())),
    }
}

#[async_trait]
impl Target for Webhook {
    fn kind(&self) -> TargetKind {
        TargetKind::Webhook
    }

    async fn check(&self) -> Result<String, TargetError> {
        let nobody = Fields::new();
        self.call("check", ("", &nobody), None, &Occasion::any()).await?;
        Ok(format!("{} answers", self.api.shown()))
    }

    async fn observe(&self, entitlement: &Entitlement) -> Result<Observed, TargetError> {
        let asked = wanted(TargetKind::Webhook, entitlement)?;
        match self.observes {
            true => observed(&self.call("observe", asked, None, &Occasion::any()).await?),
            false => Ok(Observed::Unknown),
        }
    }

    async fn grant(
        &self,
        entitlement: &Entitlement,
        until: DateTime<Utc>,
        occasion: &Occasion,
    ) -> Result<Receipt, TargetError> {
        let asked = wanted(TargetKind::Webhook, entitlement)?;
        let answer = self.call("grant", asked, Some(until), occasion).await?;
        Ok(receipt(&answer, format!("{} took it", self.api.shown())))
    }

    async fn revoke(
        &self,
        entitlement: &Entitlement,
        _receipt: Option<&Receipt>,
        occasion: &Occasion,
    ) -> Result<Receipt, TargetError> {
        let asked = wanted(TargetKind::Webhook, entitlement)?;
        let answer = self.call("revoke", asked, None, occasion).await?;
        Ok(receipt(&answer, format!("{} took it back", self.api.shown())))
    }
}
