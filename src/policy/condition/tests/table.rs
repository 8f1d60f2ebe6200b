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
    let any = Environment { roles: &roles, groups: Some(&groups), ..Environment::default() };
    let own = Environment { params: Some(&params), role: Some((&role, Risk::High)), ..any };
    (Expression::compile(source, &own).problems, Expression::compile(source, &any).problems)
}

#[test]
fn policies_that_are_right_pass_without_a_word() {
    for source in [
        "request.ticket.matches('^INC-[0-9]+$')",
        "request.duration > duration('2h') || request.break_glass",
        "request.duration > days(2)",
        "request.duration.getHours() > 8",
        "request.start == null || request.start - now > duration('1h')",
        "request.start != null && request.start > now",
        "request.start != null && request.start.isWorkingHours('Europe/Berlin')",
        "subject.login in ['alice', 'bob'] && 'sre' in subject.teams",
        "request.reason.size() >= 10 && size(request.ticket) < 200",
        "now.isWorkingHours('Europe/Berlin', '07:30', '19:00')",
        "now.getDayOfWeek('Europe/Berlin') in [1, 2, 3, 4, 5] && now.getHours('Europe/Berlin') >= 9",
        "now > timestamp('2026-12-01T00:00:00Z') && now.getFullYear('+02:00') < 2030",
        "'sre' in subject.groups || 'engineering' in subject.teams",
        "subject.groups.exists(g, g.startsWith('eng')) && !subject.teams.exists_one(t, t == 'x')",
        "size(subject.groups) > 1 || subject.login.size() <= 3",
        "subject.groups.filter(g, g != 'sre').map(g, size(g)).all(n, n > 2)",
        "subject.other.aws != '' || 'aws' in person.other || person.other['aws'].contains('@')",
        "subject.email.endsWith('@example.com') && person.ssh[0] == subject.login",
        "pull_request.author == subject.login && pull_request.number + 1 > 7",
        "subject.login + '@' + subject.email != request.reason",
        "request.reason.contains(request.ticket) && request.reason.matches(subject.login)",
        "{'a': 1, 'b': 2}[request.ticket] == 1",
        "[1, 2, 3].exists(n, n == size(subject.groups))",
        "(request.break_glass ? duration('1h') : duration('2h')) >= request.duration",
        "int(request.ticket) > 100 && string(pull_request.number) != request.ticket",
        "timestamp(request.reason) < now && bool(request.reason)",
        "dyn(request.ticket) == 1 || type(request.ticket) == type(request.reason)",
        "request.all(key, key != 'x') && request[subject.login] == 1",
        "request.ticket in ['INC-1', \"INC-2\"]",
    ] {
        let (own, any) = problems(source);
        assert!(own.is_empty() && any.is_empty(), "{source}: {own:#?} {any:#?}");
    }
    for source in [
        "params.namespace.startsWith('team-') && request.params.shard % 2 == 0",
        "params['dry-run'] || request.params['dry-run']",
        "params.stage == 'prod' && params.size != 'all' && params.size == 1",
        "params.namespace in ['a', 'b'] && has(params.shard)",
        "size(params) > 1 && params.all(name, name != 'x')",
    ] {
        let (own, any) = problems(source);
        assert!(own.is_empty() && any.is_empty(), "{source}: {own:#?} {any:#?}");
    }
}

/// The code, the characters it is about, and the beginnings of message and help.
type Said = (Code, &'static str, &'static str, &'static str);

fn assert_said(source: &str, found: &[Problem], (code, marked, message, help): Said) {
    let [problem] = found else { panic!("{source}: {found:#?}") };
    let span = problem.span;
    let about: String = source.chars().skip(span.start).take(span.length).collect();
    assert_eq!((problem.code, about.as_str()), (code, marked), "{source}: {problem:?}");
    assert!(problem.message.starts_with(message) && problem.help.starts_with(help), "{source}: {problem:#?}");
    let warning = matches!(code, Code::AlwaysTrue | Code::AlwaysFalse);
    assert_eq!(problem.severity, if warning { Severity::Warning } else { Severity::Error });
}

#[test]
fn names_that_do_not_exist_are_found_with_what_was_meant() {
    for (source, marked, message, help) in [
        ("requst.ticket == ''", "requst", "there is nothing called `requst`", "Did you mean `request`?"),
        (
            "request.tickets == ''",
            "request.tickets",
            "`request` has no field `tickets`",
            "Did you mean `request.ticket`?",
        ),
        ("'é' == now || request.ticketx == ''", "", "", ""),
        (
            "request.ticket.match('x')",
            "request.ticket.match('x')",
            "there is no function `match`",
            "Did you mean `matches`?",
        ),
        (
            "request.ticket == 'ä'\n  && subject.grups == []",
            "subject.grups",
            "`subject` has no",
            "Did you mean `subject.groups`?",
        ),
        (
            "subject.groups.all(group, groop == 'x')",
            "groop",
            "there is nothing called `groop`",
            "Did you mean `group`?",
        ),
        ("subject.groups.exists(g)", "subject.groups.exists(g)", "`exists` is not called like this", "It is written"),
        ("colour == 'red'", "colour", "there is nothing called `colour`", "Known are: request, subject"),
        ("has(role.colour)", "has(role.colour)", "`role` has no field `colour`", "`role` has: name, risk"),
        ("max(1, pull_request.number) == 2", "max(1, pull_request.number)", "there is no function `max`", ""),
        ("Foo{a: 1} == request", "Foo{a: 1}", "there is no type `Foo`", ""),
        ("optional.of(request).hasValue()", "", "", ""),
    ] {
        let (_, any) = problems(source);
        match marked {
            "" => assert!(any.iter().any(|problem| problem.code == Code::UnknownName), "{source}: {any:#?}"),
            _ => assert_said(source, &any, (Code::UnknownName, marked, message, help)),
        }
    }
    for (source, marked, help) in [
        ("params.shrd == 1", "params.shrd", "Did you mean `params.shard`?"),
        ("has(request.params.namespce)", "has(request.params.namespce)", "Did you mean `params.namespace`?"),
        ("params['dryrun']", "params['dryrun']", "Did you mean `params.dry-run`?"),
    ] {
        let (own, any) = problems(source);
        assert_said(source, &own, (Code::UnknownParam, marked, "the role declares no parameter", help));
        assert!(any.is_empty(), "a stage serves many roles: {any:?}");
    }
}

#[test]
fn types_that_do_not_fit_are_found_with_what_to_write_instead() {
    let unit = "Lengths of time have a unit: `duration('2h')`";
    for (source, marked, message, help) in [
        ("request.duration > 2", "request.duration > 2", "a duration is compared with a number", unit),
        ("request.start - now > 3", "request.start - now > 3", "a duration is compared with a number", unit),
        ("request.start > now + 2", "now + 2", "a number cannot be added to a timestamp", unit),
        (
            "request.duration > '2h'",
            "request.duration > '2h'",
            "a duration is compared with a text",
            "Write a duration",
        ),
        ("request.duration < now", "request.duration < now", "a duration is compared with a timestamp", "A length of"),
        ("now > '2026-12-01'", "now > '2026-12-01'", "a timestamp is compared with a text", "Write a timestamp"),
        ("request.ticket", "request.ticket", "a condition is true or false; this is a text", "Compare it"),
        ("size(subject.groups)", "size(subject.groups)", "a condition is true or false; this is a number", ""),
        ("request.ticket && request.break_glass", "request.ticket", "true or false is wanted here; this is a text", ""),
        ("!subject.groups", "subject.groups", "true or false is wanted here; this is a list", ""),
        ("request.ticket ? true : false", "request.ticket", "true or false is wanted here", ""),
        ("subject.groups.all(g, size(g))", "size(g)", "true or false is wanted here; this is a number", ""),
        ("subject.groups.filter(g, g) == []", "g", "true or false is wanted here; this is a text", ""),
        ("subject.login.exists(x, x == 'a')", "subject.login", "only lists and maps can be gone through", ""),
        (
            "'a' in request.ticket",
            "'a' in request.ticket",
            "`in` looks into lists and maps, not into a text",
            "Whether",
        ),
        ("request.ticket[0] == 'a'", "request.ticket[0]", "a text has no elements", "Elements of lists"),
        ("subject.groups['sre']", "subject.groups['sre']", "a list has no elements that could be chosen by a text", ""),
        ("subject.groups.sre", "subject.groups.sre", "a list has no fields", "An element of a list"),
        ("has(request.ticket.x)", "has(request.ticket.x)", "a text has no fields", ""),
        (
            "request.reason.startsWith(1)",
            "request.reason.startsWith(1)",
            "`startsWith` does not go with a text and a number",
            "It is written `text.startsWith(text)`.",
        ),
        (
            "subject.groups.contains('sre')",
            "subject.groups.contains('sre')",
            "`contains` does not go with a list and a text",
            "",
        ),
        (
            "days('2') < request.duration",
            "days('2')",
            "`days` does not go with a text",
            "It is written `days(number)`.",
        ),
        ("now.getHours(2) == 3", "now.getHours(2)", "`getHours` does not go with a timestamp and a number", ""),
        ("request.duration * 2 > days(1)", "request.duration * 2", "a duration cannot be multiplied by a number", ""),
        ("-request.duration < days(1)", "-request.duration", "a duration has no negative", ""),
        ("subject.login - 'a' == ''", "subject.login - 'a'", "a text cannot be taken from a text", ""),
        ("subject.groups > ['a']", "subject.groups > ['a']", "a list is compared with a list", "Ask whether"),
        ("request.break_glass > 0", "request.break_glass > 0", "true or false is compared with a number", ""),
    ] {
        let (own, any) = problems(source);
        assert_said(source, &any, (Code::TypeError, marked, message, help));
        assert_eq!(own, any);
    }
    let (own, _) = problems("params.shard + params.namespace == 1");
    assert_said(
        "params.shard + params.namespace == 1",
        &own,
        (Code::TypeError, "params.shard + params.namespace", "a text cannot be added to a number", "Write the number"),
    );
}

#[test]
fn what_can_never_be_evaluated_is_found() {
    for (source, marked, message, help) in [
        ("request.ticket.matches('(')", "'('", "the pattern cannot be read: unclosed group", ""),
        (r"request.ticket.matches('(\\w{90}){90}')", r"'(\\w{90}){90}'", "the pattern is too large", ""),
        ("request.duration > duration('2d')", "'2d'", "\"2d\" is no duration here", "Units are"),
        ("request.duration > duration('2h3')", "'2h3'", "\"2h3\" is no duration here", "Units are"),
        ("now > timestamp('2026-12-01')", "'2026-12-01'", "\"2026-12-01\" is no timestamp", "Write it with"),
        (
            "now.getHours('Europe/Berln') > 3",
            "'Europe/Berln'",
            "there is no time zone",
            "Did you mean `'Europe/Berlin'`?",
        ),
        (
            "now.isWorkingHours('Europe/Berln')",
            "'Europe/Berln'",
            "there is no time zone",
            "Did you mean `'Europe/Berlin'`?",
        ),
        ("now.isWorkingHours('UTC', '8:00', '18:00')", "'8:00'", "\"8:00\" is no time of day", "Write it as"),
        ("now.isWorkingHours('UTC', '18:00', '08:00')", "'18:00'", "the day's work ends (08:00) before", "Write it as"),
        ("1 / 0 == pull_request.number", "1 / 0", "this always fails", ""),
        ("request.ticket ==", "", "not a CEL expression: something is missing at the end", ""),
        ("request.ticket == == 'a'", "", "not a CEL expression: `==` is unexpected", ""),
        ("request.ticket = 'a'", "", "not a CEL expression: `=` is not understood", ""),
        ("a.?b == 1", "", "not a CEL expression", ""),
        ("request.ticket == 'a", "", "not a CEL expression: the text 'a is never closed", ""),
        (r"request.ticket == '\q'", "", "not a CEL expression: the text", ""),
        ("request.break_glass ? true", "", "not a CEL expression: something is missing at the end", ""),
        ("(request.break_glass", "", "not a CEL expression: something is missing at the end", ""),
        ("pull_request.number > 99999999999999999999", "", "not a CEL expression: a number in it is out of range", ""),
    ] {
        let (_, any) = problems(source);
        assert_said(source, &any, (Code::BadExpression, marked, message, help));
    }
    let (_, syntax) = problems("request.ticket == 'ä' &&\n  request.reason == == 'a'");
    assert_eq!(syntax[0].span.start, 45, "{syntax:?}");
}

#[test]
fn what_is_always_true_or_false_is_found() {
    let (yes, no) = (Code::AlwaysTrue, Code::AlwaysFalse);
    for (source, code, marked, message, help) in [
        ("true", yes, "true", "this is always true: it asks nothing", "It allows everything"),
        ("1 < 2", yes, "1 < 2", "this is always true: it asks nothing", ""),
        ("[1, 2].exists(n, n > 4)", no, "n > 4", "this is always false: `n` is one of 1, 2, and so", ""),
        (
            "[1, 2].map(n, n + 1) == []",
            no,
            "[1, 2].map(n, n + 1) == []",
            "this is always false: it asks nothing",
            "Nobody",
        ),
        ("request.break_glass || true", yes, "request.break_glass || true", "this is always true", ""),
        ("request.ticket == 'x' && !true", no, "request.ticket == 'x' && !true", "this is always false", ""),
        (
            "request.duration > duration('0s')",
            yes,
            "request.duration > duration('0s')",
            "this is always true: `request.duration` is between 1s and 366d",
            "",
        ),
        (
            "request.duration > days(400)",
            no,
            "request.duration > days(400)",
            "this is always false: `request.duration` is",
            "",
        ),
        (
            "request.duration == 2",
            no,
            "request.duration == 2",
            "this is always false: a duration never equals a number",
            "Lengths",
        ),
        (
            "request.break_glass != 'false'",
            yes,
            "request.break_glass != 'false'",
            "this is always true: true or false never equals",
            "`true` and `false` are written without quotes",
        ),
        (
            "subject.groups == 'sre'",
            no,
            "subject.groups == 'sre'",
            "this is always false: a list never equals a text",
            "Ask whether",
        ),
        (
            "role.risk == 'criticl' || request.break_glass",
            no,
            "role.risk == 'criticl'",
            "this is always false: `role.risk` is one of 'low', ",
            "Did you mean `'critical'`?",
        ),
        ("role.risk in ['high', 'criticl']", no, "'criticl'", "it is never \"criticl\"", "Did you mean `'critical'`?"),
        (
            "role.name == 'rooot'",
            no,
            "role.name == 'rooot'",
            "this is always false: `role.name` is",
            "Did you mean `'root'`?",
        ),
        (
            "'sree' in subject.groups",
            no,
            "'sree' in subject.groups",
            "this is always false: `subject.groups` is a list of some of",
            "Did you mean `'sre'`?",
        ),
        (
            "subject.groups.exists(g, g == 'sree')",
            no,
            "g == 'sree'",
            "this is always false: `g` is one of",
            "Did you mean `'sre'`?",
        ),
        ("2 in subject.groups", no, "2 in subject.groups", "this is always false", ""),
        (
            "request.ticket != 'A' || request.ticket != 'B'",
            yes,
            "request.ticket != 'A' || request.ticket != 'B'",
            "this is always true, whatever is asked for",
            "Of `x != 'a' || x != 'b'`",
        ),
        (
            "request.break_glass && (role.risk == 'high' && role.risk == 'critical')",
            no,
            "request.break_glass && (role.risk == 'high' && role.risk == 'critical')",
            "this is always false, whatever is asked for",
            "",
        ),
        (
            "request.break_glass && (request.ticket == '' || request.ticket != '')",
            yes,
            "request.ticket == '' || request.ticket != ''",
            "this is always true, whatever is asked for",
            "",
        ),
        (
            "request.duration > duration('4h') && request.duration < duration('2h')",
            no,
            "request.duration > duration('4h') && request.duration < duration('2h')",
            "this is always false",
            "",
        ),
        (
            "request.duration < duration('1h') || duration('1h') <= request.duration",
            yes,
            "request.duration < duration('1h') || duration('1h') <= request.duration",
            "this is always true",
            "",
        ),
        ("request.break_glass || !(request.break_glass)", yes, "request.break_glass || !(request.break_glass)", "", ""),
        ("subject.login == request.subject", yes, "subject.login == request.subject", "this is always true", ""),
        ("request.start != request . start", no, "request.start != request . start", "this is always false", ""),
        (
            "role.risk in ['low', 'medium'] || role.risk in ['high', 'critical']",
            yes,
            "role.risk in ['low', 'medium'] || role.risk in ['high', 'critical']",
            "",
            "",
        ),
        (
            "request.ticket.matches('.*')",
            yes,
            "request.ticket.matches('.*')",
            "this is always true: the pattern",
            "Say",
        ),
        (
            "request.reason.startsWith('')",
            yes,
            "request.reason.startsWith('')",
            "this is always true: every text",
            "Say",
        ),
        (
            "now.getDayOfWeek('UTC') == 7",
            no,
            "now.getDayOfWeek('UTC') == 7",
            "this is always false: `now.getDayOfWeek('UTC')` is between 0 and 6",
            "",
        ),
        (
            "subject.login == 'Alice'",
            no,
            "subject.login == 'Alice'",
            "this is always false: `subject.login` is a text without capital letters",
            "Did you mean `'alice'`?",
        ),
        (
            "request.subject != 'Alice'",
            yes,
            "request.subject != 'Alice'",
            "this is always true",
            "Did you mean `'alice'`?",
        ),
        ("pull_request.author in ['alice', 'Bob']", no, "'Bob'", "it is never \"Bob\"", "Did you mean `'bob'`?"),
        (
            "subject.login.startsWith('Team-')",
            no,
            "subject.login.startsWith('Team-')",
            "this is always false: `subject.login` is a text",
            "Did you mean `'team-'`?",
        ),
        ("'SRE' in subject.teams", no, "'SRE' in subject.teams", "this is always false", "Did you mean `'sre'`?"),
        (
            "subject.teams.exists(t, t == 'SRE')",
            no,
            "t == 'SRE'",
            "this is always false: `t` is",
            "Did you mean `'sre'`?",
        ),
        (
            "has(request.ticket)",
            yes,
            "has(request.ticket)",
            "this is always true: `request.ticket` is always there",
            "It is empty where it is left out: `request.ticket != ''`.",
        ),
        ("has(request.start)", yes, "has(request.start)", "this is always true", "It is null where it is left out"),
        ("has(subject.groups)", yes, "has(subject.groups)", "this is always true", "It may be empty"),
        ("'ticket' in request", yes, "'ticket' in request", "this is always true", ""),
        ("'tickt' in request", no, "'tickt' in request", "this is always false", ""),
        (
            "request.reason != ''",
            yes,
            "request.reason != ''",
            "this is always true: `request.reason` is a text of 1 to 1000 characters",
            "",
        ),
        ("request.reason.size() > 0", yes, "request.reason.size() > 0", "this is always true", ""),
        (
            "size(request.ticket) > 200",
            no,
            "size(request.ticket) > 200",
            "this is always false: `size(request.ticket)` is between 0 and 200",
            "",
        ),
        ("size(subject.groups) >= 0", yes, "size(subject.groups) >= 0", "this is always true", ""),
    ] {
        let (_, any) = problems(source);
        assert_said(source, &any, (code, marked, message, help));
        assert!(Expression::compile(source, &Environment::default()).value.is_some(), "{source}: only a warning");
    }
    for (source, code, message, help) in [
        ("role.risk == 'critical'", no, "this is always false: `role.risk` is 'high'", ""),
        ("role.risk == 'hihg'", no, "this is always false: `role.risk` is 'high'", "Did you mean `'high'`?"),
        ("role.risk in ['high', 'critical']", yes, "this is always true: `role.risk` is 'high'", ""),
        ("request.role != 'root'", yes, "this is always true: `request.role` is 'orders-db-reader'", ""),
        (
            "params.stage == 'prd'",
            no,
            "this is always false: `params.stage` is one of 'prod', 'staging'",
            "Did you mean `'prod'`?",
        ),
        ("params.shard == '1'", no, "this is always false: a number never equals a text", "Write the number"),
    ] {
        let (own, _) = problems(source);
        assert_said(source, &own, (code, source, message, help));
    }
    let (own, any) = problems("role.risk == 'critical' && request.ticket == ''");
    assert!(own[0].message.ends_with("and so the whole expression is always false") && any.is_empty(), "{own:?}");
}

#[test]
fn what_may_be_otherwise_is_not_called_certain() {
    for source in [
        "request.ticket == 'A' || request.ticket == 'B'",
        "request.ticket != 'A' && request.ticket != 'B'",
        "request.duration > duration('2h') && request.duration < duration('4h')",
        "request.duration <= duration('2h') || request.duration > duration('3h')",
        "double(request.ticket) == double(request.ticket)",
        "request.ticket.matches('^.*$') && request.reason.matches('.+')",
        "request.start == null || request.start > now",
        "request.break_glass || !request.reason.contains('x')",
        "role.risk == 'low' || role.risk == 'medium' || role.risk == 'high'",
    ] {
        let (_, any) = problems(source);
        assert!(any.is_empty(), "{source}: {any:#?}");
    }
}

#[test]
fn the_ceiling_of_the_role_is_known() {
    let ceiling = Some(Duration::hours(4));
    let under = Environment { ceiling, ..Environment::default() };
    let said = |source| Expression::compile(source, &under);
    let checked = said("request.duration <= duration('12h')");
    assert_eq!(checked.problems[0].code, Code::AlwaysTrue);
    assert!(checked.problems[0].message.contains("between 1s and 4h"), "{:?}", checked.problems);
    assert_eq!(checked.value.unwrap().always(), Some(true));
    assert_eq!(said("request.duration > duration('4h')").problems[0].code, Code::AlwaysFalse);
    let open = said("request.duration >= duration('4h')");
    assert_eq!((open.problems, open.value.unwrap().always()), (vec![], None));
}

#[test]
fn a_team_that_is_not_named_is_told_of() {
    for (source, marked) in [
        ("[subject].exists(s, 'x' in s.teams)", "subject"),
        ("'x' in subject['teams']", "subject['teams']"),
        ("subject.teams.exists(t, t.startsWith('sre-'))", "subject.teams.exists(t, t.startsWith('sre-'))"),
        ("!(request.ticket in subject.teams)", "request.ticket in subject.teams"),
        ("request.params.team in subject.teams", "request.params.team in subject.teams"),
        ("size(subject.teams) > 1", "subject.teams"),
        ("subject.teams[0] == 'x'", "subject.teams"),
        ("subject.teams == ['x']", "subject.teams"),
        ("'site reliability' in subject.teams", "'site reliability' in subject.teams"),
        // A team that is not named would make these come out otherwise.
        ("subject.teams.all(t, t == 'x')", "subject.teams.all(t, t == 'x')"),
        ("subject.teams.exists(t, t != 'x')", "subject.teams.exists(t, t != 'x')"),
        ("[request.ticket].exists(t, t in subject.teams)", "t in subject.teams"),
    ] {
        let (_, any) = problems(source);
        let [problem] = any.as_slice() else { panic!("{source}: {any:#?}") };
        let about: String = source.chars().skip(problem.span.start).take(problem.span.length).collect();
        assert_eq!((problem.code, problem.severity, about.as_str()), (Code::NamelessTeams, Severity::Warning, marked));
        assert!(problem.help.contains("'sre' in subject.teams"), "{problem:?}");
        let membership = Expression::compile(source, &Environment::default()).value.unwrap().membership().clone();
        assert!(membership.asks, "{source}");
    }
    for source in [
        "'x' in subject.teams && !('y' in subject.teams)",
        "subject.teams.exists(t, t == 'x' || t in ['y', 'z'])",
        "!subject.teams.exists_one(t, 'x' == t)",
        "subject.teams.all(t, t != 'x' && !(t == 'y'))",
        "size(subject.teams.filter(t, t == 'x')) == 1",
        "['x', 'y'].all(t, t in subject.teams)",
        "has(subject.teams) && subject['login'] == 'x' && 'login' in subject",
        "[1].exists(subject, subject == 1)",
    ] {
        let (_, any) = problems(source);
        assert!(!any.iter().any(|problem| problem.code == Code::NamelessTeams), "{source}: {any:#?}");
    }
}

#[test]
fn what_is_suggested_is_never_what_is_written() {
    let groups = ["sre".to_owned()];
    let environment = Environment { groups: Some(&groups), ..Environment::default() };
    for source in ["'sree' in subject.groups", "subject.groups.exists(g, 'sree' == g)"] {
        let found = Expression::compile(source, &environment).problems;
        assert_eq!(found[0].help, "Did you mean `'sre'`?", "{source}: {found:#?}");
    }
}

#[test]
fn a_bad_pattern_hides_nothing_else() {
    let (_, found) = problems("request.ticket.matches('(') || request.tickt == ''");
    let codes: Vec<Code> = found.iter().map(|problem| problem.code).collect();
    assert_eq!(codes, [Code::BadExpression, Code::UnknownName], "{found:#?}");
}

/// Every function in the table is one of the library's or ours, with exactly these types.
#[test]
fn the_table_of_functions_is_that_of_the_evaluation() {
    use super::super::functions::{SIGNATURES, Wanted};
    let values = [
        (Wanted::Bool, "true"),
        (Wanted::Int, "1"),
        (Wanted::Uint, "1u"),
        (Wanted::Double, "1.0"),
        (Wanted::Text, "'1h'"),
        (Wanted::Bytes, "b'1'"),
        (Wanted::Duration, "duration('1h')"),
        (Wanted::Timestamp, "timestamp('2026-12-01T00:00:00Z')"),
        (Wanted::List, "[1]"),
        (Wanted::Map, "{1: 1}"),
    ];
    let overload = |source: &str| {
        let (tree, _) = eval::parse(source).unwrap();
        let program = eval::Program::new(tree, Vec::new());
        !matches!(
            program.part(&program.tree, None), Err(error) if error.contains("does not go with") || error.contains("nothing called"))
    };
    let mut names: Vec<&str> = SIGNATURES.iter().map(|known| known.name).collect();
    names.dedup();
    for name in names {
        for (first, one) in values {
            for (target, args, source) in [
                (None, vec![first], format!("{name}({one})")),
                (Some(first), vec![], format!("({one}).{name}()")),
                (Some(first), vec![Wanted::Text], format!("({one}).{name}('UTC')")),
                (None, vec![first, Wanted::Text], format!("{name}({one}, 'UTC')")),
            ] {
                let listed = SIGNATURES.iter().any(|known| known.name == name && known.takes(target, &args));
                assert_eq!(listed, overload(&source), "{source}");
            }
        }
    }
}

#[test]
fn a_policy_without_groups_has_nobody_in_one() {
    let none = Environment { groups: Some(&[]), ..Environment::default() };
    let found = Expression::compile("'sre' in subject.groups", &none).problems;
    assert_said(
        "'sre' in subject.groups",
        &found,
        (Code::AlwaysFalse, "'sre' in subject.groups", "this is always false: `subject.groups` is empty", ""),
    );
    assert_eq!(Expression::compile("'sre' in subject.groups", &Environment::default()).problems, [], "unknown");
}
