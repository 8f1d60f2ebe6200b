//! Starting a planned grant, if it may still start. Until that is certain it does not: GitHub must answer first.

use chrono::TimeDelta;

use super::grants::ask_targets;
use super::in_force::Standing;
use super::{Engine, EngineError, words};
use crate::access::case::{Case, PullFacts};
use crate::access::change::GRANT_LIMIT;
use crate::access::grant::{EndReason, Grant, GrantId, State, Transition};
use crate::access::history::History;
use crate::access::principals::Needs;
use crate::access::start::obstacles;
use crate::github::Repository;
use crate::ledger::{Event, EventKind};
use crate::mutants::{self, Mutant};
use crate::policy::name::RepositoryName;
use crate::policy::{Finding, request};
use crate::store::{Claim, Job};

impl Engine {
    /// Starts a planned grant whose time has come, or ends it because it is no longer allowed.
    pub(super) async fn start(
        &self,
        claim: &Claim,
        repository: &RepositoryName,
        id: &GrantId,
    ) -> Result<(), EngineError> {
        let waits = |grant: &Grant| grant.next(self.inner.clock.instant(), false) == Transition::Start;
        let row = self.inner.store.grant(repository, id).await?;
        let Some(mut row) = row else { return self.done(claim).await };
        if !waits(&row.grant) {
            return self.not_now(claim, repository, id).await;
        }
        let (github, branch) = self.open(repository).await?;
        let mut obstacles = self.obstacles((&github, repository), &branch, &row.grant).await?;
        if mutants::is(Mutant::StartBlindly) {
            obstacles.clear();
        }
        // GitHub's answers may have told that it is earlier, or a paused process went on much later.
        if !waits(&row.grant) {
            return self.not_now(claim, repository, id).await;
        }
        let now = self.inner.clock.now();
        if let Some(first) = obstacles.first()
            && !self.is_certain(&format!("{repository} {id}"), &first.message).await?
        {
            return Err(EngineError::Uncertain(format!("`{id}` may not start: {}", first.message)));
        }
        let mut tx = self.inner.store.begin().await?;
        if let Some(first) = obstacles.first() {
            let body = words::not_started(&row.grant, &first.message);
            self.say(&mut tx, repository, &row.grant, "not-started", body, now).await?;
            self.end(&mut tx, row, EndReason::Policy, now).await?;
            return self.finish(claim, tx, None).await;
        }
        row.grant.state = State::Active;
        tx.put_grant(&row).await?;
        let details = serde_json::json!({ "grant": id, "subject": row.grant.subject, "role": row.grant.role });
        tx.record(&Event::new(repository, EventKind::Started, id, "start", now, details)).await?;
        ask_targets(&mut tx, &row, now).await?;
        tx.schedule(&Job::Grant(repository.clone(), id.clone()), now).await?;
        self.finish(claim, tx, None).await
    }

    /// Leaves it to the clock of the grant to ask again: another process's clock may have asked too early.
    async fn not_now(&self, claim: &Claim, repository: &RepositoryName, id: &GrantId) -> Result<(), EngineError> {
        let mut tx = self.inner.store.begin().await?;
        let soon = self.inner.clock.now() + TimeDelta::seconds(1);
        tx.schedule(&Job::Grant(repository.clone(), id.clone()), soon).await?;
        self.finish(claim, tx, None).await
    }

    /// What stands in the way of a planned grant under the policy and the memberships of now.
    async fn obstacles(
        &self,
        (github, repository): (&Repository, &RepositoryName),
        branch: &str,
        grant: &Grant,
    ) -> Result<Vec<Finding>, EngineError> {
        let head = github.head(branch).await?;
        let in_force = self.in_force(github, repository, &head).await?;
        if in_force.standing == Standing::Unread {
            let why = format!("the policy at {} is not read yet; `{}` starts after that", head.short(), grant.id);
            return Err(EngineError::NotYet(why));
        }
        let Some(policy) = &in_force.loaded.policy else {
            let commit = in_force.commit.short();
            let why = format!("the policy at {commit} is broken; `{}` cannot start before it is mended", grant.id);
            return Err(EngineError::NotYet(why));
        };
        let text = github.blob(&grant.blob, GRANT_LIMIT).await?;
        let request = match request::read(&request::path_of(&grant.id.slug), &text, Some(policy)) {
            Ok(request) => request,
            Err(findings) => return Ok(findings),
        };
        let pull = github.pull(grant.id.pull_request).await?;
        let facts =
            PullFacts { pull, commits: Vec::new(), reviews: Vec::new(), extends: None, history: History::default() };
        let mut needs = policy.roles.get(&request.role).map(|role| Needs::of_role(role, policy)).unwrap_or_default();
        needs.logins.extend([grant.subject.login.clone(), grant.requester.login.clone()]);
        let directory = self.directory(github, &needs).await?;
        let case = Case { policy, directory: &directory, facts: &facts, now: self.inner.clock.now() };
        Ok(obstacles(&request, grant, case))
    }
}
