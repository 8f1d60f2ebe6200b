//! What can go wrong while the engine works. Every error puts the job back into the queue.

use chrono::TimeDelta;

use crate::github::GithubError;
use crate::store::StoreError;

/// Why a job could not be done now.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// GitHub.
    #[error("GitHub: {0}")]
    Github(#[from] GithubError),
    /// One or more operations on a target.
    #[error("target `{target}`: {message}")]
    Target {
        /// The target.
        target: String,
        /// What it said.
        message: String,
        /// Whether somebody has to change something first.
        permanent: bool,
    },
    /// What would follow is final, and rests on something GitHub did not find: the same has to be found for a while first.
    #[error("{0}; it is looked at again for two minutes")]
    Uncertain(String),
    /// The repository is in a state that has to pass first, such as a merge that GitHub refuses.
    #[error("{0}")]
    NotYet(String),
}

impl EngineError {
    /// Whether somebody else holds the job now.
    pub fn is_lost_lease(&self) -> bool {
        matches!(self, Self::Store(StoreError::LeaseLost(_)))
    }

    /// Nothing, if it is only that a row cannot be read.
    pub(super) fn unless_unreadable(self) -> Result<(), Self> {
        match self {
            Self::Store(StoreError::Corrupt { .. }) => Ok(()),
            error => Err(error),
        }
    }

    /// How long GitHub wants to be left alone, if it said so.
    pub fn retry_after(&self) -> Option<TimeDelta> {
        match self {
            Self::Github(GithubError::RateLimited { retry_after: Some(pause), .. }) => TimeDelta::from_std(*pause).ok(),
            _ => None,
        }
    }
}
