//! Events: one per request, decision, grant, change, revocation and failure (I3).

use std::fmt;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::policy::name::RepositoryName;

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EventKind {
    /// A request was judged, with a verdict that differs from the one before.
    Decided,
    /// A request was closed without a merge.
    Withdrawn,
    /// An approver denied a request.
    Denied,
    /// A request was closed because nobody approved it in time, or what it would extend is over.
    Rejected,
    /// A merged request was verified: the grant is live or scheduled.
    Granted,
    /// A stage waited too long, and others may approve it now.
    Escalated,
    /// The glass was broken, and the review of it is open.
    Emergency,
    /// An emergency was reviewed.
    Reviewed,
    /// An emergency should have been reviewed by now.
    ReviewOverdue,
    /// A scheduled grant began.
    Started,
    /// A grant ended.
    Ended,
    /// Content of the default branch could not be verified and is not applied.
    Refused,
    /// A target confirmed access.
    Applied,
    /// A target confirmed the end of access.
    Removed,
    /// A target refused or could not be reached.
    Failed,
    /// The policy on the default branch changed.
    PolicyChanged,
    /// The default branch does not go on from where it was read.
    HistoryRewritten,
}

impl EventKind {
    /// The word in the record.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Decided => "decided",
            Self::Withdrawn => "withdrawn",
            Self::Denied => "denied",
            Self::Rejected => "rejected",
            Self::Granted => "granted",
            Self::Escalated => "escalated",
            Self::Emergency => "emergency",
            Self::Reviewed => "reviewed",
            Self::ReviewOverdue => "review-overdue",
            Self::Started => "started",
            Self::Ended => "ended",
            Self::Refused => "refused",
            Self::Applied => "applied",
            Self::Removed => "removed",
            Self::Failed => "failed",
            Self::PolicyChanged => "policy-changed",
            Self::HistoryRewritten => "history-rewritten",
        }
    }
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Something that happened, once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// `repository/subject/transition`: the same event has the same id, whoever records it and however often.
    pub id: String,
    /// When it happened.
    pub at: DateTime<Utc>,
    /// The policy repository it belongs to.
    pub repository: RepositoryName,
    /// What happened.
    pub kind: EventKind,
    /// Who, what, where, why. Never a secret.
    pub details: serde_json::Value,
}

impl Event {
    /// An event about `about` (a grant id, a pull request, an entitlement). `occasion` tells repeated transitions of the same
    /// thing apart and is the same for replays of one: a commit, a verdict, a time from GitHub.
    pub fn new(
        repository: &RepositoryName,
        kind: EventKind,
        about: impl fmt::Display,
        occasion: impl fmt::Display,
        at: DateTime<Utc>,
        details: serde_json::Value,
    ) -> Self {
        Self {
            id: format!("{repository}/{about}/{kind}/{occasion}"),
            at,
            repository: repository.clone(),
            kind,
            details,
        }
    }
}
