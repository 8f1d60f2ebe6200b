//! Hostile expressions: nothing overflows a stack, fills the memory or takes long.

use super::super::limits::{self, LONGEST, SHALLOW};
use super::*;

/// Repeats as far as the length allows, with no regard to the count of operators.
fn fill(before: &str, part: &str, after: &str) -> String {
    let times = (LONGEST - before.len() - after.len()) / part.len();
    format!("{before}{}{after}", part.repeat(times))
}

/// Chains and nests of every kind, as long as an expression may be.
fn monsters() -> Vec<String> {
    let mut monsters: Vec<String> = ["+", "-", "*", "/", "%", "<", "<=", ">", ">=", "==", "!=", "&&", "||", " in "]
        .iter()
        .map(|operator| fill("1", &format!("{operator}1"), ""))
        .collect();
    for (before, part, after) in [
        ("request", ".a", ""),
        ("params", "[0]", ""),
        ("", "!", "true"),
        ("", "-", "1"),
        ("", "- ", "1"),
        ("", "(", ""),
        ("", "[", ""),
        ("", "{", ""),
        ("", "size(", ""),
        ("a", ".f()", ""),
        ("a", ".map(x,x)", ""),
        ("[", "1,", "1]"),
        ("", "true?1:", "1"),
        ("", "true?", "1"),
        ("", "f(1,", ""),
        ("[1]", "+[1]", ""),
        ("'", "\\'", ""),
        ("r'", "\\", "'"),
        ("or'", "\\'+", ""),
        ("", "''", ""),
        ("", "//", ""),
        ("1", "//+\n+1", ""),
        ("", "a{", ""),
        ("", "é+", "é"),
    ] {
        monsters.push(fill(before, part, after));
    }
    for (open, inner, close) in
        [("(", "1", ")"), ("[", "1", "]"), ("-(", "1", ")"), ("!(", "true", ")"), ("{1:", "1", "}")]
    {
        let times = (LONGEST - inner.len()) / (open.len() + close.len());
        monsters.push(format!("{}{inner}{}", open.repeat(times), close.repeat(times)));
    }
    monsters
}

#[test]
fn monsters_are_refused() {
    for monster in monsters() {
        let compiled = compile(&monster);
        assert!(compiled.is_err(), "{monster}");
    }
    let long = "1 == 1 ".repeat(1_000);
    assert_eq!(compile(&long).unwrap_err().code, Code::ExpressionTooLarge);
}

/// The count of operators could be wrong about what is a text; the stack must bear it all the same.
#[test]
fn the_stack_bears_what_the_count_of_operators_would_refuse() {
    for monster in monsters() {
        let gone = limits::on_big_stack(|| {
            if let Ok((tree, places)) = eval::parse(&monster) {
                let source = Source::new(&monster, places);
                let program = eval::Program::new(tree, Vec::new());
                let _ = check::check(&program, &source, &Environment::default(), Wanted::Condition);
                let _ = program.part(&program.tree, None);
            }
        });
        assert!(gone.is_some(), "{monster}");
    }
}

#[test]
fn what_is_allowed_does_no_harm() {
    for largest in [
        format!("1{} == 101", "+params.shard".repeat(49)),
        format!("request.break_glass{}", " || request.break_glass".repeat(30)),
        format!("{}request.break_glass{}", "(".repeat(90), ")".repeat(90)),
        format!("{}request.break_glass", "!".repeat(90)),
        format!("request.ticket in [{}'x']", "'INC-1',".repeat(90)),
        format!("{}true", "request.break_glass ? false : ".repeat(30)),
    ] {
        let expression = compile(&largest).unwrap_or_else(|error| panic!("{largest}: {error:?}"));
        assert!(expression.is_true(&scope()).is_ok(), "{largest}");
    }
}

#[test]
fn operators_in_texts_and_comments_are_none() {
    let texts = format!("request.reason != '{}'", "+-*/".repeat(100));
    let comments = format!("request.break_glass // {}\n || true == request.break_glass", "a.b.c && ".repeat(60));
    let raw = format!(r#"request.ticket.matches(r"^({})$")"#, "a|b|".repeat(100));
    let triple = format!("request.reason != '''{}'''", "'+' ".repeat(100));
    for source in [texts, comments, raw, triple] {
        let compiled = compile(&source);
        assert!(compiled.is_ok(), "{source}: {compiled:?}");
    }
    // What only looks like a raw text is none: its `\'` does not end it.
    assert!(compile(&format!("request.reason != 'a\\'{}'", "+".repeat(150))).is_ok());
}

/// A tree that is evaluated where the caller stands fits a quarter of a MiB, in a debug build, too.
#[test]
fn shallow_trees_need_little_stack() {
    let mut tested = 0;
    for (before, part, after) in [
        ("params.shard", "+1", " > 0"),
        ("", "!", "request.break_glass"),
        ("", "request.break_glass ? false : ", "true"),
        ("", "size([", ""),
        ("", "int(", ""),
        ("params", "['x']", " == 1"),
        ("request.ticket", "+request.ticket", ".matches('x')"),
    ] {
        let mut times = 1;
        let deepest = std::iter::from_fn(|| {
            times += 1;
            let closing = part.matches('(').count() + part.matches('[').count() * usize::from(part.contains('('));
            let closers = if part.ends_with("([") {
                "])"
            } else if closing > 0 {
                ")"
            } else {
                ""
            };
            let inner = if closers.is_empty() { "" } else { "1" };
            let after = if after.is_empty() && !closers.is_empty() { " == 1" } else { after };
            Some(format!("{before}{}{inner}{}{after}", part.repeat(times), closers.repeat(times)))
        });
        let trees = deepest.take(SHALLOW + 2).filter_map(|source| {
            let expression = Expression::compile(&source, &Environment::default()).value?;
            (limits::depth(&expression.compiled.program.tree) <= SHALLOW).then_some(expression)
        });
        for expression in trees {
            tested += 1;
            let run = move || {
                let _ = expression.is_true(&scope());
            };
            std::thread::Builder::new().stack_size(256 << 10).spawn(run).unwrap().join().unwrap();
        }
    }
    assert!(tested > 30, "{tested}");
}

#[test]
fn loops_over_a_few_hundred_names_are_fine() {
    let source = "subject.groups.all(g, subject.teams.exists(t, t == g))";
    let expression = compile(source).unwrap();
    let names = |count: usize| (0..count).map(|n| format!("name-{n}")).collect::<Vec<_>>();
    let with = |count: usize| {
        let subject = SubjectScope { groups: names(count), teams: names(count), ..SubjectScope::default() };
        expression.is_true(&Scope { subject, ..scope() })
    };
    assert_eq!(with(300), Ok(true));
    assert!(with(5_000).unwrap_err().to_string().contains("steps"));
}

#[test]
fn bombs_are_refused_before_they_go_off() {
    assert_eq!(compile("[1].all(a, [1].all(b, [1].all(c, a == b)))").unwrap_err().code, Code::ExpressionTooLarge);
    let towers = [
        // Each storey squares the list, or makes the text ten times as long.
        (0..8).fold("subject.groups".to_owned(), |list, _| format!("[{list}].map(r, r.map(x, r))")),
        (0..8).fold("request.reason".to_owned(), |text, _| format!("[{text}].map(r, r+r+r+r+r+r+r+r+r+r)[0]")),
        "subject.groups.map(a, subject.groups.map(b, subject.groups)).map(c, c.map(d, d == c)) == []".to_owned(),
    ];
    for tower in towers {
        let source = format!("size({tower}) > 0");
        let refused = compile(&source);
        assert!(matches!(&refused, Err(error) if error.code == Code::ExpressionTooLarge), "{source}: {refused:?}");
    }
}

/// What is just not refused comes to an end, in a debug build too.
#[test]
fn the_most_work_is_done() {
    let chain = |times: usize| {
        let list = (0..times).fold("subject.groups".to_owned(), |list, _| format!("{list}.map(x, subject.groups)"));
        compile(&format!("size({list}) == 100"))
    };
    let most = (1..25).rev().find_map(|times| chain(times).ok()).unwrap();
    let names = (0..100).map(|n| format!("{n:0>200}")).collect();
    let scope = Scope { subject: SubjectScope { groups: names, ..SubjectScope::default() }, ..scope() };
    assert_eq!(most.is_true(&scope), Ok(true));
    let pattern = compile("subject.groups.all(g, g.matches(params.pattern))").unwrap();
    let params = BTreeMap::from([("pattern".to_owned(), ParamValue::String(r"^\w+$".into()))]);
    let scope = Scope { request: RequestScope { params, ..scope.request }, ..scope };
    assert_eq!(pattern.is_true(&scope), Ok(true));
}
