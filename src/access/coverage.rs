//! What the tests of a policy show, and what they leave out: roles nobody asked for, stages that never opened, conditions that
//! were always true or always false.

use std::collections::{BTreeMap, BTreeSet};

use super::approval::StageState;
use super::rehearsal::Rehearsed;
use crate::policy::Policy;
use crate::policy::name::{ApprovalName, RoleName, StageName};

/// Something tests can show.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// Somebody asks for the role.
    Role(RoleName),
    /// Somebody asks for the role by its emergency path.
    BreakGlass(RoleName),
    /// The stage opens.
    Stage(ApprovalName, StageName),
    /// The role's condition, by its number and text, has this value.
    Condition(RoleName, usize, String, bool),
    /// The condition of the stage has this value.
    When(ApprovalName, StageName, String, bool),
}

/// What tests could show, and whether they do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Coverage(BTreeMap<Subject, bool>);

impl Coverage {
    /// What these tests show of the policy. Approval rules that no role follows cannot be tested and do not count.
    pub fn of(policy: &Policy, rehearsed: &[Rehearsed<'_>]) -> Self {
        let shown = shown(policy, rehearsed);
        Self(
            possible(policy)
                .into_iter()
                .map(|subject| {
                    let covered = shown.contains(&subject);
                    (subject, covered)
                })
                .collect(),
        )
    }

    /// What no test shows.
    pub fn gaps(&self) -> impl Iterator<Item = &Subject> {
        self.0.iter().filter(|(_, covered)| !**covered).map(|(subject, _)| subject)
    }

    /// How many subjects of a kind are shown, and how many there are.
    pub fn count(&self, of_kind: impl Fn(&Subject) -> bool) -> (usize, usize) {
        let kind: Vec<bool> =
            self.0.iter().filter(|(subject, _)| of_kind(subject)).map(|(_, covered)| *covered).collect();
        (kind.iter().filter(|covered| **covered).count(), kind.len())
    }
}

impl Subject {
    /// Whether it is a role.
    pub fn is_role(&self) -> bool {
        matches!(self, Self::Role(_))
    }

    /// Whether it is the emergency path of a role.
    pub fn is_emergency_path(&self) -> bool {
        matches!(self, Self::BreakGlass(_))
    }

    /// Whether it is a stage.
    pub fn is_stage(&self) -> bool {
        matches!(self, Self::Stage(..))
    }

    /// Whether it is a value of a condition.
    pub fn is_condition(&self) -> bool {
        matches!(self, Self::Condition(..) | Self::When(..))
    }
}

impl std::fmt::Display for Subject {
    /// What is missing if no test shows it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Role(role) => write!(f, "role `{role}` has no test"),
            Self::BreakGlass(role) => write!(f, "the emergency path of role `{role}` has no test"),
            Self::Stage(rule, stage) => write!(f, "stage `{stage}` of `{rule}` never opens"),
            Self::Condition(role, _, source, value) => {
                write!(f, "a condition of role `{role}` is never {value}: {source}")
            }
            Self::When(rule, stage, source, value) => {
                write!(f, "the condition of stage `{stage}` of `{rule}` is never {value}: {source}")
            }
        }
    }
}

fn possible(policy: &Policy) -> Vec<Subject> {
    let mut subjects = Vec::new();
    for role in policy.roles.values() {
        // One that is only for emergencies is shown by an emergency.
        if !role.requesters.is_empty() || role.break_glass.is_none() {
            subjects.push(Subject::Role(role.name.clone()));
        }
        subjects.extend(role.break_glass.as_ref().map(|_| Subject::BreakGlass(role.name.clone())));
        for (index, condition) in role.conditions.iter().enumerate() {
            let source = condition.expression.source();
            subjects.extend(
                [true, false].map(|value| Subject::Condition(role.name.clone(), index, source.to_owned(), value)),
            );
        }
        // A role that nobody may ask for in the ordinary way never reaches its stages.
        let rule = policy.approvals.get(&role.approval).filter(|_| !role.requesters.is_empty());
        for stage in rule.into_iter().flat_map(|rule| &rule.stages) {
            let (rule, name) = (&role.approval, &stage.name);
            subjects.push(Subject::Stage(rule.clone(), name.clone()));
            for source in stage.when.iter().map(|when| when.source()) {
                subjects.extend(
                    [true, false].map(|value| Subject::When(rule.clone(), name.clone(), source.to_owned(), value)),
                );
            }
        }
    }
    subjects
}

fn shown(policy: &Policy, rehearsed: &[Rehearsed<'_>]) -> BTreeSet<Subject> {
    let mut shown = BTreeSet::new();
    for test in rehearsed {
        let (request, decision) = (&test.decision.request, &test.decision);
        if !policy.roles.contains_key(&request.role) {
            continue;
        }
        shown.insert(match request.break_glass {
            true => Subject::BreakGlass(request.role.clone()),
            false => Subject::Role(request.role.clone()),
        });
        for (index, condition) in decision.conditions.iter().enumerate() {
            if let Ok(value) = condition.value {
                shown.insert(Subject::Condition(request.role.clone(), index, condition.source.clone(), value));
            }
        }
        if let Some(approval) = &decision.approval {
            for stage in &approval.stages {
                let (rule, name) = (approval.rule.clone(), stage.name.clone());
                if matches!(stage.state, StageState::Open | StageState::Satisfied) {
                    shown.insert(Subject::Stage(rule.clone(), name.clone()));
                }
                if let (Some(source), false) = (&stage.when, matches!(stage.state, StageState::Failed(_))) {
                    let value = stage.state != StageState::Skipped;
                    shown.insert(Subject::When(rule, name, source.clone(), value));
                }
            }
        }
    }
    shown
}
