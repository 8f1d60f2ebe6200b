//! Is the embedded GitHub like GitHub? Every exchange and every webhook of the whole test run is held against GitHub's own
//! descriptions: npm's `@octokit/openapi` and `@octokit/webhooks-schemas`. `./test` records them and runs this afterwards.

// A test that cannot go on fails by panicking.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod openapi;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use openapi::Description;
use serde_json::Value;

fn given(name: &str) -> PathBuf {
    PathBuf::from(std::env::var_os(name).unwrap_or_else(|| panic!("{name} is not set; run ./test")))
}

fn read_json(path: &std::path::Path) -> Value {
    let bytes = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_slice(&bytes).unwrap()
}

/// Without what only an Enterprise Server tells, of which the description says nothing: that an account is suspended.
/// <https://docs.github.com/en/enterprise-server@3.17/rest/enterprise-admin/users>
fn as_on_github_com(mut line: Value) -> Value {
    let of_account = line["path"].as_str().is_some_and(|path| path.contains("/users/"));
    if let Some(account) = line.get_mut("response_body").and_then(Value::as_object_mut).filter(|_| of_account) {
        account.remove("suspended_at");
    }
    line
}

/// The distinct lines that were recorded.
fn recorded() -> Vec<Value> {
    let mut lines = BTreeSet::new();
    for entry in std::fs::read_dir(given("DAYPASS_EXCHANGES")).unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        lines.extend(text.lines().map(str::to_owned));
    }
    lines.iter().map(|line| as_on_github_com(serde_json::from_str(line).unwrap())).collect()
}

/// Prints what is wrong, the same thing once with the number of times, and fails.
fn fail_on(problems: BTreeMap<String, usize>) {
    for (problem, times) in &problems {
        println!("{times} × {problem}");
    }
    assert!(problems.is_empty(), "{} differences from GitHub's description", problems.len());
}

#[test]
#[ignore = "reads what the other tests recorded; ./test runs it last"]
fn every_exchange_is_as_github_describes_it() {
    let description = Description::new(read_json(&given("DAYPASS_OPENAPI")));
    let mut problems = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for exchange in recorded().iter().filter(|line| line.get("path").is_some()) {
        match description.check(exchange) {
            Ok(operation) => drop(seen.insert(operation)),
            Err(found) => found.into_iter().for_each(|problem| *problems.entry(problem).or_default() += 1),
        }
    }
    println!("{} operations with their statuses were seen: {seen:#?}", seen.len());
    // Far fewer would mean that recording is broken.
    assert!(seen.len() > 40, "only {} operations were seen", seen.len());
    fail_on(problems);
}

#[test]
#[ignore = "reads what the other tests recorded; ./test runs it last"]
fn every_webhook_is_as_github_describes_it() {
    let schema = read_json(&given("DAYPASS_WEBHOOKS"));
    let mut validators: BTreeMap<String, jsonschema::Validator> = BTreeMap::new();
    let mut problems = BTreeMap::new();
    for line in recorded().iter().filter(|line| line.get("webhook").is_some()) {
        let (event, payload) = (line["webhook"].as_str().unwrap(), &line["payload"]);
        let name = match payload["action"].as_str() {
            Some(action) => format!("{event}${action}"),
            None => format!("{event}$event"),
        };
        let validator = validators.entry(name.clone()).or_insert_with(|| {
            assert!(schema["definitions"].get(&name).is_some(), "GitHub sends no webhook {name}");
            let mut one = schema.clone();
            one.as_object_mut().unwrap().remove("oneOf");
            one["$ref"] = format!("#/definitions/{name}").into();
            // Next to `$ref` draft 7 ignores everything else, `definitions` for look-ups excepted.
            jsonschema::draft7::new(&one).unwrap()
        });
        for error in validator.iter_errors(payload) {
            *problems.entry(format!("{name}{}: {error:.300}", error.instance_path())).or_default() += 1;
        }
    }
    println!("webhooks seen: {:?}", validators.keys().collect::<Vec<_>>());
    for needed in ["push$event", "pull_request$opened", "pull_request_review$submitted", "membership$added"] {
        assert!(validators.contains_key(needed), "{needed} was never sent");
    }
    fail_on(problems);
}
