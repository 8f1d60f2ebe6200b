//! Evaluating: the functions of our own, patterns that are compiled once, and the thread it happens on.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, LazyLock};

use cel::common::ast::{EntryExpr, Expr, LiteralValue};
use cel::common::types::{self, CelBool, CelDuration, CelInt, CelString, CelTimestamp};
use cel::common::value::CowVal;
use cel::{Context, DeclarationError, Env, ExecutionError, IdedExpr, Value};
use chrono::TimeDelta;
use regex::{Regex, RegexBuilder};

use super::{Scope, failure, limits, one_line};
use crate::policy::calendar::{Calendar, WORKING_HOURS};

/// What a call of `matches` with a pattern that is written out becomes: the text, and the number of the compiled pattern.
pub(super) const PATTERN: &str = "@pattern";
/// What any other call of `matches` becomes.
pub(super) const ANY_PATTERN: &str = "@any_pattern";
/// Bytes a compiled pattern may take: the first if it is written out, the second if it is compiled at each evaluation.
const PATTERN_SIZE: [usize; 2] = [1 << 20, 1 << 18];
/// Bytes of a pattern that is not written out.
const LONGEST_PATTERN: usize = 200;

const BROKE_OFF: &str = "the evaluation broke off";

/// The standard functions and ours. Building it takes longer than most evaluations.
static ENVIRONMENT: LazyLock<Result<Arc<Env>, DeclarationError>> = LazyLock::new(|| {
    let mut env = Env::stdlib().with_optional_support(false);
    env.add_overload("days", "days_of_int", vec![types::INT_TYPE], days)?;
    env.add_overload(ANY_PATTERN, "any_pattern", vec![types::STRING_TYPE, types::STRING_TYPE], any_pattern)?;
    for (id, times) in [("working_hours", 0), ("working_hours_from_to", 2)] {
        let texts = std::iter::repeat_with(|| types::STRING_TYPE).take(1 + times).collect();
        env.add_member_overload("isWorkingHours", id, types::TIMESTAMP_TYPE, texts, is_working_hours)?;
    }
    Ok(Arc::new(env))
});

/// A tree that is ready to be evaluated.
pub(super) struct Program {
    pub(super) tree: IdedExpr,
    /// The patterns that are written out in it.
    pub(super) patterns: Arc<[Regex]>,
    /// The names it begins with somewhere.
    names: Vec<String>,
    loops: bool,
    shallow: bool,
}

impl Program {
    /// A program of a tree in which [`compile_patterns`] has been.
    pub(super) fn new(tree: IdedExpr, patterns: Vec<Regex>) -> Self {
        let names = names(&tree).into_iter().map(str::to_owned).collect();
        let (loops, shallow) = (limits::loops(&tree) > 0, limits::depth(&tree) <= limits::SHALLOW);
        Self { tree, patterns: patterns.into(), names, loops, shallow }
    }

    /// Whether it is shallow enough for any stack.
    pub(super) fn is_shallow(&self) -> bool {
        self.shallow
    }

    pub(super) fn evaluate(&self, scope: &Scope) -> Result<Value, String> {
        let run = || {
            let work = if self.loops { limits::work(&self.tree, limits::Lengths::of(scope)) } else { 0 };
            if work > limits::MOST_WORK {
                return Err(format!("it would take up to {work} steps; at most {} are made", limits::MOST_WORK));
            }
            evaluate_here(&self.tree, &self.patterns, &self.names, Some(scope))
        };
        let done = if self.shallow { Some(run()) } else { limits::on_big_stack(run) };
        done.unwrap_or_else(|| Err(BROKE_OFF.to_owned()))
    }

    /// Evaluates a part of the tree on the stack of the caller, who has to know that it suffices.
    pub(super) fn part(&self, node: &IdedExpr, scope: Option<&Scope>) -> Result<Value, String> {
        evaluate_here(node, &self.patterns, &self.names, scope)
    }
}

fn evaluate_here(
    tree: &IdedExpr,
    patterns: &Arc<[Regex]>,
    names: &[String],
    scope: Option<&Scope>,
) -> Result<Value, String> {
    let run = || {
        let context = context(names, patterns, scope)?;
        Value::resolve(tree, &context).map_err(|error| one_line(&failure::in_words(&error)))
    };
    // Nothing is known to panic in the library; if something does, it is a no like any other failure.
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|_| Err(BROKE_OFF.to_owned()))
}

fn context(
    names: &[String],
    patterns: &Arc<[Regex]>,
    scope: Option<&Scope>,
) -> Result<Context<'static, 'static>, String> {
    let env = ENVIRONMENT.as_ref().map_err(ToString::to_string)?;
    let mut context = Context::with_env(Arc::clone(env));
    for name in names {
        if let Some(value) = scope.and_then(|scope| scope.variable(name)) {
            context.add_variable_from_value(name, value.map_err(|error| format!("`{name}`: {error}"))?);
        }
    }
    if !patterns.is_empty() {
        let patterns = Arc::clone(patterns);
        let compiled = move |text: Arc<String>, number: i64| {
            let pattern = usize::try_from(number).ok().and_then(|number| patterns.get(number));
            let found = pattern.map(|pattern| Value::Bool(pattern.is_match(&text)));
            found.ok_or_else(|| failed("matches", "no such pattern"))
        };
        context.add_function(PATTERN, compiled).map_err(|error| error.to_string())?;
    }
    Ok(context)
}

/// The names of the environment a tree begins with somewhere.
fn names(tree: &IdedExpr) -> Vec<&str> {
    let mut found = Vec::new();
    let mut waiting = vec![tree];
    while let Some(node) = waiting.pop() {
        match &node.expr {
            Expr::Ident(name) if !found.contains(&name.as_str()) => found.push(name.as_str()),
            _ => waiting.extend(limits::parts(node)),
        }
    }
    found
}

/// Compiles the patterns that are written out, and lets the calls name them by number. Gives what is wrong with them, with the
/// ids of the nodes.
pub(super) fn compile_patterns(tree: &mut IdedExpr, patterns: &mut Vec<Regex>, wrong: &mut Vec<(u64, String)>) {
    if let Expr::Call(call) = &mut tree.expr
        && call.func_name == "matches"
        && call.args.len() + usize::from(call.target.is_some()) == 2
    {
        call.args.splice(..0, call.target.take().map(|target| *target));
        ANY_PATTERN.clone_into(&mut call.func_name);
        if let [_, pattern] = call.args.as_mut_slice()
            && let Expr::Literal(LiteralValue::String(text)) = &pattern.expr
        {
            match self::pattern(text.inner(), PATTERN_SIZE[0]) {
                Ok(compiled) => {
                    let number = i64::try_from(patterns.len()).unwrap_or(i64::MAX);
                    patterns.push(compiled);
                    pattern.expr = Expr::Literal(LiteralValue::Int(CelInt::from(number)));
                    PATTERN.clone_into(&mut call.func_name);
                }
                Err(problem) => wrong.push((pattern.id, problem)),
            }
        }
    }
    let mut each = |node: &mut IdedExpr| compile_patterns(node, patterns, wrong);
    match &mut tree.expr {
        Expr::Select(select) => each(&mut select.operand),
        Expr::Call(call) => call.target.as_deref_mut().into_iter().chain(&mut call.args).for_each(each),
        Expr::Comprehension(loops) => {
            let loops = &mut **loops;
            [
                &mut loops.iter_range,
                &mut loops.accu_init,
                &mut loops.loop_cond,
                &mut loops.loop_step,
                &mut loops.result,
            ]
            .into_iter()
            .for_each(each);
        }
        Expr::List(list) => list.elements.iter_mut().for_each(each),
        Expr::Map(map) => map.entries.iter_mut().for_each(|entry| match &mut entry.expr {
            EntryExpr::MapEntry(entry) => {
                each(&mut entry.key);
                each(&mut entry.value);
            }
            EntryExpr::StructField(field) => each(&mut field.value),
        }),
        Expr::Ident(_) | Expr::Literal(_) | Expr::Struct(_) | Expr::Unspecified => {}
    }
}

fn pattern(text: &str, size: usize) -> Result<Regex, String> {
    RegexBuilder::new(text).size_limit(size).dfa_size_limit(1 << 20).nest_limit(50).build().map_err(|error| match error
    {
        regex::Error::CompiledTooBig(_) => "the pattern is too large".to_owned(),
        // The library draws the pattern and points into it; its last line says what is wrong.
        other => {
            let text = other.to_string();
            let last = text.lines().rev().find_map(|line| line.strip_prefix("error: ")).unwrap_or(&text);
            format!("the pattern cannot be read: {}", one_line(last))
        }
    })
}

/// `text.matches(pattern)` with a pattern that is worked out.
fn any_pattern<'b, 'v>(args: Vec<CowVal<'b, 'v>>) -> Result<CowVal<'b, 'v>, ExecutionError> {
    let text = |number| text_at(&args, number).unwrap_or_default();
    let source = text(1);
    if source.len() > LONGEST_PATTERN {
        return Err(failed(
            "matches",
            format!("a pattern that is not written out has at most {LONGEST_PATTERN} bytes"),
        ));
    }
    let compiled = pattern(source, PATTERN_SIZE[1]).map_err(|problem| failed("matches", problem))?;
    Ok(CowVal::owned(CelBool::from(compiled.is_match(text(0)))))
}

fn text_at<'a>(args: &'a [CowVal<'_, '_>], number: usize) -> Option<&'a str> {
    args.get(number).and_then(|arg| arg.downcast_ref::<CelString<'_>>()).map(CelString::inner)
}

fn failed(function: &str, message: impl ToString) -> ExecutionError {
    ExecutionError::function_error(function, message)
}

/// `days(n)`: the durations of CEL know no unit above the hour.
fn days<'b, 'v>(args: Vec<CowVal<'b, 'v>>) -> Result<CowVal<'b, 'v>, ExecutionError> {
    let days = args.first().and_then(|days| days.downcast_ref::<CelInt>()).map_or(0, |days| *days.inner());
    // A hundred years are enough for anybody, and far from what a duration can hold.
    Ok(CowVal::owned(CelDuration::from(TimeDelta::try_days(days.clamp(-36_600, 36_600)).unwrap_or_default())))
}

/// `at.isWorkingHours('Europe/Berlin')` and `at.isWorkingHours('Europe/Berlin', '08:00', '18:00')`.
fn is_working_hours<'b, 'v>(args: Vec<CowVal<'b, 'v>>) -> Result<CowVal<'b, 'v>, ExecutionError> {
    let text =
        |number: usize| args.get(number).and_then(|arg| arg.downcast_ref::<CelString<'_>>()).map(CelString::inner);
    let at = args.first().and_then(|at| at.downcast_ref::<CelTimestamp>()).map(|at| *at.inner());
    let hours = Calendar::working_hours(text(1).unwrap_or_default(), text(2).zip(text(3)).unwrap_or(WORKING_HOURS));
    let hours = hours.map_err(|problem| failed("isWorkingHours", problem))?;
    Ok(CowVal::owned(CelBool::from(at.is_some_and(|at| hours.contains(at.to_utc())))))
}

/// Reads an expression. The error is a sentence, with its line and column from 1 where they are known.
#[allow(clippy::type_complexity)]
pub(super) fn parse(
    source: &str,
) -> Result<(IdedExpr, cel::common::ast::SourceInfo), (String, Option<(usize, usize)>)> {
    let env = ENVIRONMENT.as_ref().map_err(|error| (error.to_string(), None))?;
    env.parser().parse_with_source_info(source).map_err(|errors| {
        let first = errors.errors.first();
        let message = first.map_or("it cannot be read".to_owned(), |error| in_words(&error.msg));
        let place = first.and_then(|error| Some((error.pos.0.try_into().ok()?, error.pos.1.try_into().ok()?)));
        (message, place)
    })
}

/// What the parser says, without the names of its tokens and contexts.
fn in_words(message: &str) -> String {
    let message = one_line(message);
    let text = message.strip_prefix("Syntax error: ").unwrap_or(&message);
    let quoted = text.split('\'').nth(1).unwrap_or_default();
    let begins = |words: &str| text.starts_with(words);
    if begins("token recognition error") {
        // "token recognition error at: ''a'": what is not understood may have quotes itself.
        let rest = text.split_once("at: '").map_or("", |(_, rest)| rest.strip_suffix('\'').unwrap_or(rest)).trim();
        match rest.starts_with(['\'', '"']) {
            true => format!("the text {rest} is never closed, or has an escape nobody knows"),
            false => format!("`{rest}` is not understood"),
        }
    } else if quoted == "<EOF>" || begins("Incomplete") || begins("No `") {
        "something is missing at the end".to_owned()
    } else if begins("mismatched input") || begins("extraneous input") {
        format!("`{quoted}` is unexpected")
    } else if let Some((missing, before)) = text.strip_prefix("missing ").and_then(|rest| rest.split_once(" at ")) {
        // "missing ')' at '<EOF>'"
        match before.trim_matches('\'') {
            "<EOF>" => "something is missing at the end".to_owned(),
            before => format!("{} is missing before `{before}`", missing.replace('\'', "`")),
        }
    } else if begins("no viable alternative") {
        format!("`{}` is not understood", quoted.trim_end_matches("<EOF>").trim())
    } else if begins("unsupported syntax") {
        format!("`{}` is not supported", quoted.trim_matches('`'))
    } else if begins("invalid string") || begins("invalid bytes") {
        "a text has an escape nobody knows".to_owned()
    } else if begins("invalid int") || begins("invalid uint") || begins("invalid double") {
        "a number in it is out of range".to_owned()
    } else if begins("invalid argument to has()") {
        "`has(…)` asks for a field: `has(params.x)`".to_owned()
    } else if begins("argument must be a simple name") {
        "the first argument here is a name of your own: `list.exists(x, x == 'a')`".to_owned()
    } else if begins("Recursion limit") || begins("error recovery") {
        "it is nested too deep".to_owned()
    } else {
        text.split(" expecting {").next().unwrap_or(text).to_owned()
    }
}
