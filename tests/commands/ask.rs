//! `daypass extend` and `daypass revoke` write for people what they could write on the page.

use serde_json::{Value, json};

use crate::daypass;
use crate::sandbox::start;

async fn comments(facts: &Value, number: u64) -> Vec<(String, String)> {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = format!("{}/repos/acme/access/issues/{number}/comments", facts["api_url"].as_str().unwrap());
    let token = facts["tokens"]["alice"].as_str().unwrap();
    let list: Value = client.get(url).bearer_auth(token).send().await.unwrap().json().await.unwrap();
    let one = |comment: &Value| {
        (comment["user"]["login"].as_str().unwrap().to_owned(), comment["body"].as_str().unwrap().to_owned())
    };
    list.as_array().unwrap().iter().map(one).collect()
}

fn runs(facts: &Value, token: &str, args: &[&str]) -> (Option<i32>, String) {
    let done = daypass()
        .args(args)
        .env("GITHUB_REPOSITORY", "acme/access")
        .env("GITHUB_TOKEN", token)
        .env("GITHUB_API_URL", facts["api_url"].as_str().unwrap())
        .output()
        .unwrap();
    let said = [done.stdout, done.stderr].concat();
    (done.status.code(), String::from_utf8(said).unwrap())
}

#[tokio::test]
async fn what_is_asked_for_is_a_comment_of_whoever_asks() {
    let dir = tempfile::tempdir().unwrap();
    let (_process, facts) = start(dir.path());
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let (alice, bob) = (facts["tokens"]["alice"].as_str().unwrap(), facts["tokens"]["bob"].as_str().unwrap());
    let issues = format!("{}/repos/acme/access/issues", facts["api_url"].as_str().unwrap());
    let made = client.post(issues).bearer_auth(alice).json(&json!({ "title": "Orders" })).send().await.unwrap();
    let number = made.json::<Value>().await.unwrap()["number"].as_u64().unwrap();
    let grant = format!("alice-orders#{number}");

    let (code, said) = runs(&facts, alice, &["extend", &grant, "1h"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains(&format!("Asked for in #{number}")), "{said}");
    assert_eq!(runs(&facts, bob, &["revoke", &number.to_string()]).0, Some(0));
    let wanted = [("alice", "/daypass extend 1h"), ("bob", "/daypass revoke")];
    let wanted: Vec<(String, String)> =
        wanted.iter().map(|(by, text)| ((*by).to_owned(), (*text).to_owned())).collect();
    assert_eq!(comments(&facts, number).await, wanted);

    let (code, said) = runs(&facts, "ghp_nonsense", &["revoke", &grant]);
    assert_eq!(code, Some(2));
    assert!(said.contains("the token is not accepted") && !said.contains("ghp_nonsense"), "{said}");
    let (code, said) = runs(&facts, alice, &["revoke", "999"]);
    assert_eq!((code, said.contains("was not found, or the token may not see it")), (Some(2), true), "{said}");
    assert_eq!(runs(&facts, alice, &["extend", "alice-orders", "1h"]).0, Some(2));
}
