//! Accounts, members of the organisation, teams.

use std::collections::BTreeSet;

use http::Method;
use serde::Deserialize;

use super::transport::segment;
use super::{GithubError, Repository};
use crate::access::facts::Account;
use crate::policy::name::{Login, TeamSlug, UserId};

/// An account as GitHub reports it. Logins that are none (there are old ones) make the account nobody.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct RawAccount {
    id: u64,
    login: String,
    #[serde(rename = "type", default)]
    kind: String,
}

impl RawAccount {
    /// The account; `None` if its login has a form we do not know.
    pub fn account(&self) -> Option<Account> {
        Some(Account { id: UserId(self.id), login: self.login.parse().ok()?, bot: self.kind == "Bot" })
    }
}

/// Whether somebody is in a team.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Membership {
    /// They are.
    Active,
    /// They were invited: not yet.
    Pending,
}

#[derive(Deserialize)]
struct RawMembership {
    state: String,
}

#[derive(Deserialize)]
struct Key {
    key: String,
}

impl Repository {
    /// The account behind a login.
    pub async fn account(&self, login: &Login) -> Result<Option<Account>, GithubError> {
        let raw: Option<RawAccount> = self.find(&format!("/users/{}", segment(login.as_str()))).await?;
        Ok(raw.and_then(|raw| raw.account()))
    }

    /// The account with an id, whatever its login is today.
    pub async fn account_by_id(&self, id: UserId) -> Result<Option<Account>, GithubError> {
        let raw: Option<RawAccount> = self.find(&format!("/user/{id}")).await?;
        Ok(raw.and_then(|raw| raw.account()))
    }

    /// Whether an account is suspended. Enterprise Server tells, and goes on listing them in their teams:
    /// <https://docs.github.com/en/enterprise-server@3.17/rest/users/users#get-a-user>.
    pub async fn is_suspended(&self, login: &Login) -> Result<bool, GithubError> {
        #[derive(Deserialize)]
        struct RawUser {
            suspended_at: Option<String>,
        }
        let raw: Option<RawUser> = self.find(&format!("/users/{}", segment(login.as_str()))).await?;
        Ok(raw.is_some_and(|raw| raw.suspended_at.is_some()))
    }

    /// Whether somebody is a member of the organisation.
    pub async fn is_member(&self, login: &Login) -> Result<bool, GithubError> {
        let path = format!("/orgs/{}/members/{}", self.organisation(), segment(login.as_str()));
        Ok(self.found(self.act::<()>(Method::GET, &path, None).await)?.is_some())
    }

    /// The active members of a team, child teams included; `None` if there is no such team.
    pub async fn team_members(&self, team: &TeamSlug) -> Result<Option<BTreeSet<Account>>, GithubError> {
        let raw = self.raw_team_members(team).await?;
        Ok(raw.map(|raw| raw.iter().filter_map(RawAccount::account).collect()))
    }

    /// The ids of the active members of a team, child teams included, whatever their logins are; `None` if there is no such team.
    pub async fn team_member_ids(&self, team: &TeamSlug) -> Result<Option<BTreeSet<UserId>>, GithubError> {
        let raw = self.raw_team_members(team).await?;
        Ok(raw.map(|raw| raw.iter().map(|raw| UserId(raw.id)).collect()))
    }

    async fn raw_team_members(&self, team: &TeamSlug) -> Result<Option<Vec<RawAccount>>, GithubError> {
        let path = format!("/orgs/{}/teams/{}/members?per_page=100", self.organisation(), segment(team.as_str()));
        self.found(self.list(&path).await)
    }

    /// Puts somebody into a team. Whoever is outside the organisation is only invited.
    pub async fn add_to_team(&self, team: &TeamSlug, login: &Login) -> Result<Membership, GithubError> {
        let body = serde_json::json!({ "role": "member" });
        let raw: RawMembership = self.change(Method::PUT, &self.membership_path(team, login), &body).await?;
        Ok(raw.membership())
    }

    /// Takes somebody out of a team; fine if they are not in it.
    pub async fn remove_from_team(&self, team: &TeamSlug, login: &Login) -> Result<(), GithubError> {
        match self.act::<()>(Method::DELETE, &self.membership_path(team, login), None).await {
            Err(GithubError::NotFound { .. }) => Ok(()),
            result => result,
        }
    }

    /// The public SSH keys of an account, in OpenSSH format.
    pub async fn user_keys(&self, login: &Login) -> Result<Vec<String>, GithubError> {
        let keys: Vec<Key> = self.list(&format!("/users/{}/keys?per_page=100", segment(login.as_str()))).await?;
        Ok(keys.into_iter().map(|key| key.key).collect())
    }

    fn membership_path(&self, team: &TeamSlug, login: &Login) -> String {
        let (team, login) = (segment(team.as_str()), segment(login.as_str()));
        format!("/orgs/{}/teams/{team}/memberships/{login}", self.organisation())
    }
}

impl RawMembership {
    fn membership(&self) -> Membership {
        if self.state == "active" { Membership::Active } else { Membership::Pending }
    }
}
