//! Writing the ledger's branch: events that wait in the database are appended in batches, each one commit.
//!
//! The branch moves by compare-and-swap, and what is on it is what counts: whoever finds it elsewhere than the database says
//! reads it before it writes. What an earlier process wrote and could not remember any more is taken in; what somebody else
//! wrote is told, and put right by the next commit on top. Nothing is forced.

use std::collections::BTreeMap;

use serde_json::json;

use super::{Engine, EngineError};
use crate::access::facts::TreeFile;
use crate::github::{GithubError, Repository};
use crate::ledger::{BRANCH, Batch, Entry, Event, EventKind, LedgerFile, TRAILER, Tip, canonical, link};
use crate::policy::name::{CommitId, RepositoryName, TreeId};
use crate::store::{Claim, LedgerPosition};

/// How many events a commit adds at most.
const BATCH: u32 = 500;
/// The largest file that is read, in bytes. Daypass writes files of a megabyte or two.
const LARGEST: u64 = 64 << 20;

/// The branch is not where it was left, and what it holds is not ours.
struct Alteration {
    /// Where it is now.
    found: Option<CommitId>,
    /// What was found, as a sentence.
    how: String,
    /// Whether the commit it was left at is still there.
    kept: bool,
    /// Whether `found` comes after that.
    ahead: bool,
}

/// What the next commit goes on top of.
struct Ground {
    parents: Vec<CommitId>,
    base: Option<TreeId>,
    /// Whether there is a branch.
    exists: bool,
}

impl Engine {
    /// Brings the branch of a repository's ledger up to date.
    pub(super) async fn look_at_ledger(&self, claim: &Claim, repository: &RepositoryName) -> Result<(), EngineError> {
        let position = self.inner.store.ledger(repository).await?;
        let seq = position.as_ref().map_or(0, |position| position.last.seq);
        let waiting = !self.inner.store.pending_events(repository, seq, 1).await?.is_empty();
        let github = self.inner.github.repository(repository).await?;
        let head = ledger_head(&github).await?;
        // Without a branch to go on from, what is on one now was written by an earlier database, or by a process that died.
        let goes_on = |position: &LedgerPosition| position.complete && (position.commit.is_some() || head.is_none());
        let position = match position.filter(goes_on) {
            Some(position) => position,
            None => match self.take_in_ledger(claim, &github, repository, head.as_ref()).await? {
                Some(position) => position,
                None => return self.again(claim).await,
            },
        };
        if position.commit == head {
            if !waiting {
                return self.done(claim).await;
            }
            let (parents, base) = (position.commit.iter().cloned().collect(), position.tree.clone());
            let ground = Ground { parents, base, exists: head.is_some() };
            return self.append(claim, &github, repository, &position, ground).await;
        }
        let Some(alteration) = self.what_happened(claim, &github, repository, &position, head).await? else {
            return self.again(claim).await;
        };
        self.put_right(claim, &github, repository, position, alteration).await
    }

    pub(super) async fn again(&self, claim: &Claim) -> Result<(), EngineError> {
        let tx = self.inner.store.begin().await?;
        self.finish(claim, tx, Some(self.inner.clock.now())).await
    }

    /// Writes the next batch.
    async fn append(
        &self,
        claim: &Claim,
        github: &Repository,
        repository: &RepositoryName,
        position: &LedgerPosition,
        ground: Ground,
    ) -> Result<(), EngineError> {
        let pending = self.inner.store.pending_events(repository, position.last.seq, BATCH).await?;
        let (tip, first_in_file) = self.tip(repository, position).await?;
        let batch = tip.append(first_in_file, &pending);
        let (Some((file, _)), Some((_, first))) = (batch.files.last(), batch.placed.first()) else {
            return self.done(claim).await;
        };
        let message = match (first.seq, batch.last.seq) {
            (first, last) if first == last => format!("Record event {last}\n"),
            (first, last) => format!("Record events {first} to {last}\n"),
        };
        let files: Vec<(String, &str)> =
            batch.files.iter().map(|(file, content)| (file.to_string(), content.as_str())).collect();
        let (commit, tree) = github.commit_texts(&ground.parents, ground.base.as_ref(), &files, &message).await?;
        let moved = match ground.exists {
            true => github.update_branch(BRANCH, &commit, false).await,
            false => github.create_branch(BRANCH, &commit).await.map(|new| {
                if new { Ok(()) } else { Err(GithubError::Invalid { message: "it is there".to_owned() }) }
            })?,
        };
        match moved {
            Err(GithubError::Invalid { message } | GithubError::Conflict { message, .. }) => {
                return Err(EngineError::NotYet(format!(
                    "the branch {BRANCH} moved meanwhile, or a rule protects it from Daypass: {message}"
                )));
            }
            moved => moved?,
        }
        let position = LedgerPosition {
            commit: Some(commit),
            tree: Some(tree),
            file: Some(*file),
            first_in_file: batch.first_in_file,
            last: batch.last.clone(),
            complete: true,
        };
        self.remember_batch(claim, repository, &position, &batch, pending.len()).await
    }

    async fn remember_batch(
        &self,
        claim: &Claim,
        repository: &RepositoryName,
        position: &LedgerPosition,
        batch: &Batch,
        written: usize,
    ) -> Result<(), EngineError> {
        let mut tx = self.inner.store.begin().await?;
        tx.assert_held(claim).await?;
        tx.place_events(&batch.placed).await?;
        tx.set_ledger(repository, position).await?;
        let more = u32::try_from(written).is_ok_and(|written| written >= BATCH);
        let now = self.inner.clock.now();
        self.finish(claim, tx, more.then_some(now)).await
    }

    /// What is appended to, put together from the database.
    async fn tip(&self, repository: &RepositoryName, position: &LedgerPosition) -> Result<(Tip, u64), EngineError> {
        let mut tip = Tip { last: position.last.clone(), file: position.file, content: String::new() };
        if position.last.seq < position.first_in_file {
            return Ok((tip, position.first_in_file));
        }
        let first = position.first_in_file;
        let written = self.inner.store.written_events(repository, first.saturating_sub(1), position.last.seq).await?;
        let mut last = crate::ledger::Link::default();
        for (place, body) in &written {
            if place.seq >= first {
                let (line, next) = link(&last, body);
                tip.content.push_str(&line);
                tip.content.push('\n');
                if next != *place {
                    break;
                }
            }
            last = place.clone();
        }
        if last != position.last {
            // The database does not hold all of the file, or not as it was written: nothing more can be appended to it.
            tracing::warn!(%repository, "the ledger goes on in a new file: the database does not hold the last one as it was written");
            tip.file = tip.file.map(LedgerFile::after);
            tip.content.clear();
            return Ok((tip, position.last.seq + 1));
        }
        Ok((tip, first))
    }

    /// Finds out why the branch is at `head`. What an earlier process of Daypass wrote is taken in; then there is nothing to put right.
    async fn what_happened(
        &self,
        claim: &Claim,
        github: &Repository,
        repository: &RepositoryName,
        position: &LedgerPosition,
        head: Option<CommitId>,
    ) -> Result<Option<Alteration>, EngineError> {
        let kept = match &position.commit {
            Some(commit) => github.find_commit(commit).await?.is_some(),
            None => false,
        };
        let Some(found) = head else {
            let how = "the branch was deleted".to_owned();
            return Ok(Some(Alteration { found: None, how, kept, ahead: false }));
        };
        let ahead = match &position.commit {
            Some(commit) if kept => match github.is_ancestor(commit, &found).await {
                // No commit in common.
                Err(GithubError::NotFound { .. }) => false,
                ahead => ahead?,
            },
            _ => false,
        };
        let how = match ahead {
            false => "the branch was set to another history".to_owned(),
            true => match self.take_in_ours(claim, github, repository, position, &found).await? {
                None => return Ok(None),
                Some(how) => how,
            },
        };
        Ok(Some(Alteration { found: Some(found), how, kept, ahead }))
    }

    /// Takes in what was added to the branch, if it is ours; otherwise what speaks against that.
    async fn take_in_ours(
        &self,
        claim: &Claim,
        github: &Repository,
        repository: &RepositoryName,
        position: &LedgerPosition,
        head: &CommitId,
    ) -> Result<Option<String>, EngineError> {
        let added = match self.added(github, repository, position, head).await? {
            Ok(added) => added,
            Err(how) => return Ok(Some(how)),
        };
        let mut known = true;
        for entry in &added.entries {
            let event = self.inner.store.event(&entry.event.id).await?;
            known &= event.is_some_and(|event| same(&event, &entry.event));
        }
        if !known && !self.is_ours(github, position, head).await? {
            return Ok(Some("somebody else added events to it".to_owned()));
        }
        let now = added.position;
        tracing::info!(%repository, events = added.entries.len(), "took in what an earlier process wrote to the ledger");
        let mut tx = self.inner.store.begin().await?;
        tx.assert_held(claim).await?;
        for entry in &added.entries {
            tx.take_in_event(entry).await?;
        }
        tx.set_ledger(repository, &now).await?;
        tx.commit().await?;
        Ok(None)
    }

    /// Whether GitHub vouches that Daypass made every commit since.
    async fn is_ours(
        &self,
        github: &Repository,
        position: &LedgerPosition,
        head: &CommitId,
    ) -> Result<bool, EngineError> {
        let Some(commit) = &position.commit else { return Ok(false) };
        let Some(since) = github.commits_since(head, commit).await? else { return Ok(false) };
        let me = self.inner.github.me().await?.login();
        let by_me = |author: &crate::access::facts::Account| author.bot && author.login.as_str() == me;
        Ok(since.iter().all(|commit| commit.verified && commit.author.as_ref().is_some_and(by_me)))
    }

    /// What was appended to the ledger on the way to `head`; or, if anything else was done, what that was.
    async fn added(
        &self,
        github: &Repository,
        repository: &RepositoryName,
        position: &LedgerPosition,
        head: &CommitId,
    ) -> Result<Result<Added, String>, EngineError> {
        let before = match &position.commit {
            Some(commit) => self.files(github, commit).await?,
            None => BTreeMap::new(),
        };
        let after = self.files(github, head).await?;
        if let Some(gone) = before.keys().find(|path| !after.contains_key(*path)) {
            return Ok(Err(format!("somebody else removed `{gone}`")));
        }
        let mut changed = Vec::new();
        for (path, file) in after.iter().filter(|(path, file)| before.get(*path) != Some(file)) {
            match LedgerFile::at(path).filter(|file| position.file.is_none_or(|last| last <= *file)) {
                Some(name) => changed.push((name, file.clone())),
                None => return Ok(Err(format!("somebody else changed `{path}`"))),
            }
        }
        changed.sort_by_key(|(name, _)| *name);
        let (tip, first_in_file) = self.tip(repository, position).await?;
        let mut position = LedgerPosition { first_in_file, ..position.clone() };
        let mut entries = Vec::new();
        for (name, file) in changed {
            let content = self.ledger_text(github, &file).await?;
            let known = if Some(name) == tip.file { tip.content.as_bytes() } else { b"" };
            let Some(new) = content.strip_prefix(known).filter(|new| new.is_empty() || new.ends_with(b"\n")) else {
                return Ok(Err(format!("somebody else changed lines of `{name}`")));
            };
            for line in new.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
                let entry = match Entry::read(line) {
                    Ok(entry) if entry.follows(&position.last) && entry.event.repository == *repository => entry,
                    Ok(entry) => return Ok(Err(format!("somebody else wrote event {} to `{name}`", entry.seq))),
                    Err(error) => return Ok(Err(format!("somebody else wrote to `{name}`: {error}"))),
                };
                if position.file != Some(name) {
                    (position.file, position.first_in_file) = (Some(name), entry.seq);
                }
                position.last = entry.link();
                entries.push(entry);
            }
        }
        position.tree = Some(github.commit(head).await?.tree);
        position.commit = Some(head.clone());
        Ok(Ok(Added { entries, position }))
    }

    pub(super) async fn ledger_text(&self, github: &Repository, file: &TreeFile) -> Result<Vec<u8>, EngineError> {
        Ok(github.blob(&file.blob, LARGEST).await?)
    }

    /// Tells that somebody else had a hand in the branch, and writes what belongs there on top of what is there.
    async fn put_right(
        &self,
        claim: &Claim,
        github: &Repository,
        repository: &RepositoryName,
        position: LedgerPosition,
        alteration: Alteration,
    ) -> Result<(), EngineError> {
        let Alteration { found, how, kept, ahead } = alteration;
        let about = format!("{repository} {BRANCH} {found:?}");
        if !self.is_certain(&about, &how).await? {
            return Err(EngineError::Uncertain(format!("the ledger of {repository}: {how}")));
        }
        self.note_alteration(repository, &position, found.as_ref(), &how).await?;
        if !kept {
            // What it was left at is gone for good: all of it is written once more.
            let mut tx = self.inner.store.begin().await?;
            tx.assert_held(claim).await?;
            tx.set_ledger(repository, &LedgerPosition::empty(found, true)).await?;
            return self.finish(claim, tx, Some(self.inner.clock.now())).await;
        }
        let left = position.commit.clone().filter(|_| !ahead);
        let parents = found.iter().cloned().chain(left).collect();
        let ground = Ground { parents, base: position.tree.clone(), exists: found.is_some() };
        self.append(claim, github, repository, &position, ground).await
    }

    /// On record, in the log and in the metrics.
    pub(super) async fn note_alteration(
        &self,
        repository: &RepositoryName,
        position: &LedgerPosition,
        found: Option<&CommitId>,
        how: &str,
    ) -> Result<(), EngineError> {
        let seq = position.last.seq;
        tracing::error!(%repository, found = found.map(CommitId::as_str), seq, how, "the branch of the ledger was altered; it is put right");
        let details = json!({ "expected": position.commit, "found": found, "seq": seq, "how": how });
        let occasion = match found {
            Some(found) => format!("{seq} {found}"),
            // It may be deleted more than once.
            None => format!("{seq} gone"),
        };
        let now = self.inner.clock.now();
        let mut tx = self.inner.store.begin().await?;
        if tx.record(&Event::new(repository, EventKind::LedgerAltered, "ledger", occasion, now, details)).await? {
            self.inner.metrics.ledger_altered(repository);
        }
        Ok(tx.commit().await?)
    }
}

impl Engine {
    /// The newest event on the branch, as reverts quote it: whoever writes the ledger anew contradicts them.
    pub(super) async fn ledger_trailer(&self, repository: &RepositoryName) -> Result<String, EngineError> {
        let position = self.inner.store.ledger(repository).await?.filter(|position| position.complete);
        Ok(match position.map(|position| position.last).filter(|last| last.seq > 0) {
            Some(last) => format!("{TRAILER}: {} {}\n", last.seq, last.hash),
            None => String::new(),
        })
    }
}

/// What was appended to the ledger, and where it stands with that.
struct Added {
    entries: Vec<Entry>,
    position: LedgerPosition,
}

/// Where the branch is, if there is one.
pub(super) async fn ledger_head(github: &Repository) -> Result<Option<CommitId>, EngineError> {
    match github.head(BRANCH).await {
        Ok(head) => Ok(Some(head)),
        Err(GithubError::NotFound { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Whether both say the same. Only their JSON is written, and compared.
fn same(one: &Event, other: &Event) -> bool {
    let form = |event: &Event| serde_json::to_value(event).as_ref().map(canonical).unwrap_or_default();
    form(one) == form(other)
}
