//! What looks wrong about an approval rule as a whole.

use super::seats::{Ways, can_be_satisfied, ways};
use super::{Remark, open};
use crate::policy::Code;
use crate::policy::condition::Expression;
use crate::policy::model::{Approval, Demand, Part, Policy, Stage};
use crate::policy::yaml::Spot;

pub(super) fn remarks(spot: &Spot, rule: &Approval, policy: &Policy) -> Vec<Remark> {
    let mut remarks = too_few(spot, rule, policy);
    let mut say = |code, message| remarks.push(Remark::about(spot, code, message));
    let for_changes = policy.settings.policy_approval.as_ref() == Some(&rule.name);
    let everybody_can = |stage: &Stage| everybody_can(stage, policy);
    if for_changes && !rule.stages.is_empty() && rule.stages.iter().all(everybody_can) {
        say(Code::OpenToEveryone, format!("everybody may approve changes of the policy, by rule `{}`", rule.name));
    }
    if for_changes && rule.cool_down.is_some() && !policy.roles.values().any(|role| role.approval == rule.name) {
        say(
            Code::IdleCoolDown,
            format!("rule `{}` serves changes of the policy only; they do not cool down", rule.name),
        );
    }
    if !rule.distinct {
        for (index, stage) in rule.stages.iter().enumerate() {
            let before = rule.stages.iter().take(index).find(|before| asks_the_same(before, stage, policy));
            if let Some(before) = before {
                let (one, other) = (&before.name, &stage.name);
                let message = format!("whoever approves stage `{one}` of `{}` approves `{other}`, too", rule.name);
                say(Code::SameStageTwice, message);
            }
        }
    }
    remarks
}

/// Whether members of the organisation satisfy a stage whoever they are, at once or in the end.
fn everybody_can(stage: &Stage, policy: &Policy) -> bool {
    let wider = stage.escalate.iter().any(|step| open(&step.to, policy));
    let of_everybody = |part: &Part| wider || open(&part.approvers, policy);
    match &stage.demand {
        Demand::All(parts) => parts.iter().all(of_everybody),
        Demand::Any(parts) => parts.iter().any(of_everybody),
    }
}

/// Whether the people of one stage are those of another, whenever either counts.
fn asks_the_same(one: &Stage, other: &Stage, policy: &Policy) -> bool {
    let when = |stage: &Stage| stage.when.as_ref().map(Expression::shape);
    let people = |stage: &Stage| policy.written_out(&stage.approvers());
    people(one) == people(other) && when(one) == when(other)
}

/// Stages for which there are not enough people.
fn too_few(spot: &Spot, rule: &Approval, policy: &Policy) -> Vec<Remark> {
    let people = |needed: u32| if needed == 1 { "one person".to_owned() } else { format!("{needed} different people") };
    let say = |what: String, needed: u32| {
        let message = format!("{what} needs {}, and names too few", people(needed));
        Remark::about(spot, Code::TooFewPeople, message)
    };
    let known: Vec<(&Stage, Option<Ways>)> = rule.stages.iter().map(|stage| (stage, ways(stage, policy))).collect();
    let alone = known.iter().filter_map(|(stage, ways)| Some((stage, ways.clone()?)));
    let alone: Vec<Remark> = alone
        .filter(|(_, ways)| !can_be_satisfied(std::slice::from_ref(ways)))
        .map(|(stage, _)| say(format!("stage `{}` of `{}`", stage.name, rule.name), stage.required()))
        .collect();
    if !alone.is_empty() || !rule.distinct {
        return alone;
    }
    // Those with a condition may never meet.
    let together = known.into_iter().filter(|(stage, _)| stage.when.is_none());
    let together: Option<Vec<Ways>> = together.map(|(_, ways)| ways).collect();
    let short = together.is_some_and(|together| !can_be_satisfied(&together));
    let needed = rule.stages.iter().filter(|stage| stage.when.is_none()).map(Stage::required).sum();
    short.then(|| say(format!("rule `{}`", rule.name), needed)).into_iter().collect()
}
