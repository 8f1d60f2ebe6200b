//! All that speaks GitHub, through octocrab.
//!
//! [`App`] is the GitHub App: it finds installations and mints their tokens. [`Repository`] is one policy repository seen
//! through its installation. Both return the facts of [`crate::access::facts`], or slim types of their own: GitHub may add
//! fields and values at any time without breaking anything here.
//!
//! Nothing is retried here: a call that failed may have had its effect, and only the work queue knows what to do about that.
//! Why octocrab's own authentication, retries and models are not used: `docs/decisions/0003-github-client.md`.

pub mod events;

mod app;
mod budget;
mod checks;
mod deliveries;
mod error;
mod git;
mod issues;
mod people;
mod person;
mod pulls;
mod transport;
mod usage;

pub use app::{App, AppInfo, RateLimit, Repository, RepositoryInfo, Timekeeper};
pub use checks::{Annotation, AnnotationLevel, Button, CheckInfo, CheckRun, Conclusion};
pub use deliveries::{Attempt, LogPage};
pub use error::GithubError;
pub use git::{Authorship, CommitInfo};
pub use issues::{Closings, Comment, Reaction};
pub use people::Membership;
pub use person::{Opened, PersonalRepository, Proposal};
pub use pulls::{MergeOutcome, RequestedReviewers};
pub use transport::Transport;
pub use usage::{Asked, Usage};
