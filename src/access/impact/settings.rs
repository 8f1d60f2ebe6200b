//! What is not about one role: settings, who people are elsewhere, targets.

use std::collections::{BTreeMap, BTreeSet};

use super::readers::judges_by_name;
use super::{About, Comparison, Danger, Sentence, Topic};
use crate::policy::Policy;
use crate::policy::model::{MergeMethod, MergeMode, Person, Risk, Stage};
use crate::policy::name::{Login, RoleName};

impl Comparison<'_> {
    pub(super) fn settings(&mut self) {
        let (old, new) = (&self.old.settings, &self.new.settings);
        let (old_ceiling, new_ceiling) = (old.max_duration, new.max_duration);
        if old_ceiling != new_ceiling {
            let danger = if new_ceiling > old_ceiling { Danger::Low } else { Danger::Narrower };
            let text = format!("the ceiling over every role is {new_ceiling} instead of {old_ceiling}");
            self.note_overall(danger, Topic::Settings, Sentence::default().say(&text));
        }
        if old.merge != new.merge {
            let (danger, text) = match new.merge {
                MergeMode::Auto => (Danger::Low, "Daypass merges what is approved; until now a person did"),
                MergeMode::Manual => (Danger::Narrower, "a person merges what is approved; until now Daypass did"),
            };
            self.note_overall(danger, Topic::Settings, Sentence::default().say(text));
        }
        if old.merge_method != new.merge_method {
            let word = |method| match method {
                MergeMethod::Merge => "merge",
                MergeMethod::Squash => "squash",
                MergeMethod::Rebase => "rebase",
            };
            let sentence = Sentence::new(
                "the merge method is {} instead of {}",
                &[&word(new.merge_method), &word(old.merge_method)],
            );
            self.note_overall(Danger::Neutral, Topic::Settings, sentence);
        }
        if old.revert_lead != new.revert_lead {
            let text = format!(
                "the pull request that takes access back is opened {} before the end instead of {}",
                new.revert_lead, old.revert_lead
            );
            self.note_overall(Danger::Neutral, Topic::Settings, Sentence::default().say(&text));
        }
        if old.pending_timeout != new.pending_timeout {
            let danger = if new.pending_timeout > old.pending_timeout { Danger::Low } else { Danger::Narrower };
            let text = format!(
                "a request may wait for approval for {} instead of {}",
                new.pending_timeout, old.pending_timeout
            );
            self.note_overall(danger, Topic::Settings, Sentence::default().say(&text));
        }
        self.policy_approval();
    }

    /// Who may approve changes of the policy: whoever gets hold of this gets hold of everything.
    fn policy_approval(&mut self) {
        fn stages(policy: &Policy) -> Option<Vec<Stage>> {
            let rule = policy.settings.policy_approval.as_ref().and_then(|name| policy.approvals.get(name))?;
            // For changes of the policy every stage counts, whatever its condition.
            let always = rule.stages.iter().map(|stage| Stage { when: None, ..stage.clone() });
            Some(always.collect()).filter(|stages: &Vec<Stage>| !stages.is_empty())
        }
        // As dangerous as a critical role.
        let about = About { role: None, risk: Risk::Critical };
        match (stages(self.old), stages(self.new)) {
            (Some(old), Some(new)) => {
                let noted = self.effects.len();
                self.stages(about, &old, &new);
                for effect in self.effects.iter_mut().skip(noted) {
                    effect.sentence = Sentence::default().say("changes of the policy: ").then(effect.sentence.clone());
                }
            }
            (Some(_), None) => {
                let text = "nobody can approve changes of the policy any more: it can only be changed past Daypass";
                self.note_overall(Danger::Medium, Topic::Settings, Sentence::default().say(text));
            }
            (None, Some(new)) => {
                let names = new.iter().map(|stage| &stage.name);
                let text = "changes of the policy can be approved, until now they could not; stages: ";
                self.note_overall(Danger::High, Topic::Settings, Sentence::default().say(text).list(names, 10));
            }
            (None, None) => {}
        }
    }

    pub(super) fn people(&mut self) {
        let logins: BTreeSet<&Login> = self.old.people.keys().chain(self.new.people.keys()).collect();
        for login in logins {
            let nobody = Person::default();
            let (old, new) =
                (self.old.people.get(login).unwrap_or(&nobody), self.new.people.get(login).unwrap_or(&nobody));
            let (before, after) = (names(old), names(new));
            for key in before.keys().chain(after.keys()).collect::<BTreeSet<_>>() {
                let none = BTreeSet::new();
                let (before, after) = (before.get(key).unwrap_or(&none), after.get(key).unwrap_or(&none));
                self.person(login, key, before, after);
            }
            self.order_of_names(login, old, new);
        }
    }

    fn person(&mut self, login: &Login, key: &str, before: &BTreeSet<String>, after: &BTreeSet<String>) {
        let path = format!("people.{login}.{key}");
        // What an expression makes of a name may be more than it was, whether the name comes or goes.
        let asking = if before == after { Vec::new() } else { self.asking_for(key) };
        let least = match (asking.is_empty(), key) {
            (true, _) => Danger::Narrower,
            (false, "ssh") => Danger::High,
            (false, _) => Danger::Medium,
        };
        let asked = match asking.is_empty() {
            true => Sentence::default(),
            false => Sentence::default().say("; expressions ask for it in: ").list(asking.iter(), 10),
        };
        for name in after.difference(before) {
            let until_now = before.difference(after).next();
            let holder = self.holder(login, key, name);
            let danger = match (&holder, until_now) {
                (Some(_), _) => Danger::Critical,
                (None, Some(_)) => Danger::High,
                // What adds a key, adds somebody who can log in.
                (None, None) if key == "ssh_keys" || !before.is_empty() => Danger::High,
                (None, None) => Danger::Low,
            };
            let words = if after.len() > 1 { "{} has {} among others" } else { "{} is now {}" };
            let mut sentence = Sentence::new(words, &[&path, name]);
            if let Some(other) = &holder {
                sentence = sentence.then(Sentence::new(", the account of {}", &[other]));
            }
            if let Some(old) = until_now {
                sentence = sentence.then(Sentence::new("; until now {}", &[old]));
            }
            self.note_overall(danger.max(least), Topic::People, sentence.then(asked.clone()));
        }
        if after.difference(before).next().is_none() {
            for name in before.difference(after) {
                // Without the address, commits by it are nobody's.
                let danger = if key == "email" { Danger::Low } else { Danger::Narrower };
                let sentence = Sentence::new("{} is no longer {}", &[&path, name]).then(asked.clone());
                self.note_overall(danger.max(least), Topic::People, sentence);
            }
        }
    }

    /// `person.ssh[0]` is another name when the same names come in another order.
    fn order_of_names(&mut self, login: &Login, old: &Person, new: &Person) {
        let alike = |names: &[String]| names.iter().cloned().collect::<BTreeSet<String>>();
        if old.ssh == new.ssh || alike(&old.ssh) != alike(&new.ssh) {
            return;
        }
        let asking = self.asking_for("ssh");
        if !asking.is_empty() {
            let sentence = Sentence::new("{} comes in another order: ", &[&format!("people.{login}.ssh")])
                .list(new.ssh.iter(), 10)
                .say("; until now ")
                .list(old.ssh.iter(), 10)
                .say("; expressions ask for it in: ")
                .list(asking.iter(), 10);
            self.note_overall(Danger::High, Topic::People, sentence);
        }
    }

    /// The roles in which an expression goes by somebody's names under a key, under either policy.
    fn asking_for(&self, key: &str) -> Vec<RoleName> {
        let path: &[&str] = match key {
            "email" | "postgres" | "ssh" => &["person", key],
            // No expression sees them.
            "ssh_keys" => return Vec::new(),
            _ => &["person", "other", key],
        };
        let both = [self.old, self.new].into_iter();
        let asking = both.flat_map(|policy| policy.roles.values().filter(|role| judges_by_name(role, policy, path)));
        asking.map(|role| role.name.clone()).collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// Who else goes, or went, by this name.
    fn holder(&self, login: &Login, key: &str, name: &str) -> Option<Login> {
        let everybody = self.old.people.iter().chain(&self.new.people);
        let mut others = everybody.filter(|(other, _)| *other != login);
        let found = others.find(|(_, person)| names(person).get(key).is_some_and(|names| names.contains(name)));
        found.map(|(other, _)| other.clone())
    }

    pub(super) fn targets(&mut self) {
        let (old, new) = (&self.old.targets, &self.new.targets);
        for (name, kind) in new {
            let sentence = match old.get(name) {
                None => Sentence::new("roles may name target {}, a {}", &[name, kind]),
                Some(before) if before != kind => {
                    Sentence::new("target {} is a {} instead of a {}", &[name, kind, before])
                }
                Some(_) => continue,
            };
            self.note_overall(Danger::Neutral, Topic::Targets, sentence);
        }
        for name in old.keys().filter(|name| !new.contains_key(*name)) {
            self.note_overall(Danger::Neutral, Topic::Targets, Sentence::new("target {} is gone", &[name]));
        }
    }
}

/// The names of a person, by the system they are for.
fn names(person: &Person) -> BTreeMap<String, BTreeSet<String>> {
    let mut names: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut add = |key: &str, values: Vec<&String>| {
        if !values.is_empty() {
            names.insert(key.to_owned(), values.into_iter().cloned().collect());
        }
    };
    add("email", person.email.iter().collect());
    add("postgres", person.postgres.iter().collect());
    add("ssh", person.ssh.iter().collect());
    add("ssh_keys", person.ssh_keys.iter().collect());
    for (key, value) in &person.other {
        add(key, vec![value]);
    }
    names
}
