//! A request as written in `grants/<slug>.yaml`, parsed but not yet judged.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::Duration;
use super::finding::Place;
use super::model::ParamValue;
use super::name::{Login, ParamName, RoleName, Slug};

/// What somebody asks for. Well formed in itself; whether it is allowed is for `access::decide`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// From the file's name.
    pub slug: Slug,
    /// Who gets access; `None` means the pull request's author.
    pub subject: Option<Login>,
    /// The role asked for.
    pub role: RoleName,
    /// For how long.
    pub duration: Duration,
    /// Why. Never empty; hostile text, escape it wherever it is shown.
    pub reason: String,
    /// The ticket, if given. Hostile text.
    pub ticket: Option<String>,
    /// Access begins here, or at the merge if that is later.
    pub start: Option<DateTime<Utc>>,
    /// Asks for the emergency path.
    pub break_glass: bool,
    /// Values for the role's parameters.
    pub params: BTreeMap<ParamName, ParamValue>,
    /// Where each field's value stands in the file, by field name (`params.NAME` for parameters), so that a judgement can
    /// point at the line it is about.
    #[serde(skip)]
    pub places: BTreeMap<String, Place>,
}

impl Request {
    /// The path of the request's file in the policy repository.
    pub fn path(&self) -> String {
        path_of(&self.slug)
    }

    /// Where `field` stands; the whole file if it was left out.
    pub fn place(&self, field: &str) -> Place {
        self.places.get(field).copied().unwrap_or_default()
    }
}

/// The path of the grant file `slug` in the policy repository.
pub fn path_of(slug: &Slug) -> String {
    format!("grants/{slug}.yaml")
}
