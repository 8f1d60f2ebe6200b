//! `docs/expressions.md` is true: each of its examples does what the page says.

use super::super::super::model::{ParamKind, ParamSpec, Risk};
use super::super::super::name::{ParamName, RoleName};
use super::*;

/// The request at the end of the page.
fn example() -> Scope {
    let mut scope = scope();
    scope.now = at("2026-11-02T08:30:00Z");
    scope.request.role = "checkout-admin".into();
    scope.request.reason = "restart of checkout".into();
    scope.request.params = BTreeMap::from([
        ("namespace".to_owned(), ParamValue::String("checkout".into())),
        ("dry-run".to_owned(), ParamValue::Boolean(false)),
    ]);
    scope.subject.groups = vec!["sre".into()];
    scope.subject.person.email = Some("alice@example.com".into());
    scope.subject.person.other = BTreeMap::from([("aws".to_owned(), "alice@aws".to_owned())]);
    scope.role = RoleScope { name: "checkout-admin".into(), risk: "high", description: String::new() };
    scope
}

fn params() -> BTreeMap<ParamName, ParamSpec> {
    let spec = |kind| ParamSpec { kind, default: None, description: String::new() };
    [("namespace", ParamKind::String), ("dry-run", ParamKind::Boolean)]
        .into_iter()
        .map(|(name, kind)| (name.parse().unwrap(), spec(kind)))
        .collect()
}

/// What stands behind "```cel" on the page, with the code it must give, if any.
fn examples(page: &str) -> Vec<(&str, &str)> {
    let blocks = page.split("```cel").skip(1);
    blocks
        .map(|block| block.split_once('\n').unwrap())
        .map(|(code, rest)| (code.trim(), rest.split("\n```").next().unwrap()))
        .collect()
}

#[test]
fn every_example_of_the_page_does_what_it_says() {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/expressions.md")).unwrap();
    let (params, name, groups): (_, RoleName, _) = (params(), "checkout-admin".parse().unwrap(), ["sre".to_owned()]);
    let any = Environment { groups: Some(&groups), ..Environment::default() };
    let own = Environment { params: Some(&params), role: Some((&name, Risk::High)), ..any };
    let examples = examples(&page);
    assert!(examples.len() > 25, "{examples:?}");
    for (code, source) in examples {
        let compiled = Expression::compile(source, if source.contains("params.") { &own } else { &any });
        let found: Vec<&str> = compiled.problems.iter().map(|problem| problem.code.as_str()).collect();
        if code.is_empty() {
            assert!(found.is_empty(), "{source}: {:#?}", compiled.problems);
            assert_eq!(compiled.value.unwrap().is_true(&example()), Ok(true), "{source}");
        } else {
            assert_eq!(found, [code], "{source}");
        }
    }
}

/// No function and no name is missing on the page.
#[test]
fn the_page_lists_all_there_is() {
    use super::super::functions::{MACROS, SIGNATURES};
    use super::super::types::NAMES;
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/expressions.md")).unwrap();
    let names = SIGNATURES.iter().map(|known| known.name).chain(MACROS).chain(NAMES);
    for name in names {
        let written = ["`", ".", "("].iter().any(|before| {
            [")", "(", "`", ".", ","].iter().any(|after| page.contains(&format!("{before}{name}{after}")))
        });
        assert!(written, "{name}");
    }
    for number in [LONGEST_SHOWN, "100", "3,000,000"] {
        assert!(page.contains(number), "{number}");
    }
    assert_eq!(super::super::limits::LONGEST.to_string(), LONGEST_SHOWN.replace(',', ""));
}

const LONGEST_SHOWN: &str = "1,024";
