//! Facts: what the rules are asked about. The shell reads them from GitHub; tests write them down.
//!
//! Accounts are compared by their numeric id: a login can be renamed, and then be taken by somebody else.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::policy::name::{BlobId, CommitId, Login, TeamSlug, UserId};

/// A GitHub account. Two are the same account if and only if their ids are equal.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Account {
    /// The lasting identity.
    pub id: UserId,
    /// The login at the time of reading.
    pub login: Login,
    /// Whether it is a bot (GitHub's `type: Bot`).
    #[serde(default)]
    pub bot: bool,
}

impl PartialEq for Account {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}
impl Eq for Account {}
impl PartialOrd for Account {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Account {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.id.cmp(&other.id)
    }
}

/// Who belongs where in the organisation, as far as a policy asks.
#[derive(Debug, Clone, Default)]
pub struct Directory {
    /// Active members of each team the policy names, child teams included. `None`: there is no such team.
    pub teams: BTreeMap<TeamSlug, Option<BTreeSet<Account>>>,
    /// The accounts that were asked about, by login; `None`: no such account.
    pub accounts: BTreeMap<Login, Option<Account>>,
    /// Which of them are members of the organisation.
    pub members: BTreeSet<UserId>,
    /// Which of them are suspended: they belong nowhere for as long as that lasts.
    pub suspended: BTreeSet<UserId>,
}

impl Directory {
    /// The account behind a login, if it was asked about and exists.
    pub fn account(&self, login: &Login) -> Option<&Account> {
        self.accounts.get(login).and_then(Option::as_ref)
    }

    /// Whether the account is a member of the organisation.
    pub fn is_member(&self, account: &Account) -> bool {
        self.members.contains(&account.id) && !self.suspended.contains(&account.id)
    }

    /// Whether the account is an active member of the team.
    pub fn in_team(&self, account: &Account, team: &TeamSlug) -> bool {
        self.teams.get(team).and_then(Option::as_ref).is_some_and(|members| members.contains(account))
    }
}

/// A pull request of the policy repository.
#[derive(Debug, Clone)]
pub struct PullRequest {
    /// Its number.
    pub number: u64,
    /// Its title. Hostile text.
    pub title: String,
    /// Who opened it; `None` if the account was deleted.
    pub author: Option<Account>,
    /// Open, closed or merged.
    pub state: PullState,
    /// Whether it is a draft.
    pub draft: bool,
    /// Its head commit.
    pub head: CommitId,
    /// The name of the branch it comes from.
    pub head_branch: String,
    /// Whether the head branch is in another repository.
    pub from_fork: bool,
    /// The branch it wants to change.
    pub base_branch: String,
    /// When it was opened, or reopened last.
    pub created_at: DateTime<Utc>,
    /// Labels on it.
    pub labels: BTreeSet<String>,
}

/// Where a pull request stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PullState {
    /// Open.
    Open,
    /// Closed without a merge.
    Closed,
    /// Merged.
    Merged {
        /// When, by GitHub's clock.
        at: DateTime<Utc>,
        /// The commit it left on the base branch: the merge commit, the squashed commit, or the last of the rebased ones.
        commit: CommitId,
        /// Who merged it.
        by: Option<Account>,
    },
}

/// A review of a pull request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Review {
    /// GitHub's id; ids grow with time.
    pub id: u64,
    /// Who gave it; `None` if the account was deleted.
    pub author: Option<Account>,
    /// What it says.
    pub state: ReviewState,
    /// The head commit it was given for.
    pub commit: Option<CommitId>,
    /// When it was given.
    pub submitted_at: Option<DateTime<Utc>>,
}

/// A review that was dismissed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dismissal {
    /// The review.
    pub review: u64,
    /// Whether it had asked for changes.
    pub was_objection: bool,
    /// Who dismissed it; `None` if the account is gone.
    pub by: Option<Account>,
}

/// What a review says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ReviewState {
    /// Yes.
    Approved,
    /// No, not like this.
    ChangesRequested,
    /// A remark; leaves an earlier yes or no as it is.
    Commented,
    /// Withdrawn.
    Dismissed,
    /// Not yet given.
    Pending,
    /// A state GitHub may invent; it counts for nothing.
    #[serde(other)]
    Unknown,
}

/// A commit of a pull request, with everyone who has a hand in it.
#[derive(Debug, Clone)]
pub struct Commit {
    /// Its id.
    pub id: CommitId,
    /// The account of its author; `None` if GitHub knows no account for the e-mail address.
    pub author: Option<Account>,
    /// The account of its committer; GitHub's own `web-flow` for commits made on the web site.
    pub committer: Option<Account>,
    /// The e-mail addresses in author, committer and `Co-authored-by` lines, lower case.
    pub emails: BTreeSet<String>,
    /// Accounts in `Co-authored-by` lines that GitHub's no-reply addresses reveal, whatever their logins are today.
    pub coauthor_ids: BTreeSet<UserId>,
    /// Names in `Co-authored-by` lines that GitHub's no-reply addresses reveal: `ID+LOGIN@users.noreply.github.com`.
    pub coauthors: BTreeSet<Login>,
}

/// A file a pull request changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangedFile {
    /// Its path after the change.
    pub path: String,
    /// Its path before, if it was renamed.
    pub previous_path: Option<String>,
    /// What happened to it.
    pub change: Change,
    /// The blob at the head.
    pub blob: Option<BlobId>,
}

/// What happened to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// New.
    Added,
    /// Changed in place, its mode included.
    Modified,
    /// Gone.
    Removed,
    /// Moved from another path.
    Renamed,
}

/// A file of a git tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreeFile {
    /// What git says it is.
    pub mode: FileMode,
    /// Its content.
    pub blob: BlobId,
    /// Its size in bytes, if git told.
    pub size: Option<u64>,
}

/// The kinds of entry git knows. Only [`FileMode::Regular`] is accepted in `grants/` and `policies/`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileMode {
    /// `100644`
    Regular,
    /// `100755`
    Executable,
    /// `120000`
    Symlink,
    /// `160000`
    Submodule,
}

impl FileMode {
    /// What people call it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Regular => "a plain file",
            Self::Executable => "an executable file",
            Self::Symlink => "a symbolic link",
            Self::Submodule => "a submodule",
        }
    }
}
