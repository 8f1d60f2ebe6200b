//! Running the tests of a policy: each request is judged, on the facts its test gives, by the very function that judges real ones;
//! what comes out is compared with what the test expects.

use std::collections::BTreeSet;
use std::fmt::Display;

use super::approval::StageState;
use super::decide::{Decision, Verdict, has_error};
use super::given;
use super::principals::Needs;
use crate::policy::testcase::{PolicyTest, Stated};
use crate::policy::{Code, Finding, Place, Policy, Severity, suggest};

/// The most tests that are run for one policy. Anybody may propose a policy, and its tests are run to check it.
pub const MOST_TESTS: usize = 5_000;

/// A test that was run.
#[derive(Debug, Clone)]
pub struct Rehearsed<'a> {
    /// The test.
    pub test: &'a PolicyTest,
    /// What the policy decides.
    pub decision: Decision,
    /// Where that is not what was expected; none if the test passes.
    pub differences: Vec<Difference>,
    /// What may be wrong with the facts of a test that fails.
    pub hints: Vec<String>,
}

/// Something that came out otherwise than expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The key of `expect`.
    pub key: &'static str,
    /// What the test says.
    pub expected: String,
    /// What the policy does.
    pub found: String,
    /// Where the expectation stands.
    pub place: Place,
}

/// How many tests passed, and how many did not.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// As expected.
    pub passed: usize,
    /// Otherwise.
    pub failed: usize,
}

impl Tally {
    /// Counts.
    pub fn of(rehearsed: &[Rehearsed<'_>]) -> Self {
        let passed = rehearsed.iter().filter(|test| test.passed()).count();
        Self { passed, failed: rehearsed.len() - passed }
    }
}

impl Display for Tally {
    /// `12 tests passed`, `11 tests passed, 1 failed`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let tests = if self.passed == 1 { "test" } else { "tests" };
        write!(f, "{} {tests} passed", self.passed)?;
        if self.failed > 0 { write!(f, ", {} failed", self.failed) } else { Ok(()) }
    }
}

impl Rehearsed<'_> {
    /// Whether everything is as expected.
    pub fn passed(&self) -> bool {
        self.differences.is_empty()
    }

    /// The failure as a finding at the first expectation that is not met; `None` if the test passes.
    pub fn finding(&self) -> Option<Finding> {
        let first = self.differences.first()?;
        let differences: Vec<String> = self
            .differences
            .iter()
            .map(|difference| {
                format!("{}: expected {}, found {}", difference.key, difference.expected, difference.found)
            })
            .collect();
        let mut message = format!("the test {:?} fails: {}", self.test.name.trim(), differences.join("; "));
        for reason in self.reasons() {
            message.push_str(&format!("; {reason}"));
        }
        let help = if self.hints.is_empty() {
            "Mend the policy, or, if this is the decision you want, the test.".to_owned()
        } else {
            self.hints.join(" ")
        };
        let (file, severity) = (self.test.name.file.clone(), Severity::Error);
        Some(Finding { file, place: first.place, severity, code: Code::TestFails, message, help })
    }

    /// What the decision found wrong with the request: `DP0404: …`.
    pub fn reasons(&self) -> impl Iterator<Item = String> + '_ {
        self.decision.findings.iter().map(|finding| format!("{}: {}", finding.code, finding.message))
    }
}

/// Runs the tests of a policy that `wanted` selects.
pub fn run<'a>(policy: &'a Policy, wanted: impl Fn(&PolicyTest) -> bool) -> Vec<Rehearsed<'a>> {
    policy.tests.iter().filter(|test| wanted(test)).take(MOST_TESTS).map(|test| rehearse(policy, test)).collect()
}

/// The check of a proposed policy by its own tests: how they went, and a finding for each that fails.
pub fn check(policy: &Policy) -> (Tally, Vec<Finding>) {
    let rehearsed = run(policy, |_| true);
    let mut findings: Vec<Finding> = rehearsed.iter().filter_map(Rehearsed::finding).collect();
    if let Some(first) = policy.tests.get(MOST_TESTS) {
        findings.push(Finding {
            file: first.name.file.clone(),
            place: first.name.place,
            severity: Severity::Error,
            code: Code::TestFails,
            message: format!("the policy has {} tests; at most {MOST_TESTS} are run", policy.tests.len()),
            help: "Remove tests that show the same.".to_owned(),
        });
    }
    (Tally::of(&rehearsed), findings)
}

/// Runs one test.
pub fn rehearse<'a>(policy: &'a Policy, test: &'a PolicyTest) -> Rehearsed<'a> {
    let request = test.request.request(&test.name);
    let now = test.given.now(request.start);
    let decision = given::judge(&request, test.request.author(), &test.given, policy, now);
    let differences = compare(test, &decision);
    let hints = if differences.is_empty() { Vec::new() } else { hints(policy, test) };
    Rehearsed { test, decision, differences, hints }
}

fn compare(test: &PolicyTest, decision: &Decision) -> Vec<Difference> {
    let expect = &test.expect;
    let mut found = Vec::new();
    differ(&mut found, "valid", Some(&expect.valid), &!has_error(&decision.findings), ToString::to_string);
    let stages = || decision.approval.iter().flat_map(|approval| &approval.stages);
    let needed = stages().filter(|stage| stage.state != StageState::Skipped).map(|stage| stage.name.clone()).collect();
    differ(&mut found, "stages", expect.stages.as_ref(), &needed, |stages| list(stages.iter()));
    let approved = decision.verdict() == Verdict::Approved;
    differ(&mut found, "approved", expect.approved.as_ref(), &approved, ToString::to_string);
    let codes: BTreeSet<Code> = decision.findings.iter().map(|finding| finding.code).collect();
    differ(&mut found, "findings", sorted(expect.findings.as_ref(), Code::clone).as_ref(), &codes, |codes| {
        list(codes.iter())
    });
    let open = stages().filter(|stage| stage.state == StageState::Open);
    let approvers: BTreeSet<_> =
        open.flat_map(|stage| &stage.candidates).map(|account| account.login.clone()).collect();
    let expected = sorted(expect.approvers.as_ref(), |who| who.login().clone());
    differ(&mut found, "approvers", expected.as_ref(), &approvers, |logins| list(logins.iter()));
    let given: BTreeSet<String> = decision.entitlements.iter().map(ToString::to_string).collect();
    let expected = sorted(expect.entitlements.as_ref(), |text| text.trim().to_owned());
    differ(&mut found, "entitlements", expected.as_ref(), &given, |texts| list(texts.iter()));
    differ(&mut found, "expires", expect.expires.as_ref(), &decision.window.ends_at, |time| time.to_rfc3339());
    found
}

/// A list whose order says nothing.
fn sorted<T, U: Ord>(list: Option<&Stated<Vec<T>>>, value: impl Fn(&T) -> U) -> Option<Stated<BTreeSet<U>>> {
    list.map(|list| Stated { value: list.iter().map(value).collect(), file: list.file.clone(), place: list.place })
}

fn differ<T: PartialEq>(
    differences: &mut Vec<Difference>,
    key: &'static str,
    expected: Option<&Stated<T>>,
    found: &T,
    show: impl Fn(&T) -> String,
) {
    let Some(expected) = expected.filter(|expected| expected.value != *found) else { return };
    differences.push(Difference { key, expected: show(expected), found: show(found), place: expected.place });
}

fn list(items: impl Iterator<Item = impl Display>) -> String {
    let items: Vec<String> = items.map(|item| item.to_string()).collect();
    if items.is_empty() { "none".to_owned() } else { items.join(", ") }
}

/// Facts a failing test may have forgotten, or written down in vain.
fn hints(policy: &Policy, test: &PolicyTest) -> Vec<String> {
    let Some(role) = policy.roles.get(&test.request.role.value) else { return Vec::new() };
    let needs = Needs::of_role(role, policy);
    let mut hints = Vec::new();
    for team in test.given.teams.keys().filter(|team| !needs.teams.contains(team)) {
        let near = suggest(team.as_str(), needs.teams.iter().map(|team| team.as_str()));
        let near = near.map(|near| format!(" Did you mean `{near}`?")).unwrap_or_default();
        hints.push(format!("Role `{}` does not depend on team `{team}`, which the test gives.{near}", role.name));
    }
    let empty: Vec<String> = needs
        .teams
        .iter()
        .filter(|team| test.given.teams.get(team).is_none_or(Vec::is_empty))
        .map(|team| format!("`{team}`"))
        .collect();
    if !empty.is_empty() {
        hints.push(format!("The test puts nobody into {}.", empty.join(", ")));
    }
    hints
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{Loaded, load};

    const POLICY: &str = r#"
people: { ann: { email: ann@example.com } }
groups: { all: [everyone] }
targets: { hub: github }
roles:
  viewer:
    requesters: [team:devs, app:renovate]
    may_request_for: [user:lea]
    approval: owner
    conditions:
      - expr: now.getHours() < 12
    entitlements:
      - github: { target: hub, team: viewers }
  open:
    requesters: [everyone]
    approval: owner
    entitlements:
      - github: { target: hub, team: viewers }
  scarce:
    requesters: [everyone]
    limit: 2
    approval: cooling
    entitlements:
      - github: { target: hub, team: viewers }
  shared:
    requesters: [everyone]
    approval: anybody
    entitlements:
      - github: { target: hub, team: viewers }
approvals:
  cooling: { cool_down: 4h, stages: [{ name: owner, approvers: [user:ben] }] }
  anybody: { stages: [{ name: peer, approvers: [group:all] }] }
  owner:
    stages:
      - { name: owner, approvers: [user:ben, team:owners], escalate: { after: 30m, to: [team:leads] } }
"#;

    fn loaded(tests: &str) -> Loaded {
        load(&[("policies/p.yaml".to_owned(), format!("{POLICY}tests:\n{tests}").into_bytes())].into(), None)
    }

    /// What is otherwise than expected, test by test.
    fn differences(tests: &str) -> Vec<String> {
        let loaded = loaded(tests);
        let policy = loaded.policy.unwrap_or_else(|| panic!("{:#?}", loaded.findings));
        let rehearsed = run(&policy, |_| true);
        rehearsed.iter().filter_map(|test| test.finding()).map(|finding| finding.message).collect()
    }

    #[test]
    fn what_is_given_is_what_counts() {
        let tests = r#"
  - name: by default everybody who is named is a member
    request: { subject: zoe, role: open, duration: 1h }
    expect: { valid: true, approvers: [ben], stages: [owner] }
  - name: members are those who are listed
    request: { subject: zoe, role: open, duration: 1h }
    given: { members: [ben] }
    expect: { valid: false, findings: [DP0401] }
  - name: whoever is in a team is a member
    request: { subject: zoe, role: open, duration: 1h }
    given: { members: [ben], teams: { owners: [zoe] } }
    expect: { valid: true, approvers: [ben] }
  - name: an account nobody has
    request: { subject: zoe, author: lea, role: open, duration: 1h }
    given: { unknown_accounts: [zoe] }
    expect: { valid: false, findings: [DP0403] }
  - name: somebody else's request
    request: { subject: zoe, author: lea, role: viewer, duration: 1h }
    given: { teams: { devs: [zoe] }, approved_by: [lea] }
    expect: { valid: true, approved: false }
  - name: a no blocks
    request: { subject: zoe, role: open, duration: 1h }
    given: { teams: { owners: [kim] }, approved_by: [ben], changes_requested_by: [kim] }
    expect: { valid: true, approved: false }
  - name: a yes is enough
    request: { subject: zoe, role: open, duration: 1h }
    given: { approved_by: [ben] }
    expect: { valid: true, approved: true, expires: 2026-01-05T11:00:00Z }
  - name: who has a hand in the commits does not approve
    request: { subject: zoe, role: open, duration: 1h }
    given: { teams: { owners: [kim] }, approved_by: [ben], commits_by: [ben] }
    expect: { valid: true, approved: false, approvers: [kim] }
  - name: as many have it as may
    request: { subject: zoe, role: scarce, duration: 1h }
    given: { active_grants: 2 }
    expect: { valid: false, findings: [DP0421] }
  - name: one more may have it
    request: { subject: zoe, role: scarce, duration: 1h }
    given: { active_grants: 1 }
    expect: { valid: true }
  - name: an hour after a denial
    request: { subject: zoe, role: scarce, duration: 1h }
    given: { now: 2026-11-30T10:00:00Z, denied_at: [2026-11-29T10:00:00Z, 2026-11-30T09:00:00Z] }
    expect: { valid: false, findings: [DP0420] }
  - name: the day after a denial
    request: { subject: zoe, role: scarce, duration: 1h }
    given: { now: 2026-11-30T10:00:00Z, denied_at: [2026-11-29T10:00:00Z] }
    expect: { valid: true }
  - name: half an hour later
    request: { subject: zoe, role: open, duration: 1h }
    given: { teams: { leads: [kim] }, elapsed: 30m }
    expect: { valid: true, approvers: [ben, kim] }
  - name: everybody else, in a group
    request: { subject: zoe, role: shared, duration: 1h }
    given: { approved_by: [kim] }
    expect: { valid: true, approved: true }
  - name: everybody else, whoever that is
    request: { subject: zoe, role: shared, duration: 1h }
    expect: { valid: true, stages: [peer], approved: false }
  - name: a bot may ask if the role says so
    request: { subject: app:renovate, role: viewer, duration: 1h }
    expect: { valid: true }
  - name: a bot is not everyone, and its yes counts for nothing
    request: { subject: app:renovate, role: open, duration: 1h }
    given: { approved_by: ['helper[bot]'] }
    expect: { valid: false, approved: false, findings: [DP0401] }
  - name: in the afternoon
    request: { subject: zoe, role: viewer, duration: 1h }
    given: { teams: { devs: [zoe] }, now: 2026-11-30T15:00:00Z }
    expect: { valid: false, findings: [DP0407] }
  - name: the day before the start
    request: { subject: zoe, role: viewer, duration: 1h, start: 2040-02-29T09:00:00Z }
    given: { teams: { devs: [zoe] } }
    expect: { valid: true, expires: 2040-02-29T10:00:00Z, entitlements: [team viewers on hub] }
"#;
        assert_eq!(differences(tests), Vec::<String>::new());
    }

    #[test]
    fn every_expectation_can_fail_and_says_what_was_found() {
        for (expect, says) in [
            ("valid: false", "valid: expected false, found true"),
            ("valid: true, stages: []", "stages: expected none, found owner"),
            ("valid: true, stages: [owner, security]", "stages: expected owner, security, found owner"),
            ("valid: true, approved: true", "approved: expected true, found false"),
            ("valid: true, findings: [DP0401]", "findings: expected DP0401, found none"),
            ("valid: true, approvers: [zoe, ben]", "approvers: expected ben, zoe, found ben"),
            (
                "valid: true, entitlements: [team x on hub]",
                "entitlements: expected team x on hub, found team viewers on hub",
            ),
            ("valid: true, expires: 2026-01-05T10:30:00Z", "found 2026-01-05T11:00:00+00:00"),
        ] {
            let test = format!(
                "  - name: n\n    request: {{ subject: zoe, role: open, duration: 1h }}\n    expect: {{ {expect} }}\n"
            );
            let found = differences(&test);
            assert!(matches!(found.as_slice(), [message] if message.contains(says)), "{expect}: {found:?}");
        }
    }

    #[test]
    fn a_failure_points_at_the_expectation_and_hints_at_forgotten_facts() {
        let loaded = loaded(
            "  - name: n\n    request: { subject: zoe, role: viewer, duration: 1h }\n    given: { teams: { dev: [zoe] } }\n    \
             expect:\n      stages: [owner]\n      valid: true\n",
        );
        let finding =
            rehearse(loaded.policy.as_ref().unwrap(), &loaded.policy.as_ref().unwrap().tests[0]).finding().unwrap();
        let lines = POLICY.lines().count();
        assert_eq!((finding.place.line as usize, finding.place.column), (lines + 7, 14));
        assert!(finding.message.contains("DP0401"), "{}", finding.message);
        assert!(
            finding.help.contains("Did you mean `devs`?") && finding.help.contains("nobody into"),
            "{}",
            finding.help
        );
    }

    #[test]
    fn mistakes_in_tests_have_places() {
        let base =
            "  - name: n\n    request: { subject: zoe, role: open, duration: 1h }\n    expect: { valid: true }\n";
        let start = u32::try_from(POLICY.lines().count()).unwrap() + 2;
        for (from, to, code, line, column, says) in [
            ("role: open", "role: opne", Code::UnknownRole, 2, 36, "Did you mean `open`?"),
            ("zoe", "z--o e", Code::BadName, 2, 25, "login"),
            ("duration: 1h", "duration: 1y", Code::BadDuration, 2, 52, "duration"),
            ("valid: true", "vaild: true", Code::UnknownKey, 3, 15, "vaild"),
            ("valid: true", "valid: true, findings: [DP9999]", Code::BadName, 3, 39, "DP9999"),
            ("valid: true", "valid: true, stages: owner", Code::WrongType, 3, 36, ""),
            (
                "{ valid: true }",
                "{ valid: true }\n  - name: n\n    request: { subject: zoe, role: open, duration: 1h }\n    expect: { valid: true }",
                Code::DefinedTwice,
                4,
                11,
                "policies/p.yaml",
            ),
            ("name: n", "name: ''", Code::BadText, 1, 11, "1 to 200"),
            ("name: n", "name: \"a\\eb\"", Code::HiddenText, 1, 11, "control"),
            ("name: n", "name: \"a\\nb\"", Code::HiddenText, 1, 11, "one line"),
            ("    expect", "    given: { teams: { devs: [zoe, -x] } }\n    expect", Code::BadName, 3, 35, "login"),
            ("    expect", "    given: { elapsed: 0m }\n    expect", Code::BadDuration, 3, 23, "positive"),
        ] {
            let loaded = loaded(&base.replace(from, to));
            let [finding] = loaded.findings.iter().filter(|f| f.severity == Severity::Error).collect::<Vec<_>>()[..]
            else {
                panic!("{to}: {:#?}", loaded.findings)
            };
            let place = (finding.code, finding.place.line + 1 - start, finding.place.column);
            assert_eq!(place, (code, line, column), "{to}: {finding:#?}");
            assert!(format!("{} {}", finding.message, finding.help).contains(says), "{to}: {finding:#?}");
        }
    }
}
