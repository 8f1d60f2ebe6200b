//! Reading YAML that nobody vouches for: bounded, located, without the parts of YAML that hide meaning. What comes out is a
//! tree; [`super::decode`] makes something of it.

use std::fmt;
use std::sync::Arc;

use serde::Deserialize;
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde_yaml::options::{DuplicateKeyPolicy, MergeKeyPolicy, NonFiniteFloatPolicy};
use serde_yaml::{Options, Spanned, budget, options};

use super::super::request::is_deceptive;
use super::super::{Code, Finding, Place, Severity};

/// A place and the file it is in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Spot {
    /// Path in the repository.
    pub file: Arc<str>,
    /// Where in the file.
    pub place: Place,
    /// The row of a table it was made from.
    pub made: Option<Arc<Made>>,
}

/// A row something was made from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Made {
    /// The file the row is in.
    pub file: Arc<str>,
    /// The value that was put in.
    pub place: Place,
    /// How many rows the table has.
    pub rows: usize,
}

impl Spot {
    /// A place that was written, not made.
    pub fn new(file: &str, place: Place) -> Self {
        Self { file: file.into(), place, made: None }
    }
}

impl fmt::Display for Spot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.place.line)?;
        if self.place.column > 0 { write!(f, ":{}", self.place.column) } else { Ok(()) }
    }
}

/// A value as it is written.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    /// Where it stands.
    pub spot: Spot,
    /// Where the key stands whose value it is.
    pub key: Option<Spot>,
    /// What it is.
    pub value: Value,
}

/// What a value is.
#[derive(Debug, Clone)]
pub(crate) enum Value {
    /// A text, number, `true`, `false` or nothing.
    Scalar(Scalar),
    /// Several.
    List(Vec<Node>),
    /// Keys with values, in order; a key may be there twice.
    Map(Vec<(Node, Node)>),
    /// Something that has been reported and about which nothing more is to be said.
    Told,
}

/// A single value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Scalar {
    /// As it is written; of quoted and block texts, what they say.
    pub text: String,
    /// What YAML takes it for.
    pub kind: Kind,
}

/// What YAML 1.2 takes a scalar for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    Number,
    Boolean,
    Nothing,
}

impl Node {
    /// What people call it.
    pub fn what(&self) -> &'static str {
        match &self.value {
            Value::List(_) => "a list",
            Value::Map(_) => "keys with values",
            Value::Scalar(scalar) => match scalar.kind {
                Kind::Text => "a text",
                Kind::Number => "a number",
                Kind::Boolean => "true or false",
                Kind::Nothing => "nothing",
            },
            Value::Told => "a mistake",
        }
    }

    /// The text of a scalar that is not nothing.
    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar(scalar) if scalar.kind != Kind::Nothing => Some(&scalar.text),
            _ => None,
        }
    }

    /// The value of a key, if this has keys.
    pub fn get(&self, key: &str) -> Option<&Self> {
        let Value::Map(entries) = &self.value else { return None };
        entries.iter().find(|(name, _)| name.text() == Some(key)).map(|(_, value)| value)
    }

    /// Where its key stands, or else itself.
    pub fn named_at(&self) -> &Spot {
        self.key.as_ref().unwrap_or(&self.spot)
    }

    /// Whether both say the same, wherever they stand.
    pub fn says_the_same(&self, other: &Self) -> bool {
        match (&self.value, &other.value) {
            (Value::Scalar(one), Value::Scalar(other)) => one == other,
            (Value::List(one), Value::List(other)) => {
                one.len() == other.len() && one.iter().zip(other).all(|(one, other)| one.says_the_same(other))
            }
            (Value::Map(one), Value::Map(other)) => {
                one.len() == other.len()
                    && one.iter().zip(other).all(|((key, one), (other_key, other))| {
                        key.says_the_same(other_key) && one.says_the_same(other)
                    })
            }
            _ => false,
        }
    }
}

fn strict() -> Options {
    options! {
        strict_booleans: true,
        with_snippet: false,
        // Both are told by the reader of the tree, which knows the places.
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        merge_keys: MergeKeyPolicy::AsOrdinary,
        non_finite_float_policy: NonFiniteFloatPolicy::PassThrough,
        reject_unsupported_tags: true,
        // What is read is what reviewers see.
        ignore_binary_tag_for_string: true,
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

/// Reads a file of `limit` bytes at most. What is no YAML has one mistake: reading ends there.
pub(crate) fn read(file: &str, bytes: &[u8], limit: usize) -> Result<Node, Finding> {
    let refuse = |code: Code, place: Place, message: String, help: &str| Finding {
        file: file.to_owned(),
        place,
        severity: Severity::Error,
        code,
        message,
        help: help.to_owned(),
    };
    let line = |before: &[u8]| {
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        Place { line: u32::try_from(line).unwrap_or(0), ..Place::default() }
    };
    if bytes.len() > limit {
        let message = format!("the file has more than {} KiB", limit / 1024);
        return Err(refuse(Code::TooLarge, Place::default(), message, Code::TooLarge.explanation()));
    }
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let place = line(bytes.get(..error.valid_up_to()).unwrap_or_default());
        refuse(Code::Encoding, place, "the file is not UTF-8 text".to_owned(), "Save the file as UTF-8.")
    })?;
    if let Some(at) = text.find('\0') {
        let place = line(bytes.get(..at).unwrap_or_default());
        return Err(refuse(Code::Encoding, place, "the file contains NUL".to_owned(), "Save the file as UTF-8 text."));
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#')) {
        let help = "Write the request or the policy into it, or remove it.";
        return Err(refuse(Code::MissingKey, Place::default(), "the file is empty".to_owned(), help));
    }
    let raw: Raw = serde_yaml::from_str_with_options(text, strict()).map_err(|error| {
        let error = error.without_snippet();
        let last = u32::try_from(text.lines().count().max(1)).unwrap_or(u32::MAX);
        let place = error.location().map_or_else(Place::default, |at| Place {
            line: number(at.line()).min(last),
            column: number(at.column()),
            length: 0,
        });
        let (message, help) = explain(&without_place(&error.to_string()));
        match text.lines().position(|line| line.trim_start_matches(' ').starts_with('\t')) {
            // The library tells where it noticed, which may be lines away.
            Some(at) if message.contains(" tab") => {
                let place = Place { line: number(at as u64 + 1), ..Place::default() };
                refuse(Code::Syntax, place, "the line begins with a tab".to_owned(), "Indent with spaces.")
            }
            _ => refuse(Code::Syntax, place, message, &help),
        }
    })?;
    if let Some((line, column, c)) = hidden_in_comment(text) {
        let place = Place { line: number(line as u64 + 1), column: number(column as u64 + 1), length: 1 };
        let message = format!("the comment has the invisible or control character U+{:04X}", u32::from(c));
        return Err(refuse(Code::HiddenText, place, message, Code::HiddenText.explanation()));
    }
    Ok(Tree { file: file.into(), text }.node(raw))
}

/// The first character behind a `#` that turns or hides what reviewers see: where, and which. Texts are looked at where they are
/// read; a `#` in one may begin a comment for all that is known here, and what hides in it is refused all the same.
fn hidden_in_comment(text: &str) -> Option<(usize, usize, char)> {
    text.split('\n').enumerate().find_map(|(line, text)| {
        let mut behind = false;
        text.chars().enumerate().find_map(|(column, c)| {
            behind |= c == '#';
            (behind && is_deceptive(c)).then_some((line, column, c))
        })
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

/// What the library says about text that is no YAML we read, and what to do.
fn explain(message: &str) -> (String, String) {
    let lower = message.to_ascii_lowercase();
    if lower.contains("anchor") || lower.contains("alias") {
        let message = "anchors and aliases are not read: they hide what is granted".to_owned();
        return (message, "Write the value out.".to_owned());
    }
    if lower.contains("tag") {
        return (format!("tags are not read: {message}"), "Write the value without `!`.".to_owned());
    }
    if message.contains("Documents {") {
        return ("there is a second document in the file".to_owned(), "Write each into a file of its own.".to_owned());
    }
    if message.contains("Depth {") {
        return ("the file is nested too deep".to_owned(), "Nothing here needs more than a few levels.".to_owned());
    }
    let message = match lower {
        _ if ["budget", "recursion", "limit"].iter().any(|word| lower.contains(word)) => {
            format!("the file is too large: {message}")
        }
        _ => message.to_owned(),
    };
    (message, Code::Syntax.explanation().to_owned())
}

fn number(n: u64) -> u32 {
    u32::try_from(n).unwrap_or(0)
}

/// The tree as the library gives it.
type Raw = Spanned<RawValue>;

enum RawValue {
    Text(String),
    Other(Kind),
    List(Vec<Raw>),
    Map(Vec<(Raw, Raw)>),
}

impl<'de> Deserialize<'de> for RawValue {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = RawValue;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text, a number, true or false, a list or keys with values")
    }

    fn visit_str<E>(self, text: &str) -> Result<RawValue, E> {
        Ok(RawValue::Text(text.to_owned()))
    }

    fn visit_bool<E>(self, _: bool) -> Result<RawValue, E> {
        Ok(RawValue::Other(Kind::Boolean))
    }

    fn visit_i64<E>(self, _: i64) -> Result<RawValue, E> {
        Ok(RawValue::Other(Kind::Number))
    }

    fn visit_u64<E>(self, _: u64) -> Result<RawValue, E> {
        Ok(RawValue::Other(Kind::Number))
    }

    fn visit_i128<E>(self, _: i128) -> Result<RawValue, E> {
        Ok(RawValue::Other(Kind::Number))
    }

    fn visit_u128<E>(self, _: u128) -> Result<RawValue, E> {
        Ok(RawValue::Other(Kind::Number))
    }

    fn visit_f64<E>(self, _: f64) -> Result<RawValue, E> {
        Ok(RawValue::Other(Kind::Number))
    }

    fn visit_unit<E>(self) -> Result<RawValue, E> {
        Ok(RawValue::Other(Kind::Nothing))
    }

    fn visit_none<E>(self) -> Result<RawValue, E> {
        Ok(RawValue::Other(Kind::Nothing))
    }

    fn visit_some<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<RawValue, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<RawValue, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(RawValue::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<RawValue, A::Error> {
        let mut map = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            map.push(entry);
        }
        Ok(RawValue::Map(map))
    }
}

/// Where a tree comes from.
struct Tree<'a> {
    file: Arc<str>,
    text: &'a str,
}

impl Tree<'_> {
    fn node(&self, raw: Raw) -> Node {
        let (at, span) = (raw.referenced, raw.referenced.span());
        let mut place = Place { line: number(at.line()), column: number(at.column()), length: 0 };
        let written = || {
            let (start, length) = (usize::try_from(span.byte_offset()?).ok()?, usize::try_from(span.byte_len()?).ok()?);
            self.text.get(start..start.checked_add(length)?)
        };
        let value = match raw.value {
            RawValue::Text(text) => {
                let written = written().unwrap_or_default().trim_end();
                if !written.contains('\n') {
                    place.length = number(written.chars().count() as u64);
                }
                Value::Scalar(Scalar { text, kind: Kind::Text })
            }
            RawValue::Other(kind) => {
                let text = written().unwrap_or_default().trim().to_owned();
                place.length = number(text.chars().count() as u64);
                Value::Scalar(Scalar { text, kind })
            }
            RawValue::List(items) => Value::List(items.into_iter().map(|item| self.node(item)).collect()),
            RawValue::Map(entries) => {
                let entry = |(key, value): (Raw, Raw)| {
                    let key = self.node(key);
                    let value = Node { key: Some(key.spot.clone()), ..self.node(value) };
                    (key, value)
                };
                Value::Map(entries.into_iter().map(entry).collect())
            }
        };
        Node { spot: Spot { file: Arc::clone(&self.file), place, made: None }, key: None, value }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(text: &str) -> Node {
        read("x.yaml", text.as_bytes(), 1 << 20).unwrap()
    }

    #[test]
    fn every_value_has_its_place_and_its_text_as_written() {
        let tree = tree("a: 1_000\nb:\n  - 'x y'\n  - 0o17\nc: no\nd: .inf\ne:\nf: True\n");
        let place = |node: &Node| (node.spot.place.line, node.spot.place.column, node.spot.place.length);
        let a = tree.get("a").unwrap();
        assert_eq!((a.text(), a.what(), place(a)), (Some("1_000"), "a number", (1, 4, 5)));
        let Value::List(items) = &tree.get("b").unwrap().value else { panic!() };
        assert_eq!((items[0].text(), place(&items[0])), (Some("x y"), (3, 5, 5)));
        assert_eq!((items[1].text(), items[1].what()), (Some("0o17"), "a number"));
        assert_eq!((tree.get("c").unwrap().text(), tree.get("c").unwrap().what()), (Some("no"), "a text"));
        assert_eq!(tree.get("d").unwrap().text(), Some(".inf"));
        assert_eq!((tree.get("e").unwrap().text(), tree.get("e").unwrap().what()), (None, "nothing"));
        assert_eq!(tree.get("f").unwrap().what(), "true or false");
        assert_eq!(tree.get("f").unwrap().named_at().place.line, 8);
    }

    #[test]
    fn keys_that_are_there_twice_and_merge_keys_are_kept_for_the_reader() {
        let Value::Map(entries) = tree("a: 1\n<<: { b: 2 }\na: 3\n").value else { panic!() };
        assert_eq!(entries.iter().map(|(key, _)| key.text().unwrap()).collect::<Vec<_>>(), ["a", "<<", "a"]);
    }

    #[test]
    fn a_text_that_is_marked_as_binary_is_read_as_it_is_seen() {
        assert_eq!(tree("a: !!binary aGk=\n").get("a").unwrap().text(), Some("aGk="));
        assert_eq!(tree("a: !!binary 'aGk='\n").get("a").unwrap().text(), Some("aGk="));
    }

    #[test]
    fn what_hides_meaning_is_refused_with_its_line() {
        for (text, line, says) in [
            ("a: 1\nb: &x 2\nc: *x\n", 2, "anchors"),
            ("a: !local x\n", 1, "tags"),
            ("a: 1\n---\nb: 2\n", 0, ""),
            ("a: [1\nb: 2\n", 2, ""),
            ("a: 1\n\tb: 2\n", 2, "tab"),
        ] {
            let finding = read("x.yaml", text.as_bytes(), 1 << 20).unwrap_err();
            assert_eq!(finding.code, Code::Syntax, "{text:?}");
            assert!(finding.message.contains(says), "{text:?}: {}", finding.message);
            assert!(line == 0 || finding.place.line == line, "{text:?}: {finding:?}");
        }
    }
}
