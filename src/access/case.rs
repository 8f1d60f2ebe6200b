//! What a decision rests on: the pull request with what people did and said, memberships, the policy, the time.

use chrono::{DateTime, Utc};

use super::extension::Extension;
use super::facts::{Account, Commit, Directory, PullRequest, PullState, Review};
use super::history::History;
use crate::policy::{Code, Finding, Policy, Request, Severity};

/// What is known about a pull request.
#[derive(Debug, Clone)]
pub struct PullFacts {
    /// The pull request.
    pub pull: PullRequest,
    /// Its commits.
    pub commits: Vec<Commit>,
    /// Its reviews, in GitHub's order.
    pub reviews: Vec<Review>,
    /// The running grant it extends, if Daypass opened it for that.
    pub extends: Option<Extension>,
    /// What happened before, and is going on beside it.
    pub history: History,
}

impl PullFacts {
    /// Who asks: the author, or, where Daypass opened the pull request for somebody, they.
    pub fn requester(&self) -> Option<&Account> {
        self.extends.as_ref().map(|extension| &extension.requester).or(self.pull.author.as_ref())
    }
}

/// Everything a decision rests on.
#[derive(Debug, Clone, Copy)]
pub struct Case<'a> {
    /// The policy: of the default branch's head before a merge, of the merge commit's first parent after it.
    pub policy: &'a Policy,
    /// Memberships.
    pub directory: &'a Directory,
    /// The pull request.
    pub facts: &'a PullFacts,
    /// The time of the judgement.
    pub now: DateTime<Utc>,
}

impl Case<'_> {
    pub(super) fn merged_at(&self) -> Option<DateTime<Utc>> {
        match self.facts.pull.state {
            PullState::Merged { at, .. } => Some(at),
            _ => None,
        }
    }
}

/// A finding about a field of a request; about the file as a whole if `field` is empty or was left out.
pub(super) fn finding(request: &Request, field: &str, code: Code, message: String, help: &str) -> Finding {
    Finding {
        file: request.path(),
        place: request.place(field),
        severity: Severity::Error,
        code,
        message,
        help: help.to_owned(),
    }
}
