//! Reach: who can request a role, approve it or break the glass for it, and what one person can do.
//!
//! Membership that nobody told is never guessed: a team that is missing from the [`Directory`] stays a team by name, and so does
//! `everyone`. Conditions depend on the request; they are named, not evaluated.

use std::collections::BTreeSet;

use super::facts::{Account, Directory};
use super::principals::{includes, written_out};
use crate::policy::model::{Demand, Requirement, Role, Stage};
use crate::policy::name::{AppSlug, ApprovalName, RoleName, StageName, TeamSlug};
use crate::policy::{Duration, Policy, Principal};

/// Who a set of principals is, as far as the facts tell.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Crowd {
    /// What the policy writes, with groups written out.
    pub principals: BTreeSet<Principal>,
    /// All members of the organisation.
    pub everyone: bool,
    /// The people among those the facts name.
    pub people: BTreeSet<Account>,
    /// Teams of which nobody told who is in them.
    pub unknown: BTreeSet<TeamSlug>,
    /// Bot accounts.
    pub apps: BTreeSet<AppSlug>,
}

impl Crowd {
    /// Who `principals` of `policy` are.
    pub fn of(principals: &BTreeSet<Principal>, policy: &Policy, directory: &Directory) -> Self {
        let flat = written_out(principals, policy);
        let (mut unknown, mut apps) = (BTreeSet::new(), BTreeSet::new());
        for principal in &flat {
            match principal {
                Principal::Team(slug) if !directory.teams.contains_key(slug) => {
                    unknown.insert(slug.clone());
                }
                Principal::App(slug) => {
                    apps.insert(slug.clone());
                }
                _ => {}
            }
        }
        let people = known_people(directory).filter(|account| includes(&flat, account, policy, directory));
        Self {
            everyone: flat.contains(&Principal::Everyone),
            people: people.cloned().collect(),
            unknown,
            apps,
            principals: flat,
        }
    }

    /// The people in it: bots neither approve nor are approved for.
    pub fn without_bots(mut self) -> Self {
        self.principals.retain(|principal| !matches!(principal, Principal::App(_)));
        self.apps.clear();
        self
    }

    /// Whether nobody can be in it, as far as is known.
    pub fn is_empty(&self) -> bool {
        !self.everyone && self.people.is_empty() && self.unknown.is_empty() && self.apps.is_empty()
    }

    /// Whether `account` is in it.
    pub fn holds(&self, account: &Account) -> Answer {
        let bot = |slug: &AppSlug| account.login.as_str().eq_ignore_ascii_case(&format!("{slug}[bot]"));
        if self.people.contains(account) || (account.bot && self.apps.iter().any(bot)) {
            Answer::Yes
        } else if self.unknown.is_empty() || account.bot {
            Answer::No
        } else {
            Answer::IfIn(self.unknown.clone())
        }
    }
}

/// Whether somebody is among others, as far as is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// They are.
    Yes,
    /// They are not.
    No,
    /// They are if they are in one of these teams, of which nobody told who is in them.
    IfIn(BTreeSet<TeamSlug>),
}

/// Whether `account` is among `principals`.
pub fn answer(principals: &BTreeSet<Principal>, account: &Account, policy: &Policy, directory: &Directory) -> Answer {
    if includes(principals, account, policy, directory) {
        return Answer::Yes;
    }
    let unknown = |principal: Principal| match principal {
        Principal::Team(slug) if !account.bot && !directory.teams.contains_key(&slug) => Some(slug),
        _ => None,
    };
    let teams: BTreeSet<TeamSlug> = written_out(principals, policy).into_iter().filter_map(unknown).collect();
    if teams.is_empty() { Answer::No } else { Answer::IfIn(teams) }
}

/// Every account the facts name, bots left out.
pub fn known_people(directory: &Directory) -> impl Iterator<Item = &Account> {
    let in_teams = directory.teams.values().flatten().flatten();
    let people: BTreeSet<&Account> = in_teams.chain(directory.accounts.values().flatten()).collect();
    people.into_iter().filter(|account| !account.bot)
}

/// Who can do what with a role.
#[derive(Debug, Clone)]
pub struct RoleReach {
    /// Who may ask for it for themselves.
    pub requesters: Crowd,
    /// For how long at most.
    pub max_duration: Duration,
    /// Who may ask for it for one of the requesters.
    pub on_behalf: Crowd,
    /// The emergency path: who, for how long at most, reviewed how soon.
    pub break_glass: Option<(Crowd, Duration, Duration)>,
    /// What a request must carry.
    pub requires: BTreeSet<Requirement>,
    /// Expressions that must be true of a request.
    pub conditions: Vec<String>,
    /// Who approves, stage by stage; empty: nobody has to.
    pub stages: Vec<StageReach>,
    /// What holds for bots, if any may ask.
    pub machines: Option<MachineReach>,
    /// How many may have it at the same time.
    pub limit: Option<u32>,
    /// How long after a denial it can be asked for again.
    pub cool_down: Option<Duration>,
    /// Whether the approval of one person counts for one stage at most.
    pub distinct: bool,
}

/// What holds for bots.
#[derive(Debug, Clone)]
pub struct MachineReach {
    /// For how long at most.
    pub max_duration: Duration,
    /// Who vouches for them; nobody: whoever approves.
    pub sponsors: Crowd,
}

impl RoleReach {
    /// Whether a bot gets it at all: somebody has to approve that.
    pub fn is_for_machines(&self) -> bool {
        let vouched = |machines: &MachineReach| !machines.sponsors.principals.is_empty() || !self.stages.is_empty();
        self.machines.as_ref().is_some_and(vouched)
    }
}

/// Who can approve a stage.
#[derive(Debug, Clone)]
pub struct StageReach {
    /// Its name.
    pub name: StageName,
    /// The expression that says for which requests it counts.
    pub when: Option<String>,
    /// How many different people must approve, at the least.
    pub required: u32,
    /// Who can from the beginning.
    pub approvers: Crowd,
    /// After how long others can too, and who then can in the end, the first ones included.
    pub later: Option<(Duration, Crowd)>,
    /// The same step by step.
    pub steps: Vec<StepReach>,
    /// Its parts, if it has several: whether all must approve, and so many of whom.
    pub parts: Option<(bool, Vec<(u32, Crowd)>)>,
}

/// Who can approve a stage that has waited.
#[derive(Debug, Clone)]
pub struct StepReach {
    /// How long it must have waited.
    pub after: Duration,
    /// Whether only working time counts.
    pub working_time: bool,
    /// Who can then, those before included.
    pub approvers: Crowd,
}

/// Who can approve changes of the policy: whoever can, can in the end give themselves any role.
#[derive(Debug, Clone)]
pub struct PolicyReach {
    /// The rule that says so.
    pub rule: ApprovalName,
    /// Stage by stage. Every one counts, whatever its condition: there is no request it could be asked about.
    pub stages: Vec<StageReach>,
    /// Whether the approval of one person counts for one stage at most.
    pub distinct: bool,
}

impl PolicyReach {
    /// Who can approve changes of `policy`; `None` if nobody can.
    pub fn of(policy: &Policy, directory: &Directory) -> Option<Self> {
        let rule = policy.settings.policy_approval.as_ref().and_then(|name| policy.approvals.get(name))?;
        let always = rule.stages.iter().map(|stage| Stage { when: None, ..stage.clone() });
        let stages: Vec<StageReach> = always.map(|stage| StageReach::of(&stage, policy, directory)).collect();
        let (rule, distinct) = (rule.name.clone(), rule.distinct);
        Some(Self { rule, stages, distinct }).filter(|reach| !reach.stages.is_empty())
    }

    /// The stages `account` can approve.
    pub fn approvable(&self, account: &Account) -> Vec<Approvable> {
        self.stages.iter().filter_map(|stage| stage.approvable(account)).collect()
    }
}

impl RoleReach {
    /// Who can do what with `role`.
    pub fn of(role: &Role, policy: &Policy, directory: &Directory) -> Self {
        let crowd = |principals: &BTreeSet<Principal>| Crowd::of(principals, policy, directory);
        let rule = policy.approvals.get(&role.approval);
        let asking: BTreeSet<Principal> = role.requesters.union(&role.may_request_for).cloned().collect();
        let machines = (!crowd(&asking).apps.is_empty()).then(|| MachineReach {
            max_duration: role.machines.max_duration,
            sponsors: crowd(&role.machines.sponsors).without_bots(),
        });
        Self {
            machines,
            limit: role.limit,
            cool_down: rule.and_then(|rule| rule.cool_down),
            distinct: rule.is_none_or(|rule| rule.distinct),
            requesters: crowd(&role.requesters),
            max_duration: role.max_duration,
            on_behalf: crowd(&role.may_request_for),
            break_glass: role
                .break_glass
                .as_ref()
                .map(|path| (crowd(&path.requesters), path.max_duration, path.review_within)),
            requires: role.requires.clone(),
            conditions: role.conditions.iter().map(|condition| condition.expression.source().to_owned()).collect(),
            stages: rule
                .iter()
                .flat_map(|rule| &rule.stages)
                .map(|stage| StageReach::of(stage, policy, directory))
                .collect(),
        }
    }
}

impl StageReach {
    /// Who can approve `stage`.
    pub fn of(stage: &Stage, policy: &Policy, directory: &Directory) -> Self {
        let crowd = |principals: &BTreeSet<Principal>| Crowd::of(principals, policy, directory).without_bots();
        let later = stage.escalate.first().map(|first| (first.after, crowd(&stage.everybody())));
        let mut wider = stage.approvers();
        let steps = stage.escalate.iter().map(|step| {
            wider.extend(step.to.iter().cloned());
            StepReach { after: step.after, working_time: step.calendar.is_some(), approvers: crowd(&wider) }
        });
        let steps = steps.collect();
        let parts = stage.demand.single().is_none().then(|| {
            let parts = stage.demand.parts().map(|part| (part.required, crowd(&part.approvers)));
            (matches!(stage.demand, Demand::All(_)), parts.collect())
        });
        Self {
            name: stage.name.clone(),
            when: stage.when.as_ref().map(|when| when.source().to_owned()),
            required: stage.required(),
            approvers: crowd(&stage.approvers()),
            later,
            steps,
            parts,
        }
    }

    /// Whether `account` can approve it; `None` if they cannot.
    fn approvable(&self, account: &Account) -> Option<Approvable> {
        let now = self.approvers.holds(account);
        let later = self.steps.iter().map(|step| (step.after, step.approvers.holds(account)));
        let later = later.into_iter().find(|(_, answer)| *answer != Answer::No);
        match (now, later) {
            (Answer::Yes, _) => Some((self.name.clone(), Answer::Yes, None)),
            (_, Some((after, Answer::Yes))) => Some((self.name.clone(), Answer::Yes, Some(after))),
            (if_in @ Answer::IfIn(_), _) => Some((self.name.clone(), if_in, None)),
            (Answer::No, Some((after, if_in @ Answer::IfIn(_)))) => Some((self.name.clone(), if_in, Some(after))),
            (Answer::No, _) => None,
        }
    }

    /// Who can approve it in the end.
    pub fn in_the_end(&self) -> &Crowd {
        self.later.as_ref().map_or(&self.approvers, |(_, crowd)| crowd)
    }
}

/// A stage somebody can approve, and whether only after it has waited.
pub type Approvable = (StageName, Answer, Option<Duration>);

/// What somebody can do with one role.
#[derive(Debug, Clone)]
pub struct Abilities {
    /// The role.
    pub role: RoleName,
    /// Whether it is a bot of which this is told.
    pub is_bot: bool,
    /// Ask for it.
    pub request: Answer,
    /// Ask for it for others.
    pub on_behalf: Answer,
    /// Break the glass for it.
    pub break_glass: Answer,
    /// Approve these stages; those they cannot are left out.
    pub approve: Vec<Approvable>,
    /// Vouch for bots that ask for it.
    pub sponsor: Answer,
    /// The ceilings and rules of the role.
    pub reach: RoleReach,
}

impl Abilities {
    /// Whether they can do nothing at all with it.
    pub fn is_none(&self) -> bool {
        let none = |answer: &Answer| *answer == Answer::No;
        let rights = [&self.request, &self.on_behalf, &self.break_glass, &self.sponsor];
        rights.into_iter().all(none) && self.approve.is_empty()
    }
}

/// What `account` can do, role by role; roles they can do nothing with are left out.
pub fn abilities(account: &Account, policy: &Policy, directory: &Directory) -> Vec<Abilities> {
    let of_role = |role: &Role| {
        let reach = RoleReach::of(role, policy, directory);
        let approve = reach.stages.iter().filter_map(|stage| stage.approvable(account)).collect();
        Abilities {
            is_bot: account.bot,
            role: role.name.clone(),
            request: reach.requesters.holds(account),
            on_behalf: reach.on_behalf.holds(account),
            break_glass: reach.break_glass.as_ref().map_or(Answer::No, |(crowd, ..)| crowd.holds(account)),
            approve,
            sponsor: reach.machines.as_ref().map_or(Answer::No, |machines| machines.sponsors.holds(account)),
            reach,
        }
    };
    policy.roles.values().map(of_role).filter(|abilities| !abilities.is_none()).collect()
}
