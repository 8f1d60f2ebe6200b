//! The static check of an expression: names, types, and what is always true or always false.
//!
//! Nothing is said where a type is not known. What is called an error fails in every evaluation that reaches it; what is called
//! always true is never false, and the other way round. The tests hold the check to that.

use std::collections::BTreeMap;

use cel::common::ast::{CallExpr, ComprehensionExpr, Expr, LiteralValue, SelectExpr};
use cel::{IdedExpr, Value};

use super::super::{Code, Severity, suggest};
use super::eval::{ANY_PATTERN, PATTERN, Program};
use super::functions::{MACROS, SIGNATURES, Signature, binary};
use super::known::Known;
use super::source::Source;
use super::types::{Environment, NAMES, Record, Type, Types};
use super::{Problem, limits, literals};

mod meant;
mod verdict;

/// Steps that the evaluation of a part without names may take while it is checked.
const MOST_WORK: u64 = 20_000;

/// What an expression has to give.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// True or false.
    Condition,
    /// What can be put into a text.
    Text,
    /// The same, or a list of texts.
    Texts,
}

/// What is known about the value of a node.
#[derive(Debug, Clone)]
pub(super) struct Fact {
    pub(super) types: Types,
    pub(super) known: Known,
}

impl From<Types> for Fact {
    fn from(types: Types) -> Self {
        Self { types, known: Known::Nothing }
    }
}

impl From<Type> for Fact {
    fn from(one: Type) -> Self {
        Types::from(one).into()
    }
}

pub(super) struct Check<'a> {
    environment: &'a Environment<'a>,
    source: &'a Source<'a>,
    program: &'a Program,
    problems: Vec<Problem>,
    /// Variables of the loops around.
    bound: Vec<(&'a str, Fact)>,
    /// What was found out, by node.
    facts: BTreeMap<u64, Fact>,
}

/// Everything that is wrong with an expression, and what it always is, if that is certain.
pub(super) fn check<'a>(
    program: &'a Program,
    source: &'a Source<'a>,
    environment: &'a Environment<'a>,
    wanted: Wanted,
) -> (Vec<Problem>, Option<bool>) {
    let tree = &program.tree;
    let (problems, bound, facts) = (Vec::new(), Vec::new(), BTreeMap::new());
    let mut check = Check { environment, source, program, problems, bound, facts };
    let fact = check.walk(tree);
    let truth = check.result(tree, &fact, wanted);
    (check.problems, truth)
}

impl<'a> Check<'a> {
    fn error(&mut self, node: &IdedExpr, code: Code, message: impl Into<String>, help: impl Into<String>) {
        self.problems
            .push(Problem { help: help.into(), ..Problem::error(code, self.source.span(node), message) }.at(node));
    }

    /// What a list of names offers instead of one that is not among them.
    fn instead<'n>(name: &str, known: impl IntoIterator<Item = &'n str> + Clone, otherwise: &str) -> String {
        match suggest(name, known.clone()) {
            Some(near) => format!("Did you mean `{near}`?"),
            None => {
                let known: Vec<&str> = known.into_iter().collect();
                format!("{otherwise}: {}.", known.join(", "))
            }
        }
    }

    fn walk(&mut self, node: &'a IdedExpr) -> Fact {
        let errors = |check: &Self| check.problems.iter().filter(|problem| problem.severity == Severity::Error).count();
        let before = errors(self);
        let mut fact = self.fact(node);
        let literal = matches!(node.expr, Expr::Literal(_) | Expr::Ident(_));
        if !literal
            && errors(self) == before
            && limits::closed(node)
            && limits::work(node, limits::Lengths::USUAL) <= MOST_WORK
        {
            match self.program.part(node, None) {
                Ok(value) => fact.known = Known::OneOf(vec![value]),
                Err(problem) => {
                    self.error(node, Code::BadExpression, format!("this always fails: {problem}"), "");
                }
            }
        }
        self.facts.insert(node.id, fact.clone());
        fact
    }

    fn fact(&mut self, node: &'a IdedExpr) -> Fact {
        match &node.expr {
            Expr::Literal(literal) => self.literal(literal),
            Expr::Ident(name) => self.name(node, name),
            Expr::Select(select) => self.select(node, select),
            Expr::Call(call) => self.call(node, call),
            Expr::Comprehension(each) => self.comprehension(node, each),
            Expr::List(list) => {
                let each = list.elements.iter().map(|element| self.walk(element).types);
                Types::list(each.fold(Types::OneOf(Vec::new()), Types::or)).into()
            }
            Expr::Map(_) => {
                let parts: Vec<Types> = limits::parts(node).into_iter().map(|part| self.walk(part).types).collect();
                let every = |first: usize| {
                    let found = parts.iter().skip(first).step_by(2).cloned();
                    Box::new(found.fold(Types::OneOf(Vec::new()), Types::or))
                };
                Type::Map(every(0), every(1)).into()
            }
            Expr::Struct(made) => {
                let message = format!("there is no type `{}`", made.type_name);
                self.error(node, Code::UnknownName, message, Code::UnknownName.explanation());
                Types::Any.into()
            }
            Expr::Unspecified => Types::Any.into(),
        }
    }

    fn literal(&self, literal: &LiteralValue) -> Fact {
        let (given, value) = match literal {
            LiteralValue::Boolean(value) => (Type::Bool, Value::Bool(*value.inner())),
            LiteralValue::Int(value) => (Type::Int, Value::Int(*value.inner())),
            LiteralValue::UInt(value) => (Type::Uint, Value::UInt(*value.inner())),
            LiteralValue::Double(value) => (Type::Double, Value::Float(*value.inner())),
            LiteralValue::String(value) => (Type::Text, Value::from(value.inner())),
            LiteralValue::Bytes(value) => (Type::Bytes, Value::from(value.inner().to_vec())),
            LiteralValue::Null => (Type::Null, Value::Null),
        };
        Fact { types: given.into(), known: Known::OneOf(vec![value]) }
    }

    fn name(&mut self, node: &IdedExpr, name: &str) -> Fact {
        if let Some((_, fact)) = self.bound.iter().rev().find(|(bound, _)| *bound == name) {
            return fact.clone();
        }
        if let Some(types) = self.environment.name(name) {
            return types.into();
        }
        let mut known = NAMES.to_vec();
        known.extend(self.bound.iter().map(|(name, _)| *name).filter(|name| !name.starts_with('@')));
        let help = Self::instead(name, known, "Known are");
        self.error(node, Code::UnknownName, format!("there is nothing called `{name}`"), help);
        Types::Any.into()
    }

    fn select(&mut self, node: &IdedExpr, select: &'a SelectExpr) -> Fact {
        let from = self.walk(&select.operand).types;
        let Some(possible) = from.known() else {
            return if select.test { Type::Bool.into() } else { Types::Any.into() };
        };
        if !from.may(Type::is_map) {
            let message = format!("{} has no fields, so no `{}`", from.words(), select.field);
            let help = if from.may(|given| matches!(given, Type::List(_))) {
                "An element of a list is written `list[0]`; to look at all of them: `list.exists(x, x == '…')`."
            } else {
                "Only request, subject, role, pull_request, person, params and maps have fields."
            };
            self.error(node, Code::TypeError, message, help);
            return Types::Any.into();
        }
        let mut fact: Option<Fact> = None;
        for given in possible {
            let one = match given {
                Type::Record(record) => self.field(node, *record, &select.field),
                Type::Map(_, value) => (**value).clone().into(),
                _ => continue,
            };
            fact = Some(match fact {
                None => one,
                Some(other) => other.types.or(one.types).into(),
            });
        }
        if !select.test {
            return fact.unwrap_or(Types::Any.into());
        }
        match from.known() {
            // Of the parameters, a role declares some and another does not.
            Some([Type::Record(record)]) if *record != Record::Params => {
                self.always_there(node, *record, &select.field)
            }
            _ => Type::Bool.into(),
        }
    }

    fn field(&mut self, node: &IdedExpr, record: Record, field: &str) -> Fact {
        if let Some(types) = self.environment.field(record, field) {
            return Fact { types, known: Known::field(self.environment, record, field) };
        }
        let (name, fields) = (record.name(), self.environment.fields(record));
        let (code, message) = match record {
            Record::Params => (Code::UnknownParam, format!("the role declares no parameter `{field}`")),
            _ => (Code::UnknownName, format!("`{name}` has no field `{field}`")),
        };
        let help = match suggest(field, fields.iter().copied()) {
            Some(near) => format!("Did you mean `{name}.{near}`?"),
            None if record == Record::Params => code.explanation().to_owned(),
            None => format!("`{name}` has: {}.", fields.join(", ")),
        };
        self.error(node, code, message, help);
        Types::Any.into()
    }

    fn call(&mut self, node: &'a IdedExpr, call: &'a CallExpr) -> Fact {
        match (call.func_name.as_str(), call.args.as_slice()) {
            ("_&&_" | "_||_", [left, right]) => {
                let (left, right) = (self.condition(left), self.condition(right));
                let decides = call.func_name == "_||_";
                let truth = match (left, right) {
                    (Some(one), _) | (_, Some(one)) if one == decides => Some(decides),
                    (Some(_), Some(_)) => Some(!decides),
                    _ => None,
                };
                Fact { types: Type::Bool.into(), known: truth.into() }
            }
            ("!_", [of]) => {
                let truth = self.condition(of).map(|truth| !truth);
                Fact { types: Type::Bool.into(), known: truth.into() }
            }
            ("@not_strictly_false", [of]) => {
                self.walk(of);
                Type::Bool.into()
            }
            ("_?_:_", [condition, yes, no]) => {
                let truth = self.condition(condition);
                let (yes, no) = (self.walk(yes), self.walk(no));
                let known = match truth {
                    Some(true) => yes.known,
                    Some(false) => no.known,
                    None if yes.known == no.known => yes.known,
                    None => Known::Nothing,
                };
                Fact { types: yes.types.or(no.types), known }
            }
            ("-_", [of]) => {
                let given = self.walk(of).types;
                if !given.may(|given| matches!(given, Type::Int | Type::Double)) {
                    self.error(node, Code::TypeError, format!("{} has no negative", given.words()), "");
                    return Types::Any.into();
                }
                given.into()
            }
            (operator, [left, right])
                if operator.starts_with(['_', '@']) && ![PATTERN, ANY_PATTERN].contains(&operator) =>
            {
                let (one, other) = (self.walk(left), self.walk(right));
                self.operator(node, operator, (left, one), (right, other))
            }
            _ => self.function(node, call),
        }
    }

    /// A part that has to be true or false.
    fn condition(&mut self, node: &'a IdedExpr) -> Option<bool> {
        let fact = self.walk(node);
        if !fact.types.may(|given| *given == Type::Bool) {
            let message = format!("true or false is wanted here; this is {}", fact.types.words());
            self.error(node, Code::TypeError, message, "Compare it with something: `request.ticket != ''`.");
        }
        fact.known.truth()
    }

    fn operator(
        &mut self,
        node: &'a IdedExpr,
        operator: &str,
        (left, one): (&'a IdedExpr, Fact),
        (right, other): (&'a IdedExpr, Fact),
    ) -> Fact {
        if matches!(operator, "_==_" | "_!=_") {
            return self.equality(node, operator, (left, &one), (right, &other));
        }
        // A field whose name is written out is the same as `.name`.
        if let ("_[_]", Some([Type::Record(record)]), Expr::Literal(LiteralValue::String(field))) =
            (operator, one.types.known(), &right.expr)
        {
            return self.field(node, *record, field.inner());
        }
        let (Some(lefts), Some(rights)) = (one.types.known(), other.types.known()) else {
            return self.half_known(node, operator, &one.types, &other.types);
        };
        let pairs = lefts.iter().flat_map(|left| rights.iter().map(move |right| (left, right)));
        let given = pairs.filter_map(|(left, right)| binary(operator, left, right)).reduce(Types::or);
        let Some(types) = given else {
            let (message, help) = literals::misfit(operator, &one.types, &other.types);
            self.error(node, Code::TypeError, message, help);
            return Types::Any.into();
        };
        let mut truth = Known::compare(operator, &one.known, &other.known);
        if operator == "@in" {
            let never = |element: &Types| !one.types.may(|one| element.may(|element| one.can_equal(element)));
            let elements = |given: &Type| match given {
                Type::List(of) => of.known().is_some() && never(of),
                _ => false,
            };
            if rights.iter().all(elements) {
                truth = Some(false);
            }
            if let ([Type::Record(record)], Expr::Literal(LiteralValue::String(field))) = (rights, &left.expr)
                && *record != Record::Params
            {
                truth = Some(self.environment.fields(*record).contains(&field.inner()));
            }
        }
        if let Some(truth) = truth.filter(|_| !limits::closed(node)) {
            let why = literals::reason((left, &one.known), (right, &other.known), self.source);
            let help = self.meant((left, &one.known), (right, &other.known));
            self.certain(node, truth, format!("this is always {truth}{why}"), help);
        } else if operator == "@in" {
            self.slips(&one.known, right);
        }
        let known = if matches!(types.known(), Some([Type::Bool])) { truth.into() } else { Known::Nothing };
        Fact { types, known }
    }

    /// One side has a type that is not known: the other may be wrong all the same.
    fn half_known(&mut self, node: &IdedExpr, operator: &str, one: &Types, other: &Types) -> Fact {
        if operator == "@in" && !other.may(|given| matches!(given, Type::List(_)) || given.is_map()) {
            let (message, help) = literals::misfit(operator, one, other);
            self.error(node, Code::TypeError, message, help);
        }
        match operator {
            "_<_" | "_<=_" | "_>_" | "_>=_" | "@in" => Type::Bool.into(),
            _ => Types::Any.into(),
        }
    }

    fn equality(
        &mut self,
        node: &'a IdedExpr,
        operator: &str,
        (left, one): (&'a IdedExpr, &Fact),
        (right, other): (&'a IdedExpr, &Fact),
    ) -> Fact {
        let unequal = operator == "_!=_";
        let possible = one.types.may(|one| other.types.may(|other| one.can_equal(other)));
        let truth = if possible { Known::compare(operator, &one.known, &other.known) } else { Some(unequal) };
        if let Some(truth) = truth.filter(|_| !limits::closed(node)) {
            let (why, help) = if possible {
                (
                    literals::reason((left, &one.known), (right, &other.known), self.source),
                    self.meant((left, &one.known), (right, &other.known)),
                )
            } else {
                let (_, help) = literals::misfit(operator, &one.types, &other.types);
                (format!(": {} never equals {}", one.types.words(), other.types.words()), help)
            };
            self.certain(node, truth, format!("this is always {truth}{why}"), help);
        }
        Fact { types: Type::Bool.into(), known: truth.into() }
    }

    fn function(&mut self, node: &'a IdedExpr, call: &'a CallExpr) -> Fact {
        if MACROS.contains(&call.func_name.as_str()) {
            let help = "It is written `subject.groups.exists(g, g == 'sre')`; `has(params.x)` asks for a field.";
            self.error(node, Code::UnknownName, format!("`{}` is not called like this", call.func_name), help);
            return Types::Any.into();
        }
        let target = call.target.as_deref().map(|target| self.walk(target));
        let args: Vec<Fact> = call.args.iter().map(|arg| self.walk(arg)).collect();
        // What is asked about, and what is known of it.
        let asked = call.target.as_deref().or(call.args.first());
        let asked = asked.zip(target.iter().chain(&args).next().map(|fact| fact.known.clone()));
        let target = target.map(|fact| fact.types);
        let args: Vec<Types> = args.into_iter().map(|fact| fact.types).collect();
        let (name, args) = match call.func_name.as_str() {
            // The number of a pattern that is compiled already.
            PATTERN => ("matches", vec![args.into_iter().next().unwrap_or(Types::Any), Type::Text.into()]),
            ANY_PATTERN => ("matches", args),
            "dyn" if target.is_none() && args.len() == 1 => return Types::Any.into(),
            name => (name, args),
        };
        let called: Vec<&Signature> = SIGNATURES.iter().filter(|known| known.name == name).collect();
        if called.is_empty() {
            self.unknown_function(node, name);
            return Types::Any.into();
        }
        let fitting: Vec<&&Signature> = called.iter().filter(|known| known.fits(target.as_ref(), &args)).collect();
        if fitting.is_empty() {
            let given: Vec<String> = target.iter().chain(&args).map(Types::words).collect();
            let given = if given.is_empty() { "nothing".to_owned() } else { given.join(" and ") };
            let mut usages: Vec<String> = called.iter().map(|known| format!("`{}`", known.usage())).collect();
            usages.dedup();
            usages.truncate(4);
            let help = format!("It is written {}.", usages.join(", "));
            self.error(node, Code::TypeError, format!("`{name}` does not go with {given}"), help);
            return Types::Any.into();
        }
        for (wrong, message, help) in literals::wrong_arguments(name, call) {
            let span = self.source.span(wrong);
            self.problems.push(Problem { help, ..Problem::error(Code::BadExpression, span, message) }.at(node));
        }
        let types = fitting.iter().map(|known| known.gives()).reduce(Types::or).unwrap_or(Types::Any);
        if let Some(why) = self.asks_nothing(name, call) {
            self.certain(node, true, format!("this is always true: {why}"), "Say what the text should hold.");
            return Fact { types, known: true.into() };
        }
        if let Some((message, help)) =
            asked.as_ref().and_then(|(asked, known)| self.never_holds(name, call, asked, known))
        {
            self.certain(node, false, message, help);
            return Fact { types, known: false.into() };
        }
        let ranges: Option<Vec<(i64, i64)>> = fitting.iter().map(|known| known.range).collect();
        let range = ranges.and_then(|ranges| {
            Some((ranges.iter().map(|range| range.0).min()?, ranges.iter().map(|range| range.1).max()?))
        });
        let range = match asked {
            Some((_, Known::Length(least, most))) if name == "size" => {
                i64::try_from(least).ok().zip(i64::try_from(most).ok())
            }
            _ => range,
        };
        let known = range.map_or(Known::Nothing, |(least, most)| Known::Between(Value::Int(least), Value::Int(most)));
        Fact { types, known }
    }

    /// Why every text passes, if the question is one about texts: each holds the empty one, and some patterns are found everywhere.
    fn asks_nothing(&self, name: &str, call: &CallExpr) -> Option<&'static str> {
        const EVERYWHERE: [&str; 7] = ["", ".*", "^.*", ".*$", "^", "$", "(.*)"];
        match (name, &call.args.last()?.expr) {
            ("contains" | "startsWith" | "endsWith", Expr::Literal(LiteralValue::String(text))) => {
                text.inner().is_empty().then_some("every text holds the empty one")
            }
            ("matches", Expr::Literal(LiteralValue::Int(number))) => {
                let pattern = self.program.patterns.get(usize::try_from(*number.inner()).ok()?)?;
                EVERYWHERE.contains(&pattern.as_str()).then_some("the pattern is found in every text")
            }
            _ => None,
        }
    }

    fn unknown_function(&mut self, node: &IdedExpr, name: &str) {
        let known = SIGNATURES.iter().map(|known| known.name).chain(MACROS);
        let help = suggest(name, known).map_or(String::new(), |near| format!("Did you mean `{near}`?"));
        self.error(node, Code::UnknownName, format!("there is no function `{name}`"), help);
    }

    fn comprehension(&mut self, node: &IdedExpr, each: &'a ComprehensionExpr) -> Fact {
        let range = self.walk(&each.iter_range);
        let start = self.walk(&each.accu_init).types;
        let of = |given: &Type| match given {
            Type::List(of) => Some((**of).clone()),
            Type::Map(key, _) => Some((**key).clone()),
            Type::Record(_) => Some(Type::Text.into()),
            _ => None,
        };
        let element = match range.types.known() {
            None => Some(Types::Any),
            Some(types) => types.iter().filter_map(of).reduce(Types::or),
        };
        if element.is_none() {
            let message = format!("only lists and maps can be gone through; this is {}", range.types.words());
            let span = self.source.span(&each.iter_range);
            self.problems.push(Problem::error(Code::TypeError, span, message).at(node));
        }
        let before = self.bound.len();
        self.bound.push((&each.accu_var, start.into()));
        self.bound.push((&each.iter_var, Fact { types: element.unwrap_or(Types::Any), known: range.known.element() }));
        self.walk(&each.loop_cond);
        let step = self.walk(&each.loop_step).types;
        if let Some(accu) = self.bound.get_mut(before) {
            accu.1 = step.into();
        }
        let result = self.walk(&each.result).types;
        self.bound.truncate(before);
        result.into()
    }
}

impl Problem {
    fn at(self, node: &IdedExpr) -> Self {
        Self { node: node.id, ..self }
    }
}
