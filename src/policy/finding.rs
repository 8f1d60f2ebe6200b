//! Findings: what is wrong in a policy or a request, where, and what to do about it.
//!
//! Findings collect; nothing stops at the first. One list renders to the terminal, to JSON, to workflow commands and to
//! check-run annotations.

use serde::{Deserialize, Serialize};

/// A position in a file: line and column count from 1; line 0 means the file as a whole.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Place {
    /// Line, from 1; 0 for the whole file.
    pub line: u32,
    /// Column in characters, from 1; 0 for the whole line.
    pub column: u32,
    /// Length in characters of what is meant on that line; 0 if unknown.
    pub length: u32,
}

/// How bad a finding is. Only errors make an input invalid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing; never a failure.
    Note,
    /// Suspicious; a failure only with `--deny-warnings`.
    Warning,
    /// Invalid.
    Error,
}

/// One thing that is wrong, with its place and the way out.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Finding {
    /// Path in the repository.
    pub file: String,
    /// Where in the file.
    #[serde(flatten)]
    pub place: Place,
    /// Error, warning or note.
    pub severity: Severity,
    /// Stable code, such as `DP0101`.
    pub code: super::Code,
    /// One sentence: what is wrong.
    pub message: String,
    /// What to do next; empty if the message says it all.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub help: String,
}
