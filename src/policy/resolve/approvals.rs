//! Approval rules and their stages.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::Resolver;
use super::widening::Widening;
use crate::policy::calendar::{self, Calendar, WORKING_HOURS};
use crate::policy::condition::Expression;
use crate::policy::document::{ApprovalDoc, CalendarDoc, EscalationDoc, PartDoc, StageDoc};
use crate::policy::model::{Approval, Demand, Escalation, Part, Policy, SPONSOR, Stage};
use crate::policy::name::{ApprovalName, CalendarName, StageName};
use crate::policy::principal::Principal;
use crate::policy::yaml::decode::did_you_mean;
use crate::policy::yaml::{At, Spot};
use crate::policy::{Code, Place};

/// In how many ways the stages of a rule may be satisfied: all of them are tried.
const MOST_WAYS: usize = 64;
/// How many people a part may require: who could be among them is tried out.
pub(in crate::policy) const MOST_REQUIRED: u32 = 20;

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
        let stages: Vec<Stage> = document.stages.into_iter().map(|stage| self.stage(&owner, &name, stage)).collect();
        let ways = stages.iter().map(|stage| stage.demand.ways().len()).fold(1, usize::saturating_mul);
        if ways > MOST_WAYS {
            let message = format!("rule `{name}` can be satisfied in {ways} ways; at most {MOST_WAYS} are tried");
            self.report.error(&owner, Code::BadStage, message, "Use fewer parts in `any_of`, or fewer such stages.");
        }
        Approval { name, stages, distinct: document.distinct, cool_down: document.cool_down }
    }

    fn stage(&mut self, owner: &Spot, rule: &ApprovalName, document: StageDoc) -> Stage {
        // Each with the place it is about; the stage's name, if that is nowhere else.
        let mut problems: Vec<(Option<Spot>, String)> = Vec::new();
        let written = [document.approvers.is_some(), document.all_of.is_some(), document.any_of.is_some()];
        if written.iter().filter(|is| **is).count() != 1 {
            let problem =
                "says who approves in more than one way, or not at all: use one of `approvers`, `all_of` and `any_of`";
            problems.push((None, problem.to_owned()));
        }
        if let Some(required) = document.required.as_ref().filter(|_| document.approvers.is_none()) {
            let message = format!("`required` belongs to the parts of stage `{}`", *document.name);
            self.report.error(&required.spot, Code::BadStage, message, "Write it beside the `approvers` it is about.");
        }
        let required = |required: &Option<At<u32>>| required.as_ref().map(|required| required.spot.clone());
        let of_parts = document.all_of.iter().chain(&document.any_of).flat_map(|parts| parts.iter());
        let mut required_at: Vec<Option<Spot>> = of_parts.map(|part| required(&part.required)).collect();
        if required_at.is_empty() {
            required_at.push(required(&document.required));
        }
        let parts = |parts: Option<At<Vec<PartDoc>>>| parts.map(At::into_inner);
        let demand = match (document.approvers, parts(document.all_of), parts(document.any_of)) {
            (_, Some(parts), _) => Demand::All(parts.iter().map(|part| self.part(owner, part)).collect()),
            (_, _, Some(parts)) => Demand::Any(parts.iter().map(|part| self.part(owner, part)).collect()),
            (approvers, ..) => {
                let approvers = approvers.unwrap_or_default();
                self.no_bots(owner, &approvers);
                let approvers = self.principals(&approvers);
                Demand::of(approvers, document.required.as_ref().map_or(1, |required| **required))
            }
        };
        let escalate = self.escalations((owner, rule, &document.name), document.escalate.0);
        let wider: BTreeSet<Principal> = escalate.iter().flat_map(|step| step.to.iter().cloned()).collect();
        problems.extend(demand.parts().zip(required_at).filter_map(|(part, at)| Some((at, problem_of(part, &wider)?))));
        if demand.parts().next().is_none() {
            problems.push((None, "has no part".to_owned()));
        }
        if let Some(ask) = document.ask.as_ref().filter(|ask| ***ask < demand.required()) {
            problems.push((Some(ask.spot.clone()), "asks fewer people than it requires".to_owned()));
        }
        for (at, problem) in problems {
            let message = format!("stage `{}` of `{rule}` {problem}", *document.name);
            let spot = at.unwrap_or_else(|| document.name.spot.clone());
            self.report.error(&spot, Code::BadStage, message, Code::BadStage.explanation());
        }
        let when = document.when.as_ref().and_then(|when| {
            let checked = Expression::compile(when, &self.environment(None, None));
            self.checked(Some(owner), when, checked)
        });
        Stage { name: document.name.into_inner(), when, demand, ask: document.ask.map(At::into_inner), escalate }
    }

    fn part(&mut self, owner: &Spot, document: &PartDoc) -> Part {
        self.no_bots(owner, &document.approvers);
        let required = document.required.as_ref().map_or(1, |required| **required);
        Part { approvers: self.principals(&document.approvers), required }
    }

    fn escalations(
        &mut self,
        (owner, rule, stage): (&Spot, &ApprovalName, &StageName),
        documents: Vec<EscalationDoc>,
    ) -> Vec<Escalation> {
        let mut steps: Vec<Escalation> = Vec::new();
        for document in documents {
            self.no_bots(owner, &document.to);
            self.widenings.push(Widening {
                owner: owner.clone(),
                spot: document.after.spot.clone(),
                rule: rule.clone(),
                stage: stage.clone(),
                step: steps.len(),
            });
            if steps.last().is_some_and(|before| *document.after <= before.after) {
                let message =
                    format!("stage `{stage}` widens after {}, no later than by the step before it", *document.after);
                self.report.error(
                    &document.after.spot,
                    Code::BadStage,
                    message,
                    "Write the steps in order; each counts from when the stage opened.",
                );
            }
            if document.to.is_empty() {
                let message = format!("stage `{stage}` widens to nobody");
                self.report.error(&document.after.spot, Code::BadStage, message, "Name somebody in `to`.");
            }
            if !document.to.is_empty() && document.to.iter().all(|one| matches!(**one, Principal::App(_))) {
                let message = format!("stage `{stage}` widens to bots only; only people approve");
                self.report.error(&document.after.spot, Code::BadStage, message, "Name people or teams in `to`.");
            }
            let calendar = document.calendar.as_ref().and_then(|name| self.known_calendar(name));
            steps.push(Escalation { after: document.after.into_inner(), calendar, to: self.principals(&document.to) });
        }
        steps
    }

    /// Whoever names a bot among those who approve, expects something of it.
    fn no_bots(&mut self, owner: &Spot, approvers: &[At<Principal>]) {
        let people = approvers.iter().any(|approver| !matches!(**approver, Principal::App(_)));
        // That there are none but bots is an error already.
        for bot in approvers.iter().filter(|approver| people && matches!(***approver, Principal::App(_))) {
            let message = format!("`{}` never approves: only people do", **bot);
            self.warn(owner, &bot.spot, Code::BotApprover, message, Code::BotApprover.explanation());
        }
    }

    fn known_calendar(&mut self, name: &At<CalendarName>) -> Option<Arc<Calendar>> {
        self.used.calendars.insert((**name).clone());
        let known = self.calendars.get(&**name);
        if known.is_none() {
            let names = self.calendars.keys().map(CalendarName::as_str);
            let help = did_you_mean(name.as_str(), names, Code::UnknownCalendar.explanation());
            let message = format!("calendar `{}` does not exist", **name);
            self.report.error(&name.spot, Code::UnknownCalendar, message, help);
        }
        known.cloned().flatten()
    }

    /// Reads a calendar; what cannot be read is known all the same, so that those who name it are not told that it is missing.
    pub(super) fn calendar(&mut self, name: &At<CalendarName>, document: &CalendarDoc) {
        let hours = document.hours.as_ref();
        let times = hours.map_or(WORKING_HOURS, |hours| hours.split_once('-').unwrap_or((hours.as_str(), "")));
        let spot = hours.map_or(&name.spot, |hours| &hours.spot);
        let mut problem = |spot: &Spot, message: String, help: String| {
            self.report.error(spot, Code::BadCalendar, message, help);
        };
        let read = match calendar::time_zone(&document.time_zone) {
            Err(message) => {
                let help = did_you_mean(&document.time_zone, calendar::time_zones(), Code::BadCalendar.explanation());
                problem(&document.time_zone.spot, message, help);
                None
            }
            Ok(_) => {
                let holidays = document.holidays.iter().copied().collect();
                let read = Calendar::new(
                    &document.time_zone,
                    document.days.clone(),
                    (times.0.trim(), times.1.trim()),
                    holidays,
                );
                read.map_err(|message| problem(spot, message, Code::BadCalendar.explanation().to_owned())).ok()
            }
        };
        self.calendars.insert((**name).clone(), read.map(Arc::new));
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
            if let Some(stage) = rule.stages.iter().find(|stage| stage.name.as_str() == SPONSOR)
                && !role.machines.sponsors.is_empty()
            {
                let message = format!(
                    "stage `{}` of `{}` has the name of the stage in which the sponsors of `{}` approve",
                    stage.name, rule.name, role.name
                );
                let spot = self.approvals.get(&rule.name).cloned();
                let spot = spot.unwrap_or_else(|| Spot::new(&role.file, role.place));
                self.report.error(&spot, Code::BadStage, message, "Give it another name.");
            }
            let requesters = policy.written_out(&role.requesters);
            let [requester] = requesters.iter().collect::<Vec<_>>()[..] else { continue };
            for stage in &rule.stages {
                let only_self = policy.written_out(&stage.everybody()).iter().eq([requester])
                    && matches!(requester, Principal::User(_));
                if only_self {
                    let message = format!("only the requester of `{}` could approve stage `{}`", role.name, stage.name);
                    let spot = self.roles.get(&role.name).cloned();
                    let spot = spot.unwrap_or_else(|| Spot::new(&role.file, role.place));
                    self.report.error(&spot, Code::OnlySelfApproval, message, Code::OnlySelfApproval.explanation());
                }
            }
        }
    }
}

/// Why nobody could ever give what a part demands. `wider` are those who may approve after a while.
fn problem_of(part: &Part, wider: &BTreeSet<Principal>) -> Option<String> {
    let everybody: BTreeSet<&Principal> = part.approvers.iter().chain(wider).collect();
    let named = everybody.iter().all(|principal| matches!(principal, Principal::User(_)));
    if part.required == 0 {
        Some("requires nobody; leave it out instead".to_owned())
    } else if part.required > MOST_REQUIRED && !(named && everybody.len() < part.required as usize) {
        Some(format!("requires {} people; at most {MOST_REQUIRED} can be required", part.required))
    } else if part.approvers.is_empty() {
        Some("has no approvers".to_owned())
    } else if part.approvers.iter().all(|principal| matches!(principal, Principal::App(_))) {
        Some("has only bots as approvers; only people approve".to_owned())
    } else if named && everybody.len() < part.required as usize {
        Some(format!("requires {} people but names only {}", part.required, everybody.len()))
    } else {
        None
    }
}
