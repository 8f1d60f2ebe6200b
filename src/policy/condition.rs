//! CEL expressions and texts with expressions in them, behind hard limits (see `docs/decisions/0002-cel.md`).

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::Duration;
use super::model::ParamValue;

/// A compiled CEL expression.
#[derive(Debug, Clone)]
pub struct Expression {
    source: String,
}

/// A text with `${EXPRESSION}` in it, such as `ns-${params.namespace}`. `$${` stands for a literal `${`.
#[derive(Debug, Clone)]
pub struct Template {
    source: String,
}

/// Why an expression does not compile or evaluate. Both mean denial.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ExpressionError {
    /// One sentence.
    pub message: String,
    /// Offset in characters into the source, if known.
    pub offset: Option<usize>,
}

/// What expressions can ask. Offline (`daypass validate`), nothing is evaluated.
#[derive(Debug, Clone)]
pub struct Scope {
    /// `request`
    pub request: RequestScope,
    /// `subject`
    pub subject: SubjectScope,
    /// `role`
    pub role: RoleScope,
    /// `now`
    pub now: DateTime<Utc>,
    /// `pull_request`
    pub pull_request: PullRequestScope,
}

/// `request.…`; `params` is also at the top level.
#[derive(Debug, Clone)]
pub struct RequestScope {
    /// Login of the subject.
    pub subject: String,
    /// Role name.
    pub role: String,
    /// A CEL duration.
    pub duration: Duration,
    /// Hostile text.
    pub reason: String,
    /// Empty if left out.
    pub ticket: String,
    /// A CEL timestamp, or null.
    pub start: Option<DateTime<Utc>>,
    /// Whether the emergency path is asked for.
    pub break_glass: bool,
    /// Values with defaults filled in.
    pub params: BTreeMap<String, ParamValue>,
}

/// `subject.…`
#[derive(Debug, Clone, Default)]
pub struct SubjectScope {
    /// GitHub login.
    pub login: String,
    /// Slugs of the policy's teams the subject is in.
    pub teams: Vec<String>,
    /// Names of the policy's groups the subject is in.
    pub groups: Vec<String>,
    /// The subject's entry in `people`, also at the top level as `person`; absent texts are empty.
    pub person: super::model::Person,
}

/// `role.…`
#[derive(Debug, Clone)]
pub struct RoleScope {
    /// Role name.
    pub name: String,
    /// low, medium, high or critical.
    pub risk: &'static str,
    /// Its description.
    pub description: String,
}

/// `pull_request.…`
#[derive(Debug, Clone, Default)]
pub struct PullRequestScope {
    /// Its number; 0 offline.
    pub number: u64,
    /// Login of its author; empty offline.
    pub author: String,
}

impl Expression {
    /// Compiles `source`.
    pub fn compile(source: &str) -> Result<Self, ExpressionError> {
        Ok(Self { source: source.to_owned() })
    }

    /// The text it was compiled from.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Whether it is true in `scope`. Anything but a boolean is an error.
    pub fn is_true(&self, _scope: &Scope) -> Result<bool, ExpressionError> {
        Err(ExpressionError { message: String::new(), offset: None })
    }
}

impl Template {
    /// Compiles `source`.
    pub fn compile(source: &str) -> Result<Self, ExpressionError> {
        Ok(Self { source: source.to_owned() })
    }

    /// The text it was compiled from.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The text with its expressions evaluated: texts, numbers and booleans may be inserted, nothing else.
    pub fn render(&self, _scope: &Scope) -> Result<String, ExpressionError> {
        Err(ExpressionError { message: String::new(), offset: None })
    }

    /// Like [`Template::render`], but a template that is one expression and yields a list gives each of its texts.
    pub fn render_all(&self, scope: &Scope) -> Result<Vec<String>, ExpressionError> {
        self.render(scope).map(|text| vec![text])
    }
}
