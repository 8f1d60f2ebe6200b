//! Events: one per request, decision, approval, grant, change, revocation and failure (I3).
//!
//! The list below is the only place where kinds are defined: the enum, the words in the record, the commands' help and
//! `docs/ledger.md` are made from it.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::policy::name::{CommitId, RepositoryName, RoleName, UserId};

/// The version of the event model that is written.
pub const VERSION: u32 = 1;

macro_rules! kinds {
    ($($name:ident = $word:literal, $meaning:literal, { $($field:literal: $says:literal),* $(,)? };)*) => {
        /// What happened.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum EventKind {
            $(#[doc = $meaning] #[serde(rename = $word)] $name,)*
        }

        impl EventKind {
            /// Every kind, in the order of a life.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The word in the record.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $word,)* }
            }

            /// What it means, as a sentence.
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$name => $meaning,)* }
            }

            /// What `details` holds: name and meaning of each field.
            pub const fn fields(self) -> &'static [(&'static str, &'static str)] {
                match self { $(Self::$name => &[$(($field, $says),)*],)* }
            }
        }
    };
}

kinds! {
    Requested = "requested", "A pull request asks for something, at this head.", {
        "pull_request": "its number", "head": "its head commit", "author": "who opened it",
        "requests": "what is asked for: grant, subject, role, duration, start, reason, ticket, break_glass",
        "removes": "the files in `grants/` it removes", "policy": "whether it changes the policy",
        "pushed_by": "who pushed its commits, as far as webhooks told",
    };
    Decided = "decided", "A pull request was judged, with a verdict that differs from the one before.", {
        "pull_request": "its number", "head": "the commit that was judged", "author": "who opened it", "verdict": "approved, waiting, objected or refused",
        "title": "the verdict as people read it", "policy": "the commit of the policy it was judged under, and the id of the tree of `policies/` there",
        "decision": "the decision tree: for each part its verdict, findings, stages with whose approvals count, objections, and approvals that do not count",
    };
    Asked = "asked", "People are asked again to approve a pull request that was refused, or a draft, meanwhile: what widens counts from here.", {
        "pull_request": "the pull request", "head": "its head",
    };
    Approved = "approved", "An approval counts: it was given for the head, by somebody the rule allows.", {
        "pull_request": "the pull request", "head": "the commit it was given for", "by": "who gave it", "review": "GitHub's id of the review",
        "rule": "the approval rule", "stage": "the stage it satisfies",
    };
    Objected = "objected", "Somebody who may approve asks for changes.", {
        "pull_request": "the pull request", "head": "its head then", "by": "who objects", "review": "GitHub's id of the review",
        "commit": "the commit the review was given for",
    };
    Denied = "denied", "An approver denied a request, which is closed by it.", {
        "pull_request": "the pull request", "head": "its head then", "by": "who denied it", "reason": "why",
        "requests": "what was denied: the number of each subject, and the role",
    };
    Escalated = "escalated", "A stage waited too long, and others may approve it now.", {
        "pull_request": "the pull request", "stage": "the stage", "at": "when it widened", "approvers": "who may approve it since",
    };
    Rejected = "rejected", "A request was closed because nobody approved it in time, or because what it would extend is over.", {
        "pull_request": "the pull request", "head": "its head then", "reason": "why it was closed",
    };
    Withdrawn = "withdrawn", "A pull request was closed without a merge.", {
        "pull_request": "the pull request", "head": "its head then", "author": "who opened it",
    };
    Merged = "merged", "A pull request that Daypass decides about was merged.", {
        "pull_request": "the pull request", "head": "the head that was merged", "commit": "what it left on the default branch",
        "by": "who merged it", "at": "when, by GitHub's clock",
    };
    Granted = "granted", "A merged request was verified: the grant is live or scheduled.", {
        "grant": "the grant: file and pull request", "subject": "who has the access", "requester": "who asked", "role": "the role",
        "window": "when access is due", "approvers": "whose approvals it rests on", "merge_commit": "the commit that brought it",
        "blob": "the content of its file", "policy": "the commit of the policy it was verified under, and the id of the tree of `policies/` there",
        "reason": "why", "ticket": "the ticket", "break_glass": "whether it came by the emergency path", "entitlements": "what it gives",
        "replaces": "the grant whose place it takes: that one was extended, or changed", "chain": "where the chain of extensions began, if it extends one",
    };
    Emergency = "emergency", "The glass was broken, and the review of it is open.", {
        "grant": "the grant", "issue": "the issue in which it is reviewed", "due_at": "by when it is to be reviewed",
    };
    Reviewed = "reviewed", "An emergency was reviewed.", {
        "grant": "the grant", "issue": "the issue", "by": "who reviewed it", "comment": "GitHub's id of the comment", "at": "when, by GitHub's clock",
        "due_at": "by when it was to be reviewed",
    };
    ReviewOverdue = "review-overdue", "An emergency should have been reviewed by now.", {
        "grant": "the grant", "issue": "the issue", "due_at": "by when it was to be reviewed",
    };
    Started = "started", "A scheduled grant began.", { "grant": "the grant", "subject": "who has the access", "role": "the role" };
    Ended = "ended", "A grant ended.", {
        "grant": "the grant", "subject": "who had the access", "role": "the role", "reason": "expired, revoked, replaced or policy",
        "ended_at": "when it was over, which may be before it was noticed",
    };
    Refused = "refused", "Content of the default branch could not be verified and is not applied.", {
        "path": "the file", "blob": "its content", "commit": "the commit that brought it", "reason": "why it is refused",
        "pull_request": "the pull request that brought it, if one did",
    };
    Applied = "applied", "A target confirmed access.", {
        "grant": "the grant", "subject": "who has it", "role": "the role", "entitlement": "what was given", "standing": "whether the subject had it before Daypass; then nothing was changed",
        "receipt": "what the target answered",
    };
    Joined = "joined", "A grant gives access that another one gives already: nothing had to be done on the target.", {
        "grant": "the grant", "subject": "who has it", "role": "the role", "entitlement": "what it gives",
        "standing": "whether the subject had it before Daypass",
    };
    Left = "left", "A grant ended whose access another one still gives: it stays.", {
        "grant": "the grant", "subject": "who has it", "role": "the role", "entitlement": "what stays",
        "standing": "whether the subject had it before Daypass",
    };
    Removed = "removed", "A target confirmed the end of access.", {
        "grant": "the grant", "subject": "who had it", "role": "the role", "entitlement": "what was taken away", "receipt": "what the target answered",
    };
    Drifted = "drifted", "Somebody else took away on a target what Daypass had given. Since when it was gone is not known.", {
        "grant": "the grant", "subject": "whose access it is", "role": "the role", "entitlement": "what was gone",
        "repaired": "whether Daypass gives it again, by the target's setting",
    };
    SessionOpened = "session-opened", "Somebody was seen using a target while a grant of theirs gave access to it.", {
        "grant": "the grant", "subject": "who has it", "role": "the role", "target": "the target, as far as it is known",
        "source": "who saw it: the kind of the target, or what whoever reported it calls itself", "session": "tells sessions of one source apart",
        "opened_at": "when it began, or when it was seen first if nobody knows", "what": "what it is, in the words of the source",
    };
    SessionClosed = "session-closed", "A session was seen to be over, or its access was taken away.", {
        "grant": "the grant", "subject": "who had it", "role": "the role", "target": "the target, as far as it is known", "source": "who saw it",
        "session": "which session", "opened_at": "when it began", "closed_at": "by when it was over",
        "revoked": "whether the access was taken away while it was open: what was done in it from then on is not known here",
    };
    Failed = "failed", "A target refused, or could not be reached.", {
        "grant": "the grant", "subject": "whose access it is", "role": "the role", "entitlement": "what was to be given or taken away", "ending": "whether it was to be taken away",
        "error": "what the target said",
    };
    PolicyChanged = "policy-changed", "The policy on the default branch changed.", {
        "commit": "the commit", "pull_request": "the pull request that brought it; none if it was pushed", "policy": "the id of the tree of `policies/` since",
    };
    PolicyInForce = "policy-in-force", "A policy is in force from here on: everything is judged under it until the next one is.", {
        "commit": "the commit", "policy": "the id of the tree of `policies/` there", "how": "adopted: it was there when Daypass first looked; approved under the one before it; or trusted by an operator",
        "pull_request": "the pull request that brought it, if one did", "before": "the commit of the one in force before, if there was one", "reason": "what the operator said",
        "since": "where the default branch was when an operator said so",
    };
    PolicyUnverified = "policy-unverified", "The default branch holds a policy nobody approved: it is not in force, and is taken back.", {
        "commit": "the commit that brought it", "pull_request": "the pull request that brought it, if one did", "policy": "the id of the tree of `policies/` there",
        "in_force": "the commit of the policy that stays in force", "reason": "why it is not in force",
    };
    AccessReviewed = "access-reviewed", "A review of access was merged: see `daypass review`.", {
        "pull_request": "the pull request that brought it", "commit": "the commit", "path": "the file of the review", "blob": "its content",
        "by": "who merged it", "approved_by": "who approved its last commit, besides its author",
        "since": "the first time it is about", "until": "the first time it is no longer about",
        "items": "how many things there were to be looked at", "confirmed": "how many of them were ticked in the file",
    };
    HistoryRewritten = "history-rewritten", "The default branch does not go on from where it was read.", {
        "before": "where it was read", "after": "where it is now",
    };
    LedgerAltered = "ledger-altered", "Somebody else than Daypass wrote to the branch of the ledger, set it back or deleted it. Daypass put it right.", {
        "expected": "where Daypass had left the branch", "found": "where it was; none if it was gone", "seq": "the last event that was certain", "how": "what was found, as a sentence",
    };
}

/// How much an event should alarm whoever watches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Gravity {
    /// It is as it should be.
    Ordinary,
    /// Somebody should look at it.
    Notable,
    /// Somebody went past the rules, or tried to.
    Alarming,
}

impl EventKind {
    /// How much it should alarm.
    pub const fn gravity(self) -> Gravity {
        match self {
            Self::LedgerAltered | Self::HistoryRewritten | Self::Refused | Self::PolicyUnverified => Gravity::Alarming,
            Self::Failed | Self::Drifted | Self::Emergency | Self::ReviewOverdue => Gravity::Notable,
            _ => Gravity::Ordinary,
        }
    }
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Not a kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there are no events of kind {0:?}")]
pub struct UnknownKind(String);

impl FromStr for EventKind {
    type Err = UnknownKind;

    fn from_str(text: &str) -> Result<Self, UnknownKind> {
        let known = Self::ALL.iter().find(|kind| kind.as_str() == text).copied();
        known.ok_or_else(|| UnknownKind(text.chars().take(40).collect()))
    }
}

/// What was denied, in the details of [`EventKind::Denied`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Denied {
    /// Who would have got the access.
    pub subject: UserId,
    /// The role.
    pub role: RoleName,
}

/// The policy that is in force since, in the details of [`EventKind::PolicyInForce`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InForceSince {
    /// A commit at which it can be read.
    pub commit: CommitId,
    /// Git's id of the tree of `policies/` there.
    pub policy: String,
    /// Where the default branch was when an operator said that it counts; otherwise it counts from its own commit on.
    #[serde(default)]
    pub since: Option<CommitId>,
}

impl InForceSince {
    /// The commit of the default branch from which on it counts.
    pub fn since(&self) -> &CommitId {
        self.since.as_ref().unwrap_or(&self.commit)
    }
}

/// Something that happened, once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// The version of the event model it was written in.
    #[serde(default = "first_version")]
    pub v: u32,
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

const fn first_version() -> u32 {
    1
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
            v: VERSION,
            id: format!("{repository}/{about}/{kind}/{occasion}"),
            at,
            repository: repository.clone(),
            kind,
            details,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_reads_and_prints_the_same() {
        for kind in EventKind::ALL {
            assert_eq!(kind.as_str().parse::<EventKind>().unwrap(), *kind);
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
        }
        assert!("invented".parse::<EventKind>().is_err());
    }

    /// `UPDATE_DOCS=1 cargo test` writes the page anew.
    #[test]
    fn the_page_of_the_ledger_is_current() {
        let mut page = include_str!("format.md").to_owned();
        for kind in EventKind::ALL {
            page.push_str(&format!("\n### {kind}\n\n{}\n\n", kind.meaning()));
            for (field, says) in kind.fields() {
                page.push_str(&format!("- `{field}`: {says}\n"));
            }
        }
        page.push_str("\n## What `daypass audit verify` finds\n");
        for code in crate::ledger::verify::FaultCode::ALL {
            page.push_str(&format!("\n### {}: {}\n\n{}\n", code.as_str(), code.title(), code.explanation()));
        }
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/ledger.md");
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(path, &page).unwrap();
        }
        assert_eq!(std::fs::read_to_string(path).unwrap_or_default(), page, "run with UPDATE_DOCS=1");
    }
}
