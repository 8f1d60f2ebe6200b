//! The record: what happened, as events with deterministic ids, so that replays cannot double them; and what git recorded, read
//! from a local clone.

mod clone;
mod event;

pub use clone::{CloneError, LocalClone};
pub use event::{Event, EventKind};
