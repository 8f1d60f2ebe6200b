//! Any bytes as a policy, a request and the facts, between lines of `===`: read, resolved, decided and explained.
#![no_main]

use std::collections::BTreeMap;

use daypass_fuzz::access::explain::explain;
use daypass_fuzz::access::given;
use daypass_fuzz::policy::{self, testcase};
use libfuzzer_sys::fuzz_target;

const BASE: &[u8] = include_bytes!("../../tests/hostile/base.yaml");

fuzz_target!(|bytes: &[u8]| {
    let text = String::from_utf8_lossy(bytes);
    let mut parts = text.split("\n===\n");
    let mut next = || parts.next().unwrap_or_default().as_bytes().to_vec();
    let (request, facts, written) = (next(), next(), next());
    let load = |bytes| policy::load(&BTreeMap::from([("policies/x.yaml".to_owned(), bytes)]), None).policy;
    let Some(policy) = load(written).or_else(|| load(BASE.to_vec())) else { return };
    let _ = policy::judge::review("grants/x.yaml", &request, Some(&policy));
    let Ok(request) = policy::request::read("grants/x.yaml", &request, Some(&policy)) else { return };
    let facts = testcase::read_given("given.yaml", &facts).unwrap_or_default();
    let Ok(author) = "alice".parse() else { return };
    let now = facts.now(request.start);
    let _ = given::judge(&request, &author, &facts, &policy, now);
    let _ = explain(&request, &author, &facts, &policy, now);
});
