//! Impact: what a change of the policy changes, told by its effect and not by its text.
//!
//! Who gains or loses a right, which ceilings move, which approvals fall away, what a role gives more or less: each is one
//! [`Effect`] with a [`Danger`]. What has no effect is not told: groups are written out before they are compared, rules by their
//! stages and not by their names. With memberships known, rights are compared person by person; what is not known is named, never
//! guessed.

mod groups;
mod readers;
mod role;
mod sentence;
mod settings;
mod shift;
mod stages;
mod verdicts;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use super::facts::Directory;
use super::principals::{Needs, written_out};
use super::reach::Crowd;
use crate::policy::model::{Risk, Role};
use crate::policy::name::{RoleName, StageName, TeamSlug};
use crate::policy::{Policy, Principal};

pub use sentence::{Part, Sentence};
pub use verdicts::{open_request, running_grant};

/// How closely a reviewer has to look; the last is the worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Danger {
    /// Somebody can do less than before.
    Narrower,
    /// Neither more nor less access.
    Neutral,
    /// A little more.
    Low,
    /// More access for some, within what the rules guard.
    Medium,
    /// A guard falls, or whoever guards changes.
    High,
    /// Access without anybody's approval, or somebody else's access.
    Critical,
}

impl Danger {
    /// The word people read.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Narrower => "narrower",
            Self::Neutral => "neutral",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }

    /// The next worse one.
    const fn raised(self) -> Self {
        match self {
            Self::Narrower => Self::Neutral,
            Self::Neutral => Self::Low,
            Self::Low => Self::Medium,
            Self::Medium => Self::High,
            Self::High | Self::Critical => Self::Critical,
        }
    }
}

/// What an effect is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Topic {
    /// A role comes or goes.
    Role,
    /// Who may ask for it.
    Requesters,
    /// Who may ask for it for somebody else.
    OnBehalf,
    /// The emergency path.
    BreakGlass,
    /// Who approves.
    Approvers,
    /// What has to be approved.
    Stages,
    /// How long access may last.
    Ceiling,
    /// What a request must carry.
    Requirements,
    /// What must be true of a request.
    Conditions,
    /// What a role gives.
    Entitlements,
    /// What may be filled into what a role gives.
    Parameters,
    /// How much harm it is said to do.
    Risk,
    /// Who people are in other systems.
    People,
    /// Groups that expressions ask for.
    Groups,
    /// Which systems there are.
    Targets,
    /// How the repository works as a whole.
    Settings,
    /// A grant that is running.
    Grant,
    /// A request that is open.
    Request,
}

impl Topic {
    /// The word machines read.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Role => "role",
            Self::Requesters => "requesters",
            Self::OnBehalf => "on_behalf",
            Self::BreakGlass => "break_glass",
            Self::Approvers => "approvers",
            Self::Stages => "stages",
            Self::Ceiling => "ceiling",
            Self::Requirements => "requirements",
            Self::Conditions => "conditions",
            Self::Entitlements => "entitlements",
            Self::Parameters => "parameters",
            Self::Risk => "risk",
            Self::People => "people",
            Self::Groups => "groups",
            Self::Targets => "targets",
            Self::Settings => "settings",
            Self::Grant => "grant",
            Self::Request => "request",
        }
    }
}

/// One thing that would be different.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effect {
    /// How closely to look.
    pub danger: Danger,
    /// What it is about.
    pub topic: Topic,
    /// The role; `None` if it is about the whole repository.
    pub role: Option<RoleName>,
    /// What would be different, without the role's name.
    pub sentence: Sentence,
}

/// Something a policy lets people do.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Right {
    /// Ask for a role for themselves.
    Request,
    /// Ask for it for somebody else.
    RequestFor,
    /// Take it without approval, in an emergency.
    BreakGlass,
    /// Approve this stage from its beginning.
    Approve(StageName),
    /// Approve this stage in the end: after it has waited, if not before.
    ApproveInTheEnd(StageName),
}

/// Who comes to a right and who loses it.
#[derive(Debug, Clone)]
pub struct Shift {
    /// The role; `None`: changes of the policy itself.
    pub role: Option<RoleName>,
    /// The right.
    pub right: Right,
    /// Who has it only under the new policy.
    pub gained: Crowd,
    /// Who had it only under the old policy.
    pub lost: Crowd,
}

/// What would be different under another policy.
#[derive(Debug, Clone, Default)]
pub struct Impact {
    /// The effects, the most dangerous first.
    pub effects: Vec<Effect>,
    /// The rights that change hands, new and removed roles included.
    pub shifts: Vec<Shift>,
    /// Teams that play a part and of which nobody told who is in them.
    pub unknown: BTreeSet<TeamSlug>,
    /// Teams that come to a right all their members have already: whoever joins them later will have it too.
    pub dormant: Vec<Sentence>,
}

/// The same effect on one role or many: told once, so that a long list does not hide the rest.
#[derive(Debug, Clone)]
pub struct Row<'a> {
    /// How closely to look.
    pub danger: Danger,
    /// The roles; none if it is about the whole repository.
    pub roles: Vec<&'a RoleName>,
    /// What would be different.
    pub sentence: &'a Sentence,
}

impl Impact {
    /// The effects as people read them, in their order.
    pub fn rows(&self) -> Vec<Row<'_>> {
        let mut rows: Vec<Row<'_>> = Vec::new();
        let mut known: BTreeMap<(Danger, Topic, String), usize> = BTreeMap::new();
        for effect in &self.effects {
            let key = (effect.danger, effect.topic, effect.sentence.to_string());
            let at = *known.entry(key).or_insert(rows.len());
            if at == rows.len() {
                rows.push(Row { danger: effect.danger, roles: Vec::new(), sentence: &effect.sentence });
            }
            rows[at].roles.extend(&effect.role);
        }
        rows
    }

    /// Whether requests for a role could be judged otherwise: something about it is different, or about everybody.
    pub fn touches(&self, role: &RoleName) -> bool {
        // Who approves changes of the policy has no say over requests.
        let everybody = |topic| matches!(topic, Topic::People | Topic::Groups);
        self.effects.iter().any(|effect| match &effect.role {
            Some(touched) => touched == role,
            None => everybody(effect.topic),
        })
    }

    /// Adds effects, in their order.
    pub fn add(&mut self, effects: impl IntoIterator<Item = Effect>) {
        self.effects.extend(effects);
        self.effects.sort_by_cached_key(|effect| {
            (std::cmp::Reverse(effect.danger), effect.role.clone(), effect.topic, effect.sentence.to_string())
        });
        self.effects.dedup();
    }
}

/// Everybody and every team a policy names.
pub fn named(policy: &Policy) -> Needs {
    let mut needs = Needs::default();
    for role in policy.roles.values() {
        needs.add(&role.requesters, policy);
        needs.add(&role.may_request_for, policy);
        needs.add(&role.machines.sponsors, policy);
        if let Some(path) = &role.break_glass {
            needs.add(&path.requesters, policy);
        }
        needs.add_rule(&role.approval, policy);
    }
    if let Some(rule) = &policy.settings.policy_approval {
        needs.add_rule(rule, policy);
    }
    for members in policy.groups.values() {
        needs.add(members, policy);
    }
    needs
}

type WhoMay = fn(&Role) -> Option<&BTreeSet<Principal>>;

/// What has to be read from GitHub before policies can be compared: who is behind what differs, and nothing else.
pub fn needs(old: &Policy, new: &Policy) -> Needs {
    let mut needs = Needs::default();
    let nobody = BTreeSet::new();
    for name in old.roles.keys().chain(new.roles.keys()).collect::<BTreeSet<_>>() {
        let (before, after) = (old.roles.get(name), new.roles.get(name));
        let rights: [WhoMay; 3] = [
            |role| Some(&role.requesters),
            |role| Some(&role.may_request_for),
            |role| role.break_glass.as_ref().map(|path| &path.requesters),
        ];
        for right in rights {
            needs.add_if_different(
                (before.and_then(right).unwrap_or(&nobody), old),
                (after.and_then(right).unwrap_or(&nobody), new),
            );
        }
        let stages = (
            before.map_or(&[][..], |role| stages::of_role(role, old)),
            after.map_or(&[][..], |role| stages::of_role(role, new)),
        );
        let rule = |role: Option<&Role>, policy: &'_ Policy| {
            role.and_then(|role| policy.approvals.get(&role.approval)).cloned()
        };
        let whole = stages::differ_as_a_whole(rule(before, old).as_ref(), rule(after, new).as_ref());
        if whole || stages::differ((stages.0, old), (stages.1, new)) {
            before.iter().for_each(|role| needs.add_rule(&role.approval, old));
            after.iter().for_each(|role| needs.add_rule(&role.approval, new));
        }
    }
    for policy in [old, new] {
        if let Some(rule) = &policy.settings.policy_approval {
            needs.add_rule(rule, policy);
        }
    }
    for name in old.groups.keys().chain(new.groups.keys()).collect::<BTreeSet<_>>() {
        let members = |policy: &'_ Policy| policy.groups.get(name).cloned().unwrap_or_default();
        let (before, after) = (members(old), members(new));
        if written_out(&before, old) != written_out(&after, new) {
            groups::add_needs(&mut needs, name, old);
            groups::add_needs(&mut needs, name, new);
        }
        needs.add_if_different((&before, old), (&after, new));
    }
    needs
}

impl Needs {
    /// Adds what principals of two policies need, if they are not the same once groups are written out.
    fn add_if_different(&mut self, old: (&BTreeSet<Principal>, &Policy), new: (&BTreeSet<Principal>, &Policy)) {
        if written_out(old.0, old.1) != written_out(new.0, new.1) {
            self.add(old.0, old.1);
            self.add(new.0, new.1);
        }
    }
}

/// What is different under `new`, compared with `old`, as far as `directory` tells who is who.
pub fn compare(old: &Policy, new: &Policy, directory: &Directory) -> Impact {
    let mut findings = Comparison { old, new, directory, impact: Impact::default(), effects: Vec::new() };
    findings.settings();
    findings.people();
    findings.groups();
    findings.targets();
    findings.roles();
    let Comparison { mut impact, effects, .. } = findings;
    impact.add(effects);
    impact
}

/// A comparison on its way.
struct Comparison<'a> {
    old: &'a Policy,
    new: &'a Policy,
    directory: &'a Directory,
    impact: Impact,
    effects: Vec<Effect>,
}

/// The role effects are about.
#[derive(Clone, Copy)]
struct About<'a> {
    role: Option<&'a RoleName>,
    /// The harm it can do, under whichever policy says more.
    risk: Risk,
}

impl Comparison<'_> {
    /// Notes an effect. What widens a role that can do much harm is worse.
    fn note(&mut self, about: About<'_>, danger: Danger, topic: Topic, sentence: Sentence) {
        let danger = if danger >= Danger::Low && about.risk >= Risk::High { danger.raised() } else { danger };
        self.effects.push(Effect { danger, topic, role: about.role.cloned(), sentence });
    }

    /// Notes an effect on the repository as a whole.
    fn note_overall(&mut self, danger: Danger, topic: Topic, sentence: Sentence) {
        self.effects.push(Effect { danger, topic, role: None, sentence });
    }
}
