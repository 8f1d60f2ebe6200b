//! A grant: access somebody has, or had, because of one merged pull request.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::extension::Chain;
use super::facts::Account;
use crate::mutants::{self, Mutant};
use crate::policy::Duration;
use crate::policy::entitlement::Entitlement;
use crate::policy::name::{BlobId, CommitId, RepositoryName, RoleName, Slug};

/// What tells grants apart: the file, and the pull request that put this content there. Editing the file by another pull
/// request makes another grant.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct GrantId {
    /// The file.
    pub slug: Slug,
    /// The pull request; 0 for content no pull request brought, which is never granted.
    pub pull_request: u64,
}

/// Why a text is not a [`GrantId`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a grant id: expected slug#number")]
pub struct GrantIdError(String);

impl fmt::Display for GrantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.slug, self.pull_request)
    }
}

impl FromStr for GrantId {
    type Err = GrantIdError;
    fn from_str(text: &str) -> Result<Self, GrantIdError> {
        let error = || GrantIdError(text.chars().take(120).collect());
        let (slug, number) = text.split_once('#').ok_or_else(error)?;
        Ok(Self { slug: slug.parse().map_err(|_| error())?, pull_request: number.parse().map_err(|_| error())? })
    }
}

impl TryFrom<String> for GrantId {
    type Error = GrantIdError;
    fn try_from(text: String) -> Result<Self, GrantIdError> {
        text.parse()
    }
}

impl From<GrantId> for String {
    fn from(id: GrantId) -> String {
        id.to_string()
    }
}

/// A grant among those of all policy repositories.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct GrantRef {
    /// The policy repository.
    pub repository: RepositoryName,
    /// The grant.
    pub id: GrantId,
}

impl fmt::Display for GrantRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.repository, self.id)
    }
}

/// When access begins and ends: from `starts_at` up to, but not including, `ends_at`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// The first instant of access.
    pub starts_at: DateTime<Utc>,
    /// The first instant without.
    pub ends_at: DateTime<Utc>,
}

impl Window {
    /// The window of a request merged at `merged_at`: from `max(start, merge)` for `duration`.
    pub fn new(merged_at: DateTime<Utc>, start: Option<DateTime<Utc>>, duration: Duration) -> Self {
        let starts_at = start.map_or(merged_at, |start| start.max(merged_at));
        let ends_at = starts_at.checked_add_signed(duration.delta()).unwrap_or(DateTime::<Utc>::MAX_UTC);
        Self { starts_at, ends_at }
    }

    /// Whether access is due in both at some time.
    pub fn overlaps(&self, other: Self) -> bool {
        self.starts_at < other.ends_at && other.starts_at < self.ends_at
    }

    /// Whether access is due at `time`.
    pub fn contains(&self, time: DateTime<Utc>) -> bool {
        self.starts_at <= time && time < self.ends_at
    }
}

/// Now, as far as is known where two clocks differ: what ends, ends by the later one; what begins, begins by the earlier one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// It may be this early.
    pub earliest: DateTime<Utc>,
    /// It is most likely this late: when to look again is told by this.
    pub likely: DateTime<Utc>,
    /// It may be this late.
    pub latest: DateTime<Utc>,
}

impl Now {
    /// When it will be `time` for what ends.
    pub fn when_over(&self, time: DateTime<Utc>) -> DateTime<Utc> {
        time - (self.latest - self.likely)
    }

    /// When it will be `time` for what begins.
    pub fn when_begun(&self, time: DateTime<Utc>) -> DateTime<Utc> {
        time + (self.likely - self.earliest)
    }
}

/// A verified grant. Who, what, when and why never change; only [`Grant::state`] does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// Which one.
    pub id: GrantId,
    /// Who has the access.
    pub subject: Account,
    /// Who asked for it.
    pub requester: Account,
    /// The role.
    pub role: RoleName,
    /// Why. Hostile text.
    pub reason: String,
    /// The ticket. Hostile text.
    pub ticket: Option<String>,
    /// Whether it came by the emergency path.
    pub break_glass: bool,
    /// Whose approvals it rests on.
    pub approvers: Vec<Account>,
    /// When access is due.
    pub window: Window,
    /// When the revert pull request is opened.
    pub revert_at: DateTime<Utc>,
    /// The commit on the default branch that brought it.
    pub merge_commit: CommitId,
    /// The content of its file.
    pub blob: BlobId,
    /// What it gives.
    pub entitlements: Vec<Entitlement>,
    /// What it goes on from, if it extends another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chain: Option<Chain>,
    /// Whether it is live.
    pub state: State,
}

/// Whether a grant is live.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Merged and verified; `start` has not come.
    Scheduled,
    /// Access is due.
    Active,
    /// Over.
    Ended {
        /// When.
        at: DateTime<Utc>,
        /// Why.
        reason: EndReason,
    },
}

/// Why a grant is over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EndReason {
    /// Time is up.
    Expired,
    /// Its file was removed before time was up.
    Revoked,
    /// Its file was edited: another grant took its place.
    Replaced,
    /// The subject lost the right to it, or the role is gone.
    Policy,
}

impl EndReason {
    /// The word people read.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::Revoked => "revoked",
            Self::Replaced => "replaced",
            Self::Policy => "no longer allowed",
        }
    }
}

impl State {
    /// The word people read and the store indexes.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Scheduled => "scheduled",
            Self::Active => "active",
            Self::Ended { .. } => "ended",
        }
    }
}

/// What a grant has come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Transition {
    /// Nothing until then.
    Wait {
        /// When to look again.
        until: DateTime<Utc>,
    },
    /// `start` has come.
    Start,
    /// The revert pull request is due.
    OpenRevert,
    /// Time is up.
    Expire,
    /// It is over.
    Nothing,
}

impl Grant {
    /// What is due at `now`; `revert_open` tells whether the revert pull request has been asked for.
    pub fn next(&self, now: Now, revert_open: bool) -> Transition {
        match self.state {
            State::Ended { .. } => Transition::Nothing,
            _ if now.latest >= self.over_at() => Transition::Expire,
            State::Scheduled if now.earliest >= self.window.starts_at => Transition::Start,
            State::Scheduled => Transition::Wait { until: now.when_begun(self.window.starts_at) },
            State::Active if !revert_open && now.latest >= self.revert_at => Transition::OpenRevert,
            State::Active if !revert_open => Transition::Wait { until: now.when_over(self.revert_at) },
            State::Active => Transition::Wait { until: now.when_over(self.over_at()) },
        }
    }

    /// Whether its entitlements are due at `now`, the latest it may be. The window decides about the end, whatever state is recorded;
    /// the state about the beginning: GitHub's clock, which dates the merge, may be a little ahead of ours.
    pub fn is_due(&self, now: DateTime<Utc>) -> bool {
        self.state == State::Active && now < self.over_at()
    }

    /// When access first began: with it, or with the first of the grants it extends.
    pub fn since(&self) -> DateTime<Utc> {
        self.chain.as_ref().map_or(self.window.starts_at, |chain| chain.since)
    }

    /// The first instant without access.
    pub fn over_at(&self) -> DateTime<Utc> {
        match mutants::is(Mutant::ExpireLate) {
            true => self.window.ends_at + TimeDelta::minutes(30),
            false => self.window.ends_at,
        }
    }

    /// When the revert pull request of a grant with this window is due.
    pub fn revert_at(window: Window, lead: TimeDelta) -> DateTime<Utc> {
        (window.ends_at - lead).max(window.starts_at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minutes: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + minutes * 60, 0).unwrap()
    }

    #[test]
    fn access_begins_at_the_merge_or_at_the_planned_start_whichever_is_later() {
        let two_hours = Duration::hours(2);
        assert_eq!(Window::new(at(0), None, two_hours), Window { starts_at: at(0), ends_at: at(120) });
        assert_eq!(Window::new(at(0), Some(at(30)), two_hours), Window { starts_at: at(30), ends_at: at(150) });
        assert_eq!(Window::new(at(60), Some(at(30)), two_hours), Window { starts_at: at(60), ends_at: at(180) });
    }

    #[test]
    fn the_last_instant_is_outside() {
        let window = Window::new(at(0), None, Duration::hours(1));
        assert!(window.contains(at(0)) && window.contains(at(59)));
        assert!(!window.contains(at(60)));
    }

    #[test]
    fn a_grant_id_reads_and_prints_the_same() {
        let id: GrantId = "20261201-alice-orders#12".parse().unwrap();
        assert_eq!((id.slug.as_str(), id.pull_request), ("20261201-alice-orders", 12));
        assert_eq!(id.to_string(), "20261201-alice-orders#12");
        assert!("no-number".parse::<GrantId>().is_err());
    }
}
