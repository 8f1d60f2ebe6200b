//! What an expression says, whatever it looks like: blanks, brackets, comments, quotes and the names of loop variables do not
//! count.

use cel::IdedExpr;
use cel::common::ast::{EntryExpr, Expr, LiteralValue};
use regex::Regex;

use super::eval::PATTERN;

/// A text that two expressions have in common only if they say the same.
pub(super) fn shape(tree: &IdedExpr, patterns: &[Regex]) -> String {
    let mut writer = Writer { text: String::new(), patterns, bound: Vec::new() };
    writer.write(tree);
    writer.text
}

struct Writer<'a> {
    text: String,
    patterns: &'a [Regex],
    /// Variables of the loops around.
    bound: Vec<&'a str>,
}

impl<'a> Writer<'a> {
    fn write(&mut self, node: &'a IdedExpr) {
        match &node.expr {
            Expr::Ident(name) => match self.bound.iter().rposition(|bound| bound == name) {
                Some(number) => self.text.push_str(&format!("#{number}")),
                None => self.text.push_str(name),
            },
            Expr::Literal(literal) => self.literal(literal),
            Expr::Select(select) => self.field(&select.operand, &select.field, select.test),
            Expr::Call(call) if call.func_name == PATTERN => self.pattern(&call.args),
            Expr::Call(call) if call.func_name == "_[_]" => match call.args.as_slice() {
                [of, IdedExpr { expr: Expr::Literal(LiteralValue::String(field)), .. }] => {
                    self.field(of, field.inner(), false);
                }
                args => self.list("element", args),
            },
            Expr::Call(call) => {
                // `x.size()` and `size(x)` say the same.
                self.list(&call.func_name, call.target.as_deref().into_iter().chain(&call.args));
            }
            Expr::Comprehension(each) => {
                self.list("each", [&each.iter_range, &each.accu_init]);
                let before = self.bound.len();
                self.bound.extend([each.iter_var.as_str(), each.accu_var.as_str()]);
                self.list("do", [&each.loop_cond, &each.loop_step, &each.result]);
                self.bound.truncate(before);
            }
            Expr::List(list) => self.list("list", &list.elements),
            Expr::Map(map) => self.entries("map", map.entries.iter().map(|entry| &entry.expr)),
            Expr::Struct(made) => self.entries(&made.type_name, made.entries.iter().map(|entry| &entry.expr)),
            Expr::Unspecified => self.text.push('?'),
        }
    }

    /// `map.field` is the same as `map['field']`, and some names stand for the same thing.
    fn field(&mut self, of: &'a IdedExpr, field: &str, test: bool) {
        let test = if test { "?" } else { "" };
        let name = match &of.expr {
            Expr::Ident(name) if !self.bound.contains(&name.as_str()) => name.as_str(),
            _ => "",
        };
        match (name, field) {
            ("request", "subject") => self.text.push_str(&format!("subject.\"login\"{test}")),
            ("request", "role") => self.text.push_str(&format!("role.\"name\"{test}")),
            ("request", "params") => self.text.push_str(&format!("params{test}")),
            ("subject", "email" | "postgres" | "ssh" | "other") => {
                self.text.push_str(&format!("person.{field:?}{test}"));
            }
            _ => {
                self.write(of);
                self.text.push_str(&format!(".{field:?}{test}"));
            }
        }
    }

    fn list(&mut self, what: &str, parts: impl IntoIterator<Item = &'a IdedExpr>) {
        self.text.push_str(what);
        self.text.push('(');
        for part in parts {
            self.write(part);
            self.text.push(' ');
        }
        self.text.push(')');
    }

    fn entries(&mut self, what: &str, entries: impl Iterator<Item = &'a EntryExpr>) {
        self.text.push_str(what);
        self.text.push('{');
        for entry in entries {
            match entry {
                EntryExpr::MapEntry(entry) => self.list("", [&entry.key, &entry.value]),
                EntryExpr::StructField(field) => self.list(&field.field, [&field.value]),
            }
        }
        self.text.push('}');
    }

    fn literal(&mut self, literal: &LiteralValue) {
        let text = match literal {
            LiteralValue::Boolean(value) => value.inner().to_string(),
            LiteralValue::Int(value) => value.inner().to_string(),
            LiteralValue::UInt(value) => format!("{}u", value.inner()),
            LiteralValue::Double(value) => format!("{:?}d", value.inner()),
            LiteralValue::String(value) => format!("{:?}", value.inner()),
            LiteralValue::Bytes(value) => format!("b{:?}", value.inner()),
            LiteralValue::Null => "null".to_owned(),
        };
        self.text.push_str(&text);
    }

    /// A pattern that is compiled already is known by its number; what counts is its text.
    fn pattern(&mut self, args: &'a [IdedExpr]) {
        let [text, number] = args else { return };
        self.list("matches", [text]);
        let number = match &number.expr {
            Expr::Literal(LiteralValue::Int(number)) => usize::try_from(*number.inner()).ok(),
            _ => None,
        };
        let pattern = number.and_then(|number| self.patterns.get(number)).map(Regex::as_str);
        self.text.push_str(&format!("{pattern:?}"));
    }
}
