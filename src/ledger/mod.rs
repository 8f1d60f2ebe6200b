//! The record: what happened, as events with deterministic ids, so that replays cannot double them; the chain that ties them together,
//! and the files of the branch they are written to; and what git recorded, read from a local clone.
//!
//! Nothing here asks GitHub: the engine writes the branch, and `daypass audit` reads it from a clone.

mod batch;
mod branch;
mod chain;
mod clone;
pub mod details;
mod event;
mod file;
pub mod replay;
pub mod report;
pub mod review;
pub mod tell;
pub mod verify;

pub use batch::{Batch, Pending, Tip};
pub use branch::{CommitFacts, LedgerBranch, LinePlace, ReadLine};
pub use chain::{Entry, LineError, Link, canonical, link};
pub use clone::{CloneError, LocalClone};
pub use event::{Denied, Event, EventKind, Gravity, InForceSince, UnknownKind, VERSION};
pub use file::{BRANCH, LedgerFile, TRAILER};
