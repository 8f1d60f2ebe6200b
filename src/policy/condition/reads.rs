//! What an expression reads: `role.risk`, `person.ssh`. Whatever is not certain is taken for read.

use std::collections::BTreeSet;

use cel::IdedExpr;
use cel::common::ast::{Expr, LiteralValue};

use super::limits;

/// The names an expression asks for, each with the fields that are written out behind it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reads {
    paths: BTreeSet<Vec<String>>,
    /// Texts that are written out and looked up in `subject.groups`.
    groups: BTreeSet<String>,
    /// It asks for groups in other ways, too.
    any_group: bool,
}

impl Reads {
    pub(super) fn of(tree: &IdedExpr) -> Self {
        let mut reads = Self::default();
        reads.walk(tree, &mut Vec::new());
        reads.any_group |= reads.paths.iter().any(|path| {
            let path: Vec<&str> = path.iter().map(String::as_str).collect();
            matches!(path.as_slice(), ["subject"] | ["subject", "groups", ..])
        });
        reads
    }

    /// Whether it may depend on what stands at `path`, such as `["role", "risk"]`. `subject` has the fields of `person`.
    pub fn may_read(&self, path: &[&str]) -> bool {
        let about = |read: &Vec<String>, path: &[&str]| read.iter().zip(path).all(|(one, other)| one == other);
        let of_subject: Vec<&str> = match path {
            ["person", rest @ ..] => ["subject"].iter().chain(rest).copied().collect(),
            _ => path.to_vec(),
        };
        self.paths.iter().any(|read| about(read, path) || about(read, &of_subject))
    }

    /// Whether it may depend on who is in this group.
    pub fn may_ask_for_group(&self, name: &str) -> bool {
        self.any_group || self.groups.contains(name)
    }

    /// The names it begins with: `request`, `now`.
    pub fn roots(&self) -> impl Iterator<Item = &str> {
        let of_groups = (!self.groups.is_empty()).then_some("subject");
        self.paths.iter().filter_map(|path| path.first()).map(String::as_str).chain(of_groups)
    }

    /// `bound` are the variables of the loops around: what they go through is read where the loop begins.
    fn walk<'a>(&mut self, node: &'a IdedExpr, bound: &mut Vec<&'a str>) {
        if let Expr::Comprehension(each) = &node.expr {
            self.walk(&each.iter_range, bound);
            self.walk(&each.accu_init, bound);
            let before = bound.len();
            bound.extend([each.iter_var.as_str(), each.accu_var.as_str()]);
            bound.extend(each.iter_var2.as_deref());
            [&each.loop_cond, &each.loop_step, &each.result].into_iter().for_each(|part| self.walk(part, bound));
            bound.truncate(before);
        } else if let Expr::Call(call) = &node.expr
            && let ("@in", [name, of]) = (call.func_name.as_str(), call.args.as_slice())
            && !bound.contains(&"subject")
            && path_of(of).is_some_and(|path| path == ["subject", "groups"])
            && let Expr::Literal(LiteralValue::String(name)) = &name.expr
        {
            self.groups.insert(name.inner().to_owned());
        } else if let Some(path) = path_of(node) {
            if !path.first().is_some_and(|root| bound.contains(&root.as_str())) {
                self.paths.insert(path);
            }
        } else {
            limits::parts(node).into_iter().for_each(|part| self.walk(part, bound));
        }
    }
}

/// A name with the fields behind it: `a.b`, `a['b']`.
fn path_of(node: &IdedExpr) -> Option<Vec<String>> {
    match &node.expr {
        Expr::Ident(name) => Some(vec![name.clone()]),
        Expr::Select(select) => {
            let mut path = path_of(&select.operand)?;
            path.push(select.field.clone());
            Some(path)
        }
        Expr::Call(call) => match (call.func_name.as_str(), call.args.as_slice()) {
            ("_[_]", [of, IdedExpr { expr: Expr::Literal(LiteralValue::String(field)), .. }]) => {
                let mut path = path_of(of)?;
                path.push(field.inner().to_owned());
                Some(path)
            }
            _ => None,
        },
        _ => None,
    }
}
