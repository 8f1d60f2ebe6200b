//! Conditions that come out the same whatever their parts do: `x != 'a' || x != 'b'`, `x > 4 && x < 2`, `p || !p`.
//!
//! The comparisons of one thing with values that are written out split what it can be into a few cases: equal to one of the
//! values, or between two of them. Every combination of cases is tried. What is called always true is never false: a part that
//! fails makes the whole fail, or does not matter.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use cel::common::ast::{Expr, LiteralValue};
use cel::{IdedExpr, Value};

use super::check::Fact;
use super::known::Known;
use super::shape::shape;
use super::types::{Type, Types};

/// Combinations of cases that are tried; above that nothing is said.
const MOST_COMBINATIONS: usize = 4_096;

/// A condition as a formula over things that are independent of each other.
enum Formula {
    Always(bool),
    Not(Box<Formula>),
    And(Box<Formula>, Box<Formula>),
    Or(Box<Formula>, Box<Formula>),
    /// A thing compared with a value, both by number.
    Is(usize, Order, usize),
}

#[derive(Clone, Copy)]
enum Order {
    Equal,
    Less,
    LessOrEqual,
}

/// Something that is compared with values.
struct Thing {
    values: Vec<Value>,
    known: Known,
}

struct Reading<'a> {
    facts: &'a BTreeMap<u64, Fact>,
    patterns: &'a [regex::Regex],
    things: Vec<Thing>,
    numbers: BTreeMap<String, usize>,
}

/// What a condition always is, if it is. `facts` are about its nodes.
pub(super) fn constant(node: &IdedExpr, facts: &BTreeMap<u64, Fact>, patterns: &[regex::Regex]) -> Option<bool> {
    let mut reading = Reading { facts, patterns, things: Vec::new(), numbers: BTreeMap::new() };
    let formula = reading.read(node);
    let cases: Vec<Cases> = reading.things.iter().map(Cases::of).collect::<Option<_>>()?;
    let combinations = cases.iter().try_fold(1_usize, |all, cases| all.checked_mul(cases.possible.len()));
    let combinations = combinations.filter(|combinations| (1..=MOST_COMBINATIONS).contains(combinations))?;
    let mut truth = None;
    for combination in 0..combinations {
        let this = formula.holds(&chosen(combination, &cases), &cases);
        if truth.is_some_and(|truth| truth != this) {
            return None;
        }
        truth = Some(this);
    }
    truth
}

/// The case of each thing in a combination.
fn chosen(mut combination: usize, cases: &[Cases]) -> Vec<usize> {
    let mut chosen = Vec::new();
    for cases in cases {
        let count = cases.possible.len().max(1);
        chosen.push(cases.possible.get(combination % count).copied().unwrap_or_default());
        combination /= count;
    }
    chosen
}

/// The parts of a condition that are conditions themselves.
pub(super) fn inner(node: &IdedExpr) -> &[IdedExpr] {
    match &node.expr {
        Expr::Call(call) if matches!(call.func_name.as_str(), "_&&_" | "_||_" | "!_" | "_?_:_") => &call.args,
        _ => &[],
    }
}

impl Reading<'_> {
    fn read(&mut self, node: &IdedExpr) -> Formula {
        let call = match &node.expr {
            Expr::Call(call) => call,
            Expr::Literal(LiteralValue::Boolean(value)) => return Formula::Always(*value.inner()),
            _ => return self.atom(shape(node, self.patterns)),
        };
        let not = |formula| Formula::Not(Box::new(formula));
        match (call.func_name.as_str(), call.args.as_slice()) {
            ("_&&_", [one, other]) => Formula::And(Box::new(self.read(one)), Box::new(self.read(other))),
            ("_||_", [one, other]) => Formula::Or(Box::new(self.read(one)), Box::new(self.read(other))),
            ("!_", [one]) => not(self.read(one)),
            ("_==_", [one, other]) => self.compare(Order::Equal, one, other),
            ("_!=_", [one, other]) => not(self.compare(Order::Equal, one, other)),
            ("_<_", [one, other]) => self.compare(Order::Less, one, other),
            ("_<=_", [one, other]) => self.compare(Order::LessOrEqual, one, other),
            ("_>_", [one, other]) => self.compare(Order::Less, other, one),
            ("_>=_", [one, other]) => self.compare(Order::LessOrEqual, other, one),
            ("@in", [one, IdedExpr { expr: Expr::List(list), .. }]) => {
                let each = list.elements.iter().map(|element| self.compare(Order::Equal, one, element));
                let each: Vec<Formula> = each.collect();
                let or = |all, one| Formula::Or(Box::new(all), Box::new(one));
                each.into_iter().fold(Formula::Always(false), or)
            }
            _ => self.atom(shape(node, self.patterns)),
        }
    }

    /// Something that is true or false, known by `name`.
    fn atom(&mut self, name: String) -> Formula {
        let number = self.thing(name, Known::OneOf(vec![Value::Bool(false), Value::Bool(true)]));
        self.is(number, Order::Equal, Value::Bool(true))
    }

    fn compare(&mut self, order: Order, left: &IdedExpr, right: &IdedExpr) -> Formula {
        let (one, other) = (shape(left, self.patterns), shape(right, self.patterns));
        let exact = self.is_exact(left) && self.is_exact(right);
        if exact && one == other {
            return Formula::Always(!matches!(order, Order::Less));
        }
        if let (true, Some(value), None) = (exact, self.value(right), self.value(left)) {
            let known = self.facts.get(&left.id).map_or(Known::Nothing, |fact| fact.known.clone());
            let thing = self.thing(format!("{one} {:?}", value.type_of()), known);
            return self.is(thing, order, value);
        }
        if let (true, Some(value), None) = (exact, self.value(left), self.value(right)) {
            let known = self.facts.get(&right.id).map_or(Known::Nothing, |fact| fact.known.clone());
            let thing = self.thing(format!("{other} {:?}", value.type_of()), known);
            // `value < thing` is not `thing <= value`.
            return match order {
                Order::Equal => self.is(thing, order, value),
                Order::Less => Formula::Not(Box::new(self.is(thing, Order::LessOrEqual, value))),
                Order::LessOrEqual => Formula::Not(Box::new(self.is(thing, Order::Less, value))),
            };
        }
        match order {
            Order::Equal if one > other => self.atom(format!("{other} == {one}")),
            Order::Equal => self.atom(format!("{one} == {other}")),
            Order::Less => self.atom(format!("{one} < {other}")),
            Order::LessOrEqual if exact => Formula::Not(Box::new(self.atom(format!("{other} < {one}")))),
            Order::LessOrEqual => self.atom(format!("{one} <= {other}")),
        }
    }

    /// Whether it has a place in an order, and is equal to itself: not so numbers with a fraction, which may be none.
    fn is_exact(&self, node: &IdedExpr) -> bool {
        let exact = |given: &Type| {
            matches!(
                given,
                Type::Null | Type::Bool | Type::Int | Type::Uint | Type::Text | Type::Duration | Type::Timestamp
            )
        };
        let types = self.facts.get(&node.id).map(|fact: &Fact| &fact.types);
        types.and_then(Types::known).is_some_and(|types| types.iter().all(exact))
    }

    /// The value, if there is only one.
    fn value(&self, node: &IdedExpr) -> Option<Value> {
        match &self.facts.get(&node.id)?.known {
            Known::OneOf(values) => match values.as_slice() {
                [value] => Some(value.clone()),
                _ => None,
            },
            _ => None,
        }
    }

    fn thing(&mut self, name: String, known: Known) -> usize {
        let things = &mut self.things;
        *self.numbers.entry(name).or_insert_with(|| {
            things.push(Thing { values: Vec::new(), known });
            things.len() - 1
        })
    }

    fn is(&mut self, thing: usize, order: Order, value: Value) -> Formula {
        let Some(values) = self.things.get_mut(thing).map(|thing| &mut thing.values) else {
            return Formula::Always(false);
        };
        let number = values.iter().position(|known| *known == value).unwrap_or_else(|| {
            values.push(value);
            values.len() - 1
        });
        Formula::Is(thing, order, number)
    }
}

/// What a thing can be: case `2n + 1` is the value of rank `n`, the even ones lie between two values or beyond them.
struct Cases {
    /// The rank of each value.
    ranks: Vec<usize>,
    possible: Vec<usize>,
}

impl Cases {
    fn of(thing: &Thing) -> Option<Self> {
        let rank = |value: &Value| {
            let orders: Option<Vec<Ordering>> = thing.values.iter().map(|other| other.partial_cmp(value)).collect();
            Some(orders?.into_iter().filter(|order| *order == Ordering::Less).count())
        };
        let ranks: Vec<usize> = thing.values.iter().map(rank).collect::<Option<_>>()?;
        let case = |value: &Value| {
            let equal = thing.values.iter().any(|known| known == value);
            rank(value).map(|rank| 2 * rank + usize::from(equal))
        };
        let all = (0..=2 * thing.values.len()).collect::<Vec<_>>();
        let possible = match &thing.known {
            Known::OneOf(values) => values.iter().map(case).collect::<Option<Vec<_>>>(),
            Known::Between(least, most) => case(least).zip(case(most)).map(|(least, most)| (least..=most).collect()),
            Known::Nothing | Known::Elements(_) | Known::LowerCase | Known::LowerCaseList | Known::Length(..) => None,
        };
        let mut possible = possible.unwrap_or(all);
        possible.sort_unstable();
        possible.dedup();
        Some(Self { ranks, possible })
    }
}

impl Formula {
    fn holds(&self, chosen: &[usize], cases: &[Cases]) -> bool {
        match self {
            Self::Always(truth) => *truth,
            Self::Not(one) => !one.holds(chosen, cases),
            Self::And(one, other) => one.holds(chosen, cases) && other.holds(chosen, cases),
            Self::Or(one, other) => one.holds(chosen, cases) || other.holds(chosen, cases),
            Self::Is(thing, order, value) => {
                let rank = cases.get(*thing).and_then(|cases| cases.ranks.get(*value)).copied().unwrap_or_default();
                let (case, exactly) = (chosen.get(*thing).copied().unwrap_or_default(), 2 * rank + 1);
                match order {
                    Order::Equal => case == exactly,
                    Order::Less => case < exactly,
                    Order::LessOrEqual => case <= exactly,
                }
            }
        }
    }
}
