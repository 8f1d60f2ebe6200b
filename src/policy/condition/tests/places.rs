//! Where in a policy file the findings about expressions point.

use super::super::super::load;

/// The words a finding is about stand between `«` and `»`.
fn assert_points(policy: &str) {
    let mut expected = Vec::new();
    for (line, text) in policy.lines().enumerate() {
        let chars: Vec<char> = text.chars().collect();
        let marks: Vec<usize> =
            chars.iter().enumerate().filter(|(_, c)| "«»".contains(**c)).map(|(at, _)| at).collect();
        for (number, pair) in marks.chunks(2).enumerate() {
            // Columns count from 1, and the marks themselves are not there.
            expected.push((line + 1, pair[0] + 1 - 2 * number, pair[1] - pair[0] - 1));
        }
    }
    let plain = policy.replace(['«', '»'], "");
    let loaded = load(&[("policies/a.yaml".to_owned(), plain.into_bytes())].into(), None);
    let found: Vec<(usize, usize, usize)> = loaded
        .findings
        .iter()
        .map(|finding| &finding.place)
        .map(|place| (place.line as usize, place.column as usize, place.length as usize))
        .collect();
    assert_eq!(found, expected, "{:#?}", loaded.findings);
}

#[test]
fn findings_point_at_the_characters_they_are_about() {
    assert_points(
        r#"targets: { db: postgres }
approvals:
  one:
    stages:
      - name: plain
        when: request.break_glass || «role.risk == 'criticl'»
        approvers: [user:alice]
      - name: spread
        when: request.break_glass
          || «requst».break_glass
        approvers: [user:alice]
      - name: block
        when: |
          request.break_glass ||
            request.ticket == 'x' &&
            «role.risk == 'hihg'»
        approvers: [user:alice]
      - name: folded
        when: >-
          request.break_glass ||
          «request.duration > 2»
        approvers: [user:alice]
roles:
  reader:
    requesters: [user:bob]
    approval: one
    params: { shard: { type: integer } }
    conditions:
      - expr: 'request.ticket != ''x'' && «request.tickt» != '''''
      - expr: "request.ticket != \"ä\" && «params.shrd» == 1"
      - expr: "'x' in subject.teams || «2 in subject.teams»"
      - expr: '''x'' == request.ticket || «''x'' > 2»'
    entitlements:
      - postgres: { target: db, role: "r-${params.shard}-${«subject.teams»}" }
      - postgres: { target: db, role: 'é-${params.shard}-${«params.shart»}' }
"#,
    );
}

#[test]
fn several_mistakes_in_one_expression_are_all_found() {
    assert_points(
        "
roles:
  reader:
    requesters: [user:bob]
    approval: one
    conditions:
      - expr: |
          «requst».ticket == 'x' ||
          «request.duration > 2» || «request.tickt» == 'y'
    entitlements:
      - postgres: { target: db, role: r }
approvals: { one: { stages: [{ name: a, approvers: [user:alice] }] } }
targets: { db: postgres }
",
    );
}
