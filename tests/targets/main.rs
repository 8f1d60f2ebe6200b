//! Targets against real servers. `./test` runs these; a plain `cargo test` leaves them out, as they need installed servers.

// A test that cannot go on fails by panicking.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../support/mod.rs"]
mod support;

mod conformance;
mod documents;
mod postgres;
mod servers;
mod sshd;
