//! What is allowed in a policy but most likely not meant. Every remark can be silenced in the YAML, with a reason.

use std::collections::{BTreeMap, BTreeSet};

use super::condition::{Expression, Template};
use super::entitlement::{AccessTemplate, EntitlementTemplate};
use super::model::{Approval, Policy, Risk, Role, Stage};
use super::name::{ApprovalName, CalendarName, GroupName, Login, ParamName, RoleName, TargetName};
use super::principal::Principal;
use super::request::is_deceptive;
use super::yaml::{At, Entries, Report, Spot};
use super::{Code, Duration, Finding, Severity};

mod rules;
mod seats;

use seats::{Ways, can_be_satisfied, ways};

/// Pairs of roles that are compared with each other: where thousands give the same under one rule, not all are.
const MOST_COMPARED: usize = 4_000_000;

/// People who are named in one sentence.
const MOST_NAMED: usize = 10;

/// Fewer requests than these say nothing about what people need.
const ENOUGH_REQUESTS: usize = 5;

/// Something suspicious, and the role or rule it is about.
#[derive(Debug)]
pub(super) struct Remark {
    owner: Option<Spot>,
    spot: Spot,
    finding: Finding,
}

impl Remark {
    pub fn new(owner: Option<&Spot>, spot: &Spot, code: Code, message: String, help: &str) -> Self {
        let (file, place, severity) = (spot.file.to_string(), spot.place, Severity::Warning);
        let finding = Finding { file, place, severity, code, message, help: help.to_owned() };
        Self { owner: owner.cloned(), spot: spot.clone(), finding }
    }

    fn about(owner: &Spot, code: Code, message: String) -> Self {
        Self::new(Some(owner), owner, code, message, code.explanation())
    }
}

/// What the owners of the policy say is meant to be so.
#[derive(Debug, Default)]
pub(super) struct Silenced(Vec<(Option<Spot>, At<Code>, Option<String>)>);

impl Silenced {
    /// Silenced wherever it comes up.
    pub fn everywhere(allowed: Vec<(At<Code>, Option<String>)>) -> Self {
        Self(allowed.into_iter().map(|(code, reason)| (None, code, reason)).collect())
    }

    /// Silenced for the role or rule at `owner`.
    pub fn add(&mut self, owner: &Spot, allowed: &Entries<Code, String>) {
        self.0.extend(allowed.0.iter().map(|(code, reason)| (Some(owner.clone()), code.clone(), reason.clone())));
    }

    /// Reports the remarks nobody silenced, and, if these are `all` there are, what silences nothing.
    pub fn tell(self, remarks: Vec<Remark>, all: bool, report: &mut Report) {
        let mut idle: Vec<bool> = self.0.iter().map(|_| true).collect();
        for remark in remarks {
            let mut silent = false;
            for ((owner, code, _), idle) in self.0.iter().zip(&mut idle) {
                let concerns = owner.is_none() || *owner == remark.owner || owner.as_ref() == Some(&remark.spot);
                if **code == remark.finding.code && concerns {
                    (silent, *idle) = (true, false);
                }
            }
            if !silent {
                report.add(&remark.spot, remark.finding);
            }
        }
        for ((_, code, reason), idle) in self.0.iter().zip(idle) {
            if reason.as_deref().is_some_and(|reason| reason.trim().is_empty()) {
                let message = format!("`{}` is silenced without a reason", **code);
                report.error(&code.spot, Code::BadText, message, "Say why it is meant to be so.");
            } else if let Some(c) = reason.iter().flat_map(|reason| reason.chars()).find(|c| is_deceptive(*c)) {
                let message = format!("the reason has the invisible or control character U+{:04X}", u32::from(c));
                report.error(&code.spot, Code::HiddenText, message, Code::HiddenText.explanation());
            } else if idle && all && ![Code::CeilingUnused, Code::Unchangeable].contains(code) {
                let message = format!("`{}` silences nothing here", **code);
                report.warn(&code.spot, Code::UnusedAllowance, message, Code::UnusedAllowance.explanation());
            }
        }
    }
}

/// What something refers to.
#[derive(Debug, Default)]
pub(super) struct Used {
    pub approvals: BTreeSet<ApprovalName>,
    pub groups: BTreeSet<GroupName>,
    pub targets: BTreeSet<TargetName>,
    pub calendars: BTreeSet<CalendarName>,
}

/// Where names are defined.
#[derive(Debug, Clone, Copy)]
pub(super) struct Places<'a> {
    pub groups: &'a BTreeMap<GroupName, Spot>,
    pub targets: &'a BTreeMap<TargetName, Spot>,
    pub approvals: &'a BTreeMap<ApprovalName, Spot>,
    pub calendars: &'a BTreeMap<CalendarName, Spot>,
    pub roles: &'a BTreeMap<RoleName, Spot>,
    pub people: &'a BTreeMap<Login, Spot>,
    pub params: &'a BTreeMap<(RoleName, ParamName), Spot>,
    /// Roles of which a stage with a condition always counts.
    pub always_approved: &'a BTreeSet<RoleName>,
}

/// Looks over a policy without errors.
pub(super) fn lint(policy: &Policy, places: Places<'_>, used: &Used) -> Vec<Remark> {
    let mut remarks = unused(policy, places, used);
    for (name, rule) in &policy.approvals {
        if let Some(spot) = places.approvals.get(name) {
            remarks.extend(rules::remarks(spot, rule, policy));
        }
    }
    for (name, role) in &policy.roles {
        if let Some(spot) = places.roles.get(name) {
            remarks.extend(of_role(spot, role, policy, places));
        }
    }
    remarks.extend(overlaps(policy, places));
    remarks.extend(shared_mappings(policy, places));
    remarks
}

fn unused(policy: &Policy, places: Places<'_>, used: &Used) -> Vec<Remark> {
    let mut remarks = Vec::new();
    let stages = policy.approvals.values().flat_map(|rule| &rule.stages);
    let whens = stages.filter_map(|stage| stage.when.as_ref());
    let conditions = policy.roles.values().flat_map(|role| &role.conditions).map(|condition| &condition.expression);
    let entitlements = policy.roles.values().flat_map(|role| &role.entitlements);
    let texts = entitlements.flat_map(|entitlement| entitlement.access.texts());
    let asking: Vec<&Expression> = whens.chain(conditions).chain(texts.flat_map(Template::expressions)).collect();
    let asked_for = |name: &GroupName| asking.iter().any(|one| one.reads().may_ask_for_group(name.as_str()));
    let mut say = |spot: &Spot, code, message| remarks.push(Remark::about(spot, code, message));
    let unused = |name: &GroupName| !used.groups.contains(name) && !asked_for(name);
    for (name, spot) in places.groups.iter().filter(|(name, _)| unused(name)) {
        say(spot, Code::UnusedGroup, format!("group `{name}` is never used"));
    }
    for (name, spot) in places.targets.iter().filter(|(name, _)| !used.targets.contains(name)) {
        say(spot, Code::UnusedTarget, format!("target `{name}` is never used"));
    }
    for (name, spot) in places.approvals.iter().filter(|(name, _)| !used.approvals.contains(name)) {
        say(spot, Code::UnusedApproval, format!("approval rule `{name}` is never used"));
    }
    for (name, spot) in places.calendars.iter().filter(|(name, _)| !used.calendars.contains(name)) {
        say(spot, Code::UnusedCalendar, format!("calendar `{name}` is never used"));
    }
    remarks
}

fn of_role(spot: &Spot, role: &Role, policy: &Policy, places: Places<'_>) -> Vec<Remark> {
    let mut remarks = unused_params(spot, role, policy, places);
    let mut say = |code, message| remarks.push(Remark::about(spot, code, message));
    let name = &role.name;
    let nobody = |principals: &BTreeSet<Principal>| policy.written_out(principals).is_empty();
    let no_emergency = role.break_glass.as_ref().is_none_or(|path| nobody(&path.requesters));
    if nobody(&role.requesters) && no_emergency {
        say(Code::NobodyMayRequest, format!("nobody may request role `{name}`"));
    }
    for what in open_to_everyone(role, policy) {
        say(Code::EveryoneMayRequest, format!("everybody may {what} `{name}`, whose risk is {}", role.risk.as_str()));
    }
    for team in own_approvers(role, policy) {
        let message = format!("`{name}` gives membership of team `{team}`, which approves it or changes of the policy");
        say(Code::GivesApproval, message);
    }
    let Some(rule) = policy.approvals.get(&role.approval) else { return remarks };
    let conditional = rule.stages.iter().all(|stage| stage.when.is_some()) && !places.always_approved.contains(name);
    if role.risk == Risk::Critical && conditional {
        let message = format!("`{name}` is critical, and `{}` may need nobody's approval", rule.name);
        say(Code::CriticalWithoutApproval, message);
    }
    if rule.stages.is_empty() && role.break_glass.is_some() {
        say(Code::PointlessBreakGlass, format!("`{name}` is approved at once; its emergency path saves nothing"));
    }
    for (stages, stuck) in never_approved(role, rule, policy) {
        let who: Vec<String> = stuck.iter().take(MOST_NAMED).map(ToString::to_string).collect();
        let more = stuck.len().saturating_sub(MOST_NAMED);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let who = format!("{}{more}", who.join(", "));
        say(Code::NeverApproved, format!("requests of {who} for `{name}` can never be approved at {stages}"));
    }
    remarks
}

/// Who may ask for a role, but without whom its stages have too few people, and which stages. Of teams nobody knows here who is in
/// them: a stage that names one is left out, and of those who may ask, whoever is named counts; by `everyone`, each approver is.
fn never_approved(role: &Role, rule: &Approval, policy: &Policy) -> Vec<(String, BTreeSet<Login>)> {
    let stages: Vec<(&Stage, Ways)> = rule
        .stages
        .iter()
        .filter(|stage| stage.when.is_none())
        .filter_map(|stage| ways(stage, policy).map(|ways| (stage, ways)))
        .collect();
    let parts = |ways: &Ways| ways.iter().flatten().map(|(people, _)| people.clone()).collect::<Vec<_>>();
    let everybody: BTreeSet<Login> = stages.iter().flat_map(|(_, ways)| parts(ways)).flatten().collect();
    let mut asking = some_named(&role.requesters, policy);
    if open(&role.requesters, policy) {
        asking.extend(everybody.iter().cloned());
    }
    asking.extend(some_named(&role.may_request_for, policy));
    let stuck = |stages: &[&(&Stage, Ways)]| -> BTreeSet<Login> {
        let of_way =
            |way: &Vec<(BTreeSet<Login>, u32)>| way.iter().map(|(_, required)| u64::from(*required)).sum::<u64>();
        let needed: u64 = stages.iter().map(|(_, ways)| ways.iter().map(of_way).max().unwrap_or_default()).sum();
        if stages.iter().flat_map(|(_, ways)| parts(ways)).all(|people| people.len() as u64 > needed) {
            // There are enough whoever is left out.
            return BTreeSet::new();
        }
        let without = |login: Option<&Login>| {
            let left = |(people, required): &(BTreeSet<Login>, u32)| {
                (people.iter().filter(|person| Some(*person) != login).cloned().collect(), *required)
            };
            let ways = |ways: &Ways| ways.iter().map(|way| way.iter().map(left).collect()).collect();
            can_be_satisfied(&stages.iter().map(|(_, of_stage)| ways(of_stage)).collect::<Vec<Ways>>())
        };
        if !without(None) {
            // Then it is nobody's: that is another remark.
            return BTreeSet::new();
        }
        asking.intersection(&everybody).filter(|login| !without(Some(login))).cloned().collect()
    };
    let mut found: Vec<(String, BTreeSet<Login>)> =
        stages.iter().map(|one| (format!("stage `{}`", one.0.name), stuck(&[one]))).collect();
    let told: BTreeSet<Login> = found.iter().flat_map(|(_, people)| people).cloned().collect();
    // Where people may serve twice, each stage is for itself.
    if rule.distinct {
        let together = stuck(&stages.iter().collect::<Vec<_>>()).difference(&told).cloned().collect();
        found.push((format!("the stages of `{}` together", rule.name), together));
    }
    found.retain(|(_, people)| !people.is_empty());
    found
}

/// Those of the people behind principals that are named; members of teams are not.
fn some_named(principals: &BTreeSet<Principal>, policy: &Policy) -> BTreeSet<Login> {
    let login = |principal| match principal {
        Principal::User(login) => Some(login),
        _ => None,
    };
    policy.written_out(principals).into_iter().filter_map(login).collect()
}

/// Whether everybody is among them.
fn open(principals: &BTreeSet<Principal>, policy: &Policy) -> bool {
    policy.written_out(principals).contains(&Principal::Everyone)
}

/// What everybody may do about a role that can do much harm.
fn open_to_everyone(role: &Role, policy: &Policy) -> Vec<&'static str> {
    let mut open = Vec::new();
    if role.risk < Risk::High {
        return open;
    }
    let everyone = |principals: &BTreeSet<Principal>| self::open(principals, policy);
    if everyone(&role.requesters) {
        open.push("request");
    }
    if everyone(&role.may_request_for) {
        open.push("request for others");
    }
    if role.break_glass.as_ref().is_some_and(|path| everyone(&path.requesters)) {
        open.push("break the glass for");
    }
    let stages = policy.approvals.get(&role.approval).map(|rule| rule.stages.as_slice()).unwrap_or_default();
    if stages.iter().any(|stage| everyone(&stage.everybody())) {
        open.push("approve");
    }
    open
}

/// Teams a role gives membership of that approve it, or changes of the policy: whoever has it once can give it to others.
fn own_approvers(role: &Role, policy: &Policy) -> BTreeSet<String> {
    let rules = [Some(&role.approval), policy.settings.policy_approval.as_ref()];
    let stages =
        rules.into_iter().flatten().filter_map(|name| policy.approvals.get(name)).flat_map(|rule| &rule.stages);
    let written = stages.flat_map(Stage::everybody).flat_map(|principal| match principal {
        Principal::Group(name) => policy.groups.get(&name).cloned().unwrap_or_default(),
        other => BTreeSet::from([other]),
    });
    let approvers: BTreeSet<String> = written
        .filter_map(|principal| match principal {
            Principal::Team(slug) => Some(slug.to_string()),
            _ => None,
        })
        .collect();
    let given = role.entitlements.iter().filter_map(|entitlement| match &entitlement.access {
        AccessTemplate::Github { team } => Some(team.source()),
        _ => None,
    });
    given.filter(|team| approvers.contains(*team)).map(str::to_owned).collect()
}

/// Parameters that neither the role nor a stage of its approval asks for.
fn unused_params(owner: &Spot, role: &Role, policy: &Policy, places: Places<'_>) -> Vec<Remark> {
    let stages = policy.approvals.get(&role.approval).into_iter().flat_map(|rule| &rule.stages);
    let conditions = role.conditions.iter().map(|condition| &condition.expression);
    let conditions = conditions.chain(stages.filter_map(|stage| stage.when.as_ref())).flat_map(Expression::params);
    let used: BTreeSet<String> = conditions.cloned().chain(role.entitlements.iter().flat_map(params_of)).collect();
    let unused = role.params.keys().filter(|name| !used.contains(name.as_str()));
    let remark = |param: &ParamName| {
        let message = format!("parameter `{param}` of `{}` is never used", role.name);
        let spot = places.params.get(&(role.name.clone(), param.clone())).unwrap_or(owner);
        Remark::new(Some(owner), spot, Code::UnusedParam, message, Code::UnusedParam.explanation())
    };
    unused.map(remark).collect()
}

fn params_of(entitlement: &EntitlementTemplate) -> BTreeSet<String> {
    entitlement.access.texts().into_iter().flat_map(Template::params).collect()
}

/// What an entitlement says, for comparison.
fn said(entitlement: &EntitlementTemplate) -> (String, &'static str, Vec<String>) {
    let pieces = entitlement.access.pieces().into_iter().flatten();
    let texts = pieces.map(|(label, text)| format!("{label} {}", text.source())).collect();
    (entitlement.target.to_string(), entitlement.access.kind().as_str(), texts)
}

/// Roles that give everything another gives, to the same people on the same terms.
fn overlaps(policy: &Policy, places: Places<'_>) -> Vec<Remark> {
    let mut remarks = Vec::new();
    let given: BTreeMap<&RoleName, BTreeSet<_>> =
        policy.roles.values().map(|role| (&role.name, role.entitlements.iter().map(said).collect())).collect();
    // Terms are the same only under the same rule.
    let mut givers: BTreeMap<_, Vec<&Role>> = BTreeMap::new();
    for role in policy.roles.values() {
        for entitlement in given.get(&role.name).into_iter().flatten() {
            givers.entry((&role.approval, entitlement)).or_default().push(role);
        }
    }
    let mut left = MOST_COMPARED;
    for small in policy.roles.values() {
        let Some(wanted) = given.get(&small.name) else { continue };
        // Whoever gives all of it gives the rarest of it.
        let rarest = wanted.iter().filter_map(|entitlement| givers.get(&(&small.approval, entitlement)));
        let Some(rarest) = rarest.min_by_key(|roles| roles.len()) else { continue };
        let mut larger = rarest.iter().take(left).filter(|large| large.name != small.name);
        left = left.saturating_sub(rarest.len());
        // One that does is enough.
        let found = larger.find_map(|large| {
            let theirs = given.get(&large.name).filter(|_| is_as_easy(large, small))?;
            let same = theirs == wanted;
            // Of two that are alike one is told.
            let covers = wanted.is_subset(theirs) && (!same || large.name < small.name || !is_as_easy(small, large));
            covers.then_some((large, same))
        });
        if let (Some((large, same)), Some(spot)) = (found, places.roles.get(&small.name)) {
            let what = if same { "the same as" } else { "all of" };
            let message = format!("`{}` gives {what} `{}`, on the same terms", large.name, small.name);
            remarks.push(Remark::about(spot, Code::RoleOverlap, message));
        }
    }
    remarks
}

/// Whether nothing speaks for asking for `small` where one can ask for `large`.
fn is_as_easy(large: &Role, small: &Role) -> bool {
    large.approval == small.approval
        && large.risk <= small.risk
        && large.max_duration >= small.max_duration
        && large.requires.is_subset(&small.requires)
        && large.conditions.is_empty()
        && large.requesters.is_superset(&small.requesters)
}

/// What history says about the ceilings of a policy: `durations` are those of all requests there ever were, by role.
pub fn unused_ceilings(policy: &Policy, durations: &BTreeMap<RoleName, Vec<Duration>>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (name, role) in policy.roles.iter().filter(|(_, role)| !role.allowed.contains(&Code::CeilingUnused)) {
        let asked = durations.get(name).map(Vec::as_slice).unwrap_or_default();
        let Some(longest) = asked.iter().max().filter(|_| asked.len() >= ENOUGH_REQUESTS) else { continue };
        if longest.seconds().saturating_mul(4) <= role.max_duration.seconds() {
            let (ceiling, count) = (role.max_duration, asked.len());
            let message = format!("`{name}` may last {ceiling}; the longest of {count} requests was for {longest}");
            let (code, help) = (Code::CeilingUnused, Code::CeilingUnused.explanation().to_owned());
            let (file, place, severity) = (role.file.clone(), role.place, Severity::Warning);
            findings.push(Finding { file, place, severity, code, message, help });
        }
    }
    findings
}

/// People who are the same person in some other system.
fn shared_mappings(policy: &Policy, places: Places<'_>) -> Vec<Remark> {
    let mut remarks = Vec::new();
    let mut seen: BTreeMap<(&str, String), &Login> = BTreeMap::new();
    for (login, person) in &policy.people {
        let own = [("email", &person.email), ("postgres", &person.postgres)];
        let own = own.into_iter().filter_map(|(system, name)| name.as_deref().map(|name| (system, name.to_owned())));
        let others = person.other.iter().map(|(system, name)| (system.as_str(), name.clone()));
        let keys = person.ssh_keys.iter().map(|key| ("ssh_keys", key_alone(key)));
        let names: BTreeSet<(&str, String)> = own.chain(others).chain(keys).collect();
        for (system, name) in names {
            // Addresses have no case.
            let alike = if system == "email" { name.to_ascii_lowercase() } else { name.clone() };
            match seen.get(&(system, alike.clone())) {
                Some(first) => {
                    let message = match system {
                        "ssh_keys" => format!("`{login}` and `{first}` have the same SSH key"),
                        _ => format!("`{login}` and `{first}` are both `{name}` in `{system}`"),
                    };
                    let spot = places.people.get(login);
                    remarks.extend(spot.map(|spot| Remark::about(spot, Code::SharedMapping, message)));
                }
                None => {
                    seen.insert((system, alike), login);
                }
            }
        }
    }
    remarks
}

/// A public key without the comment behind it.
fn key_alone(key: &str) -> String {
    key.split_whitespace().take(2).collect::<Vec<_>>().join(" ")
}
