//! CEL expressions and texts with expressions in them, behind hard limits (see `docs/decisions/0002-cel.md`).
//!
//! The library parses and evaluates recursively, checks no types and bounds no cost. So an expression is bounded before it is
//! parsed, checked when it is compiled ([`Problem`]s with their places come out of that), and evaluated only as far as its work
//! can be foreseen. Whatever goes wrong is an error, and an error is a no. `docs/expressions.md` is what people read about it.

mod check;
mod eval;
mod failure;
mod functions;
mod known;
mod limits;
mod literals;
mod logic;
mod membership;
mod reads;
mod scope;
mod shape;
mod source;
mod template;
mod types;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use cel::common::ast::{Expr, LiteralValue};
use cel::{IdedExpr, Value};

pub use membership::Membership;
pub use reads::Reads;
pub use scope::{PullRequestScope, RequestScope, RoleScope, Scope, SubjectScope};
pub use source::Span;
pub use template::Template;
pub use types::Environment;

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
    /// Those of them of which it asks whether they are there.
    guarded: BTreeSet<String>,
    membership: Membership,
    reads: Reads,
    /// What it always is where it was compiled for, if that is certain.
    truth: Option<bool>,
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
        let (params, guarded) = params_in(&tree);
        let places = Source::new(source, places);
        let (membership, nameless) = membership::membership(&tree);
        let nameless: Vec<Problem> = nameless.into_iter().map(|node| nameless_teams(places.span(node))).collect();
        let reads = Reads::of(&tree);
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
        let (found, truth) = check::check(&program, &places, environment, wanted);
        problems.extend(found);
        // Of what fails anyway it does not matter what it sees.
        if !problems.iter().any(|problem| problem.severity == Severity::Error) {
            let told: Vec<Span> = problems.iter().map(|problem| problem.span).collect();
            problems.extend(nameless.into_iter().filter(|problem| !told.contains(&problem.span)));
        }
        problems.sort_by_key(|problem| problem.span);
        let compiled = Arc::new(Compiled { program, params, guarded, membership, reads, truth });
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

    /// What it may depend on.
    pub fn reads(&self) -> &Reads {
        &self.compiled.reads
    }

    /// What it always is in the environment it was compiled for, whoever asks for whatever, if that is certain.
    pub fn always(&self) -> Option<bool> {
        self.compiled.truth
    }

    /// A text that another expression has, too, only if it says the same, however it is written.
    pub fn shape(&self) -> String {
        let program = &self.compiled.program;
        let here = || shape::shape(&program.tree, &program.patterns);
        if program.is_shallow() { here() } else { limits::on_big_stack(here).unwrap_or_else(|| self.source.clone()) }
    }

    /// The parameters of which it asks whether they are there: `has(params.x)`.
    pub fn guarded_params(&self) -> &BTreeSet<String> {
        &self.compiled.guarded
    }

    /// Whether it is true in `scope`. Anything but a boolean is an error.
    pub fn is_true(&self, scope: &Scope) -> Result<bool, ExpressionError> {
        match self.value(scope)? {
            Value::Bool(value) => Ok(value),
            other => Err(ExpressionError(format!("it gives {}, not true or false", failure::kind_of(&other)))),
        }
    }

    fn value(&self, scope: &Scope) -> Result<Value, ExpressionError> {
        // Nobody is in a team that does not exist: whoever excludes its members, with the name misspelt, would exclude nobody.
        let named = &self.compiled.membership.teams;
        if let Some(missing) = scope
            .subject
            .missing_teams
            .iter()
            .find(|slug| named.iter().any(|team| team.as_str().eq_ignore_ascii_case(slug)))
        {
            return Err(ExpressionError(format!("there is no team `{missing}` in the organisation")));
        }
        self.compiled.program.evaluate(scope).map_err(ExpressionError)
    }
}

/// Of an expression that asks for teams without naming them.
fn nameless_teams(span: Span) -> Problem {
    let message = "only those of the subject's teams are seen here that the policy names somewhere";
    let help = "Name the team: `'sre' in subject.teams`, or `subject.teams.exists(t, t == 'sre')`.";
    Problem { help: help.to_owned(), ..Problem::warning(Code::NamelessTeams, span, message) }
}

/// The parameters a tree names: `params.x`, `request.params.x`, and both with `['x']`.
/// Beside them those of which it asks whether they are there.
fn params_in(tree: &IdedExpr) -> (BTreeSet<String>, BTreeSet<String>) {
    fn is_params(node: &IdedExpr) -> bool {
        match &node.expr {
            Expr::Ident(name) => name == "params",
            Expr::Select(select) => {
                select.field == "params" && matches!(&select.operand.expr, Expr::Ident(name) if name == "request")
            }
            _ => false,
        }
    }
    let (mut found, mut guarded, mut waiting) = (BTreeSet::new(), BTreeSet::new(), vec![tree]);
    while let Some(node) = waiting.pop() {
        match &node.expr {
            // `has(params.x)` asks whether it is there; that may be about a declared one only, too.
            Expr::Select(select) if is_params(&select.operand) => {
                found.insert(select.field.clone());
                guarded.extend(select.test.then(|| select.field.clone()));
            }
            Expr::Call(call) => {
                if let ("_[_]", [of, IdedExpr { expr: Expr::Literal(LiteralValue::String(name)), .. }]) =
                    (call.func_name.as_str(), call.args.as_slice())
                    && is_params(of)
                {
                    found.insert(name.inner().to_owned());
                }
                // `'x' in params`
                if let ("@in", [IdedExpr { expr: Expr::Literal(LiteralValue::String(name)), .. }, of]) =
                    (call.func_name.as_str(), call.args.as_slice())
                    && is_params(of)
                {
                    guarded.insert(name.inner().to_owned());
                }
            }
            _ => {}
        }
        waiting.extend(limits::parts(node));
    }
    (found, guarded)
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
