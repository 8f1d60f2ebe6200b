//! CEL expressions and texts with expressions in them, behind hard limits (see `docs/decisions/0002-cel.md`).
//!
//! The library parses and evaluates recursively: an expression of a few hundred operators would abort the process. So length
//! and operators are counted before parsing, loops are counted after it, and both parsing and evaluation run on a thread whose
//! stack is known to suffice. Whatever goes wrong is an error, and an error is a no.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use cel::common::ast::{EntryExpr, Expr, IdedExpr};
use cel::{Context, Program, Value};
use chrono::{DateTime, Utc};
use serde::Serialize;

use super::model::{ParamValue, Person};
use super::suggest::suggest;
use super::{Code, Duration};

/// Characters an expression may have.
const LONGEST: usize = 1_024;
/// Operators, selectors and brackets an expression may have.
const MOST_OPERATORS: usize = 100;
/// How deep `all`, `exists`, `map` and `filter` may be nested.
const DEEPEST_LOOP: usize = 2;
/// The stack of the thread that parses and evaluates. Measured: 8 MiB carry 150 operators in a debug build.
const STACK: usize = 16 << 20;

/// A compiled CEL expression.
#[derive(Clone)]
pub struct Expression {
    source: String,
    program: Arc<Program>,
}

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Expression({:?})", self.source)
    }
}

/// A text with `${EXPRESSION}` in it, such as `ns-${params.namespace}`. `$${` stands for a literal `${`.
#[derive(Debug, Clone)]
pub struct Template {
    source: String,
    parts: Vec<Part>,
}

#[derive(Debug, Clone)]
enum Part {
    Text(String),
    Expression(Expression),
}

/// Why an expression does not compile or evaluate. Both mean denial.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ExpressionError {
    /// One sentence.
    pub message: String,
    /// Offset in characters into the source, if known.
    pub offset: Option<usize>,
    kind: Kind,
    help: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Syntax,
    Name,
    Size,
    Value,
}

impl ExpressionError {
    fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { message: message.into(), offset: None, kind, help: String::new() }
    }

    /// The code of a finding about it.
    pub fn code(&self) -> Code {
        match self.kind {
            Kind::Syntax => Code::BadExpression,
            Kind::Name => Code::UnknownName,
            Kind::Size => Code::ExpressionTooLarge,
            Kind::Value => Code::ConditionFailed,
        }
    }

    /// What to do about it.
    pub fn help(&self) -> &str {
        if self.help.is_empty() { self.code().explanation() } else { &self.help }
    }
}

/// What expressions can ask.
#[derive(Debug, Clone)]
pub struct Scope {
    /// `request`
    pub request: RequestScope,
    /// `subject`
    pub subject: SubjectScope,
    /// `role`
    pub role: RoleScope,
    /// `now`
    pub now: DateTime<Utc>,
    /// `pull_request`
    pub pull_request: PullRequestScope,
}

/// `request.…`; `params` is also at the top level.
#[derive(Debug, Clone)]
pub struct RequestScope {
    /// Login of the subject.
    pub subject: String,
    /// Role name.
    pub role: String,
    /// A CEL duration.
    pub duration: Duration,
    /// Hostile text.
    pub reason: String,
    /// Empty if left out.
    pub ticket: String,
    /// A CEL timestamp, or null.
    pub start: Option<DateTime<Utc>>,
    /// Whether the emergency path is asked for.
    pub break_glass: bool,
    /// Values with defaults filled in.
    pub params: BTreeMap<String, ParamValue>,
}

/// `subject.…`
#[derive(Debug, Clone, Default)]
pub struct SubjectScope {
    /// GitHub login.
    pub login: String,
    /// Slugs of the policy's teams the subject is in.
    pub teams: Vec<String>,
    /// Names of the policy's groups the subject is in.
    pub groups: Vec<String>,
    /// The subject's entry in `people`, also at the top level as `person`; absent texts are empty.
    pub person: Person,
}

/// `role.…`
#[derive(Debug, Clone)]
pub struct RoleScope {
    /// Role name.
    pub name: String,
    /// low, medium, high or critical.
    pub risk: &'static str,
    /// Its description.
    pub description: String,
}

/// `pull_request.…`
#[derive(Debug, Clone, Default, Serialize)]
pub struct PullRequestScope {
    /// Its number; 0 offline.
    pub number: u64,
    /// Login of its author; empty offline.
    pub author: String,
}

/// The names an expression may begin with, and their fields; `None`: any field.
const NAMES: &[(&str, Option<&[&str]>)] = &[
    ("request", Some(&["subject", "role", "duration", "reason", "ticket", "start", "break_glass", "params"])),
    ("subject", Some(&["login", "teams", "groups", "email", "postgres", "ssh", "other"])),
    ("role", Some(&["name", "risk", "description"])),
    ("now", Some(&[])),
    ("pull_request", Some(&["number", "author"])),
    ("params", None),
    ("person", Some(&["email", "postgres", "ssh", "other"])),
];

/// Functions of the standard environment and ours. Operators are calls too; their names begin with `_`, `!` or `@`.
const FUNCTIONS: &[&str] = &[
    "size",
    "matches",
    "contains",
    "startsWith",
    "endsWith",
    "duration",
    "timestamp",
    "string",
    "int",
    "uint",
    "double",
    "bool",
    "bytes",
    "type",
    "dyn",
    "getFullYear",
    "getMonth",
    "getDate",
    "getDayOfMonth",
    "getDayOfWeek",
    "getDayOfYear",
    "getHours",
    "getMinutes",
    "getSeconds",
    "getMilliseconds",
    "max",
    "min",
    "days",
];

impl Expression {
    /// Compiles `source`.
    pub fn compile(source: &str) -> Result<Self, ExpressionError> {
        bounded(source)?;
        on_big_stack(|| {
            let program = Program::compile(source).map_err(|errors| {
                let first = errors.errors.first();
                let message = first.map_or("it cannot be read".to_owned(), |error| error.msg.clone());
                // Positions count from 1; an expression of several lines is placed by its beginning.
                let offset =
                    first.filter(|error| error.pos.0 <= 1).and_then(|error| usize::try_from(error.pos.1 - 1).ok());
                ExpressionError {
                    offset,
                    ..ExpressionError::new(Kind::Syntax, format!("not a CEL expression: {}", one_line(&message)))
                }
            })?;
            let mut check = Check { program: &program, problem: None, bound: Vec::new() };
            check.walk(program.expression(), 0);
            match check.problem {
                Some(problem) => Err(problem),
                None => Ok(Self { source: source.to_owned(), program: Arc::new(program) }),
            }
        })
    }

    /// The text it was compiled from.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The parameters it asks for, as far as they are written out.
    pub fn params(&self) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        on_big_stack(|| params_in(self.program.expression(), &mut found));
        found
    }

    /// Whether it is true in `scope`. Anything but a boolean is an error.
    pub fn is_true(&self, scope: &Scope) -> Result<bool, ExpressionError> {
        match self.value(scope)? {
            Value::Bool(value) => Ok(value),
            other => {
                Err(ExpressionError::new(Kind::Value, format!("it gives {:?}, not true or false", other.type_of())))
            }
        }
    }

    fn value(&self, scope: &Scope) -> Result<Value, ExpressionError> {
        on_big_stack(|| {
            let context = context(scope).map_err(|error| ExpressionError::new(Kind::Value, error))?;
            self.program
                .execute(&context)
                .map_err(|error| ExpressionError::new(Kind::Value, one_line(&error.to_string())))
        })
    }
}

impl Template {
    /// Compiles `source`.
    pub fn compile(source: &str) -> Result<Self, ExpressionError> {
        let mut parts = Vec::new();
        let mut text = String::new();
        let mut rest = source;
        while let Some(at) = rest.find('$') {
            text.push_str(rest.get(..at).unwrap_or_default());
            rest = rest.get(at..).unwrap_or_default();
            if let Some(after) = rest.strip_prefix("$${") {
                text.push_str("${");
                rest = after;
            } else if let Some(after) = rest.strip_prefix("${") {
                let start = source.len() - after.len();
                let Some(end) = closing(after) else {
                    return Err(ExpressionError::new(Kind::Syntax, "`${` is never closed by `}`"));
                };
                let inner = after.get(..end).unwrap_or_default();
                let compiled = Expression::compile(inner).map_err(|error| {
                    let before = source.get(..start).map_or(0, |before| before.chars().count());
                    ExpressionError { offset: error.offset.map(|offset| offset + before), ..error }
                })?;
                if !text.is_empty() {
                    parts.push(Part::Text(std::mem::take(&mut text)));
                }
                parts.push(Part::Expression(compiled));
                rest = after.get(end + 1..).unwrap_or_default();
            } else {
                text.push('$');
                rest = rest.get(1..).unwrap_or_default();
            }
        }
        text.push_str(rest);
        if !text.is_empty() || parts.is_empty() {
            parts.push(Part::Text(text));
        }
        Ok(Self { source: source.to_owned(), parts })
    }

    /// The text it was compiled from.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The parameters it asks for.
    pub fn params(&self) -> BTreeSet<String> {
        let expressions = self.parts.iter().filter_map(|part| match part {
            Part::Expression(expression) => Some(expression.params()),
            Part::Text(_) => None,
        });
        expressions.flatten().collect()
    }

    /// The text with its expressions evaluated: texts, numbers and booleans may be inserted, nothing else.
    pub fn render(&self, scope: &Scope) -> Result<String, ExpressionError> {
        let mut out = String::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Expression(expression) => out.push_str(&text_of(&expression.value(scope)?)?),
            }
        }
        Ok(out)
    }

    /// Like [`Template::render`], but a template that is one expression and yields a list gives each of its texts.
    pub fn render_all(&self, scope: &Scope) -> Result<Vec<String>, ExpressionError> {
        if let [Part::Expression(expression)] = self.parts.as_slice()
            && let Value::List(list) = expression.value(scope)?
        {
            return list.iter().map(text_of).collect();
        }
        self.render(scope).map(|text| vec![text])
    }
}

/// The end of an expression inside a template: the first `}` outside of texts and inner braces.
fn closing(text: &str) -> Option<usize> {
    let (mut depth, mut quote, mut escaped) = (0_usize, None, false);
    for (at, c) in text.char_indices() {
        match (quote, c) {
            (Some(_), _) if escaped => escaped = false,
            (Some(_), '\\') => escaped = true,
            (Some(open), c) if c == open => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(c),
            (None, '{') => depth += 1,
            (None, '}') if depth == 0 => return Some(at),
            (None, '}') => depth -= 1,
            (None, _) => {}
        }
    }
    None
}

fn text_of(value: &Value) -> Result<String, ExpressionError> {
    match value {
        Value::String(text) => Ok(text.to_string()),
        Value::Int(number) => Ok(number.to_string()),
        Value::UInt(number) => Ok(number.to_string()),
        Value::Bool(value) => Ok(value.to_string()),
        other => Err(ExpressionError::new(
            Kind::Value,
            format!("it gives {:?}, which cannot be put into a text", other.type_of()),
        )),
    }
}

/// Refuses what could exhaust the stack before anything recursive sees it.
fn bounded(source: &str) -> Result<(), ExpressionError> {
    if source.trim().is_empty() {
        return Err(ExpressionError::new(Kind::Syntax, "the expression is empty"));
    }
    if source.chars().count() > LONGEST {
        return Err(ExpressionError::new(Kind::Size, format!("the expression is longer than {LONGEST} characters")));
    }
    let operators = source.chars().filter(|c| "+-*/%<>=!&|?:.,([{".contains(*c)).count()
        + source.split_whitespace().filter(|word| *word == "in").count();
    if operators > MOST_OPERATORS {
        let message = format!("the expression has {operators} operators; at most {MOST_OPERATORS} are read");
        return Err(ExpressionError::new(Kind::Size, message));
    }
    Ok(())
}

/// Runs `work` where its recursion has room.
fn on_big_stack<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("cel".to_owned()).stack_size(STACK).spawn_scoped(scope, work);
        match thread.map(std::thread::ScopedJoinHandle::join) {
            Ok(Ok(value)) => value,
            Ok(Err(panic)) => std::panic::resume_unwind(panic),
            // No thread to be had: the machine is out of memory, and nothing can be decided.
            Err(error) => std::panic::resume_unwind(Box::new(format!("no thread for an expression: {error}"))),
        }
    })
}

/// Finds names that do not exist, and loops that are too deep.
struct Check<'a> {
    program: &'a Program,
    problem: Option<ExpressionError>,
    /// Variables of the loops around.
    bound: Vec<String>,
}

impl Check<'_> {
    fn fail(&mut self, at: u64, kind: Kind, message: String, help: Option<String>) {
        let offset = self.program.source_info().offset_for(at).and_then(|(start, _)| usize::try_from(start).ok());
        let help = help.unwrap_or_default();
        self.problem.get_or_insert(ExpressionError { message, offset, kind, help });
    }

    fn walk(&mut self, node: &IdedExpr, loops: usize) {
        match &node.expr {
            Expr::Ident(name) => self.name(node.id, name),
            Expr::Select(select) => {
                if let Expr::Ident(name) = &select.operand.expr
                    && !self.bound.contains(name)
                    && let Some((_, Some(fields))) = NAMES.iter().find(|(known, _)| known == name)
                    && !fields.contains(&select.field.as_str())
                {
                    let near = suggest(&select.field, fields.iter().copied())
                        .map(|near| format!("Did you mean `{name}.{near}`?"));
                    let help = near.unwrap_or_else(|| format!("`{name}` has: {}.", fields.join(", ")));
                    self.fail(node.id, Kind::Name, format!("`{name}` has no field `{}`", select.field), Some(help));
                }
                self.walk(&select.operand, loops);
            }
            Expr::Call(call) => {
                let operator = call.func_name.starts_with(['_', '!', '@', '-']);
                if !operator && !FUNCTIONS.contains(&call.func_name.as_str()) {
                    let near = suggest(&call.func_name, FUNCTIONS.iter().copied())
                        .map(|near| format!("Did you mean `{near}`?"));
                    self.fail(node.id, Kind::Name, format!("there is no function `{}`", call.func_name), near);
                }
                self.literal_regex(node.id, call);
                call.target.iter().for_each(|target| self.walk(target, loops));
                call.args.iter().for_each(|arg| self.walk(arg, loops));
            }
            Expr::Comprehension(each) => {
                if loops >= DEEPEST_LOOP {
                    self.fail(node.id, Kind::Size, format!("loops are nested deeper than {DEEPEST_LOOP}"), None);
                }
                self.walk(&each.iter_range, loops);
                self.walk(&each.accu_init, loops);
                let names = [Some(each.iter_var.clone()), each.iter_var2.clone(), Some(each.accu_var.clone())];
                let before = self.bound.len();
                self.bound.extend(names.into_iter().flatten());
                for part in [&each.loop_cond, &each.loop_step, &each.result] {
                    self.walk(part, loops + 1);
                }
                self.bound.truncate(before);
            }
            Expr::List(list) => list.elements.iter().for_each(|element| self.walk(element, loops)),
            Expr::Map(map) => map.entries.iter().for_each(|entry| self.entry(&entry.expr, loops)),
            Expr::Struct(made) => {
                self.fail(node.id, Kind::Name, format!("there is no type `{}`", made.type_name), None)
            }
            Expr::Literal(_) | Expr::Unspecified => {}
        }
    }

    fn entry(&mut self, entry: &EntryExpr, loops: usize) {
        match entry {
            EntryExpr::MapEntry(entry) => {
                self.walk(&entry.key, loops);
                self.walk(&entry.value, loops);
            }
            EntryExpr::StructField(field) => self.walk(&field.value, loops),
        }
    }

    fn name(&mut self, at: u64, name: &str) {
        let known = || NAMES.iter().map(|(name, _)| *name);
        if self.bound.iter().any(|bound| bound == name) || known().any(|known| known == name) || name.starts_with('@') {
            return;
        }
        let near = suggest(name, known()).map(|near| format!("Did you mean `{near}`?"));
        let help = near.unwrap_or_else(|| format!("Known are: {}.", known().collect::<Vec<_>>().join(", ")));
        self.fail(at, Kind::Name, format!("there is nothing called `{name}`"), Some(help));
    }

    /// A pattern that is written out is tried now, not at three in the morning.
    fn literal_regex(&mut self, at: u64, call: &cel::common::ast::CallExpr) {
        use cel::common::ast::LiteralValue;
        if call.func_name != "matches" {
            return;
        }
        if let Some(Expr::Literal(LiteralValue::String(pattern))) = call.args.last().map(|arg| &arg.expr) {
            let pattern: &str = pattern.inner();
            if let Err(error) = regex::Regex::new(pattern) {
                self.fail(
                    at,
                    Kind::Syntax,
                    format!("the pattern cannot be read: {}", one_line(&error.to_string())),
                    None,
                );
            }
        }
    }
}

fn params_in(node: &IdedExpr, found: &mut BTreeSet<String>) {
    match &node.expr {
        Expr::Select(select) => {
            let of_params = match &select.operand.expr {
                Expr::Ident(name) => name == "params",
                Expr::Select(inner) => {
                    inner.field == "params" && matches!(&inner.operand.expr, Expr::Ident(name) if name == "request")
                }
                _ => false,
            };
            // `has(params.x)` asks whether it is there; that may be about a declared one only, too.
            if of_params {
                found.insert(select.field.clone());
            }
            params_in(&select.operand, found);
        }
        Expr::Call(call) => call.target.as_deref().into_iter().chain(&call.args).for_each(|arg| params_in(arg, found)),
        Expr::Comprehension(each) => {
            for part in [&each.iter_range, &each.accu_init, &each.loop_cond, &each.loop_step, &each.result] {
                params_in(part, found);
            }
        }
        Expr::List(list) => list.elements.iter().for_each(|element| params_in(element, found)),
        Expr::Map(map) => {
            for entry in &map.entries {
                if let EntryExpr::MapEntry(entry) = &entry.expr {
                    params_in(&entry.key, found);
                    params_in(&entry.value, found);
                }
            }
        }
        Expr::Ident(_) | Expr::Literal(_) | Expr::Struct(_) | Expr::Unspecified => {}
    }
}

#[derive(Serialize)]
struct RequestVars<'a> {
    subject: &'a str,
    role: &'a str,
    duration: cel::Duration,
    reason: &'a str,
    ticket: &'a str,
    start: Option<cel::Timestamp>,
    break_glass: bool,
    params: &'a BTreeMap<String, ParamValue>,
}

#[derive(Serialize)]
struct PersonVars<'a> {
    email: &'a str,
    postgres: &'a str,
    ssh: &'a [String],
    other: &'a BTreeMap<String, String>,
}

#[derive(Serialize)]
struct SubjectVars<'a> {
    login: &'a str,
    teams: &'a [String],
    groups: &'a [String],
    #[serde(flatten)]
    person: PersonVars<'a>,
}

#[derive(Serialize)]
struct RoleVars<'a> {
    name: &'a str,
    risk: &'a str,
    description: &'a str,
}

fn person(person: &Person) -> PersonVars<'_> {
    PersonVars {
        email: person.email.as_deref().unwrap_or_default(),
        postgres: person.postgres.as_deref().unwrap_or_default(),
        ssh: &person.ssh,
        other: &person.other,
    }
}

fn context(scope: &Scope) -> Result<Context<'static, 'static>, String> {
    let mut context = Context::default();
    let mut add = |name: &'static str, value: Result<Value, cel::SerializationError>| {
        value.map(|value| context.add_variable_from_value(name, value)).map_err(|error| format!("`{name}`: {error}"))
    };
    let request = &scope.request;
    add(
        "request",
        cel::to_value(RequestVars {
            subject: &request.subject,
            role: &request.role,
            duration: cel::Duration(request.duration.delta()),
            reason: &request.reason,
            ticket: &request.ticket,
            start: request.start.map(|start| cel::Timestamp(start.fixed_offset())),
            break_glass: request.break_glass,
            params: &request.params,
        }),
    )?;
    add("params", cel::to_value(&request.params))?;
    add(
        "subject",
        cel::to_value(SubjectVars {
            login: &scope.subject.login,
            teams: &scope.subject.teams,
            groups: &scope.subject.groups,
            person: person(&scope.subject.person),
        }),
    )?;
    add("person", cel::to_value(person(&scope.subject.person)))?;
    let role = RoleVars { name: &scope.role.name, risk: scope.role.risk, description: &scope.role.description };
    add("role", cel::to_value(role))?;
    add("now", cel::to_value(cel::Timestamp(scope.now.fixed_offset())))?;
    add("pull_request", cel::to_value(&scope.pull_request))?;
    context
        .add_function("days", |days: i64| {
            Value::Duration(chrono::TimeDelta::try_days(days.clamp(-36_600, 36_600)).unwrap_or_default())
        })
        .map_err(|error| error.to_string())?;
    Ok(context)
}

fn one_line(text: &str) -> String {
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(300).collect();
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests;
