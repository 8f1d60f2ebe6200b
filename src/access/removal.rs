//! Ending a grant early: by removing its file, by putting another request in its place, by a command.

use super::approval::{self, Involved};
use super::case::{Case, finding};
use super::command::may_extend;
use super::decide::{Decision, Verdict, ballot};
use super::facts::{Account, Directory};
use super::grant::Grant;
use super::principals;
use crate::mutants::{self, Mutant};
use crate::policy::name::Slug;
use crate::policy::{Code, Finding, Policy, Request};

/// Whether somebody may end a grant: the subject, the requester, or any approver of the role, now or once a stage has widened.
pub fn may_end(grant: &Grant, account: &Account, policy: &Policy, directory: &Directory) -> bool {
    let rule = policy.roles.get(&grant.role).and_then(|role| policy.approvals.get(&role.approval));
    let mut stages = rule.into_iter().flat_map(|rule| &rule.stages);
    may_extend(grant, account)
        || stages.any(|stage| principals::includes(&stage.everybody(), account, policy, directory))
}

/// The decision about removing a grant's file.
#[derive(Debug, Clone)]
pub struct Removal {
    /// The file.
    pub slug: Slug,
    /// The live grant it holds, if any.
    pub grant: Option<Grant>,
    /// Who of those who may end it wants it ended; `None` while nobody has.
    pub by: Option<Account>,
}

impl Removal {
    /// Where it stands. A file without a live grant may go at any time.
    pub fn verdict(&self) -> Verdict {
        if self.grant.is_none() || self.by.is_some() { Verdict::Approved } else { Verdict::Waiting }
    }
}

/// Judges the removal of grant files: the subject, the requester or any approver of the role may do it alone, by opening the
/// pull request or by approving it.
pub fn removal(slug: &Slug, grant: Option<&Grant>, case: Case<'_>) -> Removal {
    // Ending access needs no second person: whoever is involved may end it too.
    let nobody = Involved::default();
    let asking = case.facts.pull.author.iter().chain(approval::standing_approvals(ballot(&nobody, case)));
    let may_end = |grant: &Grant, account: &Account| may_end(grant, account, case.policy, case.directory);
    let by = grant.and_then(|grant| asking.into_iter().find(|account| may_end(grant, account)).cloned());
    Removal { slug: slug.clone(), grant: grant.cloned(), by }
}

/// Why a request may not take the place of a live grant: that would end it, and who asks may not end it.
pub fn replacement(request: &Request, grant: &Grant, decision: &Decision, case: Case<'_>) -> Option<Finding> {
    let asks = case.facts.requester().is_some_and(|who| may_extend(grant, who));
    let same = asks && decision.subject.as_ref() == Some(&grant.subject);
    if same || mutants::is(Mutant::ReplaceAnybodys) || removal(&grant.id.slug, Some(grant), case).by.is_some() {
        return None;
    }
    let message =
        format!("`{}` holds the running grant of `{}`, which this would end", request.path(), grant.subject.login);
    Some(finding(request, "", Code::GrantOfAnother, message, Code::GrantOfAnother.explanation()))
}
