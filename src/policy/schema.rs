//! The shapes of policy and request files as JSON Schema, for editors: they complete and underline what is written. Made from
//! the declarations the files are read by.

use serde_json::{Value, json};

use super::document::PolicyFile;
use super::request::{LONGEST_REASON, LONGEST_TICKET, MOST_PARAMS, RequestFile, sentence};
use super::resolve::approvals::MOST_REQUIRED;
use super::resolve::roles::MOST_AT_ONCE;
use super::resolve::tests::LONGEST_NAME;
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
        // One or the other is needed.
        schemas.change("ParamDoc", |shape| {
            shape.insert("oneOf".to_owned(), json!([{ "required": ["type"] }, { "required": ["one_of"] }]));
        });
        // Who approves is said in one way, and how many of them beside it.
        schemas.change("StageDoc", |shape| {
            let ways = ["approvers", "all_of", "any_of"].map(|key| json!({ "required": [key] }));
            shape.insert("oneOf".to_owned(), json!(ways));
            shape.insert("dependencies".to_owned(), json!({ "required": ["approvers"] }));
        });
        let mut demand = |name: &str, key: &str, what: &str, value: Value| {
            schemas.change(name, |shape| {
                if let Some(property) = shape.get_mut("properties").and_then(|keys| keys.get_mut(key)) {
                    property[what] = value;
                }
            });
        };
        demand("ParamDoc", "one_of", "minItems", 1.into());
        demand("SshDoc", "principals", "minItems", 1.into());
        for (name, key) in [
            ("StageDoc", "approvers"),
            ("StageDoc", "all_of"),
            ("StageDoc", "any_of"),
            ("PartDoc", "approvers"),
            ("EscalationDoc", "to"),
            ("CalendarDoc", "days"),
        ] {
            demand(name, key, "minItems", 1.into());
        }
        for (name, key, most) in [
            ("StageDoc", "required", MOST_REQUIRED),
            ("PartDoc", "required", MOST_REQUIRED),
            ("StageDoc", "ask", u32::MAX),
            ("RoleDoc", "limit", MOST_AT_ONCE),
        ] {
            demand(name, key, "minimum", 1.into());
            demand(name, key, "maximum", most.into());
        }
        demand("CalendarDoc", "hours", "pattern", HOURS.into());
        demand("RequestFile", "params", "maxProperties", MOST_PARAMS.into());
        demand("PolicyTest", "name", "pattern", sentence(LONGEST_NAME).into());
        demand("TestRequest", "reason", "pattern", sentence(LONGEST_REASON).into());
        demand("TestRequest", "ticket", "pattern", sentence(LONGEST_TICKET).into());
        for name in ["SettingsDoc", "RoleDoc", "ApprovalDoc"] {
            let reason = json!({ "type": ["string", "number"], "pattern": r"\S" });
            demand(name, "allow", "additionalProperties", reason);
        }
        let mut definitions = schemas.into_definitions();
        for name in FROM_TABLES {
            if let Some(shape) = definitions.get_mut(name) {
                or_from_a_row(shape);
            }
        }
        let mut schema = json!({
            "$schema": "http://json-schema.org/draft-07/schema#",
            "title": title,
            "allOf": [root],
            "definitions": definitions,
        });
        // The names of what is made from tables hold a column.
        for section in ["targets", "templates", "roles", "approvals"] {
            if let Some(names) =
                schema.pointer_mut(&format!("/definitions/PolicyFile/properties/{section}/propertyNames"))
            {
                *names = json!({ "anyOf": [names.clone(), from_a_row()] });
            }
        }
        schema
    }
}

/// From one time of day to another; that the second is later, no pattern says.
const HOURS: &str = r"^\s*([01][0-9]|2[0-3]):[0-5][0-9]\s*-\s*(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)\s*$";

/// The shapes in which `${each.COLUMN}` can stand for any value.
const FROM_TABLES: [&str; 14] = [
    "RoleDoc",
    "ConditionDoc",
    "BreakGlassDoc",
    "ParamDoc",
    "EntitlementDoc",
    "GithubDoc",
    "PostgresDoc",
    "SshDoc",
    "ApprovalDoc",
    "StageDoc",
    "PartDoc",
    "MachinesDoc",
    "EscalationDoc",
    "TargetMap",
];

fn from_a_row() -> Value {
    json!({ "type": "string", "pattern": r"\$\{each\." })
}

/// Lets every single value be taken from a row of a table.
fn or_from_a_row(shape: &mut Value) {
    let Value::Object(keys) = shape else { return };
    let single = |kind: &Value| kind.as_str().is_none_or(|kind| !matches!(kind, "object" | "array"));
    let any_text = keys.get("type").is_some_and(|kind| {
        let texts =
            kind.as_str() == Some("string") || kind.as_array().is_some_and(|kinds| kinds.contains(&json!("string")));
        texts && !keys.contains_key("pattern")
    });
    let is_value = keys.contains_key("enum") || keys.get("type").is_some_and(single);
    if is_value && !any_text {
        let description = keys.remove("description");
        let mut either = json!({ "anyOf": [shape.take(), from_a_row()] });
        description.into_iter().for_each(|description| either["description"] = description);
        *shape = either;
        return;
    }
    for key in ["items", "additionalProperties"] {
        keys.get_mut(key).into_iter().for_each(or_from_a_row);
    }
    for key in ["properties", "anyOf"] {
        match keys.get_mut(key) {
            Some(Value::Object(parts)) => parts.values_mut().for_each(or_from_a_row),
            Some(Value::Array(parts)) => parts.iter_mut().for_each(or_from_a_row),
            _ => {}
        }
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
