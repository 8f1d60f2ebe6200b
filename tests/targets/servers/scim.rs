//! A real SCIM 2.0 server: `scim2-server` from PyPI.

use std::process::{Command, Stdio};
use std::sync::Arc;

use async_trait::async_trait;
use daypass::policy::entitlement::Entitlement;
use daypass::policy::kind::TargetKind;
use daypass::target::Target;
use reqwest::{Client, Method};
use serde_json::{Value, json};

use super::{TOKEN, named, target};
use crate::conformance::Bench;
use crate::support::{Process, free_port};

pub struct Server {
    address: String,
    client: Client,
    _process: Process,
}

pub async fn start() -> Server {
    let python = std::env::var("DAYPASS_TEST_PYTHON").expect("DAYPASS_TEST_PYTHON names a Python with scim2-server");
    let port = free_port();
    let process = Command::new(python)
        .args(["-m", "scim2_server.testserver.cli", "--bearer-token", TOKEN, "--port", &port.to_string()])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let address = format!("http://127.0.0.1:{port}/v2");
    let server = Server { address, client: Client::builder().no_proxy().build().unwrap(), _process: Process(process) };
    let mut tries = 0;
    while server.client.get(&server.address).send().await.is_err() {
        tries += 1;
        assert!(tries < 600, "the SCIM server does not start");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    for login in ["alice", "bob"] {
        let schema = "urn:ietf:params:scim:schemas:core:2.0:User";
        server.ask(Method::POST, "/Users", Some(json!({ "schemas": [schema], "userName": login }))).await;
    }
    server
}

impl Server {
    async fn ask(&self, method: Method, path: &str, body: Option<Value>) -> Value {
        let mut request = self.client.request(method, format!("{}{path}", self.address)).bearer_auth(TOKEN);
        if let Some(body) = body {
            request = request.header("content-type", "application/scim+json").body(body.to_string());
        }
        let response = request.send().await.unwrap();
        let (status, text) = (response.status(), response.text().await.unwrap());
        assert!(status.is_success(), "{path}: {status} {text}");
        serde_json::from_str(&text).unwrap_or_default()
    }

    /// The id of whatever has this attribute, found without a filter.
    async fn id(&self, kind: &str, attribute: &str, name: &str) -> Option<String> {
        let all = self.ask(Method::GET, &format!("/{kind}?count=1000"), None).await;
        let found = all["Resources"].as_array()?.iter().find(|one| one[attribute] == name)?;
        Some(found["id"].as_str().unwrap().to_owned())
    }

    fn at(&self, address: &str, token: &str) -> Arc<dyn Target> {
        target("scim", &json!({ "url": address, "token": token, "connection": { "plain_text": true } }))
    }
}

#[async_trait]
impl Bench for Server {
    fn name(&self) -> (&'static str, &'static str) {
        ("scim", "scim2-server")
    }

    fn target(&self) -> Arc<dyn Target> {
        self.at(&self.address, TOKEN)
    }

    fn forged(&self) -> Option<Arc<dyn Target>> {
        Some(self.at(&self.address, "f0rged"))
    }

    fn nowhere(&self) -> Arc<dyn Target> {
        self.at(&format!("http://127.0.0.1:{}/v2", free_port()), TOKEN)
    }

    fn access(&self, principal: &str, name: &str) -> Entitlement {
        named(TargetKind::Scim, principal, [("group", name)])
    }

    async fn make(&self, name: &str) {
        if self.id("Groups", "displayName", name).await.is_none() {
            let schema = "urn:ietf:params:scim:schemas:core:2.0:Group";
            self.ask(Method::POST, "/Groups", Some(json!({ "schemas": [schema], "displayName": name }))).await;
        }
    }

    async fn has(&self, principal: &str, name: &str) -> bool {
        let (Some(person), Some(group)) =
            (self.id("Users", "userName", principal).await, self.id("Groups", "displayName", name).await)
        else {
            return false;
        };
        let group = self.ask(Method::GET, &format!("/Groups/{group}"), None).await;
        group["members"].as_array().is_some_and(|members| members.iter().any(|member| member["value"] == person))
    }

    async fn give(&self, principal: &str, name: &str) {
        let person = self.id("Users", "userName", principal).await.unwrap();
        let group = self.id("Groups", "displayName", name).await.unwrap();
        let operation = json!({ "op": "add", "path": "members", "value": [{ "value": person }] });
        let schema = "urn:ietf:params:scim:api:messages:2.0:PatchOp";
        let body = json!({ "schemas": [schema], "Operations": [operation] });
        self.ask(Method::PATCH, &format!("/Groups/{group}"), Some(body)).await;
    }
}
