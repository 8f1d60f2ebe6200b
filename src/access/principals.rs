//! Who a policy's principals are, given the facts.

use std::collections::BTreeSet;

use super::facts::{Account, Directory};
use crate::policy::condition::{Expression, Template};
use crate::policy::name::{Login, TeamSlug};
use crate::policy::{Policy, Principal};

/// Whether `account` is one of `principals`.
///
/// People count only while they are members of the organisation; `app:` names exactly the bot account of that app, and no
/// other principal ever includes a bot.
pub fn includes(principals: &BTreeSet<Principal>, account: &Account, policy: &Policy, directory: &Directory) -> bool {
    principals.iter().any(|principal| match principal {
        Principal::App(slug) => account.bot && account.login.as_str().eq_ignore_ascii_case(&format!("{slug}[bot]")),
        // A group may have apps in it too.
        Principal::Group(name) => {
            policy.groups.get(name).is_some_and(|members| includes(members, account, policy, directory))
        }
        _ if account.bot || !directory.is_member(account) => false,
        Principal::User(login) => account.login == *login,
        Principal::Team(slug) => directory.in_team(account, slug),
        Principal::Everyone => true,
    })
}

/// The people behind `principals`, as far as they can be listed: `everyone` cannot.
pub fn people(principals: &BTreeSet<Principal>, policy: &Policy, directory: &Directory) -> BTreeSet<Account> {
    let mut found = BTreeSet::new();
    for principal in principals {
        match principal {
            Principal::User(login) => {
                found.extend(directory.account(login).filter(|account| directory.is_member(account)).cloned());
            }
            Principal::Team(slug) => {
                let members = directory.teams.get(slug).and_then(Option::as_ref);
                found.extend(members.into_iter().flatten().filter(|account| !account.bot).cloned());
            }
            Principal::Group(name) => {
                if let Some(members) = policy.groups.get(name) {
                    found.extend(people(members, policy, directory));
                }
            }
            Principal::App(_) | Principal::Everyone => {}
        }
    }
    found
}

/// `principals` with the members of groups in place of the groups.
pub fn written_out(principals: &BTreeSet<Principal>, policy: &Policy) -> BTreeSet<Principal> {
    policy.written_out(principals)
}

/// What has to be read from GitHub before `principals` can be judged.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Needs {
    /// Teams whose members must be known.
    pub teams: BTreeSet<TeamSlug>,
    /// Logins whose accounts must be known.
    pub logins: BTreeSet<Login>,
}

impl Extend<Needs> for Needs {
    fn extend<I: IntoIterator<Item = Needs>>(&mut self, others: I) {
        for other in others {
            self.teams.extend(other.teams);
            self.logins.extend(other.logins);
        }
    }
}

impl Needs {
    /// Adds what `principals` need.
    pub fn add(&mut self, principals: &BTreeSet<Principal>, policy: &Policy) {
        for principal in principals {
            match principal {
                Principal::User(login) => {
                    self.logins.insert(login.clone());
                }
                Principal::Team(slug) => {
                    self.teams.insert(slug.clone());
                }
                Principal::Group(name) => {
                    if let Some(members) = policy.groups.get(name) {
                        self.add(members, policy);
                    }
                }
                Principal::App(_) | Principal::Everyone => {}
            }
        }
    }

    /// What judging requests for `role` needs.
    pub fn of_role(role: &crate::policy::model::Role, policy: &Policy) -> Self {
        let mut needs = Self::default();
        needs.add(&role.requesters, policy);
        needs.add(&role.may_request_for, policy);
        if let Some(break_glass) = &role.break_glass {
            needs.add(&break_glass.requesters, policy);
        }
        needs.add(&role.machines.sponsors, policy);
        needs.add_rule(&role.approval, policy);
        let stages = policy.approvals.get(&role.approval).map(|rule| rule.stages.as_slice()).unwrap_or_default();
        let texts = role.entitlements.iter().flat_map(|entitlement| entitlement.access.texts());
        let texts: Vec<&Expression> = texts.flat_map(Template::expressions).collect();
        let conditions = role.conditions.iter().map(|condition| &condition.expression);
        let conditions: Vec<&Expression> =
            conditions.chain(stages.iter().filter_map(|stage| stage.when.as_ref())).collect();
        // Any team or group the subject is in may be asked for, so the groups of the policy belong to the facts.
        if !conditions.is_empty() || texts.iter().any(|expression| expression.membership().asks) {
            for members in policy.groups.values() {
                needs.add(members, policy);
            }
        }
        let expressions = conditions.iter().chain(&texts);
        needs.teams.extend(expressions.flat_map(|expression| expression.membership().teams.iter().cloned()));
        needs
    }

    /// What judging the approval rule `name` needs.
    pub fn add_rule(&mut self, name: &crate::policy::name::ApprovalName, policy: &Policy) {
        for stage in policy.approvals.get(name).map(|rule| rule.stages.as_slice()).unwrap_or_default() {
            self.add(&stage.everybody(), policy);
        }
    }
}
