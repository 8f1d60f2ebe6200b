//! Machines: bots and AI agents ask under rules of their own. A human vouches for each of their requests, they have a ceiling of
//! their own, and no emergencies.

use super::approval::{self, ApprovalStatus, Ballot, StageState};
use super::case::finding;
use crate::policy::model::{Approval, Demand, Role, SPONSOR, Stage};
use crate::policy::{Code, Finding, Request};

/// Adds the stage in which a sponsor vouches for it, who may be one of those who approve another stage. Whether any human has to
/// approve at all.
pub(super) fn sponsor(role: &Role, approval: &mut ApprovalStatus, ballot: Ballot<'_>) -> bool {
    let counts = approval.stages.iter().any(|stage| stage.state != StageState::Skipped);
    if role.machines.sponsors.is_empty() {
        return counts;
    }
    let Ok(name) = SPONSOR.parse() else { return false };
    let demand = Demand::of(role.machines.sponsors.clone(), 1);
    let stage = Stage { name, when: None, demand, ask: None, escalate: Vec::new() };
    // A rule of its own: a sponsor may be among those who approve another stage.
    let rule = Approval { name: approval.rule.clone(), stages: vec![stage], distinct: true, cool_down: None };
    let judged = approval::judge(&rule, ballot, None);
    approval.discounted.retain(|one| {
        let gave = |stage: &approval::StageStatus| stage.approvals.iter().any(|(by, _)| Some(by) == one.by.as_ref());
        !judged.stages.iter().any(gave)
    });
    approval
        .objections
        .extend(judged.objections.into_iter().filter(|one| !approval.objections.contains(one)).collect::<Vec<_>>());
    approval.stages.extend(judged.stages);
    true
}

/// What breaks the rules for machines.
pub(super) fn refusals(request: &Request, role: &Role, sponsored: bool) -> Vec<Finding> {
    let mut findings = Vec::new();
    let ceiling = role.machines.max_duration;
    if request.duration > ceiling {
        let message = format!("a machine may have role `{}` for {ceiling} at most", role.name);
        findings.push(finding(
            request,
            "duration",
            Code::DurationTooLong,
            message,
            Code::DurationTooLong.explanation(),
        ));
    }
    if request.break_glass {
        let message = "a machine cannot break the glass".to_owned();
        findings.push(finding(
            request,
            "break_glass",
            Code::MachineRefused,
            message,
            Code::MachineRefused.explanation(),
        ));
    }
    if !sponsored && !request.break_glass {
        let message = format!("no human would have to approve that a machine gets role `{}`", role.name);
        let help = "A policy owner names people in `machines.sponsors` of the role.";
        findings.push(finding(request, "role", Code::MachineRefused, message, help));
    }
    findings
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::access::decide::{Decision, Verdict};
    use crate::access::given;
    use crate::policy::testcase::read_given;

    const POLICY: &str = "version: 1
settings: { max_duration: 8h }
targets: { orders-db: postgres }
people: { 'agent[bot]': { postgres: agent }, alice: { postgres: alice } }
templates:
  db: { max_duration: 4h, entitlements: [{ postgres: { target: orders-db, role: r } }] }
roles:
  reader: { extends: db, requesters: ['app:agent', user:alice], approval: owner, machines: { max_duration: 30m } }
  vouched: { extends: db, requesters: ['app:agent'], approval: owner, machines: { sponsors: [user:erin, user:dave] } }
  helper: { extends: db, requesters: [user:alice], may_request_for: ['app:agent'], approval: owner }
  open: { extends: db, requesters: ['app:agent', user:alice], approval: none }
  night: { extends: db, requesters: ['app:agent'], approval: owner, break_glass: { requesters: ['app:agent'] } }
approvals:
  owner: { stages: [{ name: owner, approvers: [user:dave, user:carol] }] }
  none: { stages: [] }
";

    /// What becomes of a request of `author`, with these approvals.
    fn asked(author: &str, request: &str, approved_by: &str) -> Decision {
        let files = BTreeMap::from([("policies/all.yaml".to_owned(), POLICY.as_bytes().to_vec())]);
        let loaded = crate::policy::load(&files, None);
        let policy = loaded.policy.unwrap_or_else(|| panic!("{:?}", loaded.findings));
        let request = format!("{request}\nreason: x\n");
        let request = crate::policy::request::read("grants/x.yaml", request.as_bytes(), Some(&policy)).unwrap();
        let given = format!("approved_by: {approved_by}\n");
        let given = read_given("given.yaml", given.as_bytes()).unwrap();
        let now = "2026-11-30T10:00:00Z".parse().unwrap();
        given::judge(&request, &author.parse().unwrap(), &given, &policy, now)
    }

    fn codes(decision: &Decision) -> Vec<Code> {
        decision.findings.iter().map(|finding| finding.code).collect()
    }

    #[test]
    fn a_machine_that_is_named_may_ask_and_a_human_approves() {
        let request = "role: reader\nduration: 30m";
        assert_eq!(asked("agent[bot]", request, "[]").verdict(), Verdict::Waiting);
        assert_eq!(asked("agent[bot]", request, "[dave]").verdict(), Verdict::Approved);
        assert_eq!(
            asked("agent[bot]", request, "['other[bot]']").verdict(),
            Verdict::Waiting,
            "machines never approve"
        );
        assert!(codes(&asked("other[bot]", request, "[dave]")).contains(&Code::RequesterNotAllowed));
    }

    #[test]
    fn a_machine_has_a_ceiling_of_its_own() {
        let request = "role: reader\nduration: 31m";
        assert_eq!(codes(&asked("agent[bot]", request, "[dave]")), [Code::DurationTooLong]);
        assert_eq!(asked("alice", request, "[dave]").verdict(), Verdict::Approved, "people have the role's");
        // An hour, unless the role says otherwise.
        assert_eq!(codes(&asked("agent[bot]", "role: vouched\nduration: 61m", "[dave]")), [Code::DurationTooLong]);
    }

    #[test]
    fn one_of_the_approvers_is_a_sponsor() {
        let request = "role: vouched\nduration: 1h";
        let by_carol = asked("agent[bot]", request, "[carol]");
        assert_eq!(by_carol.verdict(), Verdict::Waiting, "carol is none");
        let approval = by_carol.approval.unwrap();
        assert_eq!(approval.open().map(|stage| stage.name.as_str()).collect::<Vec<_>>(), [SPONSOR]);
        assert_eq!(asked("agent[bot]", request, "[dave]").verdict(), Verdict::Approved, "dave is both");
        let by_both = asked("agent[bot]", request, "[carol, erin]");
        assert_eq!(by_both.verdict(), Verdict::Approved);
        assert!(by_both.approval.unwrap().discounted.is_empty());
        assert_eq!(asked("agent[bot]", request, "[erin]").verdict(), Verdict::Waiting, "the owner is missing");
    }

    #[test]
    fn where_nobody_has_to_approve_a_machine_gets_nothing() {
        let request = "role: open\nduration: 1h";
        assert_eq!(asked("alice", request, "[]").verdict(), Verdict::Approved);
        assert_eq!(codes(&asked("agent[bot]", request, "[dave]")), [Code::MachineRefused]);
    }

    #[test]
    fn a_machine_does_not_break_the_glass() {
        let request = "role: night\nduration: 30m\nbreak_glass: true";
        assert_eq!(codes(&asked("agent[bot]", request, "[dave]")), [Code::MachineRefused]);
    }

    #[test]
    fn a_machine_that_asks_for_somebody_is_a_machine_and_they_do_not_approve_it() {
        let request = "role: helper\nduration: 1h\nsubject: alice";
        assert_eq!(asked("agent[bot]", request, "[dave]").verdict(), Verdict::Approved);
        assert_eq!(asked("agent[bot]", request, "[alice]").verdict(), Verdict::Waiting);
        let longer = "role: helper\nduration: 2h\nsubject: alice";
        assert_eq!(codes(&asked("agent[bot]", longer, "[dave]")), [Code::DurationTooLong]);
    }
}
