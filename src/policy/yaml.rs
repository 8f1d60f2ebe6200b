//! Reading YAML that nobody vouches for: bounded, located, without the parts of YAML that hide meaning.

use std::ops::Deref;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_yaml::{Options, Spanned, budget, options};

use super::suggest::suggest;
use super::{Code, Finding, Place, Severity};

/// A value with its place.
#[derive(Debug, Clone, Deserialize)]
#[serde(transparent)]
pub(crate) struct At<T>(Spanned<T>);

impl<T> At<T> {
    /// Where it stands.
    pub fn place(&self) -> Place {
        let location = self.0.referenced;
        let number = |n: u64| u32::try_from(n).unwrap_or(0);
        Place { line: number(location.line()), column: number(location.column()), length: 0 }
    }

    /// The value alone.
    pub fn into_inner(self) -> T {
        self.0.value
    }
}

impl<T: AsRef<str>> At<T> {
    /// Where a text stands, with its length if it is on one line.
    pub fn text_place(&self) -> Place {
        let text = self.0.value.as_ref();
        let length = if text.contains('\n') { 0 } else { u32::try_from(text.chars().count()).unwrap_or(0) };
        Place { length, ..self.place() }
    }

    /// Where characters of the text stand in `file`, from which it was read: on the right line of a text of several lines,
    /// behind the quotes of a quoted one. The place of the whole text if that cannot be told.
    pub fn place_of(&self, file: &str, start: usize, length: usize) -> Place {
        let whole = self.text_place();
        let text = self.0.value.as_ref();
        let places = Written::All.places(file, whole, text).or_else(|| {
            let quoted = Place { column: whole.column + 1, ..whole };
            Written::Single.places(file, quoted, text).or_else(|| Written::Double.places(file, quoted, text))
        });
        let Some(places) = places else { return whole };
        let Some(first) = places.get(start).or(places.last()) else { return whole };
        let last =
            length.checked_sub(1).and_then(|more| places.get(start + more)).filter(|last| last.line == first.line);
        let length = last.map_or(0, |last| last.column.saturating_sub(first.column) + 1);
        Place { length, ..*first }
    }
}

/// How a text is written in YAML.
#[derive(Clone, Copy, PartialEq)]
enum Written {
    /// Without quotes, or as a block: every character stands for itself, but for white space.
    All,
    /// In single quotes, where `''` is a quote.
    Single,
    /// In double quotes, where `\` begins an escape.
    Double,
}

impl Written {
    /// The place of each character of `text`, which begins at `start`; `None` if it is not written like this.
    fn places(self, file: &str, start: Place, text: &str) -> Option<Vec<Place>> {
        let lines = file.split('\n').enumerate().skip(usize::try_from(start.line.checked_sub(1)?).ok()?);
        let mut raw = lines
            .flat_map(|(line, content)| content.chars().chain(['\n']).enumerate().map(move |at| (line, at)))
            .skip(usize::try_from(start.column.checked_sub(1)?).ok()?)
            .peekable();
        let mut places = Vec::new();
        let mut in_space = false;
        for c in text.chars() {
            let space = c.is_whitespace();
            if space && in_space {
                places.push(*places.last()?);
                continue;
            }
            while in_space && raw.next_if(|(_, (_, found))| found.is_whitespace()).is_some() {}
            in_space = space;
            let (line, (column, mut found)) = raw.next()?;
            match self {
                Self::Single if found == '\'' => found = raw.next()?.1.1,
                Self::Double if found == '\\' => {
                    found = match raw.next()?.1.1 {
                        'n' | 't' | 'r' => ' ',
                        other => other,
                    }
                }
                _ => {}
            }
            if found != c && !(space && found.is_whitespace()) {
                return None;
            }
            let number = |n: usize| u32::try_from(n + 1).unwrap_or(0);
            places.push(Place { line: number(line), column: number(column), length: 0 });
        }
        Some(places)
    }
}

impl<T> Deref for At<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0.value
    }
}

impl<T: PartialEq> PartialEq for At<T> {
    fn eq(&self, other: &Self) -> bool {
        self.0.value == other.0.value
    }
}
impl<T: Eq> Eq for At<T> {}
impl<T: Ord> PartialOrd for At<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl<T: Ord> Ord for At<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.value.cmp(&other.0.value)
    }
}

fn strict() -> Options {
    options! {
        strict_booleans: true,
        with_snippet: false,
        budget: budget! {
            max_anchors: 0,
            max_aliases: 0,
            max_merge_keys: 0,
            max_depth: 32,
            max_nodes: 50_000,
            max_documents: 1,
        },
    }
}

/// Reads a file of `limit` bytes at most. A file has one structural mistake at most: reading ends there.
pub(crate) fn read<T: DeserializeOwned>(file: &str, bytes: &[u8], limit: usize, keys: &[&str]) -> Result<T, Finding> {
    let refuse = |code: Code, place: Place, message: String, help: &str| Finding {
        file: file.to_owned(),
        place,
        severity: Severity::Error,
        code,
        message,
        help: help.to_owned(),
    };
    if bytes.len() > limit {
        let message = format!("the file has {} bytes; at most {} KiB are read", bytes.len(), limit / 1024);
        return Err(refuse(Code::TooLarge, Place::default(), message, Code::TooLarge.explanation()));
    }
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let line = bytes.iter().take(error.valid_up_to()).filter(|byte| **byte == b'\n').count() + 1;
        let place = Place { line: u32::try_from(line).unwrap_or(0), ..Place::default() };
        refuse(Code::Encoding, place, "the file is not UTF-8 text".to_owned(), "Save the file as UTF-8.")
    })?;
    if let Some(at) = text.find('\0') {
        let line = text.get(..at).map_or(1, |before| before.matches('\n').count() + 1);
        let place = Place { line: u32::try_from(line).unwrap_or(0), ..Place::default() };
        return Err(refuse(Code::Encoding, place, "the file contains NUL".to_owned(), "Save the file as UTF-8 text."));
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#')) {
        let message = "the file is empty".to_owned();
        return Err(refuse(
            Code::MissingKey,
            Place::default(),
            message,
            "Write the request or the policy into it, or remove it.",
        ));
    }
    serde_yaml::from_str_with_options(text, strict()).map_err(|error| {
        let error = error.without_snippet();
        let place = error.location().map_or_else(Place::default, |at| Place {
            line: u32::try_from(at.line())
                .unwrap_or(0)
                .min(u32::try_from(text.lines().count().max(1)).unwrap_or(u32::MAX)),
            column: u32::try_from(at.column()).unwrap_or(0),
            length: 0,
        });
        let (code, message, help) = explain(&without_place(&error.to_string()), keys);
        refuse(code, place, message, &help)
    })
}

/// The library's sentence without the place, which a finding carries by itself.
fn without_place(message: &str) -> String {
    let first = message.lines().next().unwrap_or(message);
    let end = [" at line ", " (line ", " at position "].iter().filter_map(|mark| first.find(mark)).min();
    let text = end.map_or(first, |end| first.get(..end).unwrap_or(first));
    let text = text.strip_prefix("error: ").unwrap_or(text);
    // "line 3 column 5: …"
    match text.split_once(": ") {
        Some((place, rest)) if place.starts_with("line ") => rest.to_owned(),
        _ => text.to_owned(),
    }
}

/// What the library says, in our codes and words.
fn explain(message: &str, keys: &[&str]) -> (Code, String, String) {
    let quoted = |text: &str| text.split('`').nth(1).unwrap_or_default().to_owned();
    let lower = message.to_ascii_lowercase();
    if lower.contains("unknown field") || lower.contains("unknown variant") {
        let key = quoted(message);
        let known: Vec<String> = message.split('`').skip(3).step_by(2).map(str::to_owned).collect();
        let near = suggest(&key, known.iter().map(String::as_str).chain(keys.iter().copied()));
        let help = match near {
            Some(near) => format!("Did you mean `{near}`?"),
            None if known.is_empty() => Code::UnknownKey.explanation().to_owned(),
            None => format!("Known here: {}.", known.join(", ")),
        };
        return (Code::UnknownKey, format!("`{key}` is not known here"), help);
    }
    if lower.contains("duplicate") {
        return (Code::DuplicateKey, message.to_owned(), Code::DuplicateKey.explanation().to_owned());
    }
    if lower.contains("missing field") {
        let key = quoted(message);
        return (Code::MissingKey, format!("`{key}` is missing"), format!("Add `{key}: …`."));
    }
    if lower.contains("anchor") || lower.contains("alias") {
        let message = "anchors and aliases are not read: they hide what is granted".to_owned();
        return (Code::Syntax, message, "Write the value out.".to_owned());
    }
    if lower.contains("budget") || lower.contains("recursion") || lower.contains("depth") || lower.contains("limit") {
        return (
            Code::Syntax,
            format!("the file is too deep or too large: {message}"),
            Code::Syntax.explanation().to_owned(),
        );
    }
    if lower.contains("invalid type") || lower.contains("expected") || lower.contains("invalid value") {
        return (Code::WrongType, message.to_owned(), Code::WrongType.explanation().to_owned());
    }
    if lower.contains("is not a valid") || lower.contains("is not a principal") {
        return (Code::BadName, message.to_owned(), String::new());
    }
    if lower.contains("duration") || lower.contains("too long") {
        return (Code::BadDuration, message.to_owned(), Code::BadDuration.explanation().to_owned());
    }
    (Code::Syntax, message.to_owned(), Code::Syntax.explanation().to_owned())
}
