//! Stages that widen, and never gain anybody by it.

use std::collections::BTreeSet;

use super::Resolver;
use crate::policy::Code;
use crate::policy::model::{Policy, Stage};
use crate::policy::name::{ApprovalName, StageName};
use crate::policy::principal::Principal;
use crate::policy::yaml::Spot;

/// A step in which a stage widens, and where it is written.
pub(super) struct Widening {
    /// The rule's place.
    pub owner: Spot,
    /// Where it says after how long.
    pub spot: Spot,
    pub rule: ApprovalName,
    pub stage: StageName,
    /// Which of the stage's steps it is.
    pub step: usize,
}

impl Resolver<'_> {
    /// Known only when settings, groups and roles are.
    pub(super) fn check_widenings(&mut self, policy: &Policy) {
        for widening in std::mem::take(&mut self.widenings) {
            let rule = policy.approvals.get(&widening.rule);
            let stage = rule.and_then(|rule| rule.stages.iter().find(|stage| stage.name == widening.stage));
            if let Some(why) = stage.and_then(|stage| in_vain(stage, &widening, policy)) {
                let message = format!("stage `{}` widens in vain: {why}", widening.stage);
                let (code, help) = (Code::IdleEscalation, Code::IdleEscalation.explanation());
                self.warn(&widening.owner, &widening.spot, code, message, help);
            }
        }
    }
}

/// Why nobody gains anything by a step, as the end of a sentence.
fn in_vain(stage: &Stage, widening: &Widening, policy: &Policy) -> Option<String> {
    let step = stage.escalate.get(widening.step)?;
    let timeout = policy.settings.pending_timeout;
    // Pull requests that change the policy are not closed for waiting.
    let for_roles = policy.roles.values().any(|role| role.approval == widening.rule);
    if for_roles && step.after >= timeout {
        return Some(format!("after {timeout} a request is closed"));
    }
    let to = policy.written_out(&step.to);
    let earlier = stage.escalate.iter().take(widening.step).flat_map(|step| step.to.iter().cloned());
    let earlier: BTreeSet<Principal> = policy.written_out(&earlier.collect());
    let has_all = |approvers: &BTreeSet<Principal>| {
        let there = policy.written_out(approvers);
        let already = |principal: &Principal| there.contains(principal) || earlier.contains(principal);
        already(&Principal::Everyone) || to.iter().all(already)
    };
    let same = !to.is_empty() && stage.demand.parts().all(|part| has_all(&part.approvers));
    same.then(|| "all of these may approve already".to_owned())
}
