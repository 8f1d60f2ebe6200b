//! `daypass sandbox` keeps what it was told.

use std::process::Stdio;

use serde_json::{Value, json};

use crate::daypass;
use crate::support::{Process, eventually};

/// Starts it in `dir`; where it is, and its tokens.
pub fn start(dir: &std::path::Path) -> (Process, Value) {
    let facts = dir.join("facts.json");
    let _ = std::fs::remove_file(&facts);
    let child = daypass()
        .args(["sandbox", "--port", "0", "--dir"])
        .arg(dir.join("github"))
        .arg("--print-json")
        .arg(&facts)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let process = Process(child);
    let mut read = Value::Null;
    eventually("the sandbox says where it is", || {
        read = serde_json::from_str(&std::fs::read_to_string(&facts).unwrap_or_default()).unwrap_or_default();
        read.is_object()
    });
    (process, read)
}

#[tokio::test]
async fn killed_and_started_again_it_has_everything_it_had() {
    let dir = tempfile::tempdir().unwrap();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let (process, facts) = start(dir.path());
    let issues = |facts: &Value| format!("{}/repos/acme/access/issues", facts["api_url"].as_str().unwrap());
    let token = facts["tokens"]["alice"].as_str().unwrap().to_owned();
    let made = client.post(issues(&facts)).bearer_auth(&token).json(&json!({ "title": "Remember me" }));
    assert_eq!(made.send().await.unwrap().status(), 201);
    drop(process);

    let (_process, facts) = start(dir.path());
    let list: Value = client.get(issues(&facts)).bearer_auth(&token).send().await.unwrap().json().await.unwrap();
    assert_eq!(list[0]["title"], "Remember me", "{list}");
    assert_eq!(facts["tokens"]["alice"], token.as_str(), "the old tokens work, and are told again");
    let main: Value = client
        .get(format!("{}/repos/acme/access/contents/policies/settings.yaml", facts["api_url"].as_str().unwrap()))
        .bearer_auth(&token)
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(main["name"], "settings.yaml", "{main}");
}
