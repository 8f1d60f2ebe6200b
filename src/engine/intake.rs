//! Taking in what is on the ledger's branch: a new database knows what was written before it (I6), and writes none of it again.

use super::ledger::ledger_head;
use super::{Engine, EngineError};
use crate::access::facts::TreeFile;
use crate::github::Repository;
use crate::ledger::{Entry, LedgerFile};
use crate::policy::name::{CommitId, RepositoryName};
use crate::store::{Claim, Job, LedgerPosition};

/// How many files a new database takes in before others have their turn.
const FILES_AT_ONCE: usize = 20;

impl Engine {
    /// Takes what is on the branch into a new database (I6): those events are not written once more. None if that is not all of it yet.
    pub(super) async fn take_in_ledger(
        &self,
        claim: &Claim,
        github: &Repository,
        repository: &RepositoryName,
        head: Option<&CommitId>,
    ) -> Result<Option<LedgerPosition>, EngineError> {
        let mut reader = match self.inner.store.ledger(repository).await? {
            Some(position) => Reader { position: LedgerPosition { complete: false, ..position }, fault: None },
            None => Reader { position: LedgerPosition::empty(None, false), fault: None },
        };
        let Some(head) = head else {
            let position = LedgerPosition { complete: true, ..reader.position };
            let mut tx = self.inner.store.begin().await?;
            tx.assert_held(claim).await?;
            tx.set_ledger(repository, &position).await?;
            tx.commit().await?;
            return Ok(Some(position));
        };
        let files = self.files(github, head).await?;
        let mut files: Vec<(LedgerFile, &TreeFile)> =
            files.iter().filter_map(|(path, file)| Some((LedgerFile::at(path)?, file))).collect();
        files.retain(|(name, _)| reader.position.file.is_none_or(|last| last <= *name));
        files.sort_by_key(|(name, _)| *name);
        for (name, file) in files.iter().take(FILES_AT_ONCE) {
            let content = self.ledger_text(github, file).await?;
            let entries = reader.read(repository, *name, &content);
            let mut tx = self.inner.store.begin().await?;
            tx.assert_held(claim).await?;
            for entry in &entries {
                tx.take_in_event(entry).await?;
            }
            tx.set_ledger(repository, &reader.position).await?;
            tx.commit().await?;
        }
        if let Some(fault) = reader.fault {
            self.note_alteration(repository, &reader.position, Some(head), &fault).await?;
        }
        if files.len() > FILES_AT_ONCE {
            return Ok(None);
        }
        let tree = github.commit(head).await?.tree;
        let position =
            LedgerPosition { commit: Some(head.clone()), tree: Some(tree), complete: true, ..reader.position };
        tracing::info!(%repository, events = position.last.seq, "took in the ledger");
        let mut tx = self.inner.store.begin().await?;
        tx.assert_held(claim).await?;
        tx.set_ledger(repository, &position).await?;
        tx.commit().await?;
        Ok(Some(position))
    }

    /// Reads the whole of a repository's ledger into the database, which knows nothing of it any more. How many events it has.
    pub(super) async fn rebuild_ledger(&self, repository: &RepositoryName) -> Result<u64, EngineError> {
        let (store, now, job) = (&self.inner.store, self.inner.clock.now(), Job::Ledger(repository.clone()));
        let mut tx = store.begin().await?;
        tx.forget_ledger(repository).await?;
        tx.schedule(&job, now).await?;
        tx.commit().await?;
        let Some(claim) = store.claim_job(&job, now, super::LEASE).await? else {
            let why = format!("another process writes the ledger of {repository}; stop every `daypass serve` first");
            return Err(EngineError::NotYet(why));
        };
        let read = self.read_whole_ledger(&claim, repository).await;
        // What this database knows and the branch does not is written by whoever serves next.
        self.again(&claim).await?;
        read
    }

    /// Takes in all that is on the branch, and keeps the claim meanwhile. How many events there are.
    pub(super) async fn read_whole_ledger(
        &self,
        claim: &Claim,
        repository: &RepositoryName,
    ) -> Result<u64, EngineError> {
        let github = self.inner.github.repository(repository).await?;
        let read = async {
            loop {
                let head = ledger_head(&github).await?;
                if let Some(position) = self.take_in_ledger(claim, &github, repository, head.as_ref()).await? {
                    return Ok(position.last.seq);
                }
            }
        };
        tokio::select! {
            read = read => read,
            error = self.keep_lease(claim) => Err(error),
        }
    }
}

/// Reads a ledger from the beginning, whatever was done to it.
struct Reader {
    position: LedgerPosition,
    /// What is wrong with it first.
    fault: Option<String>,
}

impl Reader {
    /// The events of the next file that can be read.
    fn read(&mut self, repository: &RepositoryName, name: LedgerFile, content: &[u8]) -> Vec<Entry> {
        let (mut entries, mut whole) = (Vec::new(), true);
        // Read once already, before this process.
        let again = self.position.file == Some(name);
        for (number, line) in content.split(|byte| *byte == b'\n').enumerate().filter(|(_, line)| !line.is_empty()) {
            let (entry, fault) = match Entry::read_anyway(line) {
                Ok((entry, fault)) => (Some(entry), fault.map(|fault| fault.to_string())),
                Err(error) => (None, Some(error.to_string())),
            };
            let known = again && entry.as_ref().is_some_and(|entry| entry.seq <= self.position.last.seq);
            let follows = known || entry.as_ref().is_none_or(|entry| entry.follows(&self.position.last));
            let fault = fault.or_else(|| (!follows).then(|| "it does not follow the one before it".to_owned()));
            if let Some(fault) = fault {
                whole = false;
                self.fault.get_or_insert_with(|| format!("line {} of `{name}`: {fault}", number + 1));
            }
            let Some(entry) = entry.filter(|entry| entry.event.repository == *repository) else { continue };
            if self.position.file != Some(name) {
                (self.position.file, self.position.first_in_file) = (Some(name), entry.seq);
            }
            if entry.seq > self.position.last.seq {
                self.position.last = entry.link();
            }
            entries.push(entry);
        }
        if !whole && self.position.file == Some(name) {
            // It is not appended to any more: it could not be written as it is.
            (self.position.file, self.position.first_in_file) = (Some(name.after()), self.position.last.seq + 1);
        }
        entries
    }
}
