//! Posting the messages that tell a grant's story on its pull request, each exactly once.

use sha2::{Digest, Sha256};

use super::{Engine, EngineError};
use crate::access::grant::GrantId;
use crate::github::{Comment, Repository};
use crate::policy::name::RepositoryName;
use crate::store::Claim;

impl Engine {
    /// Posts what waits for a pull request, oldest first.
    pub(super) async fn post_messages(
        &self,
        claim: &Claim,
        repository: &RepositoryName,
        pull: u64,
    ) -> Result<(), EngineError> {
        let waiting = self.inner.store.waiting_messages(repository, pull).await?;
        if !waiting.is_empty() {
            let (github, _) = self.open(repository).await?;
            for message in waiting {
                // A marker that nobody sees tells whether a crash came between posting and remembering.
                let marker = marker(&message.id);
                if self.find_comment(&github, pull, &marker).await?.is_none() {
                    github.create_comment(pull, &format!("{marker}\n{}", message.body)).await?;
                }
                let mut tx = self.inner.store.begin().await?;
                tx.assert_held(claim).await?;
                tx.said(&message.id, self.inner.clock.now()).await?;
                tx.commit().await?;
            }
        }
        self.done(claim).await
    }

    /// The comment that was posted as the message `id`, if it was. Messages are never edited: one that is, tells what
    /// somebody else wants to be told.
    pub(super) async fn posted(
        &self,
        github: &Repository,
        pull: u64,
        id: &str,
    ) -> Result<Option<Comment>, EngineError> {
        self.find_comment(github, pull, &marker(id)).await
    }
}

/// The id of a message about a grant.
pub(super) fn message_id(repository: &RepositoryName, grant: &GrantId, occasion: &str) -> String {
    format!("{repository}/{grant}/{occasion}")
}

pub(super) fn marker(id: &str) -> String {
    let digest = hex::encode(Sha256::digest(id.as_bytes()));
    format!("<!-- daypass:{} -->", digest.get(..16).unwrap_or_default())
}
