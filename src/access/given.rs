//! Facts that are written down instead of read from GitHub: by a policy's tests, or by whoever asks for an explanation.
//!
//! They become the same [`Directory`] and [`PullFacts`] the server gathers, and no more of them: what Daypass would not read for a
//! request is not known here either, so that a test cannot pass on facts that will not be there.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};

use super::case::{Case, PullFacts};
use super::change::{GrantChanges, Subject};
use super::decide::{Decision, decide};
use super::facts::{Account, Commit, Directory, PullRequest, PullState, Review, ReviewState};
use super::grant::{GrantId, Window};
use super::history::{Denial, History, Holder};
use super::judgement::{self, Proposal};
use super::principals::Needs;
use crate::policy::name::{CommitId, Login, Slug, UserId};
use crate::policy::testcase::{Given, Who};
use crate::policy::{Policy, Request};

/// The decision about a pull request by which `author` asks for `request`, if `given` is all there is.
pub fn judge(request: &Request, author: &Login, given: &Given, policy: &Policy, now: DateTime<Utc>) -> Decision {
    let accounts = Accounts::new(request, author, given, policy);
    let history = accounts.history(request, author, given, policy, now);
    let facts = PullFacts { history, ..accounts.pull(author, given, now) };
    let directory = accounts.directory(&needs(request, &facts, policy), given);
    decide(request, Case { policy, directory: &directory, facts: &facts, now })
}

/// What the server would read before it decides about the request.
pub fn needs(request: &Request, facts: &PullFacts, policy: &Policy) -> Needs {
    let requested = BTreeSet::from([request.slug.clone()]);
    let proposal = Proposal {
        subject: Subject::Grants(GrantChanges { requested, removed: BTreeSet::new() }),
        findings: Vec::new(),
        requests: vec![Ok(request.clone())],
        removed: BTreeMap::new(),
        replaced: BTreeMap::new(),
        policy_findings: Vec::new(),
        tests: None,
    };
    judgement::needs(&proposal, facts, policy)
}

/// Every account there is: everybody who is named anywhere that matters, with a number.
pub struct Accounts(BTreeMap<Login, Account>);

impl Accounts {
    /// Everybody named by the request, the facts or the role and its rule, except those who are said not to exist.
    pub fn new(request: &Request, author: &Login, given: &Given, policy: &Policy) -> Self {
        let role = policy.roles.get(&request.role);
        let in_policy = role.map(|role| Needs::of_role(role, policy)).unwrap_or_default();
        let lists = [&given.approved_by, &given.changes_requested_by, &given.commits_by];
        let named: BTreeSet<&Login> = lists
            .into_iter()
            .chain(given.teams.values())
            .chain(&given.members)
            .flatten()
            .map(Who::login)
            .chain([author])
            .chain(&request.subject)
            .chain(&in_policy.logins)
            .collect();
        let exists = |login: &&Login| !given.unknown_accounts.iter().any(|unknown| unknown.login() == *login);
        let numbered = named.into_iter().filter(exists).zip(1..);
        Self(numbered.map(|(login, id)| (login.clone(), account(login, id))).collect())
    }

    fn of(&self, logins: &[Who]) -> impl Iterator<Item = &Account> {
        logins.iter().filter_map(|who| self.0.get(who.login()))
    }

    /// The pull request, its commits and its reviews.
    pub fn pull(&self, author: &Login, given: &Given, now: DateTime<Utc>) -> PullFacts {
        let head = CommitId::zero();
        let elapsed = given.elapsed.map(|elapsed| elapsed.delta()).unwrap_or_default();
        let created_at = now.checked_sub_signed(elapsed).unwrap_or(now);
        let author = self.0.get(author).cloned();
        let commit = |by: &Account| Commit {
            id: head.clone(),
            author: Some(by.clone()),
            committer: Some(by.clone()),
            emails: BTreeSet::new(),
            coauthors: BTreeSet::new(),
            coauthor_ids: BTreeSet::new(),
        };
        let yes = self.of(&given.approved_by).map(|by| (by, ReviewState::Approved));
        let no = self.of(&given.changes_requested_by).map(|by| (by, ReviewState::ChangesRequested));
        // All at the very beginning, so that whichever stage is open has been so for the whole time.
        let reviews = yes.chain(no).zip(1..).map(|((by, state), id)| Review {
            id,
            author: Some(by.clone()),
            state,
            commit: Some(head.clone()),
            submitted_at: Some(created_at),
        });
        let commits = author.iter().chain(self.of(&given.commits_by)).map(commit).collect();
        let reviews = reviews.collect();
        let pull = PullRequest {
            number: 1,
            title: String::new(),
            author,
            state: PullState::Open,
            draft: false,
            head: head.clone(),
            head_branch: "request".to_owned(),
            from_fork: false,
            base_branch: "main".to_owned(),
            created_at,
            labels: BTreeSet::new(),
        };
        PullFacts { pull, commits, reviews, extends: None, history: History::default() }
    }

    /// What happened before the request, and goes on beside it, for the whole time it asks for.
    fn history(
        &self,
        request: &Request,
        author: &Login,
        given: &Given,
        policy: &Policy,
        now: DateTime<Utc>,
    ) -> History {
        let subject = self.0.get(request.subject.as_ref().unwrap_or(author));
        let denied = given.denied_at.iter().flatten();
        let denials = subject.into_iter().flat_map(|subject| {
            denied.clone().map(|at| Denial { subject: subject.id, role: request.role.clone(), at: *at })
        });
        // More than fill it make no difference.
        let limit = policy.roles.get(&request.role).and_then(|role| role.limit).unwrap_or_default();
        let held = given.active_grants.unwrap_or_default().min(limit);
        let holder = |number: u32| Holder {
            grant: GrantId { slug: Slug::near(&format!("other-{number}")), pull_request: u64::from(number) + 2 },
            role: request.role.clone(),
            window: Window::new(now, request.start, request.duration),
            has_begun: true,
        };
        History { denials: denials.collect(), holders: (0..held).map(holder).collect(), ..History::default() }
    }

    /// Of everything that is given, what the server would have read.
    pub fn directory(&self, needs: &Needs, given: &Given) -> Directory {
        let mut directory = Directory::default();
        for team in &needs.teams {
            let members: BTreeSet<Account> =
                given.teams.get(team).map(|members| self.of(members).cloned().collect()).unwrap_or_default();
            directory.members.extend(members.iter().map(|account| account.id));
            directory.teams.insert(team.clone(), Some(members));
        }
        let people = |account: &&Account| !account.bot;
        match &given.members {
            None => directory.members.extend(self.0.values().filter(people).map(|account| account.id)),
            Some(members) => {
                let teams = given.teams.values().flat_map(|members| self.of(members));
                directory.members.extend(self.of(members).chain(teams).filter(people).map(|account| account.id));
            }
        }
        directory.accounts = needs.logins.iter().map(|login| (login.clone(), self.0.get(login).cloned())).collect();
        directory
    }
}

fn account(login: &Login, id: u64) -> Account {
    Account { id: UserId(id), login: login.clone(), bot: login.as_str().ends_with("[bot]") }
}
