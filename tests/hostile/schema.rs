//! What editors underline and what `daypass validate` says are the same, as far as a schema can say it.

use std::collections::BTreeMap;
use std::path::Path;

use daypass::policy::schema::Shape;
use daypass::policy::{self, Code, Severity};
use jsonschema::Validator;
use serde_json::Value;
use serde_yaml::options::{DuplicateKeyPolicy, MergeKeyPolicy};

use crate::{expected, folder};

/// What is wrong with the shape of a file: a schema can see it.
const OF_SHAPE: [Code; 10] = [
    Code::UnknownKey,
    Code::MissingKey,
    Code::WrongType,
    Code::BadName,
    Code::BadDuration,
    Code::BadTime,
    Code::BadText,
    Code::UnknownVersion,
    Code::BadTable,
    Code::BadLimit,
];

/// Where a schema sees less, and why.
const BLIND: [(&str, &str); 23] = [
    ("grants/reason-braille-blank", "that a blank of Braille shows nothing is known to no pattern"),
    ("grants/duration-overflow", "how long a duration is takes reckoning"),
    ("grants/duration-sum-overflow", "the same"),
    ("grants/duration-too-long", "the same"),
    ("grants/duration-zero", "the same"),
    ("policies/duration-overflow", "the same"),
    ("policies/duration-zero", "the same"),
    ("policies/cool-down-of-no-length", "the same"),
    ("policies/cool-down-overflow", "the same"),
    ("policies/escalate-after-nothing", "the same"),
    ("policies/machines-for-no-time", "the same"),
    ("grants/duration-spaces", "blanks alone have the form of no unit at all"),
    ("grants/tag-binary", "editors decode what we read as it is written"),
    ("policies/role-without-approval", "it may be inherited"),
    ("policies/stage-requires-hexadecimal", "to an editor it is the number itself"),
    ("policies/limit-octal", "the same"),
    ("policies/version-float", "the same"),
    ("policies/version-octal", "the same"),
    ("policies/table-column-missing", "whether there is a column takes looking elsewhere"),
    ("policies/table-name-without-a-column", "the same"),
    ("policies/table-row-makes-a-malformed-name", "the same"),
    ("policies/table-unknown", "the same"),
    ("policies/table-value-in-a-template", "what is made from a table takes looking elsewhere"),
];

fn validator(shape: Shape) -> Validator {
    jsonschema::draft7::options().should_validate_formats(true).build(&shape.schema()).unwrap()
}

/// The file as an editor sees it; `None` if it is no YAML to it, either.
fn as_json(bytes: &[u8]) -> Option<Value> {
    let options = serde_yaml::options! {
        strict_booleans: true,
        duplicate_keys: DuplicateKeyPolicy::LastWins,
        merge_keys: MergeKeyPolicy::AsOrdinary,
    };
    serde_yaml::from_str_with_options(std::str::from_utf8(bytes).ok()?, options).ok()
}

fn errors(path: &str, bytes: &[u8]) -> Vec<Code> {
    let findings = match path.starts_with("grants/") {
        true => policy::request::read(path, bytes, None).err().unwrap_or_default(),
        false => policy::load(&BTreeMap::from([(path.to_owned(), bytes.to_vec())]), None).findings,
    };
    findings.iter().filter(|finding| finding.severity == Severity::Error).map(|finding| finding.code).collect()
}

fn files() -> BTreeMap<String, Vec<u8>> {
    let corpus = expected().into_iter().map(|(path, _)| (path.clone(), std::fs::read(folder().join(path)).unwrap()));
    let mut files: BTreeMap<String, Vec<u8>> = corpus.collect();
    let starter = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies");
    for name in ["settings", "people", "targets", "approvals"] {
        let path = starter.join(format!("{name}.yaml"));
        files.extend(std::fs::read(path).ok().map(|bytes| (format!("policies/{name}.yaml"), bytes)));
    }
    files
}

/// What the two disagree about, if they do.
fn disagreement(schema: &Validator, path: &str, bytes: &[u8], json: &Value) -> Option<String> {
    let codes = errors(path, bytes);
    let of_shape = codes.iter().find(|code| OF_SHAPE.contains(code));
    match (schema.iter_errors(json).next(), of_shape) {
        (Some(error), None) if codes.is_empty() => {
            let error = format!("{}: {error}", error.instance_path());
            Some(format!("the schema is stricter: {}", error.chars().take(200).collect::<String>()))
        }
        (None, Some(code)) => Some(format!("the schema is laxer: {code} is not underlined")),
        _ => None,
    }
}

#[test]
fn the_schemas_and_the_reader_agree_on_every_file() {
    let (policies, requests) = (validator(Shape::Policy), validator(Shape::Request));
    let mut wrong = Vec::new();
    let mut compared = 0;
    for (path, bytes) in files() {
        let Some(json) = as_json(&bytes) else { continue };
        compared += 1;
        let schema = if path.starts_with("grants/") { &requests } else { &policies };
        let blind = BLIND.iter().any(|(name, _)| path.starts_with(name));
        match disagreement(schema, &path, &bytes, &json) {
            Some(said) if !blind => wrong.push(format!("{path}: {said}")),
            None if blind => wrong.push(format!("{path}: the schema is not blind here")),
            _ => {}
        }
    }
    assert!(compared > 300, "{compared}");
    assert!(wrong.is_empty(), "{} of {compared}:\n{}", wrong.len(), wrong.join("\n"));
}

/// A policy and a request that are in order and use every kind of value.
const POLICY: &str = "
version: 1
settings: { merge: auto, merge_method: squash, max_duration: 12h, revert_lead: 10m, pending_timeout: 7d, policy_approval: owner,
  role_defaults: base, allow: { DP0605: Meant to be so } }
people: { alice: { email: alice@example.com, postgres: alice, ssh: [alice, deploy], aws: alice } }
groups: { dba: [user:carol, team:dba, app:renovate] }
calendars: { office: { time_zone: Europe/Berlin, days: [mon, fri], hours: '08:00-16:30', holidays: ['2026-12-25'] } }
targets: { db: postgres, gh: github, servers: ssh }
templates: { base: { risk: high } }
approvals:
  owner:
    stages:
      - { name: owner, when: request.break_glass, approvers: [group:dba], required: 1, escalate: { after: 30m, to: [everyone] } }
      - { name: both, ask: 3, all_of: [{ approvers: [team:a] }, { approvers: [team:b], required: 2 }],
          escalate: [{ after: 1h, calendar: office, to: [team:c] }, { after: 2h, to: [team:d] }] }
      - { name: either, any_of: [{ approvers: [team:a] }, { approvers: [team:b] }] }
    distinct: true
    cool_down: 4h
roles:
  reader:
    description: Reads
    requesters: [team:engineering]
    may_request_for: [user:lea]
    max_duration: 4h
    limit: 2
    machines: { max_duration: 30m, sponsors: [team:leads] }
    requires: [ticket, start]
    conditions: [{ expr: request.ticket != 'x', message: Another }]
    approval: owner
    break_glass: { requesters: [team:sre], max_duration: 1h, review_within: 24h }
    params: { size: { type: integer, default: 1, description: How many }, shard: { one_of: [1, eu, true] } }
    entitlements:
      - postgres: { target: db, role: 'r${params.size}${params.shard}' }
      - github: { target: gh, team: sre }
      - ssh: { target: servers, principals: [root, '${person.ssh}'] }
    allow: { DP0607: Meant to be so }
tests:
  - name: one
    request: { subject: alice, author: lea, role: reader, duration: 1h, reason: x, ticket: T-1, start: '2026-12-01T22:00:00Z',
      break_glass: false, params: { size: 1, shard: eu } }
    given: { teams: { sre: [alice] }, members: [alice], approved_by: ['app:renovate'], now: '2026-11-30T10:00:00Z', elapsed: 1h,
      active_grants: 1, denied_at: ['2026-11-29T10:00:00Z'] }
    expect: { valid: true, stages: [owner], approved: false, findings: [DP0401], approvers: [carol], entitlements: [],
      expires: '2026-12-01T23:00:00Z' }
";
const REQUEST: &str = "
{ subject: alice, role: reader, duration: 1h, reason: Checkouts hang, ticket: INC-1, start: '2026-12-01T22:00:00Z', break_glass: true,
  params: { size: 1, shard: eu } }
";

/// Where nothing is made from a table, this is no column; a schema cannot tell.
const FROM_A_ROW: &str = "${each.x}";

/// Every place in a document, as JSON pointers.
fn places(json: &Value, at: String, found: &mut Vec<String>) {
    found.push(at.clone());
    match json {
        Value::Object(keys) => {
            keys.iter().for_each(|(key, value)| places(value, format!("{at}/{}", key.replace('/', "~1")), found));
        }
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(index, item)| places(item, format!("{at}/{index}"), found));
        }
        _ => {}
    }
}

/// Each value of a document in order is replaced by values of every kind, left out, and given another name.
#[test]
fn the_schemas_and_the_reader_agree_on_every_value_and_key() {
    use serde_json::json;
    let values = [
        json!(null),
        json!(true),
        json!(1),
        json!(-3),
        json!(1.5),
        json!(""),
        json!("A b"),
        json!("2h"),
        json!("user:bob"),
        json!("a@example.com"),
        json!([]),
        json!([1]),
        json!({}),
        json!("DP0605"),
        json!("2026-12-01T22:00:00Z"),
        json!("low"),
        json!(FROM_A_ROW),
        json!("a\u{7}"),
    ];
    let mut wrong = Vec::new();
    let mut compared = 0;
    for (shape, path, text) in [(Shape::Policy, "policies/x.yaml", POLICY), (Shape::Request, "grants/x.yaml", REQUEST)]
    {
        let (schema, document) = (validator(shape), as_json(text.as_bytes()).unwrap());
        assert_eq!(errors(path, text.as_bytes()), [], "it is in order");
        assert_eq!(disagreement(&schema, path, text.as_bytes(), &document), None);
        let mut all = Vec::new();
        places(&document, String::new(), &mut all);
        let mut compare = |json: Value, what: String, may_be_laxer: bool| {
            compared += 1;
            // What a role lacks it may inherit.
            let may_be_laxer = may_be_laxer || what.starts_with("/roles/reader = ");
            let said = disagreement(&schema, path, json.to_string().as_bytes(), &json);
            if let Some(said) = said.filter(|said| !may_be_laxer || said.contains("stricter")) {
                wrong.push(format!("{what}: {said}"));
            }
        };
        for place in all {
            for value in &values {
                let mut changed = document.clone();
                *changed.pointer_mut(&place).unwrap() = value.clone();
                compare(changed, format!("{place} = {value}"), *value == FROM_A_ROW);
            }
            let Some((parent, name)) = place.rsplit_once('/') else { continue };
            for other in [None, Some("x"), Some("A b"), Some(""), Some("1")] {
                let mut changed = document.clone();
                let Some(Value::Object(keys)) = changed.pointer_mut(parent) else { continue };
                let value = keys.remove(name).unwrap();
                other.into_iter().for_each(|other| drop(keys.insert(other.to_owned(), value.clone())));
                compare(changed, format!("{place} called {other:?}"), place.starts_with("/roles/reader"));
            }
        }
    }
    assert!(compared > 2_500, "{compared}");
    assert!(wrong.is_empty(), "{} of {compared}:\n{}", wrong.len(), wrong.join("\n"));
}

/// What a stage may look like: what `validate` calls a mistake of its shape, editors underline.
#[test]
fn the_schema_knows_how_a_stage_is_written() {
    let schema = validator(Shape::Policy);
    let of = |stage: &str| {
        let text = format!(
            "targets: {{ db: postgres }}\napprovals:\n  owner:\n    stages:\n      - {{ name: owner, {stage} }}\nroles:\n  reader:\n    \
             requesters: [team:x]\n    approval: owner\n    entitlements: [{{ postgres: {{ target: db, role: r }} }}]\n"
        );
        let right = !errors("policies/x.yaml", text.as_bytes()).contains(&Code::BadStage);
        (right, schema.is_valid(&as_json(text.as_bytes()).unwrap()))
    };
    for (stage, right) in [
        ("approvers: [team:a]", true),
        ("approvers: [team:a], required: 20", true),
        ("all_of: [{ approvers: [team:a] }]", true),
        ("any_of: [{ approvers: [team:a], required: 2 }]", true),
        ("approvers: [team:a], ask: 1", true),
        ("required: 1", false),
        ("approvers: []", false),
        ("approvers: [team:a], required: 0", false),
        ("approvers: [team:a], required: 21", false),
        ("approvers: [team:a], ask: 0", false),
        ("approvers: [team:a], all_of: [{ approvers: [team:a] }]", false),
        ("any_of: [{ approvers: [team:a] }], all_of: [{ approvers: [team:a] }]", false),
        ("all_of: [{ approvers: [team:a] }], required: 1", false),
        ("all_of: []", false),
        ("any_of: []", false),
        ("all_of: [{ approvers: [] }]", false),
        ("any_of: [{ approvers: [team:a], required: 0 }]", false),
        ("approvers: [team:a], escalate: { after: 1h, to: [] }", false),
    ] {
        assert_eq!(of(stage), (right, right), "{stage}");
    }
}
