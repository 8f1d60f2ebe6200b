//! Groups that expressions ask for: what it means for somebody to come into one, or to leave it.

use std::collections::{BTreeMap, BTreeSet};

use chrono::DateTime;

use super::readers::expressions;
use super::shift::{Difference, difference};
use super::stages::of_role;
use super::{About, Comparison, Danger, Sentence, Topic};
use crate::access::facts::{Account, Directory};
use crate::access::principals::{Needs, includes};
use crate::access::reach::{Answer, Crowd, answer};
use crate::policy::condition::{Expression, PullRequestScope, RequestScope, RoleScope, Scope, SubjectScope, Template};
use crate::policy::model::Role;
use crate::policy::name::{GroupName, Login};
use crate::policy::{Duration, Policy, Principal};

impl Comparison<'_> {
    /// Groups matter by themselves only where an expression asks for them.
    pub(super) fn groups(&mut self) {
        let (old, new, directory) = (self.old, self.new, self.directory);
        let nobody = BTreeSet::new();
        // One may come into several groups at once: what that means is told once.
        let mut moved: BTreeSet<Account> = BTreeSet::new();
        let mut concerned: BTreeSet<&GroupName> = BTreeSet::new();
        for name in old.groups.keys().chain(new.groups.keys()).collect::<BTreeSet<_>>() {
            let asking: Vec<&Role> = new.roles.values().filter(|role| asks_for(role, new, name)).collect();
            if asking.is_empty() {
                continue;
            }
            let crowd = |policy: &Policy| Crowd::of(policy.groups.get(name).unwrap_or(&nobody), policy, directory);
            let (before, after) = (crowd(old), crowd(new));
            let (joined, left) = (difference(&after, &before, directory), difference(&before, &after, directory));
            for (change, word, already) in [(joined, " joins", "already"), (left, " leaves", "still")] {
                if change.is_empty() {
                    continue;
                }
                let told = is_known(&change) && asking.iter().all(|role| self.can_be_told(role, name));
                let danger = if told { Danger::Neutral } else { Danger::High };
                let sentence = change
                    .who(already)
                    .say(word)
                    .then(Sentence::new(" group {}, which expressions can ask for in: ", &[name]))
                    .list(asking.iter().map(|role| &role.name), 10);
                self.note_overall(danger, Topic::Groups, sentence);
                moved.extend(change.crowd.people);
                concerned.insert(name);
            }
        }
        for role in new.roles.values().filter(|role| concerned.iter().any(|name| asks_for(role, new, name))) {
            if let Some(before) = old.roles.get(&role.name) {
                self.for_those(before, role, &moved);
            }
        }
    }

    /// Whether it can be told what it means to be in a group for whatever in the role asks for it. A new role, or a new expression,
    /// is told as a whole.
    fn can_be_told(&self, role: &Role, group: &GroupName) -> bool {
        let asking = |expression: &&Expression| expression.reads().may_ask_for_group(group.as_str());
        expressions(role, self.new).filter(asking).all(|expression| self.is_exact(expression))
    }

    /// Whether the value of an expression depends on nothing but who somebody is, and all of that is known.
    fn is_exact(&self, expression: &Expression) -> bool {
        let reads = expression.reads();
        let of_subject = reads.roots().all(|root| matches!(root, "subject" | "person" | "role"));
        let known = |principals: &BTreeSet<Principal>, policy: &Policy| {
            let mut needs = Needs::default();
            needs.add(principals, policy);
            needs.teams.iter().all(|slug| self.directory.teams.contains_key(slug))
        };
        let mut groups = [self.old, self.new].into_iter().flat_map(|policy| {
            let asked = policy.groups.iter().filter(|(name, _)| reads.may_ask_for_group(name.as_str()));
            asked.map(move |(_, members)| (members, policy))
        });
        let teams = &expression.membership().teams;
        let teams_known = !reads.may_read(&["subject", "teams"])
            || (!teams.is_empty() && teams.iter().all(|slug| self.directory.teams.contains_key(slug)));
        of_subject && teams_known && groups.all(|(members, policy)| known(members, policy))
    }

    /// What the role's expressions say to these people that they did not say before.
    fn for_those(&mut self, old: &Role, new: &Role, people: &BTreeSet<Account>) {
        let about = About { role: Some(&new.name), risk: old.risk.max(new.risk) };
        let mut told: BTreeMap<(Danger, Topic, String), (Sentence, Vec<Login>)> = BTreeMap::new();
        for account in people.iter().filter(|account| may_have(new, account, self.new, self.directory)) {
            let scopes = (scope(old, account, self.old, self.directory), scope(new, account, self.new, self.directory));
            for (danger, topic, sentence) in self.differences(old, new, &scopes) {
                let key = (danger, topic, sentence.to_string());
                told.entry(key).or_insert_with(|| (sentence, Vec::new())).1.push(account.login.clone());
            }
        }
        for ((danger, topic, _), (sentence, logins)) in told {
            let sentence = Sentence::default().say("for ").list(logins.iter(), 10).say(": ").then(sentence);
            self.note(about, danger, topic, sentence);
        }
    }

    fn differences(&self, old: &Role, new: &Role, (before, after): &(Scope, Scope)) -> Vec<(Danger, Topic, Sentence)> {
        let mut found = Vec::new();
        let asks = |expression: &Expression| {
            let names = self.old.groups.keys().chain(self.new.groups.keys());
            let mut names = names.map(GroupName::as_str);
            names.any(|name| expression.reads().may_ask_for_group(name)) && self.is_exact(expression)
        };
        for condition in new.conditions.iter().map(|condition| &condition.expression).filter(|one| asks(one)) {
            let known = |other: &Expression| other.shape() == condition.shape();
            let met = |scope: &Scope| condition.is_true(scope).unwrap_or(false);
            if !old.conditions.iter().any(|one| known(&one.expression)) || met(before) == met(after) {
                continue;
            }
            let (danger, words) = match met(after) {
                true => (Danger::High, "the condition {} is now met, so they can have it"),
                false => (Danger::Narrower, "the condition {} is no longer met"),
            };
            found.push((danger, Topic::Conditions, Sentence::new(words, &[&condition.source().trim()])));
        }
        for stage in of_role(new, self.new) {
            let Some(when) = stage.when.as_ref().filter(|when| asks(when)) else { continue };
            let known = |other: &Expression| other.shape() == when.shape();
            // What fails is a no: nobody gets past it.
            let counts = |scope: &Scope| when.is_true(scope).unwrap_or(true);
            let stages = of_role(old, self.old).iter().filter_map(|stage| stage.when.as_ref());
            if !stages.into_iter().any(known) || counts(before) == counts(after) {
                continue;
            }
            let (danger, words) = match counts(after) {
                true => (Danger::Narrower, "approval stage {} now counts"),
                false => (Danger::High, "approval stage {} no longer counts"),
            };
            found.push((danger, Topic::Stages, Sentence::new(words, &[&stage.name])));
        }
        for entitlement in &new.entitlements {
            for text in entitlement.access.texts().into_iter().filter(|text| text.expressions().any(&asks)) {
                let theirs = old.entitlements.iter().filter(|one| one.target == entitlement.target);
                let mut theirs = theirs.flat_map(|one| one.access.texts());
                let exact = text.expressions().all(|expression| self.is_exact(expression));
                if exact && theirs.any(|one| one.shape() == text.shape()) {
                    let (was, is) = (rendered(text, before), rendered(text, after));
                    let target = &entitlement.target;
                    if let Some(is) = is.as_ref().filter(|_| is != was) {
                        let sentence = Sentence::new("it gives {} on {}", &[is, target]);
                        let was = was.map(|was| Sentence::new("; until now {}", &[&was])).unwrap_or_default();
                        found.push((Danger::High, Topic::Entitlements, sentence.then(was)));
                    } else if let Some(was) = was.filter(|_| is.is_none()) {
                        let sentence = Sentence::new("it no longer gives {} on {}", &[&was, target]);
                        found.push((Danger::Narrower, Topic::Entitlements, sentence));
                    }
                }
            }
        }
        found
    }
}

/// Adds what has to be read to tell what it means that the members of a group are others.
pub(super) fn add_needs(needs: &mut Needs, group: &GroupName, policy: &Policy) {
    for role in policy.roles.values().filter(|role| asks_for(role, policy, group)) {
        for expression in expressions(role, policy) {
            needs.teams.extend(expression.membership().teams.iter().cloned());
            let asked = policy.groups.iter().filter(|(name, _)| expression.reads().may_ask_for_group(name.as_str()));
            asked.for_each(|(_, members)| needs.add(members, policy));
        }
    }
}

/// What a text says in `scope`; nothing if it fails, for then nothing is given.
fn rendered(text: &Template, scope: &Scope) -> Option<String> {
    let texts = text.render_all(scope).ok()?;
    (!texts.is_empty()).then(|| texts.join(", "))
}

/// Whether it is known of each of them who they are.
fn is_known(change: &Difference) -> bool {
    let crowd = &change.crowd;
    !crowd.everyone && crowd.unknown.is_empty() && crowd.apps.is_empty() && change.unless.is_empty()
}

/// Whether an expression of the role, or of its approval, may ask who is in the group.
fn asks_for(role: &Role, policy: &Policy, group: &GroupName) -> bool {
    expressions(role, policy).any(|expression| expression.reads().may_ask_for_group(group.as_str()))
}

/// Whether the role can be somebody's, as far as is known.
fn may_have(role: &Role, account: &Account, policy: &Policy, directory: &Directory) -> bool {
    let paths = [Some(&role.requesters), role.break_glass.as_ref().map(|path| &path.requesters)];
    paths.into_iter().flatten().any(|who| answer(who, account, policy, directory) != Answer::No)
}

/// What an expression sees that asks for nothing but who somebody is.
fn scope(role: &Role, account: &Account, policy: &Policy, directory: &Directory) -> Scope {
    let login = account.login.to_string();
    let (missing, teams): (Vec<_>, Vec<_>) = directory.teams.iter().partition(|(_, members)| members.is_none());
    let teams = teams.into_iter().filter(|(slug, _)| directory.in_team(account, slug));
    let groups = policy.groups.iter().filter(|(_, members)| includes(members, account, policy, directory));
    Scope {
        request: RequestScope {
            subject: login.clone(),
            role: role.name.to_string(),
            duration: Duration::hours(1),
            reason: String::new(),
            ticket: String::new(),
            start: None,
            break_glass: false,
            params: BTreeMap::new(),
        },
        subject: SubjectScope {
            login,
            teams: teams.map(|(slug, _)| slug.to_string()).collect(),
            missing_teams: missing.into_iter().map(|(slug, _)| slug.to_string()).collect(),
            groups: groups.map(|(name, _)| name.to_string()).collect(),
            person: policy.people.get(&account.login).cloned().unwrap_or_default(),
        },
        role: RoleScope {
            name: role.name.to_string(),
            risk: role.risk.as_str(),
            description: role.description.clone(),
        },
        now: DateTime::UNIX_EPOCH,
        pull_request: PullRequestScope::default(),
    }
}
