//! The limits that keep a hostile expression from exhausting the stack, the memory or the time.
//!
//! Three of them hold together: the length bounds how deep anything recursive can go, and the thread it runs on has a stack for
//! that; the operators are counted before parsing, so that what is read is small; and the work is estimated from the syntax tree
//! and the lengths of the lists, because loops inside loops multiply.

use cel::IdedExpr;
use cel::common::ast::{EntryExpr, Expr, LiteralValue};

use super::super::Code;
use super::super::request::is_deceptive;
use super::eval::{ANY_PATTERN, PATTERN};
use super::{Problem, Scope, Span};

/// Characters an expression may have.
pub(super) const LONGEST: usize = 1_024;
/// Operators, selectors and brackets an expression may have.
pub(super) const MOST_OPERATORS: usize = 100;
/// How deep the syntax tree may be. [`MOST_OPERATORS`] spell no more; this holds if the count should be wrong, for trees are
/// dropped on any stack.
pub(super) const DEEPEST: usize = 150;
/// How deep `all`, `exists`, `map` and `filter` may be nested.
pub(super) const DEEPEST_LOOP: usize = 2;
/// Steps an evaluation may take; a step is a third of a microsecond at most in a release build.
pub(super) const MOST_WORK: u64 = 3_000_000;
/// Names the lists of a person are assumed to have when an expression is compiled.
const USUAL_LIST: u64 = 100;

/// The stack of the thread that parses and evaluates. The deepest tree that [`LONGEST`] characters can spell takes about half of
/// it in a debug build; memory that is never touched costs nothing.
const STACK: usize = 128 << 20;
/// Trees up to this depth are evaluated where the caller stands: they take less than 256 KiB of stack in a debug build.
pub(super) const SHALLOW: usize = 16;

/// Refuses what is too much before anything recursive sees it.
pub(super) fn bounded(source: &str) -> Result<(), Problem> {
    if source.trim().is_empty() {
        return Err(Problem::error(Code::BadExpression, Span::default(), "the expression is empty"));
    }
    if source.chars().count() > LONGEST {
        let message = format!("the expression is longer than {LONGEST} characters");
        return Err(Problem::error(Code::ExpressionTooLarge, Span::default(), message));
    }
    if let Some((start, c)) = source.chars().enumerate().find(|(_, c)| is_deceptive(*c)) {
        let message = format!("the expression has the invisible or control character U+{:04X}", u32::from(c));
        return Err(Problem::error(Code::HiddenText, Span { start, length: 1 }, message));
    }
    let operators = operators(source);
    if operators > MOST_OPERATORS {
        let message = format!("the expression has {operators} operators; at most {MOST_OPERATORS} are read");
        return Err(Problem::error(Code::ExpressionTooLarge, Span::default(), message));
    }
    Ok(())
}

/// Counts operators, selectors and brackets outside of texts and comments. A mistake here cannot do harm: the stack bears any
/// expression of [`LONGEST`] characters.
fn operators(source: &str) -> usize {
    let mut count = 0;
    let mut rest = source;
    while let Some(first) = rest.chars().next() {
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if first.is_alphanumeric() || first == '_' {
            let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
            let word = rest.get(..end).unwrap_or_default();
            count += usize::from(word == "in");
            let raw = matches!(word.to_ascii_lowercase().as_str(), "r" | "rb" | "br");
            end + if raw { text_length(rest.get(end..).unwrap_or_default(), true) } else { 0 }
        } else if matches!(first, '\'' | '"') {
            text_length(rest, false)
        } else {
            count += usize::from("+-*/%<>=!&|?:.,([{".contains(first));
            first.len_utf8()
        };
        rest = rest.get(skipped.max(1)..).unwrap_or_default();
    }
    count
}

/// How many bytes the text literal at the beginning of `source` takes; 0 if there is none.
fn text_length(source: &str, raw: bool) -> usize {
    let Some(quote) = source.chars().next().filter(|c| matches!(c, '\'' | '"')) else { return 0 };
    let triple = quote.to_string().repeat(3);
    let end = if source.starts_with(&triple) { triple } else { quote.to_string() };
    let mut at = end.len();
    while let Some(next) = source.get(at..).and_then(|rest| rest.chars().next()) {
        if source.get(at..).is_some_and(|rest| rest.starts_with(&end)) {
            return at + end.len();
        }
        at += next.len_utf8();
        if next == '\\' && !raw {
            at += source.get(at..).and_then(|rest| rest.chars().next()).map_or(0, char::len_utf8);
        }
    }
    source.len()
}

/// Runs `work` where its recursion has room. `None`: there is no thread to be had, or `work` panicked.
pub(super) fn on_big_stack<T: Send>(work: impl FnOnce() -> T + Send) -> Option<T> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("cel".to_owned()).stack_size(STACK).spawn_scoped(scope, work);
        thread.ok()?.join().ok()
    })
}

/// The parts a node is made of.
pub(super) fn parts(node: &IdedExpr) -> Vec<&IdedExpr> {
    match &node.expr {
        Expr::Select(select) => vec![&select.operand],
        Expr::Call(call) => call.target.as_deref().into_iter().chain(&call.args).collect(),
        Expr::Comprehension(each) => {
            vec![&each.iter_range, &each.accu_init, &each.loop_cond, &each.loop_step, &each.result]
        }
        Expr::List(list) => list.elements.iter().collect(),
        Expr::Map(map) => map.entries.iter().flat_map(|entry| entries(&entry.expr)).collect(),
        Expr::Struct(made) => made.entries.iter().flat_map(|entry| entries(&entry.expr)).collect(),
        Expr::Ident(_) | Expr::Literal(_) | Expr::Unspecified => Vec::new(),
    }
}

fn entries(entry: &EntryExpr) -> Vec<&IdedExpr> {
    match entry {
        EntryExpr::MapEntry(entry) => vec![&entry.key, &entry.value],
        EntryExpr::StructField(field) => vec![&field.value],
    }
}

/// How deep a tree is.
pub(super) fn depth(node: &IdedExpr) -> usize {
    1 + parts(node).into_iter().map(depth).max().unwrap_or(0)
}

/// How deep loops are nested in it.
pub(super) fn loops(node: &IdedExpr) -> usize {
    let inside = |parts: &[&IdedExpr]| parts.iter().map(|part| loops(part)).max().unwrap_or(0);
    match &node.expr {
        Expr::Comprehension(each) => {
            let around = inside(&[&each.iter_range, &each.accu_init]);
            around.max(1 + inside(&[&each.loop_cond, &each.loop_step, &each.result]))
        }
        _ => inside(&parts(node)),
    }
}

/// Whether a tree asks for nothing from outside of it.
pub(super) fn closed(node: &IdedExpr) -> bool {
    fn free<'a>(node: &'a IdedExpr, bound: &mut Vec<&'a str>) -> bool {
        match &node.expr {
            Expr::Ident(name) => !bound.contains(&name.as_str()),
            Expr::Comprehension(each) => {
                if free(&each.iter_range, bound) || free(&each.accu_init, bound) {
                    return true;
                }
                let before = bound.len();
                bound.extend([each.iter_var.as_str(), each.accu_var.as_str()]);
                let inner = [&each.loop_cond, &each.loop_step, &each.result].into_iter().any(|part| free(part, bound));
                bound.truncate(before);
                inner
            }
            _ => parts(node).into_iter().any(|part| free(part, bound)),
        }
    }
    !free(node, &mut Vec::new())
}

/// How long the lists and texts are that an expression can reach.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lengths {
    list: u64,
    text: u64,
}

impl Lengths {
    /// What is assumed while nobody has asked for anything.
    pub(super) const USUAL: Self = Self { list: USUAL_LIST, text: weight_of_text(256) };

    pub(super) fn of(scope: &Scope) -> Self {
        let (subject, request) = (&scope.subject, &scope.request);
        let person = &subject.person;
        let lists = [&subject.teams, &subject.groups, &person.ssh];
        let list = lists.iter().map(|list| list.len()).chain([person.other.len(), request.params.len(), 11]).max();
        let params = request.params.values().filter_map(|value| match value {
            super::super::model::ParamValue::String(text) => Some(text),
            _ => None,
        });
        let texts = lists.into_iter().flatten().chain(person.other.iter().flat_map(|(key, value)| [key, value]));
        let texts = texts.chain(params).chain(request.params.keys()).chain(&person.email).chain(&person.postgres);
        let texts = texts.chain([&request.reason, &request.ticket, &scope.role.description]);
        let text = texts.map(String::len).max().unwrap_or(0);
        Self { list: list.unwrap_or(0) as u64, text: weight_of_text(text) }
    }
}

const fn weight_of_text(bytes: usize) -> u64 {
    1 + bytes as u64 / 64
}

/// An upper bound of a value: its elements, the weight of the heaviest of them, the weight of all of it.
#[derive(Debug, Clone, Copy)]
struct Bound {
    length: u64,
    element: u64,
    weight: u64,
}

impl Bound {
    const fn scalar(weight: u64) -> Self {
        Self { length: weight, element: weight, weight }
    }

    fn list(length: u64, element: u64) -> Self {
        Self { length, element, weight: length.saturating_mul(element).saturating_add(1) }
    }

    fn max(self, other: Self) -> Self {
        Self {
            length: self.length.max(other.length),
            element: self.element.max(other.element),
            weight: self.weight.max(other.weight),
        }
    }

    fn plus(self, other: Self) -> Self {
        Self {
            length: self.length.saturating_add(other.length),
            element: self.element.max(other.element),
            weight: self.weight.saturating_add(other.weight),
        }
    }
}

/// An upper bound of the steps that an evaluation takes.
pub(super) fn work(node: &IdedExpr, lengths: Lengths) -> u64 {
    let mut estimate = Estimate { lengths, bound: Vec::new(), work: 0 };
    estimate.walk(node, 1);
    estimate.work
}

struct Estimate<'a> {
    lengths: Lengths,
    /// The variables of the loops around.
    bound: Vec<(&'a str, Bound)>,
    work: u64,
}

impl<'a> Estimate<'a> {
    fn spend(&mut self, times: u64, steps: u64) {
        self.work = self.work.saturating_add(times.saturating_mul(steps));
    }

    /// Adds the work of `node`, done `times` times, and gives the bound of its value.
    fn walk(&mut self, node: &'a IdedExpr, times: u64) -> Bound {
        self.spend(times, 1);
        match &node.expr {
            Expr::Literal(LiteralValue::String(text)) => Bound::scalar(weight_of_text(text.inner().len())),
            Expr::Literal(LiteralValue::Bytes(bytes)) => Bound::scalar(weight_of_text(bytes.inner().len())),
            Expr::Literal(_) | Expr::Unspecified => Bound::scalar(1),
            Expr::Ident(name) => {
                let inner = self.bound.iter().rev().find(|(bound, _)| bound == name);
                // One of the names: a map, in some of which there are lists.
                let list = Bound::list(self.lengths.list, self.lengths.text).weight;
                let name = Bound { length: self.lengths.list, element: list, weight: list.saturating_mul(4) };
                inner.map_or(name, |(_, bound)| *bound)
            }
            Expr::Select(select) => {
                let from = self.walk(&select.operand, times);
                let bound = |name: &str| self.bound.iter().any(|(bound, _)| *bound == name);
                let known = matches!(&select.operand.expr, Expr::Ident(name) if !bound(name));
                if known && matches!(select.field.as_str(), "teams" | "groups" | "ssh" | "other" | "params") {
                    Bound::list(self.lengths.list, self.lengths.text)
                } else if known {
                    Bound::scalar(self.lengths.text)
                } else {
                    Bound::scalar(from.element)
                }
            }
            Expr::Call(call) => {
                let given: Vec<Bound> = parts(node).into_iter().map(|part| self.walk(part, times)).collect();
                let weight = given.iter().fold(0_u64, |all, given| all.saturating_add(given.weight));
                match (call.func_name.as_str(), given.as_slice()) {
                    ("_&&_" | "_||_" | "!_" | "@not_strictly_false", _) => Bound::scalar(1),
                    ("_?_:_", [_, one, other]) => one.max(*other),
                    ("_+_", [one, other]) => {
                        self.spend(times, weight);
                        one.plus(*other)
                    }
                    ("_[_]", [from, _]) => Bound::scalar(from.element),
                    (PATTERN, _) => {
                        self.spend(times, weight.saturating_mul(16));
                        Bound::scalar(1)
                    }
                    // A pattern that is not written out is compiled each time.
                    (ANY_PATTERN, _) => {
                        self.spend(times, weight.saturating_mul(64).saturating_add(3_000));
                        Bound::scalar(1)
                    }
                    ("string" | "bytes" | "dyn", [one]) => {
                        self.spend(times, weight);
                        *one
                    }
                    _ => {
                        self.spend(times, weight);
                        Bound::scalar(1)
                    }
                }
            }
            Expr::List(list) => {
                let given: Vec<Bound> = list.elements.iter().map(|element| self.walk(element, times)).collect();
                let heaviest = given.iter().map(|given| given.weight).max().unwrap_or(1);
                let made = Bound::list(given.len() as u64, heaviest);
                self.spend(times, made.weight);
                made
            }
            Expr::Map(_) | Expr::Struct(_) => {
                let given: Vec<Bound> = parts(node).into_iter().map(|part| self.walk(part, times)).collect();
                let heaviest = given.iter().map(|given| given.weight).max().unwrap_or(1);
                let made = Bound::list(given.len() as u64, heaviest);
                self.spend(times, made.weight);
                made
            }
            Expr::Comprehension(each) => {
                let range = self.walk(&each.iter_range, times);
                self.walk(&each.accu_init, times);
                let rounds = times.saturating_mul(range.length);
                self.spend(rounds, range.element.saturating_add(2));
                let before = self.bound.len();
                self.bound.push((&each.accu_var, Bound::scalar(1)));
                self.bound.push((&each.iter_var, Bound::scalar(range.element)));
                self.walk(&each.loop_cond, rounds);
                let step = self.walk(&each.loop_step, rounds);
                self.bound.truncate(before);
                match &each.accu_init.expr {
                    Expr::List(_) => {
                        let made = Bound::list(range.length, step.element.max(1));
                        self.spend(times, made.weight);
                        made
                    }
                    _ => Bound::scalar(1),
                }
            }
        }
    }
}
