//! Targets: the systems access is granted on, one file per kind.
//!
//! What every target owes:
//! - `observe`, `grant` and `revoke` are **idempotent**: granting twice is granting once, revoking what is not there is fine.
//! - A system that can ends access by itself, at the time `grant` is told: access must not depend on Daypass alone.
//! - They may be **cancelled at any await**; the next `observe` tells what is true, and the call is made again.
//! - They tell *temporary* from *permanent* failures ([`TargetError`]): the first are retried with back-off, the second are
//!   retried slowly and shown to people. Neither ever carries a secret.
//! - They end within the deadline they are called with; the engine cancels them otherwise.
//! - A [`Receipt`] says what was done, for the ledger and for people. It is public.

mod credential;
mod exec;
pub mod github;
mod gitlab;
mod hoop;
mod http;
mod members;
mod okta;
pub mod postgres;
mod scim;
pub mod settings;
pub mod ssh;
mod vault;
mod webhook;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::policy::entitlement::Entitlement;
use crate::policy::kind::TargetKind;
use crate::policy::name::TargetName;

pub use credential::Credential;
pub use http::Connection;

/// How old a look may be when a call is made that rests on it. The process may have been suspended in between, and somebody else
/// have gone on.
const STALE: Duration = Duration::from_secs(15);

/// Fails if what was `looked` at then may be otherwise by now. To be asked right before a change.
fn still_fresh(looked: Instant) -> Result<(), TargetError> {
    match looked.elapsed() {
        passed if passed > STALE => {
            Err(TargetError::Temporary(format!("looking took {} seconds; nothing was changed", passed.as_secs())))
        }
        _ => Ok(()),
    }
}

/// One configured system.
#[async_trait]
pub trait Target: Send + Sync + std::fmt::Debug {
    /// What kind of system it is.
    fn kind(&self) -> TargetKind;

    /// Whether the system can be reached, and with sufficient rights; a sentence that says how it was found.
    async fn check(&self) -> Result<String, TargetError>;

    /// Whether the subject has the entitlement now. Called before a first `grant`, so that access somebody had before is
    /// left alone, and to find drift. `Absent` is a proof: whoever cannot tell answers with an error.
    async fn observe(&self, entitlement: &Entitlement) -> Result<Observed, TargetError>;

    /// Gives the entitlement. It is due until then: a system that can ends it by itself, should nobody else do it.
    async fn grant(
        &self,
        entitlement: &Entitlement,
        until: DateTime<Utc>,
        occasion: &Occasion,
    ) -> Result<Receipt, TargetError>;

    /// Takes it away, running sessions included where the system can. `receipt` is what `grant` answered, if it did.
    async fn revoke(
        &self,
        entitlement: &Entitlement,
        receipt: Option<&Receipt>,
        occasion: &Occasion,
    ) -> Result<Receipt, TargetError>;

    /// Whether the system itself ends what it is given. `grant` is then called again whenever the end moves.
    fn ends_by_itself(&self) -> bool {
        false
    }

    /// What is done about access that somebody else took away; ignored where [`Target::observe`] cannot tell.
    fn drift(&self) -> Drift {
        Drift::Ignore
    }

    /// Whether [`Target::sessions`] can tell anything.
    fn sees_sessions(&self) -> bool {
        false
    }

    /// What the subjects of these entitlements have open on the system now, [`MOST_SESSIONS`] a subject at most. That they use what
    /// the entitlement gives is not said by it: a system tells who is there, seldom by which of their rights.
    async fn sessions(&self, _of: &BTreeSet<Entitlement>) -> Result<Vec<(Entitlement, Session)>, TargetError> {
        Ok(Vec::new())
    }
}

/// Of one call to a target.
#[derive(Debug, Clone)]
pub struct Occasion {
    /// The same whenever the same call is made again, and never that of another: for systems that take each call once.
    pub key: String,
    /// The time.
    pub now: DateTime<Utc>,
}

impl Occasion {
    /// Of a call that changes nothing, and can be made as often as one likes.
    fn any() -> Self {
        Self { key: uuid::Uuid::new_v4().to_string(), now: Utc::now() }
    }
}

/// What is done about access that Daypass gave and somebody else took away.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Drift {
    /// Nobody looks.
    Ignore,
    /// It is told: whoever took it away may have had a reason.
    #[default]
    Report,
    /// It is told, and given again.
    Repair,
}

/// How many sessions of one subject are told of at a time.
pub const MOST_SESSIONS: i64 = 100;

/// A session of a subject on a target, as the target tells of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Session {
    /// Tells it apart from the others that are open, and if `opened_at` is known from all others.
    pub key: String,
    /// When it began, if the target tells.
    pub opened_at: Option<DateTime<Utc>>,
    /// What it is, in a few words. Hostile text: programs call themselves as they like.
    pub what: String,
}

/// What `observe` saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Observed {
    /// The subject has it.
    Present,
    /// The subject does not have it.
    Absent,
    /// The system cannot tell. What it is told to give counts as given by Daypass, and what it is told to take as gone.
    Unknown,
}

/// What a target did. Public: it goes to the pull request and into the ledger.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// One sentence: `member of team sre-oncall`, `certificate 81726 issued`.
    pub summary: String,
    /// What the subject needs in order to use the access, such as a certificate; shown in the pull request as a code block.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handout: Option<String>,
    /// Details the target needs again on `revoke`, or auditors want: serial numbers, ids.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub details: BTreeMap<String, String>,
}

/// Why a target could not do it. The texts are shown to people and must not carry secrets.
#[derive(Debug, Clone, thiserror::Error)]
pub enum TargetError {
    /// Unreachable, overloaded, timed out: trying again soon may help.
    #[error("{0}")]
    Temporary(String),
    /// It said no: wrong credentials, unknown role or person. Somebody has to change something first.
    #[error("{0}")]
    Permanent(String),
}

/// The targets the operator configured, by the name policies use.
#[derive(Debug, Clone, Default)]
pub struct Targets {
    by_name: BTreeMap<TargetName, Arc<dyn Target>>,
}

impl Targets {
    /// No target at all.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds or replaces a target.
    pub fn insert(&mut self, name: TargetName, target: Arc<dyn Target>) {
        self.by_name.insert(name, target);
    }

    /// The target of that name.
    pub fn get(&self, name: &TargetName) -> Option<Arc<dyn Target>> {
        self.by_name.get(name).cloned()
    }

    /// Every name with its kind.
    pub fn kinds(&self) -> BTreeMap<TargetName, TargetKind> {
        self.by_name.iter().map(|(name, target)| (name.clone(), target.kind())).collect()
    }
}
