//! What is said about values that are written out, and about types that do not fit: the sentences of the check.

use cel::common::ast::{CallExpr, Expr, LiteralValue};
use cel::{IdedExpr, Value};

use super::super::suggest;
use super::known::{Known, has_capitals};
use super::source::Source;
use super::types::{Type, Types};
use crate::policy::calendar::{self, Calendar};

/// Why an operator does not fit, and what to write instead.
pub(super) fn misfit(operator: &str, left: &Types, right: &Types) -> (String, String) {
    let (one, other) = (left.words(), right.words());
    let message = match operator {
        "_+_" => format!("{other} cannot be added to {one}"),
        "_-_" => format!("{other} cannot be taken from {one}"),
        "_*_" => format!("{one} cannot be multiplied by {other}"),
        "_/_" | "_%_" => format!("{one} cannot be divided by {other}"),
        "_[_]" => format!("{one} has no elements that could be chosen by {other}"),
        "@in" => format!("`in` looks into lists and maps, not into {other}"),
        _ => format!("{one} is compared with {other}"),
    };
    let has = |fits: fn(&Type) -> bool| {
        let is = |types: &Types| types.known().is_some_and(|types| types.iter().any(fits));
        is(left) || is(right)
    };
    let help = if operator == "@in" && has(|given| *given == Type::Text) {
        "Whether a text holds another is asked with `text.contains('…')`."
    } else if operator == "_[_]" {
        "Elements of lists are chosen by number (`person.ssh[0]`), those of maps by name (`person.other['aws']`)."
    } else if has(Type::is_number)
        && (has(|given| *given == Type::Duration)
            || matches!(operator, "_+_" | "_-_") && has(|given| *given == Type::Timestamp))
    {
        "Lengths of time have a unit: `duration('2h')`, `days(2)`."
    } else if has(|given| *given == Type::Duration) && has(|given| *given == Type::Text) {
        "Write a duration: `duration('2h30m')`, `days(2)`."
    } else if has(|given| *given == Type::Timestamp) && has(|given| *given == Type::Duration) {
        "A length of time is compared with another: `request.start - now > days(1)`."
    } else if has(|given| *given == Type::Timestamp) {
        "Write a timestamp: `timestamp('2026-12-01T00:00:00Z')`; or take a part of it: `now.getHours('Europe/Berlin')`."
    } else if has(|given| matches!(given, Type::List(_))) {
        "Ask whether something is in the list (`'sre' in subject.groups`), or for its `size(…)`."
    } else if has(|given| *given == Type::Text) && has(Type::is_number) {
        "Write the number as a text (`'7'`), or convert: `string(7)`, `int('7')`."
    } else if has(|given| *given == Type::Text) && has(|given| *given == Type::Bool) {
        "`true` and `false` are written without quotes."
    } else if has(Type::is_number) {
        "Numbers of different kinds are converted first: `int(…)`, `double(…)`."
    } else {
        ""
    };
    (message, help.to_owned())
}

/// Why a comparison always comes out the same, as the end of a sentence.
pub(super) fn reason(left: (&IdedExpr, &Known), right: (&IdedExpr, &Known), source: &Source<'_>) -> String {
    for (node, known) in [left, right] {
        if matches!(node.expr, Expr::Literal(_) | Expr::List(_)) {
            continue;
        }
        let (text, what) = (source.of(node), words(known));
        if let Some(what) = what {
            return format!(": `{text}` is {what}");
        }
    }
    String::new()
}

fn words(known: &Known) -> Option<String> {
    let list =
        |values: &[Value]| values.iter().take(8).map(value).collect::<Option<Vec<_>>>().map(|all| all.join(", "));
    match known {
        Known::OneOf(values) if values.len() == 1 => list(values),
        Known::OneOf(values) => list(values).map(|all| format!("one of {all}{}", more(values))),
        Known::Elements(values) if values.is_empty() => Some("empty: the policy has no groups".to_owned()),
        Known::Elements(values) if values.len() == 1 => {
            list(values).map(|only| format!("a list with nothing but {only}"))
        }
        Known::Elements(values) => list(values).map(|all| format!("a list of some of {all}{}", more(values))),
        Known::Between(least, most) => Some(format!("between {} and {}", value(least)?, value(most)?)),
        Known::LowerCase => Some("a text without capital letters".to_owned()),
        Known::LowerCaseList => Some("a list of texts without capital letters".to_owned()),
        Known::Length(least, most) => Some(format!("a text of {least} to {most} characters")),
        Known::Nothing => None,
    }
}

fn more(values: &[Value]) -> &'static str {
    if values.len() > 8 { ", …" } else { "" }
}

/// As it is written in an expression; `None` for what is long.
fn value(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(format!("'{text}'")),
        Value::Int(i64::MAX) => Some("any number".to_owned()),
        Value::Int(number) => Some(number.to_string()),
        Value::UInt(number) => Some(number.to_string()),
        Value::Bool(truth) => Some(truth.to_string()),
        Value::Duration(length) => {
            let seconds = u64::try_from(length.num_seconds()).ok()?;
            super::super::Duration::from_seconds(seconds).map(|length| length.to_string())
        }
        _ => None,
    }
}

/// "Did you mean", for a text that is written out and compared with texts it never equals.
pub(super) fn instead(written: &Known, possible: &Known) -> String {
    let texts = |known: &Known| -> Vec<String> {
        let (Known::OneOf(values) | Known::Elements(values)) = known else { return Vec::new() };
        let text = |value: &Value| match value {
            Value::String(text) => Some(text.to_string()),
            _ => None,
        };
        values.iter().filter_map(text).collect()
    };
    let (written, lower_case) = (texts(written), matches!(possible, Known::LowerCase | Known::LowerCaseList));
    let [written] = written.as_slice() else { return String::new() };
    if lower_case && has_capitals(written) {
        return format!("Did you mean `'{}'`?", written.to_ascii_lowercase());
    }
    let possible = texts(possible);
    let near = suggest(written, possible.iter().map(String::as_str)).filter(|near| near != written);
    near.map_or(String::new(), |near| format!("Did you mean `'{near}'`?"))
}

/// What is wrong with arguments that are written out, though their types are right.
pub(super) fn wrong_arguments<'a>(name: &str, call: &'a CallExpr) -> Vec<(&'a IdedExpr, String, String)> {
    let text = |number: usize| match call.args.get(number).map(|arg| (arg, &arg.expr)) {
        Some((arg, Expr::Literal(LiteralValue::String(text)))) => Some((arg, text.inner())),
        _ => None,
    };
    let Some((arg, first)) = text(0) else { return Vec::new() };
    match name {
        "duration" if !is_duration(first) => {
            let message = format!("{first:?} is no duration here");
            let help = "Units are h, m, s and ms: `duration('1h30m')`. Days are written `days(2)`.".to_owned();
            vec![(arg, message, help)]
        }
        "timestamp" if chrono::DateTime::parse_from_rfc3339(first).is_err() => {
            let message = format!("{first:?} is no timestamp");
            vec![(arg, message, "Write it with a time zone: `timestamp('2026-12-01T22:00:00Z')`.".to_owned())]
        }
        "isWorkingHours" => {
            let mut wrong = Vec::new();
            if let Err(problem) = calendar::time_zone(first) {
                wrong.push((arg, problem, zone_help(first)));
            } else if let (Some((from, first_time)), Some((_, last_time))) = (text(1), text(2))
                && let Err(problem) = Calendar::working_hours(first, (first_time, last_time))
            {
                wrong.push((
                    from,
                    problem,
                    "Write it as `now.isWorkingHours('Europe/Berlin', '08:00', '18:00')`.".to_owned(),
                ));
            }
            wrong
        }
        name if name.starts_with("get") && !first.is_empty() && !first.contains(':') => {
            match calendar::time_zone(first) {
                Err(problem) => vec![(arg, problem, zone_help(first))],
                Ok(_) => Vec::new(),
            }
        }
        _ => Vec::new(),
    }
}

fn zone_help(name: &str) -> String {
    match suggest(name, calendar::time_zones()) {
        Some(near) => format!("Did you mean `'{near}'`?"),
        None => "Write the name of a place in the time zone: `'Europe/Berlin'`.".to_owned(),
    }
}

/// Whether all of it is read: the library stops at what it does not know, and takes `2h3` for two hours.
fn is_duration(text: &str) -> bool {
    let text = text.strip_prefix('-').unwrap_or(text);
    if text == "0" {
        return true;
    }
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let number = rest.get(..digits).unwrap_or_default();
        if !number.starts_with(|c: char| c.is_ascii_digit()) || number.parse::<f64>().is_err() {
            return false;
        }
        rest = rest.get(digits..).unwrap_or_default();
        let unit = ["ms", "us", "ns", "h", "m", "s"].into_iter().find(|unit| rest.starts_with(unit));
        let Some(unit) = unit else { return false };
        rest = rest.get(unit.len()..).unwrap_or_default();
    }
    !text.is_empty()
}
