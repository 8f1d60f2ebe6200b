//! Who gains and who loses a right.

use std::collections::BTreeSet;

use super::{About, Comparison, Danger, Right, Sentence, Shift, Topic};
use crate::access::facts::Directory;
use crate::access::reach::Crowd;
use crate::policy::Principal;
use crate::policy::name::TeamSlug;

/// How many names a sentence lists.
const NAMES: usize = 10;

/// Who is in one crowd and not in another.
pub(super) struct Difference {
    /// They.
    pub crowd: Crowd,
    /// Members of these teams may be in the other too; nobody told.
    pub unless: BTreeSet<TeamSlug>,
}

/// Who is in `these` and not in `those`.
pub(super) fn difference(these: &Crowd, those: &Crowd, directory: &Directory) -> Difference {
    let everyone = these.everyone && !those.everyone;
    let people: BTreeSet<_> = these.people.difference(&those.people).cloned().collect();
    let unknown: BTreeSet<TeamSlug> = match those.everyone {
        true => BTreeSet::new(),
        false => these.unknown.difference(&those.unknown).cloned().collect(),
    };
    let explains = |principal: &&Principal| match principal {
        Principal::User(login) => people.iter().any(|account| account.login == *login),
        Principal::Team(slug) => {
            unknown.contains(slug) || people.iter().any(|account| directory.in_team(account, slug))
        }
        Principal::App(slug) => !those.apps.contains(slug),
        Principal::Everyone => everyone,
        Principal::Group(_) => false,
    };
    let principals = these.principals.difference(&those.principals).filter(explains).cloned().collect();
    let apps = these.apps.difference(&those.apps).cloned().collect();
    let unless =
        if people.is_empty() && unknown.is_empty() && !everyone { BTreeSet::new() } else { those.unknown.clone() };
    Difference { crowd: Crowd { principals, everyone, people, unknown, apps }, unless }
}

impl Difference {
    /// Whether there is nobody.
    pub fn is_empty(&self) -> bool {
        self.crowd.is_empty()
    }

    /// Who they are. `already` is how it is said that somebody may be in the other crowd too: "already" or "still".
    pub fn who(&self, already: &str) -> Sentence {
        let mut sentence = who(&self.crowd);
        if !self.unless.is_empty() {
            let teams = self.unless.iter().map(|slug| format!("team:{slug}"));
            sentence = sentence
                .say(&format!(" (unless {already} in "))
                .list(teams.collect::<Vec<_>>().into_iter(), NAMES)
                .say(")");
        }
        sentence
    }
}

/// A crowd in words: "`alice`, `bob` (in `team:interns`)".
pub(super) fn who(crowd: &Crowd) -> Sentence {
    if crowd.everyone {
        return Sentence::default().say("everyone in the organisation");
    }
    let mut names: Vec<String> = crowd.unknown.iter().map(|slug| format!("team:{slug}")).collect();
    names.extend(crowd.apps.iter().map(|slug| format!("app:{slug}")));
    names.extend(crowd.people.iter().map(|account| account.login.to_string()));
    if names.is_empty() {
        return Sentence::default().say("nobody");
    }
    let known_team =
        |principal: &&Principal| matches!(principal, Principal::Team(slug) if !crowd.unknown.contains(slug));
    let teams: Vec<&Principal> = crowd.principals.iter().filter(known_team).collect();
    let sentence = Sentence::default().list(names.into_iter(), NAMES);
    if teams.is_empty() { sentence } else { sentence.say(" (in ").list(teams.into_iter(), NAMES).say(")") }
}

impl Comparison<'_> {
    /// Compares who has `right`. Returns who gains it and who loses it.
    pub(super) fn shift(
        &mut self,
        about: About<'_>,
        right: Right,
        old: &Crowd,
        new: &Crowd,
    ) -> (Difference, Difference) {
        let (gained, lost) = (difference(new, old, self.directory), difference(old, new, self.directory));
        self.impact.unknown.extend(gained.crowd.unknown.iter().chain(&gained.unless).cloned());
        self.impact.unknown.extend(lost.crowd.unknown.iter().chain(&lost.unless).cloned());
        if !gained.is_empty() || !lost.is_empty() {
            self.impact.shifts.push(Shift {
                role: about.role.cloned(),
                right,
                gained: gained.crowd.clone(),
                lost: lost.crowd.clone(),
            });
        }
        (gained, lost)
    }

    /// Compares who has `right` and tells it: "… may now {verb}".
    pub(super) fn right(
        &mut self,
        about: About<'_>,
        (right, topic, danger): (Right, Topic, Danger),
        (old, new): (&Crowd, &Crowd),
        verb: &Sentence,
    ) {
        let (gained, lost) = self.shift(about, right, old, new);
        if !gained.is_empty() {
            let danger = if gained.crowd.everyone { danger.raised() } else { danger };
            let sentence = gained.who("already").say(" may now ").then(verb.clone());
            self.note(about, danger, topic, sentence);
        } else {
            self.dormant(about, old, new, verb);
        }
        if !lost.is_empty() {
            let sentence = lost.who("still").say(" may no longer ").then(verb.clone());
            self.note(about, Danger::Narrower, topic, sentence);
        }
    }

    /// A team whose members all have the right already changes nothing today; tomorrow somebody joins it.
    pub(super) fn dormant(&mut self, about: About<'_>, old: &Crowd, new: &Crowd, verb: &Sentence) {
        if old.everyone {
            return;
        }
        let teams: Vec<&Principal> = new
            .principals
            .difference(&old.principals)
            .filter(|principal| matches!(principal, Principal::Team(_)))
            .collect();
        if teams.is_empty() {
            return;
        }
        let about = match about.role {
            Some(role) => Sentence::new("role {}: ", &[role]),
            None => Sentence::default().say("changes of the policy: "),
        };
        let sentence = about.list(teams.into_iter(), NAMES).say(" may now ").then(verb.clone());
        self.impact.dormant.push(sentence);
    }
}
