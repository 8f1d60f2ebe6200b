//! What the check says about expressions, right ones and wrong ones.

use super::super::super::model::{ParamKind, ParamSpec, Risk};
use super::super::super::name::{ParamName, RoleName};
use super::*;

fn params() -> BTreeMap<ParamName, ParamSpec> {
    let spec = |kind| ParamSpec { kind, default: None, description: String::new() };
    let texts = |texts: &[&str]| texts.iter().map(|text| ParamValue::String((*text).into())).collect();
    [
        ("namespace", spec(ParamKind::String)),
        ("shard", spec(ParamKind::Integer)),
        ("dry-run", spec(ParamKind::Boolean)),
        ("stage", spec(ParamKind::OneOf(texts(&["prod", "staging"])))),
        ("size", spec(ParamKind::OneOf(vec![ParamValue::Integer(1), ParamValue::String("all".into())]))),
    ]
    .into_iter()
    .map(|(name, spec)| (name.parse().unwrap(), spec))
    .collect()
}

/// The condition of a role, the `when` of a stage.
fn problems(source: &str) -> (Vec<Problem>, Vec<Problem>) {
    let (params, role): (_, RoleName) = (params(), "orders-db-reader".parse().unwrap());
    let names = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
    let (roles, groups) = (names(&["orders-db-reader", "root"]), names(&["engineering", "sre"]));
    let any = Environment { roles: &roles, groups: &groups, ..Environment::default() };
    let own = Environment { params: Some(&params), role: Some((&role, Risk::High)), ..any };
    (Expression::compile(source, &own).problems, Expression::compile(source, &any).problems)
}

#[test]
fn show() {
    for source in [
        "request.duration > 2",
        "request.duration == 2",
        "request.duration > '2h'",
        "request.duration > duration('2d')",
        "request.duration > duration('2h3')",
        "request.start > now + 2",
        "request.start - now > 3",
        "requst.ticket == ''",
        "request.tickets == ''",
        "request.ticket.match('x')",
        "request.ticket.matches('(')",
        "é == 1 && request.ticket.foo",
        "'é' == '' && request.ticketx == ''",
        "request.ticket",
        "subject.groups.exists(g, g == 'sree')",
        "'sree' in subject.groups",
        "role.risk == 'criticl'",
        "role.risk in ['high', 'criticl']",
        "role.risk == 'critical'",
        "now.getDayOfWeek('Europe/Berlin') == 7",
        "now.getHours('Europe/Berln') > 3",
        "now.isWorkingHours('Europe/Berln')",
        "now.isWorkingHours('Europe/Berlin', '18:00', '8:00')",
        "true",
        "1 < 2",
        "request.break_glass || true",
        "request.duration > duration('0s')",
        "request.duration > days(400)",
        "params.shrd == 1",
        "params.shard == '1'",
        "params['shard'] + 1",
        "params.stage == 'prd'",
        "has(params.namespce)",
        "request.ticket && request.break_glass",
        "!request.ticket",
        "request.ticket ? true : false",
        "subject.login.size() > 'a'",
        "size(1) > 2",
        "subject.groups.exists(g)",
        "subject.groups.all(g, g)",
        "subject.groups == 'sre'",
        "'a' in request.ticket",
        "request.ticket[0] == 'a'",
        "max(1, 2) == 2",
        "1 / 0 == 1",
        "subject.login.exists(x, x == 'a')",
        "role.name == 'rooot'",
        "request.reason.startsWith(1)",
        "Foo{a: 1} == 1",
        "request.ticket ==",
        "request.ticket == 'a'\n && request.tickt == 'b'",
        "pull_request.number + 1 > 3",
        "-request.duration < days(1)",
        "request.start != null && request.start > now",
    ] {
        let (own, any) = problems(source);
        eprintln!("{source}");
        for (which, found) in [("own", own), ("any", any)] {
            for p in found {
                let marked: String = source.chars().skip(p.span.start).take(p.span.length).collect();
                eprintln!("   {which} {} {:?} {}+{} «{marked}» {} | {}", p.code, p.severity, p.span.start, p.span.length, p.message, p.help);
            }
        }
    }
}
