//! What has to be approved, and by whom. Rules are compared by their stages: what a rule or a stage is called has no effect.

use super::shift::{Difference, who};
use super::{About, Comparison, Danger, Right, Sentence, Topic};
use crate::access::principals::written_out;
use crate::access::reach::StageReach;
use crate::policy::condition::Expression;
use crate::policy::model::{Approval, Demand, Escalation, Part, Role, Stage};
use crate::policy::{Duration, Policy, Principal};

/// The stages of a role's rule.
pub(super) fn of_role<'p>(role: &Role, policy: &'p Policy) -> &'p [Stage] {
    policy.approvals.get(&role.approval).map(|rule| rule.stages.as_slice()).unwrap_or_default()
}

/// What a stage demands, whatever it is called.
#[derive(PartialEq)]
struct Content {
    demand: Demand,
    when: Option<String>,
    escalations: Vec<Escalation>,
}

impl Content {
    fn of(stage: &Stage, policy: &Policy) -> Self {
        let escalations = stage.escalate.iter().map(|step| {
            let to = written_out(&step.to, policy);
            Escalation { after: step.after, calendar: step.calendar.clone(), to }
        });
        Self {
            demand: flat(&stage.demand, policy),
            when: stage.when.as_ref().map(Expression::shape),
            escalations: escalations.collect(),
        }
    }
}

/// A demand with the members of groups in place of the groups; parts have no order.
fn flat(demand: &Demand, policy: &Policy) -> Demand {
    let mut parts: Vec<Part> = demand
        .parts()
        .map(|part| Part { approvers: written_out(&part.approvers, policy), required: part.required })
        .collect();
    parts.sort_by(|one, other| (&one.approvers, one.required).cmp(&(&other.approvers, other.required)));
    match demand {
        Demand::Any(_) if parts.len() > 1 => Demand::Any(parts),
        _ => Demand::All(parts),
    }
}

/// Whether whatever meets `new` meets `old`: then nothing is lost. Each part of a way of the old demand has a part of its own in
/// the new one, with as many people, of nobody else.
fn implies(new: &Demand, old: &Demand) -> bool {
    let at_least = |new: &Part, old: &Part| {
        let people = new.approvers.is_subset(&old.approvers) || old.approvers.contains(&Principal::Everyone);
        people && new.required >= old.required
    };
    let covers = |new: &[&Part], old: &[&Part]| {
        let mut left: Vec<&Part> = new.to_vec();
        old.iter().all(|old| {
            let found = left.iter().position(|new| at_least(new, old));
            found.map(|at| left.swap_remove(at)).is_some()
        })
    };
    new.ways().iter().all(|way| old.ways().iter().any(|before| covers(way, before)))
}

/// Whether no step lets anybody in sooner than the step of the same number did: the same people, later or at the same time.
fn no_sooner(new: &[Escalation], old: &[Escalation]) -> bool {
    let later = |(new, old): (&Escalation, &Escalation)| {
        // Of two calendars nobody can say which is slower; working time is never faster than all time.
        let slower = new.calendar == old.calendar || old.calendar.is_none();
        new.to.is_subset(&old.to) && slower && new.after >= old.after
    };
    new.len() <= old.len() && new.iter().zip(old).all(later)
}

/// A demand in words.
fn in_words(demand: &Demand) -> Sentence {
    let word = if matches!(demand, Demand::All(_)) { ", and " } else { ", or by " };
    let mut sentence = Sentence::default();
    for (index, part) in demand.parts().enumerate() {
        sentence = sentence.say(if index > 0 { word } else { "" }).say(&format!("{} of ", part.required));
        sentence = sentence.list(part.approvers.iter(), 10);
    }
    sentence
}

/// What a rule says about all of its stages.
pub(super) fn differ_as_a_whole(old: Option<&Approval>, new: Option<&Approval>) -> bool {
    let whole = |rule: Option<&Approval>| rule.map_or((true, None), |rule| (rule.distinct, rule.cool_down));
    whole(old) != whole(new)
}

/// Whether two rules do not demand the same.
pub(super) fn differ(old: (&[Stage], &Policy), new: (&[Stage], &Policy)) -> bool {
    old.0.len() != new.0.len()
        || old.0.iter().zip(new.0).any(|(before, after)| Content::of(before, old.1) != Content::of(after, new.1))
}

/// Which old stage a new one takes the place of: the one of its name, else one that demands the same.
fn partners(old: (&[Stage], &Policy), new: (&[Stage], &Policy)) -> Vec<Option<usize>> {
    let mut partners: Vec<Option<usize>> =
        new.0.iter().map(|stage| old.0.iter().position(|before| before.name == stage.name)).collect();
    for (index, stage) in new.0.iter().enumerate() {
        if partners[index].is_none() {
            let content = Content::of(stage, new.1);
            let same = |at: &usize| !partners.contains(&Some(*at)) && Content::of(&old.0[*at], old.1) == content;
            partners[index] = (0..old.0.len()).find(same);
        }
    }
    partners
}

impl Comparison<'_> {
    /// Compares the stages of two rules.
    pub(super) fn stages(&mut self, about: About<'_>, old: &[Stage], new: &[Stage]) {
        let partners = partners((old, self.old), (new, self.new));
        let dropped: Vec<&Stage> =
            (0..old.len()).filter(|at| !partners.contains(&Some(*at))).map(|at| &old[at]).collect();
        for stage in &dropped {
            self.dropped(about, stage, new.is_empty());
        }
        if new.is_empty() && !old.is_empty() {
            let names = old.iter().map(|stage| &stage.name);
            let sentence = Sentence::default().say("nobody has to approve any more; until now: ").list(names, 10);
            self.note(about, Danger::Critical, Topic::Stages, sentence);
        }
        for (stage, partner) in new.iter().zip(&partners) {
            match partner {
                Some(at) => self.stage(about, &old[*at], stage),
                None => self.added(about, stage),
            }
        }
        let order: Vec<usize> = partners.iter().flatten().copied().collect();
        if !order.is_sorted() {
            let names = new.iter().map(|stage| &stage.name);
            let sentence = Sentence::default().say("the stages come in another order: ").list(names, 10);
            self.note(about, Danger::Neutral, Topic::Stages, sentence);
        }
    }

    /// Compares what two rules say about all of their stages.
    pub(super) fn rule_as_a_whole(&mut self, about: About<'_>, old: Option<&Approval>, new: Option<&Approval>) {
        let (Some(old), Some(new)) = (old, new) else { return };
        if old.distinct != new.distinct {
            let (danger, text) = match new.distinct {
                false => (Danger::High, "the approval of one person now counts for several stages"),
                true => (Danger::Narrower, "the approval of one person now counts for one stage only"),
            };
            self.note(about, danger, Topic::Stages, Sentence::default().say(text));
        }
        if old.cool_down != new.cool_down {
            let told = |time: Option<Duration>| time.map_or("at once".to_owned(), |time| format!("after {time}"));
            let danger = if new.cool_down < old.cool_down { Danger::Low } else { Danger::Narrower };
            let (after, before) = (told(new.cool_down), told(old.cool_down));
            let text = format!("after a denial the same subject may ask again {after} instead of {before}");
            self.note(about, danger, Topic::Stages, Sentence::default().say(&text));
        }
    }

    fn dropped(&mut self, about: About<'_>, stage: &Stage, all: bool) {
        let reach = StageReach::of(stage, self.old, self.directory);
        let nobody = Default::default();
        self.shift(about, Right::Approve(stage.name.clone()), &reach.approvers, &nobody);
        self.shift(about, Right::ApproveInTheEnd(stage.name.clone()), reach.in_the_end(), &nobody);
        if !all {
            let sentence = Sentence::new("approval stage {} is gone; until now ", &[&stage.name])
                .then(asked(stage, &reach, self.old))
                .say(" had to approve");
            self.note(about, Danger::High, Topic::Stages, sentence);
        }
    }

    fn added(&mut self, about: About<'_>, stage: &Stage) {
        let reach = StageReach::of(stage, self.new, self.directory);
        let nobody = Default::default();
        self.shift(about, Right::Approve(stage.name.clone()), &nobody, &reach.approvers);
        self.shift(about, Right::ApproveInTheEnd(stage.name.clone()), &nobody, reach.in_the_end());
        let mut sentence = Sentence::new("approval stage {} is new: ", &[&stage.name])
            .then(asked(stage, &reach, self.new))
            .say(" must approve");
        if let Some(when) = &reach.when {
            sentence = sentence.say(", if ").quote(when);
        }
        if let Some((after, crowd)) = &reach.later {
            sentence = sentence.say(&format!("; after {after} ")).then(who(crowd)).say(" may");
        }
        self.note(about, Danger::Narrower, Topic::Stages, sentence);
    }

    /// Compares two stages that take each other's place.
    fn stage(&mut self, about: About<'_>, old: &Stage, new: &Stage) {
        if Content::of(old, self.old) == Content::of(new, self.new) {
            return;
        }
        let (before, after) =
            (StageReach::of(old, self.old, self.directory), StageReach::of(new, self.new, self.directory));
        let name = &new.name;
        self.at_once(about, &before, &after);
        self.in_the_end(about, &before, &after);
        let parts = old.demand.single().is_none() || new.demand.single().is_none();
        let demands = (flat(&old.demand, self.old), flat(&new.demand, self.new));
        if parts && demands.0 != demands.1 {
            let sentence = Sentence::new("stage {} is satisfied by ", &[name]).then(in_words(&demands.1));
            let sentence = sentence.say("; until now by ").then(in_words(&demands.0));
            let danger = match (implies(&demands.1, &demands.0), implies(&demands.0, &demands.1)) {
                (true, true) => Danger::Neutral,
                (true, false) => Danger::Narrower,
                (false, _) => Danger::High,
            };
            self.note(about, danger, Topic::Stages, sentence);
        } else if old.required() != new.required() {
            let danger = if new.required() < old.required() { Danger::High } else { Danger::Narrower };
            let sentence = Sentence::new("stage {}", &[name]).say(&format!(
                " needs {} to approve instead of {}",
                people(new.required()),
                old.required()
            ));
            self.note(about, danger, Topic::Stages, sentence);
        }
        let same = old.when.as_ref().map(Expression::shape) == new.when.as_ref().map(Expression::shape);
        let sentence = match (&before.when, &after.when) {
            _ if same => None,
            (None, Some(when)) => Some((Danger::High, Sentence::new("stage {} now only counts if {}", &[name, when]))),
            (Some(when), None) => {
                Some((Danger::Narrower, Sentence::new("stage {} now always counts, not only if {}", &[name, when])))
            }
            (Some(old), Some(new)) => {
                Some((Danger::High, Sentence::new("stage {} now counts if {}; until now if {}", &[name, new, old])))
            }
            (None, None) => None,
        };
        if let Some((danger, sentence)) = sentence {
            self.note(about, danger, Topic::Stages, sentence);
        }
        let times = (old.escalate.first().map(|step| step.after), new.escalate.first().map(|step| step.after));
        let calendar = |stage: &Stage| stage.escalate.first().map(|step| step.calendar.clone());
        let same_clock = calendar(old) == calendar(new);
        if let (Some(before), Some(after)) = times
            && before != after
            && same_clock
        {
            let (danger, word) = if after < before { (Danger::Low, "sooner") } else { (Danger::Narrower, "later") };
            let sentence = Sentence::new("stage {}", &[name])
                .say(&format!(" opens to others {word}: after {after} instead of {before}"));
            self.note(about, danger, Topic::Approvers, sentence);
        }
        let steps = |stage: &Stage, policy| Content::of(stage, policy).escalations;
        if old.escalate.len().max(new.escalate.len()) > 1 || times.0 == times.1 || !same_clock {
            let (before, after) = (steps(old, self.old), steps(new, self.new));
            let same_people = before.iter().map(|step| &step.to).eq(after.iter().map(|step| &step.to));
            if before != after && (same_people || before.len().max(after.len()) > 1) {
                let sentence = Sentence::new("stage {} opens to others in other steps: ", &[name]);
                let sentence = sentence.then(steps_in_words(&after)).say("; until now: ").then(steps_in_words(&before));
                let danger = if no_sooner(&after, &before) { Danger::Narrower } else { Danger::Low };
                self.note(about, danger, Topic::Approvers, sentence);
            }
        }
    }

    /// Who may approve as soon as the stage opens.
    fn at_once(&mut self, about: About<'_>, before: &StageReach, after: &StageReach) {
        let name = &after.name;
        let (gained, lost) = self.shift(about, Right::Approve(name.clone()), &before.approvers, &after.approvers);
        let verb = Sentence::new("approve stage {}", &[name]);
        if gained.is_empty() {
            self.dormant(about, &before.approvers, &after.approvers, &verb);
        } else {
            let danger = if gained.crowd.everyone { Danger::High.raised() } else { Danger::High };
            self.note(about, danger, Topic::Approvers, gained.who("already").say(" may now ").then(verb.clone()));
        }
        // Whoever may still do so in the end, only has to wait.
        let (mut gone, mut waiting) = (lost.crowd.clone(), lost.crowd);
        let later = after.in_the_end();
        gone.people.retain(|account| !later.people.contains(account));
        gone.unknown.retain(|slug| !later.unknown.contains(slug) && !later.everyone);
        gone.everyone &= !later.everyone;
        waiting.people.retain(|account| later.people.contains(account));
        waiting.unknown.retain(|slug| later.unknown.contains(slug) || later.everyone);
        waiting.everyone &= later.everyone;
        for (crowd, words) in [(gone, " may no longer "), (waiting, " may only after a while ")] {
            if !crowd.is_empty() {
                let lost = Difference { crowd, unless: lost.unless.clone() };
                self.note(about, Danger::Narrower, Topic::Approvers, lost.who("still").say(words).then(verb.clone()));
            }
        }
    }

    /// Who may approve only after a stage has waited. Whoever gains or loses it from the beginning was told already.
    fn in_the_end(&mut self, about: About<'_>, before: &StageReach, after: &StageReach) {
        let name = &after.name;
        let (mut gained, mut lost) =
            self.shift(about, Right::ApproveInTheEnd(name.clone()), before.in_the_end(), after.in_the_end());
        let told = |crowd: &mut crate::access::reach::Crowd, these: &crate::access::reach::Crowd| {
            crowd.people.retain(|account| !these.people.contains(account));
            crowd.unknown.retain(|slug| !these.unknown.contains(slug));
            crowd.everyone &= !these.everyone;
            crowd.principals.retain(|principal| !these.principals.contains(principal));
        };
        told(&mut gained.crowd, &after.approvers);
        told(&mut lost.crowd, &before.approvers);
        let time = |reach: &StageReach| reach.later.as_ref().map(|(after, _)| after.to_string()).unwrap_or_default();
        if !gained.is_empty() {
            let sentence = gained.who("already").then(Sentence::new(" may now approve stage {}", &[name]));
            let sentence = sentence.say(&format!(" after it has waited {}", time(after)));
            self.note(about, Danger::Medium, Topic::Approvers, sentence);
        }
        if !lost.is_empty() {
            let sentence = lost.who("still").then(Sentence::new(" may no longer approve stage {}", &[name]));
            let sentence = sentence.say(&format!(" after it has waited {}", time(before)));
            self.note(about, Danger::Narrower, Topic::Approvers, sentence);
        }
    }
}

/// Who has to approve a stage: so many of these, or its parts.
fn asked(stage: &Stage, reach: &StageReach, policy: &Policy) -> Sentence {
    match stage.demand.single() {
        Some(part) => Sentence::default().say(&format!("{} of ", part.required)).then(who(&reach.approvers)),
        None => in_words(&flat(&stage.demand, policy)),
    }
}

/// When a stage widens, and to whom.
fn steps_in_words(steps: &[Escalation]) -> Sentence {
    let mut sentence = Sentence::default();
    for (index, step) in steps.iter().enumerate() {
        let hours = step.calendar.as_ref().map(|calendar| format!(" of working time ({calendar})")).unwrap_or_default();
        let word = if index > 0 { ", then " } else { "" };
        sentence = sentence.say(&format!("{word}after {}{hours} to ", step.after)).list(step.to.iter(), 10);
    }
    if steps.is_empty() { sentence.say("never") } else { sentence }
}

fn people(count: u32) -> String {
    if count == 1 { "1 person".to_owned() } else { format!("{count} people") }
}
