//! Daypass: just-in-time access by pull request.
//!
//! The map of the crate. Arrows point down only; a module may use those below it, never those above:
//!
//! ```text
//! cli   web   sandbox        faces: command line, HTTP, an embedded GitHub for the demo and the tests
//!          engine            the shell: gathers facts, asks the core, carries out what it answered, keeps the clock
//! github target store ledger the outside world: GitHub, the systems access is granted on, the database, the record,
//! stream                     and whoever else wants to hear of what happened
//!          access            the rules of just-in-time access: request -> decision -> approval -> grant -> plan (pure)
//!          policy            what the YAML says: parsing, names, conditions, findings (pure)
//! ```
//!
//! `mutants`, which any module may ask, is for the simulation alone: see there. `signature` is how programs that share a secret sign
//! what they tell each other; it needs nothing else of the crate.
//!
//! `policy` and `access` do no I/O and read no clock: file contents, memberships and the time are arguments.

pub mod access;
pub mod cli;
pub mod engine;
pub mod github;
pub mod ledger;
pub mod mutants;
pub mod policy;
pub mod sandbox;
pub mod signature;
pub mod store;
pub mod stream;
pub mod target;
pub mod web;
