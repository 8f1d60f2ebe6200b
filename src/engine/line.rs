//! The line of the default branch, first parents only, cut into steps: each a merge, a squash, a rebased series or a push.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};

use super::provenance::Step;
use super::{Engine, EngineError};
use crate::access::change::grant_files;
use crate::access::facts::{PullRequest, PullState, TreeFile};
use crate::github::{GithubError, Repository};
use crate::policy::name::CommitId;

/// How far back the default branch is read to find where a file came from. Grants last a year and a day at most; a policy
/// repository with more merges in that time than this has its oldest grants refused, and reported, after a lost database.
const LONGEST_WALK: usize = 5_000;

/// How far back, at most, a new database looks for grants whose file is gone.
const LONGEST_MEMORY: TimeDelta = TimeDelta::days(7);

impl Engine {
    /// Where the first reading ends on this line: at the commit that was at its head when a new database saw it first. If history was
    /// set back since, that commit is not on it any more, and the first reading ends where the two part: what was merged after
    /// that, this database has seen coming. Nothing if that is before the line begins.
    pub(super) async fn first_ends(
        &self,
        github: &Repository,
        seen: Option<String>,
        head: &CommitId,
        steps: &[Step],
    ) -> Result<Option<String>, EngineError> {
        let is_there = |seen: &String| steps.iter().any(|step| step.tip.as_str() == seen);
        let seen = match seen {
            Some(seen) if !is_there(&seen) => seen,
            seen => return Ok(seen),
        };
        let Ok(was_head) = seen.parse::<CommitId>() else { return Ok(Some(seen)) };
        let parted = match github.merge_base(&was_head, head).await {
            Ok(parted) => parted,
            // GitHub throws away what nothing leads to. Then nobody knows, and whatever may have been given before ends in time.
            Err(GithubError::NotFound { .. }) if self.is_certain(&seen, "the commit is gone").await? => {
                return Ok(Some(seen));
            }
            Err(error) => return Err(error.into()),
        };
        let (mut before, mut after) = (0, steps.len());
        while let Some(step) = steps.get(before + (after - before) / 2).filter(|_| before < after) {
            let middle = before + (after - before) / 2;
            match step.tip == parted || github.is_ancestor(&step.tip, &parted).await? {
                true => before = middle + 1,
                false => after = middle,
            }
        }
        Ok(before.checked_sub(1).and_then(|last| steps.get(last)).map(|step| step.tip.to_string()))
    }

    /// The steps of the default branch since `known`, oldest first; without it, since before the oldest file in `grants/`, and
    /// for as long as grants whose file is gone already may still be applied. False if they do not begin at `known`: history
    /// was rewritten, or is longer than [`LONGEST_WALK`].
    pub(super) async fn steps(
        &self,
        github: &Repository,
        branch: &str,
        head: &CommitId,
        known: Option<&str>,
    ) -> Result<(Vec<Step>, bool), EngineError> {
        let at_head = self.files(github, head).await?;
        let horizon = self.horizon(github, head).await?;
        let mut newest_first = vec![(head.clone(), at_head.clone())];
        let mut parent = github.commit(head).await?.parents.first().cloned();
        let mut reached = false;
        while let Some(commit) = parent.clone() {
            let files = self.files(github, &commit).await?;
            let info = github.commit(&commit).await?;
            reached = known == Some(commit.as_str());
            let old = info.committed_at < horizon && !shares_grants(&at_head, &files);
            // What was read before is looked for whatever dates commits claim: whoever pushes them chooses those.
            let done = reached || (known.is_none() && old);
            newest_first.push((commit.clone(), files));
            if done || newest_first.len() > LONGEST_WALK {
                break;
            }
            parent = info.parents.first().cloned();
        }
        let too_long = newest_first.len() > LONGEST_WALK;
        let mut steps = Vec::new();
        let mut line = newest_first.into_iter().rev().peekable();
        // The first commit of the line was read before, holds no grant, or is the root; the root's files came from nowhere.
        // So is one beyond which nobody looks: what it holds is verified by nobody.
        let root = parent.is_none() || too_long;
        let (mut base, mut before) = match (line.next(), root && !reached) {
            (Some((tip, after)), true) => {
                steps.push(Step {
                    base: None,
                    tip: tip.clone(),
                    pull: None,
                    before: BTreeMap::new(),
                    after: after.clone(),
                });
                (tip, after)
            }
            (Some(first), false) => first,
            (None, _) => return Ok((steps, reached)),
        };
        while let Some((mut tip, mut after)) = line.next() {
            let mut pull = None;
            if touches_policy_repository(&before, &after) {
                pull = self.merged_pull(github, branch, &tip).await?;
                // A rebased series: its pull request ends at a later commit of the line.
                while let Some(end) = pull.as_ref().and_then(merge_commit).filter(|end| **end != tip).cloned() {
                    let Some(next) = line.next() else { break };
                    (tip, after) = next;
                    if tip == end {
                        break;
                    }
                }
            }
            steps.push(Step { base: Some(base), tip: tip.clone(), pull, before, after: after.clone() });
            (base, before) = (tip, after);
        }
        Ok((steps, reached))
    }

    /// Since when grants whose file is gone may still be applied, as far as a new database cares.
    pub(super) async fn horizon(&self, github: &Repository, head: &CommitId) -> Result<DateTime<Utc>, EngineError> {
        let loaded = self.policy_at(github, head).await?;
        let longest = loaded.policy.as_ref().map_or(TimeDelta::zero(), |policy| policy.settings.max_duration.delta());
        Ok(self.inner.clock.now() - longest.min(LONGEST_MEMORY) - TimeDelta::days(1))
    }

    /// The pull request that was merged into `branch` and brought `commit`, if there is one.
    pub(super) async fn merged_pull(
        &self,
        github: &Repository,
        branch: &str,
        commit: &CommitId,
    ) -> Result<Option<PullRequest>, EngineError> {
        let mut brought = None;
        for number in github.pulls_of_commit(commit).await? {
            let pull = github.pull(number).await?;
            if pull.base_branch != branch {
                continue;
            }
            match merge_commit(&pull) {
                Some(merge) if merge == commit => return Ok(Some(pull)),
                Some(_) => brought = Some(pull),
                None => {}
            }
        }
        Ok(brought)
    }
}

fn merge_commit(pull: &PullRequest) -> Option<&CommitId> {
    match &pull.state {
        PullState::Merged { commit, .. } => Some(commit),
        _ => None,
    }
}

/// Whether a file of one is in the other, whatever it says: what extends a grant can only be told from what was there before.
fn shares_grants(one: &BTreeMap<String, TreeFile>, other: &BTreeMap<String, TreeFile>) -> bool {
    let other = grant_files(other);
    grant_files(one).keys().any(|slug| other.contains_key(slug))
}

fn touches_policy_repository(before: &BTreeMap<String, TreeFile>, after: &BTreeMap<String, TreeFile>) -> bool {
    let ours = |files: &BTreeMap<String, TreeFile>| -> Vec<(String, TreeFile)> {
        files
            .iter()
            .filter(|(path, _)| {
                let path = path.to_ascii_lowercase();
                path.starts_with("grants/") || path.starts_with("policies/")
            })
            .map(|(path, file)| (path.clone(), file.clone()))
            .collect()
    };
    ours(before) != ours(after)
}
