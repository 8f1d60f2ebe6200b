//! Roles, one by one: who may ask, for how long, on which terms, and what they give.

use std::collections::{BTreeMap, BTreeSet};

use super::readers::readers;
use super::shift::who;
use super::stages::of_role;
use super::{About, Comparison, Danger, Right, Sentence, Topic};
use crate::access::principals::written_out;
use crate::access::reach::{Crowd, RoleReach};
use crate::policy::condition::Template;
use crate::policy::model::{BreakGlass, ParamKind, ParamSpec, Requirement, Role};
use crate::policy::name::ParamName;
use crate::policy::{Duration, Policy, Principal};

impl Comparison<'_> {
    pub(super) fn roles(&mut self) {
        let (old, new) = (self.old, self.new);
        for (name, role) in &new.roles {
            match old.roles.get(name) {
                Some(before) => self.role(before, role),
                None => self.new_role(role),
            }
        }
        for role in old.roles.values().filter(|role| !new.roles.contains_key(&role.name)) {
            self.removed_role(role);
        }
    }

    fn new_role(&mut self, role: &Role) {
        let about = About { role: Some(&role.name), risk: role.risk };
        let reach = RoleReach::of(role, self.new, self.directory);
        let nobody = Crowd::default();
        self.shifts_of(about, &reach, |crowd| (&nobody, crowd));
        let free = reach.stages.is_empty() && !reach.requesters.is_empty();
        let danger = if free || reach.break_glass.is_some() { Danger::High } else { Danger::Medium };
        let mut sentence = Sentence::default()
            .say(&format!("new role, risk {}: ", role.risk.as_str()))
            .then(who(&reach.requesters))
            .say(&format!(" may request it for up to {}", role.max_duration));
        sentence = match reach.stages.as_slice() {
            [] => sentence.say(", without anybody's approval"),
            stages => sentence.say(", approved by ").list(stages.iter().map(|stage| &stage.name), 10),
        };
        if let Some((crowd, most, _)) = &reach.break_glass {
            sentence = sentence.say("; ").then(who(crowd)).say(&format!(" may break the glass for up to {most}"));
        }
        sentence = sentence.say("; it gives ").list(gives(role).into_values().collect::<BTreeSet<_>>().into_iter(), 10);
        self.note(about, danger, Topic::Role, sentence);
    }

    fn removed_role(&mut self, role: &Role) {
        let about = About { role: Some(&role.name), risk: role.risk };
        let reach = RoleReach::of(role, self.old, self.directory);
        let nobody = Crowd::default();
        self.shifts_of(about, &reach, |crowd| (crowd, &nobody));
        let sentence = Sentence::default()
            .say("the role is gone; until now ")
            .then(who(&reach.requesters))
            .say(" could request it");
        self.note(about, Danger::Narrower, Topic::Role, sentence);
    }

    /// Notes every right of a role that comes or goes as a whole.
    fn shifts_of<'c>(
        &mut self,
        about: About<'_>,
        reach: &'c RoleReach,
        sides: impl Fn(&'c Crowd) -> (&'c Crowd, &'c Crowd),
    ) {
        let mut rights = vec![(Right::Request, &reach.requesters), (Right::RequestFor, &reach.on_behalf)];
        rights.extend(reach.break_glass.as_ref().map(|(crowd, ..)| (Right::BreakGlass, crowd)));
        for stage in &reach.stages {
            rights.push((Right::Approve(stage.name.clone()), &stage.approvers));
            rights.push((Right::ApproveInTheEnd(stage.name.clone()), stage.in_the_end()));
        }
        for (right, crowd) in rights {
            let (old, new) = sides(crowd);
            self.shift(about, right, old, new);
        }
    }

    fn role(&mut self, old: &Role, new: &Role) {
        let about = About { role: Some(&new.name), risk: old.risk.max(new.risk) };
        let stages = (of_role(old, self.old), of_role(new, self.new));
        let danger = if stages.1.is_empty() { Danger::High } else { Danger::Medium };
        let right = (Right::Request, Topic::Requesters, danger);
        self.principals(about, right, (&old.requesters, &new.requesters), "request it");
        let right = (Right::RequestFor, Topic::OnBehalf, Danger::Low);
        self.principals(about, right, (&old.may_request_for, &new.may_request_for), "request it for somebody else");
        self.break_glass(about, old.break_glass.as_ref(), new.break_glass.as_ref());
        self.ceiling(about, Topic::Ceiling, "access may last", (old.max_duration, new.max_duration), Danger::Medium);
        self.limit(about, old.limit, new.limit);
        self.requirements(about, &old.requires, &new.requires);
        self.conditions(about, old, new);
        self.stages(about, stages.0, stages.1);
        let rules = (self.old.approvals.get(&old.approval), self.new.approvals.get(&new.approval));
        self.rule_as_a_whole(about, rules.0, rules.1);
        self.machines(about, old, new);
        self.entitlements(about, old, new);
        self.params(about, &old.params, &new.params);
        self.words(old, new);
    }

    /// Compares what is no right by itself, but can be asked for by the role's expressions.
    fn words(&mut self, old: &Role, new: &Role) {
        let asking = |field: &str| -> BTreeSet<String> {
            let both = [readers(old, self.old, &["role", field]), readers(new, self.new, &["role", field])];
            both.into_iter().flatten().collect()
        };
        let mut found = Vec::new();
        if old.risk != new.risk {
            let sentence =
                Sentence::default().say(&format!("its risk is {} instead of {}", new.risk.as_str(), old.risk.as_str()));
            let danger = if new.risk < old.risk { Danger::Medium } else { Danger::Narrower };
            found.push((asking("risk"), danger, sentence));
        }
        let asking_for_words = asking("description");
        // Words for people have no effect.
        if old.description != new.description && !asking_for_words.is_empty() {
            let sentence = Sentence::new("its description is {} instead of {}", &[&new.description, &old.description]);
            found.push((asking_for_words, Danger::High, sentence));
        }
        for (asking, danger, sentence) in found {
            // What an expression makes of it may be more than it was.
            let (danger, sentence) = match asking.is_empty() {
                true => (danger, sentence),
                false => {
                    let sentence = sentence.say("; expressions ask for it: ").list(asking.iter(), 5);
                    (danger.max(Danger::High), sentence)
                }
            };
            self.effects.push(super::Effect { danger, topic: Topic::Risk, role: Some(new.name.clone()), sentence });
        }
    }

    /// Compares how many may have it at the same time.
    fn limit(&mut self, about: About<'_>, old: Option<u32>, new: Option<u32>) {
        if old == new {
            return;
        }
        let told = |limit: Option<u32>| limit.map_or("any number".to_owned(), |limit| limit.to_string());
        let wider = new.unwrap_or(u32::MAX) > old.unwrap_or(u32::MAX);
        let danger = if wider { Danger::Medium } else { Danger::Narrower };
        let text = format!("{} may have it at the same time instead of {}", told(new), told(old));
        self.note(about, danger, Topic::Ceiling, Sentence::default().say(&text));
    }

    /// Compares what holds for bots, if any may ask at all.
    fn machines(&mut self, about: About<'_>, old: &Role, new: &Role) {
        let asks = |role: &Role, policy: &Policy| {
            let who = role.requesters.union(&role.may_request_for).cloned().collect();
            written_out(&who, policy).iter().any(|principal| matches!(principal, Principal::App(_)))
        };
        if !asks(old, self.old) && !asks(new, self.new) {
            return;
        }
        let ceilings = (old.machines.max_duration, new.machines.max_duration);
        self.ceiling(about, Topic::Ceiling, "access of machines may last", ceilings, Danger::Medium);
        let sponsors = |role: &Role, policy| written_out(&role.machines.sponsors, policy);
        let (before, after) = (sponsors(old, self.old), sponsors(new, self.new));
        if before != after {
            let told = |these: &BTreeSet<Principal>| match these.is_empty() {
                true => Sentence::default().say("whoever approves"),
                false => Sentence::default().list(these.iter(), 10),
            };
            let sentence = Sentence::default().say("machines are vouched for by ").then(told(&after));
            let sentence = sentence.say(" instead of ").then(told(&before));
            self.note(about, Danger::High, Topic::Approvers, sentence);
        }
    }

    /// Compares who has a right that principals are given; who is behind them is only looked up if they differ.
    fn principals(
        &mut self,
        about: About<'_>,
        right: (Right, Topic, Danger),
        (old, new): (&BTreeSet<Principal>, &BTreeSet<Principal>),
        verb: &str,
    ) {
        if written_out(old, self.old) != written_out(new, self.new) {
            let before = Crowd::of(old, self.old, self.directory);
            let after = Crowd::of(new, self.new, self.directory);
            self.right(about, right, (&before, &after), &Sentence::default().say(verb));
        }
    }

    fn break_glass(&mut self, about: About<'_>, old: Option<&BreakGlass>, new: Option<&BreakGlass>) {
        let nobody = BTreeSet::new();
        let who = |path: Option<&'_ BreakGlass>| path.map_or_else(|| nobody.clone(), |path| path.requesters.clone());
        let right = (Right::BreakGlass, Topic::BreakGlass, Danger::High);
        self.principals(about, right, (&who(old), &who(new)), "break the glass for it: have it without approval");
        let (Some(old), Some(new)) = (old, new) else { return };
        let lengths = (old.max_duration, new.max_duration);
        self.ceiling(about, Topic::BreakGlass, "break-glass access may last", lengths, Danger::Medium);
        let windows = (old.review_within, new.review_within);
        self.ceiling(about, Topic::BreakGlass, "its review may take", windows, Danger::Low);
    }

    fn ceiling(
        &mut self,
        about: About<'_>,
        topic: Topic,
        what: &str,
        (old, new): (Duration, Duration),
        danger: Danger,
    ) {
        if old != new {
            let danger = if new > old { danger } else { Danger::Narrower };
            let sentence = Sentence::default().say(&format!("{what} {new} instead of {old}"));
            self.note(about, danger, topic, sentence);
        }
    }

    fn requirements(&mut self, about: About<'_>, old: &BTreeSet<Requirement>, new: &BTreeSet<Requirement>) {
        let name = |requirement: &Requirement| match requirement {
            Requirement::Ticket => "ticket",
            Requirement::Start => "start",
        };
        for gone in old.difference(new) {
            let sentence = Sentence::new("a request no longer needs a {}", &[&name(gone)]);
            self.note(about, Danger::Medium, Topic::Requirements, sentence);
        }
        for added in new.difference(old) {
            let sentence = Sentence::new("a request now needs a {}", &[&name(added)]);
            self.note(about, Danger::Narrower, Topic::Requirements, sentence);
        }
    }

    fn conditions(&mut self, about: About<'_>, old: &Role, new: &Role) {
        // What they say counts, not how they are written.
        let by_shape = |role: &Role| -> Vec<(String, String)> {
            let expressions = role.conditions.iter().map(|condition| &condition.expression);
            expressions.map(|expression| (expression.shape(), expression.source().trim().to_owned())).collect()
        };
        let (old, new) = (by_shape(old), by_shape(new));
        let only = |these: &[(String, String)], those: &[(String, String)]| -> Vec<String> {
            let new = these.iter().filter(|(shape, _)| !those.iter().any(|(known, _)| known == shape));
            new.map(|(_, source)| source.clone()).collect()
        };
        let (gone, added) = (only(&old, &new), only(&new, &old));
        for (index, before) in gone.iter().enumerate() {
            let (danger, sentence) = match added.get(index) {
                Some(after) => (Danger::High, Sentence::new("a condition is now {}; until now {}", &[after, before])),
                None => (Danger::High, Sentence::new("the condition {} is gone", &[before])),
            };
            self.note(about, danger, Topic::Conditions, sentence);
        }
        for text in added.iter().skip(gone.len()) {
            let sentence = Sentence::new("there is another condition: {}", &[text]);
            self.note(about, Danger::Narrower, Topic::Conditions, sentence);
        }
    }

    fn entitlements(&mut self, about: About<'_>, old: &Role, new: &Role) {
        let (old, new) = (gives(old), gives(new));
        for (_, given) in new.iter().filter(|(shape, _)| !old.contains_key(*shape)) {
            self.note(about, Danger::High, Topic::Entitlements, Sentence::new("it also gives {}", &[given]));
        }
        for (_, gone) in old.iter().filter(|(shape, _)| !new.contains_key(*shape)) {
            self.note(about, Danger::Narrower, Topic::Entitlements, Sentence::new("it no longer gives {}", &[gone]));
        }
    }

    fn params(&mut self, about: About<'_>, old: &BTreeMap<ParamName, ParamSpec>, new: &BTreeMap<ParamName, ParamSpec>) {
        for (name, spec) in new {
            let values = values(spec);
            match old.get(name) {
                None => {
                    let sentence = Sentence::new("it takes the parameter {}: {}", &[name, &values]);
                    self.note(about, Danger::Low, Topic::Parameters, sentence);
                }
                Some(before) if before.kind != spec.kind => {
                    let danger = if narrower(&spec.kind, &before.kind) { Danger::Narrower } else { Danger::Medium };
                    let before = self::values(before);
                    let sentence = Sentence::new("parameter {} may be {}; until now {}", &[name, &values, &before]);
                    self.note(about, danger, Topic::Parameters, sentence);
                }
                Some(before) if before.default != spec.default => {
                    let text = |spec: &ParamSpec| match &spec.default {
                        Some(value) => Sentence::new("{}", &[value]),
                        None => Sentence::default().say("required"),
                    };
                    let sentence = Sentence::new("parameter {}, if left out, is ", &[name])
                        .then(text(spec))
                        .say("; until now ")
                        .then(text(before));
                    self.note(about, Danger::Low, Topic::Parameters, sentence);
                }
                Some(_) => {}
            }
        }
        for name in old.keys().filter(|name| !new.contains_key(*name)) {
            let sentence = Sentence::new("it no longer takes the parameter {}", &[name]);
            self.note(about, Danger::Neutral, Topic::Parameters, sentence);
        }
    }
}

/// What a role gives, each piece in the words of its template, by what it says however it is written.
fn gives(role: &Role) -> BTreeMap<String, String> {
    let of = |template: &crate::policy::entitlement::EntitlementTemplate| -> Vec<(String, String)> {
        let target = &template.target;
        let say = |pieces: &[(&str, &Template)], text: &dyn Fn(&Template) -> String| {
            let texts: Vec<String> =
                pieces.iter().map(|(what, template)| format!("{what} {}", text(template))).collect();
            format!("{} on {target}", texts.join(", "))
        };
        let one = |pieces: &[(&str, &Template)]| {
            (say(pieces, &Template::shape), say(pieces, &|template| template.source().to_owned()))
        };
        template.access.pieces().iter().map(|pieces| one(pieces)).collect()
    };
    role.entitlements.iter().flat_map(of).collect()
}

fn values(spec: &ParamSpec) -> String {
    match &spec.kind {
        ParamKind::String => "any text".to_owned(),
        ParamKind::Integer => "any whole number".to_owned(),
        ParamKind::Boolean => "true or false".to_owned(),
        ParamKind::OneOf(values) => values.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
    }
}

/// Whether every value of `kind` is one of `of`.
fn narrower(kind: &ParamKind, of: &ParamKind) -> bool {
    let ParamKind::OneOf(values) = kind else { return false };
    let spec = ParamSpec { kind: of.clone(), default: None, description: String::new() };
    values.iter().all(|value| spec.problem(value).is_none())
}
