//! Looking at an open pull request: judge it, publish the judgement, ask reviewers, merge it once it is approved.

use std::collections::BTreeSet;

use super::commands::{Heeding, Scene};
use super::facts::{Ground, Judged};
use super::in_force::Standing;
use super::merge::Approved;
use super::pending::given_up_at;
use super::record::record_judgement;
use super::words::{self, Next};
use super::{Engine, EngineError};
use crate::access::approval::ApprovalStatus;
use crate::access::case::PullFacts;
use crate::access::decide::Verdict;
use crate::access::extension::NoExtension;
use crate::access::facts::{PullRequest, PullState};
use crate::access::judgement::Judgement;
use crate::github::Repository;
use crate::ledger::{Event, EventKind, details};
use crate::policy::model::MergeMode;
use crate::policy::name::{Login, RepositoryName, TeamSlug};
use crate::policy::{Policy, Principal};
use crate::store::{Claim, Job, Message, Tx};
use chrono::{DateTime, Utc};

/// Branches that begin with this are the app's own: reverts.
pub(super) const OWN_BRANCH: &str = "daypass/";
/// How long what is asked for on a merged request waits for the merge to be read.
const READ_FIRST: chrono::TimeDelta = chrono::TimeDelta::seconds(10);

impl Engine {
    /// Judges a pull request again and does what follows.
    pub(super) async fn look_at_pull(
        &self,
        claim: &Claim,
        repository: &RepositoryName,
        number: u64,
    ) -> Result<(), EngineError> {
        // The issue in which an emergency is reviewed has a number of the same kind.
        if let Some(emergency) = self.inner.store.emergency_of_issue(repository, number).await? {
            let mut tx = self.inner.store.begin().await?;
            self.schedule_emergencies(&mut tx, repository, vec![emergency]).await?;
            return self.finish(claim, tx, None).await;
        }
        let (github, branch) = self.open(repository).await?;
        let pull = match github.pull(number).await {
            // An issue, or a pull request GitHub no longer shows: nothing to look at.
            Err(crate::github::GithubError::NotFound { .. }) => return self.nothing(claim).await,
            pull => pull?,
        };
        if pull.base_branch != branch {
            return self.nothing(claim).await;
        }
        if self.inner.store.read_so_far(repository.as_str()).await?.is_none() {
            self.first_sight(repository, &github.head(&branch).await?).await?;
        }
        let scene = Scene { github: &github, repository, branch: &branch, pull: &pull };
        let pressed = self.heed_presses(claim, &scene).await;
        let heeding = match &pressed {
            Ok(false) => Heeding::Unread,
            Ok(true) | Err(_) => self.heed(claim, &scene).await?,
        };
        pressed?;
        let pull = if heeding == Heeding::Closed { github.pull(number).await? } else { pull };
        match &pull.state {
            PullState::Merged { .. } => {
                let scene = Scene { github: &github, repository, branch: &branch, pull: &pull };
                self.set_buttons(&scene).await?;
                let (mut tx, now) = (self.inner.store.begin().await?, self.inner.clock.now());
                tx.schedule(&Job::Sync(repository.clone()), now).await?;
                self.finish(claim, tx, (heeding == Heeding::Unread).then_some(now + READ_FIRST)).await
            }
            PullState::Open | PullState::Closed if github.scarce_until().is_some() && can_wait(&pull) => {
                let tx = self.inner.store.begin().await?;
                self.finish(claim, tx, github.scarce_until()).await
            }
            PullState::Closed => self.note_closed(claim, &github, repository, &pull).await,
            PullState::Open if self.is_own(&pull).await? && !self.asks_to_extend(&pull).await? => {
                self.bless(claim, &github, repository, &pull).await
            }
            PullState::Open => self.judge_open(claim, &github, repository, &branch, pull).await,
        }
    }

    async fn nothing(&self, claim: &Claim) -> Result<(), EngineError> {
        let tx = self.inner.store.begin().await?;
        self.finish(claim, tx, None).await
    }

    /// What is new on the default branch has to be read before this can be judged.
    async fn read_first(&self, claim: &Claim, repository: &RepositoryName) -> Result<(), EngineError> {
        let (mut tx, now) = (self.inner.store.begin().await?, self.inner.clock.now());
        tx.schedule(&Job::Sync(repository.clone()), now).await?;
        self.finish(claim, tx, Some(now + READ_FIRST)).await
    }

    async fn judge_open(
        &self,
        claim: &Claim,
        github: &Repository,
        repository: &RepositoryName,
        branch: &str,
        pull: PullRequest,
    ) -> Result<(), EngineError> {
        let base = github.head(branch).await?;
        let in_force = self.in_force(github, repository, &base).await?;
        if in_force.standing == Standing::Unread {
            return self.read_first(claim, repository).await;
        }
        let Some(policy) = &in_force.loaded.policy else {
            let words = words::broken_policy(&in_force.loaded.findings);
            let verdict = Some(Verdict::Refused);
            let published = self.publish(github, repository, &pull, verdict, &[], &words).await?;
            let mut tx = self.inner.store.begin().await?;
            tx.set_published(repository.as_str(), pull.number, &published).await?;
            return self.finish(claim, tx, None).await;
        };
        let before = self.files(github, &base).await?;
        let ground = Ground { policy, in_force: &in_force.files, base: &base, before: &before };
        let judged = match self.judge(github, repository, pull.clone(), ground).await {
            // It cannot be read in full, and will not be the next time: that is an answer, not a failure.
            Err(EngineError::Github(crate::github::GithubError::Invalid { message })) => {
                return self.refuse_unread(claim, github, repository, &pull, &message).await;
            }
            judged => judged?,
        };
        if judged.no_extension == Some(NoExtension::Over) && !self.has_read(repository, &base).await? {
            // What it extends may not be known yet.
            return self.read_first(claim, repository).await;
        }
        if self.give_up(claim, github, repository, &judged, policy).await? {
            return self.nothing(claim).await;
        }
        let (judgement, pull) = (&judged.judgement, &judged.facts.pull);
        let verdict = judgement.verdict();
        let effect = self.effect(github, repository, (&base, &in_force), policy, &judged).await?;
        let mut words = words::publication(judgement, policy, Next::Merge, &effect);
        if in_force.standing == Standing::Unverified {
            words.body.push_str(&words::policy_not_in_force(&in_force.commit));
        }
        let version = details::policy_version(&in_force.commit, &in_force.files);
        let findings = judgement.all_findings();
        let published = self.publish(github, repository, pull, verdict, &findings, &words).await?;
        self.ask_reviewers(github, &judged.facts, judgement, policy).await?;
        self.return_approvals(github, repository, &judged, policy).await?;
        // What was published is remembered before the merge: a crash in between must not make us say it twice.
        let now = self.inner.clock.now();
        let asking = self.asking_now(repository, &judged, now).await?;
        let mut tx = self.inner.store.begin().await?;
        tx.set_published(repository.as_str(), pull.number, &published).await?;
        if let Some((asking, event)) = &asking {
            tx.set_asking(repository.as_str(), pull.number, asking).await?;
            if let Some(event) = event {
                tx.record(event).await?;
            }
        }
        record_judgement(&mut tx, repository, &judged, (version, &words.title), now).await?;
        if !pull.draft {
            tell_escalations(&mut tx, repository, pull.number, judgement, now).await?;
        }
        tx.assert_held(claim).await?;
        tx.commit().await?;
        // An emergency waits for nobody, not even to be merged.
        let emergency = !judgement.requests.is_empty() && judgement.requests.iter().all(|one| one.request.break_glass);
        let merges = emergency || policy.settings.merge == MergeMode::Auto;
        if verdict == Some(Verdict::Approved) && merges && !pull.draft {
            let approved =
                Approved { github, repository, branch, base: &base, judged: &judged, policy, effect: &effect };
            return self.merge_approved(claim, &approved).await;
        }
        let tx = self.inner.store.begin().await?;
        self.finish(claim, tx, next_look(&judged, policy, now)).await
    }

    /// Refuses a pull request that GitHub does not show in full.
    async fn refuse_unread(
        &self,
        claim: &Claim,
        github: &Repository,
        repository: &RepositoryName,
        pull: &PullRequest,
        why: &str,
    ) -> Result<(), EngineError> {
        let words = words::unread(why);
        let published = self.publish(github, repository, pull, Some(Verdict::Refused), &[], &words).await?;
        let mut tx = self.inner.store.begin().await?;
        tx.set_published(repository.as_str(), pull.number, &published).await?;
        self.finish(claim, tx, None).await
    }

    /// Asks the reviewers of the open stages. GitHub refuses people without access to the repository; then the comment alone
    /// has to reach them.
    async fn ask_reviewers(
        &self,
        github: &Repository,
        facts: &PullFacts,
        judgement: &Judgement,
        policy: &Policy,
    ) -> Result<(), EngineError> {
        let pull = &facts.pull;
        if judgement.verdict() != Some(Verdict::Waiting) || pull.draft {
            return Ok(());
        }
        let (mut users, mut teams) = (BTreeSet::new(), BTreeSet::new());
        let asked = github.requested_reviewers(pull.number).await?;
        for stage in judgement.approvals().flat_map(ApprovalStatus::open) {
            match stage.ask {
                Some(_) => users.extend(stage.to_ask(pull.number, &asked.users)),
                None => reviewers(&stage.approvers, policy, &mut users, &mut teams),
            }
        }
        // Whoever asks and whoever gets it cannot approve it.
        let subjects = facts.extends.iter().map(|extension| &extension.subject);
        let asking: Vec<_> = pull.author.iter().chain(facts.requester()).chain(subjects).collect();
        users.retain(|login| asking.iter().all(|account| account.login != *login));
        users.retain(|login| !asked.users.contains(login));
        teams.retain(|slug| !asked.teams.contains(slug));
        for login in users {
            ignore_refusal(github.request_reviewers(pull.number, &[login], &[]).await)?;
        }
        for slug in teams {
            ignore_refusal(github.request_reviewers(pull.number, &[], &[slug]).await)?;
        }
        Ok(())
    }

    /// Whether a pull request is one the app itself opened. Its branch lies in the repository, where only the app and people
    /// with write access can push; what its check says is therefore judged by what it changes, not by who opened it.
    pub(super) async fn is_own(&self, pull: &PullRequest) -> Result<bool, EngineError> {
        if pull.from_fork || !pull.head_branch.starts_with(OWN_BRANCH) {
            return Ok(false);
        }
        let me = self.inner.github.me().await?.login();
        Ok(pull.author.as_ref().is_some_and(|author| author.bot && author.login.as_str() == me))
    }
}

/// Tells that a stage has widened: once for each time it does.
async fn tell_escalations(
    tx: &mut Tx,
    repository: &RepositoryName,
    pull: u64,
    judgement: &Judgement,
    now: DateTime<Utc>,
) -> Result<(), EngineError> {
    for stage in judgement.approvals().flat_map(ApprovalStatus::open) {
        let Some(at) = stage.escalated_at else { continue };
        let about = format!("pull-{pull}");
        let occasion = format!("{}-{}", stage.name, at.timestamp());
        let id = format!("{repository}/{about}/escalated/{occasion}");
        if tx.say(repository, pull, &Message { id, body: words::escalated(stage) }, now).await? {
            tx.schedule(&Job::Messages(repository.clone(), pull), now).await?;
        }
        let details = serde_json::json!({ "pull_request": pull, "stage": stage.name, "at": at,
            "approvers": stage.approvers });
        tx.record(&Event::new(repository, EventKind::Escalated, about, occasion, now, details)).await?;
    }
    Ok(())
}

/// The users and teams GitHub can be asked to request.
fn reviewers(
    principals: &BTreeSet<Principal>,
    policy: &Policy,
    users: &mut BTreeSet<Login>,
    teams: &mut BTreeSet<TeamSlug>,
) {
    for principal in principals {
        match principal {
            Principal::User(login) => {
                users.insert(login.clone());
            }
            Principal::Team(slug) => {
                teams.insert(slug.clone());
            }
            Principal::Group(name) => {
                if let Some(members) = policy.groups.get(name) {
                    reviewers(members, policy, users, teams);
                }
            }
            Principal::App(_) | Principal::Everyone => {}
        }
    }
}

/// Goes on if GitHub does not do something that can be done without.
pub(super) fn ignore_refusal(result: Result<(), crate::github::GithubError>) -> Result<(), EngineError> {
    match result {
        Err(error) if error.is_temporary() => Err(error.into()),
        Err(error) => {
            tracing::info!(%error, "GitHub refuses; it can be done without");
            Ok(())
        }
        Ok(()) => Ok(()),
    }
}

/// When an open request changes by itself: a stage escalates, or it is given up.
fn next_look(judged: &Judged, policy: &Policy, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let open = judged.judgement.approvals().flat_map(ApprovalStatus::open);
    let escalations = open.filter_map(|stage| stage.escalates_at);
    escalations.chain(given_up_at(judged, policy)).filter(|due| *due > now).min()
}

/// Whether nobody waits for what Daypass has to say about a pull request.
fn can_wait(pull: &PullRequest) -> bool {
    pull.draft || pull.state == PullState::Closed
}
