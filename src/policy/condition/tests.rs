use super::*;

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
        let expression = Expression::compile(source).unwrap_or_else(|error| panic!("{source}: {error}"));
        assert_eq!(expression.is_true(&scope()), Ok(expected), "{source}");
    }
}

#[test]
fn what_does_not_exist_is_found_before_it_is_needed() {
    for (source, message, help) in [
        ("requst.ticket == ''", "there is nothing called `requst`", "Did you mean `request`?"),
        ("request.tickets == ''", "`request` has no field `tickets`", "Did you mean `request.ticket`?"),
        ("request.ticket.match('x')", "there is no function `match`", "Did you mean `matches`?"),
        ("request.ticket.matches('(')", "the pattern cannot be read", ""),
    ] {
        let error = Expression::compile(source).unwrap_err();
        assert!(error.message.starts_with(message), "{source}: {error}");
        assert!(help.is_empty() || error.help() == help, "{source}: {}", error.help());
    }
}

#[test]
fn an_error_or_another_type_is_never_a_yes() {
    for source in ["request.params.missing == 1", "1", "'x'", "1 / 0 == 1", "subject.other.team == 'x'"] {
        let expression = Expression::compile(source).unwrap();
        assert!(expression.is_true(&scope()).is_err(), "{source}");
    }
}

#[test]
fn monsters_are_refused_and_the_largest_allowed_does_no_harm() {
    for monster in [
        format!("1{}", "+1".repeat(1_536)),
        format!("request{}", ".a".repeat(6_000)),
        format!("params{}", "[0]".repeat(400)),
        "(".repeat(2_000),
        "[1].all(a, [1].all(b, [1].all(c, a == b)))".to_owned(),
    ] {
        assert!(matches!(Expression::compile(&monster), Err(error) if error.code() != Code::ConditionFailed));
    }
    let largest = format!("1{} == 101", "+1".repeat(97));
    let _ = Expression::compile(&largest).map(|expression| expression.is_true(&scope()));
    let deep = format!("{}1{} == 1", "(".repeat(90), ")".repeat(90));
    let _ = Expression::compile(&deep).map(|expression| expression.is_true(&scope()));
}

#[test]
fn texts_take_expressions_in() {
    let render = |source: &str| Template::compile(source).unwrap().render(&scope());
    assert_eq!(render("plain"), Ok("plain".to_owned()));
    assert_eq!(render("ns-${params.namespace}-${params.shard}"), Ok("ns-checkout-7".to_owned()));
    assert_eq!(render("$${x} costs 5$"), Ok("${x} costs 5$".to_owned()));
    assert_eq!(render("${'}' + params.namespace}"), Ok("}checkout".to_owned()));
    assert!(render("${subject.teams}").is_err());
    assert!(Template::compile("${params.namespace").is_err());
    let all = Template::compile("${person.ssh}").unwrap().render_all(&scope());
    assert_eq!(all, Ok(vec!["alice".to_owned(), "deploy".to_owned()]));
    assert_eq!(Template::compile("a${params.x}").unwrap().params(), BTreeSet::from(["x".to_owned()]));
}

proptest::proptest! {
    #[test]
    fn no_text_panics(source in "[a-z0-9 .,()'\"+*<>=!&|?:${}\\[\\]-]{0,80}") {
        if let Ok(expression) = Expression::compile(&source) {
            let _ = expression.is_true(&scope());
        }
        if let Ok(template) = Template::compile(&source) {
            let _ = template.render_all(&scope());
        }
    }
}
