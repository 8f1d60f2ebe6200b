//! Webhooks: payloads, signatures, the delivery log; and the record of exchanges for the contract tests.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::{Arc, Mutex, MutexGuard};

use gix::ObjectId;
use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use sha2::Sha256;
use tokio::sync::Notify;

use super::git::Git;
use super::route::{Ctx, Refusal};
use super::state::{DeliveryRecord, State};
use super::{Sandbox, SandboxError};

/// Where webhooks go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WebhookSink {
    /// Into a queue that the test drains, and delivers as it likes.
    Queue,
    /// To this address, by [`Sandbox::deliver`].
    Http(String),
    /// Nowhere.
    Nowhere,
}

/// A webhook on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// `X-GitHub-Delivery`.
    pub guid: String,
    /// `X-GitHub-Event`.
    pub event: String,
    /// `X-Hub-Signature-256`.
    pub signature: String,
    /// The payload.
    pub body: Vec<u8>,
    record: u64,
}

/// The webhooks that wait to be sent.
pub(super) struct Outbox {
    sink: WebhookSink,
    secret: SecretString,
    waiting: Mutex<Vec<Delivery>>,
    wake: Notify,
}

impl Outbox {
    pub fn new(sink: &WebhookSink, secret: &SecretString) -> Self {
        Self { sink: sink.clone(), secret: secret.clone(), waiting: Mutex::default(), wake: Notify::new() }
    }

    pub fn address(&self) -> String {
        match &self.sink {
            WebhookSink::Http(url) => url.clone(),
            _ => "http://localhost/".to_owned(),
        }
    }

    pub fn take(&self) -> Vec<Delivery> {
        self.waiting.lock().map(|mut waiting| std::mem::take(&mut *waiting)).unwrap_or_default()
    }

    fn put(&self, record: &DeliveryRecord) {
        if self.sink == WebhookSink::Nowhere {
            return;
        }
        let body = serde_json::to_vec(&record.payload).unwrap_or_default();
        let delivery = Delivery {
            guid: record.guid.clone(),
            event: record.event.clone(),
            signature: sign(&self.secret, &body),
            body,
            record: record.id,
        };
        if let Ok(mut waiting) = self.waiting.lock() {
            waiting.push(delivery);
        }
        self.wake.notify_one();
    }
}

/// The value of `X-Hub-Signature-256`.
pub fn sign(secret: &SecretString, body: &[u8]) -> String {
    // HMAC takes keys of any length.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.expose_secret().as_bytes()) else { return String::new() };
    mac.update(body);
    format!("sha256={}", hex::encode(mac.finalize().into_bytes()))
}

/// How many deliveries the log keeps.
const LOG: usize = 1_000;

/// Sends a webhook about something `sender` did.
pub(super) fn send(
    sandbox: &Sandbox,
    state: &mut State,
    event: &str,
    action: Option<&str>,
    repository: Option<&str>,
    sender: u64,
    mut payload: Value,
) {
    let Some(installation) = state.installation.clone() else { return };
    {
        let view = super::json::View { sandbox, state };
        if let Some(action) = action {
            payload["action"] = json!(action);
        }
        if let Some(repository) = repository.and_then(|name| state.repositories.get(name)) {
            payload["repository"] = view.repository(repository);
        }
        payload["sender"] = view.user(sender);
        // The event about the installation itself carries all of it, and no organisation.
        if payload.get("installation").is_none() {
            payload["organization"] = view.organisation();
            payload["installation"] = json!({ "id": installation.id, "node_id": format!("I_{}", installation.id) });
        }
    }
    super::json::as_webhook(&mut payload);
    let record = DeliveryRecord {
        id: state.id(),
        guid: uuid::Uuid::new_v4().to_string(),
        event: event.to_owned(),
        action: action.map(str::to_owned),
        delivered_at: sandbox.clock().now(),
        redelivery: false,
        status_code: None,
        payload,
    };
    record_line(sandbox, &json!({ "webhook": event, "payload": record.payload }));
    sandbox.outbox.put(&record);
    state.deliveries.push(record);
    if state.deliveries.len() > LOG {
        state.deliveries.remove(0);
    }
}

/// Sends a delivery again, under the same GUID.
pub(super) fn redeliver(sandbox: &Sandbox, state: &mut State, old: &DeliveryRecord) {
    let record = DeliveryRecord {
        id: state.id(),
        redelivery: true,
        delivered_at: sandbox.clock().now(),
        status_code: None,
        ..old.clone()
    };
    sandbox.outbox.put(&record);
    state.deliveries.push(record);
}

pub(super) fn organisation(sandbox: &Sandbox, state: &mut State, action: &str, user: u64) {
    let membership = json!({
        "url": format!("{}/orgs/{}/memberships/x", sandbox.api_url(), state.organisation.login), "state": "active", "role": "member",
        "organization_url": format!("{}/orgs/{}", sandbox.api_url(), state.organisation.login),
        "user": super::json::View { sandbox, state }.user(user),
    });
    send(sandbox, state, "organization", Some(action), None, user, json!({ "membership": membership }));
}

pub(super) fn membership(sandbox: &Sandbox, state: &mut State, action: &str, slug: &str, user: u64, sender: u64) {
    let view = super::json::View { sandbox, state };
    let team = state.teams.get(slug).map(|team| view.team(team));
    let payload = json!({ "scope": "team", "member": view.user(user), "team": team });
    send(sandbox, state, "membership", Some(action), None, sender, payload);
}

pub(super) fn installation(sandbox: &Sandbox, state: &mut State) {
    let Some(installation) = state.installation.clone() else { return };
    let view = super::json::View { sandbox, state };
    let payload = json!({ "installation": view.installation(&installation), "repositories": [] });
    let sender = state.organisation.owners.first().copied().unwrap_or(state.app.bot);
    send(sandbox, state, "installation", Some("created"), None, sender, payload);
}

/// The webhooks of a branch that moved, appeared or went.
pub(super) fn push(
    ctx: &mut Ctx<'_>,
    repository: &str,
    git: &Git,
    branch: &str,
    before: Option<ObjectId>,
    after: Option<ObjectId>,
) -> Result<(), Refusal> {
    let zero = "0".repeat(40);
    let hex = |id: Option<ObjectId>| id.map_or(zero.clone(), |id| id.to_string());
    let actor = ctx.account();
    let person = ctx.state.users.get(&actor).map(|user| json!({ "name": user.login, "email": user.email }));
    let head = after.map(|id| git.commit(id)).transpose()?;
    let commit = head.as_ref().map(|commit| {
        let known = ctx.state.repositories.get(repository);
        let shown = known.map(|known| ctx.view().git_commit(known, commit)).unwrap_or(Value::Null);
        let who = |name: &str| json!({ "name": shown[name]["name"], "email": shown[name]["email"] });
        json!({
            "id": commit.id.to_string(), "tree_id": commit.tree.to_string(), "distinct": true, "message": commit.message,
            "timestamp": shown["committer"]["date"], "url": shown["html_url"], "author": who("author"), "committer": who("committer"),
            "added": [], "removed": [], "modified": [],
        })
    });
    let forced = match (before, after) {
        (Some(before), Some(after)) => !git.is_ancestor(before, after)?,
        _ => false,
    };
    let compare = format!("{}/compare/{}...{}", ctx.sandbox.base_url(), hex(before), hex(after));
    let payload = json!({
        "ref": format!("refs/heads/{branch}"), "before": hex(before), "after": hex(after), "pusher": person, "created": before.is_none(),
        "deleted": after.is_none(), "forced": forced, "base_ref": null, "compare": compare,
        "commits": commit.iter().collect::<Vec<_>>(), "head_commit": commit,
    });
    send(ctx.sandbox, ctx.state, "push", None, Some(repository), actor, payload);
    let default = ctx.repository(repository)?.default_branch.clone();
    match (before, after) {
        (None, Some(_)) => {
            let payload = json!({ "ref": branch, "ref_type": "branch", "master_branch": default, "description": null, "pusher_type": "user" });
            send(ctx.sandbox, ctx.state, "create", None, Some(repository), actor, payload);
        }
        (Some(_), None) => {
            let payload = json!({ "ref": branch, "ref_type": "branch", "pusher_type": "user" });
            send(ctx.sandbox, ctx.state, "delete", None, Some(repository), actor, payload);
        }
        _ => {}
    }
    Ok(())
}

impl Sandbox {
    /// Ends a change that was arranged directly: keeps it and lets go of the state.
    pub(super) fn flush(&self, state: MutexGuard<'_, State>) -> Result<(), SandboxError> {
        self.keep(&state)
    }

    /// Notes what became of a webhook from the queue: the answer's status, 0 if nobody answered.
    pub fn delivered(&self, delivery: &Delivery, status: u16) {
        if let Some(record) = self.state().deliveries.iter_mut().find(|record| record.id == delivery.record) {
            record.status_code = Some(status);
        }
    }

    /// Delivers webhooks over HTTP, one after the other, until the future is dropped. What fails is logged as failed and, as on
    /// GitHub, not tried again.
    pub async fn deliver(self: Arc<Self>) {
        let WebhookSink::Http(url) = self.options.webhooks.clone() else { return };
        let client = reqwest::Client::builder()
            .no_proxy()
            .timeout(std::time::Duration::from_secs(10))
            .build()
            .unwrap_or_default();
        loop {
            for delivery in self.outbox.take() {
                let request = client
                    .post(&url)
                    .header("content-type", "application/json")
                    .header("user-agent", "GitHub-Hookshot/sandbox")
                    .header("x-github-delivery", &delivery.guid)
                    .header("x-github-event", &delivery.event)
                    .header("x-hub-signature-256", &delivery.signature)
                    .body(delivery.body.clone());
                let code = request.send().await.map(|response| response.status().as_u16()).unwrap_or(0);
                self.delivered(&delivery, code);
            }
            self.outbox.wake.notified().await;
        }
    }
}

/// One exchange, for the contract tests.
pub(super) struct Exchange {
    pub method: String,
    pub path: String,
    pub query: BTreeMap<String, String>,
    pub request: Value,
}

impl Exchange {
    pub fn record(&self, sandbox: &Sandbox, status: u16, response: Option<&Value>) {
        if self.path.starts_with("/_sandbox") {
            return;
        }
        let line = json!({
            "method": self.method, "path": self.path, "query": self.query, "request_body": self.request, "status": status, "response_body": response,
        });
        record_line(sandbox, &line);
    }
}

fn record_line(sandbox: &Sandbox, line: &Value) {
    let Some(path) = &sandbox.options.record else { return };
    let opened = std::fs::OpenOptions::new().create(true).append(true).open(path);
    if let Ok(mut file) = opened {
        // One write, so that lines of several processes do not mix.
        let _ = file.write_all(format!("{line}\n").as_bytes());
    }
}
