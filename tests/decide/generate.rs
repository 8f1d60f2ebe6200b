//! Small random worlds: a policy as plain data and as YAML, an organisation, a pull request.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use chrono::{DateTime, TimeDelta, Utc};
use daypass::access::case::PullFacts;
use daypass::access::facts::{Account, Commit, Directory, PullRequest, PullState, Review, ReviewState};
use daypass::access::history::History;
use daypass::policy::name::{CommitId, UserId};
use daypass::policy::{self, Policy, Request};

pub const PEOPLE: usize = 6;
pub const TEAMS: usize = 3;
pub const GROUPS: usize = 2;
pub const RULES: usize = 3;
pub const ROLES: usize = 2;
/// Ceilings and durations are taken from here, in minutes.
pub const MINUTES: [u64; 4] = [30, 60, 120, 240];

/// Chance, from a seed (SplitMix64).
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % end as u64) as usize
    }

    /// True once in `times`.
    pub fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    pub fn one_of<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.below(items.len())]
    }

    pub fn maybe<T>(&mut self, times: usize, make: impl FnOnce(&mut Self) -> T) -> Option<T> {
        if self.once_in(times) { Some(make(self)) } else { None }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Who {
    Person(usize),
    Team(usize),
    Group(usize),
    Everyone,
    App,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Test {
    TicketIsIncident,
    NoLongerThan(u64),
    LongerThan(u64),
    InTeam(usize),
    InGroup(usize),
    NotForOthers,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StagePlan {
    /// Stages are called after this.
    pub name: usize,
    /// How many have to approve: one more than the name, so that stages of different names differ, unless a test wants it otherwise.
    pub required: usize,
    pub when: Option<Test>,
    pub approvers: BTreeSet<Who>,
    /// A second part: whether both must approve, or one will do; and so many of whom.
    pub other: Option<(bool, usize, BTreeSet<Who>)>,
    pub escalate: Option<(u64, BTreeSet<Who>)>,
    /// Widens a second time, so much later.
    pub again: Option<(u64, BTreeSet<Who>)>,
}

impl StagePlan {
    /// When it widens, counted from when it opened, and to whom.
    pub fn steps(&self) -> Vec<(i64, &BTreeSet<Who>)> {
        let Some((first, to)) = &self.escalate else { return Vec::new() };
        let again = self.again.iter().map(|(later, to)| ((first + later) as i64, to));
        std::iter::once((*first as i64, to)).chain(again).collect()
    }

    /// Its parts: so many of whom.
    pub fn parts(&self) -> Vec<(usize, &BTreeSet<Who>)> {
        let other = self.other.iter().map(|(_, required, who)| (*required, who));
        std::iter::once((self.required, &self.approvers)).chain(other).collect()
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RolePlan {
    pub requesters: BTreeSet<Who>,
    pub on_behalf: BTreeSet<Who>,
    pub ceiling: Option<u64>,
    pub ticket: bool,
    pub start: bool,
    pub conditions: Vec<Test>,
    pub rule: usize,
    pub glass: Option<(BTreeSet<Who>, Option<u64>)>,
    pub needs_mapping: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    pub ceiling: u64,
    pub groups: Vec<BTreeSet<Who>>,
    pub roles: BTreeMap<usize, RolePlan>,
    pub rules: Vec<Vec<StagePlan>>,
    /// The rules under which one person may serve twice.
    pub shared: BTreeSet<usize>,
    pub owners: Option<usize>,
    /// Who has a name in the database.
    pub mapped: BTreeSet<usize>,
    /// Who has an e-mail address in the policy.
    pub addressed: BTreeSet<usize>,
}

fn some(dice: &mut Dice, groups: bool, apps: bool) -> BTreeSet<Who> {
    let mut who = BTreeSet::new();
    for _ in 0..1 + dice.below(2) {
        who.insert(match dice.below(12) {
            0..4 => Who::Person(dice.below(PEOPLE)),
            4..8 => Who::Team(dice.below(TEAMS)),
            8..10 if groups => Who::Group(dice.below(GROUPS)),
            10 if apps => Who::App,
            11 => Who::Everyone,
            _ => Who::Team(dice.below(TEAMS)),
        });
    }
    who
}

fn test(dice: &mut Dice) -> Test {
    match dice.below(6) {
        0 => Test::TicketIsIncident,
        1 => Test::NoLongerThan(dice.one_of(&MINUTES)),
        2 => Test::LongerThan(dice.one_of(&MINUTES)),
        3 => Test::InTeam(dice.below(TEAMS)),
        4 => Test::InGroup(dice.below(GROUPS)),
        _ => Test::NotForOthers,
    }
}

pub fn stages(dice: &mut Dice) -> Vec<StagePlan> {
    // Sometimes nobody has to approve.
    let mut names: Vec<usize> = (0..3).filter(|name| dice.once_in(2 + name / 2)).collect();
    if dice.once_in(2) {
        names.reverse();
    }
    let stage = |name: usize, dice: &mut Dice| {
        let mut approvers = some(dice, true, false);
        // Enough names to be valid.
        approvers.extend((0..=name).map(|_| Who::Team(dice.below(TEAMS))));
        let escalate = dice.maybe(2, |dice| (dice.one_of(&[30, 30, 60, 240]), some(dice, true, false)));
        let again = dice.maybe(2, |dice| (dice.one_of(&[30, 120]), some(dice, true, false)));
        let other = dice.maybe(4, |dice| (dice.once_in(2), 1 + dice.below(2), some(dice, true, false)));
        let other = other.map(|(all, required, mut who)| {
            who.extend((0..required).map(|_| Who::Team(dice.below(TEAMS))));
            (all, required, who)
        });
        StagePlan { name, required: name + 1, when: dice.maybe(3, test), approvers, other, escalate, again }
    };
    names.into_iter().map(|name| stage(name, dice)).collect()
}

pub fn role(dice: &mut Dice) -> RolePlan {
    RolePlan {
        requesters: some(dice, true, true),
        on_behalf: if dice.once_in(2) { some(dice, true, true) } else { BTreeSet::new() },
        ceiling: dice.maybe(2, |dice| dice.one_of(&MINUTES)),
        ticket: dice.once_in(4),
        start: dice.once_in(8),
        conditions: (0..dice.below(3)).map(|_| test(dice)).collect(),
        rule: dice.below(RULES),
        glass: dice.maybe(2, |dice| (some(dice, true, true), dice.maybe(2, |_| 30))),
        needs_mapping: dice.once_in(3),
    }
}

pub fn plan(dice: &mut Dice) -> Plan {
    let rules: Vec<Vec<StagePlan>> = (0..RULES).map(|_| stages(dice)).collect();
    let owners = (0..RULES).find(|rule| !rules[*rule].is_empty());
    let names: Vec<usize> = (0..ROLES).filter(|_| !dice.once_in(10)).collect();
    Plan {
        ceiling: dice.one_of(&[60, 120, 240, 480]),
        groups: (0..GROUPS).map(|_| some(dice, false, true)).collect(),
        roles: names.into_iter().map(|name| (name, role(dice))).collect(),
        owners: if dice.once_in(3) { None } else { owners },
        rules,
        shared: (0..RULES).filter(|_| dice.once_in(4)).collect(),
        mapped: (0..PEOPLE).filter(|_| !dice.once_in(4)).collect(),
        addressed: (0..PEOPLE).filter(|_| dice.once_in(2)).collect(),
    }
}

/// The plan, changed in some places.
pub fn change(plan: &Plan, dice: &mut Dice) -> Plan {
    let mut changed = plan.clone();
    for _ in 0..1 + dice.below(3) {
        match dice.below(6) {
            0 => drop(changed.roles.insert(dice.below(ROLES), role(dice))),
            1 => changed.groups[dice.below(GROUPS)] = some(dice, false, true),
            2 => changed.rules[dice.below(RULES)] = stages(dice),
            3 => changed.ceiling = dice.one_of(&[60, 120, 240, 480]),
            4 => {
                if let Some(role) = changed.roles.get_mut(&dice.below(ROLES)) {
                    role.requesters = some(dice, true, true);
                }
            }
            _ => drop(changed.roles.remove(&dice.below(ROLES * 2))),
        }
    }
    if changed.owners.is_some_and(|owners| changed.rules[owners].is_empty()) {
        changed.owners = None;
    }
    changed
}

fn list(who: &BTreeSet<Who>) -> String {
    let one = |who: &Who| match who {
        Who::Person(person) => format!("user:p{person}"),
        Who::Team(team) => format!("team:t{team}"),
        Who::Group(group) => format!("group:g{group}"),
        Who::Everyone => "everyone".to_owned(),
        Who::App => "app:robot".to_owned(),
    };
    format!("[{}]", who.iter().map(one).collect::<Vec<_>>().join(", "))
}

fn expression(test: Test) -> String {
    match test {
        Test::TicketIsIncident => "request.ticket.startsWith('INC-')".to_owned(),
        Test::NoLongerThan(minutes) => format!("request.duration <= duration('{minutes}m')"),
        Test::LongerThan(minutes) => format!("request.duration > duration('{minutes}m')"),
        Test::InTeam(team) => format!("'t{team}' in subject.teams"),
        Test::InGroup(group) => format!("'g{group}' in subject.groups"),
        Test::NotForOthers => "pull_request.author == request.subject".to_owned(),
    }
}

impl Plan {
    pub fn yaml(&self) -> String {
        let mut text = format!("settings:\n  max_duration: {}m\n", self.ceiling);
        if let Some(owners) = self.owners {
            writeln!(text, "  policy_approval: r{owners}").unwrap();
        }
        text.push_str("targets: { db: postgres, hub: github }\npeople:\n  nobody: {}\n");
        for person in 0..PEOPLE {
            let mut fields = Vec::new();
            if self.mapped.contains(&person) {
                fields.push(format!("postgres: db{person}"));
            }
            if self.addressed.contains(&person) {
                fields.push(format!("email: P{person}@example.com"));
            }
            writeln!(text, "  p{person}: {{ {} }}", fields.join(", ")).unwrap();
        }
        text.push_str("groups:\n");
        for (group, members) in self.groups.iter().enumerate() {
            writeln!(text, "  g{group}: {}", list(members)).unwrap();
        }
        text.push_str("roles:\n  spare:\n    requesters: []\n    approval: spare\n    entitlements: [github: { target: hub, team: x }]\n");
        for (name, role) in &self.roles {
            writeln!(text, "  role{name}:\n    requesters: {}\n    approval: r{}", list(&role.requesters), role.rule)
                .unwrap();
            writeln!(text, "    may_request_for: {}", list(&role.on_behalf)).unwrap();
            if let Some(minutes) = role.ceiling {
                writeln!(text, "    max_duration: {minutes}m").unwrap();
            }
            let requires: Vec<&str> = [(role.ticket, "ticket"), (role.start, "start")]
                .iter()
                .filter(|(on, _)| *on)
                .map(|(_, word)| *word)
                .collect();
            writeln!(text, "    requires: [{}]\n    conditions:", requires.join(", ")).unwrap();
            if role.conditions.is_empty() {
                text.push_str("      - expr: 'true'\n");
            }
            for condition in &role.conditions {
                writeln!(text, "      - expr: {:?}", expression(*condition)).unwrap();
            }
            if let Some((who, minutes)) = &role.glass {
                let minutes = minutes.map(|minutes| format!(", max_duration: {minutes}m")).unwrap_or_default();
                writeln!(text, "    break_glass: {{ requesters: {}{minutes} }}", list(who)).unwrap();
            }
            let gives = if role.needs_mapping {
                "postgres: { target: db, role: x }"
            } else {
                "github: { target: hub, team: x }"
            };
            writeln!(text, "    entitlements: [{gives}]").unwrap();
        }
        text.push_str("approvals:\n  spare: { stages: [] }\n");
        for (rule, stages) in self.rules.iter().enumerate() {
            writeln!(text, "  r{rule}:\n    distinct: {}", !self.shared.contains(&rule)).unwrap();
            writeln!(text, "    stages:{}", if stages.is_empty() { " []" } else { "" }).unwrap();
            for stage in stages {
                let (name, required, who) = (stage.name, stage.required, list(&stage.approvers));
                writeln!(text, "      - name: s{name}").unwrap();
                match &stage.other {
                    None => writeln!(text, "        required: {required}\n        approvers: {who}").unwrap(),
                    Some((all, two, others)) => {
                        let word = if *all { "all_of" } else { "any_of" };
                        writeln!(text, "        {word}:\n          - {{ required: {required}, approvers: {who} }}")
                            .unwrap();
                        writeln!(text, "          - {{ required: {two}, approvers: {} }}", list(others)).unwrap();
                    }
                }
                if let Some(when) = stage.when {
                    writeln!(text, "        when: {:?}", expression(when)).unwrap();
                }
                let steps = stage.steps();
                if !steps.is_empty() {
                    text.push_str("        escalate:\n");
                }
                for (minutes, to) in steps {
                    writeln!(text, "          - {{ after: {minutes}m, to: {} }}", list(to)).unwrap();
                }
            }
        }
        text
    }

    /// The plan as the product reads it; `None` if it finds it invalid.
    pub fn policy(&self) -> Option<Policy> {
        policy::load(&BTreeMap::from([("policies/p.yaml".to_owned(), self.yaml().into_bytes())]), None).policy
    }
}

/// An organisation: who is a member, who is in which team. Whoever is in a team is a member.
#[derive(Debug, Clone)]
pub struct Organisation {
    pub members: BTreeSet<usize>,
    pub teams: Vec<BTreeSet<usize>>,
}

/// People are accounts 0 and up; this is the bot.
pub const ROBOT: usize = 50;
/// And this is somebody no policy knows.
pub const STRANGER: usize = 60;

pub fn account(number: usize) -> Account {
    let login = match number {
        ROBOT => "robot[bot]".to_owned(),
        STRANGER => "stranger".to_owned(),
        number => format!("p{number}"),
    };
    Account { id: UserId(number as u64 + 100), login: login.parse().unwrap(), bot: number == ROBOT }
}

pub fn organisation(dice: &mut Dice) -> Organisation {
    let members: BTreeSet<usize> = (0..PEOPLE).filter(|_| !dice.once_in(6)).collect();
    let team = |dice: &mut Dice| members.iter().copied().filter(|_| dice.once_in(2)).collect();
    let teams = (0..TEAMS).map(|_| team(dice)).collect();
    Organisation { members, teams }
}

impl Organisation {
    pub fn directory(&self) -> Directory {
        let everybody = (0..PEOPLE).chain([ROBOT, STRANGER]).map(account);
        Directory {
            teams: self
                .teams
                .iter()
                .enumerate()
                .map(|(team, members)| {
                    (format!("t{team}").parse().unwrap(), Some(members.iter().copied().map(account).collect()))
                })
                .collect(),
            suspended: BTreeSet::new(),
            accounts: everybody.map(|account| (account.login.clone(), Some(account))).collect(),
            members: self.members.iter().map(|person| account(*person).id).collect(),
        }
    }
}

/// A review, by whom (nobody: the account is gone), saying what, for the head or not, after how many minutes.
#[derive(Debug, Clone, Copy)]
pub struct ReviewPlan {
    pub by: Option<usize>,
    pub state: ReviewState,
    pub at_head: bool,
    pub after: Option<i64>,
}

#[derive(Debug, Clone)]
pub struct CommitPlan {
    pub author: Option<usize>,
    pub committer: Option<usize>,
    pub coauthors: BTreeSet<usize>,
    pub addresses: BTreeSet<usize>,
}

/// A pull request that asks for something.
#[derive(Debug, Clone)]
pub struct Ask {
    pub author: usize,
    pub subject: Option<usize>,
    pub role: usize,
    pub minutes: u64,
    pub ticket: Option<&'static str>,
    /// In minutes from when it was opened.
    pub start: Option<i64>,
    pub break_glass: bool,
    pub commits: Vec<CommitPlan>,
    pub reviews: Vec<ReviewPlan>,
    /// When it is judged, or was merged, in minutes from when it was opened.
    pub judged: i64,
    pub merged: bool,
}

pub fn ask(dice: &mut Dice) -> Ask {
    let author = if dice.once_in(12) { ROBOT } else { dice.below(PEOPLE) };
    let states = [
        ReviewState::Approved,
        ReviewState::Approved,
        ReviewState::Approved,
        ReviewState::Approved,
        ReviewState::ChangesRequested,
        ReviewState::Commented,
        ReviewState::Dismissed,
        ReviewState::Pending,
    ];
    let judged = dice.one_of(&[0, 29, 30, 31, 60, 90, 120, 240, 600]);
    let review = |dice: &mut Dice| ReviewPlan {
        by: if dice.once_in(15) { None } else { Some(if dice.once_in(15) { ROBOT } else { dice.below(PEOPLE) }) },
        state: dice.one_of(&states),
        at_head: !dice.once_in(6),
        after: if dice.once_in(20) { None } else { Some(dice.below(130) as i64) },
    };
    let commit = |dice: &mut Dice| CommitPlan {
        author: if dice.once_in(15) { None } else { Some(author) },
        committer: Some(if dice.once_in(8) { dice.below(PEOPLE) } else { author }),
        coauthors: (0..PEOPLE).filter(|_| dice.once_in(20)).collect(),
        addresses: (0..PEOPLE).filter(|_| dice.once_in(20)).collect(),
    };
    Ask {
        author,
        subject: dice.maybe(3, |dice| dice.below(PEOPLE)),
        role: if dice.once_in(20) { 9 } else { dice.below(ROLES) },
        minutes: dice.one_of(&MINUTES) + if dice.once_in(10) { 1 } else { 0 },
        ticket: dice.one_of(&[None, Some("INC-1"), Some("INC-1"), Some("SUP-2")]),
        start: dice.maybe(5, |dice| dice.one_of(&[-500, 10, 60, 90 * 24 * 60, 91 * 24 * 60 + 600])),
        break_glass: dice.once_in(6),
        commits: (0..1 + dice.below(2)).map(|_| commit(dice)).collect(),
        reviews: (0..dice.below(12)).map(|_| review(dice)).collect(),
        judged,
        merged: dice.once_in(4),
    }
}

pub fn opened() -> DateTime<Utc> {
    "2026-11-30T10:00:00Z".parse().unwrap()
}

pub fn after(minutes: i64) -> DateTime<Utc> {
    opened() + TimeDelta::minutes(minutes)
}

fn head() -> CommitId {
    "a".repeat(40).parse().unwrap()
}

impl Ask {
    pub fn request(&self) -> Request {
        let mut text = format!("role: role{}\nduration: {}m\nreason: x\n", self.role, self.minutes);
        if let Some(subject) = self.subject {
            writeln!(text, "subject: p{subject}").unwrap();
        }
        if let Some(ticket) = self.ticket {
            writeln!(text, "ticket: {ticket}").unwrap();
        }
        if let Some(start) = self.start {
            writeln!(text, "start: {}", after(start).format("%Y-%m-%dT%H:%M:%SZ")).unwrap();
        }
        if self.break_glass {
            text.push_str("break_glass: true\n");
        }
        policy::request::read("grants/g.yaml", text.as_bytes(), None).unwrap()
    }

    pub fn facts(&self) -> PullFacts {
        let state = match self.merged {
            true => PullState::Merged { at: after(self.judged), commit: "b".repeat(40).parse().unwrap(), by: None },
            false => PullState::Open,
        };
        let pull = PullRequest {
            number: 7,
            title: "x".to_owned(),
            author: Some(account(self.author)),
            state,
            draft: false,
            head: head(),
            head_branch: "x".to_owned(),
            from_fork: false,
            base_branch: "main".to_owned(),
            created_at: opened(),
            labels: BTreeSet::new(),
        };
        let commit = |plan: &CommitPlan| Commit {
            id: head(),
            author: plan.author.map(account),
            committer: plan.committer.map(account),
            emails: plan.addresses.iter().map(|person| format!("p{person}@example.com")).collect(),
            coauthors: plan.coauthors.iter().map(|person| account(*person).login).collect(),
            coauthor_ids: BTreeSet::new(),
        };
        let review = |(id, plan): (u64, &ReviewPlan)| Review {
            id,
            author: plan.by.map(account),
            state: plan.state,
            commit: Some(if plan.at_head { head() } else { "c".repeat(40).parse().unwrap() }),
            submitted_at: plan.after.map(after),
        };
        PullFacts {
            history: History::default(),
            pull,
            commits: self.commits.iter().map(commit).collect(),
            reviews: (1..).zip(&self.reviews).map(review).collect(),
            extends: None,
        }
    }
}
