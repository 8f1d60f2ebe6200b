//! The effect of a policy change, as reviewers read it: a table, the most dangerous first.

use std::collections::BTreeMap;

use super::facts::{Ground, Judged};
use super::in_force::InForce;
use super::markdown::code;
use super::{Engine, EngineError};
use crate::access::case::Case;
use crate::access::change::{Subject, merged};
use crate::access::facts::{Directory, PullRequest, TreeFile};
use crate::access::grant::{Grant, State};
use crate::access::impact::{self, Danger, Impact, Row, Sentence};
use crate::access::principals::Needs;
use crate::github::{GithubError, Repository};
use crate::policy::name::{CommitId, RepositoryName};
use crate::policy::request::{self, path_of};
use crate::policy::{Loaded, Policy, Request};

/// How many bytes of a comment the table may take; GitHub takes 65,536 characters for the whole of it.
const TABLE: usize = 40_000;
/// How much of one name or expression is shown.
const QUOTED: usize = 300;
/// How many roles one row names.
const ROLES: usize = 5;
/// How many running grants are judged under the new policy, and how many open pull requests.
const GRANTS: usize = 100;
const PULLS: usize = 20;

/// An impact as Markdown: a table of `limit` bytes at most. What was cut is counted.
pub fn table(impact: &Impact, limit: usize, see_all: &str) -> String {
    let mut text = String::new();
    if impact.effects.is_empty() {
        text.push_str("No effect: nobody can do more or less than before.\n");
    } else {
        text.push_str("| | Role | What would be different |\n|---|---|---|\n");
    }
    let rows = impact.rows();
    for (index, row) in rows.iter().enumerate() {
        let row = line(row);
        if text.len() + row.len() > limit {
            let left = rows.len() - index;
            text.push_str(&format!("\n… and {left} more, none of them more dangerous than these. {see_all}\n"));
            return text;
        }
        text.push_str(&row);
    }
    let mut note = |note: String| {
        if text.len() + note.len() <= limit {
            text.push_str(&note);
        }
    };
    if !impact.unknown.is_empty() {
        let teams: Vec<String> = impact.unknown.iter().take(50).map(|slug| code(&format!("team:{slug}"))).collect();
        note(format!("\nNot known here, and not guessed: who is in {}.\n", teams.join(", ")));
    }
    for sentence in impact.dormant.iter().take(20) {
        note(format!("\nNobody gains by it today, but whoever joins later will: {}.\n", markdown(sentence)));
    }
    text
}

fn line(row: &Row<'_>) -> String {
    let mark = match row.danger {
        Danger::Critical => "🔴",
        Danger::High => "🟠",
        Danger::Medium => "🟡",
        Danger::Low => "🔵",
        Danger::Neutral => "⚪",
        Danger::Narrower => "🟢",
    };
    let roles: Vec<String> = row.roles.iter().take(ROLES).map(|role| code(role.as_str())).collect();
    let more = row.roles.len().saturating_sub(ROLES);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("| {mark} {} | {}{more} | {} |\n", row.danger.as_str(), roles.join(", "), markdown(row.sentence))
}

fn markdown(sentence: &Sentence) -> String {
    sentence.render(|text| {
        let mut short: String = text.chars().take(QUOTED).collect();
        if short.len() < text.len() {
            short.push('…');
        }
        code(&short)
    })
}

impl Engine {
    /// What merging this pull request would let people do, as a section of its comment; empty if it does not change the policy, or
    /// into none that can be read.
    pub(super) async fn effect(
        &self,
        github: &Repository,
        repository: &RepositoryName,
        (base, in_force): (&CommitId, &InForce),
        policy: &Policy,
        judged: &Judged,
    ) -> Result<String, EngineError> {
        if judged.judgement.subject != Subject::Policy {
            return Ok(String::new());
        }
        let before = self.files(github, base).await?;
        let after = merged(&in_force.files, &judged.changed, &judged.head_files);
        let proposed = self.policy_of(github, &after).await?;
        let Loaded { policy: Some(proposed), .. } = proposed.as_ref() else {
            return Ok("\nWhat it would let people do cannot be told until its problems are solved.\n".to_owned());
        };
        let now = self.inner.clock.now();
        let mut needs = impact::needs(policy, proposed);
        let grants = self.running_requests(github, repository, &before).await?;
        for (grant, _) in grants.iter().take(GRANTS) {
            needs.logins.insert(grant.subject.login.clone());
            for policy in [policy, proposed] {
                needs.extend(policy.roles.get(&grant.role).map(|role| Needs::of_role(role, policy)));
            }
        }
        let mut directory = self.directory(github, &needs).await?;
        let mut impact = impact::compare(policy, proposed, &directory);
        for (grant, request) in grants.iter().take(GRANTS) {
            if !impact.touches(&grant.role) {
                continue;
            }
            // The file may name the subject by a login they no longer have.
            if let Some(login) = &request.subject {
                directory.accounts.insert(login.clone(), Some(grant.subject.clone()));
            }
            impact.add(impact::running_grant(request, Some(&grant.requester), (policy, proposed), &directory, now));
        }
        let mut left_out = grants.len().saturating_sub(GRANTS);
        if !impact.effects.is_empty() {
            let policies = (policy, proposed);
            left_out += self
                .open_requests(
                    github,
                    repository,
                    (&judged.facts.pull, (base, in_force), &before),
                    policies,
                    &mut directory,
                    &mut impact,
                )
                .await?;
        }
        let see_all = format!(
            "See them all with {} in a clone.",
            code(&format!("daypass diff {}..{}", in_force.commit.short(), judged.facts.pull.head.short()))
        );
        let mut text = format!(
            "\n**What merging this would change**, the most dangerous first\n\n{}",
            table(&impact, TABLE, &see_all)
        );
        if left_out > 0 {
            text.push_str(&format!(
                "\n{left_out} more running grants and open requests were not judged under the new policy.\n"
            ));
        }
        Ok(text)
    }

    /// The running grants with their files.
    async fn running_requests(
        &self,
        github: &Repository,
        repository: &RepositoryName,
        files: &BTreeMap<String, TreeFile>,
    ) -> Result<Vec<(Grant, Request)>, EngineError> {
        let mut running = Vec::new();
        for row in self.inner.store.grants_of(repository).await? {
            if matches!(row.grant.state, State::Ended { .. }) {
                continue;
            }
            let path = path_of(&row.grant.id.slug);
            let Some(file) = files.get(&path).filter(|file| file.blob == row.grant.blob) else { continue };
            if let Ok(request) = request::read(&path, &self.grant_text(github, file).await?, None) {
                running.push((row.grant, request));
            }
        }
        Ok(running)
    }

    /// Judges the open requests under both policies. Returns how many were left out.
    async fn open_requests(
        &self,
        github: &Repository,
        repository: &RepositoryName,
        (change, base, before): (&PullRequest, (&CommitId, &InForce), &BTreeMap<String, TreeFile>),
        (old, new): (&Policy, &Policy),
        directory: &mut Directory,
        impact: &mut Impact,
    ) -> Result<usize, EngineError> {
        let mut pulls = github.open_pulls().await?;
        pulls.retain(|pull| pull.number != change.number && pull.base_branch == change.base_branch && !pull.draft);
        let left_out = pulls.len().saturating_sub(PULLS);
        for pull in pulls.into_iter().take(PULLS) {
            let ground = Ground { policy: old, in_force: &base.1.files, base: base.0, before };
            let judged = match self.judge(github, repository, pull, ground).await {
                Ok(judged) => judged,
                // Too large to be read: refused under any policy.
                Err(EngineError::Github(GithubError::Invalid { .. })) => continue,
                Err(error) => return Err(error),
            };
            let requests: Vec<_> = judged.judgement.requests.iter().map(|decision| &decision.request).collect();
            if requests.is_empty() {
                continue;
            }
            let facts = &judged.facts;
            let mut needs = Needs::default();
            for request in &requests {
                needs.logins.extend(request.subject.clone());
                for policy in [old, new] {
                    needs.extend(policy.roles.get(&request.role).map(|role| Needs::of_role(role, policy)));
                }
            }
            needs.logins.extend(facts.requester().map(|requester| requester.login.clone()));
            needs
                .logins
                .extend(facts.reviews.iter().filter_map(|review| review.author.as_ref()).map(|a| a.login.clone()));
            // Much of it is known by now.
            needs.teams.retain(|slug| !directory.teams.contains_key(slug));
            needs.logins.retain(|login| !directory.accounts.contains_key(login));
            let more = self.directory(github, &needs).await?;
            directory.teams.extend(more.teams);
            directory.accounts.extend(more.accounts);
            directory.members.extend(more.members);
            let case = Case { policy: old, directory, facts, now: self.inner.clock.now() };
            impact.add(requests.iter().filter_map(|request| impact::open_request(request, case, new)));
        }
        Ok(left_out)
    }
}
