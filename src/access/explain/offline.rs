//! Explaining a request while facts are missing: it is judged in each world that could be, and what differs between them is not known.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};

use super::{Rule, Status, Tree};
use crate::access::decide::Verdict;
use crate::access::given::{self, Accounts};
use crate::access::principals::Needs;
use crate::access::text::Text;
use crate::policy::name::{Login, TeamSlug};
use crate::policy::testcase::Given;
use crate::policy::{Code, Policy, Principal, Request};

/// Explains what the policy says to a request that `author` would make, as far as it can be told from what is given. Teams that
/// are not given are unknown, not empty.
pub fn explain(request: &Request, author: &Login, given: &Given, policy: &Policy, now: DateTime<Utc>) -> Tree {
    let accounts = Accounts::new(request, author, given, policy);
    let needs = given::needs(request, &accounts.pull(author, given, now), policy);
    let missing: BTreeSet<TeamSlug> = needs.teams.into_iter().filter(|team| !given.teams.contains_key(team)).collect();
    let history = unknown_history(request, given, policy);
    let with = |teams: &[&TeamSlug], full: bool| {
        let mut world = given.clone();
        if full {
            // A world in which as many have the role as may, and it was just denied, unless it is given how that is.
            world.active_grants = world.active_grants.or(Some(u32::MAX));
            world.denied_at = world.denied_at.or(Some(vec![now]));
        }
        for team in teams {
            let people = [Some(author), request.subject.as_ref()].into_iter().flatten();
            world.teams.insert((*team).clone(), people.map(|login| login.clone().into()).collect());
        }
        Tree::of(&given::judge(request, author, &world, policy, now), policy)
    };
    let mut tree = with(&[], false);
    if !missing.is_empty() || !history.is_empty() {
        let mut worlds: Vec<Tree> = memberships(&missing).iter().map(|teams| with(teams, false)).collect();
        worlds.push(with(&[], true));
        tree.doubt(&worlds, &missing, policy);
    }
    tree.unknown.extend(history);
    // When that would have been, nobody knows.
    let unknown = tree.rules.iter_mut().filter(|rule| rule.status == Status::Unknown);
    for finding in unknown.flat_map(|rule| &mut rule.findings).filter(|finding| finding.code == Code::DeniedRecently) {
        "the role was denied to the subject a short while ago".clone_into(&mut finding.message);
    }
    if given.members.is_none() {
        let people = [request.subject.as_ref(), Some(author).filter(|author| request.subject.as_ref() != Some(author))];
        let people = people.into_iter().flatten();
        tree.unknown.push(
            Text::new()
                .words("whether these have an account and are members of the organisation, which is assumed: ")
                .names(people),
        );
    }
    tree
}

/// What a limit and a cool-down ask for and is not given.
fn unknown_history(request: &Request, given: &Given, policy: &Policy) -> Vec<Text> {
    let Some(role) = policy.roles.get(&request.role).filter(|_| !request.break_glass) else { return Vec::new() };
    let mut unknown = Vec::new();
    if role.limit.is_some() && given.active_grants.is_none() {
        unknown.push(Text::new().words("how many have the role at that time"));
    }
    let cools_down = policy.approvals.get(&role.approval).is_some_and(|rule| rule.cool_down.is_some());
    if cools_down && given.denied_at.is_none() {
        unknown.push(Text::new().words("whether the role was denied to the subject a short while ago"));
    }
    unknown
}

/// The sets of these teams somebody could be in: all there are, or, of more than six teams, those that differ most.
fn memberships(teams: &BTreeSet<TeamSlug>) -> Vec<Vec<&TeamSlug>> {
    let teams: Vec<&TeamSlug> = teams.iter().collect();
    if teams.len() <= 6 {
        let chosen = |set: usize| (0..teams.len()).filter(move |index| set & (1 << index) != 0);
        return (0..1 << teams.len())
            .map(|set| chosen(set).filter_map(|index| teams.get(index).copied()).collect())
            .collect();
    }
    let one = teams.iter().map(|team| vec![*team]);
    let all_but_one = (0..teams.len()).map(|left_out| {
        let kept = teams.iter().enumerate().filter(move |(index, _)| *index != left_out);
        kept.map(|(_, team)| *team).collect()
    });
    one.chain(all_but_one).chain([teams.clone()]).collect()
}

impl Tree {
    /// Says of what is otherwise in one of the other worlds that it is not known. They differ in who is in `missing`, and in what
    /// happened before.
    fn doubt(&mut self, worlds: &[Self], missing: &BTreeSet<TeamSlug>, policy: &Policy) {
        let depends = |principals: &BTreeSet<Principal>| !teams_of(principals, policy).is_disjoint(missing);
        let (mut perhaps_reached, mut never_reached) = (false, false);
        for (index, stage) in self.approval.iter_mut().flat_map(|approval| &mut approval.stages).enumerate() {
            let others = worlds.iter().filter_map(|world| world.approval.as_ref()?.stages.get(index));
            if others.into_iter().any(|other| other.status != stage.status) {
                stage.status = Status::Unknown;
            }
            stage.unlisted = teams_of(&stage.approvers, policy).intersection(missing).cloned().collect();
            let widest =
                stage.approvers.iter().chain(stage.later.iter().flat_map(|later| &later.to)).cloned().collect();
            if stage.out_of_reach && depends(&widest) {
                stage.out_of_reach = false;
                perhaps_reached = true;
            }
            never_reached |= stage.out_of_reach;
        }
        for (index, rule) in self.rules.iter_mut().enumerate() {
            let others: Vec<&Rule> = worlds.iter().filter_map(|world| world.rules.get(index)).collect();
            let people = rule.findings.iter().any(|finding| finding.code == Code::NobodyCanApprove);
            if others.iter().any(|other| other.status != rule.status) || (people && perhaps_reached && !never_reached) {
                rule.status = Status::Unknown;
                if let (true, Some(other)) =
                    (rule.findings.is_empty(), others.iter().find(|rule| !rule.findings.is_empty()))
                {
                    rule.findings.clone_from(&other.findings);
                }
            }
        }
        if worlds.iter().any(|world| world.entitlements != self.entitlements) {
            self.unknown.push(Text::new().words("what is granted, which depends on these teams"));
        }
        if !missing.is_empty() {
            let teams = missing.iter().map(|team| Principal::Team(team.clone()));
            self.unknown.insert(0, Text::new().words("who is in ").names(teams));
        }
        if self.verdict == Verdict::Refused && self.is_allowed() {
            self.verdict = Verdict::Waiting;
        }
    }
}

fn teams_of(principals: &BTreeSet<Principal>, policy: &Policy) -> BTreeSet<TeamSlug> {
    let mut needs = Needs::default();
    needs.add(principals, policy);
    needs.teams
}
