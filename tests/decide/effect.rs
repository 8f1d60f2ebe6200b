//! The effect of a policy change against brute force: both policies are asked about everybody, every role and a grid of durations.

use std::collections::{BTreeMap, BTreeSet};

use daypass::access::case::Case;
use daypass::access::decide::{Decision, decide};
use daypass::access::facts::{Directory, ReviewState};
use daypass::access::impact::{self, Danger, Impact, Right, Topic};
use daypass::access::reach::Crowd;
use daypass::policy::{Policy, Severity};

use crate::generate::{
    Ask, CommitPlan, Dice, MINUTES, Organisation, PEOPLE, Plan, ROLES, ReviewPlan, STRANGER, TEAMS, account, after,
    change, organisation, plan,
};
use crate::seeds;

/// Who has which right on which role, rights by what they are called.
type Rights = BTreeSet<(usize, String, usize)>;

fn blank(author: usize, role: usize) -> Ask {
    let commits = vec![CommitPlan {
        author: Some(author),
        committer: Some(author),
        coauthors: BTreeSet::new(),
        addresses: BTreeSet::new(),
    }];
    Ask {
        author,
        subject: None,
        role,
        minutes: 1,
        ticket: Some("INC-1"),
        start: None,
        break_glass: false,
        commits,
        reviews: Vec::new(),
        judged: 0,
        merged: false,
    }
}

fn ask(ask: &Ask, policy: &Policy, directory: &Directory) -> Decision {
    let facts = ask.facts();
    decide(&ask.request(), Case { policy, directory, facts: &facts, now: after(ask.judged) })
}

fn refused(decision: &Decision, codes: &[&str]) -> bool {
    let errors = decision.findings.iter().filter(|finding| finding.severity == Severity::Error);
    errors.map(|finding| finding.code.as_str()).any(|code| codes.contains(&code))
}

/// Everything everybody may do under a policy, by asking it.
fn rights(plan: &Plan, policy: &Policy, directory: &Directory) -> Rights {
    let mut rights = Rights::new();
    for person in 0..PEOPLE {
        for role in 0..ROLES {
            let request = blank(person, role);
            if !refused(&ask(&request, policy, directory), &["DP0202", "DP0401", "DP0404"]) {
                rights.insert((person, "request".to_owned(), role));
            }
            let glass = Ask { break_glass: true, ..request.clone() };
            if !refused(&ask(&glass, policy, directory), &["DP0202", "DP0401", "DP0404", "DP0412"]) {
                rights.insert((person, "break-glass".to_owned(), role));
            }
            let other = Ask { subject: Some((person + 1) % PEOPLE), ..request };
            if !refused(&ask(&other, policy, directory), &["DP0202", "DP0402"]) {
                rights.insert((person, "request-for".to_owned(), role));
            }
            let Some(planned) = plan.roles.get(&role) else { continue };
            for (index, stage) in plan.rules[planned.rule].iter().enumerate() {
                let waits = stage.steps().last().map_or(0, |(minutes, _)| *minutes);
                for (word, judged) in [("approve", 0), ("in the end", waits)] {
                    if approves(person, role, index, judged, policy, directory) {
                        rights.insert((person, format!("{word} s{}", stage.name), role));
                    }
                }
            }
        }
    }
    rights
}

/// Whether the approval of a person is used by a stage, if it is the only one and its own.
fn approves(person: usize, role: usize, stage: usize, judged: i64, policy: &Policy, directory: &Directory) -> bool {
    let mut policy = policy.clone();
    let rule = policy.roles[&format!("role{role}").parse().unwrap()].approval.clone();
    let rule = policy.approvals.get_mut(&rule).unwrap();
    rule.stages = vec![rule.stages[stage].clone()];
    rule.stages[0].when = None;
    let review = ReviewPlan { by: Some(person), state: ReviewState::Approved, at_head: true, after: Some(0) };
    let asked = Ask { reviews: vec![review], judged, ..blank(STRANGER, role) };
    let decision = ask(&asked, &policy, directory);
    let approval = decision.approval.unwrap();
    approval.stages[0].approvals.iter().any(|(by, _)| *by == account(person))
}

fn told(impact: &Impact, of: impl Fn(&impact::Shift) -> &Crowd) -> Rights {
    let mut rights = Rights::new();
    for shift in &impact.shifts {
        let Some(role) = &shift.role else { continue };
        let Some(role) = role.as_str().strip_prefix("role").and_then(|number| number.parse().ok()) else { continue };
        let right = match &shift.right {
            Right::Request => "request".to_owned(),
            Right::RequestFor => "request-for".to_owned(),
            Right::BreakGlass => "break-glass".to_owned(),
            Right::Approve(stage) => format!("approve {stage}"),
            Right::ApproveInTheEnd(stage) => format!("in the end {stage}"),
        };
        for person in (0..PEOPLE).filter(|person| of(shift).people.contains(&account(*person))) {
            rights.insert((person, right.clone(), role));
        }
    }
    rights
}

struct Pair {
    plans: [Plan; 2],
    policies: [Policy; 2],
    organisation: Organisation,
    dice: Dice,
}

fn pair(seed: u64) -> Option<Pair> {
    let mut dice = Dice::new(seed);
    let old = plan(&mut dice);
    let new = if dice.once_in(4) { plan(&mut dice) } else { change(&old, &mut dice) };
    let policies = [old.policy()?, new.policy()?];
    let organisation = organisation(&mut dice);
    Some(Pair { plans: [old, new], policies, organisation, dice })
}

#[test]
fn the_effect_of_a_change_is_what_asking_about_everybody_shows() {
    let (mut gains, mut losses, mut ceilings) = (0, 0, 0);
    for seed in seeds(250) {
        let Some(Pair { plans, policies: [old, new], organisation, .. }) = pair(seed) else { continue };
        let directory = organisation.directory();
        let impact = impact::compare(&old, &new, &directory);
        let (before, after) = (rights(&plans[0], &old, &directory), rights(&plans[1], &new, &directory));
        let context =
            || format!("seed {seed}\n{}\n--- becomes\n{}\n{organisation:?}", plans[0].yaml(), plans[1].yaml());
        let gained: Rights = after.difference(&before).cloned().collect();
        let lost: Rights = before.difference(&after).cloned().collect();
        assert_eq!(told(&impact, |shift| &shift.gained), gained, "gained, {}", context());
        assert_eq!(told(&impact, |shift| &shift.lost), lost, "lost, {}", context());
        assert!(
            gained.is_empty()
                || impact.effects.iter().any(|effect| effect.danger >= Danger::Low || effect.topic == Topic::Stages),
            "what widens is told, {}",
            context()
        );
        assert!(lost.is_empty() || !impact.effects.is_empty());
        assert!(plans[0] != plans[1] || impact.effects.is_empty(), "nothing changes nothing, {}", context());
        assert!(impact.unknown.is_empty(), "everybody is known");
        let moved = moved_ceilings(&old, &new, &directory);
        let told = |topic| -> BTreeMap<String, BTreeSet<Danger>> {
            let mut told: BTreeMap<String, BTreeSet<Danger>> = BTreeMap::new();
            for effect in impact.effects.iter().filter(|effect| effect.topic == topic) {
                if effect.role.as_ref().is_some_and(|role| role.as_str() == "spare") {
                    continue;
                }
                told.entry(effect.role.as_ref().unwrap().to_string()).or_default().insert(effect.danger);
            }
            told
        };
        let ceilings_told: BTreeMap<String, bool> = told(Topic::Ceiling)
            .into_iter()
            .map(|(role, danger)| (role, danger.iter().all(|d| *d > Danger::Narrower)))
            .collect();
        assert_eq!(ceilings_told, moved, "{}", context());
        (gains, losses, ceilings) = (gains + gained.len(), losses + lost.len(), ceilings + moved.len());
    }
    if std::env::var_os("DAYPASS_SEED").is_none() {
        assert!(gains > 500 && losses > 500 && ceilings > 20, "{gains} gains, {losses} losses, {ceilings} ceilings");
    }
}

/// Roles of both policies that may last longer (true) or less long than before, by asking for longer and longer access.
fn moved_ceilings(old: &Policy, new: &Policy, directory: &Directory) -> BTreeMap<String, bool> {
    let longest = |policy: &Policy, role: usize| {
        let granted = |minutes: &u64| {
            let asked = Ask { minutes: *minutes, ..blank(0, role) };
            !refused(&ask(&asked, policy, directory), &["DP0404", "DP0202"])
        };
        MINUTES.into_iter().chain([480]).filter(granted).max()
    };
    let moved = |role: usize| {
        let (before, after) = (longest(old, role)?, longest(new, role)?);
        (before != after).then(|| (format!("role{role}"), after > before))
    };
    (0..ROLES).filter_map(moved).collect()
}

#[test]
fn what_is_not_known_is_named_and_never_guessed() {
    let mut unsure = 0;
    for seed in seeds(150) {
        let Some(Pair { plans, policies: [old, new], organisation, mut dice }) = pair(seed) else { continue };
        let known = organisation.directory();
        let mut directory = known.clone();
        let hidden: BTreeSet<usize> = (0..TEAMS).filter(|_| dice.once_in(2)).collect();
        hidden.iter().for_each(|team| drop(directory.teams.remove(&format!("t{team}").parse().unwrap())));
        let impact = impact::compare(&old, &new, &directory);
        let (before, after) = (rights(&plans[0], &old, &known), rights(&plans[1], &new, &known));
        // Whoever really gains or loses something is named, in person or by a team nobody told of.
        for (real, of) in [
            (
                after.difference(&before).cloned().collect::<Rights>(),
                (|shift| &shift.gained) as fn(&impact::Shift) -> &Crowd,
            ),
            (before.difference(&after).cloned().collect(), |shift| &shift.lost),
        ] {
            let mut named = told(&impact, of);
            for shift in &impact.shifts {
                let members =
                    hidden.iter().filter(|team| of(shift).unknown.contains(&format!("t{team}").parse().unwrap()));
                let people: BTreeSet<_> =
                    members.flat_map(|team| &organisation.teams[*team]).map(|person| account(*person)).collect();
                unsure += people.len();
                let crowd = Crowd { people, ..Crowd::default() };
                let one = Impact {
                    shifts: vec![impact::Shift { gained: crowd.clone(), lost: crowd, ..shift.clone() }],
                    ..Impact::default()
                };
                named.extend(told(&one, |shift| &shift.gained));
            }
            let missed: Rights = real.difference(&named).cloned().collect();
            assert!(
                missed.is_empty(),
                "seed {seed}: {missed:?} with {hidden:?} unknown\n{}\n---\n{}\n{organisation:?}",
                plans[0].yaml(),
                plans[1].yaml()
            );
        }
    }
    assert!(unsure > 0 || std::env::var_os("DAYPASS_SEED").is_some());
}
