//! Stories: people of acme ask, approve, push and forget; Daypass answers. See `support::world` for the machinery.

// A story that cannot go on fails by panicking.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../support/mod.rs"]
mod support;

mod clocks;
mod damage;
mod effect;
mod fog;
mod github;
mod ledger;
mod life;
mod outages;
mod planned;
mod policy_tests;
mod provenance;
mod rebuild;
mod refused;
mod reviews;
mod storage;
mod watched;
