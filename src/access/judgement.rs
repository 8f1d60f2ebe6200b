//! The judgement about a whole pull request: what it changes, and the decision about each of its parts.
//!
//! The same function judges an open pull request under the current policy and a merged one under the policy it was merged
//! into: what may be merged and what is applied cannot drift apart.

use std::collections::BTreeMap;

use super::approval::ApprovalStatus;
use super::case::{Case, PullFacts};
use super::change::Subject;
use super::decide::{self, Decision, Verdict, has_error, verdict_of};
use super::grant::{Grant, GrantId};
use super::history::Holder;
use super::principals::Needs;
use super::rehearsal::Tally;
use super::removal::{self, Removal};
use crate::policy::name::Slug;
use crate::policy::{Finding, Policy, Request};

/// What a pull request proposes, read from its head.
#[derive(Debug, Clone)]
pub struct Proposal {
    /// What kind of change it is.
    pub subject: Subject,
    /// What is wrong with its shape.
    pub findings: Vec<Finding>,
    /// Its requests, or what is wrong with the files.
    pub requests: Vec<Result<Request, Vec<Finding>>>,
    /// The files it removes, with the live grants they hold.
    pub removed: BTreeMap<Slug, Option<Grant>>,
    /// The live grants whose files it changes into something else.
    pub replaced: BTreeMap<Slug, Grant>,
    /// The findings about the policy it proposes, if it changes the policy.
    pub policy_findings: Vec<Finding>,
    /// How the tests of the policy it proposes went, if it changes the policy and that can be read.
    pub tests: Option<Tally>,
}

/// What was judged, and how.
#[derive(Debug, Clone)]
pub struct Judgement {
    /// What kind of change it is.
    pub subject: Subject,
    /// Reasons to refuse the whole pull request, and remarks.
    pub findings: Vec<Finding>,
    /// The decision about each request.
    pub requests: Vec<Decision>,
    /// The decision about each removal.
    pub removals: Vec<Removal>,
    /// Where the approval of a policy change stands.
    pub policy_approval: Option<ApprovalStatus>,
    /// How the tests of the proposed policy went.
    pub tests: Option<Tally>,
}

impl Judgement {
    /// Where the pull request stands as a whole; `None` if Daypass has nothing to decide.
    pub fn verdict(&self) -> Option<Verdict> {
        if has_error(&self.findings) {
            return Some(Verdict::Refused);
        }
        let parts = self
            .requests
            .iter()
            .map(Decision::verdict)
            .chain(self.removals.iter().map(Removal::verdict))
            .chain(self.policy_approval.iter().map(verdict_of));
        match self.subject {
            Subject::Unrelated => None,
            // The worst part decides; `Verdict` is ordered from worst to best.
            _ => Some(parts.min().unwrap_or(Verdict::Approved)),
        }
    }

    /// Everything that is wrong, in order of files and lines.
    pub fn all_findings(&self) -> Vec<Finding> {
        let mut findings = self.findings.clone();
        findings.extend(self.requests.iter().flat_map(|decision| decision.findings.iter().cloned()));
        findings.sort();
        findings.dedup();
        findings
    }

    /// The approval rules that are being followed.
    pub fn approvals(&self) -> impl Iterator<Item = &ApprovalStatus> {
        self.requests.iter().filter_map(|decision| decision.approval.as_ref()).chain(&self.policy_approval)
    }
}

/// What has to be read from GitHub before `proposal` can be judged under `policy`.
pub fn needs(proposal: &Proposal, facts: &PullFacts, policy: &Policy) -> Needs {
    let mut needs = Needs::default();
    let roles = proposal
        .requests
        .iter()
        .flatten()
        .map(|request| &request.role)
        .chain(proposal.removed.values().flatten().map(|grant| &grant.role))
        .chain(proposal.replaced.values().map(|grant| &grant.role));
    for role in roles.filter_map(|name| policy.roles.get(name)) {
        let of_role = Needs::of_role(role, policy);
        needs.teams.extend(of_role.teams);
        needs.logins.extend(of_role.logins);
    }
    if let (Subject::Policy, Some(rule)) = (&proposal.subject, &policy.settings.policy_approval) {
        needs.add_rule(rule, policy);
    }
    needs.logins.extend(proposal.requests.iter().flatten().filter_map(|request| request.subject.clone()));
    needs.logins.extend(facts.requester().map(|requester| requester.login.clone()));
    needs.logins.extend(facts.extends.iter().map(|extension| extension.subject.login.clone()));
    needs.logins.extend(facts.reviews.iter().filter_map(|review| review.author.as_ref()).map(|a| a.login.clone()));
    needs
}

/// Judges a proposal.
pub fn judge(proposal: Proposal, case: Case<'_>) -> Judgement {
    let mut findings = proposal.findings;
    let mut requests = Vec::new();
    // What one pull request asks for is asked for together: each counts for those after it.
    let mut facts = case.facts.clone();
    for request in proposal.requests {
        match request {
            Ok(request) => {
                let mut decision = decide::decide(&request, Case { facts: &facts, ..case });
                facts.history.holders.push(Holder {
                    grant: GrantId { slug: request.slug.clone(), pull_request: facts.pull.number },
                    role: request.role.clone(),
                    window: decision.window,
                    has_begun: decision.request.start.is_none(),
                });
                if let Some(grant) = proposal.replaced.get(&request.slug) {
                    decision.findings.extend(removal::replacement(&request, grant, &decision, case));
                    decision.replaces = Some(grant.clone());
                }
                requests.push(decision);
            }
            Err(problems) => findings.extend(problems),
        }
    }
    let removals = proposal.removed.iter().map(|(slug, grant)| removal::removal(slug, grant.as_ref(), case)).collect();
    let mut policy_approval = None;
    if proposal.subject == Subject::Policy {
        findings.extend(proposal.policy_findings);
        match decide::policy_change(case) {
            Ok((approval, problems)) => {
                findings.extend(problems);
                policy_approval = Some(approval);
            }
            Err(finding) => findings.push(finding),
        }
    }
    Judgement { subject: proposal.subject, findings, requests, removals, policy_approval, tests: proposal.tests }
}
