//! What an expression asks about the teams and groups of the subject.
//!
//! Daypass knows the members of the teams a policy names, and of no others. So the teams an expression is about are read out of
//! it; where that cannot be done, it sees less than whoever wrote it thinks, and is told so.

use std::collections::BTreeSet;

use cel::IdedExpr;
use cel::common::ast::{ComprehensionExpr, Expr, LiteralValue};

use super::super::name::TeamSlug;
use super::limits;

/// What an expression asks about the teams and groups of the subject.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Membership {
    /// Whether it asks at all.
    pub asks: bool,
    /// The teams it names: who is in them must be known, whoever else names them.
    pub teams: BTreeSet<TeamSlug>,
}

/// The teams a tree names where it asks for `subject.teams`: `'x' in subject.teams`, `subject.teams.exists(t, t == 'x')`,
/// `['x', 'y'].exists(t, t in subject.teams)`. Only where a name surely is a team's: what is taken for one must exist. Beside
/// them the parts that ask for teams without a name.
pub(super) fn membership(tree: &IdedExpr) -> (Membership, Vec<&IdedExpr>) {
    let mut reading = Reading { membership: Membership::default(), nameless: Vec::new(), bound: Vec::new() };
    reading.walk(tree);
    (reading.membership, reading.nameless)
}

struct Reading<'a> {
    membership: Membership,
    nameless: Vec<&'a IdedExpr>,
    /// Variables of the loops around, and whether each goes through names that are written out.
    bound: Vec<(&'a str, bool)>,
}

impl<'a> Reading<'a> {
    fn walk(&mut self, node: &'a IdedExpr) {
        match &node.expr {
            Expr::Ident(_) if self.is_subject(node) => self.nameless(node),
            Expr::Select(select) if self.is_subject(&select.operand) => match select.field.as_str() {
                "teams" if !select.test => self.nameless(node),
                "teams" | "groups" => self.membership.asks = true,
                _ => {}
            },
            Expr::Call(call) => match (call.func_name.as_str(), call.args.as_slice()) {
                ("@in", [name, of]) if self.is_teams(of) => {
                    self.membership.asks = true;
                    if !self.is_written_out(name) && !names(name, &mut self.membership.teams) {
                        self.nameless(node);
                    }
                    self.walk(name);
                }
                ("@in", [name, of]) if self.is_subject(of) => self.walk(name),
                ("_[_]", [of, IdedExpr { expr: Expr::Literal(LiteralValue::String(field)), .. }])
                    if self.is_subject(of) =>
                {
                    match field.inner() {
                        "teams" => self.nameless(node),
                        "groups" => self.membership.asks = true,
                        _ => {}
                    }
                }
                _ => self.parts(node),
            },
            Expr::Comprehension(each) => self.comprehension(node, each),
            _ => self.parts(node),
        }
    }

    fn parts(&mut self, node: &'a IdedExpr) {
        limits::parts(node).into_iter().for_each(|part| self.walk(part));
    }

    fn nameless(&mut self, node: &'a IdedExpr) {
        self.membership.asks = true;
        self.nameless.push(node);
    }

    fn comprehension(&mut self, node: &'a IdedExpr, each: &'a ComprehensionExpr) {
        let (mut slugs, step) = (BTreeSet::new(), &each.loop_step);
        let written_out = matches!(each.iter_range.expr, Expr::List(_)) && names(&each.iter_range, &mut slugs);
        if self.is_teams(&each.iter_range) {
            self.membership.asks = true;
            compared_with(step, &each.iter_var, &mut self.membership.teams);
            if !is_blind_to_strangers(each) {
                self.nameless(node);
            }
        } else if !self.is_subject(&each.iter_range) {
            self.walk(&each.iter_range);
        }
        self.walk(&each.accu_init);
        let before = self.bound.len();
        self.bound.extend([(each.iter_var.as_str(), written_out), (each.accu_var.as_str(), false)]);
        if self.is_asked_for(step, &each.iter_var) {
            self.membership.teams.extend(slugs);
        }
        [&each.loop_cond, step, &each.result].into_iter().for_each(|part| self.walk(part));
        self.bound.truncate(before);
    }

    fn is_subject(&self, node: &IdedExpr) -> bool {
        is_variable(node, "subject") && !self.bound.iter().any(|(bound, _)| *bound == "subject")
    }

    fn is_teams(&self, node: &IdedExpr) -> bool {
        let select = if let Expr::Select(select) = &node.expr { Some(select) } else { None };
        select.is_some_and(|select| select.field == "teams" && !select.test && self.is_subject(&select.operand))
    }

    /// Whether it is the variable of a loop through names that are written out.
    fn is_written_out(&self, node: &IdedExpr) -> bool {
        let Expr::Ident(name) = &node.expr else { return false };
        self.bound.iter().rev().find(|(bound, _)| bound == name).is_some_and(|(_, written_out)| *written_out)
    }

    /// Whether it is asked if `variable` is one of the subject's teams.
    fn is_asked_for(&self, tree: &IdedExpr, variable: &str) -> bool {
        let mut waiting = vec![tree];
        while let Some(node) = waiting.pop() {
            if let Expr::Call(call) = &node.expr
                && let ("@in", [one, of]) = (call.func_name.as_str(), call.args.as_slice())
                && is_variable(one, variable)
                && self.is_teams(of)
            {
                return true;
            }
            waiting.extend(limits::parts(node));
        }
        false
    }
}

fn is_variable(node: &IdedExpr, wanted: &str) -> bool {
    matches!(&node.expr, Expr::Ident(name) if name == wanted)
}

/// A text that is written out, or each of a list of them. False if something in it is no slug.
fn names(node: &IdedExpr, found: &mut BTreeSet<TeamSlug>) -> bool {
    match &node.expr {
        Expr::Literal(LiteralValue::String(name)) => {
            let slug = name.inner().parse::<TeamSlug>();
            let is_slug = slug.is_ok();
            found.extend(slug);
            is_slug
        }
        Expr::List(list) => list.elements.iter().map(|element| names(element, found)).fold(true, |all, one| all & one),
        _ => false,
    }
}

/// What `variable` is compared with.
fn compared_with(tree: &IdedExpr, variable: &str, found: &mut BTreeSet<TeamSlug>) {
    let mut waiting = vec![tree];
    while let Some(node) = waiting.pop() {
        if let Expr::Call(call) = &node.expr
            && let ("_==_" | "_!=_" | "@in", [one, other]) = (call.func_name.as_str(), call.args.as_slice())
        {
            match (is_variable(one, variable), is_variable(other, variable)) {
                (true, _) => names(other, found),
                (_, true) => names(one, found),
                _ => false,
            };
        }
        waiting.extend(limits::parts(node));
    }
}

/// Whether a team that the loop does not name cannot change what comes out of it: then it does not matter that it is not seen.
fn is_blind_to_strangers(each: &ComprehensionExpr) -> bool {
    let Expr::Call(step) = &each.loop_step.expr else { return false };
    let is_result = |node: &IdedExpr| is_variable(node, &each.accu_var);
    match (step.func_name.as_str(), step.args.as_slice()) {
        ("_&&_", [result, test]) => is_result(result) && of_stranger(test, &each.iter_var) == Some(true),
        ("_||_", [result, test]) => is_result(result) && of_stranger(test, &each.iter_var) == Some(false),
        ("_?_:_", [test, _, result]) => is_result(result) && of_stranger(test, &each.iter_var) == Some(false),
        _ => false,
    }
}

/// The value of a condition on a team that it does not name, if that can be told.
fn of_stranger(node: &IdedExpr, variable: &str) -> Option<bool> {
    let Expr::Call(call) = &node.expr else {
        return match &node.expr {
            Expr::Literal(LiteralValue::Boolean(value)) => Some(*value.inner()),
            _ => None,
        };
    };
    let of = |node| of_stranger(node, variable);
    let named = |one: &IdedExpr, other: &IdedExpr| is_variable(one, variable) && names(other, &mut BTreeSet::new());
    match (call.func_name.as_str(), call.args.as_slice()) {
        ("_&&_", [one, other]) => match (of(one), of(other)) {
            (Some(false), _) | (_, Some(false)) => Some(false),
            (Some(true), Some(true)) => Some(true),
            _ => None,
        },
        ("_||_", [one, other]) => match (of(one), of(other)) {
            (Some(true), _) | (_, Some(true)) => Some(true),
            (Some(false), Some(false)) => Some(false),
            _ => None,
        },
        ("!_", [one]) => of(one).map(|truth| !truth),
        ("_==_", [one, other]) => (named(one, other) || named(other, one)).then_some(false),
        ("_!=_", [one, other]) => (named(one, other) || named(other, one)).then_some(true),
        ("@in", [one, other]) => named(one, other).then_some(false),
        _ => None,
    }
}
