//! From a tree to values. Every mistake is reported, not only the first; a value comes out only if all of it is right.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Deref;
use std::sync::Arc;

use serde_json::json;

use super::node::{Kind, Made, Node, Scalar, Spot, Value};
use crate::policy::suggest::suggest;
use crate::policy::{Code, Finding, Place, Severity};

/// What was found while reading.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// In the order they were found.
    pub findings: Vec<Finding>,
    /// Those that are about what was made from rows of a table, with the rows.
    pub made: BTreeMap<Finding, BTreeSet<Arc<Made>>>,
    /// Where things are named of which not all could be read: what they lack, they may have.
    partial: Vec<Spot>,
    /// How often something was met about which enough is said.
    told: usize,
}

impl Report {
    /// Something is wrong.
    pub fn error(&mut self, spot: &Spot, code: Code, message: impl Into<String>, help: impl Into<String>) {
        self.push(Severity::Error, spot, code, message.into(), help.into());
    }

    /// Something is suspicious.
    pub fn warn(&mut self, spot: &Spot, code: Code, message: impl Into<String>, help: impl Into<String>) {
        self.push(Severity::Warning, spot, code, message.into(), help.into());
    }

    fn push(&mut self, severity: Severity, spot: &Spot, code: Code, message: String, help: String) {
        let finding = Finding { file: spot.file.to_string(), place: spot.place, severity, code, message, help };
        self.add(spot, finding);
    }

    /// Whether not all of what is named here could be read.
    pub fn is_partial(&self, name: &Spot) -> bool {
        self.partial.iter().any(|spot| (&spot.file, spot.place) == (&name.file, name.place))
    }

    /// Adds what was found at `spot`.
    pub fn add(&mut self, spot: &Spot, finding: Finding) {
        if let Some(row) = &spot.made {
            self.made.entry(finding.clone()).or_default().insert(Arc::clone(row));
        }
        self.findings.push(finding);
    }

    pub(super) fn wrong_kind(&mut self, node: &Node, expected: &str) {
        if matches!(node.value, Value::Told) {
            self.told += 1;
            return;
        }
        match node.what() {
            "nothing" => {
                let (spot, message) = (node.named_at(), format!("there is no value; expected {expected}"));
                self.error(spot, Code::WrongType, message, "Write one, or remove the key.");
            }
            found => {
                let message = format!("this is {found}; expected {expected}");
                self.error(&node.spot, Code::WrongType, message, Code::WrongType.explanation());
            }
        }
    }
}

/// "Did you mean …?", or something else.
pub(crate) fn did_you_mean<'a>(
    name: &str,
    known: impl IntoIterator<Item = &'a str>,
    otherwise: impl Into<String>,
) -> String {
    suggest(name, known).map_or_else(|| otherwise.into(), |near| format!("Did you mean `{near}`?"))
}

/// Reads a file that holds one value, of `limit` bytes at most.
pub(crate) fn read_as<T: Decode>(file: &str, bytes: &[u8], limit: usize) -> Result<T, Vec<Finding>> {
    let node = super::node::read(file, bytes, limit).map_err(|finding| vec![finding])?;
    let mut report = Report::default();
    T::decode(&node, &mut report).filter(|_| report.findings.is_empty()).ok_or(report.findings)
}

/// Something that can be read from a tree.
pub(crate) trait Decode: Sized {
    /// The value, or `None` with at least one error in the report. A value may come out beside errors, so that more is found:
    /// whoever reads a file looks at the report.
    fn decode(node: &Node, report: &mut Report) -> Option<Self>;

    /// Its shape as JSON Schema, draft 7.
    fn schema(schemas: &mut Schemas) -> serde_json::Value;
}

/// The shapes that have names, so that each is told once.
#[derive(Debug, Default)]
pub(crate) struct Schemas(BTreeMap<&'static str, serde_json::Value>);

impl Schemas {
    /// A reference to the shape called `name`, which is made if it is new.
    pub fn named(
        &mut self,
        name: &'static str,
        make: impl FnOnce(&mut Self) -> serde_json::Value,
    ) -> serde_json::Value {
        if !self.0.contains_key(name) {
            self.0.insert(name, json!({}));
            let shape = make(self);
            self.0.insert(name, shape);
        }
        json!({ "$ref": format!("#/definitions/{name}") })
    }

    /// Changes the shape called `name`, if it is known.
    pub fn change(&mut self, name: &str, change: impl FnOnce(&mut serde_json::Map<String, serde_json::Value>)) {
        if let Some(serde_json::Value::Object(shape)) = self.0.get_mut(name) {
            change(shape);
        }
    }

    /// All of them.
    pub fn into_definitions(self) -> serde_json::Value {
        json!(self.0)
    }
}

/// A value with its place.
#[derive(Debug, Clone)]
pub(crate) struct At<T> {
    /// Where it stands.
    pub spot: Spot,
    value: T,
}

impl<T> At<T> {
    /// Where it stands in its file.
    pub fn place(&self) -> Place {
        self.spot.place
    }

    /// The value alone.
    pub fn into_inner(self) -> T {
        self.value
    }
}

impl<T> Deref for At<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: Decode> Decode for At<T> {
    fn decode(node: &Node, report: &mut Report) -> Option<Self> {
        T::decode(node, report).map(|value| Self { spot: node.spot.clone(), value })
    }

    fn schema(schemas: &mut Schemas) -> serde_json::Value {
        T::schema(schemas)
    }
}

impl<T: Decode> Decode for Option<T> {
    fn decode(node: &Node, report: &mut Report) -> Option<Self> {
        T::decode(node, report).map(Some)
    }

    fn schema(schemas: &mut Schemas) -> serde_json::Value {
        T::schema(schemas)
    }
}

impl<T: Decode> Decode for Vec<T> {
    fn decode(node: &Node, report: &mut Report) -> Option<Self> {
        let Value::List(items) = &node.value else {
            report.wrong_kind(node, "a list, such as `[a, b]`");
            return None;
        };
        // All of them are read before the first that failed counts.
        let read: Vec<Option<T>> = items.iter().map(|item| T::decode(item, report)).collect();
        read.into_iter().collect()
    }

    fn schema(schemas: &mut Schemas) -> serde_json::Value {
        json!({ "type": "array", "items": T::schema(schemas) })
    }
}

/// A list of which those are kept that can be read.
#[derive(Debug, Clone)]
pub(crate) struct Readable<T>(pub Vec<T>);

impl<T> Default for Readable<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: Decode> Decode for Readable<T> {
    fn decode(node: &Node, report: &mut Report) -> Option<Self> {
        let Value::List(items) = &node.value else {
            report.wrong_kind(node, "a list, such as `[a, b]`");
            return None;
        };
        Some(Self(items.iter().filter_map(|item| T::decode(item, report)).collect()))
    }

    fn schema(schemas: &mut Schemas) -> serde_json::Value {
        Vec::<T>::schema(schemas)
    }
}

impl<T: Decode + Ord> Decode for BTreeSet<T> {
    fn decode(node: &Node, report: &mut Report) -> Option<Self> {
        Vec::decode(node, report).map(|items| items.into_iter().collect())
    }

    fn schema(schemas: &mut Schemas) -> serde_json::Value {
        Vec::<T>::schema(schemas)
    }
}

/// Names with values, in the order they are written. A value that could not be read leaves its name behind: others may refer
/// to it.
#[derive(Debug, Clone)]
pub(crate) struct Entries<K, V>(pub Vec<(At<K>, Option<V>)>);

impl<K, V> Default for Entries<K, V> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<K: Decode, V: Decode> Decode for Entries<K, V> {
    fn decode(node: &Node, report: &mut Report) -> Option<Self> {
        let entries = keys_of(node, report, "names with values")?;
        let mut read = Vec::new();
        for (key, value) in entries {
            let (key, value) = (At::<K>::decode(key, report), V::decode(value, report));
            read.extend(key.map(|key| (key, value)));
        }
        Some(Self(read))
    }

    fn schema(schemas: &mut Schemas) -> serde_json::Value {
        let (names, values) = (K::schema(schemas), V::schema(schemas));
        let mut shape = json!({ "type": "object", "additionalProperties": values });
        // That keys are texts goes without saying.
        if let (Some(shape), true) =
            (shape.as_object_mut(), names.get("pattern").is_some() || names.get("enum").is_some())
        {
            shape.insert("propertyNames".to_owned(), names);
        }
        shape
    }
}

impl<K: Decode + Ord, V: Decode> Decode for BTreeMap<K, V> {
    fn decode(node: &Node, report: &mut Report) -> Option<Self> {
        let found = report.findings.len();
        let entries = Entries::<K, V>::decode(node, report)?;
        let map: Option<Self> =
            entries.0.into_iter().map(|(key, value)| value.map(|value| (key.into_inner(), value))).collect();
        map.filter(|_| report.findings.len() == found)
    }

    fn schema(schemas: &mut Schemas) -> serde_json::Value {
        Entries::<K, V>::schema(schemas)
    }
}

/// The entries of a map, each key once; whatever is there again is reported and left out.
pub(super) fn keys_of<'n>(node: &'n Node, report: &mut Report, expected: &str) -> Option<Vec<(&'n Node, &'n Node)>> {
    let Value::Map(entries) = &node.value else {
        report.wrong_kind(node, expected);
        return None;
    };
    let mut seen: BTreeMap<&str, &Spot> = BTreeMap::new();
    let mut kept = Vec::new();
    for (key, value) in entries {
        match key.text() {
            None => {
                let message = format!("this key is {}; expected a text", key.what());
                report.error(&key.spot, Code::WrongType, message, "Keys are plain texts.");
            }
            Some(text) => match seen.get(text) {
                Some(first) => {
                    let message = format!("`{text}` is there already, in line {}", first.place.line);
                    report.error(&key.spot, Code::DuplicateKey, message, Code::DuplicateKey.explanation());
                }
                None => {
                    seen.insert(text, &key.spot);
                    kept.push((key, value));
                }
            },
        }
    }
    Some(kept)
}

/// The fields of a shape while it is read.
pub(crate) struct Fields<'n> {
    entries: Vec<(&'n Node, &'n Node)>,
    known: Vec<&'static str>,
    missing: Vec<&'static str>,
    spot: &'n Spot,
    what: &'static str,
    /// Whether a value comes out although something cannot be read.
    keeps: bool,
    partial: bool,
}

impl<'n> Fields<'n> {
    /// The fields of `node`, if it has any.
    pub fn of(node: &'n Node, report: &mut Report, what: &'static str) -> Option<Self> {
        let entries = keys_of(node, report, &format!("{what}: keys with values"))?;
        let (known, missing, spot) = (Vec::new(), Vec::new(), node.named_at());
        Some(Self { entries, known, missing, spot, what, keeps: false, partial: false })
    }

    /// What cannot be read keeps the rest from nothing.
    pub fn keeps_going(&mut self) {
        self.keeps = true;
    }

    fn take(&mut self, key: &'static str) -> Option<&'n Node> {
        self.known.push(key);
        let at = self.entries.iter().position(|(name, _)| name.text() == Some(key))?;
        Some(self.entries.remove(at).1)
    }

    /// A field that must be there.
    pub fn required<T: Decode>(&mut self, key: &'static str, report: &mut Report) -> Option<T> {
        match self.take(key) {
            Some(node) => T::decode(node, report),
            None => {
                self.missing.push(key);
                None
            }
        }
    }

    /// A field that may be left out.
    pub fn optional<T: Decode>(&mut self, key: &'static str, report: &mut Report, default: T) -> Option<T> {
        let Some(node) = self.take(key) else { return Some(default) };
        let found = (report.findings.len(), report.told);
        let value = T::decode(node, report);
        self.partial |= (report.findings.len(), report.told) != found;
        if self.keeps { value.or(Some(default)) } else { value }
    }

    /// Reports what is left, keys nobody knows, and what is missing. False if there is anything to report.
    pub fn finish(mut self, report: &mut Report) -> bool {
        let complete = (self.entries.is_empty() || self.keeps) && self.missing.is_empty();
        if self.keeps && (self.partial || !self.entries.is_empty()) {
            report.partial.push(self.spot.clone());
        }
        for (key, _) in &self.entries {
            let name = key.text().unwrap_or_default();
            if name == "<<" {
                let help = "Write the values out, or use `extends`.";
                report.error(&key.spot, Code::UnknownKey, "merge keys are not read: they hide what is granted", help);
                continue;
            }
            let near = suggest(name, self.known.iter().copied());
            // Whoever misspelt a key has not forgotten it.
            self.missing.retain(|missing| near != Some(*missing));
            let known = || format!("Known here: {}.", self.known.join(", "));
            let help = near.map_or_else(known, |near| format!("Did you mean `{near}`?"));
            report.error(&key.spot, Code::UnknownKey, format!("{} has no `{}`", self.what, shortened(name)), help);
        }
        for key in self.missing {
            let message = format!("{} needs `{key}`", self.what);
            report.error(self.spot, Code::MissingKey, message, format!("Add `{key}: …`."));
        }
        complete
    }
}

/// Hostile text, short enough for a sentence.
pub(crate) fn shortened(text: &str) -> String {
    let mut shown: String = text.chars().take(60).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    shown
}

impl Decode for String {
    /// Numbers are texts too where a text is wanted: a ticket may be 4711. `true` and nothing at all are not.
    fn decode(node: &Node, report: &mut Report) -> Option<Self> {
        match &node.value {
            Value::Scalar(Scalar { text, kind: Kind::Text | Kind::Number }) => Some(text.clone()),
            Value::Scalar(Scalar { text, kind: Kind::Boolean }) => {
                let message = format!("`{text}` is not a text");
                report.error(&node.spot, Code::WrongType, message, format!("Write it in quotes: \"{text}\"."));
                None
            }
            _ => {
                report.wrong_kind(node, "a text");
                None
            }
        }
    }

    fn schema(_: &mut Schemas) -> serde_json::Value {
        json!({ "type": ["string", "number"] })
    }
}

impl Decode for bool {
    fn decode(node: &Node, report: &mut Report) -> Option<Self> {
        match &node.value {
            Value::Scalar(Scalar { text, kind: Kind::Boolean }) => Some(text.eq_ignore_ascii_case("true")),
            Value::Scalar(Scalar { text, kind: Kind::Text }) => {
                let message = format!("`{}` is neither true nor false", shortened(text));
                report.error(&node.spot, Code::WrongType, message, "Write `true` or `false`, without quotes.");
                None
            }
            _ => {
                report.wrong_kind(node, "true or false");
                None
            }
        }
    }

    fn schema(_: &mut Schemas) -> serde_json::Value {
        json!({ "type": "boolean" })
    }
}

/// A whole number in its plain form: what looks like `0o17`, `1_000` or `1e3` is read differently by different people.
pub(crate) fn integer<T: std::str::FromStr>(node: &Node, report: &mut Report) -> Option<T> {
    match &node.value {
        Value::Scalar(Scalar { text, kind: Kind::Number }) => {
            let digits = text.strip_prefix('-').unwrap_or(text);
            let plain = digits == "0" || (!digits.starts_with('0') && digits.bytes().all(|byte| byte.is_ascii_digit()));
            let value = plain.then(|| text.parse().ok()).flatten();
            if value.is_none() {
                let message = format!("`{}` is not a whole number in range", shortened(text));
                report.error(&node.spot, Code::WrongType, message, "Write it with digits only.");
            }
            value
        }
        _ => {
            report.wrong_kind(node, "a whole number");
            None
        }
    }
}

impl Decode for u32 {
    fn decode(node: &Node, report: &mut Report) -> Option<Self> {
        integer(node, report)
    }

    fn schema(_: &mut Schemas) -> serde_json::Value {
        json!({ "type": "integer", "minimum": 0, "maximum": u32::MAX })
    }
}
