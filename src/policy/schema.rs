//! The shapes of policy and request files as JSON Schema, for editors: they complete and underline what is written. Made from
//! the declarations the files are read by.

use serde_json::{Value, json};

use super::document::PolicyFile;
use super::request::RequestFile;
use super::yaml::{Decode, Schemas};

/// What can be described.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Shape {
    /// A file of `policies/`.
    Policy,
    /// A file of `grants/`.
    Request,
}

impl Shape {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Policy, Self::Request];

    /// The name of its file.
    pub const fn file_name(self) -> &'static str {
        match self {
            Self::Policy => "policy.schema.json",
            Self::Request => "request.schema.json",
        }
    }

    /// Draft 7, which is what editors read: <https://json-schema.org/draft-07>.
    pub fn schema(self) -> Value {
        let mut schemas = Schemas::default();
        let (root, title) = match self {
            Self::Policy => (PolicyFile::schema(&mut schemas), "A Daypass policy"),
            Self::Request => (RequestFile::schema(&mut schemas), "A Daypass request"),
        };
        json!({
            "$schema": "http://json-schema.org/draft-07/schema#",
            "title": title,
            "allOf": [root],
            "definitions": schemas.into_definitions(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `UPDATE_DOCS=1 cargo test` writes them anew.
    #[test]
    fn the_published_schemas_are_current() {
        for shape in Shape::ALL {
            let path = format!("{}/docs/schema/{}", env!("CARGO_MANIFEST_DIR"), shape.file_name());
            let text = serde_json::to_string_pretty(&shape.schema()).unwrap() + "\n";
            if std::env::var_os("UPDATE_DOCS").is_some() {
                std::fs::write(&path, &text).unwrap();
            }
            assert_eq!(std::fs::read_to_string(path).unwrap_or_default(), text, "run with UPDATE_DOCS=1");
        }
    }
}
