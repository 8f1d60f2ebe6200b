//! Gathering facts: what a decision needs is read from GitHub at the time of the decision.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};

use super::{Engine, EngineError};
use crate::access::case::{Case, PullFacts};
use crate::access::change::{self, Subject};
use crate::access::extension::{Extension, NoExtension};
use crate::access::facts::{ChangedFile, Directory, FileMode, PullRequest, PullState, Review, ReviewState, TreeFile};
use crate::access::forfeit::{self, Forfeit};
use crate::access::grant::{EndReason, Grant, GrantId, State, Window};
use crate::access::history::{Denial, History, Holder};
use crate::access::in_force::{self, Files};
use crate::access::judgement::{self, Judgement, Proposal};
use crate::access::principals::Needs;
use crate::github::{Closings, Repository};
use crate::ledger::{Denied, EventKind};
use crate::policy::name::{CommitId, Login, RepositoryName};
use crate::policy::{self, Code, Finding, Place, Policy, Severity};

/// A pull request that is younger is not asked whether it was closed and reopened, unless somebody approved it: nothing else that
/// could be forgotten by that is due so early.
const YOUNG: TimeDelta = TimeDelta::minutes(15);

/// What a pull request is judged under.
#[derive(Clone, Copy)]
pub(super) struct Ground<'a> {
    /// The policy in force.
    pub policy: &'a Policy,
    /// The files of the commit it is from.
    pub in_force: &'a Files,
    /// What the pull request is to be merged into, or was.
    pub base: &'a CommitId,
    /// The files there.
    pub before: &'a Files,
}

/// A judged pull request with the facts it was judged on.
pub(super) struct Judged {
    /// The judgement.
    pub judgement: Judgement,
    /// The facts.
    pub facts: PullFacts,
    /// The files at the head of the pull request.
    pub head_files: BTreeMap<String, TreeFile>,
    /// The files it changes.
    pub changed: Vec<ChangedFile>,
    /// Who belongs where, as far as it was asked.
    pub directory: Directory,
    /// Approvals that no longer count, because the pull request is not what it was.
    pub forfeited: Vec<(Review, Forfeit)>,
    /// Why it extends nothing, if Daypass opened it for that.
    pub no_extension: Option<NoExtension>,
}

impl Engine {
    /// Judges a pull request, open or merged.
    pub(super) async fn judge(
        &self,
        github: &Repository,
        repository: &RepositoryName,
        pull: PullRequest,
        ground: Ground<'_>,
    ) -> Result<Judged, EngineError> {
        let Ground { policy, before, .. } = ground;
        let head_files = self.files(github, &pull.head).await?;
        let changed = github.pull_files(pull.number).await?;
        let (subject, findings) = change::classify(&changed, &head_files);
        let judged_at = match &pull.state {
            PullState::Merged { at, .. } => *at,
            _ => self.inner.clock.now(),
        };
        let mut proposal = Proposal {
            subject,
            findings,
            requests: Vec::new(),
            removed: BTreeMap::new(),
            replaced: BTreeMap::new(),
            policy_findings: Vec::new(),
            tests: None,
        };
        match proposal.subject.clone() {
            Subject::Grants(changes) => {
                for slug in &changes.requested {
                    let live = self.inner.store.live_grant(repository, slug).await?.map(|row| row.grant);
                    // One that is over by then, though nobody has noticed yet, stands in nobody's way.
                    let other =
                        live.filter(|grant| grant.id.pull_request != pull.number && judged_at < grant.window.ends_at);
                    proposal.replaced.extend(other.map(|grant| (slug.clone(), grant)));
                    let path = policy::request::path_of(slug);
                    // What cannot be read was found by its shape already.
                    let readable = |file: &&TreeFile| {
                        file.mode == FileMode::Regular && file.size.is_none_or(|size| size <= change::GRANT_LIMIT)
                    };
                    if let Some(file) = head_files.get(&path).filter(readable) {
                        let text = self.grant_text(github, file).await?;
                        let request = policy::request::read(&path, &text, Some(policy));
                        // What is wrong with how it is written does not hide what else is.
                        let whole = |_| policy::judge::review(&path, &text, Some(policy));
                        proposal.requests.push(request.map_err(whole));
                    }
                }
                for slug in changes.removed {
                    let grant = self.inner.store.live_grant(repository, &slug).await?.map(|row| row.grant);
                    proposal.removed.insert(slug, grant);
                }
            }
            Subject::Policy => {
                let proposed = self.policy_of(github, &head_files).await?;
                proposal.policy_findings = proposed.findings.clone();
                if let Some((tally, failures)) = self.rehearse(&proposed).await? {
                    proposal.tests = Some(tally);
                    proposal.policy_findings.extend(failures);
                }
                if pull.state == PullState::Open {
                    let meet = github.merge_base(ground.base, &pull.head).await?;
                    let meet = self.files(github, &meet).await?;
                    let obstacles = in_force::obstacles(ground.in_force, (before, &meet), &changed, &head_files);
                    proposal.policy_findings.extend(obstacles);
                }
            }
            Subject::Unrelated => {}
        }
        let (mut extends, mut no_extension) = (None, None);
        if self.asks_to_extend(&pull).await? {
            match self.extension(github, repository, &proposal, before, judged_at).await? {
                Ok(extension) => extends = Some(extension),
                Err(why) => {
                    no_extension = Some(why);
                    proposal.findings.push(not_an_extension(why));
                }
            }
        }
        let subjects: Vec<Login> = proposal.requests.iter().flatten().filter_map(|one| one.subject.clone()).collect();
        let mut history = self.history(repository, &proposal, policy, &pull, (github, before, judged_at)).await?;
        // Nobody is asked for what nobody has looked at yet.
        history.asked_since = Some(self.asked_since(repository, &pull).await?.unwrap_or(judged_at));
        let (facts, forfeited) = match proposal.subject {
            Subject::Unrelated => (
                PullFacts { pull, commits: Vec::new(), reviews: Vec::new(), extends, history: History::default() },
                Vec::new(),
            ),
            _ => self.hearing(github, pull, extends, &subjects).await?,
        };
        history.pushers = self.pushers(repository, facts.pull.number, &facts.commits).await?;
        let facts = PullFacts { history, ..facts };
        let needs = judgement::needs(&proposal, &facts, policy);
        let mut directory = self.directory(github, &needs).await?;
        let yes = facts.reviews.iter().filter(|review| review.state == ReviewState::Approved);
        for by in yes.filter_map(|review| review.author.as_ref()).filter(|by| !by.bot).collect::<BTreeSet<_>>() {
            if github.is_suspended(&by.login).await? {
                directory.suspended.insert(by.id);
            }
        }
        let case = Case { policy, directory: &directory, facts: &facts, now: self.inner.clock.now() };
        let judgement = judgement::judge(proposal, case);
        Ok(Judged { judgement, facts, head_files, changed, directory, forfeited, no_extension })
    }

    /// What happened before, and is going on beside a request, as far as the policy asks for it.
    async fn history(
        &self,
        repository: &RepositoryName,
        proposal: &Proposal,
        policy: &Policy,
        pull: &PullRequest,
        (github, before, judged_at): (&Repository, &Files, DateTime<Utc>),
    ) -> Result<History, EngineError> {
        let asked = || proposal.requests.iter().flatten().filter_map(|request| policy.roles.get(&request.role));
        let cool_down = asked().filter_map(|role| policy.approvals.get(&role.approval)?.cool_down).max();
        let mut history = History::default();
        if let Some(cool_down) = cool_down {
            let since = judged_at - cool_down.delta();
            for event in self.inner.store.events_of(repository, EventKind::Denied, since).await? {
                // Those of an older version do not say it.
                let denied: Vec<Denied> = serde_json::from_value(event.details["requests"].clone()).unwrap_or_default();
                let denial = |one: Denied| Denial { subject: one.subject, role: one.role, at: event.at };
                history.denials.extend(denied.into_iter().map(denial));
            }
        }
        if asked().any(|role| role.limit.is_some()) {
            let live = self.inner.store.live_grants_in(repository).await?.into_iter().map(|row| row.grant);
            let beside = live.filter(|grant| {
                grant.id.pull_request != pull.number && !proposal.replaced.contains_key(&grant.id.slug)
            });
            let holder = |grant: Grant| Holder {
                has_begun: grant.state != State::Scheduled,
                grant: grant.id,
                role: grant.role,
                window: grant.window,
            };
            history.holders = beside.map(holder).collect();
            history.holders.extend(self.ahead(github, repository, policy, pull, (before, judged_at)).await?);
        }
        Ok(history)
    }

    /// The requests that a merge queue merges before this one: nobody knows them as grants yet, and they will be.
    async fn ahead(
        &self,
        github: &Repository,
        repository: &RepositoryName,
        policy: &Policy,
        pull: &PullRequest,
        (before, judged_at): (&Files, DateTime<Utc>),
    ) -> Result<Vec<Holder>, EngineError> {
        let refused = self.inner.store.refusals(repository).await?;
        let mut ahead = Vec::new();
        for (slug, file) in change::grant_files(before) {
            let path = policy::request::path_of(&slug);
            let is_refused = refused.iter().any(|one| one.path == path && one.blob == file.blob.as_str());
            if is_refused || self.inner.store.knows_grant(repository, &slug, &file.blob).await? {
                continue;
            }
            let text = self.grant_text(github, file).await?;
            let Ok(request) = policy::request::read(&path, &text, Some(policy)) else { continue };
            ahead.push(Holder {
                grant: GrantId { slug, pull_request: 0 },
                role: request.role,
                window: Window::new(judged_at, request.start, request.duration),
                has_begun: request.start.is_none() && pull.state != PullState::Open,
            });
        }
        Ok(ahead)
    }

    /// What people did and said about a pull request, since it was opened or reopened last.
    async fn hearing(
        &self,
        github: &Repository,
        mut pull: PullRequest,
        extends: Option<Extension>,
        subjects: &[Login],
    ) -> Result<(PullFacts, Vec<(Review, Forfeit)>), EngineError> {
        let mut commits = github.pull_commits(pull.number).await?;
        if let Some(extension) = &extends {
            // Whoever has a hand in what is extended has one in the extension.
            let chain = [extension.chain.first.pull_request, extension.chain.extends.pull_request];
            for number in BTreeSet::from(chain) {
                commits.extend(github.pull_commits(number).await?);
            }
        }
        let mut reviews = github.reviews(pull.number).await?;
        // Only what was said, or has gone on for a while, can belong to an earlier life.
        let old = self.inner.clock.now() - pull.created_at > YOUNG;
        let said = |review: &Review| matches!(review.state, ReviewState::Approved | ReviewState::Dismissed);
        let closings = match old || reviews.iter().any(said) {
            true => github.closings(pull.number).await?,
            false => Closings::default(),
        };
        let reopened_at = closings.reopened_at;
        let asking = pull.author.iter().chain(extends.iter().flat_map(|one| [&one.requester, &one.subject]));
        let wrote = commits.iter().flat_map(|commit| [&commit.author, &commit.committer]).flatten();
        forfeit::stand_by(&mut reviews, &closings.dismissed, &asking.chain(wrote).collect::<Vec<_>>(), subjects);
        let forfeited = forfeit::forfeited(&reviews, &pull.head, reopened_at);
        let forfeited = forfeited.into_iter().map(|(review, why)| (review.clone(), why)).collect();
        forfeit::reopen(&mut pull, &mut reviews, reopened_at);
        Ok((PullFacts { pull, commits, reviews, extends, history: History::default() }, forfeited))
    }

    /// The running grant that a pull request extends which Daypass opened for that: the one that the file gave, by what is known and
    /// not by what the pull request says.
    async fn extension(
        &self,
        github: &Repository,
        repository: &RepositoryName,
        proposal: &Proposal,
        before: &BTreeMap<String, TreeFile>,
        judged_at: DateTime<Utc>,
    ) -> Result<Result<Extension, NoExtension>, EngineError> {
        let alone = proposal.removed.is_empty() && proposal.findings.is_empty();
        let ([Ok(new)], true) = (proposal.requests.as_slice(), alone) else { return Ok(Err(NoExtension::Different)) };
        let Some(file) = before.get(&new.path()) else { return Ok(Err(NoExtension::Over)) };
        let Some(row) = self.inner.store.grant_by_content(repository, &new.slug, &file.blob).await? else {
            return Ok(Err(NoExtension::Over));
        };
        let ended = match &row.grant.state {
            State::Ended { reason: EndReason::Expired | EndReason::Replaced, .. } => false,
            // Ended on purpose, perhaps before what extends it was read: then that is over as well.
            State::Ended { .. } => true,
            State::Scheduled | State::Active => false,
        };
        let text = self.grant_text(github, file).await?;
        Ok(match policy::request::read(&new.path(), &text, None) {
            Ok(old) if !ended => Extension::of(&row.grant, &old, new, judged_at),
            _ => Err(NoExtension::Over),
        })
    }

    /// Reads memberships and accounts.
    pub(super) async fn directory(&self, github: &Repository, needs: &Needs) -> Result<Directory, EngineError> {
        let mut directory = Directory::default();
        for team in &needs.teams {
            let members = github.team_members(team).await?;
            // Whoever is in a team is in the organisation.
            directory.members.extend(members.iter().flatten().map(|account| account.id));
            directory.teams.insert(team.clone(), members);
        }
        for login in &needs.logins {
            let known = directory.teams.values().flatten().flatten().find(|account| account.login == *login).cloned();
            let account = match known {
                Some(account) => Some(account),
                None => github.account(login).await?,
            };
            if let Some(account) = &account
                && !account.bot
                && !directory.members.contains(&account.id)
                && github.is_member(login).await?
            {
                directory.members.insert(account.id);
            }
            directory.accounts.insert(login.clone(), account);
        }
        Ok(directory)
    }
}

fn not_an_extension(why: NoExtension) -> Finding {
    Finding {
        file: String::new(),
        place: Place::default(),
        severity: Severity::Error,
        code: Code::NotAnExtension,
        message: why.to_string(),
        help: Code::NotAnExtension.explanation().to_owned(),
    }
}
