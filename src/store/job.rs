//! What there is to look at, as a text in the database, and in which order it has its turn.

use std::fmt;
use std::str::FromStr;

use crate::access::grant::GrantId;
use crate::policy::name::{CommitId, RepositoryName, TargetName};

/// Something to look at.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Job {
    /// Judge a pull request again.
    Pull(RepositoryName, u64),
    /// Put the check on what a merge queue made of a pull request.
    Queue(RepositoryName, u64, CommitId),
    /// Read the default branch.
    Sync(RepositoryName),
    /// Look at everything in a repository: open pull requests, the default branch, who is still eligible.
    Sweep(RepositoryName),
    /// See what is due for a grant.
    Grant(RepositoryName, GrantId),
    /// See whether a planned grant may start.
    Start(RepositoryName, GrantId),
    /// See that the file of a grant that is over leaves the default branch.
    Revert(RepositoryName, GrantId),
    /// See that refused files leave the default branch.
    Cleanse(RepositoryName),
    /// See that the use of break-glass is reviewed.
    Emergency(RepositoryName, GrantId),
    /// Post the messages that wait for a pull request.
    Messages(RepositoryName, u64),
    /// Make a target as it is due to be.
    Target(TargetName),
    /// See whether what was given on a target is still there.
    Drift(TargetName),
    /// See who uses what they have on a target.
    Sessions(TargetName),
    /// See that what happened is on the branch of the ledger, and nothing else.
    Ledger(RepositoryName),
    /// See whether webhooks went astray.
    Redeliver,
    /// Throw away what is no longer needed.
    Tidy,
}

/// The lane of what needs GitHub.
const OTHER_LANE: i64 = 2;

/// Which work a worker takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane<'a> {
    /// The clock of grants and the targets: access begins and ends whatever else is waiting.
    Access,
    /// What needs the GitHub of this owner.
    Owner(&'a str),
    /// Anything.
    Any,
}

impl Job {
    /// What comes before what else is due: access, which the targets alone decide by the windows of the grants; then the clock of
    /// grants; then telling people.
    pub(super) fn lane(&self) -> i64 {
        match self {
            Self::Target(_) => 0,
            Self::Grant(..) => 1,
            _ => OTHER_LANE,
        }
    }

    /// Whose GitHub it needs; empty if nobody's.
    pub fn owner(&self) -> &str {
        match self {
            Self::Pull(repository, _) | Self::Messages(repository, _) => repository.owner(),
            Self::Queue(repository, ..) => repository.owner(),
            Self::Sync(repository) | Self::Sweep(repository) | Self::Cleanse(repository) => repository.owner(),
            Self::Ledger(repository) => repository.owner(),
            Self::Start(repository, _) | Self::Revert(repository, _) => repository.owner(),
            Self::Emergency(repository, _) => repository.owner(),
            Self::Grant(..) | Self::Target(_) | Self::Sessions(_) | Self::Drift(_) | Self::Redeliver | Self::Tidy => "",
        }
    }
}

/// Why a text is not a job.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a job this version knows")]
pub struct JobError(String);

impl fmt::Display for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pull(repository, number) => write!(f, "pull {repository} {number}"),
            Self::Queue(repository, number, commit) => write!(f, "queue {repository} {number} {commit}"),
            Self::Sync(repository) => write!(f, "sync {repository}"),
            Self::Sweep(repository) => write!(f, "sweep {repository}"),
            Self::Grant(repository, grant) => write!(f, "grant {repository} {grant}"),
            Self::Start(repository, grant) => write!(f, "start {repository} {grant}"),
            Self::Revert(repository, grant) => write!(f, "revert {repository} {grant}"),
            Self::Emergency(repository, grant) => write!(f, "emergency {repository} {grant}"),
            Self::Cleanse(repository) => write!(f, "cleanse {repository}"),
            Self::Messages(repository, number) => write!(f, "messages {repository} {number}"),
            Self::Target(name) => write!(f, "target {name}"),
            Self::Drift(name) => write!(f, "drift {name}"),
            Self::Sessions(name) => write!(f, "sessions {name}"),
            Self::Ledger(repository) => write!(f, "ledger {repository}"),
            Self::Redeliver => f.write_str("redeliver"),
            Self::Tidy => f.write_str("tidy"),
        }
    }
}

impl FromStr for Job {
    type Err = JobError;

    fn from_str(text: &str) -> Result<Self, JobError> {
        let words: Vec<&str> = text.split(' ').collect();
        let parsed = match words.as_slice() {
            ["pull", repository, number] => {
                repository.parse().ok().zip(number.parse().ok()).map(|(r, n)| Self::Pull(r, n))
            }
            ["queue", repository, number, commit] => {
                let place = repository.parse().ok().zip(number.parse().ok());
                place.zip(commit.parse().ok()).map(|((r, n), c)| Self::Queue(r, n, c))
            }
            ["messages", repository, number] => {
                repository.parse().ok().zip(number.parse().ok()).map(|(r, n)| Self::Messages(r, n))
            }
            ["sync", repository] => repository.parse().ok().map(Self::Sync),
            ["sweep", repository] => repository.parse().ok().map(Self::Sweep),
            ["cleanse", repository] => repository.parse().ok().map(Self::Cleanse),
            ["ledger", repository] => repository.parse().ok().map(Self::Ledger),
            ["grant", repository, grant] => {
                repository.parse().ok().zip(grant.parse().ok()).map(|(r, g)| Self::Grant(r, g))
            }
            ["start", repository, grant] => {
                repository.parse().ok().zip(grant.parse().ok()).map(|(r, g)| Self::Start(r, g))
            }
            ["revert", repository, grant] => {
                repository.parse().ok().zip(grant.parse().ok()).map(|(r, g)| Self::Revert(r, g))
            }
            ["emergency", repository, grant] => {
                repository.parse().ok().zip(grant.parse().ok()).map(|(r, g)| Self::Emergency(r, g))
            }
            ["target", name] => name.parse().ok().map(Self::Target),
            ["drift", name] => name.parse().ok().map(Self::Drift),
            ["sessions", name] => name.parse().ok().map(Self::Sessions),
            ["redeliver"] => Some(Self::Redeliver),
            ["tidy"] => Some(Self::Tidy),
            _ => None,
        };
        parsed.ok_or_else(|| JobError(text.to_owned()))
    }
}

impl<'a> Lane<'a> {
    /// The lane as conditions, in the order of their turns, and what to bind to `$1` in each. One lane a condition: a hundred
    /// thousand grants that wait in one must not be walked through to see that nothing is due.
    pub(super) fn conditions(self) -> (&'static [&'static str], &'a str) {
        match self {
            Self::Access => (&["lane = 0 AND $1 = ''", "lane = 1 AND $1 = ''"], ""),
            Self::Owner(owner) => (&["owner = $1 AND lane = 2"], owner),
            Self::Any => (&["lane = 0 AND $1 = ''", "lane = 1 AND $1 = ''", "lane = 2 AND $1 = ''"], ""),
        }
    }
}
