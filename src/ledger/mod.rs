//! The record: what happened, as events with deterministic ids, so that replays cannot double them.

mod event;

pub use event::{Event, EventKind};
