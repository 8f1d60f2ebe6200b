//! Since when the people who may approve a request have been asked to. What widens a stage counts from then: not while it is a draft
//! or refused, nor while it asked for something else.

use chrono::{DateTime, Utc};
use serde_json::json;

use super::facts::Judged;
use super::{Engine, EngineError};
use crate::access::decide::Verdict;
use crate::access::facts::{Account, Commit, PullRequest};
use crate::ledger::{Event, EventKind};
use crate::policy::name::{CommitId, RepositoryName};
use crate::store::Asking;

fn decided(repository: &RepositoryName, pull: u64, head: &CommitId, verdict: Verdict) -> String {
    format!("{repository}/pull-{pull}/{}/{head}-{verdict:?}", EventKind::Decided)
}

impl Engine {
    /// Since when people are asked about this head; `None` if they are not.
    pub(super) async fn asked_since(
        &self,
        repository: &RepositoryName,
        pull: &PullRequest,
    ) -> Result<Option<DateTime<Utc>>, EngineError> {
        let known = self.inner.store.asking(repository.as_str(), pull.number).await?;
        match known.filter(|known| known.head == pull.head) {
            Some(known) => Ok(known.since),
            None => self.asked_on_record(repository, pull).await,
        }
    }

    /// The same, as the record tells a new database.
    async fn asked_on_record(
        &self,
        repository: &RepositoryName,
        pull: &PullRequest,
    ) -> Result<Option<DateTime<Utc>>, EngineError> {
        let at = async |verdict| {
            let event = self.inner.store.event(&decided(repository, pull.number, &pull.head, verdict)).await?;
            Ok::<_, EngineError>(event.map(|event| event.at))
        };
        let Some(first) = at(Verdict::Waiting).await? else { return Ok(None) };
        let mut since = first;
        for event in self.inner.store.events_of(repository, EventKind::Asked, first).await? {
            let same = event.details["pull_request"] == json!(pull.number) && event.details["head"] == json!(pull.head);
            since = if same { since.max(event.at) } else { since };
        }
        let refused = at(Verdict::Refused).await?;
        Ok(Some(since).filter(|since| refused.is_none_or(|refused| refused < *since)))
    }

    /// What is to be remembered about that now, and put on record.
    pub(super) async fn asking_now(
        &self,
        repository: &RepositoryName,
        judged: &Judged,
        now: DateTime<Utc>,
    ) -> Result<Option<(Asking, Option<Event>)>, EngineError> {
        let pull = &judged.facts.pull;
        let head = pull.head.clone();
        let known = self.inner.store.asking(repository.as_str(), pull.number).await?;
        let known = known.filter(|known| known.head == head);
        match judged.judgement.verdict() {
            Some(Verdict::Waiting) if !pull.draft => {
                if known.is_some_and(|known| known.since.is_some()) {
                    return Ok(None);
                }
                let before = self.asked_since(repository, pull).await?;
                let again = before.is_none()
                    && self
                        .inner
                        .store
                        .event(&decided(repository, pull.number, &head, Verdict::Waiting))
                        .await?
                        .is_some();
                let about = format!("pull-{}", pull.number);
                let details = json!({ "pull_request": pull.number, "head": head });
                let occasion = format!("{head}-{}", now.timestamp());
                let event = again.then(|| Event::new(repository, EventKind::Asked, about, occasion, now, details));
                Ok(Some((Asking { head, since: Some(before.unwrap_or(now)) }, event)))
            }
            Some(Verdict::Refused | Verdict::Waiting) => {
                Ok(known.is_none_or(|known| known.since.is_some()).then_some((Asking { head, since: None }, None)))
            }
            _ => Ok(None),
        }
    }

    /// Who pushed the commits of a pull request: as webhooks told, or, for a new database, as it is on record.
    pub(super) async fn pushers(
        &self,
        repository: &RepositoryName,
        pull: u64,
        commits: &[Commit],
    ) -> Result<Vec<Account>, EngineError> {
        let mut pushers: Vec<Account> = Vec::new();
        for commit in commits {
            let mut by = self.inner.store.pushers(repository, &commit.id).await?;
            if by.is_empty() {
                let id = format!("{repository}/pull-{pull}/{}/{}", EventKind::Requested, commit.id);
                let told = self.inner.store.event(&id).await?.map(|event| event.details["pushed_by"].clone());
                by = told.and_then(|told| serde_json::from_value(told).ok()).unwrap_or_default();
            }
            for account in by {
                if !pushers.contains(&account) {
                    pushers.push(account);
                }
            }
        }
        Ok(pushers)
    }
}
