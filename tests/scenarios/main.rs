//! Stories: people of acme ask, approve, push and forget; Daypass answers. See `support::world` for the machinery.

// A story that cannot go on fails by panicking.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../support/mod.rs"]
mod support;

mod asked;
mod attacks;
mod buttons;
mod chains;
mod cheats;
mod clocks;
mod commands;
mod damage;
mod documents;
mod drift;
mod effect;
mod emergency;
mod extend;
mod fog;
mod forged;
mod github;
mod hands;
mod in_force;
mod ledger;
mod life;
mod outages;
mod planned;
mod policy_tests;
mod provenance;
mod rebuild;
mod refused;
mod reviews;
mod sessions;
mod storage;
mod streams;
mod waiting;
mod watched;
