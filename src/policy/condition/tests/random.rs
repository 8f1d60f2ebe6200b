//! Random expressions and random requests: the check keeps its word, and nothing panics.

use std::cell::Cell;

use proptest::prelude::*;

use super::super::super::model::{ParamKind, ParamSpec, Risk};
use super::super::super::name::{ParamName, RoleName};
use super::*;

const GROUPS: [&str; 3] = ["engineering", "sre", "everyone-else"];
const ROLES: [&str; 2] = ["orders-db-reader", "root"];

fn declared() -> BTreeMap<ParamName, ParamSpec> {
    let spec = |kind| ParamSpec { kind, default: None, description: String::new() };
    let stages = ["prod", "staging"].map(|text| ParamValue::String(text.into())).to_vec();
    [
        ("namespace", spec(ParamKind::String)),
        ("shard", spec(ParamKind::Integer)),
        ("dry", spec(ParamKind::Boolean)),
        ("stage", spec(ParamKind::OneOf(stages))),
    ]
    .into_iter()
    .map(|(name, spec)| (name.parse().unwrap(), spec))
    .collect()
}

fn word() -> impl Strategy<Value = String> {
    prop::sample::select(vec![
        "",
        "a",
        "x",
        "INC-42",
        "high",
        "sre",
        "engineering",
        "root",
        "prod",
        "1",
        "true",
        "2h",
        "UTC",
    ])
    .prop_map(str::to_owned)
}

/// Requests that are in order: the parameters are those that are declared.
fn scopes(role: &'static str, risk: Risk) -> impl Strategy<Value = Scope> {
    let subject =
        (word(), prop::collection::vec(word(), 0..3), prop::sample::subsequence(&GROUPS[..], 0..=3), word(), word());
    let reason = word().prop_filter("a reason is never empty", |reason| !reason.is_empty());
    let request = (1..=Duration::MAX.seconds(), reason, word(), prop::option::of(0..2_000_000_000_i64), any::<bool>());
    let params = (word(), -3..3_i64, any::<bool>(), prop::sample::select(vec!["prod", "staging"]));
    (subject, request, params, 0..4_000_000_000_i64, 0..9_u64).prop_map(
        move |(subject, request, params, now, number)| {
            let (login, teams, groups, email, aws) = subject;
            let (seconds, reason, ticket, start, break_glass) = request;
            let (namespace, shard, dry, stage) = params;
            Scope {
                request: RequestScope {
                    subject: login.clone(),
                    role: role.to_owned(),
                    duration: Duration::from_seconds(seconds).unwrap(),
                    reason,
                    ticket,
                    start: start.and_then(|start| DateTime::from_timestamp(start, 0)),
                    break_glass,
                    params: BTreeMap::from([
                        ("namespace".to_owned(), ParamValue::String(namespace)),
                        ("shard".to_owned(), ParamValue::Integer(shard)),
                        ("dry".to_owned(), ParamValue::Boolean(dry)),
                        ("stage".to_owned(), ParamValue::String(stage.to_owned())),
                    ]),
                },
                subject: SubjectScope {
                    missing_teams: Vec::new(),
                    login: login.clone(),
                    teams: teams.clone(),
                    groups: groups.into_iter().map(str::to_owned).collect(),
                    person: Person {
                        email: Some(email),
                        ssh: teams,
                        other: BTreeMap::from([("aws".to_owned(), aws)]),
                        ..Person::default()
                    },
                },
                role: RoleScope { name: role.to_owned(), risk: risk.as_str(), description: String::new() },
                now: DateTime::from_timestamp(now, 0).unwrap(),
                pull_request: PullRequestScope { number, author: login },
            }
        },
    )
}

/// Expressions, many of them with types that do not fit.
fn expressions() -> impl Strategy<Value = String> {
    let leaf = prop::sample::select(vec![
        "request.duration",
        "request.ticket",
        "request.reason",
        "size(request.reason)",
        "has(request.start)",
        "'ticket' in request",
        "'A'",
        "['INC-42', 'A']",
        "request.start",
        "request.break_glass",
        "request.role",
        "request.params",
        "params.namespace",
        "params.shard",
        "params.dry",
        "params.stage",
        "params",
        "subject.login",
        "subject.teams",
        "subject.groups",
        "subject.other",
        "subject.other.aws",
        "person.ssh",
        "role.risk",
        "role.name",
        "now",
        "pull_request.number",
        "pull_request.author",
        "request",
        "subject",
        "x",
        "true",
        "false",
        "null",
        "1",
        "2",
        "0",
        "2u",
        "1.5",
        "'a'",
        "'high'",
        "'hihg'",
        "'sre'",
        "'root'",
        "'prod'",
        "'x'",
        "b'a'",
        "'2h'",
        "'UTC'",
        "duration('2h')",
        "duration('0s')",
        "days(400)",
        "timestamp('2026-12-01T00:00:00Z')",
        "[]",
        "[1, 'a']",
        "['sre', 'high']",
        "{'a': 1}",
        "{}",
        "-1",
        "9223372036854775807",
    ])
    .prop_map(str::to_owned);
    leaf.prop_recursive(4, 24, 3, |inner| {
        let operator = prop::sample::select(vec![
            "+", "-", "*", "/", "%", "<", "<=", ">", ">=", "==", "!=", "&&", "||", "in", "==", "&&", "||", "in",
        ]);
        let method = prop::sample::select(vec![
            "size()",
            "getHours()",
            "getHours('UTC')",
            "getDayOfWeek()",
            "getMinutes()",
            "isWorkingHours('UTC')",
            "isWorkingHours('UTC', '08:00', '09:00')",
            "x",
            "login",
            "ticket",
            "a",
            "matches('^a')",
            "getFullYear()",
        ]);
        let with = prop::sample::select(vec!["contains", "startsWith", "endsWith", "matches", "getHours"]);
        let function = prop::sample::select(vec![
            "size",
            "int",
            "uint",
            "double",
            "string",
            "bool",
            "bytes",
            "duration",
            "timestamp",
            "days",
            "type",
            "dyn",
        ]);
        let each = prop::sample::select(vec!["all", "exists", "exists_one", "map", "filter"]);
        let test = prop::sample::select(vec![
            "request.duration > duration('2h')",
            "request.duration <= duration('2h')",
            "request.duration < days(1)",
            "params.shard == 1",
            "params.shard != 2",
            "params.shard >= 1",
            "request.ticket == 'a'",
            "request.ticket != 'x'",
            "params.stage == 'prod'",
            "params.stage in ['staging', 'x']",
            "role.risk in ['low', 'high']",
            "request.start == null",
            "request.start != null",
            "request.break_glass",
            "params.dry == true",
            "request.ticket < request.reason",
            "request.reason <= request.ticket",
        ]);
        let both = prop::sample::select(vec!["&&", "||", "&& !", "|| !"]);
        prop_oneof![
            1 => (test.clone(), both.clone(), test.clone(), both, test)
                .prop_map(|(a, one, b, two, c)| format!("(({a}) {one}({b}) {two}({c}))")),
            5 => (inner.clone(), operator, inner.clone()).prop_map(|(a, op, b)| format!("({a} {op} {b})")),
            2 => (inner.clone(), method).prop_map(|(a, method)| format!("({a}).{method}")),
            1 => (inner.clone(), with, inner.clone()).prop_map(|(a, name, b)| format!("({a}).{name}({b})")),
            1 => (function, inner.clone()).prop_map(|(name, a)| format!("{name}({a})")),
            1 => (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a})[{b}]")),
            1 => inner.clone().prop_map(|a| format!("!({a})")),
            1 => inner.clone().prop_map(|a| format!("-({a})")),
            1 => (inner.clone(), inner.clone(), inner.clone()).prop_map(|(a, b, c)| format!("(({a}) ? ({b}) : ({c}))")),
            1 => (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("[{a}, {b}]")),
            1 => inner.clone().prop_map(|a| format!("has(({a}).a)")),
            2 => (inner.clone(), each, inner).prop_map(|(a, name, b)| format!("({a}).{name}(x, {b})")),
        ]
    })
}

/// The node an error is about, if it is not inside of a loop: there it depends on the variable.
fn outside_loops(tree: &IdedExpr, id: u64) -> Option<&IdedExpr> {
    if tree.id == id {
        return Some(tree);
    }
    match &tree.expr {
        Expr::Comprehension(each) => outside_loops(&each.iter_range, id),
        _ => limits::parts(tree).into_iter().find_map(|part| outside_loops(part, id)),
    }
}

/// What an evaluation must not give after the check said this.
fn broken(problem: &Problem, value: &Result<Value, String>) -> bool {
    match (problem.code, value) {
        // The part is no condition, though one is wanted: it may have a value, but never this one.
        (Code::TypeError, Ok(Value::Bool(_))) => true,
        (Code::TypeError, Ok(_)) => {
            !problem.message.starts_with("true or false is wanted") && !problem.message.starts_with("a condition is")
        }
        (Code::BadExpression, Ok(_)) => true,
        (Code::AlwaysTrue, Ok(value)) => *value != Value::Bool(true),
        (Code::AlwaysFalse, Ok(Value::Bool(truth))) => *truth,
        _ => false,
    }
}

fn run(own: bool, risk: Risk, role: &'static str, cases: u32) -> BTreeMap<Code, u32> {
    let said: Cell<BTreeMap<Code, u32>> = Cell::default();
    let (params, roles) = (declared(), ROLES.map(str::to_owned));
    let (groups, name): (_, RoleName) = (GROUPS.map(str::to_owned), role.parse().unwrap());
    let any = Environment { roles: &roles, groups: Some(&groups), ..Environment::default() };
    let environment = if own { Environment { params: Some(&params), role: Some((&name, risk)), ..any } } else { any };
    let config = ProptestConfig { cases, max_shrink_iters: 2_000, ..ProptestConfig::default() };
    let strategy = (expressions(), prop::collection::vec(scopes(role, risk), 4));
    proptest!(config, |((source, scopes) in strategy)| {
        let compiled = Expression::compile(&source, &environment);
        let mut counts = said.take();
        for problem in &compiled.problems {
            *counts.entry(problem.code).or_default() += 1;
        }
        said.set(counts);
        if let Some(expression) = &compiled.value {
            for scope in &scopes {
                let _ = expression.is_true(scope);
            }
        }
        let Ok((mut tree, _)) = eval::parse(&source) else { return Ok(()) };
        let mut patterns = Vec::new();
        eval::compile_patterns(&mut tree, &mut patterns, &mut Vec::new());
        let program = eval::Program::new(tree, patterns);
        for problem in &compiled.problems {
            let Some(node) = outside_loops(&program.tree, problem.node) else { continue };
            for scope in &scopes {
                let value = program.part(node, Some(scope));
                prop_assert!(!broken(problem, &value), "{source}\n{problem:#?}\ngives {value:?} for {scope:#?}");
            }
        }
    });
    said.take()
}

#[test]
fn the_check_keeps_its_word_about_a_role() {
    let said = run(true, Risk::High, "root", 2_000);
    for code in [Code::TypeError, Code::AlwaysTrue, Code::AlwaysFalse, Code::BadExpression, Code::UnknownName] {
        assert!(said.get(&code).is_some_and(|times| *times > 10), "hardly tried: {code} in {said:?}");
    }
}

#[test]
fn the_check_keeps_its_word_about_any_role() {
    run(false, Risk::Critical, "orders-db-reader", 1_500);
}

proptest! {
    #[test]
    fn no_text_panics(source in "[a-z0-9 .,()'\"+*<>=!&|?:${}\\[\\]-]{0,80}") {
        if let Ok(expression) = compile(&source) {
            let _ = expression.is_true(&scope());
        }
        if let Ok(template) = template(&source) {
            let _ = template.render_all(&scope());
        }
    }

    #[test]
    fn spans_lie_in_the_text(source in "(?s)[a-zé(.)' \n=&\\[\\]{}1]{0,40}", sane in expressions()) {
        for source in [source, sane] {
            for problem in Expression::compile(&source, &Environment::default()).problems {
                let length = source.chars().count();
                prop_assert!(problem.span.start + problem.span.length <= length, "{source:?} {problem:?}");
            }
        }
    }
}
