//! Sentences whose parts are told apart: our words, names, and text that somebody else wrote. So the same sentence can be shown in
//! Markdown and on a terminal, each with the escaping it needs.

use std::fmt;

use chrono::{DateTime, Timelike, Utc};
use serde::{Serialize, Serializer};

use crate::policy::render::tame;

/// A sentence.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Text(Vec<Piece>);

/// A part of a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// Our own words.
    Words(String),
    /// Our own words, stressed.
    Strong(String),
    /// A name, an expression, something to copy.
    Name(String),
    /// What somebody wrote. Hostile.
    Foreign(String),
}

impl Text {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// And then our own words.
    pub fn words(mut self, words: impl Into<String>) -> Self {
        self.0.push(Piece::Words(words.into()));
        self
    }

    /// And then our own words, stressed.
    pub fn strong(mut self, words: impl Into<String>) -> Self {
        self.0.push(Piece::Strong(words.into()));
        self
    }

    /// And then a name.
    pub fn name(mut self, name: impl fmt::Display) -> Self {
        self.0.push(Piece::Name(name.to_string()));
        self
    }

    /// And then names, with commas between them.
    pub fn names(mut self, names: impl IntoIterator<Item = impl fmt::Display>) -> Self {
        for (index, name) in names.into_iter().enumerate() {
            if index > 0 {
                self = self.words(", ");
            }
            self = self.name(name);
        }
        self
    }

    /// And then what somebody wrote.
    pub fn foreign(mut self, text: impl Into<String>) -> Self {
        self.0.push(Piece::Foreign(text.into()));
        self
    }

    /// And then another sentence.
    pub fn then(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }

    /// Its parts.
    pub fn pieces(&self) -> &[Piece] {
        &self.0
    }
}

impl fmt::Display for Text {
    /// For a terminal: one line, nothing in it that a terminal would obey.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for piece in &self.0 {
            match piece {
                Piece::Words(text) | Piece::Strong(text) => f.write_str(text)?,
                Piece::Name(text) => f.write_str(&one_line(text))?,
                Piece::Foreign(text) => f.write_str(&one_line(text))?,
            }
        }
        Ok(())
    }
}

impl Serialize for Text {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Text of others as one line that is safe on a terminal.
pub fn one_line(text: &str) -> String {
    tame(&text.replace(['\n', '\r'], " "))
}

/// A time as people read it: UTC, to the minute unless seconds matter.
pub fn when(time: DateTime<Utc>) -> String {
    let format = if time.second() == 0 { "%Y-%m-%d %H:%M UTC" } else { "%Y-%m-%d %H:%M:%S UTC" };
    time.format(format).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_obeys_nothing_that_others_wrote() {
        let text = Text::new().words("Why: ").foreign("a\u{1b}[31m\nb\u{202e}").words(", ").name("x\u{7}");
        assert_eq!(text.to_string(), "Why: a\u{fffd}[31m b\u{fffd}, x\u{fffd}");
    }
}
