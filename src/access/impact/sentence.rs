//! Sentences with quoted parts. Whoever prints one decides how a quotation is made safe.

use std::fmt;

/// A part of a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// Our own words.
    Words(String),
    /// A name or an expression, as it stands in a policy or a request. May be hostile.
    Quoted(String),
}

/// A sentence.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sentence(Vec<Part>);

impl Sentence {
    /// `words` with each `{}` replaced by the next of `quoted`.
    pub fn new(words: &str, quoted: &[&dyn fmt::Display]) -> Self {
        let mut sentence = Self::default();
        let mut quoted = quoted.iter();
        for (index, words) in words.split("{}").enumerate() {
            if index > 0 {
                sentence = sentence.quote(quoted.next().map(ToString::to_string).unwrap_or_default());
            }
            sentence = sentence.say(words);
        }
        sentence
    }

    /// Our own words at the end.
    pub fn say(mut self, words: &str) -> Self {
        match self.0.last_mut() {
            Some(Part::Words(last)) => last.push_str(words),
            _ if words.is_empty() => {}
            _ => self.0.push(Part::Words(words.to_owned())),
        }
        self
    }

    /// A quotation at the end.
    pub fn quote(mut self, text: impl fmt::Display) -> Self {
        self.0.push(Part::Quoted(text.to_string()));
        self
    }

    /// Another sentence at the end.
    pub fn then(mut self, other: Self) -> Self {
        for part in other.0 {
            match part {
                Part::Words(words) => self = self.say(&words),
                quoted @ Part::Quoted(_) => self.0.push(quoted),
            }
        }
        self
    }

    /// Quotations, with commas between them; at most `most`, and how many more there are.
    pub fn list<T: fmt::Display>(mut self, items: impl ExactSizeIterator<Item = T>, most: usize) -> Self {
        let more = items.len().saturating_sub(most);
        for (index, item) in items.take(most).enumerate() {
            self = self.say(if index == 0 { "" } else { ", " }).quote(item);
        }
        if more > 0 { self.say(&format!(" and {more} more")) } else { self }
    }

    /// Its parts in order.
    pub fn parts(&self) -> &[Part] {
        &self.0
    }

    /// The sentence with quotations as `quote` makes them.
    pub fn render(&self, quote: impl Fn(&str) -> String) -> String {
        self.0
            .iter()
            .map(|part| match part {
                Part::Words(words) => words.clone(),
                Part::Quoted(text) => quote(text),
            })
            .collect()
    }
}

impl fmt::Display for Sentence {
    /// With backticks around quotations; not made safe for anything.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.render(|text| format!("`{text}`")))
    }
}
