//! Any bytes as a policy: read, resolved, looked over, and its tests run.
#![no_main]

use std::collections::BTreeMap;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let loaded = daypass_fuzz::policy::load(&BTreeMap::from([("policies/x.yaml".to_owned(), bytes.to_vec())]), None);
    if let Some(policy) = loaded.policy {
        for test in daypass_fuzz::access::rehearsal::run(&policy, |_| true) {
            let _ = test.finding();
        }
    }
});
