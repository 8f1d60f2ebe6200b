//! The decision as a patient person would make it with paper and pencil, from the sentences of the design and not from the code:
//! it tries out who could sit where, and when.

use std::collections::{BTreeMap, BTreeSet};

use daypass::access::facts::ReviewState;

use crate::generate::{Ask, Organisation, PEOPLE, Plan, ROBOT, RolePlan, StagePlan, Test, Who};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Refused,
    Objected,
    Waiting,
    Approved,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Skipped,
    Satisfied,
    Open,
    Waiting,
}

#[derive(Debug, PartialEq, Eq)]
pub struct Outcome {
    pub verdict: Verdict,
    /// Codes of what breaks a rule.
    pub codes: BTreeSet<&'static str>,
    /// The stages by name, and where they stand.
    pub stages: Vec<(usize, State)>,
    /// Which of them have widened.
    pub widened: Vec<usize>,
}

pub struct Judge<'a> {
    pub plan: &'a Plan,
    pub organisation: &'a Organisation,
    pub ask: &'a Ask,
}

impl Judge<'_> {
    /// Whether a principal includes somebody: people only while they are members; a bot only by its own name.
    fn is(&self, who: Who, person: usize) -> bool {
        let member = self.organisation.members.contains(&person);
        match who {
            Who::App => person == ROBOT,
            Who::Person(named) => member && named == person,
            Who::Team(team) => member && self.organisation.teams[team].contains(&person),
            Who::Group(group) => self.plan.groups[group].iter().any(|who| self.is(*who, person)),
            Who::Everyone => member,
        }
    }

    fn among(&self, who: &BTreeSet<Who>, person: usize) -> bool {
        who.iter().any(|who| self.is(*who, person))
    }

    fn subject(&self) -> usize {
        self.ask.subject.unwrap_or(self.ask.author)
    }

    fn holds(&self, test: Test) -> bool {
        match test {
            Test::TicketIsIncident => self.ask.ticket.is_some_and(|ticket| ticket.starts_with("INC-")),
            Test::NoLongerThan(minutes) => self.ask.minutes <= minutes,
            Test::LongerThan(minutes) => self.ask.minutes > minutes,
            Test::InTeam(team) => self.organisation.teams[team].contains(&self.subject()),
            Test::InGroup(group) => self.is(Who::Group(group), self.subject()),
            Test::NotForOthers => self.ask.author == self.subject(),
        }
    }

    /// Whoever asks, gets the access, or is an author, committer or co-author of a commit. An address in the policy tells who
    /// wrote a commit.
    fn has_a_hand_in_it(&self, person: usize) -> bool {
        let wrote = |commit: &crate::generate::CommitPlan| {
            commit.author == Some(person)
                || commit.committer == Some(person)
                || commit.coauthors.contains(&person)
                || (commit.addresses.contains(&person) && self.plan.addressed.contains(&person))
        };
        person == self.ask.author || person == self.subject() || self.ask.commits.iter().any(wrote)
    }

    pub fn outcome(&self) -> Outcome {
        let mut codes = BTreeSet::new();
        let Some(role) = self.plan.roles.get(&self.ask.role) else {
            codes.insert("DP0202");
            return Outcome { verdict: Verdict::Refused, codes, stages: Vec::new(), widened: Vec::new() };
        };
        self.terms(role, &mut codes);
        self.who_asks(role, &mut codes);
        if self.ask.commits.iter().any(|commit| commit.author.is_none() || commit.committer.is_none()) {
            codes.insert("DP0506");
        }
        let none = Vec::new();
        // An emergency waits for nobody.
        let rule = if self.ask.break_glass { &none } else { &self.plan.rules[role.rule] };
        let stages = self.stages(rule, self.plan.shared.contains(&role.rule));
        self.machine(role, &stages, &mut codes);
        let nobody_can = stages.iter().any(|stage| stage.nobody_can);
        if nobody_can {
            codes.insert("DP0415");
        }
        let objected = self.latest().values().any(|review| {
            // A bot that is named as an approver approves nothing, but its no is a no.
            review.by.is_some_and(|by| {
                review.state == ReviewState::ChangesRequested
                    && !self.has_a_hand_in_it(by)
                    && stages.iter().any(|stage| stage.state != State::Skipped && self.among(&stage.approvers, by))
            })
        });
        let done = |stage: &Stage<'_>| matches!(stage.state, State::Satisfied | State::Skipped);
        let verdict = match () {
            () if !codes.is_empty() => Verdict::Refused,
            () if objected => Verdict::Objected,
            () if stages.iter().all(done) => Verdict::Approved,
            () => Verdict::Waiting,
        };
        Outcome {
            verdict,
            codes,
            stages: stages.iter().map(|stage| (stage.plan.name, stage.state)).collect(),
            widened: stages.iter().filter(|stage| stage.widened).map(|stage| stage.plan.name).collect(),
        }
    }

    /// A machine gets an hour at most, breaks no glass, and gets nothing where no human has to approve.
    fn machine(&self, role: &RolePlan, stages: &[Stage<'_>], codes: &mut BTreeSet<&'static str>) {
        if self.ask.author != ROBOT && self.subject() != ROBOT {
            return;
        }
        if self.ask.minutes > role.ceiling.unwrap_or(u64::MAX).min(self.plan.ceiling).min(60) {
            codes.insert("DP0404");
        }
        if self.ask.break_glass || stages.iter().all(|stage| stage.state == State::Skipped) {
            codes.insert("DP0419");
        }
    }

    /// The terms of the role: durations, tickets, planned windows, conditions, a name in the target.
    fn terms(&self, role: &RolePlan, codes: &mut BTreeSet<&'static str>) {
        let ceiling = role.ceiling.unwrap_or(u64::MAX).min(self.plan.ceiling);
        let ceiling = match (&role.glass, self.ask.break_glass) {
            (Some((_, own)), true) => own.unwrap_or(ceiling.min(60)),
            (None, true) => {
                codes.insert("DP0412");
                ceiling
            }
            (_, false) => ceiling,
        };
        if self.ask.minutes > ceiling {
            codes.insert("DP0404");
        }
        if self.ask.break_glass && self.ask.start.is_some() {
            codes.insert("DP0422");
        }
        if role.ticket && self.ask.ticket.is_none() {
            codes.insert("DP0405");
        }
        if role.start && self.ask.start.is_none() {
            codes.insert("DP0406");
        }
        if role.conditions.iter().any(|condition| !self.holds(*condition)) {
            codes.insert("DP0407");
        }
        if role.needs_mapping && !self.plan.mapped.contains(&self.subject()) {
            codes.insert("DP0413");
        }
        if let Some(start) = self.ask.start {
            if start > self.ask.judged + 90 * 24 * 60 {
                codes.insert("DP0416");
            } else if start + i64::try_from(self.ask.minutes).unwrap() <= self.ask.judged {
                codes.insert("DP0417");
            }
        }
    }

    fn who_asks(&self, role: &RolePlan, codes: &mut BTreeSet<&'static str>) {
        if self.ask.author != self.subject() && !self.among(&role.on_behalf, self.ask.author) {
            codes.insert("DP0402");
            return;
        }
        let may_have = match (&role.glass, self.ask.break_glass) {
            (Some((who, _)), true) => who,
            _ => &role.requesters,
        };
        // Nor does anybody break the glass for others who may not break it.
        let both =
            self.among(may_have, self.subject()) && (!self.ask.break_glass || self.among(may_have, self.ask.author));
        if !both {
            codes.insert("DP0401");
        }
    }

    /// The last thing each person said, before the merge if there was one: yes, no, or withdrawn.
    fn latest(&self) -> BTreeMap<Option<usize>, crate::generate::ReviewPlan> {
        let mut latest = BTreeMap::new();
        for review in &self.ask.reviews {
            let says =
                matches!(review.state, ReviewState::Approved | ReviewState::ChangesRequested | ReviewState::Dismissed);
            let in_time = !self.ask.merged || review.after.is_some_and(|after| after <= self.ask.judged);
            if says && in_time {
                latest.insert(review.by, *review);
            }
        }
        latest
    }

    /// Who says yes to the head and counts, and since when.
    fn yes(&self) -> BTreeMap<usize, i64> {
        let counts = |review: &crate::generate::ReviewPlan| {
            let by = review.by?;
            let good = review.state == ReviewState::Approved && review.at_head && by != ROBOT;
            (good && !self.has_a_hand_in_it(by)).then_some((by, review.after.unwrap_or(0)))
        };
        self.latest().values().filter_map(counts).collect()
    }

    /// Goes through the stages in order. A stage opens when all before it are satisfied, each by different people; if it stays
    /// unsatisfied it widens, counted from when it opened.
    fn stages<'p>(&self, rule: &'p [StagePlan], shared: bool) -> Vec<Stage<'p>> {
        let yes = self.yes();
        let mut opened = Some(0);
        let mut stages: Vec<Stage<'p>> = Vec::new();
        for plan in rule {
            let counts = plan.when.is_none_or(|when| self.holds(when));
            let mut stage = Stage {
                plan,
                state: State::Skipped,
                approvers: plan.parts().into_iter().flat_map(|(_, who)| who.clone()).collect(),
                steps: Vec::new(),
                widened: false,
                opened,
                nobody_can: false,
            };
            if counts {
                for (after, to) in plan.steps() {
                    let Some(due) = opened.map(|opened| opened + after) else { continue };
                    if due <= self.ask.judged {
                        stage.widened = true;
                        stage.approvers.extend(to);
                        stage.steps.push((due, to));
                    }
                }
                let was_open = opened.is_some();
                stage.state = State::Waiting;
                stages.push(stage);
                opened = if was_open { self.satisfied_at(&stages, &yes, shared) } else { None };
                let Some(stage) = stages.last_mut() else { continue };
                stage.state = match (was_open, opened) {
                    (false, _) => State::Waiting,
                    (true, None) => State::Open,
                    (true, Some(_)) => State::Satisfied,
                };
                let later = was_open && stage.steps.len() < plan.steps().len();
                let could = self.ways(plan).into_iter().any(|way| {
                    let seats = way.into_iter().filter_map(|(required, who)| {
                        let mut who = who.clone();
                        stage.steps.iter().for_each(|(_, to)| who.extend(*to));
                        let free = |person: &usize| self.among(&who, *person) && !self.has_a_hand_in_it(*person);
                        // Whoever joins the organisation could approve too.
                        (!self.has_everyone(&who)).then(|| (required, (0..PEOPLE).filter(free).collect()))
                    });
                    let seats: Vec<BTreeSet<usize>> =
                        seats.flat_map(|(required, who)| std::iter::repeat_n(who, required)).collect();
                    fits(&seats, &mut BTreeSet::new())
                });
                stage.nobody_can = stage.state != State::Satisfied && !later && !could;
            } else {
                stages.push(stage);
            }
        }
        stages
    }

    /// The ways in which a stage can be satisfied.
    fn ways<'p>(&self, plan: &'p StagePlan) -> Vec<Vec<(usize, &'p BTreeSet<Who>)>> {
        match plan.other {
            Some((false, ..)) => plan.parts().into_iter().map(|part| vec![part]).collect(),
            _ => vec![plan.parts()],
        }
    }

    fn has_everyone(&self, who: &BTreeSet<Who>) -> bool {
        who.iter().any(|who| match who {
            Who::Everyone => true,
            Who::Group(group) => self.plan.groups[*group].contains(&Who::Everyone),
            _ => false,
        })
    }

    /// The first minute at which all these stages are satisfied, by trying every minute something happens, and every way.
    fn satisfied_at(&self, stages: &[Stage<'_>], yes: &BTreeMap<usize, i64>, shared: bool) -> Option<i64> {
        let opened = stages.last()?.opened?;
        let widened = stages.iter().flat_map(|stage| &stage.steps).map(|(at, _)| *at);
        let mut times: BTreeSet<i64> = yes.values().copied().chain(widened).collect();
        times.insert(opened);
        let counting: Vec<&Stage<'_>> = stages.iter().filter(|stage| stage.state != State::Skipped).collect();
        // What was approved before the pull request was judged counts, however the clocks went.
        times.into_iter().filter(|time| *time >= opened).find(|time| {
            let mut choices: Vec<Vec<Vec<BTreeSet<usize>>>> = vec![Vec::new()];
            for stage in &counting {
                let ways = self.ways(stage.plan).into_iter().map(|way| self.seats(stage, way, yes, *time));
                let ways: Vec<Vec<BTreeSet<usize>>> = ways.collect();
                choices = choices
                    .into_iter()
                    .flat_map(|choice| ways.iter().map(move |way| [choice.clone(), vec![way.clone()]].concat()))
                    .collect();
            }
            choices.into_iter().any(|choice| match shared {
                true => choice.iter().all(|seats| fits(seats, &mut BTreeSet::new())),
                false => fits(&choice.concat(), &mut BTreeSet::new()),
            })
        })
    }

    /// Who could take each seat of a stage by then.
    fn seats(
        &self,
        stage: &Stage<'_>,
        way: Vec<(usize, &BTreeSet<Who>)>,
        yes: &BTreeMap<usize, i64>,
        time: i64,
    ) -> Vec<BTreeSet<usize>> {
        let seats = way.into_iter().flat_map(|(required, who)| {
            let sits = |person: &usize| {
                let early = self.among(who, *person);
                let late = stage.steps.iter().any(|(at, to)| *at <= time && self.among(to, *person));
                yes[person] <= time && (early || late)
            };
            let who: BTreeSet<usize> = yes.keys().copied().filter(sits).collect();
            std::iter::repeat_n(who, required)
        });
        seats.collect()
    }
}

struct Stage<'p> {
    plan: &'p StagePlan,
    state: State,
    approvers: BTreeSet<Who>,
    /// When it has widened, and to whom.
    steps: Vec<(i64, &'p BTreeSet<Who>)>,
    widened: bool,
    opened: Option<i64>,
    nobody_can: bool,
}

/// Whether every seat can be taken by somebody of its own, by trying all.
fn fits(seats: &[BTreeSet<usize>], taken: &mut BTreeSet<usize>) -> bool {
    let Some((seat, rest)) = seats.split_first() else { return true };
    seat.iter().any(|person| {
        if !taken.insert(*person) {
            return false;
        }
        let all = fits(rest, taken);
        taken.remove(person);
        all
    })
}
