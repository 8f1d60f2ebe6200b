//! What left the default branch: requests that were merged, applied perhaps, and are no longer in its history because it was set
//! back. A new database finds nothing of them in git; GitHub still knows the pull requests.

use std::collections::{BTreeMap, BTreeSet};

use super::facts::Ground;
use super::provenance::Step;
use super::repository::put_perhaps;
use super::{Engine, EngineError};
use crate::access::facts::{PullRequest, PullState};
use crate::access::plan::Applied;
use crate::github::{GithubError, Repository};
use crate::policy::entitlement::Entitlement;
use crate::policy::model::Settings;
use crate::policy::name::{CommitId, RepositoryName};
use crate::policy::request::path_of;
use crate::store::Claim;

impl Engine {
    /// Takes what merged pull requests outside of `steps` gave, and nobody took away, as perhaps applied. Nothing on the default
    /// branch gives it any more, so it ends.
    pub(super) async fn recall(
        &self,
        claim: &Claim,
        github: &Repository,
        repository: &RepositoryName,
        (branch, head): (&str, &CommitId),
        steps: &[Step],
    ) -> Result<(), EngineError> {
        let on_the_line: BTreeSet<u64> =
            steps.iter().filter_map(|step| step.pull.as_ref()).map(|pull| pull.number).collect();
        let since = self.horizon(github, head).await?;
        github.take_not_found();
        let mut found = Vec::new();
        for number in github.merged_since(branch, since).await? {
            if !on_the_line.contains(&number) {
                found.extend(self.perhaps_given_by(github, repository, head, github.pull(number).await?).await?);
            }
        }
        if github.take_not_found() {
            // What is not found now is never looked for again.
            let names: Vec<String> = found.iter().map(|(entitlement, _)| entitlement.to_string()).collect();
            if !self.is_certain(&format!("{repository} recall {head}"), &names.join("\n")).await? {
                let why = "GitHub did not find all that merged requests rest on which are not in history any more";
                return Err(EngineError::Uncertain(why.to_owned()));
            }
        }
        if found.is_empty() {
            return Ok(());
        }
        tracing::warn!(%repository, entitlements = found.len(), "may be applied by requests that are not in history any more");
        let (known, now) = (self.known_of(&found).await?, self.inner.clock.now());
        let mut tx = self.inner.store.begin().await?;
        tx.assert_held(claim).await?;
        put_perhaps(&mut tx, found, known, now).await?;
        Ok(tx.commit().await?)
    }

    async fn perhaps_given_by(
        &self,
        github: &Repository,
        repository: &RepositoryName,
        head: &CommitId,
        pull: PullRequest,
    ) -> Result<Vec<(Entitlement, Applied)>, EngineError> {
        let PullState::Merged { commit, .. } = &pull.state else { return Ok(Vec::new()) };
        // Commits nobody can reach are not kept for ever; then the policy of today has to do.
        let merge = github.find_commit(commit).await?;
        let base = merge.and_then(|merge| merge.parents.into_iter().next()).unwrap_or_else(|| head.clone());
        let step = Step {
            base: Some(base.clone()),
            tip: commit.clone(),
            pull: Some(pull.clone()),
            before: BTreeMap::new(),
            after: BTreeMap::new(),
        };
        let loaded = self.policy_at(github, &base).await?;
        let Some(policy) = &loaded.policy else { return Ok(Vec::new()) };
        let before = self.files(github, &base).await?;
        let ground = Ground { policy, in_force: &before, base: &base, before: &before };
        let judged = match self.judge(github, repository, pull, ground).await {
            // Too large to be read, and so never applied.
            Err(EngineError::Github(GithubError::Invalid { .. })) => return Ok(Vec::new()),
            judged => judged?,
        };
        let was_due = self.merged_it(&step).await?;
        let mut found = Vec::new();
        for slug in judged.judgement.requests.iter().map(|decision| &decision.request.slug) {
            let Some(file) = judged.head_files.get(&path_of(slug)) else { continue };
            let Ok(grant) = self.grant_of(&step, &judged, &Settings::default(), slug, &file.blob) else { continue };
            let removed = super::messages::message_id(repository, &grant.id, "removed");
            let is_known = self.inner.store.grant(repository, &grant.id).await?.is_some();
            if is_known || self.posted(github, grant.id.pull_request, &removed).await?.is_some() {
                continue;
            }
            found.extend(self.perhaps_applied(github, repository, &grant, was_due).await?);
        }
        Ok(found)
    }
}
