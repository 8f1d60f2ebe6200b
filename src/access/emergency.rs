//! Emergencies: who has to look at the use of break-glass afterwards.

use std::collections::BTreeSet;

use super::approval::Involved;
use super::facts::{Account, Directory};
use super::grant::Grant;
use super::principals::{self, Needs};
use crate::policy::model::Stage;
use crate::policy::name::RoleName;
use crate::policy::{Duration, Policy, Principal};

/// How soon a use is reviewed if the policy no longer says so: the role, or its emergency path, is gone.
const REVIEW_WITHIN: Duration = Duration::hours(24);

/// How soon the use of a role's emergency path has to be reviewed.
pub fn review_within(role: &RoleName, policy: &Policy) -> Duration {
    let path = policy.roles.get(role).and_then(|role| role.break_glass.as_ref());
    path.map_or(REVIEW_WITHIN, |path| path.review_within)
}

/// Who may review it: whoever could have approved it, at any stage, at once or in the end. Where nobody has to approve, or the role is
/// gone, whoever approves changes of the policy.
pub fn reviewers(role: &RoleName, policy: &Policy) -> BTreeSet<Principal> {
    let rule = policy.roles.get(role).and_then(|role| policy.approvals.get(&role.approval));
    let of_policy = policy.settings.policy_approval.as_ref().and_then(|name| policy.approvals.get(name));
    let rules = [rule, of_policy].into_iter().flatten();
    let everybody = rules.map(|rule| rule.stages.iter().flat_map(Stage::everybody).collect::<BTreeSet<_>>());
    everybody.into_iter().find(|everybody| !everybody.is_empty()).unwrap_or_default()
}

/// What has to be read before [`may_review`] can tell.
pub fn needs(role: &RoleName, policy: &Policy) -> Needs {
    let mut needs = Needs::default();
    needs.add(&reviewers(role, policy), policy);
    needs
}

/// Whether somebody may review it: a person who could have approved it, and neither asked for it, nor got it, nor has another hand in the
/// request.
pub fn may_review(
    grant: &Grant,
    account: &Account,
    involved: &Involved,
    policy: &Policy,
    directory: &Directory,
) -> bool {
    !account.bot
        && involved.how(account).is_none()
        && *account != grant.subject
        && *account != grant.requester
        && principals::includes(&reviewers(&grant.role, policy), account, policy, directory)
}
