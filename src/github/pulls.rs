//! Pull requests, their files, commits and reviews; merging.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use http::Method;
use serde::Deserialize;
use serde_json::json;

use super::people::RawAccount;
use super::transport::segment;
use super::{GithubError, Repository};
use crate::access::facts::{Change, ChangedFile, Commit, PullRequest, PullState, Review, ReviewState};
use crate::policy::model::MergeMethod;
use crate::policy::name::{BlobId, CommitId, Login, TeamSlug, UserId};

/// GitHub lists no more files of a pull request than this.
const MOST_FILES: usize = 3_000;
/// GitHub lists no more commits of a pull request than this.
const MOST_COMMITS: usize = 250;

/// What became of a merge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MergeOutcome {
    /// It is merged; this is the commit on the base branch.
    Merged(CommitId),
    /// The head is no longer the one that was named.
    HeadMoved,
    /// Rules, conflicts or settings forbid it; GitHub's words.
    Refused(String),
}

/// Whose review was asked for and not yet given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RequestedReviewers {
    /// People.
    pub users: BTreeSet<Login>,
    /// Teams.
    pub teams: BTreeSet<TeamSlug>,
}

#[derive(Deserialize)]
struct RawPull {
    number: u64,
    title: String,
    user: Option<RawAccount>,
    state: String,
    #[serde(default)]
    draft: bool,
    head: RawBranch,
    base: RawBranch,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    merged_at: Option<DateTime<Utc>>,
    merge_commit_sha: Option<CommitId>,
    merged_by: Option<RawAccount>,
    #[serde(default)]
    labels: Vec<RawLabel>,
}

#[derive(Deserialize)]
struct RawBranch {
    #[serde(rename = "ref")]
    branch: String,
    sha: CommitId,
    repo: Option<RawRepository>,
}

#[derive(Deserialize)]
struct RawRepository {
    id: u64,
}

#[derive(Deserialize)]
struct RawLabel {
    name: String,
}

impl RawPull {
    fn pull(self) -> PullRequest {
        let state = match (self.merged_at, self.merge_commit_sha) {
            (Some(at), Some(commit)) => {
                PullState::Merged { at, commit, by: self.merged_by.and_then(|by| by.account()) }
            }
            _ if self.state == "open" => PullState::Open,
            _ => PullState::Closed,
        };
        // A fork that was deleted since has no repository any more.
        let home = self.base.repo.as_ref().map(|repository| repository.id);
        let from_fork = self.head.repo.as_ref().map(|repository| repository.id) != home;
        PullRequest {
            number: self.number,
            title: self.title,
            author: self.user.and_then(|user| user.account()),
            state,
            draft: self.draft,
            head: self.head.sha,
            head_branch: self.head.branch,
            from_fork,
            base_branch: self.base.branch,
            created_at: self.created_at,
            labels: self.labels.into_iter().map(|label| label.name).collect(),
        }
    }
}

#[derive(Deserialize)]
struct RawFile {
    filename: String,
    previous_filename: Option<String>,
    status: String,
    sha: Option<BlobId>,
}

#[derive(Deserialize)]
struct RawReview {
    id: u64,
    user: Option<RawAccount>,
    state: ReviewState,
    commit_id: Option<CommitId>,
    submitted_at: Option<DateTime<Utc>>,
}

#[derive(Deserialize)]
struct RawCommit {
    sha: CommitId,
    commit: RawGitCommit,
    author: Option<Anybody>,
    committer: Option<Anybody>,
}

/// GitHub writes `{}` for an account it cannot name in some answers, and `null` in others.
#[derive(Deserialize)]
#[serde(untagged)]
enum Anybody {
    Known(RawAccount),
    Unknown {},
}

impl Anybody {
    fn account(&self) -> Option<crate::access::facts::Account> {
        match self {
            Self::Known(raw) => raw.account(),
            Self::Unknown {} => None,
        }
    }
}

#[derive(Deserialize)]
struct RawGitCommit {
    message: String,
    author: Option<RawSignature>,
    committer: Option<RawSignature>,
}

#[derive(Deserialize)]
struct RawSignature {
    #[serde(default)]
    email: String,
}

#[derive(Deserialize)]
struct RawMerged {
    sha: CommitId,
}

#[derive(Deserialize)]
struct RawRequested {
    #[serde(default)]
    users: Vec<RawAccount>,
    #[serde(default)]
    teams: Vec<RawTeam>,
}

#[derive(Deserialize)]
struct RawTeam {
    slug: TeamSlug,
}

impl Repository {
    /// One pull request.
    pub async fn pull(&self, number: u64) -> Result<PullRequest, GithubError> {
        Ok(self.get::<RawPull>(&self.path(&format!("/pulls/{number}"))).await?.pull())
    }

    /// All open pull requests.
    pub async fn open_pulls(&self) -> Result<Vec<PullRequest>, GithubError> {
        let raw: Vec<RawPull> = self.list(&self.path("/pulls?state=open&per_page=100")).await?;
        Ok(raw.into_iter().map(RawPull::pull).collect())
    }

    /// The numbers of the pull requests that were merged into `branch` since `since`.
    pub async fn merged_since(&self, branch: &str, since: DateTime<Utc>) -> Result<Vec<u64>, GithubError> {
        let query = format!("/pulls?state=closed&base={}&sort=updated&direction=desc&per_page=100", segment(branch));
        // Whatever happens to a pull request after its merge makes it younger.
        let raw: Vec<RawPull> = self.list_until(&self.path(&query), |pull: &RawPull| pull.updated_at < since).await?;
        let merged = raw.into_iter().filter(|pull| pull.merged_at.is_some_and(|at| at >= since));
        Ok(merged.map(|pull| pull.number).collect())
    }

    /// The open pull request from a branch of this repository.
    pub async fn open_pull_of(&self, branch: &str) -> Result<Option<PullRequest>, GithubError> {
        let head = segment(&format!("{}:{branch}", self.name().owner()));
        let raw: Vec<RawPull> = self.list(&self.path(&format!("/pulls?state=open&head={head}&per_page=100"))).await?;
        Ok(raw.into_iter().map(RawPull::pull).find(|pull| pull.head_branch == branch && !pull.from_fork))
    }

    /// The files a pull request changes; an error if GitHub may not have listed them all.
    pub async fn pull_files(&self, number: u64) -> Result<Vec<ChangedFile>, GithubError> {
        let raw: Vec<RawFile> = self.list(&self.path(&format!("/pulls/{number}/files?per_page=100"))).await?;
        if raw.len() >= MOST_FILES {
            return Err(GithubError::Invalid {
                message: format!("it changes {MOST_FILES} files or more; GitHub lists no more"),
            });
        }
        let change = |status: &str| match status {
            "added" | "copied" => Change::Added,
            "removed" => Change::Removed,
            "renamed" => Change::Renamed,
            _ => Change::Modified,
        };
        Ok(raw
            .into_iter()
            .map(|file| ChangedFile {
                change: change(&file.status),
                path: file.filename,
                previous_path: file.previous_filename,
                blob: file.sha,
            })
            .collect())
    }

    /// The commits of a pull request; an error if GitHub may not have listed them all.
    pub async fn pull_commits(&self, number: u64) -> Result<Vec<Commit>, GithubError> {
        let raw: Vec<RawCommit> = self.list(&self.path(&format!("/pulls/{number}/commits?per_page=100"))).await?;
        if raw.len() >= MOST_COMMITS {
            return Err(GithubError::Invalid {
                message: format!("it has {MOST_COMMITS} commits or more; GitHub lists no more"),
            });
        }
        Ok(raw.into_iter().map(commit).collect())
    }

    /// The description of a pull request.
    pub async fn pull_body(&self, number: u64) -> Result<Option<String>, GithubError> {
        #[derive(Deserialize)]
        struct RawBody {
            body: Option<String>,
        }
        Ok(self.get::<RawBody>(&self.path(&format!("/pulls/{number}"))).await?.body)
    }

    /// The reviews of a pull request, in GitHub's order.
    pub async fn reviews(&self, number: u64) -> Result<Vec<Review>, GithubError> {
        let raw: Vec<RawReview> = self.list(&self.path(&format!("/pulls/{number}/reviews?per_page=100"))).await?;
        Ok(raw
            .into_iter()
            .map(|review| Review {
                id: review.id,
                author: review.user.and_then(|user| user.account()),
                state: review.state,
                commit: review.commit_id,
                submitted_at: review.submitted_at,
            })
            .collect())
    }

    /// Opens a pull request from a branch of this repository.
    pub async fn create_pull(
        &self,
        title: &str,
        head: &str,
        base: &str,
        body: &str,
    ) -> Result<PullRequest, GithubError> {
        let request = json!({ "title": title, "head": head, "base": base, "body": body });
        Ok(self.change::<_, RawPull>(Method::POST, &self.path("/pulls"), &request).await?.pull())
    }

    /// Closes a pull request without merging it.
    pub async fn close_pull(&self, number: u64) -> Result<(), GithubError> {
        self.act(Method::PATCH, &self.path(&format!("/pulls/{number}")), Some(&json!({ "state": "closed" }))).await
    }

    /// Merges a pull request if its head still is `head`.
    /// <https://docs.github.com/en/rest/pulls/pulls#merge-a-pull-request>
    pub async fn merge(&self, number: u64, head: &CommitId, method: MergeMethod) -> Result<MergeOutcome, GithubError> {
        let request = json!({ "sha": head, "merge_method": method });
        let path = self.path(&format!("/pulls/{number}/merge"));
        match self.change::<_, RawMerged>(Method::PUT, &path, &request).await {
            Ok(merged) => Ok(MergeOutcome::Merged(merged.sha)),
            Err(GithubError::Conflict { status: 409, .. }) => Ok(MergeOutcome::HeadMoved),
            Err(
                GithubError::Conflict { message, .. }
                | GithubError::Invalid { message }
                | GithubError::Forbidden { message },
            ) => Ok(MergeOutcome::Refused(message)),
            Err(error) => Err(error),
        }
    }

    /// Whose review was asked for and not yet given.
    pub async fn requested_reviewers(&self, number: u64) -> Result<RequestedReviewers, GithubError> {
        let raw: RawRequested = self.get(&self.path(&format!("/pulls/{number}/requested_reviewers"))).await?;
        Ok(RequestedReviewers {
            users: raw.users.iter().filter_map(RawAccount::account).map(|account| account.login).collect(),
            teams: raw.teams.into_iter().map(|team| team.slug).collect(),
        })
    }

    /// Asks for reviews. GitHub refuses the whole call (422) if one of them cannot be asked.
    pub async fn request_reviewers(&self, number: u64, users: &[Login], teams: &[TeamSlug]) -> Result<(), GithubError> {
        let request = json!({ "reviewers": users, "team_reviewers": teams });
        self.act(Method::POST, &self.path(&format!("/pulls/{number}/requested_reviewers")), Some(&request)).await
    }

    /// Takes back somebody's review. Where a branch's protection says who may, the app must be among them.
    /// <https://docs.github.com/en/rest/pulls/reviews#dismiss-a-review-for-a-pull-request>
    pub async fn dismiss_review(&self, number: u64, review: u64, why: &str) -> Result<(), GithubError> {
        let path = self.path(&format!("/pulls/{number}/reviews/{review}/dismissals"));
        self.act(Method::PUT, &path, Some(&json!({ "message": why, "event": "DISMISS" }))).await
    }

    /// The pull requests that brought a commit, or contain it.
    pub async fn pulls_of_commit(&self, commit: &CommitId) -> Result<Vec<u64>, GithubError> {
        #[derive(Deserialize)]
        struct Number {
            number: u64,
        }
        let raw: Vec<Number> = self.list(&self.path(&format!("/commits/{commit}/pulls?per_page=100"))).await?;
        Ok(raw.into_iter().map(|pull| pull.number).collect())
    }
}

fn commit(raw: RawCommit) -> Commit {
    let trailers: Vec<String> = raw.commit.message.lines().filter_map(co_author).collect();
    let signatures = [raw.commit.author, raw.commit.committer].into_iter().flatten().map(|signature| signature.email);
    Commit {
        id: raw.sha,
        author: raw.author.and_then(|author| author.account()),
        committer: raw.committer.and_then(|committer| committer.account()),
        coauthors: trailers.iter().filter_map(|email| login_of(email)).collect(),
        coauthor_ids: trailers.iter().filter_map(|email| id_of(email)).collect(),
        emails: signatures.chain(trailers).map(|email| email.to_ascii_lowercase()).collect(),
    }
}

/// The address in a `Co-authored-by: Name <address>` line.
fn co_author(line: &str) -> Option<String> {
    const TRAILER: &str = "co-authored-by:";
    let line = line.trim();
    let head = line.get(..TRAILER.len())?;
    if !head.eq_ignore_ascii_case(TRAILER) {
        return None;
    }
    let address = line.rsplit_once('<')?.1.split_once('>')?.0.trim();
    (!address.is_empty()).then(|| address.to_ascii_lowercase())
}

/// The login in one of GitHub's no-reply addresses: `ID+LOGIN@users.noreply.HOST` or `LOGIN@users.noreply.HOST`.
fn login_of(email: &str) -> Option<Login> {
    let (local, host) = email.split_once('@')?;
    if !host.starts_with("users.noreply.") {
        return None;
    }
    local.rsplit('+').next()?.parse().ok()
}

/// The account in one of GitHub's no-reply addresses: `ID+LOGIN@users.noreply.HOST`.
fn id_of(email: &str) -> Option<UserId> {
    let (local, host) = email.split_once('@')?;
    let (id, _) = local.split_once('+').filter(|_| host.starts_with("users.noreply."))?;
    id.parse().ok().map(UserId)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn co_authors_are_found_however_they_are_written() {
        let message =
            "Ask\n\nCo-authored-by: Dave <7+dave@users.noreply.github.com>\nCO-AUTHORED-BY: Eve <Eve@Example.com>";
        let found: Vec<String> = message.lines().filter_map(co_author).collect();
        assert_eq!(found, ["7+dave@users.noreply.github.com", "eve@example.com"]);
        assert_eq!(login_of(&found[0]), Some("dave".parse().unwrap()));
        assert_eq!(id_of(&found[0]), Some(UserId(7)), "whatever dave is called today");
        assert_eq!((login_of(&found[1]), id_of(&found[1])), (None, None));
        assert_eq!(co_author("Co-authored-by: nobody"), None);
    }
}
