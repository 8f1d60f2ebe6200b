//! The decision against somebody else's: `decide` and the effect of policy changes are held against naive re-implementations over
//! thousands of generated policies. What fails names its seed; `DAYPASS_SEED=N` plays that one alone.

// A test that cannot go on fails by panicking.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod agree;
mod effect;
mod found;
mod generate;
mod naive;

/// Plays `many` seeds from 1 on, or the one that is asked for.
fn seeds(many: u64) -> std::ops::RangeInclusive<u64> {
    match std::env::var("DAYPASS_SEED").ok().and_then(|seed| seed.parse().ok()) {
        Some(seed) => seed..=seed,
        None => 1..=many,
    }
}
