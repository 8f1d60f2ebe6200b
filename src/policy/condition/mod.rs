//! CEL expressions and texts with expressions in them, behind hard limits (see `docs/decisions/0002-cel.md`).
//!
//! The library parses and evaluates recursively, checks no types and bounds no cost. So an expression is bounded before it is
//! parsed, checked when it is compiled ([`Problem`]s with their places come out of that), and evaluated only as far as its work
//! can be foreseen. Whatever goes wrong is an error, and an error is a no. `docs/expressions.md` is what people read about it.

mod check;
mod eval;
mod functions;
mod known;
mod limits;
mod literals;
mod scope;
mod source;
mod template;
mod types;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use cel::common::ast::{Expr, LiteralValue};
use cel::{IdedExpr, Value};

pub use scope::{PullRequestScope, RequestScope, RoleScope, Scope, SubjectScope};
pub use source::Span;
pub use template::Template;
pub use types::Environment;

use super::name::TeamSlug;
use super::{Code, Severity};
use check::Wanted;
use source::Source;

/// A compiled CEL expression.
#[derive(Clone)]
pub struct Expression {
    source: String,
    compiled: Arc<Compiled>,
}

struct Compiled {
    program: eval::Program,
    /// Parameters it names.
    params: BTreeSet<String>,
    membership: Membership,
}

/// What an expression asks about the teams and groups of the subject.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Membership {
    /// Whether it asks at all.
    pub asks: bool,
    /// The teams it names: who is in them must be known, whoever else names them.
    pub teams: BTreeSet<TeamSlug>,
}

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Expression({:?})", self.source)
    }
}

/// Something about an expression that is wrong, or looks wrong, before anybody asks for anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Which finding it is.
    pub code: Code,
    /// An error, or a warning about what is always true or always false.
    pub severity: Severity,
    /// One sentence.
    pub message: String,
    /// What to do about it; may be empty.
    pub help: String,
    /// Which characters of the expression it is about.
    pub span: Span,
    /// Which node of the tree it is about.
    node: u64,
}

impl Problem {
    fn error(code: Code, span: Span, message: impl Into<String>) -> Self {
        Self { code, severity: Severity::Error, message: message.into(), help: String::new(), span, node: 0 }
    }

    fn warning(code: Code, span: Span, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(code, span, message) }
    }

    /// What to do about it: its own advice, or that of its code.
    pub fn advice(&self) -> &str {
        if self.help.is_empty() { self.code.explanation() } else { &self.help }
    }
}

/// What compiling gave: the value if there is no error, and everything there is to say about it.
#[derive(Debug, Clone)]
pub struct Checked<T> {
    /// `None` if one of the problems is an error.
    pub value: Option<T>,
    /// In order of their places.
    pub problems: Vec<Problem>,
}

impl<T> Checked<T> {
    fn new(value: Option<T>, problems: Vec<Problem>) -> Self {
        let broken = problems.iter().any(|problem| problem.severity == Severity::Error);
        Self { value: value.filter(|_| !broken), problems }
    }

    /// The value, or the first error.
    pub fn into_result(self) -> Result<T, Problem> {
        let error = || Problem::error(Code::BadExpression, Span::default(), "it cannot be read");
        let mut problems = self.problems.into_iter();
        self.value.ok_or_else(|| problems.find(|problem| problem.severity == Severity::Error).unwrap_or_else(error))
    }
}

/// Why an evaluation gives nothing that can be used. It means no.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ExpressionError(String);

impl Expression {
    /// Compiles a condition: an expression that is true or false.
    pub fn compile(source: &str, environment: &Environment<'_>) -> Checked<Self> {
        Self::compile_as(source, environment, Wanted::Condition)
    }

    fn compile_as(source: &str, environment: &Environment<'_>, wanted: Wanted) -> Checked<Self> {
        if let Err(problem) = limits::bounded(source) {
            return Checked::new(None, vec![problem]);
        }
        limits::on_big_stack(|| Self::compile_here(source, environment, wanted)).unwrap_or_else(|| {
            let message = "the expression cannot be read";
            Checked::new(None, vec![Problem::error(Code::BadExpression, Span::default(), message)])
        })
    }

    fn compile_here(source: &str, environment: &Environment<'_>, wanted: Wanted) -> Checked<Self> {
        let refuse = |problem: Problem| Checked::new(None, vec![problem]);
        let (mut tree, places) = match eval::parse(source) {
            Ok(parsed) => parsed,
            Err((message, place)) => {
                let span = Span { start: place.map_or(0, |place| offset(source, place)), length: 0 };
                let message = format!("not a CEL expression: {message}");
                return refuse(Problem::error(Code::BadExpression, span, message));
            }
        };
        if limits::depth(&tree) > limits::DEEPEST {
            let message = format!("the expression is nested deeper than {}", limits::DEEPEST);
            return refuse(Problem::error(Code::ExpressionTooLarge, Span::default(), message));
        }
        if limits::loops(&tree) > limits::DEEPEST_LOOP {
            let message = format!("loops are nested deeper than {}", limits::DEEPEST_LOOP);
            return refuse(Problem::error(Code::ExpressionTooLarge, Span::default(), message));
        }
        let (params, membership) = (params_in(&tree), membership_in(&tree));
        let places = Source::new(source, places);
        let (mut patterns, mut wrong) = (Vec::new(), Vec::new());
        eval::compile_patterns(&mut tree, &mut patterns, &mut wrong);
        let work = limits::work(&tree, limits::Lengths::USUAL);
        if work > limits::MOST_WORK {
            let message = format!(
                "it could take {work} steps for somebody in many groups; at most {} are made",
                limits::MOST_WORK
            );
            return refuse(Problem::error(Code::ExpressionTooLarge, Span::default(), message));
        }
        let program = eval::Program::new(tree, patterns);
        let wrong = wrong.into_iter().map(|(node, message)| {
            let node = IdedExpr { id: node, ..IdedExpr::default() };
            Problem::error(Code::BadExpression, places.span(&node), message)
        });
        let mut problems: Vec<Problem> = wrong.collect();
        problems.extend(check::check(&program, &places, environment, wanted));
        problems.sort_by_key(|problem| problem.span);
        let compiled = Arc::new(Compiled { program, params, membership });
        Checked::new(Some(Self { source: source.to_owned(), compiled }), problems)
    }

    /// The text it was compiled from.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The parameters it asks for, as far as they are written out.
    pub fn params(&self) -> &BTreeSet<String> {
        &self.compiled.params
    }

    /// What it asks about the teams and groups of the subject.
    pub fn membership(&self) -> &Membership {
        &self.compiled.membership
    }

    /// Whether it is true in `scope`. Anything but a boolean is an error.
    pub fn is_true(&self, scope: &Scope) -> Result<bool, ExpressionError> {
        match self.value(scope)? {
            Value::Bool(value) => Ok(value),
            other => Err(ExpressionError(format!("it gives {:?}, not true or false", other.type_of()))),
        }
    }

    fn value(&self, scope: &Scope) -> Result<Value, ExpressionError> {
        // Nobody is in a team that does not exist: whoever excludes its members, with the name misspelt, would exclude nobody.
        let named = &self.compiled.membership.teams;
        if let Some(missing) =
            scope.subject.missing_teams.iter().find(|slug| named.iter().any(|team| team.as_str() == *slug))
        {
            return Err(ExpressionError(format!("there is no team `{missing}` in the organisation")));
        }
        self.compiled.program.evaluate(scope).map_err(ExpressionError)
    }
}

/// The parameters a tree names: `params.x`, `request.params.x`, and both with `['x']`.
fn params_in(tree: &IdedExpr) -> BTreeSet<String> {
    fn is_params(node: &IdedExpr) -> bool {
        match &node.expr {
            Expr::Ident(name) => name == "params",
            Expr::Select(select) => {
                select.field == "params" && matches!(&select.operand.expr, Expr::Ident(name) if name == "request")
            }
            _ => false,
        }
    }
    let (mut found, mut waiting) = (BTreeSet::new(), vec![tree]);
    while let Some(node) = waiting.pop() {
        match &node.expr {
            // `has(params.x)` asks whether it is there; that may be about a declared one only, too.
            Expr::Select(select) if is_params(&select.operand) => {
                found.insert(select.field.clone());
            }
            Expr::Call(call) => {
                if let ("_[_]", [of, IdedExpr { expr: Expr::Literal(LiteralValue::String(name)), .. }]) =
                    (call.func_name.as_str(), call.args.as_slice())
                    && is_params(of)
                {
                    found.insert(name.inner().to_owned());
                }
            }
            _ => {}
        }
        waiting.extend(limits::parts(node));
    }
    found
}

/// The teams a tree names where it asks for `subject.teams`: `'x' in subject.teams`, `subject.teams.exists(t, t == 'x')`,
/// `['x', 'y'].exists(t, t in subject.teams)`. Only where a name surely is a team's: what is taken for one must exist.
fn membership_in(tree: &IdedExpr) -> Membership {
    let (mut membership, mut waiting) = (Membership::default(), vec![tree]);
    while let Some(node) = waiting.pop() {
        match &node.expr {
            Expr::Select(select) if matches!(select.field.as_str(), "teams" | "groups") => {
                membership.asks |= is_variable(&select.operand, "subject");
            }
            Expr::Call(call) => {
                if let ("@in", [name, of]) = (call.func_name.as_str(), call.args.as_slice())
                    && is_teams(of)
                {
                    names(name, &mut membership.teams);
                }
            }
            Expr::Comprehension(each) => {
                let step = &each.loop_step;
                match is_teams(&each.iter_range) {
                    true => compared_with(step, &each.iter_var, &mut membership.teams),
                    false if is_asked_for(step, &each.iter_var) => names(&each.iter_range, &mut membership.teams),
                    false => {}
                }
            }
            _ => {}
        }
        waiting.extend(limits::parts(node));
    }
    membership
}

fn is_variable(node: &IdedExpr, wanted: &str) -> bool {
    matches!(&node.expr, Expr::Ident(name) if name == wanted)
}

fn is_teams(node: &IdedExpr) -> bool {
    matches!(&node.expr, Expr::Select(select) if select.field == "teams" && is_variable(&select.operand, "subject"))
}

/// A text that is written out, or each of a list of them.
fn names(node: &IdedExpr, found: &mut BTreeSet<TeamSlug>) {
    match &node.expr {
        Expr::Literal(LiteralValue::String(name)) => found.extend(name.inner().parse::<TeamSlug>()),
        Expr::List(list) => list.elements.iter().for_each(|element| names(element, found)),
        _ => {}
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
                _ => {}
            }
        }
        waiting.extend(limits::parts(node));
    }
}

/// Whether it is asked if `variable` is one of the subject's teams.
fn is_asked_for(tree: &IdedExpr, variable: &str) -> bool {
    let mut waiting = vec![tree];
    while let Some(node) = waiting.pop() {
        if let Expr::Call(call) = &node.expr
            && let ("@in", [one, of]) = (call.func_name.as_str(), call.args.as_slice())
            && is_variable(one, variable)
            && is_teams(of)
        {
            return true;
        }
        waiting.extend(limits::parts(node));
    }
    false
}

/// The characters before a line and column, both counted from 1.
fn offset(source: &str, (line, column): (usize, usize)) -> usize {
    let before: usize =
        source.split_inclusive('\n').take(line.saturating_sub(1)).map(|line| line.chars().count()).sum();
    (before + column.saturating_sub(1)).min(source.chars().count())
}

fn one_line(text: &str) -> String {
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(300).collect();
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests;
