//! The pure core of Daypass, and nothing else of it: that it can be built alone shows that it needs neither network nor disk.

#![forbid(unsafe_code)]
// What only the rest of Daypass uses, and what is switched on only there.
#![allow(dead_code, unexpected_cfgs)]

#[path = "../../src/access/mod.rs"]
pub mod access;
#[path = "../../src/mutants.rs"]
pub mod mutants;
#[path = "../../src/policy/mod.rs"]
pub mod policy;
