//! Approval rules and their stages.

use std::collections::BTreeSet;

use super::Resolver;
use crate::policy::condition::Expression;
use crate::policy::document::{ApprovalDoc, StageDoc};
use crate::policy::model::{Approval, Escalation, Policy, Stage};
use crate::policy::name::ApprovalName;
use crate::policy::principal::Principal;
use crate::policy::yaml::{At, Spot};
use crate::policy::{Code, Place};

impl Resolver<'_> {
    pub(super) fn approval(&mut self, name: At<ApprovalName>, document: ApprovalDoc) -> Approval {
        let owner = name.spot.clone();
        let name = name.into_inner();
        let mut names = BTreeSet::new();
        for stage in &document.stages {
            if !names.insert((*stage.name).clone()) {
                let message = format!("rule `{name}` has two stages called `{}`", *stage.name);
                self.report.error(&stage.name.spot, Code::DefinedTwice, message, Code::DefinedTwice.explanation());
            }
        }
        let stages = document.stages.into_iter().map(|stage| self.stage(&owner, &name, stage)).collect();
        Approval { name, stages }
    }

    fn stage(&mut self, owner: &Spot, rule: &ApprovalName, document: StageDoc) -> Stage {
        let required = document.required.as_ref().map_or(1, |required| **required);
        let approvers = self.principals(&document.approvers);
        let mut everybody = approvers.clone();
        let escalate = document.escalate.map(|escalation| {
            let to = self.principals(&escalation.to);
            everybody.extend(to.iter().cloned());
            Escalation { after: escalation.after, to }
        });
        let named = everybody.iter().all(|principal| matches!(principal, Principal::User(_)));
        let problem = if required == 0 {
            Some("requires nobody; leave the stage out instead".to_owned())
        } else if approvers.is_empty() {
            Some("has no approvers".to_owned())
        } else if approvers.iter().all(|principal| matches!(principal, Principal::App(_))) {
            Some("has only bots as approvers; only people approve".to_owned())
        } else if named && everybody.len() < required as usize {
            Some(format!("requires {required} people but names only {}", everybody.len()))
        } else {
            None
        };
        if let Some(problem) = problem {
            let message = format!("stage `{}` of `{rule}` {problem}", *document.name);
            self.report.error(&document.name.spot, Code::BadStage, message, Code::BadStage.explanation());
        }
        let when = document.when.as_ref().and_then(|when| {
            let checked = Expression::compile(when, &self.environment(None, None));
            self.checked(Some(owner), when, checked)
        });
        Stage { name: document.name.into_inner(), when, approvers, required, escalate }
    }

    /// What is known only when roles and rules are known.
    pub(super) fn check_approvals(&mut self, policy: &Policy) {
        let rule = policy.settings.policy_approval.as_ref().and_then(|name| policy.approvals.get(name));
        if let (Some(rule), Some(spot)) = (rule.filter(|rule| rule.stages.is_empty()), &self.settings) {
            let message = format!("anybody could change the policy: approval rule `{}` has no stage", rule.name);
            let spot = Spot { place: Place { length: 0, ..spot.place }, ..spot.clone() };
            self.report.error(&spot, Code::PolicyApprovalOpen, message, Code::PolicyApprovalOpen.explanation());
        }
        for role in policy.roles.values() {
            let Some(rule) = policy.approvals.get(&role.approval) else { continue };
            let requesters = policy.written_out(&role.requesters);
            let [requester] = requesters.iter().collect::<Vec<_>>()[..] else { continue };
            for stage in &rule.stages {
                let only_self = policy.written_out(&stage.approvers).iter().eq([requester])
                    && matches!(requester, Principal::User(_))
                    && stage.escalate.is_none();
                if only_self {
                    let message = format!("only the requester of `{}` could approve stage `{}`", role.name, stage.name);
                    let spot = Spot::new(&role.file, role.place);
                    self.report.error(&spot, Code::OnlySelfApproval, message, Code::OnlySelfApproval.explanation());
                }
            }
        }
    }
}
