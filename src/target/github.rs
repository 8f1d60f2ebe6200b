//! Teams of the organisation on GitHub.
//!
//! Accounts are found by their numeric id at each call, so that a renamed login neither keeps nor gains anything.

use std::time::Instant;

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::{Drift, Observed, Receipt, Target, TargetError, still_fresh};
use crate::access::facts::Account;
use crate::github::{App, GithubError, Membership, Repository};
use crate::policy::entitlement::{Access, Entitlement};
use crate::policy::model::TargetKind;
use crate::policy::name::{RepositoryName, TeamSlug, UserId};

/// The teams of the organisation a policy repository belongs to.
pub struct GithubTeams {
    app: App,
    repository: RepositoryName,
    drift: Drift,
}

impl std::fmt::Debug for GithubTeams {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "GithubTeams({})", self.repository.owner())
    }
}

impl GithubTeams {
    /// The teams that the app's installation at `repository` can change.
    pub fn new(app: App, repository: RepositoryName) -> Self {
        Self { app, repository, drift: Drift::default() }
    }

    /// The same, with what is done about drift.
    pub fn on_drift(self, drift: Drift) -> Self {
        Self { drift, ..self }
    }

    async fn open(&self) -> Result<Repository, TargetError> {
        self.app.repository(&self.repository).await.map_err(failure)
    }

    /// Whether a team's list, read to its end, has somebody. What GitHub does not find may be there all the same, so nothing but
    /// such a list proves that they are not in it.
    async fn is_listed(github: &Repository, team: &TeamSlug, user: UserId) -> Result<bool, TargetError> {
        match github.team_member_ids(team).await.map_err(failure)? {
            Some(members) => Ok(members.contains(&user)),
            None => Err(TargetError::Temporary(format!(
                "team {team} is not found; if it was renamed or removed, correct the policy"
            ))),
        }
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
    fn drift(&self) -> Drift {
        self.drift
    }

    fn kind(&self) -> TargetKind {
        TargetKind::Github
    }

    async fn check(&self) -> Result<String, TargetError> {
        self.open().await?.info().await.map_err(failure)?;
        Ok(format!("organisation {} answers", self.repository.owner()))
    }

    async fn observe(&self, entitlement: &Entitlement) -> Result<Observed, TargetError> {
        let (team, user) = wanted(entitlement)?;
        let listed = Self::is_listed(&self.open().await?, team, user).await?;
        Ok(if listed { Observed::Present } else { Observed::Absent })
    }

    async fn grant(&self, entitlement: &Entitlement, _now: DateTime<Utc>) -> Result<Receipt, TargetError> {
        let (team, user) = wanted(entitlement)?;
        let looked = Instant::now();
        let github = self.open().await?;
        let Some(account) = self.account(&github, user).await? else {
            return Err(TargetError::Temporary(format!("the account with id {user} is not found; was it deleted?")));
        };
        still_fresh(looked)?;
        match github.add_to_team(team, &account.login).await.map_err(failure)? {
            Membership::Active => Ok(Receipt { summary: format!("member of team {team}"), ..Receipt::default() }),
            Membership::Pending => Err(TargetError::Permanent(format!(
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
        if Self::is_listed(&github, team, user).await? {
            return Err(TargetError::Temporary(format!("the account with id {user} is still a member of team {team}")));
        }
        Ok(Receipt { summary: format!("no longer a member of team {team}"), ..Receipt::default() })
    }
}
