//! Stories: people of acme ask, approve, push and forget; Daypass answers. See `harness` for the machinery.

mod harness;
mod life;
mod outages;
mod provenance;
mod refused;
mod reviews;
