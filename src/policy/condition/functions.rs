//! The functions and operators of expressions: what they take and what they give.

use super::types::{Type, Types};

/// A condition on one argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    Any,
    Bool,
    Int,
    Uint,
    Double,
    Text,
    Bytes,
    Duration,
    Timestamp,
    List,
    Map,
}

use Wanted::*;

impl Wanted {
    pub(super) fn fits(self, given: &Type) -> bool {
        match self {
            Any => true,
            Bool => *given == Type::Bool,
            Int => *given == Type::Int,
            Uint => *given == Type::Uint,
            Double => *given == Type::Double,
            Text => *given == Type::Text,
            Bytes => *given == Type::Bytes,
            Duration => *given == Type::Duration,
            Timestamp => *given == Type::Timestamp,
            List => matches!(given, Type::List(_)),
            Map => given.is_map(),
        }
    }

    fn words(self) -> &'static str {
        match self {
            Any => "a value",
            Bool => Type::Bool.words(),
            Int | Uint => Type::Int.words(),
            Double => Type::Double.words(),
            Text => Type::Text.words(),
            Bytes => Type::Bytes.words(),
            Duration => Type::Duration.words(),
            Timestamp => Type::Timestamp.words(),
            List => "a list",
            Map => "a map",
        }
    }
}

/// One way to call a function: `target.name(args)` if `target` is there, `name(args)` otherwise.
#[derive(Debug)]
pub(super) struct Signature {
    pub(super) name: &'static str,
    target: Option<Wanted>,
    args: &'static [Wanted],
    gives: Type,
    /// The least and the greatest number it gives.
    pub(super) range: Option<(i64, i64)>,
}

const fn of(name: &'static str, args: &'static [Wanted], gives: Type) -> Signature {
    Signature { name, target: None, args, gives, range: None }
}

const fn on(target: Wanted, name: &'static str, args: &'static [Wanted], gives: Type) -> Signature {
    Signature { name, target: Some(target), args, gives, range: None }
}

const fn part(name: &'static str, args: &'static [Wanted], least: i64, most: i64) -> Signature {
    Signature { name, target: Some(Timestamp), args, gives: Type::Int, range: Some((least, most)) }
}

const fn size(target: Option<Wanted>, args: &'static [Wanted]) -> Signature {
    Signature { name: "size", target, args, gives: Type::Int, range: Some((0, i64::MAX)) }
}

/// Every function that can be called. The tests hold it against what the library has.
pub(super) const SIGNATURES: &[Signature] = &[
    size(None, &[Text]),
    size(None, &[Bytes]),
    size(None, &[List]),
    size(None, &[Map]),
    size(Some(Text), &[]),
    size(Some(Bytes), &[]),
    size(Some(List), &[]),
    size(Some(Map), &[]),
    on(Text, "contains", &[Text], Type::Bool),
    on(Text, "startsWith", &[Text], Type::Bool),
    on(Text, "endsWith", &[Text], Type::Bool),
    on(Text, "matches", &[Text], Type::Bool),
    of("matches", &[Text, Text], Type::Bool),
    of("days", &[Int], Type::Duration),
    of("duration", &[Text], Type::Duration),
    of("duration", &[Duration], Type::Duration),
    of("timestamp", &[Text], Type::Timestamp),
    of("timestamp", &[Int], Type::Timestamp),
    of("timestamp", &[Timestamp], Type::Timestamp),
    on(Timestamp, "isWorkingHours", &[Text], Type::Bool),
    on(Timestamp, "isWorkingHours", &[Text, Text, Text], Type::Bool),
    part("getFullYear", &[], 1, 9_999),
    part("getFullYear", &[Text], 0, 10_000),
    part("getMonth", &[], 0, 11),
    part("getMonth", &[Text], 0, 11),
    part("getDate", &[], 1, 31),
    part("getDate", &[Text], 1, 31),
    part("getDayOfMonth", &[], 0, 30),
    part("getDayOfMonth", &[Text], 0, 30),
    part("getDayOfWeek", &[], 0, 6),
    part("getDayOfWeek", &[Text], 0, 6),
    part("getDayOfYear", &[], 0, 365),
    part("getDayOfYear", &[Text], 0, 365),
    part("getHours", &[], 0, 23),
    part("getHours", &[Text], 0, 23),
    part("getMinutes", &[], 0, 59),
    part("getMinutes", &[Text], 0, 59),
    part("getSeconds", &[], 0, 59),
    part("getSeconds", &[Text], 0, 59),
    part("getMilliseconds", &[], 0, 999),
    part("getMilliseconds", &[Text], 0, 999),
    on(Duration, "getHours", &[], Type::Int),
    on(Duration, "getMinutes", &[], Type::Int),
    on(Duration, "getSeconds", &[], Type::Int),
    on(Duration, "getMilliseconds", &[], Type::Int),
    of("string", &[Text], Type::Text),
    of("string", &[Bool], Type::Text),
    of("string", &[Int], Type::Text),
    of("string", &[Uint], Type::Text),
    of("string", &[Double], Type::Text),
    of("string", &[Bytes], Type::Text),
    of("string", &[Timestamp], Type::Text),
    of("string", &[Duration], Type::Text),
    of("int", &[Int], Type::Int),
    of("int", &[Uint], Type::Int),
    of("int", &[Double], Type::Int),
    of("int", &[Text], Type::Int),
    of("int", &[Timestamp], Type::Int),
    of("uint", &[Uint], Type::Uint),
    of("uint", &[Int], Type::Uint),
    of("uint", &[Double], Type::Uint),
    of("uint", &[Text], Type::Uint),
    of("double", &[Double], Type::Double),
    of("double", &[Int], Type::Double),
    of("double", &[Uint], Type::Double),
    of("double", &[Text], Type::Double),
    of("bool", &[Bool], Type::Bool),
    of("bool", &[Text], Type::Bool),
    of("bytes", &[Text], Type::Bytes),
    of("bytes", &[Bytes], Type::Bytes),
    of("type", &[Any], Type::Kind),
];

/// The macros, for "did you mean"; they are no calls any more once the expression is read.
pub(super) const MACROS: [&str; 6] = ["has", "all", "exists", "exists_one", "map", "filter"];

impl Signature {
    /// Whether it can be what is called.
    pub(super) fn fits(&self, target: Option<&Types>, args: &[Types]) -> bool {
        let target = match (self.target, target) {
            (None, None) => true,
            (Some(wanted), Some(given)) => given.may(|given| wanted.fits(given)),
            _ => false,
        };
        target
            && self.args.len() == args.len()
            && self.args.iter().zip(args).all(|(wanted, given)| given.may(|given| wanted.fits(given)))
    }

    /// Whether it takes exactly this.
    #[cfg(test)]
    pub(super) fn takes(&self, target: Option<Wanted>, args: &[Wanted]) -> bool {
        let same = |wanted: &Wanted, given: &Wanted| *wanted == Any || wanted == given;
        self.target == target
            && self.args.len() == args.len()
            && self.args.iter().zip(args).all(|(wanted, given)| same(wanted, given))
    }

    pub(super) fn gives(&self) -> Types {
        self.gives.clone().into()
    }

    /// As it is written: `text.matches(text)`.
    pub(super) fn usage(&self) -> String {
        let bare = |wanted: &Wanted| wanted.words().trim_start_matches("a ").replace(' ', "-");
        let args = self.args.iter().map(bare).collect::<Vec<_>>().join(", ");
        match &self.target {
            Some(target) => format!("{}.{}({args})", bare(target), self.name),
            None => format!("{}({args})", self.name),
        }
    }
}

/// What an operator gives for two types; `None` if it cannot be applied to them.
pub(super) fn binary(operator: &str, left: &Type, right: &Type) -> Option<Types> {
    use Type as T;
    let same_number = left == right && left.is_number();
    let given = match (operator, left, right) {
        ("_+_", T::Text, T::Text) => T::Text,
        ("_+_", T::Bytes, T::Bytes) => T::Bytes,
        ("_+_" | "_-_", T::Duration, T::Duration) => T::Duration,
        ("_+_" | "_-_", T::Timestamp, T::Duration) => T::Timestamp,
        ("_+_", T::Duration, T::Timestamp) => T::Timestamp,
        ("_-_", T::Timestamp, T::Timestamp) => T::Duration,
        ("_+_", T::List(left), T::List(right)) => return Some(Types::list((**left).clone().or((**right).clone()))),
        ("_+_", T::List(_), right) if right.is_map() => return Some(Types::list(Types::Any)),
        ("_+_" | "_-_" | "_*_" | "_/_", ..) if same_number => left.clone(),
        ("_%_", T::Int, T::Int) | ("_%_", T::Uint, T::Uint) => left.clone(),
        ("_<_" | "_<=_" | "_>_" | "_>=_", ..) => {
            let ordered = matches!(left, T::Bool | T::Text | T::Bytes | T::Duration | T::Timestamp);
            if (left.is_number() && right.is_number()) || (ordered && left == right) {
                T::Bool
            } else {
                return None;
            }
        }
        ("@in", _, T::List(_)) => T::Bool,
        ("@in", T::Text | T::Bool | T::Int | T::Uint | T::Double, right) if right.is_map() => T::Bool,
        ("_[_]", T::Int | T::Uint | T::Double, _) => return None,
        ("_[_]", T::List(of), index) if index.is_number() => return Some((**of).clone()),
        ("_[_]", T::Map(_, value), T::Text | T::Bool | T::Int | T::Uint | T::Double) => return Some((**value).clone()),
        ("_[_]", T::Record(_), T::Text | T::Bool | T::Int | T::Uint | T::Double) => return Some(Types::Any),
        _ => return None,
    };
    Some(given.into())
}
