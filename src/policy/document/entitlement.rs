//! The shapes of entitlements, by kind of target.

use serde_json::json;

use crate::policy::Code;
use crate::policy::kind::{Field, Shape, TargetKind};
use crate::policy::name::TargetName;
use crate::policy::yaml::declare::{described, only_key};
use crate::policy::yaml::decode::Fields;
use crate::policy::yaml::{At, Decode, Node, Report, Schemas, document};

/// What a role gives on one target, told by the one key it has: `postgres: { … }`. Texts may hold `${EXPRESSION}`.
#[derive(Debug, Clone)]
pub(crate) enum EntitlementDoc {
    /// Membership of a team on GitHub.
    Github(GithubDoc),
    /// Membership of a role in PostgreSQL.
    Postgres(PostgresDoc),
    /// An OpenSSH certificate.
    Ssh(SshDoc),
    /// All other kinds.
    Named(NamedDoc),
}

impl Decode for EntitlementDoc {
    fn decode(node: &Node, report: &mut Report) -> Option<Self> {
        let known = TargetKind::ALL.map(TargetKind::as_str);
        let (key, value) = only_key(node, report, "an entitlement", &known)?;
        let kind: TargetKind = key.parse().ok()?;
        match (kind, kind.shape()) {
            (TargetKind::Github, _) => GithubDoc::decode(value, report).map(Self::Github),
            (TargetKind::Postgres, _) => PostgresDoc::decode(value, report).map(Self::Postgres),
            (TargetKind::Ssh, _) => SshDoc::decode(value, report).map(Self::Ssh),
            (kind, Some(shape)) => NamedDoc::decode(kind, shape, value, report).map(Self::Named),
            (_, None) => None,
        }
    }

    fn schema(schemas: &mut Schemas) -> serde_json::Value {
        schemas.named("EntitlementDoc", |schemas| {
            let shape = |kind: TargetKind| {
                let (schema, about) = match (kind, kind.shape()) {
                    (TargetKind::Postgres, _) => (PostgresDoc::schema(schemas), "Membership of a role in PostgreSQL."),
                    (TargetKind::Ssh, _) => (SshDoc::schema(schemas), "An OpenSSH certificate."),
                    (_, Some(shape)) => (NamedDoc::schema(shape, schemas), shape.about),
                    (_, None) => (GithubDoc::schema(schemas), "Membership of a team on GitHub."),
                };
                (kind.as_str().to_owned(), described(schema, about))
            };
            let properties: serde_json::Map<_, _> = TargetKind::ALL.into_iter().map(shape).collect();
            json!({
                "type": "object",
                "description": "What a role gives on one target. Texts may hold `${EXPRESSION}`.",
                "properties": properties,
                "additionalProperties": false,
                "minProperties": 1,
                "maxProperties": 1,
            })
        })
    }
}

/// An entitlement of a kind with a [`Shape`].
#[derive(Debug, Clone)]
pub(crate) struct NamedDoc {
    /// Which kind.
    pub kind: TargetKind,
    /// A target of that kind.
    pub target: At<TargetName>,
    /// Its texts.
    pub fields: Vec<(&'static Field, At<String>)>,
}

impl NamedDoc {
    fn decode(kind: TargetKind, shape: &'static Shape, node: &Node, report: &mut Report) -> Option<Self> {
        let found = report.findings.len();
        let mut fields = Fields::of(node, report, kind.as_entitlement())?;
        let target: Option<At<TargetName>> = fields.required("target", report);
        let mut texts: Vec<(&'static Field, At<String>)> = Vec::new();
        for field in shape.fields {
            let text: Option<At<String>> = match field.required {
                true => fields.required(field.name, report),
                false => fields.optional(field.name, report, None).flatten(),
            };
            texts.extend(text.map(|text| (field, text)));
        }
        let complete = fields.finish(report) && report.findings.len() == found;
        let there = |name: &&str| texts.iter().any(|(field, _)| field.name == *name);
        let chosen: Vec<&str> = shape.one_of.iter().copied().filter(|name| there(name)).collect();
        if complete && !shape.one_of.is_empty() && chosen.len() != 1 {
            let message = format!("{} has one of {}", kind.as_entitlement(), shape.one_of.join(", "));
            let help = if chosen.is_empty() { "Add one of them." } else { "Write one entitlement for each." };
            report.error(node.named_at(), Code::MissingKey, message, help);
            return None;
        }
        Some(Self { kind, target: target?, fields: texts }).filter(|_| complete)
    }

    fn schema(shape: &Shape, schemas: &mut Schemas) -> serde_json::Value {
        let mut properties = serde_json::Map::new();
        properties.insert("target".to_owned(), TargetName::schema(schemas));
        for field in shape.fields {
            let text = described(String::schema(schemas), field.about);
            properties.insert(field.name.to_owned(), text);
        }
        let needed = shape.fields.iter().filter(|field| field.required).map(|field| field.name);
        let required: Vec<&str> = ["target"].into_iter().chain(needed).collect();
        let mut schema = json!({
            "type": "object", "properties": properties, "required": required, "additionalProperties": false,
        });
        let choice: Vec<_> = shape.one_of.iter().map(|name| json!({ "required": [name] })).collect();
        if let Some(schema) = schema.as_object_mut().filter(|_| !choice.is_empty()) {
            schema.insert("oneOf".to_owned(), choice.into());
        }
        schema
    }
}

document! {
    /// Membership of a team on GitHub.
    pub(crate) struct GithubDoc, "a `github` entitlement" {
        /// A target of kind `github`.
        target: At<TargetName>,
        /// The team's slug.
        team: At<String>,
    }
}

document! {
    /// Membership of a role in PostgreSQL, for `people.LOGIN.postgres`.
    pub(crate) struct PostgresDoc, "a `postgres` entitlement" {
        /// A target of kind `postgres`.
        target: At<TargetName>,
        /// The role.
        role: At<String>,
    }
}

document! {
    /// An OpenSSH certificate.
    pub(crate) struct SshDoc, "an `ssh` entitlement" {
        /// A target of kind `ssh`.
        target: At<TargetName>,
        /// The names sshd accepts it for.
        principals: Vec<At<String>>,
    }
}
