//! Reviews of access that were merged go on record: what they are about, what was confirmed, and by whom.
//!
//! Nobody's access depends on it: the pull requests are like any other that changes neither grants nor the policy.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde_json::json;

use super::provenance::Step;
use super::{Engine, EngineError};
use crate::access::facts::{Account, FileMode, PullRequest, PullState, ReviewState, TreeFile};
use crate::github::{GithubError, Repository};
use crate::ledger::review::{self, FOLDER, LARGEST};
use crate::ledger::{Event, EventKind};
use crate::policy::name::RepositoryName;

/// How many files of one step are read.
const MOST_FILES: usize = 20;

/// The files in `reviews/` that a step brings or changes.
fn changed(step: &Step) -> impl Iterator<Item = (&String, &TreeFile)> {
    let inside =
        |path: &str| path.split_once('/').is_some_and(|(folder, name)| folder == FOLDER && name.ends_with(".md"));
    let small = |file: &TreeFile| file.mode == FileMode::Regular && file.size.is_none_or(|size| size <= LARGEST);
    let all = step.after.iter().filter(move |(path, file)| inside(path) && small(file));
    all.filter(|(path, file)| step.before.get(*path).map(|before| &before.blob) != Some(&file.blob)).take(MOST_FILES)
}

impl Engine {
    /// The events about the reviews of access that a step brings.
    pub(super) async fn merged_reviews(
        &self,
        github: &Repository,
        repository: &RepositoryName,
        step: &Step,
        now: DateTime<Utc>,
    ) -> Result<Vec<Event>, EngineError> {
        let files: Vec<(&String, &TreeFile)> = changed(step).collect();
        // A first commit was merged by nobody.
        if files.is_empty() || step.base.is_none() {
            return Ok(Vec::new());
        }
        let pull = match &step.pull {
            Some(pull) => Some(pull.clone()),
            None => {
                let (_, branch) = self.open(repository).await?;
                self.merged_pull(github, &branch, &step.tip).await?
            }
        };
        let (body, approved_by) = match &pull {
            Some(pull) => (github.pull_body(pull.number).await?, approvers(github, pull).await?),
            None => (None, Vec::new()),
        };
        let by = pull.as_ref().and_then(|pull| match &pull.state {
            PullState::Merged { by, .. } => by.clone(),
            _ => None,
        });
        let mut events = Vec::new();
        for (path, file) in files {
            let text = match github.blob(&file.blob, LARGEST).await {
                Err(GithubError::Invalid { .. }) => continue,
                text => text?,
            };
            let Some(merged) = std::str::from_utf8(&text).ok().and_then(|text| review::merged(text, body.as_deref()))
            else {
                continue;
            };
            let details = json!({ "pull_request": pull.as_ref().map(|pull| pull.number), "commit": step.tip, "path": path,
                "blob": file.blob, "by": by, "approved_by": approved_by, "since": merged.period.since,
                "until": merged.period.until, "items": merged.items, "confirmed": merged.confirmed });
            events.push(Event::new(repository, EventKind::AccessReviewed, path, &step.tip, now, details));
        }
        Ok(events)
    }
}

/// Who approves the head of a pull request, by their last word, besides its author.
async fn approvers(github: &Repository, pull: &PullRequest) -> Result<Vec<Account>, EngineError> {
    let mut last: BTreeMap<Account, bool> = BTreeMap::new();
    for review in github.reviews(pull.number).await? {
        let Some(author) = review.author.filter(|author| Some(author) != pull.author.as_ref()) else { continue };
        match review.state {
            ReviewState::Approved => last.insert(author, review.commit.as_ref() == Some(&pull.head)),
            ReviewState::ChangesRequested | ReviewState::Dismissed => last.insert(author, false),
            ReviewState::Commented | ReviewState::Pending | ReviewState::Unknown => None,
        };
    }
    Ok(last.into_iter().filter(|(_, approves)| *approves).map(|(account, _)| account).collect())
}
