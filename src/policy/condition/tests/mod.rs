use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::super::Duration;
use super::super::model::{ParamValue, Person};
use super::*;

mod hostile;
mod page;
mod places;
mod random;
mod table;

fn compile(source: &str) -> Result<Expression, Problem> {
    Expression::compile(source, &Environment::default()).into_result()
}

fn template(source: &str) -> Result<Template, Problem> {
    Template::compile(source, &Environment::default(), true).into_result()
}

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn scope() -> Scope {
    Scope {
        request: RequestScope {
            subject: "alice".into(),
            role: "orders-db-reader".into(),
            duration: Duration::hours(3),
            reason: "x".into(),
            ticket: "INC-42".into(),
            start: None,
            break_glass: false,
            params: BTreeMap::from([
                ("namespace".to_owned(), ParamValue::String("checkout".into())),
                ("shard".to_owned(), ParamValue::Integer(7)),
            ]),
        },
        subject: SubjectScope {
            missing_teams: Vec::new(),
            login: "alice".into(),
            teams: vec!["engineering".into()],
            groups: vec![],
            person: Person { ssh: vec!["alice".into(), "deploy".into()], ..Person::default() },
        },
        role: RoleScope { name: "orders-db-reader".into(), risk: "critical", description: String::new() },
        now: DateTime::from_timestamp(1_800_000_000, 0).unwrap(),
        pull_request: PullRequestScope { number: 7, author: "alice".into() },
    }
}

#[test]
fn the_teams_an_expression_asks_for_are_those_it_compares_the_subjects_teams_with() {
    for (source, asks, teams) in [
        ("'a' in subject.teams", true, vec!["a"]),
        ("!('a' in subject.teams) && role.risk == 'high'", true, vec!["a"]),
        ("subject.teams.exists(t, t == 'a' || 'b' == t)", true, vec!["a", "b"]),
        ("subject.teams.all(t, t in ['a', 'b'])", true, vec!["a", "b"]),
        ("['a', 'b'].exists(t, t in subject.teams)", true, vec!["a", "b"]),
        ("subject.groups.exists(g, g == 'a') && 'b' in subject.teams", true, vec!["b"]),
        ("'a' in subject.groups", true, vec![]),
        ("request.ticket == 'a'", false, vec![]),
    ] {
        let compiled = Expression::compile(source, &Environment::default()).value.unwrap();
        let membership = compiled.membership();
        let found: Vec<&str> = membership.teams.iter().map(|team| team.as_str()).collect();
        assert_eq!((membership.asks, found), (asks, teams), "{source}");
    }
}

#[test]
fn an_expression_about_a_team_that_does_not_exist_has_no_answer() {
    let mut scope = scope();
    scope.subject.missing_teams = vec!["contractors".to_owned()];
    let about = |source| Expression::compile(source, &Environment::default()).value.unwrap().is_true(&scope);
    let error = about("!('contractors' in subject.teams)").unwrap_err().to_string();
    assert_eq!(error, "there is no team `contractors` in the organisation");
    assert_eq!(about("request.ticket != 'contractors'").ok(), Some(true), "it asks for no team");
}

#[test]
fn policies_ask_about_requests() {
    for (source, expected) in [
        ("request.ticket.matches('^INC-[0-9]+$')", true),
        ("request.duration > duration('2h') || role.risk == 'critical'", true),
        ("request.duration > days(1)", false),
        ("'engineering' in subject.teams", true),
        ("subject.teams.exists(t, t.startsWith('eng'))", true),
        ("params.namespace == 'checkout' && request.params.shard == 7", true),
        ("now > timestamp('2020-01-01T00:00:00Z')", true),
        ("request.start == null", true),
        ("pull_request.author == subject.login", true),
    ] {
        let expression = compile(source).unwrap_or_else(|error| panic!("{source}: {error:?}"));
        assert_eq!(expression.is_true(&scope()), Ok(expected), "{source}");
    }
}

#[test]
fn an_error_or_another_type_is_never_a_yes() {
    for source in
        ["request.params.missing == 1", "params.shard", "1 / (params.shard - 7) == 1", "subject.other.team == 'x'"]
    {
        let expression = compile(source).unwrap();
        assert!(expression.is_true(&scope()).is_err(), "{source}");
    }
}

#[test]
fn what_fails_says_why_in_words_for_people() {
    for (source, words) in [
        ("request.params.missing == 1", "there is no `missing`"),
        ("params.shard", "it gives a number, not true or false"),
        ("1 / (params.shard - 7) == 1", "it divides by zero"),
        ("params.shard + 9223372036854775807 > 1", "what `+` gives is out of range"),
        ("params.namespace > 1", "`>` does not go with a text and a number"),
        ("params.namespace.getHours() == 1", "`getHours` does not go with a text"),
        ("params.namespace + 1 == 'x'", "`+` does not go with a text and a number"),
        ("int(params.namespace) == 1", "`int` makes no number of this"),
        ("person.ssh[params.shard] == 'x'", "the list has no element 7"),
        ("duration(params.namespace) > days(1)", "`duration` makes no duration of this: write it as '1h30m'"),
    ] {
        let error = compile(source).unwrap().is_true(&scope()).unwrap_err().to_string();
        assert_eq!(error, words, "{source}");
    }
    let all = template("${dyn(request)}").unwrap().render(&scope()).unwrap_err().to_string();
    assert_eq!(all, "it gives a map, which cannot be put into a text");
}

#[test]
fn how_it_is_written_does_not_count() {
    let shape = |source: &str| compile(source).unwrap().shape();
    for (one, other) in [
        ("request.ticket=='x'", "(request.ticket  ==\n \"x\") // as ever"),
        ("subject.groups.exists(g, g == 'x')", "subject.groups.exists(group, group == 'x')"),
        ("request.params['shard'] == 1", "params.shard == 1"),
        (
            "request.ticket.matches('^a') && request.reason.matches('b')",
            "request.ticket.matches(r'^a') && (request.reason.matches('b'))",
        ),
        ("size(request.ticket) > 1", "request.ticket.size() > 1"),
    ] {
        assert_eq!(shape(one), shape(other));
    }
    for (one, other) in [
        ("request.ticket == 'x'", "request.ticket == 'X'"),
        ("request.ticket == '1'", "params.shard == 1"),
        ("request.ticket.matches('^a')", "request.ticket.matches('^b')"),
        (
            "request.break_glass && (request.ticket == '' || role.risk == 'low')",
            "(request.break_glass && request.ticket == '') || role.risk == 'low'",
        ),
        ("subject.groups.exists(g, g == 'x')", "subject.groups.all(g, g == 'x')"),
        ("has(params.shard)", "params.shard"),
        ("params.shard == 1", "params.shard == 1u"),
    ] {
        assert_ne!(shape(one), shape(other));
    }
    let template = |source: &str| template(source).unwrap().shape();
    assert_eq!(template("r-${params.x}"), template("r-${ params['x'] }"));
    assert_ne!(template("r-${params.x}"), template("r${params.x}"));
}

#[test]
fn texts_take_expressions_in() {
    let render = |source: &str| template(source).unwrap().render(&scope());
    assert_eq!(render("plain"), Ok("plain".to_owned()));
    assert_eq!(render("ns-${params.namespace}-${params.shard}"), Ok("ns-checkout-7".to_owned()));
    assert_eq!(render("$${x} costs 5$"), Ok("${x} costs 5$".to_owned()));
    assert_eq!(render("${'}' + params.namespace}"), Ok("}checkout".to_owned()));
    assert!(render("${subject.teams}").is_err());
    assert!(template("${params.namespace").is_err());
    let all = template("${person.ssh}").unwrap().render_all(&scope());
    assert_eq!(all, Ok(vec!["alice".to_owned(), "deploy".to_owned()]));
    assert_eq!(template("a${params.x}").unwrap().params(), BTreeSet::from(["x".to_owned()]));
}

#[test]
fn working_hours_follow_the_clocks_of_the_place() {
    // Monday, 26 October 2026: the clocks in Berlin went back the day before; in New York they do a week later.
    for (now, source, expected) in [
        ("2026-10-23T07:00:00Z", "now.isWorkingHours('Europe/Berlin')", true),
        ("2026-10-23T06:59:59Z", "now.isWorkingHours('Europe/Berlin')", false),
        ("2026-10-26T07:30:00Z", "now.isWorkingHours('Europe/Berlin')", false),
        ("2026-10-26T08:00:00Z", "now.isWorkingHours('Europe/Berlin')", true),
        ("2026-10-26T15:59:59Z", "now.isWorkingHours('Europe/Berlin')", true),
        ("2026-10-26T16:00:00Z", "now.isWorkingHours('Europe/Berlin')", false),
        ("2026-10-26T13:00:00Z", "now.isWorkingHours('America/New_York')", true),
        ("2026-11-02T13:30:00Z", "now.isWorkingHours('America/New_York')", false),
        ("2026-10-24T10:00:00Z", "now.isWorkingHours('Europe/Berlin')", false),
        // Sunday evening in London is Monday morning in Tokyo.
        ("2026-10-25T23:30:00Z", "now.isWorkingHours('Asia/Tokyo', '08:00', '18:00')", true),
        ("2026-10-25T23:30:00Z", "now.isWorkingHours('Europe/London', '00:00', '24:00')", false),
        ("2026-10-26T23:59:59Z", "now.isWorkingHours('UTC', '18:00', '24:00')", true),
    ] {
        let scope = Scope { now: at(now), ..scope() };
        assert_eq!(compile(source).unwrap().is_true(&scope), Ok(expected), "{source} at {now}");
    }
    let wrong = compile("now.isWorkingHours(params.zone)").unwrap();
    let mut scope = scope();
    scope.request.params.insert("zone".to_owned(), ParamValue::String("Mars/Base".into()));
    assert!(wrong.is_true(&scope).unwrap_err().to_string().contains("there is no time zone \"Mars/Base\""));
}

#[test]
fn patterns_that_are_not_written_out_are_bounded() {
    let expression = compile("request.ticket.matches(params.pattern)").unwrap();
    let with = |pattern: &str| {
        let mut scope = scope();
        scope.request.params.insert("pattern".to_owned(), ParamValue::String(pattern.to_owned()));
        expression.is_true(&scope).map_err(|error| error.to_string())
    };
    assert_eq!(with("^INC-[0-9]+$"), Ok(true));
    assert!(with("(").unwrap_err().contains("cannot be read"));
    assert!(with(&"a".repeat(300)).unwrap_err().contains("at most 200 bytes"));
    assert!(with(r"(\w{60}){60}").unwrap_err().contains("too large"));
}

#[test]
fn logins_and_teams_are_compared_in_lower_case_however_they_are_spelt() {
    let mut scope = scope();
    scope.subject.login = "Alice".to_owned();
    scope.request.subject = "Alice".to_owned();
    scope.pull_request.author = "ALICE".to_owned();
    scope.subject.teams = vec!["SRE".to_owned()];
    for source in [
        "subject.login == 'alice' && request.subject == 'alice'",
        "pull_request.author == subject.login",
        "'sre' in subject.teams",
    ] {
        assert_eq!(compile(source).unwrap().is_true(&scope), Ok(true), "{source}");
    }
    scope.subject.missing_teams = vec!["Contractors".to_owned()];
    assert!(compile("!('contractors' in subject.teams)").unwrap().is_true(&scope).is_err());
}
