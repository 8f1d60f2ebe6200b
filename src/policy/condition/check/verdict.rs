//! What an expression comes to as a whole: whether it gives what is wanted, and what is always true or always false.

use cel::IdedExpr;

use super::{Check, Fact, Wanted};
use crate::policy::Code;
use crate::policy::condition::types::Type;
use crate::policy::condition::{Problem, limits, logic};

impl<'a> Check<'a> {
    pub(super) fn result(&mut self, tree: &'a IdedExpr, fact: &Fact, wanted: Wanted) -> Option<bool> {
        let simple = |given: &Type| matches!(given, Type::Text | Type::Int | Type::Uint | Type::Bool);
        let fits = |given: &Type| match (wanted, given) {
            (Wanted::Condition, given) => *given == Type::Bool,
            (Wanted::Texts, Type::List(of)) => of.may(simple),
            (_, given) => simple(given),
        };
        if !fact.types.may(fits) {
            let (message, help) = match wanted {
                Wanted::Condition => (
                    format!("a condition is true or false; this is {}", fact.types.words()),
                    "Compare it with something: `request.ticket != ''`.",
                ),
                Wanted::Text | Wanted::Texts => (
                    format!(
                        "only texts, numbers, true and false can be put into a text; this is {}",
                        fact.types.words()
                    ),
                    "Write `string(…)` around it, or choose one element of a list: `person.ssh[0]`.",
                ),
            };
            self.error(tree, Code::TypeError, message, help);
        }
        let reported = |problem: &Problem| matches!(problem.code, Code::AlwaysTrue | Code::AlwaysFalse);
        let broken = self.problems.iter().any(|problem| !reported(problem));
        if wanted != Wanted::Condition || broken {
            return None;
        }
        let Some(truth) = fact.known.truth() else { return self.constants(tree) };
        if let Some(first) = self.problems.iter_mut().find(|problem| reported(problem)) {
            if first.node != tree.id {
                first.message.push_str(&format!(", and so the whole expression is always {truth}"));
            }
            return Some(truth);
        }
        let why = if limits::closed(tree) { ": it asks nothing about the request" } else { "" };
        let message = format!("this is always {truth}{why}");
        let help =
            if truth { "It allows everything. Remove it, or ask what was meant." } else { "Nobody can meet it." };
        self.certain(tree, truth, message, help);
        Some(truth)
    }

    /// The largest parts that come out the same whatever their own parts do; what `tree` always is, if it is one of them.
    fn constants(&mut self, tree: &'a IdedExpr) -> Option<bool> {
        let mut waiting = vec![tree];
        let mut of_tree = None;
        while let Some(node) = waiting.pop() {
            let inner = logic::inner(node);
            match logic::constant(node, &self.facts, &self.program.patterns) {
                // Why a part of it is, has been said.
                Some(truth) if !limits::closed(node) && !self.has_problem(node) => {
                    let message = format!("this is always {truth}, whatever is asked for");
                    let help = match truth {
                        true => "Of `x != 'a' || x != 'b'` one side is always true; `&&` may be meant.",
                        false => "Of `x == 'a' && x == 'b'` one side is always false; `||` may be meant.",
                    };
                    self.certain(node, truth, message, help);
                    of_tree = of_tree.or((node.id == tree.id).then_some(truth));
                }
                _ => waiting.extend(inner),
            }
        }
        of_tree
    }

    /// Whether something has been said about it or a part of it.
    fn has_problem(&self, node: &IdedExpr) -> bool {
        self.problems.iter().any(|problem| problem.node == node.id)
            || limits::parts(node).into_iter().any(|part| self.has_problem(part))
    }

    pub(super) fn certain(
        &mut self,
        node: &IdedExpr,
        truth: bool,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        let code = if truth { Code::AlwaysTrue } else { Code::AlwaysFalse };
        self.problems
            .push(Problem { help: help.into(), ..Problem::warning(code, self.source.span(node), message) }.at(node));
    }
}
