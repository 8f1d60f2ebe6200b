//! Git data: refs, commits, trees, blobs. <https://docs.github.com/en/rest/git>

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use http::Method;
use serde::Deserialize;
use serde_json::json;

use super::people::RawAccount;
use super::transport::segment;
use super::{GithubError, Repository};
use crate::access::facts::{Account, FileMode, TreeFile};
use crate::policy::name::{BlobId, CommitId, TreeId};

/// A commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitInfo {
    /// Its id.
    pub id: CommitId,
    /// Its tree.
    pub tree: TreeId,
    /// Its parents, the first one first.
    pub parents: Vec<CommitId>,
    /// When it says it was committed. Whoever made the commit chose that; it is no proof of anything.
    pub committed_at: DateTime<Utc>,
}

/// Who made a commit, as far as GitHub vouches for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authorship {
    /// The commit.
    pub id: CommitId,
    /// The account of its author; `None` if GitHub knows none.
    pub author: Option<Account>,
    /// Whether GitHub vouches for the signature. It signs what an app commits through its API:
    /// <https://docs.github.com/en/authentication/managing-commit-signature-verification/about-commit-signature-verification>.
    pub verified: bool,
}

#[derive(Deserialize)]
struct RawListed {
    sha: CommitId,
    /// An account, null, or an object with nothing in it.
    author: Option<serde_json::Value>,
    commit: RawInner,
}

#[derive(Deserialize)]
struct RawInner {
    verification: Option<RawVerification>,
}

#[derive(Deserialize)]
struct RawVerification {
    verified: bool,
}

#[derive(Deserialize)]
struct RawRef {
    object: RawObject,
}

#[derive(Deserialize)]
struct RawObject {
    sha: CommitId,
}

#[derive(Deserialize)]
struct RawCommit {
    sha: CommitId,
    tree: RawTreeRef,
    parents: Vec<RawObject>,
    committer: RawSignature,
}

#[derive(Deserialize)]
struct RawSignature {
    date: DateTime<Utc>,
}

#[derive(Deserialize)]
struct RawTreeRef {
    sha: TreeId,
}

#[derive(Deserialize)]
struct RawTree {
    #[serde(default)]
    tree: Vec<RawEntry>,
    #[serde(default)]
    truncated: bool,
}

#[derive(Deserialize)]
struct RawEntry {
    path: String,
    mode: String,
    #[serde(rename = "type")]
    kind: String,
    sha: BlobId,
    size: Option<u64>,
}

#[derive(Deserialize)]
struct RawBlob {
    content: String,
    encoding: String,
    size: Option<u64>,
}

#[derive(Deserialize)]
struct Made<T> {
    sha: T,
}

#[derive(Deserialize)]
struct RawComparison {
    status: String,
    merge_base_commit: RawObject,
}

impl Repository {
    /// The commit a branch is at.
    pub async fn head(&self, branch: &str) -> Result<CommitId, GithubError> {
        Ok(self.get::<RawRef>(&self.path(&format!("/git/ref/heads/{}", branch_path(branch)))).await?.object.sha)
    }

    /// One commit.
    pub async fn commit(&self, id: &CommitId) -> Result<CommitInfo, GithubError> {
        let raw: RawCommit = self.get(&self.path(&format!("/git/commits/{id}"))).await?;
        let parents = raw.parents.into_iter().map(|parent| parent.sha).collect();
        Ok(CommitInfo { id: raw.sha, tree: raw.tree.sha, parents, committed_at: raw.committer.date })
    }

    /// A commit, if it is still kept.
    pub async fn find_commit(&self, id: &CommitId) -> Result<Option<CommitInfo>, GithubError> {
        self.found(self.commit(id).await)
    }

    /// Every file at a commit, by path. An error if GitHub could not list them all.
    pub async fn files(&self, commit: &CommitId) -> Result<BTreeMap<String, TreeFile>, GithubError> {
        let raw: RawTree = self.get(&self.path(&format!("/git/trees/{commit}?recursive=1"))).await?;
        if raw.truncated {
            return Err(GithubError::Invalid {
                message: "the repository has too many files to be listed at once".to_owned(),
            });
        }
        Ok(raw.tree.into_iter().filter_map(file).collect())
    }

    /// The content of a blob, of `limit` bytes at most.
    pub async fn blob(&self, id: &BlobId, limit: u64) -> Result<Vec<u8>, GithubError> {
        let raw: RawBlob = self.get(&self.path(&format!("/git/blobs/{id}"))).await?;
        if raw.size.is_some_and(|size| size > limit) {
            return Err(GithubError::Invalid { message: format!("blob {id} is larger than {limit} bytes") });
        }
        match raw.encoding.as_str() {
            "base64" => {
                let text: String = raw.content.chars().filter(|c| !c.is_ascii_whitespace()).collect();
                let bytes = STANDARD.decode(text);
                bytes.map_err(|error| GithubError::Unexpected { message: format!("blob {id}: {error}") })
            }
            _ => Ok(raw.content.into_bytes()),
        }
    }

    /// Writes a commit on top of `parent` that changes these paths: to this content, or away.
    pub async fn commit_files(
        &self,
        parent: &CommitId,
        changes: &[(&str, Option<&[u8]>)],
        message: &str,
    ) -> Result<CommitId, GithubError> {
        let mut entries = Vec::new();
        for (path, content) in changes {
            let sha = match content {
                Some(content) => {
                    let blob = json!({ "content": STANDARD.encode(content), "encoding": "base64" });
                    let made: Made<BlobId> = self.change(Method::POST, &self.path("/git/blobs"), &blob).await?;
                    Some(made.sha)
                }
                None => None,
            };
            entries.push(json!({ "path": path, "mode": "100644", "type": "blob", "sha": sha }));
        }
        let base = self.commit(parent).await?.tree;
        let tree = json!({ "base_tree": base, "tree": entries });
        let tree: Made<TreeId> = self.change(Method::POST, &self.path("/git/trees"), &tree).await?;
        // Without author and committer GitHub fills in the app and signs the commit.
        let commit = json!({ "message": message, "tree": tree.sha, "parents": [parent] });
        let commit: Made<CommitId> = self.change(Method::POST, &self.path("/git/commits"), &commit).await?;
        Ok(commit.sha)
    }

    /// Writes a commit with these texts on top of a tree; without one, with nothing but them. The commit and its tree.
    /// <https://docs.github.com/en/rest/git/trees#create-a-tree>
    pub async fn commit_texts(
        &self,
        parents: &[CommitId],
        base: Option<&TreeId>,
        files: &[(String, &str)],
        message: &str,
    ) -> Result<(CommitId, TreeId), GithubError> {
        let entry = |(path, content): &(String, &str)| json!({ "path": path, "mode": "100644", "type": "blob", "content": content });
        let entries: Vec<_> = files.iter().map(entry).collect();
        let tree = match base {
            Some(base) => json!({ "base_tree": base, "tree": entries }),
            None => json!({ "tree": entries }),
        };
        let tree: Made<TreeId> = self.change(Method::POST, &self.path("/git/trees"), &tree).await?;
        let commit = json!({ "message": message, "tree": tree.sha, "parents": parents });
        let commit: Made<CommitId> = self.change(Method::POST, &self.path("/git/commits"), &commit).await?;
        Ok((commit.sha, tree.sha))
    }

    /// The commits from `head` back to `known`, without that one; none if it is not among them.
    pub async fn commits_since(
        &self,
        head: &CommitId,
        known: &CommitId,
    ) -> Result<Option<Vec<Authorship>>, GithubError> {
        let path = self.path(&format!("/commits?sha={head}&per_page=100"));
        let listed: Vec<RawListed> = self.list_until(&path, |listed: &RawListed| listed.sha == *known).await?;
        let Some(end) = listed.iter().position(|listed| listed.sha == *known) else { return Ok(None) };
        let since = listed.into_iter().take(end).map(|listed| Authorship {
            id: listed.sha,
            author: listed
                .author
                .and_then(|author| serde_json::from_value::<RawAccount>(author).ok())
                .and_then(|author| author.account()),
            verified: listed.commit.verification.is_some_and(|verification| verification.verified),
        });
        Ok(Some(since.collect()))
    }

    /// Creates a branch; false if there is one of that name.
    pub async fn create_branch(&self, name: &str, commit: &CommitId) -> Result<bool, GithubError> {
        let request = json!({ "ref": format!("refs/heads/{name}"), "sha": commit });
        match self.act(Method::POST, &self.path("/git/refs"), Some(&request)).await {
            Ok(()) => Ok(true),
            Err(GithubError::Invalid { message }) if message.contains("already exists") => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Moves a branch; without `force` only forwards.
    pub async fn update_branch(&self, name: &str, commit: &CommitId, force: bool) -> Result<(), GithubError> {
        let request = json!({ "sha": commit, "force": force });
        self.act(Method::PATCH, &self.path(&format!("/git/refs/heads/{}", branch_path(name))), Some(&request)).await
    }

    /// Deletes a branch; fine if it is gone.
    pub async fn delete_branch(&self, name: &str) -> Result<(), GithubError> {
        let path = self.path(&format!("/git/refs/heads/{}", branch_path(name)));
        match self.act::<()>(Method::DELETE, &path, None).await {
            Err(GithubError::NotFound { .. } | GithubError::Invalid { .. }) => Ok(()),
            result => result,
        }
    }

    /// Whether `ancestor` is `commit` or in its history.
    pub async fn is_ancestor(&self, ancestor: &CommitId, commit: &CommitId) -> Result<bool, GithubError> {
        let path = self.path(&format!("/compare/{ancestor}...{commit}?per_page=1"));
        let comparison: RawComparison = self.get(&path).await?;
        Ok(matches!(comparison.status.as_str(), "ahead" | "identical"))
    }

    /// The newest commit that is in the history of both.
    pub async fn merge_base(&self, one: &CommitId, other: &CommitId) -> Result<CommitId, GithubError> {
        let path = self.path(&format!("/compare/{one}...{other}?per_page=1"));
        Ok(self.get::<RawComparison>(&path).await?.merge_base_commit.sha)
    }
}

fn branch_path(branch: &str) -> String {
    branch.split('/').map(segment).collect::<Vec<_>>().join("/")
}

fn file(entry: RawEntry) -> Option<(String, TreeFile)> {
    let mode = match (entry.kind.as_str(), entry.mode.as_str()) {
        ("blob", "100755") => FileMode::Executable,
        ("blob", "120000") => FileMode::Symlink,
        ("blob", _) => FileMode::Regular,
        ("commit", _) => FileMode::Submodule,
        _ => return None,
    };
    Some((entry.path, TreeFile { mode, blob: entry.sha, size: entry.size }))
}
