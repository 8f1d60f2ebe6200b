//! Teams of the organisation on GitHub.
//!
//! Accounts are found by their numeric id at each call, so that a renamed login neither keeps nor gains anything.

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::{Observed, Receipt, Target, TargetError};
use crate::access::facts::Account;
use crate::github::{App, GithubError, Membership, Repository};
use crate::policy::entitlement::{Access, Entitlement};
use crate::policy::model::TargetKind;
use crate::policy::name::{RepositoryName, TeamSlug, UserId};

/// The teams of the organisation a policy repository belongs to.
pub struct GithubTeams {
    app: App,
    repository: RepositoryName,
}

impl std::fmt::Debug for GithubTeams {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "GithubTeams({})", self.repository.owner())
    }
}

impl GithubTeams {
    /// The teams that the app's installation at `repository` can change.
    pub fn new(app: App, repository: RepositoryName) -> Self {
        Self { app, repository }
    }

    async fn open(&self) -> Result<Repository, TargetError> {
        self.app.repository(&self.repository).await.map_err(failure)
    }

    async fn account(&self, github: &Repository, user: UserId) -> Result<Option<Account>, TargetError> {
        github.account_by_id(user).await.map_err(failure)
    }
}

fn failure(error: GithubError) -> TargetError {
    if error.is_temporary() {
        TargetError::Temporary(error.to_string())
    } else {
        TargetError::Permanent(error.to_string())
    }
}

fn wanted(entitlement: &Entitlement) -> Result<(&TeamSlug, UserId), TargetError> {
    match &entitlement.access {
        Access::Github { team, user } => Ok((team, *user)),
        _ => Err(TargetError::Permanent(format!("{entitlement} is not a team on GitHub"))),
    }
}

#[async_trait]
impl Target for GithubTeams {
    fn kind(&self) -> TargetKind {
        TargetKind::Github
    }

    async fn check(&self) -> Result<String, TargetError> {
        self.open().await?.info().await.map_err(failure)?;
        Ok(format!("organisation {} answers", self.repository.owner()))
    }

    async fn observe(&self, entitlement: &Entitlement) -> Result<Observed, TargetError> {
        let (team, user) = wanted(entitlement)?;
        let github = self.open().await?;
        let Some(account) = self.account(&github, user).await? else { return Ok(Observed::Absent) };
        match github.membership(team, &account.login).await.map_err(failure)? {
            Membership::Active => Ok(Observed::Present),
            Membership::Pending | Membership::None => Ok(Observed::Absent),
        }
    }

    async fn grant(&self, entitlement: &Entitlement, _now: DateTime<Utc>) -> Result<Receipt, TargetError> {
        let (team, user) = wanted(entitlement)?;
        let github = self.open().await?;
        let Some(account) = self.account(&github, user).await? else {
            return Err(TargetError::Permanent(format!("the account with id {user} no longer exists")));
        };
        match github.add_to_team(team, &account.login).await.map_err(failure)? {
            Membership::Active => Ok(Receipt { summary: format!("member of team {team}"), ..Receipt::default() }),
            Membership::Pending | Membership::None => Err(TargetError::Permanent(format!(
                "{} is not a member of the organisation and was only invited to team {team}; they have to accept first",
                account.login
            ))),
        }
    }

    async fn revoke(
        &self,
        entitlement: &Entitlement,
        _receipt: Option<&Receipt>,
        _now: DateTime<Utc>,
    ) -> Result<Receipt, TargetError> {
        let (team, user) = wanted(entitlement)?;
        let github = self.open().await?;
        if let Some(account) = self.account(&github, user).await? {
            github.remove_from_team(team, &account.login).await.map_err(failure)?;
        }
        // What was not found may be there all the same: only a list without them proves that they are gone.
        let members = github.team_members(team).await.map_err(failure)?;
        let Some(members) = members else {
            let why = format!("team {team} is not found; if it was renamed or removed, correct the policy");
            return Err(TargetError::Temporary(why));
        };
        if members.iter().any(|member| member.id == user) {
            return Err(TargetError::Temporary(format!("the account with id {user} is still a member of team {team}")));
        }
        Ok(Receipt { summary: format!("no longer a member of team {team}"), ..Receipt::default() })
    }
}
