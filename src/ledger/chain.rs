//! The chain: each line of the ledger carries the hash of the one before it.
//!
//! Lines are canonical JSON (RFC 8785), so that a line has one form and its hash can be computed again by anybody.

use chrono::Datelike;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::event::Event;

/// The largest number an event can have: larger ones are not exact in JSON.
const LARGEST_SEQ: u64 = (1 << 53) - 1;

/// The longest line that is read, in bytes: far more than any event has.
pub const LONGEST_LINE: usize = 1 << 20;

/// The last line of a chain: what the next one has to follow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Its number; 0 before the first.
    pub seq: u64,
    /// Its hash; zeros before the first.
    pub hash: String,
}

impl Default for Link {
    fn default() -> Self {
        Self { seq: 0, hash: "0".repeat(64) }
    }
}

/// An event with its place in the chain.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Its number, from 1.
    pub seq: u64,
    /// The hash of the one before it.
    pub prev: String,
    /// Its own hash.
    pub hash: String,
    /// What happened.
    pub event: Event,
}

/// What is wrong with a line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LineError {
    /// It is no JSON object.
    #[error("it is no JSON object ({0})")]
    Json(String),
    /// It lacks what every line has, or is of a kind or version this program does not know.
    #[error("it is no event this version knows ({0})")]
    Shape(String),
    /// It is not in canonical form: it was written by something else than Daypass.
    #[error("it is not in canonical form, so Daypass did not write it")]
    Form,
    /// Its content and its hash do not fit.
    #[error("its content does not fit its hash: it was edited")]
    Hash,
    /// It is too long.
    #[error("it is longer than {LONGEST_LINE} bytes")]
    TooLong,
    /// The whole file is something else than a plain file.
    #[error("the file is a link, a program or a folder, and not read: Daypass writes plain files")]
    Mode,
}

/// A value in canonical form.
pub fn canonical(value: &Value) -> String {
    // Values of JSON have no failing serialisers, and no number that is not finite.
    serde_json_canonicalizer::to_string(value).unwrap_or_default()
}

/// The line that follows `last` and holds the event `body`, and what the next one has to follow.
pub fn link(last: &Link, body: &Value) -> (String, Link) {
    let mut object = body.as_object().cloned().unwrap_or_default();
    object.insert("seq".to_owned(), (last.seq + 1).into());
    object.insert("prev".to_owned(), last.hash.clone().into());
    object.remove("hash");
    object.entry("v").or_insert(1.into());
    let hash = digest(&object);
    object.insert("hash".to_owned(), hash.clone().into());
    (canonical(&Value::Object(object)), Link { seq: last.seq + 1, hash })
}

fn digest(without_hash: &Map<String, Value>) -> String {
    hex::encode(Sha256::digest(canonical(&Value::Object(without_hash.clone()))))
}

impl Entry {
    /// Reads a line. What it claims to follow is not looked at: see [`Entry::follows`].
    pub fn read(line: &[u8]) -> Result<Self, LineError> {
        let (entry, fault) = Self::read_anyway(line)?;
        fault.map_or(Ok(entry), Err)
    }

    /// The same, and if it can be read although its form or its hash is wrong, what is wrong besides.
    pub fn read_anyway(line: &[u8]) -> Result<(Self, Option<LineError>), LineError> {
        if line.len() > LONGEST_LINE {
            return Err(LineError::TooLong);
        }
        let value: Value = serde_json::from_slice(line).map_err(|error| LineError::Json(error.to_string()))?;
        let form = canonical(&value).as_bytes() == line;
        let Value::Object(mut object) = value else { return Err(LineError::Json("another kind of value".to_owned())) };
        let missing = |name: &str| LineError::Shape(format!("`{name}` is missing"));
        let text = |object: &mut Map<String, Value>, name: &str| match object.remove(name) {
            Some(Value::String(text)) => Ok(text),
            _ => Err(missing(name)),
        };
        let hash = text(&mut object, "hash")?;
        let right = digest(&object) == hash;
        let seq = object.remove("seq").and_then(|seq| seq.as_u64()).ok_or_else(|| missing("seq"))?;
        let prev = text(&mut object, "prev")?;
        if seq > LARGEST_SEQ {
            return Err(LineError::Shape("`seq` is larger than any number of events".to_owned()));
        }
        let event: Event =
            serde_json::from_value(Value::Object(object)).map_err(|error| LineError::Shape(error.to_string()))?;
        // RFC 3339 has no others, and times far away cannot be counted with.
        if !(0..=9999).contains(&event.at.year()) {
            return Err(LineError::Shape("`at` is not in the years 0 to 9999".to_owned()));
        }
        let fault = match (right, form) {
            (false, _) => Some(LineError::Hash),
            (true, false) => Some(LineError::Form),
            (true, true) => None,
        };
        Ok((Self { seq, prev, hash, event }, fault))
    }

    /// Whether it comes right after `last`.
    pub fn follows(&self, last: &Link) -> bool {
        self.seq == last.seq + 1 && self.prev == last.hash
    }

    /// What the next one has to follow.
    pub fn link(&self) -> Link {
        Link { seq: self.seq, hash: self.hash.clone() }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn body(reason: &str) -> Value {
        json!({ "v": 1, "id": "acme/access/x#1/ended/expired", "at": "2026-11-30T12:00:00Z", "repository": "acme/access",
            "kind": "ended", "details": { "grant": "x#1", "reason": reason } })
    }

    #[test]
    fn a_line_is_the_same_for_ever() {
        let (line, next) = link(&Link::default(), &body("expired"));
        insta::assert_snapshot!(line);
        let entry = Entry::read(line.as_bytes()).unwrap();
        assert!(entry.follows(&Link::default()) && entry.link() == next);
    }

    #[test]
    fn an_edited_line_does_not_fit_its_hash() {
        let (line, _) = link(&Link::default(), &body("expired"));
        assert_eq!(Entry::read(line.replace("expired\"", "revoked\"").as_bytes()), Err(LineError::Hash));
    }

    #[test]
    fn numbers_and_times_nobody_can_count_with_are_refused() {
        for at in ["+262142-12-31T23:59:59Z", "-262143-01-01T00:00:00Z", "+10000-01-01T00:00:00Z"] {
            let mut body = body("expired");
            body["at"] = json!(at);
            let (line, _) = link(&Link::default(), &body);
            assert!(matches!(Entry::read(line.as_bytes()), Err(LineError::Shape(_))), "{at}");
        }
        let far = Link { seq: LARGEST_SEQ, ..Link::default() };
        assert!(matches!(Entry::read(link(&far, &body("expired")).0.as_bytes()), Err(LineError::Shape(_))));
    }

    #[test]
    fn the_same_said_in_another_form_is_not_ours() {
        let (line, _) = link(&Link::default(), &body("expired"));
        assert_eq!(Entry::read(line.replace(",\"details\"", ", \"details\"").as_bytes()), Err(LineError::Form));
        let doubled = line.replace("\"seq\":1", "\"seq\":1,\"seq\":1");
        assert_eq!(Entry::read(doubled.as_bytes()), Err(LineError::Form));
    }

    proptest! {
        #[test]
        fn any_text_may_be_in_an_event_and_any_change_of_a_byte_is_noticed(
            reason in "\\PC{0,40}", at in any::<prop::sample::Index>(), flip in 1_u8..=255
        ) {
            let (line, _) = link(&Link::default(), &body(&reason));
            let entry = Entry::read(line.as_bytes()).unwrap();
            prop_assert_eq!(entry.event.details["reason"].as_str(), Some(reason.as_str()));
            prop_assert!(!line.contains('\n'));
            let mut bytes = line.into_bytes();
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
            prop_assert!(Entry::read(&bytes).is_err());
        }

        #[test]
        fn bytes_of_any_kind_are_refused_and_nothing_worse(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(Entry::read(&bytes).is_err());
        }
    }
}
