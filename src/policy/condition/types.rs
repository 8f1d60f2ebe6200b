//! The types of expressions, in the words people read, and the fields of what an expression can ask.
//!
//! A type is a set of possibilities, because some values have several: a planned start is a timestamp or null. Whatever is not
//! known is [`Types::Any`], and nothing is ever said against it.

use std::collections::{BTreeMap, BTreeSet};

use super::super::Duration;
use super::super::model::{ParamKind, ParamSpec, ParamValue, Risk};
use super::super::name::{ParamName, RoleName};

/// One type of value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Type {
    Null,
    Bool,
    Int,
    Uint,
    Double,
    Text,
    Bytes,
    Duration,
    Timestamp,
    /// What `type()` gives.
    Kind,
    List(Box<Types>),
    /// Keys and values.
    Map(Box<Types>, Box<Types>),
    /// A map of which the keys are known.
    Record(Record),
}

/// The maps of which the keys are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Record {
    Request,
    Subject,
    Role,
    PullRequest,
    Person,
    /// Of a role that is known.
    Params,
}

/// The types a value can have.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Types {
    Any,
    /// One of these. Nothing in it: what the elements of an empty list are.
    OneOf(Vec<Type>),
}

impl From<Type> for Types {
    fn from(one: Type) -> Self {
        Self::OneOf(vec![one])
    }
}

impl Types {
    pub(super) fn list(of: Types) -> Self {
        Type::List(Box::new(of)).into()
    }

    /// The possibilities, if they are known.
    pub(super) fn known(&self) -> Option<&[Type]> {
        match self {
            Self::OneOf(types) if !types.is_empty() => Some(types),
            _ => None,
        }
    }

    pub(super) fn or(self, other: Types) -> Self {
        match (self, other) {
            (Self::OneOf(mut types), Self::OneOf(more)) => {
                types.extend(more);
                types.sort();
                types.dedup();
                // Types grow with the expression only, but nobody needs a list of thirty possibilities.
                if types.len() > 8 { Self::Any } else { Self::OneOf(types) }
            }
            _ => Self::Any,
        }
    }

    /// Whether a value of it can be of a type that `fits`.
    pub(super) fn may(&self, fits: impl Fn(&Type) -> bool) -> bool {
        self.known().is_none_or(|types| types.iter().any(fits))
    }

    /// As people say it: "a duration", "a timestamp or null".
    pub(super) fn words(&self) -> String {
        match self.known() {
            None => "a value".to_owned(),
            Some(types) => types.iter().map(Type::words).collect::<Vec<_>>().join(" or "),
        }
    }
}

impl Type {
    pub(super) const fn words(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool => "true or false",
            Self::Int | Self::Uint => "a number",
            Self::Double => "a number with a fraction",
            Self::Text => "a text",
            Self::Bytes => "bytes",
            Self::Duration => "a duration",
            Self::Timestamp => "a timestamp",
            Self::Kind => "a type",
            Self::List(_) => "a list",
            Self::Map(..) | Self::Record(_) => "a map",
        }
    }

    pub(super) const fn is_number(&self) -> bool {
        matches!(self, Self::Int | Self::Uint | Self::Double)
    }

    pub(super) const fn is_map(&self) -> bool {
        matches!(self, Self::Map(..) | Self::Record(_))
    }

    /// Whether `==` between the two can ever be true.
    pub(super) fn can_equal(&self, other: &Type) -> bool {
        match (self, other) {
            // Two empty lists are equal, whatever they would be lists of.
            (Self::List(_), Self::List(_)) => true,
            _ => (self.is_number() && other.is_number()) || (self.is_map() && other.is_map()) || self == other,
        }
    }
}

/// What is known about the place an expression stands in, beyond the types. Nothing is known by default.
#[derive(Debug, Clone, Copy, Default)]
pub struct Environment<'a> {
    /// The parameters the role declares; `None` where the expression serves several roles.
    pub params: Option<&'a BTreeMap<ParamName, ParamSpec>>,
    /// Parameters that may be there although the role declares none: the expression asks whether they are.
    pub optional_params: Option<&'a BTreeSet<String>>,
    /// The role, if the expression is for this one only. Not for what several roles inherit: what is always true for one of
    /// them would be reported.
    pub role: Option<(&'a RoleName, Risk)>,
    /// The longest a request can be for here; `None` if that is not known.
    pub ceiling: Option<Duration>,
    /// Every role of the policy; empty if unknown.
    pub roles: &'a [String],
    /// Every group of the policy, if they are known.
    pub groups: Option<&'a [String]>,
}

/// The names an expression can begin with.
pub(super) const NAMES: [&str; 7] = ["request", "subject", "role", "now", "pull_request", "params", "person"];

const PERSON: [&str; 4] = ["email", "postgres", "ssh", "other"];

impl Environment<'_> {
    /// The type of a name at the beginning of an expression.
    pub(super) fn name(&self, name: &str) -> Option<Types> {
        Some(match name {
            "request" => Type::Record(Record::Request).into(),
            "subject" => Type::Record(Record::Subject).into(),
            "role" => Type::Record(Record::Role).into(),
            "pull_request" => Type::Record(Record::PullRequest).into(),
            "person" => Type::Record(Record::Person).into(),
            "now" => Type::Timestamp.into(),
            "params" => self.params_type(),
            _ => return None,
        })
    }

    fn params_type(&self) -> Types {
        match self.params {
            Some(_) => Type::Record(Record::Params).into(),
            None => Type::Map(Box::new(Type::Text.into()), Box::new(Types::Any)).into(),
        }
    }

    /// The fields of a record.
    pub(super) fn fields(&self, record: Record) -> Vec<&str> {
        match record {
            Record::Request => {
                vec!["subject", "role", "duration", "reason", "ticket", "start", "break_glass", "params"]
            }
            Record::Subject => ["login", "teams", "groups"].into_iter().chain(PERSON).collect(),
            Record::Role => vec!["name", "risk", "description"],
            Record::PullRequest => vec!["number", "author"],
            Record::Person => PERSON.to_vec(),
            Record::Params => self.params.into_iter().flatten().map(|(name, _)| name.as_str()).collect(),
        }
    }

    /// The type of a field, if there is such a field.
    pub(super) fn field(&self, record: Record, field: &str) -> Option<Types> {
        if record == Record::Params {
            let mut declared = self.params.into_iter().flatten();
            let types = declared.find(|(name, _)| name.as_str() == field).map(|(_, spec)| param_types(spec));
            let optional = || self.optional_params.filter(|params| params.contains(field)).map(|_| Types::Any);
            return types.or_else(optional);
        }
        if !self.fields(record).contains(&field) {
            return None;
        }
        Some(match field {
            "duration" => Type::Duration.into(),
            "start" => Types::OneOf(vec![Type::Null, Type::Timestamp]),
            "break_glass" => Type::Bool.into(),
            "number" => Type::Int.into(),
            "params" => self.params_type(),
            "teams" | "groups" | "ssh" => Types::list(Type::Text.into()),
            "other" => Type::Map(Box::new(Type::Text.into()), Box::new(Type::Text.into())).into(),
            _ => Type::Text.into(),
        })
    }
}

impl Record {
    /// How people write it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Subject => "subject",
            Self::Role => "role",
            Self::PullRequest => "pull_request",
            Self::Person => "person",
            Self::Params => "params",
        }
    }
}

fn param_types(spec: &ParamSpec) -> Types {
    let of = |value: &ParamValue| match value {
        ParamValue::Boolean(_) => Type::Bool,
        ParamValue::Integer(_) => Type::Int,
        ParamValue::String(_) => Type::Text,
    };
    match &spec.kind {
        ParamKind::String => Type::Text.into(),
        ParamKind::Integer => Type::Int.into(),
        ParamKind::Boolean => Type::Bool.into(),
        ParamKind::OneOf(values) => {
            values.iter().map(of).fold(Types::OneOf(Vec::new()), |types, one| types.or(one.into()))
        }
    }
}
