//! What happened before a request, and is going on beside it: denials that cool down, and roles of which only so many may be held at
//! the same time.

use chrono::{DateTime, Utc};

use super::case::{Case, finding};
use super::facts::Account;
use super::grant::{GrantId, Window};
use super::text::when;
use crate::mutants::{self, Mutant};
use crate::policy::model::Role;
use crate::policy::name::{RoleName, UserId};
use crate::policy::{Code, Finding, Request};

/// What is known, as far as the policy asks for it.
#[derive(Debug, Clone, Default)]
pub struct History {
    /// Requests that were denied.
    pub denials: Vec<Denial>,
    /// Since when people are asked to approve it as it is; since it was opened, if that is not known.
    pub asked_since: Option<DateTime<Utc>>,
    /// Who pushed its commits, as far as that is known.
    pub pushers: Vec<Account>,
    /// Grants that are not over, other than those of the pull request and those it takes the place of.
    pub holders: Vec<Holder>,
}

/// A request that was denied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    /// Who would have got the access.
    pub subject: UserId,
    /// The role.
    pub role: RoleName,
    /// When.
    pub at: DateTime<Utc>,
}

/// A grant that is not over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Which one.
    pub grant: GrantId,
    /// The role.
    pub role: RoleName,
    /// When access is due.
    pub window: Window,
    /// Whether it began with its merge, or has begun since.
    pub has_begun: bool,
}

/// What speaks against a request for that.
pub(super) fn refusals(
    request: &Request,
    role: &Role,
    (subject, window): (&Account, Window),
    case: Case<'_>,
) -> Vec<Finding> {
    let (history, judged_at) = (&case.facts.history, case.merged_at().unwrap_or(case.now));
    let mut findings = Vec::new();
    let cool_down = case.policy.approvals.get(&role.approval).and_then(|rule| rule.cool_down);
    // An emergency does not wait: whoever used it has to answer for it afterwards.
    if let Some(cool_down) = cool_down.filter(|_| !request.break_glass) {
        let same =
            |denial: &&Denial| denial.subject == subject.id && denial.role == role.name && denial.at <= judged_at;
        let until = history.denials.iter().filter(same).map(|denial| denial.at + cool_down.delta()).max();
        if let Some(until) = until.filter(|until| judged_at < *until) {
            let message = format!(
                "role `{}` was denied to `{}` a short while ago; it can be asked for again at {}",
                role.name,
                subject.login,
                when(until)
            );
            findings.push(finding(request, "role", Code::DeniedRecently, message, Code::DeniedRecently.explanation()));
        }
    }
    let limit = role.limit.filter(|_| !request.break_glass && !mutants::is(Mutant::ForgetLimits));
    if let Some(limit) = limit {
        // A merge is judged by those who were there before it. When one that is only planned was merged, its window does not tell.
        let before = |holder: &Holder| {
            !holder.has_begun || case.merged_at().is_none_or(|merged| holder.window.starts_at <= merged)
        };
        let beside = |holder: &&Holder| holder.role == role.name && holder.window.overlaps(window) && before(holder);
        let held = history.holders.iter().filter(beside).count();
        if held >= usize::try_from(limit).unwrap_or(usize::MAX) {
            let message =
                format!("role `{}` is held by {held} at that time, and {limit} may have it at once", role.name);
            findings.push(finding(request, "role", Code::RoleFull, message, Code::RoleFull.explanation()));
        }
    }
    findings
}
