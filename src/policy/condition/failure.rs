//! Why an evaluation failed, in words that whoever wrote or asked understands. The values are left out: they may be long, and
//! somebody else's.

use cel::{ExecutionError, Value};

use super::eval::{ANY_PATTERN, PATTERN};

/// What kind of value it is.
pub(super) fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::List(_) => "a list",
        Value::Map(_) | Value::Struct(_) => "a map",
        Value::Int(_) | Value::UInt(_) => "a number",
        Value::Float(_) => "a number with a fraction",
        Value::String(_) => "a text",
        Value::Bytes(_) => "bytes",
        Value::Bool(_) => "true or false",
        Value::Duration(_) => "a duration",
        Value::Timestamp(_) => "a timestamp",
        Value::Null => "null",
        Value::Function(..) | Value::Opaque(_) => "a value of another kind",
    }
}

/// The same for the names the library has for types.
fn kind_called(name: &str) -> &'static str {
    match name {
        "list" => "a list",
        "map" => "a map",
        "int" | "uint" => "a number",
        "double" => "a number with a fraction",
        "string" => "a text",
        "bytes" => "bytes",
        "bool" => "true or false",
        "duration" | "google.protobuf.Duration" => "a duration",
        "timestamp" | "google.protobuf.Timestamp" => "a timestamp",
        "null" | "null_type" => "null",
        _ => "a value of another kind",
    }
}

/// The error as the end of a sentence.
pub(super) fn in_words(error: &ExecutionError) -> String {
    match error {
        ExecutionError::NoSuchKey(key) => format!("there is no `{key}`"),
        ExecutionError::UndeclaredReference(name) => format!("there is nothing called `{name}`"),
        ExecutionError::NoSuchOverload(call) => {
            let given: Vec<&str> = call.argument_types().iter().map(|name| kind_called(name)).collect();
            let given = if given.is_empty() { "nothing".to_owned() } else { given.join(" and ") };
            format!("`{}` does not go with {given}", written(call.function()))
        }
        ExecutionError::ValuesNotComparable(one, other) => {
            format!("{} cannot be compared with {}", kind_of(one), kind_of(other))
        }
        ExecutionError::UnsupportedBinaryOperator(operator, one, other) => {
            format!("`{}` does not go with {} and {}", written(operator), kind_of(one), kind_of(other))
        }
        ExecutionError::UnsupportedIndex(index, of) => {
            format!("{} has no elements that could be chosen by {}", kind_of(of), kind_of(index))
        }
        ExecutionError::IndexOutOfBounds(Value::Int(index)) => format!("the list has no element {index}"),
        ExecutionError::IndexOutOfBounds(_) => "the list has no such element".to_owned(),
        ExecutionError::DivisionByZero(_) | ExecutionError::RemainderByZero(_) => "it divides by zero".to_owned(),
        ExecutionError::Overflow(operator, ..) => format!("what `{}` gives is out of range", written(operator)),
        ExecutionError::DuplicateKey(_) => "a map has a key twice".to_owned(),
        ExecutionError::UnsupportedKeyType(key) => format!("{} cannot be a key of a map", kind_of(key)),
        ExecutionError::UnexpectedType { got, want } => {
            format!("{} is wanted, and it is {}", kind_called(want), kind_called(got))
        }
        ExecutionError::FunctionError { function, message } => function_failed(function, message),
        ExecutionError::NotSupportedAsMethod { method, target } => {
            format!("`{method}` does not go with {}", kind_of(target))
        }
        ExecutionError::InvalidArgumentCount { expected, actual } => {
            format!("a function is given {actual} values and takes {expected}")
        }
        ExecutionError::UnsupportedTargetType { target } => format!("it cannot be done with {}", kind_of(target)),
        _ => "the evaluation failed".to_owned(),
    }
}

/// Our own functions say what is wrong; of the others it is enough to know which.
fn function_failed(function: &str, message: &str) -> String {
    let function = if [PATTERN, ANY_PATTERN].contains(&function) { "matches" } else { function };
    match function {
        "matches" | "isWorkingHours" => format!("`{function}`: {message}"),
        "int" | "uint" | "double" => format!("`{function}` makes no number of this"),
        "bool" => "`bool` makes neither true nor false of this".to_owned(),
        "duration" => "`duration` makes no duration of this: write it as '1h30m'".to_owned(),
        "timestamp" => "`timestamp` makes no timestamp of this: write it as '2026-12-01T22:00:00Z'".to_owned(),
        "timezone" => "there is no such time zone".to_owned(),
        "string" => "`string` makes no text of this".to_owned(),
        other => format!("`{other}` failed"),
    }
}

/// An operator or function as it is written: the library calls `+` `_+_`.
fn written(name: &str) -> &str {
    match name {
        "@in" => "in",
        "_[_]" => "[…]",
        "_?_:_" => "? :",
        "add" => "+",
        "sub" => "-",
        "mul" => "*",
        "div" => "/",
        "rem" => "%",
        PATTERN | ANY_PATTERN => "matches",
        name => name.trim_matches('_'),
    }
}
