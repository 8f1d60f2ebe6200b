//! What the embedded GitHub remembers besides git. Kept as one JSON file.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct State {
    /// Ids are handed out from one counter, so that no two things share one.
    pub next_id: u64,
    pub organisation: Organisation,
    pub users: BTreeMap<u64, User>,
    pub teams: BTreeMap<String, Team>,
    pub tokens: BTreeMap<String, Token>,
    pub app: App,
    pub installation: Option<Installation>,
    pub repositories: BTreeMap<String, Repository>,
    pub deliveries: Vec<DeliveryRecord>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Organisation {
    pub id: u64,
    pub login: String,
    pub members: BTreeSet<u64>,
    pub owners: BTreeSet<u64>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct User {
    pub id: u64,
    pub login: String,
    pub email: String,
    pub bot: bool,
    pub keys: Vec<(u64, String)>,
    pub created_at: DateTime<Utc>,
    /// On an Enterprise Server: since when it is suspended.
    #[serde(default)]
    pub suspended_at: Option<DateTime<Utc>>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Team {
    pub id: u64,
    pub slug: String,
    pub parent: Option<String>,
    pub members: BTreeSet<u64>,
    pub invited: BTreeSet<u64>,
    pub created_at: DateTime<Utc>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Token {
    pub holder: Holder,
    pub expires_at: Option<DateTime<Utc>>,
}

/// Who acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Holder {
    /// Nobody in particular.
    Anonymous,
    /// A person.
    User(u64),
    /// The app itself, by JWT.
    App,
    /// The app in its installation.
    Installation,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct App {
    pub id: u64,
    pub slug: String,
    pub client_id: String,
    pub bot: u64,
    pub created_at: DateTime<Utc>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Installation {
    pub id: u64,
    pub created_at: DateTime<Utc>,
}

/// The rule of the default branch.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct BranchRule {
    /// The check run `daypass` of our app must be green (or neutral) before a merge.
    pub required_check: bool,
    /// Nobody pushes directly.
    pub pull_request_required: bool,
    /// Owners of the organisation may ignore the rule; the app always may.
    pub admins_bypass: bool,
    /// No merge commits: only squashing and rebasing.
    #[serde(default)]
    pub linear_history: bool,
}

/// A pull request in the merge queue.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Queued {
    pub number: u64,
    /// The branch it is merged on first, and the commit there.
    pub branch: String,
    pub head: String,
    /// What it is merged onto.
    pub base: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Repository {
    pub id: u64,
    pub name: String,
    pub default_branch: String,
    pub rule: BranchRule,
    #[serde(default)]
    pub queue: Vec<Queued>,
    pub next_number: u64,
    pub created_at: DateTime<Utc>,
    pub issues: BTreeMap<u64, Issue>,
    pub pulls: BTreeMap<u64, Pull>,
    pub comments: BTreeMap<u64, Comment>,
    pub checks: BTreeMap<u64, Check>,
    pub labels: BTreeMap<String, u64>,
}

/// An issue; every pull request has one of the same number.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Issue {
    pub id: u64,
    pub number: u64,
    pub title: String,
    pub body: Option<String>,
    pub author: u64,
    pub open: bool,
    pub labels: BTreeSet<String>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
    pub closed_at: Option<DateTime<Utc>>,
    #[serde(default)]
    pub events: Vec<IssueEvent>,
}

/// Something that happened to an issue or a pull request: closed, reopened, merged.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct IssueEvent {
    pub id: u64,
    pub actor: u64,
    pub event: String,
    pub created_at: DateTime<Utc>,
    /// The review that was dismissed, and what it had said.
    #[serde(default)]
    pub dismissed: Option<(u64, String)>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Pull {
    pub id: u64,
    pub number: u64,
    pub head_branch: String,
    pub head: String,
    pub base_branch: String,
    /// The base's commit when it was last looked at.
    pub base: String,
    pub draft: bool,
    /// Whose fork the head branch is in, if it is in one.
    #[serde(default)]
    pub fork: Option<u64>,
    pub merged: Option<Merged>,
    pub reviews: Vec<Review>,
    pub requested: BTreeSet<u64>,
    pub requested_teams: BTreeSet<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Merged {
    pub at: DateTime<Utc>,
    pub by: u64,
    pub commit: String,
    /// Where head and base met, for the list of files and commits.
    pub base: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Review {
    pub id: u64,
    pub author: u64,
    pub state: String,
    pub body: String,
    pub commit: String,
    pub submitted_at: DateTime<Utc>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Comment {
    pub id: u64,
    pub issue: u64,
    pub author: u64,
    pub by_app: bool,
    pub body: String,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
    #[serde(default)]
    pub reactions: Vec<Reaction>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Reaction {
    pub id: u64,
    pub author: u64,
    pub content: String,
    pub created_at: DateTime<Utc>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Check {
    pub id: u64,
    pub name: String,
    pub head: String,
    pub status: String,
    pub conclusion: Option<String>,
    pub external_id: String,
    pub details_url: Option<String>,
    pub title: Option<String>,
    pub summary: Option<String>,
    pub text: Option<String>,
    pub annotations: Vec<Value>,
    pub actions: Vec<Value>,
    pub started_at: DateTime<Utc>,
    pub completed_at: Option<DateTime<Utc>>,
    /// Written by another app than ours.
    #[serde(default)]
    pub foreign: bool,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct DeliveryRecord {
    pub id: u64,
    pub guid: String,
    pub event: String,
    pub action: Option<String>,
    pub delivered_at: DateTime<Utc>,
    pub redelivery: bool,
    /// What the receiver answered; `None` until it has, 0 if it could not be reached.
    pub status_code: Option<u16>,
    pub payload: Value,
}

impl State {
    /// A fresh id.
    pub fn id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    /// The user with a login, whatever its letter case.
    pub fn user(&self, login: &str) -> Option<&User> {
        self.users.values().find(|user| user.login.eq_ignore_ascii_case(login))
    }

    /// The user whom an e-mail address belongs to: their own, or GitHub's no-reply one.
    pub fn user_by_email(&self, email: &str) -> Option<&User> {
        self.users.values().find(|user| {
            user.email.eq_ignore_ascii_case(email)
                || email.eq_ignore_ascii_case(&format!("{}+{}@users.noreply.github.com", user.id, user.login))
        })
    }

    /// The members of a team, child teams included.
    pub fn team_members(&self, slug: &str) -> BTreeSet<u64> {
        let mut found = BTreeSet::new();
        let mut waiting = vec![slug.to_owned()];
        let mut seen = BTreeSet::new();
        while let Some(slug) = waiting.pop() {
            if !seen.insert(slug.clone()) {
                continue;
            }
            found.extend(self.teams.get(&slug).into_iter().flat_map(|team| team.members.iter().copied()));
            let children = self.teams.values().filter(|team| team.parent.as_deref() == Some(slug.as_str()));
            waiting.extend(children.map(|team| team.slug.clone()));
        }
        found
    }
}
