//! Stories: people of acme ask, approve, push and forget; Daypass answers. See `harness` for the machinery.

// A story that cannot go on fails by panicking.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod github;
mod harness;
mod life;
mod outages;
mod provenance;
mod refused;
mod reviews;
