//! An OpenAPI 3.0 description as something to hold exchanges against.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use jsonschema::Validator;
use serde_json::{Value, json};

pub struct Description {
    document: Value,
    /// Every component schema, as JSON Schema.
    schemas: Value,
    validators: RefCell<BTreeMap<String, Rc<Validator>>>,
}

/// Refusals GitHub gives and does not describe at the operation; their bodies are as everywhere.
/// The limits of a check run: <https://docs.github.com/en/rest/checks/runs> ("maximum of 50 annotations per API request").
const UNDESCRIBED: [(&str, &str, u64); 1] = [("post", "/repos/{owner}/{repo}/check-runs", 422)];

struct Operation<'a> {
    template: &'a str,
    method: String,
    description: &'a Value,
}

impl Description {
    pub fn new(document: Value) -> Self {
        let mut schemas = document["components"]["schemas"].clone();
        to_json_schema(&mut schemas);
        Self { document, schemas, validators: RefCell::default() }
    }

    /// What the exchange is, `METHOD template status`, or what is wrong with it.
    pub fn check(&self, exchange: &Value) -> Result<String, Vec<String>> {
        let text = |name: &str| exchange[name].as_str().unwrap_or_default();
        let status = exchange["status"].as_u64().unwrap_or_default();
        let Some(operation) = self.operation(text("method"), text("path")) else {
            // GitHub answers 404 to what it does not know, too.
            return match status {
                404 => Ok("unknown 404".to_owned()),
                _ => Err(vec![format!("GitHub has no {} {}", text("method"), text("path"))]),
            };
        };
        let name = format!("{} {} {status}", operation.method, operation.template);
        let mut problems = self.check_response(&operation, &name, status, &exchange["response_body"]);
        // What was refused need not have been right.
        if status < 400 {
            problems.extend(self.check_request(&operation, &name, exchange));
        }
        if problems.is_empty() { Ok(name) } else { Err(problems) }
    }

    fn operation(&self, method: &str, path: &str) -> Option<Operation<'_>> {
        let method = method.to_ascii_lowercase();
        // The addresses GitHub gives teams lead to a path it does not describe, for something it does.
        let by_id = path.strip_prefix("/organizations/").and_then(|rest| rest.split_once("/team/"));
        let by_id = by_id.map(|(_, team)| format!("/teams/{team}"));
        let path = by_id.as_deref().unwrap_or(path);
        let paths = self.document["paths"].as_object()?;
        let (template, item) = paths
            .iter()
            .filter(|(template, _)| matches(template, path))
            .max_by_key(|(template, _)| literals(template))?;
        item.get(&method).map(|description| Operation { template, method, description })
    }

    fn check_response(&self, operation: &Operation<'_>, name: &str, status: u64, body: &Value) -> Vec<String> {
        let responses = &operation.description["responses"];
        let Some(response) = responses.get(status.to_string()).map(|response| self.resolved(response)) else {
            // Authentication, permissions and absence are described once for the whole API, not at each operation.
            let is_known = UNDESCRIBED.contains(&(&operation.method, operation.template, status));
            return match status {
                401 | 403 | 404 if body["message"].is_string() => Vec::new(),
                422 if is_known => {
                    let schema = json!({ "$ref": "#/components/schemas/validation-error-simple" });
                    self.errors(&format!("{name} response"), &schema, body)
                }
                _ => vec![format!("{name}: GitHub does not answer with this status")],
            };
        };
        match response.pointer("/content/application~1json/schema") {
            Some(schema) => self.errors(&format!("{name} response"), schema, body),
            None if body.is_null() => Vec::new(),
            // Errors have bodies, though not all are described.
            None if status >= 400 && body["message"].is_string() => Vec::new(),
            None => vec![format!("{name}: GitHub answers without a body")],
        }
    }

    fn check_request(&self, operation: &Operation<'_>, name: &str, exchange: &Value) -> Vec<String> {
        let mut problems = Vec::new();
        let known: Vec<&Value> = self.parameters(operation).collect();
        for (parameter, _) in exchange["query"].as_object().into_iter().flatten() {
            let is_known = |known: &&Value| known["in"] == "query" && known["name"] == parameter.as_str();
            if !known.iter().any(is_known) {
                problems.push(format!("{name}: GitHub knows no parameter {parameter}"));
            }
        }
        let body = &exchange["request_body"];
        let schema = operation.description.pointer("/requestBody/content/application~1json/schema");
        match schema {
            Some(schema) if !body.is_null() => problems.extend(self.errors(&format!("{name} request"), schema, body)),
            _ => {}
        }
        problems
    }

    fn parameters<'a>(&'a self, operation: &'a Operation<'_>) -> impl Iterator<Item = &'a Value> {
        operation.description["parameters"].as_array().into_iter().flatten().map(|parameter| self.resolved(parameter))
    }

    fn errors(&self, name: &str, schema: &Value, instance: &Value) -> Vec<String> {
        let known = self.validators.borrow().get(name).cloned();
        let validator = known.unwrap_or_else(|| {
            let mut schema = schema.clone();
            to_json_schema(&mut schema);
            let whole = json!({ "allOf": [schema], "components": { "schemas": self.schemas } });
            let validator = Rc::new(jsonschema::draft7::new(&whole).unwrap());
            self.validators.borrow_mut().insert(name.to_owned(), validator.clone());
            validator
        });
        validator.iter_errors(instance).map(|error| format!("{name}{}: {error:.300}", error.instance_path())).collect()
    }

    fn resolved<'a>(&'a self, value: &'a Value) -> &'a Value {
        let pointer = value["$ref"].as_str().and_then(|reference| reference.strip_prefix('#'));
        pointer.and_then(|pointer| self.document.pointer(pointer)).unwrap_or(value)
    }
}

/// Whether a path is one of the template's. A path, a ref or a range at the end may hold slashes.
fn matches(template: &str, path: &str) -> bool {
    let template: Vec<&str> = template.trim_matches('/').split('/').collect();
    let path: Vec<&str> = path.trim_matches('/').split('/').collect();
    let long = template.last().is_some_and(|last| ["{path}", "{ref}", "{basehead}", "{branch}"].contains(last));
    (template.len() == path.len() || (long && template.len() < path.len()))
        && template.iter().zip(&path).all(|(part, segment)| part.starts_with('{') || part == segment)
}

fn literals(template: &str) -> usize {
    template.split('/').filter(|part| !part.starts_with('{')).count()
}

/// From OpenAPI 3.0's dialect to JSON Schema: `nullable` becomes a type, `oneOf` is taken less literally.
fn to_json_schema(schema: &mut Value) {
    match schema {
        Value::Array(items) => items.iter_mut().for_each(to_json_schema),
        Value::Object(fields) => {
            fields.values_mut().for_each(to_json_schema);
            // GitHub's alternatives overlap: an error fits several of them.
            if let Some(alternatives) = fields.remove("oneOf") {
                fields.entry("anyOf").or_insert(alternatives);
            }
            // A property may be called `nullable`; the keyword is a boolean.
            if fields.get("nullable").and_then(Value::as_bool) == Some(true) {
                fields.remove("nullable");
                let strict = std::mem::take(fields);
                *schema = json!({ "anyOf": [strict, { "type": "null" }] });
            }
        }
        _ => {}
    }
}
