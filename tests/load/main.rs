//! Load: many grants, many that end at once, many webhooks in a burst. What must be true is asserted; how long it takes is printed.
//!
//! `./test --load` plays it in full, built for release; `./test` plays a twentieth of it. `DAYPASS_LOAD=N` is the share, in percent.

// A test that cannot go on fails by panicking.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../support/mod.rs"]
mod support;

mod expiry;
mod installations;
mod webhooks;

use std::time::Duration;

/// So many of `whole`, by the share that is asked for.
fn share(whole: u64) -> u64 {
    let percent = std::env::var("DAYPASS_LOAD").ok().and_then(|text| text.parse().ok()).unwrap_or(5);
    whole * percent / 100
}

/// Median, 95th percentile and maximum, in words.
fn spread(mut times: Vec<Duration>) -> String {
    times.sort();
    let at =
        |percent: usize| times.get((times.len() * percent / 100).min(times.len() - 1)).copied().unwrap_or_default();
    format!("median {:.2?}, 95 of 100 within {:.2?}, longest {:.2?}", at(50), at(95), at(100))
}
