//! What most directories are: people, places they can be members of, and a way to say so. A kind tells how each is found and
//! changed ([`Directory`]); the order of looking and changing, which is what every target owes, is here once.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::time::Instant;

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::{Drift, Observed, Occasion, Receipt, Target, TargetError, still_fresh};
use crate::policy::entitlement::{Access, Entitlement};
use crate::policy::kind::TargetKind;

/// The texts of an entitlement, by the names of its shape's fields.
pub(super) type Fields = BTreeMap<String, String>;

/// A system of people and places.
#[async_trait]
pub(super) trait Directory: Debug + Send + Sync {
    /// The kind of target.
    const KIND: TargetKind;
    /// Somebody, as the system names them.
    type Person: Debug + Send + Sync;
    /// What one can be a member of.
    type Place: Debug + Send + Sync;

    /// See [`Target::check`].
    async fn check(&self) -> Result<String, TargetError>;

    /// Who that is; nothing is a proof that there is nobody of that name.
    async fn person(&self, principal: &str) -> Result<Option<Self::Person>, TargetError>;

    /// What an entitlement is about; nothing is a proof that there is no such thing.
    async fn place(&self, fields: &Fields) -> Result<Option<Self::Place>, TargetError>;

    /// Whether they have it now.
    async fn has(&self, person: &Self::Person, place: &Self::Place) -> Result<bool, TargetError>;

    /// Gives it to them, who do not have it, until then if the system can.
    async fn add(&self, person: &Self::Person, place: &Self::Place, until: DateTime<Utc>) -> Result<(), TargetError>;

    /// Takes it from them, who have it.
    async fn remove(&self, person: &Self::Person, place: &Self::Place) -> Result<(), TargetError>;

    /// Whether the system itself ends it at the time `add` is told; then `add` also moves the end of what is there.
    fn ends_by_itself(&self) -> bool {
        false
    }

    /// What it is, for people: `group sre`.
    fn name(&self, fields: &Fields) -> String {
        let known = Self::KIND.shape().map_or(&[][..], |shape| shape.fields);
        let texts = known.iter().filter_map(|field| Some(format!("{} {}", field.name, fields.get(field.name)?)));
        texts.collect::<Vec<_>>().join(", ")
    }
}

/// A directory as a target.
#[derive(Debug)]
pub(super) struct Members<D> {
    /// The system.
    pub directory: D,
    /// What is done about access that somebody took away by hand.
    pub drift: Drift,
}

/// Whom and what an entitlement is about.
pub(super) fn wanted(kind: TargetKind, entitlement: &Entitlement) -> Result<(&str, &Fields), TargetError> {
    match &entitlement.access {
        Access::Named { kind: told, principal, fields } if *told == kind => Ok((principal, fields)),
        _ => Err(TargetError::Permanent(format!("{entitlement} is not for a target of kind `{kind}`"))),
    }
}

#[async_trait]
impl<D: Directory> Target for Members<D> {
    fn kind(&self) -> TargetKind {
        D::KIND
    }

    fn ends_by_itself(&self) -> bool {
        self.directory.ends_by_itself()
    }

    fn drift(&self) -> Drift {
        self.drift
    }

    async fn check(&self) -> Result<String, TargetError> {
        self.directory.check().await
    }

    async fn observe(&self, entitlement: &Entitlement) -> Result<Observed, TargetError> {
        let (principal, fields) = wanted(D::KIND, entitlement)?;
        let (Some(person), Some(place)) =
            (self.directory.person(principal).await?, self.directory.place(fields).await?)
        else {
            return Ok(Observed::Absent);
        };
        Ok(if self.directory.has(&person, &place).await? { Observed::Present } else { Observed::Absent })
    }

    async fn grant(
        &self,
        entitlement: &Entitlement,
        until: DateTime<Utc>,
        _occasion: &Occasion,
    ) -> Result<Receipt, TargetError> {
        let (principal, fields) = wanted(D::KIND, entitlement)?;
        let name = self.directory.name(fields);
        let looked = Instant::now();
        let Some(person) = self.directory.person(principal).await? else {
            return Err(nobody(D::KIND, principal));
        };
        let Some(place) = self.directory.place(fields).await? else {
            return Err(TargetError::Permanent(format!("there is no {name}; create it, or correct the entitlement")));
        };
        if self.directory.ends_by_itself() || !self.directory.has(&person, &place).await? {
            still_fresh(looked)?;
            self.directory.add(&person, &place, until).await?;
        }
        Ok(Receipt { summary: format!("{principal} has {name}"), ..Receipt::default() })
    }

    async fn revoke(
        &self,
        entitlement: &Entitlement,
        _receipt: Option<&Receipt>,
        _occasion: &Occasion,
    ) -> Result<Receipt, TargetError> {
        let (principal, fields) = wanted(D::KIND, entitlement)?;
        let name = self.directory.name(fields);
        let looked = Instant::now();
        if let (Some(person), Some(place)) =
            (self.directory.person(principal).await?, self.directory.place(fields).await?)
            && self.directory.has(&person, &place).await?
        {
            still_fresh(looked)?;
            self.directory.remove(&person, &place).await?;
            // What the system says and what it does are two things.
            if self.directory.has(&person, &place).await? {
                return Err(TargetError::Temporary(format!("{principal} still has {name}")));
            }
        }
        Ok(Receipt { summary: format!("{principal} no longer has {name}"), ..Receipt::default() })
    }
}

/// Nobody of that name is there.
pub(super) fn nobody(kind: TargetKind, principal: &str) -> TargetError {
    let key = kind.shape().and_then(|shape| shape.person.first()).copied().unwrap_or(kind.as_str());
    TargetError::Permanent(format!(
        "there is nobody named {principal:?}; add them there, or correct `people: {{ …: {{ {key}: … }} }}` in the policy"
    ))
}
