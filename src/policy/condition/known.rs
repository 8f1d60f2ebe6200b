//! What is certain about a value before anybody asks for anything. All of it is meant for the case that the evaluation succeeds:
//! an expression that fails is a no anyway.

use std::cmp::Ordering;

use cel::Value;
use chrono::TimeDelta;

use super::super::Duration;
use super::super::model::{ParamKind, ParamValue, Risk};
use super::super::request::{LONGEST_REASON, LONGEST_TICKET};
use super::types::{Environment, Record};

/// Pairs of values that are compared one by one; beyond that nothing is said.
const MOST_PAIRS: usize = 4_096;

/// What is certain about a value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Known {
    Nothing,
    /// It is one of these; never empty.
    OneOf(Vec<Value>),
    /// It lies between these two, both included.
    Between(Value, Value),
    /// It is a list, and all of its elements are among these.
    Elements(Vec<Value>),
    /// It is a text without capital letters: logins and the slugs of teams have none here.
    LowerCase,
    /// It is a list of such texts.
    LowerCaseList,
    /// It is a text of so many characters, both included.
    Length(usize, usize),
}

impl From<bool> for Known {
    fn from(truth: bool) -> Self {
        Self::OneOf(vec![Value::Bool(truth)])
    }
}

impl From<Option<bool>> for Known {
    fn from(truth: Option<bool>) -> Self {
        truth.map_or(Self::Nothing, Self::from)
    }
}

impl Known {
    fn one_of(values: Vec<Value>) -> Self {
        if values.is_empty() { Self::Nothing } else { Self::OneOf(values) }
    }

    fn text(text: &str) -> Self {
        Self::OneOf(vec![Value::from(text)])
    }

    fn texts(texts: &[String]) -> Self {
        Self::one_of(texts.iter().map(|text| Value::from(text.as_str())).collect())
    }

    /// The truth value, if there is only one it can have.
    pub(super) fn truth(&self) -> Option<bool> {
        match self {
            Self::OneOf(values) => match values.as_slice() {
                [Value::Bool(truth)] => Some(*truth),
                _ => None,
            },
            _ => None,
        }
    }

    /// What is certain about a field.
    pub(super) fn field(environment: &Environment<'_>, record: Record, field: &str) -> Self {
        match (record, field) {
            (Record::Request, "role") | (Record::Role, "name") => match environment.role {
                Some((name, _)) => Self::text(name.as_str()),
                None => Self::texts(environment.roles),
            },
            (Record::Role, "risk") => match environment.role {
                Some((_, risk)) => Self::text(risk.as_str()),
                None => {
                    let risks = [Risk::Low, Risk::Medium, Risk::High, Risk::Critical];
                    Self::one_of(risks.iter().map(|risk| Value::from(risk.as_str())).collect())
                }
            },
            (Record::Request, "duration") => {
                let longest = environment.ceiling.unwrap_or(Duration::MAX);
                Self::Between(Value::Duration(TimeDelta::seconds(1)), Value::Duration(longest.delta()))
            }
            (Record::PullRequest, "number") => Self::Between(Value::Int(0), Value::Int(i64::MAX)),
            (Record::Request, "subject") | (Record::Subject, "login") | (Record::PullRequest, "author") => {
                Self::LowerCase
            }
            (Record::Request, "reason") => Self::Length(1, LONGEST_REASON),
            (Record::Request, "ticket") => Self::Length(0, LONGEST_TICKET),
            (Record::Subject, "teams") => Self::LowerCaseList,
            (Record::Subject, "groups") => environment.groups.map_or(Self::Nothing, |groups| {
                Self::Elements(groups.iter().map(|group| Value::from(group.as_str())).collect())
            }),
            (Record::Params, name) => {
                let spec = environment.params.into_iter().flatten().find(|(known, _)| known.as_str() == name);
                match spec.map(|(_, spec)| &spec.kind) {
                    Some(ParamKind::OneOf(values)) => Self::one_of(values.iter().map(of_param).collect()),
                    _ => Self::Nothing,
                }
            }
            _ => Self::Nothing,
        }
    }

    /// What is certain about an element of it.
    pub(super) fn element(&self) -> Self {
        match self {
            Self::Elements(values) => Self::one_of(values.clone()),
            Self::LowerCaseList => Self::LowerCase,
            Self::OneOf(values) => match values.as_slice() {
                [Value::List(elements)] if elements.len() <= 64 => Self::one_of(elements.to_vec()),
                _ => Self::Nothing,
            },
            _ => Self::Nothing,
        }
    }

    /// Whether it can never be this text.
    fn excludes(&self, value: &Value) -> bool {
        let Value::String(text) = value else { return false };
        match self {
            Self::LowerCase => has_capitals(text),
            Self::Length(least, most) => !(*least..=*most).contains(&text.chars().count()),
            _ => false,
        }
    }

    fn range(&self) -> Option<(Value, Value)> {
        match self {
            Self::Between(least, most) => Some((least.clone(), most.clone())),
            Self::OneOf(values) => {
                let (mut least, mut most) = (values.first()?, values.first()?);
                for value in values {
                    if value.partial_cmp(least)? == Ordering::Less {
                        least = value;
                    }
                    if value.partial_cmp(most)? == Ordering::Greater {
                        most = value;
                    }
                }
                Some((least.clone(), most.clone()))
            }
            _ => None,
        }
    }

    /// Whether a comparison always comes out the same.
    pub(super) fn compare(operator: &str, left: &Self, right: &Self) -> Option<bool> {
        match operator {
            "_!=_" => Self::compare("_==_", left, right).map(|equal| !equal),
            "_>_" => Self::compare("_<_", right, left),
            "_>=_" => Self::compare("_<=_", right, left),
            "_==_" => match (left, right) {
                (Self::OneOf(one), Self::OneOf(other)) => always(one, other, |one, other| Some(one == other)),
                (text @ (Self::LowerCase | Self::Length(..)), Self::OneOf(values))
                | (Self::OneOf(values), text @ (Self::LowerCase | Self::Length(..))) => {
                    values.iter().all(|value| text.excludes(value)).then_some(false)
                }
                _ => apart(left, right).then_some(false),
            },
            "_<_" | "_<=_" => {
                let ((least, most), (other_least, other_most)) = (left.range()?, right.range()?);
                let or_equal = operator == "_<=_";
                let below = |order: Ordering| order == Ordering::Less || (or_equal && order == Ordering::Equal);
                if below(most.partial_cmp(&other_least)?) {
                    Some(true)
                } else if !below(least.partial_cmp(&other_most)?) {
                    Some(false)
                } else {
                    None
                }
            }
            "@in" => match (left, right) {
                (Self::OneOf(one), Self::OneOf(lists)) => always(one, lists, |one, list| match list {
                    Value::List(elements) => Some(elements.contains(one)),
                    _ => None,
                }),
                (text @ (Self::LowerCase | Self::Length(..)), Self::OneOf(lists)) => {
                    let none = |list: &Value| match list {
                        Value::List(elements) => elements.iter().all(|element| text.excludes(element)),
                        _ => false,
                    };
                    lists.iter().all(none).then_some(false)
                }
                (Self::OneOf(one), Self::LowerCaseList) => {
                    one.iter().all(|value| Self::LowerCase.excludes(value)).then_some(false)
                }
                (Self::OneOf(one), Self::Elements(elements)) => {
                    (!one.iter().any(|value| elements.contains(value))).then_some(false)
                }
                _ => None,
            },
            _ => None,
        }
    }
}

/// Whether no text without capital letters holds this one.
pub(super) fn has_capitals(text: &str) -> bool {
    text.bytes().any(|byte| byte.is_ascii_uppercase())
}

fn apart(left: &Known, right: &Known) -> bool {
    let (Some((least, most)), Some((other_least, other_most))) = (left.range(), right.range()) else { return false };
    most.partial_cmp(&other_least) == Some(Ordering::Less) || other_most.partial_cmp(&least) == Some(Ordering::Less)
}

fn always(one: &[Value], other: &[Value], test: impl Fn(&Value, &Value) -> Option<bool>) -> Option<bool> {
    if one.len().saturating_mul(other.len()) > MOST_PAIRS {
        return None;
    }
    let mut answer = None;
    for left in one {
        for right in other {
            let this = test(left, right)?;
            if answer.is_some_and(|answer| answer != this) {
                return None;
            }
            answer = Some(this);
        }
    }
    answer
}

fn of_param(value: &ParamValue) -> Value {
    match value {
        ParamValue::Boolean(value) => Value::Bool(*value),
        ParamValue::Integer(value) => Value::Int(*value),
        ParamValue::String(value) => Value::from(value.as_str()),
    }
}
