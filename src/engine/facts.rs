//! Gathering facts: what a decision needs is read from GitHub at the time of the decision.

use std::collections::BTreeMap;

use super::{Engine, EngineError};
use crate::access::change::{self, Subject};
use crate::access::decide::{Case, PullFacts};
use crate::access::facts::{ChangedFile, Directory, FileMode, PullRequest, PullState, TreeFile};
use crate::access::judgement::{self, Judgement, Proposal};
use crate::access::principals::Needs;
use crate::github::Repository;
use crate::policy::name::RepositoryName;
use crate::policy::{self, Policy};

/// A judged pull request with the facts it was judged on.
pub(super) struct Judged {
    /// The judgement.
    pub judgement: Judgement,
    /// The facts.
    pub facts: PullFacts,
    /// The files at the head of the pull request.
    pub head_files: BTreeMap<String, TreeFile>,
    /// The files it changes.
    pub changed: Vec<ChangedFile>,
}

impl Engine {
    /// Judges a pull request, open or merged, under `policy`.
    pub(super) async fn judge(
        &self,
        github: &Repository,
        repository: &RepositoryName,
        pull: PullRequest,
        policy: &Policy,
    ) -> Result<Judged, EngineError> {
        let head_files = self.files(github, &pull.head).await?;
        let changed = github.pull_files(pull.number).await?;
        let (subject, findings) = change::classify(&changed, &head_files);
        let judged_at = match &pull.state {
            PullState::Merged { at, .. } => *at,
            _ => self.inner.clock.now(),
        };
        let mut proposal = Proposal {
            subject,
            findings,
            requests: Vec::new(),
            removed: BTreeMap::new(),
            replaced: BTreeMap::new(),
            policy_findings: Vec::new(),
            tests: None,
        };
        match proposal.subject.clone() {
            Subject::Grants(changes) => {
                for slug in &changes.requested {
                    let live = self.inner.store.live_grant(repository, slug).await?.map(|row| row.grant);
                    // One that is over by then, though nobody has noticed yet, stands in nobody's way.
                    let other =
                        live.filter(|grant| grant.id.pull_request != pull.number && judged_at < grant.window.ends_at);
                    proposal.replaced.extend(other.map(|grant| (slug.clone(), grant)));
                    let path = policy::request::path_of(slug);
                    // What cannot be read was found by its shape already.
                    let readable = |file: &&TreeFile| {
                        file.mode == FileMode::Regular && file.size.is_none_or(|size| size <= change::GRANT_LIMIT)
                    };
                    if let Some(file) = head_files.get(&path).filter(readable) {
                        let text = self.grant_text(github, file).await?;
                        proposal.requests.push(policy::request::read(&path, &text, Some(policy)));
                    }
                }
                for slug in changes.removed {
                    let grant = self.inner.store.live_grant(repository, &slug).await?.map(|row| row.grant);
                    proposal.removed.insert(slug, grant);
                }
            }
            Subject::Policy => {
                let proposed = self.policy_of(github, &head_files).await?;
                proposal.policy_findings = proposed.findings.clone();
                if let Some((tally, failures)) = self.rehearse(&proposed).await? {
                    proposal.tests = Some(tally);
                    proposal.policy_findings.extend(failures);
                }
            }
            Subject::Unrelated => {}
        }
        let facts = match proposal.subject {
            Subject::Unrelated => PullFacts { pull, commits: Vec::new(), reviews: Vec::new() },
            _ => {
                let commits = github.pull_commits(pull.number).await?;
                let reviews = github.reviews(pull.number).await?;
                PullFacts { pull, commits, reviews }
            }
        };
        let needs = judgement::needs(&proposal, &facts, policy);
        let directory = self.directory(github, &needs).await?;
        let case = Case { policy, directory: &directory, facts: &facts, now: self.inner.clock.now() };
        let judgement = judgement::judge(proposal, case);
        Ok(Judged { judgement, facts, head_files, changed })
    }

    /// Reads memberships and accounts.
    pub(super) async fn directory(&self, github: &Repository, needs: &Needs) -> Result<Directory, EngineError> {
        let mut directory = Directory::default();
        for team in &needs.teams {
            let members = github.team_members(team).await?;
            // Whoever is in a team is in the organisation.
            directory.members.extend(members.iter().flatten().map(|account| account.id));
            directory.teams.insert(team.clone(), members);
        }
        for login in &needs.logins {
            let known = directory.teams.values().flatten().flatten().find(|account| account.login == *login).cloned();
            let account = match known {
                Some(account) => Some(account),
                None => github.account(login).await?,
            };
            if let Some(account) = &account
                && !account.bot
                && !directory.members.contains(&account.id)
                && github.is_member(login).await?
            {
                directory.members.insert(account.id);
            }
            directory.accounts.insert(login.clone(), account);
        }
        Ok(directory)
    }
}
