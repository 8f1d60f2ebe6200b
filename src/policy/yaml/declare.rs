//! Declarations of shapes. One declaration makes the type, its reader and its JSON Schema: what is accepted, what editors offer
//! and what the reference says cannot drift apart.

use serde_json::json;

use super::decode::{Report, did_you_mean, keys_of, shortened};
use super::node::Node;
use crate::policy::Code;

/// Declares a shape: its type, how it is read, and its schema. A field with a default may be left out. With `keeps_going` behind
/// its name a value comes out although a key is unknown or the value of one cannot be read, so that what else is wrong is found.
macro_rules! document {
    (
        $(#[doc = $about:literal])+
        $(#[derive($($derive:ident),+)])?
        $vis:vis struct $name:ident, $what:literal $(, $keeps:ident)? {
            $( $(#[doc = $doc:literal])+ $field:ident $(as $key:literal)?: $type:ty $(= $default:expr)?, )*
        }
    ) => {
        $(#[doc = $about])+
        #[derive(Debug, Clone)]
        $(#[derive($($derive),+)])?
        // Some keys are gone before the shape is read, and are here for the schema.
        #[allow(dead_code)]
        $vis struct $name { $( $(#[doc = $doc])+ pub $field: $type, )* }

        impl $crate::policy::yaml::Decode for $name {
            fn decode(
                node: &$crate::policy::yaml::Node,
                report: &mut $crate::policy::yaml::Report,
            ) -> Option<Self> {
                let mut fields = $crate::policy::yaml::decode::Fields::of(node, report, $what)?;
                $( fields.$keeps(); )?
                $( let $field: Option<$type> = document!(@read fields, report, document!(@key $field $($key)?) $(, $default)?); )*
                let complete = fields.finish(report);
                Some(Self { $($field: $field?,)* }).filter(|_| complete)
            }

            fn schema(schemas: &mut $crate::policy::yaml::Schemas) -> serde_json::Value {
                schemas.named(stringify!($name), |schemas| {
                    let mut properties = serde_json::Map::new();
                    let needs: Vec<Option<&str>> = vec![$( document!(@need document!(@key $field $($key)?) $(, $default)?) ),*];
                    let required: Vec<&str> = needs.into_iter().flatten().collect();
                    $(
                        let shape = <$type as $crate::policy::yaml::Decode>::schema(schemas);
                        let told = $crate::policy::yaml::declare::described(shape, concat!($($doc),+));
                        properties.insert(document!(@key $field $($key)?).to_owned(), told);
                    )*
                    serde_json::json!({
                        "type": "object",
                        "description": concat!($($about),+).trim(),
                        "properties": properties,
                        "required": required,
                        "additionalProperties": false,
                    })
                })
            }
        }
    };
    (@key $field:ident) => { stringify!($field) };
    (@key $field:ident $key:literal) => { $key };
    (@read $fields:ident, $report:ident, $key:expr) => { $fields.required($key, $report) };
    (@read $fields:ident, $report:ident, $key:expr, $default:expr) => { $fields.optional($key, $report, $default) };
    (@need $key:expr) => { Some($key) };
    (@need $key:expr, $default:expr) => { None };
}
pub(crate) use document;

/// A shape with what it is for. Where it is a reference, beside it would be ignored.
pub(crate) fn described(shape: serde_json::Value, about: &str) -> serde_json::Value {
    match shape {
        serde_json::Value::Object(mut shape) if !shape.contains_key("$ref") => {
            shape.insert("description".to_owned(), about.trim().into());
            shape.into()
        }
        reference => json!({ "description": about.trim(), "allOf": [reference] }),
    }
}

/// Values that are written as one of a few words.
macro_rules! one_of_words {
    ($type:ty, $what:literal, { $($word:literal => $value:expr,)+ }) => {
        impl $crate::policy::yaml::Decode for $type {
            fn decode(node: &$crate::policy::yaml::Node, report: &mut $crate::policy::yaml::Report) -> Option<Self> {
                match $crate::policy::yaml::declare::word(node, report, $what, &[$($word),+])? {
                    $($word => Some($value),)+
                    _ => None,
                }
            }

            fn schema(_: &mut $crate::policy::yaml::Schemas) -> serde_json::Value {
                serde_json::json!({ "enum": [$($word),+] })
            }
        }
    };
}
pub(crate) use one_of_words;

/// One of `words`, or an error.
pub(crate) fn word<'n>(node: &'n Node, report: &mut Report, what: &str, words: &[&str]) -> Option<&'n str> {
    let Some(text) = node.text() else {
        report.wrong_kind(node, &format!("{what}: one of {}", words.join(", ")));
        return None;
    };
    if !words.contains(&text) {
        let help = did_you_mean(text, words.iter().copied(), format!("Known: {}.", words.join(", ")));
        report.error(&node.spot, Code::WrongType, format!("`{}` is not {what}", shortened(text)), help);
        return None;
    }
    Some(text)
}

/// A value that is told by the one key it has: `postgres: { … }`.
macro_rules! one_of_keys {
    (
        $(#[doc = $about:literal])+
        $vis:vis enum $name:ident, $what:literal { $( $(#[doc = $doc:literal])+ $variant:ident($type:ty) = $key:literal, )+ }
    ) => {
        $(#[doc = $about])+
        #[derive(Debug, Clone)]
        $vis enum $name { $( $(#[doc = $doc])+ $variant($type), )+ }

        impl $crate::policy::yaml::Decode for $name {
            fn decode(node: &$crate::policy::yaml::Node, report: &mut $crate::policy::yaml::Report) -> Option<Self> {
                let (key, value) = $crate::policy::yaml::declare::only_key(node, report, $what, &[$($key),+])?;
                match key {
                    $($key => <$type as $crate::policy::yaml::Decode>::decode(value, report).map(Self::$variant),)+
                    _ => None,
                }
            }

            fn schema(schemas: &mut $crate::policy::yaml::Schemas) -> serde_json::Value {
                schemas.named(stringify!($name), |schemas| {
                    let mut properties = serde_json::Map::new();
                    $(
                        let shape = <$type as $crate::policy::yaml::Decode>::schema(schemas);
                        properties.insert($key.to_owned(), $crate::policy::yaml::declare::described(shape, concat!($($doc),+)));
                    )+
                    serde_json::json!({
                        "type": "object",
                        "description": concat!($($about),+).trim(),
                        "properties": properties,
                        "additionalProperties": false,
                        "minProperties": 1,
                        "maxProperties": 1,
                    })
                })
            }
        }
    };
}
pub(crate) use one_of_keys;

/// The one key of `node` that is among `known`, with its value, or an error.
pub(crate) fn only_key<'n>(
    node: &'n Node,
    report: &mut Report,
    what: &str,
    known: &[&str],
) -> Option<(&'n str, &'n Node)> {
    let entries = keys_of(node, report, &format!("{what}: one of {}", known.join(", ")))?;
    let [(key, value)] = entries.as_slice() else {
        let message = format!("{what} has exactly one key: {}", known.join(", "));
        report.error(&node.spot, Code::WrongType, message, "Write one entry for each.");
        return None;
    };
    let name = key.text().unwrap_or_default();
    if !known.contains(&name) {
        let help = did_you_mean(name, known.iter().copied(), format!("Known: {}.", known.join(", ")));
        report.error(&key.spot, Code::UnknownKey, format!("`{}` is not {what}", shortened(name)), help);
        return None;
    }
    Some((name, value))
}

/// Types that are read from one text by `FromStr`, with the code of what is wrong with it and the pattern editors check.
macro_rules! decode_from_text {
    ($type:ty, $code:ident, $schema:tt) => {
        impl $crate::policy::yaml::Decode for $type {
            fn decode(node: &$crate::policy::yaml::Node, report: &mut $crate::policy::yaml::Report) -> Option<Self> {
                let text = <String as $crate::policy::yaml::Decode>::decode(node, report)?;
                match text.parse::<$type>() {
                    Ok(value) => Some(value),
                    Err(error) => {
                        let code = $crate::policy::Code::$code;
                        report.error(&node.spot, code, error.to_string(), code.explanation());
                        None
                    }
                }
            }

            fn schema(_: &mut $crate::policy::yaml::Schemas) -> serde_json::Value {
                serde_json::json!($schema)
            }
        }
    };
}
pub(crate) use decode_from_text;
