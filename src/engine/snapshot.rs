//! The policy repository at one commit: its files and the policy they make, each read once, and tested once.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use tokio::sync::Mutex;

use super::{Engine, EngineError};
use crate::access::change::GRANT_LIMIT;
use crate::access::facts::{FileMode, TreeFile};
use crate::access::rehearsal::{self, Tally};
use crate::github::Repository;
use crate::policy::name::{BlobId, CommitId};
use crate::policy::{self, Finding, Loaded};

/// The largest policy file that is read, in bytes.
pub(super) const POLICY_LIMIT: u64 = 256 * 1024;
/// How many parsed policies are kept.
const POLICIES_KEPT: usize = 16;
/// How many listings of commits are kept. They never change either.
const LISTINGS_KEPT: usize = 64;
/// How many bytes of blobs are kept. Blobs never change, so they are never read twice while they are kept.
const BLOB_BYTES_KEPT: usize = 16 << 20;

/// Blobs and parsed policies, by what they are made of.
#[derive(Debug, Default)]
pub(super) struct Cache {
    policies: Mutex<VecDeque<(PolicyKey, Arc<Loaded>)>>,
    rehearsals: Mutex<VecDeque<(Arc<Loaded>, Rehearsal)>>,
    listings: Mutex<VecDeque<(CommitId, BTreeMap<String, TreeFile>)>>,
    blobs: Mutex<Blobs>,
}

/// How the tests of a policy went, and what is wrong with those that failed.
pub(super) type Rehearsal = (Tally, Vec<Finding>);

type PolicyKey = Vec<(String, BlobId)>;

#[derive(Debug, Default)]
struct Blobs {
    by_id: HashMap<BlobId, Arc<Vec<u8>>>,
    order: VecDeque<BlobId>,
    bytes: usize,
}

impl Blobs {
    fn put(&mut self, id: BlobId, body: Arc<Vec<u8>>) {
        self.bytes += body.len();
        if self.by_id.insert(id.clone(), body).is_none() {
            self.order.push_back(id);
        }
        while self.bytes > BLOB_BYTES_KEPT {
            let Some(oldest) = self.order.pop_front() else { return };
            self.bytes -= self.by_id.remove(&oldest).map_or(0, |body| body.len());
        }
    }
}

impl Engine {
    /// The files at a commit.
    pub(super) async fn files(
        &self,
        github: &Repository,
        commit: &CommitId,
    ) -> Result<BTreeMap<String, TreeFile>, EngineError> {
        if let Some((_, files)) = self.inner.snapshots.listings.lock().await.iter().find(|(known, _)| known == commit) {
            return Ok(files.clone());
        }
        let files = github.files(commit).await?;
        let mut kept = self.inner.snapshots.listings.lock().await;
        kept.push_back((commit.clone(), files.clone()));
        if kept.len() > LISTINGS_KEPT {
            kept.pop_front();
        }
        Ok(files)
    }

    /// The policy at a commit, or what is wrong with it.
    pub(super) async fn policy_at(&self, github: &Repository, commit: &CommitId) -> Result<Arc<Loaded>, EngineError> {
        let files = self.files(github, commit).await?;
        self.policy_of(github, &files).await
    }

    /// The policy that files make, parsed once per content.
    pub(super) async fn policy_of(
        &self,
        github: &Repository,
        files: &BTreeMap<String, TreeFile>,
    ) -> Result<Arc<Loaded>, EngineError> {
        let key: PolicyKey = files
            .iter()
            .filter(|(path, _)| path.starts_with("policies/"))
            .map(|(path, file)| (path.clone(), file.blob.clone()))
            .collect();
        if let Some((_, policy)) = self.inner.snapshots.policies.lock().await.iter().find(|(known, _)| *known == key) {
            return Ok(policy.clone());
        }
        let mut texts = BTreeMap::new();
        for (path, _) in &key {
            let Some(file) = files.get(path) else { continue };
            texts.insert(path.clone(), self.text(github, file, POLICY_LIMIT).await?);
        }
        let policy = Arc::new(policy::load(&texts, Some(&self.inner.targets.kinds())));
        let mut kept = self.inner.snapshots.policies.lock().await;
        kept.push_back((key, policy.clone()));
        if kept.len() > POLICIES_KEPT {
            kept.pop_front();
        }
        Ok(policy)
    }

    /// Runs the tests of a policy, once, and where nothing else waits for them; `None` if it cannot be read.
    pub(super) async fn rehearse(&self, loaded: &Arc<Loaded>) -> Result<Option<Rehearsal>, EngineError> {
        let known = self.inner.snapshots.rehearsals.lock().await;
        if let Some((_, rehearsal)) = known.iter().find(|(known, _)| Arc::ptr_eq(known, loaded)) {
            return Ok(Some(rehearsal.clone()));
        }
        drop(known);
        let policy = loaded.clone();
        let check = tokio::task::spawn_blocking(move || policy.policy.as_ref().map(rehearsal::check)).await;
        let check = check.map_err(|error| EngineError::NotYet(format!("the policy cannot be tested: {error}")))?;
        if let Some(rehearsal) = &check {
            let mut kept = self.inner.snapshots.rehearsals.lock().await;
            kept.push_back((loaded.clone(), rehearsal.clone()));
            if kept.len() > POLICIES_KEPT {
                kept.pop_front();
            }
        }
        Ok(check)
    }

    /// The content of a grant file.
    pub(super) async fn grant_text(&self, github: &Repository, file: &TreeFile) -> Result<Arc<Vec<u8>>, EngineError> {
        self.blob(github, file, GRANT_LIMIT).await
    }

    /// The content of a file of the policy.
    pub(super) async fn text(&self, github: &Repository, file: &TreeFile, limit: u64) -> Result<Vec<u8>, EngineError> {
        Ok(self.blob(github, file, limit).await?.as_ref().clone())
    }

    /// The content of a file; of one that is no plain file or too large, a text that is no YAML and says so.
    async fn blob(&self, github: &Repository, file: &TreeFile, limit: u64) -> Result<Arc<Vec<u8>>, EngineError> {
        if file.mode != FileMode::Regular {
            return Ok(Arc::new(format!("@ not read: {}", file.mode.as_str()).into_bytes()));
        }
        if file.size.is_some_and(|size| size > limit) {
            return Ok(Arc::new(b"@ not read: too large".to_vec()));
        }
        if let Some(body) = self.inner.snapshots.blobs.lock().await.by_id.get(&file.blob) {
            return Ok(body.clone());
        }
        let body = Arc::new(github.blob(&file.blob, limit).await?);
        self.inner.snapshots.blobs.lock().await.put(file.blob.clone(), body.clone());
        Ok(body)
    }
}
