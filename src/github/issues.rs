//! Issues and comments; pull requests are issues too.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use http::Method;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::checks::cut;
use super::people::RawAccount;
use super::transport::segment;
use super::{GithubError, Repository};
use crate::access::facts::{Account, Dismissal};

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
    /// Whether an app wrote it, in its own name or in somebody's.
    pub by_app: bool,
    /// Whether anybody reacted to it.
    pub has_reactions: bool,
}

/// A reaction to a comment. <https://docs.github.com/en/rest/reactions/reactions#about-reactions>
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
pub enum Reaction {
    /// 👀
    #[serde(rename = "eyes")]
    Eyes,
    /// 🚀
    #[serde(rename = "rocket")]
    Rocket,
    /// 👎
    #[serde(rename = "-1")]
    ThumbsDown,
    /// 😕
    #[serde(rename = "confused")]
    Confused,
    /// Any other.
    #[serde(other)]
    Other,
}

/// When a pull request was closed and reopened last, and by whom.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Closings {
    /// When it was reopened last, if it ever was.
    pub reopened_at: Option<DateTime<Utc>>,
    /// Who closed it last; `None` if nobody did, or the account is gone.
    pub closed_by: Option<Account>,
    /// The reviews that were dismissed.
    pub dismissed: Vec<Dismissal>,
}

#[derive(Deserialize)]
struct RawComment {
    id: u64,
    user: Option<RawAccount>,
    body: Option<String>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    #[serde(default)]
    issue_url: String,
    performed_via_github_app: Option<serde::de::IgnoredAny>,
    reactions: Option<RawReactions>,
}

impl RawComment {
    fn comment(self) -> Comment {
        Comment {
            id: self.id,
            author: self.user.and_then(|user| user.account()),
            body: self.body.unwrap_or_default(),
            created_at: self.created_at,
            edited: self.updated_at != self.created_at,
            by_app: self.performed_via_github_app.is_some(),
            // An answer that does not tell has to be asked for.
            has_reactions: self.reactions.is_none_or(|reactions| reactions.total_count > 0),
        }
    }

    /// The issue or pull request it is on.
    fn issue(&self) -> Option<u64> {
        self.issue_url.rsplit('/').next()?.parse().ok()
    }
}

#[derive(Deserialize)]
struct RawReactions {
    total_count: u64,
}

#[derive(Deserialize)]
struct RawReaction {
    user: Option<RawAccount>,
    content: Reaction,
}

#[derive(Deserialize)]
struct RawEvent {
    #[serde(default)]
    event: String,
    actor: Option<RawAccount>,
    created_at: DateTime<Utc>,
    dismissed_review: Option<RawDismissal>,
}

#[derive(Deserialize)]
struct RawDismissal {
    review_id: u64,
    #[serde(default)]
    state: String,
}

#[derive(Deserialize)]
struct RawIssue {
    number: u64,
    state: String,
    body: Option<String>,
    created_at: DateTime<Utc>,
}

impl Repository {
    /// All comments on an issue or pull request, oldest first.
    pub async fn comments(&self, issue: u64) -> Result<Vec<Comment>, GithubError> {
        let raw: Vec<RawComment> = self.list(&self.path(&format!("/issues/{issue}/comments?per_page=100"))).await?;
        Ok(raw.into_iter().map(RawComment::comment).collect())
    }

    /// The issues and pull requests somebody commented on since `since`.
    pub async fn commented_since(&self, since: DateTime<Utc>) -> Result<BTreeSet<u64>, GithubError> {
        let path = self.path("/issues/comments?sort=updated&direction=desc&per_page=100");
        let raw: Vec<RawComment> = self.list_until(&path, |comment: &RawComment| comment.updated_at < since).await?;
        Ok(raw.iter().filter(|comment| comment.updated_at >= since).filter_map(RawComment::issue).collect())
    }

    /// The issue a bot opened whose text begins with `mark`, open or closed, if it was opened since `since`.
    pub async fn issue_of(&self, bot: &str, since: DateTime<Utc>, mark: &str) -> Result<Option<u64>, GithubError> {
        let wanted = since;
        let since = since.to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
        let path = self.path(&format!("/issues?state=all&creator={}&since={since}&per_page=100", segment(bot)));
        let raw: Vec<RawIssue> = self.list(&path).await?;
        // One that is older is about something else, whatever somebody wrote into it.
        let has = |issue: &&RawIssue| {
            issue.created_at >= wanted && issue.body.as_deref().is_some_and(|body| body.starts_with(mark))
        };
        Ok(raw.iter().find(has).map(|issue| issue.number))
    }

    /// Opens an issue again that somebody closed; whether somebody had. One that is gone stays so.
    pub async fn reopen_issue(&self, number: u64) -> Result<bool, GithubError> {
        self.set_issue_state(number, "open").await
    }

    /// Closes an issue; whether it was open.
    pub async fn close_issue(&self, number: u64) -> Result<bool, GithubError> {
        self.set_issue_state(number, "closed").await
    }

    async fn set_issue_state(&self, number: u64, state: &str) -> Result<bool, GithubError> {
        let path = self.path(&format!("/issues/{number}"));
        let raw: Option<RawIssue> = self.find(&path).await?;
        let differs = raw.is_some_and(|issue| issue.state != state);
        if differs {
            self.act::<serde_json::Value>(Method::PATCH, &path, Some(&json!({ "state": state }))).await?;
        }
        Ok(differs)
    }

    /// Who reacted to a comment, and how.
    pub async fn reactions(&self, comment: u64) -> Result<Vec<(Option<Account>, Reaction)>, GithubError> {
        let path = self.path(&format!("/issues/comments/{comment}/reactions?per_page=100"));
        let raw: Vec<RawReaction> = self.list(&path).await?;
        Ok(raw.into_iter().map(|one| (one.user.and_then(|user| user.account()), one.content)).collect())
    }

    /// Reacts to a comment. Nobody reacts twice in the same way.
    pub async fn react(&self, comment: u64, reaction: Reaction) -> Result<(), GithubError> {
        let path = self.path(&format!("/issues/comments/{comment}/reactions"));
        self.act(Method::POST, &path, Some(&json!({ "content": reaction }))).await
    }

    /// When a pull request was closed, reopened or given another base last, and what was dismissed. <https://docs.github.com/en/rest/issues/events>
    pub async fn closings(&self, issue: u64) -> Result<Closings, GithubError> {
        let raw: Vec<RawEvent> = self.list(&self.path(&format!("/issues/{issue}/events?per_page=100"))).await?;
        let mut closings = Closings::default();
        for event in raw {
            match event.event.as_str() {
                // What was said about another base was said about something else.
                "reopened" | "base_ref_changed" | "automatic_base_change_succeeded" => {
                    closings.reopened_at = closings.reopened_at.max(Some(event.created_at))
                }
                "closed" => closings.closed_by = event.actor.and_then(|actor| actor.account()),
                "review_dismissed" => {
                    let by = event.actor.and_then(|actor| actor.account());
                    closings.dismissed.extend(event.dismissed_review.map(|review| Dismissal {
                        review: review.review_id,
                        was_objection: review.state.eq_ignore_ascii_case("changes_requested"),
                        by,
                    }));
                }
                _ => {}
            }
        }
        Ok(closings)
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
