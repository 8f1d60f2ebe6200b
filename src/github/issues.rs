//! Issues and comments; pull requests are issues too.

use chrono::{DateTime, Utc};
use http::Method;
use serde::Deserialize;
use serde_json::json;

use super::checks::cut;
use super::people::RawAccount;
use super::{GithubError, Repository};
use crate::access::facts::Account;

/// Characters GitHub takes as a comment.
const LONGEST_COMMENT: usize = 65_535;

/// A comment on an issue or a pull request.
#[derive(Debug, Clone)]
pub struct Comment {
    /// Its id.
    pub id: u64,
    /// Who wrote it; `None` if the account is gone.
    pub author: Option<Account>,
    /// What it says.
    pub body: String,
    /// When it was written.
    pub created_at: DateTime<Utc>,
    /// Whether it was changed since. People with write access can change the comments of others.
    pub edited: bool,
}

#[derive(Deserialize)]
struct RawComment {
    id: u64,
    user: Option<RawAccount>,
    body: Option<String>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

#[derive(Deserialize)]
struct RawIssue {
    number: u64,
}

impl Repository {
    /// All comments on an issue or pull request, oldest first.
    pub async fn comments(&self, issue: u64) -> Result<Vec<Comment>, GithubError> {
        let raw: Vec<RawComment> = self.list(&self.path(&format!("/issues/{issue}/comments?per_page=100"))).await?;
        Ok(raw
            .into_iter()
            .map(|comment| Comment {
                id: comment.id,
                author: comment.user.and_then(|user| user.account()),
                body: comment.body.unwrap_or_default(),
                created_at: comment.created_at,
                edited: comment.updated_at != comment.created_at,
            })
            .collect())
    }

    /// Writes a comment; its id.
    pub async fn create_comment(&self, issue: u64, body: &str) -> Result<u64, GithubError> {
        let request = json!({ "body": cut(body, LONGEST_COMMENT) });
        let made: RawComment =
            self.change(Method::POST, &self.path(&format!("/issues/{issue}/comments")), &request).await?;
        Ok(made.id)
    }

    /// Makes a comment say this.
    pub async fn update_comment(&self, id: u64, body: &str) -> Result<(), GithubError> {
        let request = json!({ "body": cut(body, LONGEST_COMMENT) });
        self.act(Method::PATCH, &self.path(&format!("/issues/comments/{id}")), Some(&request)).await
    }

    /// Opens an issue; its number.
    pub async fn create_issue(&self, title: &str, body: &str) -> Result<u64, GithubError> {
        let request = json!({ "title": title, "body": cut(body, LONGEST_COMMENT) });
        let made: RawIssue = self.change(Method::POST, &self.path("/issues"), &request).await?;
        Ok(made.number)
    }
}
