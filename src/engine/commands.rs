//! What people ask for in comments on a pull request.
//!
//! A webhook only says *look there*: the comments are read from GitHub whenever a pull request is looked at, so a lost webhook
//! changes nothing. Each command is decided once, durably, before anything is done about it; a reaction of ours on the comment says
//! the same to a database that knows nothing of it. What a comment asks for is done before the pull request is judged and merged,
//! so that a denial is not overtaken.

use chrono::{DateTime, TimeDelta, Utc};

use super::facts::Ground;
use super::in_force::InForce;
use super::pull_request::ignore_refusal;
use super::{Engine, EngineError, answers};
use crate::access::approval::Involved;
use crate::access::command::{self, Command, Outcome, may_extend};
use crate::access::decide::{Decision, Verdict, has_error};
use crate::access::explain::Tree;
use crate::access::facts::{Account, Directory, PullRequest, PullState};
use crate::access::grant::{EndReason, GrantId};
use crate::access::principals::{self, Needs};
use crate::access::removal;
use crate::github::{Comment, GithubError, Reaction, Repository};
use crate::ledger::{Denied, Event, EventKind};
use crate::policy::name::{CommitId, RepositoryName, RoleName};
use crate::policy::{Loaded, Policy};
use crate::store::{Claim, GrantRow, Heeded, Job, Message, Tx};

/// For how long somebody whom GitHub does not find in the organisation is looked for again.
const STRANGER: TimeDelta = TimeDelta::minutes(10);

/// How the marks begin that tell which comments were changed.
pub(super) const EDITED: &str = "edited";

/// The mark that tells that a comment was changed.
pub(super) fn edited(repository: &RepositoryName, comment: u64) -> String {
    format!("{EDITED} {repository} {comment}")
}

/// Where something is asked for.
pub(super) struct Scene<'a> {
    pub github: &'a Repository,
    pub repository: &'a RepositoryName,
    /// The default branch.
    pub branch: &'a str,
    pub pull: &'a PullRequest,
}

/// What somebody asks for.
pub(super) struct Ask<'a> {
    pub by: &'a Account,
    pub command: &'a Command,
    /// Tells one asking from another: the comment, or the webhook about a button.
    pub occasion: &'a str,
    /// When they did.
    pub at: DateTime<Utc>,
}

/// What is to be done about it.
pub(super) struct Reply {
    pub outcome: Outcome,
    /// Markdown, posted once. Nothing, if the reaction says it all.
    pub said: Option<String>,
    /// Whether the pull request is closed.
    pub closes: bool,
    pub ends: Vec<GrantRow>,
    pub extensions: Vec<(GrantId, u64)>,
    pub event: Option<Event>,
    pub jobs: Vec<Job>,
}

/// What became of the commands of a pull request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Heeding {
    /// Nothing is left.
    Done,
    /// One of them closed it.
    Closed,
    /// It was merged, and what that gave is not read yet: they wait for that.
    Unread,
}

impl Reply {
    pub(super) fn nothing() -> Self {
        Self {
            outcome: Outcome::Done,
            said: None,
            closes: false,
            ends: Vec::new(),
            extensions: Vec::new(),
            event: None,
            jobs: Vec::new(),
        }
    }

    fn says(text: String) -> Self {
        Self { said: Some(text), ..Self::nothing() }
    }

    pub(super) fn refused(why: &str) -> Self {
        Self { outcome: Outcome::Refused, said: Some(answers::refused(why)), ..Self::nothing() }
    }
}

impl Engine {
    /// Does what comments on a pull request ask for.
    pub(super) async fn heed(&self, claim: &Claim, scene: &Scene<'_>) -> Result<Heeding, EngineError> {
        let (mut closed, mut failed) = (false, None);
        let known = self.inner.store.heeded(scene.repository, scene.pull.number).await?;
        for (decided, _) in known.iter().filter(|(_, done)| !done) {
            closed |= self.follow_up(claim, scene, decided).await?;
        }
        let comments = match scene.github.comments(scene.pull.number).await {
            Err(GithubError::Invalid { message }) => {
                tracing::warn!(
                    pull = scene.pull.number,
                    message,
                    "the comments cannot all be read; no command is heeded"
                );
                return Ok(Heeding::Done);
            }
            comments => comments?,
        };
        for comment in comments {
            if closed || known.iter().any(|(decided, _)| decided.comment == comment.id) {
                continue;
            }
            // An app speaks for nobody.
            let Some(by) = comment.author.as_ref().filter(|by| !by.bot && !comment.by_app) else { continue };
            let Some(mut asked) = command::parse(&comment.body) else { continue };
            if self.is_edited(scene.repository, &comment).await? {
                asked = Err(command::Mistake::Edited);
            }
            if self.is_unread(scene).await? {
                return Ok(Heeding::Unread);
            }
            // One that cannot be done now keeps the others from nothing: access may have to end.
            match self.heed_one(claim, scene, &comment, by, asked).await {
                Ok(closes) => closed |= closes,
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        if let Some(error) = failed {
            return Err(error);
        }
        Ok(if closed { Heeding::Closed } else { Heeding::Done })
    }

    /// Whether a comment is not what it was when it was written: somebody else may have changed it.
    pub(super) async fn is_edited(&self, repository: &RepositoryName, comment: &Comment) -> Result<bool, EngineError> {
        Ok(comment.edited || self.inner.store.mark(&edited(repository, comment.id)).await?.is_some())
    }

    /// Whether a merged pull request may give something that is not known yet.
    pub(super) async fn is_unread(&self, scene: &Scene<'_>) -> Result<bool, EngineError> {
        if !matches!(scene.pull.state, PullState::Merged { .. }) || self.gives_access(scene).await? {
            return Ok(false);
        }
        let head = scene.github.head(scene.branch).await?;
        Ok(!self.has_read(scene.repository, &head).await?)
    }

    /// Whether the default branch was read up to this head.
    pub(super) async fn has_read(&self, repository: &RepositoryName, head: &CommitId) -> Result<bool, EngineError> {
        let so_far = self.inner.store.read_so_far(repository.as_str()).await?;
        Ok(so_far.and_then(|so_far| so_far.head).as_deref() == Some(head.as_str()))
    }

    /// Does what one comment asks for; true if that closed the pull request.
    async fn heed_one(
        &self,
        claim: &Claim,
        scene: &Scene<'_>,
        comment: &Comment,
        by: &Account,
        asked: Result<Command, command::Mistake>,
    ) -> Result<bool, EngineError> {
        let verb = asked.as_ref().map_or("", Command::verb).to_owned();
        let heeded = |outcome, closes| Heeded { comment: comment.id, verb: verb.clone(), outcome, closes };
        let now = self.inner.clock.now();
        // Ending what is running is done again by a new database: until the file is gone, it would begin again.
        let after_merge = matches!(&scene.pull.state, PullState::Merged { at, .. } if comment.created_at >= *at);
        let runs = verb == "revoke" && after_merge && self.gives_access(scene).await?;
        let answered = !runs && comment.has_reactions && self.was_answered(scene.github, comment).await?;
        if answered || !self.is_somebody(scene, by).await? {
            // GitHub does not always find who is there.
            if answered || now - comment.created_at > STRANGER {
                let mut tx = self.inner.store.begin().await?;
                tx.heed(scene.repository, scene.pull.number, &heeded(Outcome::Ignored, false), now).await?;
                tx.heeded(scene.repository, comment.id, now).await?;
                tx.commit().await?;
            }
            return Ok(false);
        }
        ignore_refusal(scene.github.react(comment.id, Reaction::Eyes).await)?;
        let mut occasion = format!("comment-{}", comment.id);
        let (reply, command) = match asked {
            Ok(command) => (
                self.obey(scene, &Ask { by, command: &command, occasion: &occasion, at: comment.created_at }).await?,
                command,
            ),
            Err(mistake) => {
                // The same mistake is explained once on a pull request.
                occasion = format!("mistake-{mistake:?}");
                let said = Some(answers::mistake(&mistake));
                (Reply { outcome: Outcome::Misunderstood, said, ..Reply::nothing() }, Command::Help)
            }
        };
        let decided = heeded(reply.outcome, reply.closes);
        let mut tx = self.inner.store.begin().await?;
        tx.assert_held(claim).await?;
        let ask = Ask { by, command: &command, occasion: &occasion, at: comment.created_at };
        self.act(&mut tx, scene, &ask, reply).await?;
        tx.heed(scene.repository, scene.pull.number, &decided, now).await?;
        tx.commit().await?;
        self.wake();
        self.follow_up(claim, scene, &decided).await
    }

    /// Whether somebody has access by a pull request.
    async fn gives_access(&self, scene: &Scene<'_>) -> Result<bool, EngineError> {
        Ok(!self.inner.store.live_grants_about(scene.repository, scene.pull.number).await?.is_empty())
    }

    /// Whether a comment has our answer as a reaction: a database that was lost knew it.
    async fn was_answered(&self, github: &Repository, comment: &Comment) -> Result<bool, EngineError> {
        let me = self.inner.github.me().await?.login();
        let reactions = match github.reactions(comment.id).await {
            Err(GithubError::NotFound { .. }) => return Ok(true),
            reactions => reactions?,
        };
        Ok(reactions.iter().any(|(by, reaction)| {
            let ours = by.as_ref().is_some_and(|by| by.bot && by.login.as_str() == me);
            ours && matches!(reaction, Reaction::Rocket | Reaction::ThumbsDown | Reaction::Confused)
        }))
    }

    /// Whether somebody belongs to the organisation, or has a hand in the pull request. Others get no answer: on a public repository
    /// anybody can comment.
    pub(super) async fn is_somebody(&self, scene: &Scene<'_>, account: &Account) -> Result<bool, EngineError> {
        if account.bot {
            return Ok(false);
        }
        let grants = self.inner.store.live_grants_about(scene.repository, scene.pull.number).await?;
        let involved =
            scene.pull.author.as_ref() == Some(account) || grants.iter().any(|row| may_extend(&row.grant, account));
        Ok(involved || scene.github.is_member(&account.login).await?)
    }

    /// Writes down what is done about an asking.
    pub(super) async fn act(
        &self,
        tx: &mut Tx,
        scene: &Scene<'_>,
        ask: &Ask<'_>,
        reply: Reply,
    ) -> Result<(), EngineError> {
        let (repository, number, now) = (scene.repository, scene.pull.number, self.inner.clock.now());
        for row in reply.ends {
            // It may have ended meanwhile.
            if tx.is_live(repository, &row.grant.id).await? {
                self.say(tx, repository, &row.grant, "revoked", answers::revoked(&row.grant, ask.by), now).await?;
                self.end_by(tx, row, EndReason::Revoked, Some(ask.by), now).await?;
            }
        }
        for (grant, pull) in reply.extensions {
            tx.set_extension(repository, &grant, pull).await?;
            tx.schedule(&Job::Pull(repository.clone(), pull), now).await?;
        }
        if let Some(event) = &reply.event {
            tx.record(event).await?;
        }
        if let Some(body) = reply.said {
            let message = Message { id: format!("{repository}/pull-{number}/{}", ask.occasion), body };
            if tx.say(repository, number, &message, now).await? {
                tx.schedule(&Job::Messages(repository.clone(), number), now).await?;
            }
        }
        for job in reply.jobs {
            tx.schedule(&job, now).await?;
        }
        Ok(())
    }

    /// Does what is left of a command that was decided; true if it closed the pull request.
    async fn follow_up(&self, claim: &Claim, scene: &Scene<'_>, decided: &Heeded) -> Result<bool, EngineError> {
        let closes = decided.closes && scene.pull.state == PullState::Open;
        if closes {
            scene.github.close_pull(scene.pull.number).await?;
        }
        let reaction = match decided.outcome {
            Outcome::Done => Some(Reaction::Rocket),
            Outcome::Refused => Some(Reaction::ThumbsDown),
            Outcome::Misunderstood => Some(Reaction::Confused),
            Outcome::Ignored => None,
        };
        if let Some(reaction) = reaction {
            ignore_refusal(scene.github.react(decided.comment, reaction).await)?;
        }
        let mut tx = self.inner.store.begin().await?;
        tx.assert_held(claim).await?;
        tx.heeded(scene.repository, decided.comment, self.inner.clock.now()).await?;
        tx.commit().await?;
        Ok(closes)
    }

    /// Decides what is to be done about an asking.
    pub(super) async fn obey(&self, scene: &Scene<'_>, ask: &Ask<'_>) -> Result<Reply, EngineError> {
        let is_open = scene.pull.state == PullState::Open;
        match ask.command {
            Command::Help => Ok(Reply::says(answers::help())),
            Command::Deny { reason } if is_open => self.deny(scene, ask, reason).await,
            Command::Deny { .. } => {
                Ok(Reply::refused("This pull request is not open; `/daypass revoke` ends access that is running."))
            }
            Command::Revoke => self.revoke(scene, ask).await,
            Command::Extend(by) => self.extend(scene, ask, *by).await,
            Command::Explain => self.explain(scene).await,
            Command::Reviewed => {
                Ok(Reply::refused("An emergency is reviewed in its own issue, which is linked above."))
            }
            // An open one is judged right after this, whatever it was that called.
            Command::Recheck => {
                let grants = self.inner.store.live_grants_about(scene.repository, scene.pull.number).await?;
                let given = grants.iter().flat_map(|row| &row.grant.entitlements);
                let jobs = given.map(|entitlement| Job::Target(entitlement.target.clone()));
                Ok(Reply { jobs: jobs.collect(), ..Reply::nothing() })
            }
        }
    }

    async fn deny(&self, scene: &Scene<'_>, ask: &Ask<'_>, reason: &str) -> Result<Reply, EngineError> {
        let Some((judged, loaded)) = self.judged_now(scene).await? else {
            return Ok(Reply::refused(
                "Who may deny this cannot be told now: the policy or the pull request cannot be read.",
            ));
        };
        let Some(policy) = &loaded.policy else { return Ok(Reply::nothing()) };
        let mut directory = judged.directory.clone();
        self.add_member(scene.github, &mut directory, ask.by).await?;
        // Whoever pushes something else after the denial is denied what they asked for all the same.
        let then = self.denied_then(scene, ask, policy).await?;
        let then = then.filter(|(_, denied)| !denied.is_empty() && !judged.has_a_hand(ask.by, policy, &directory));
        if then.is_none() && !judged.may_be_denied_by(ask.by, policy, &directory) {
            let why = "Only somebody who may approve this request can deny it. Whoever asked withdraws it by closing the pull request.";
            return Ok(Reply::refused(why));
        }
        // What was refused anyway was not theirs to deny, nor is what others approve.
        let theirs = judged.judgement.requests.iter().filter(|decision| {
            !has_error(&decision.findings) && judged.is_deniable(decision, ask.by, policy, &directory)
        });
        let requests = theirs.filter_map(|decision| {
            Some(Denied { subject: decision.subject.as_ref()?.id, role: decision.request.role.clone() })
        });
        let mut requests: Vec<Denied> = requests.collect();
        let mut head = scene.pull.head.clone();
        if let Some((then, denied)) = then {
            (head, requests) = (then, denied);
        }
        let details = serde_json::json!({ "pull_request": scene.pull.number, "head": head, "by": ask.by, "reason": reason, "requests": requests });
        let about = format!("pull-{}", scene.pull.number);
        let event =
            Event::new(scene.repository, EventKind::Denied, about, ask.occasion, self.inner.clock.now(), details);
        let said = answers::denied(ask.by, reason);
        Ok(Reply { closes: true, event: Some(event), ..Reply::says(said) })
    }

    /// What a denial denies, if the pull request asked for something else when it was written: that, as far as whoever denies it may
    /// approve it.
    async fn denied_then(
        &self,
        scene: &Scene<'_>,
        ask: &Ask<'_>,
        policy: &Policy,
    ) -> Result<Option<(CommitId, Vec<Denied>)>, EngineError> {
        #[derive(serde::Deserialize)]
        struct Asked {
            subject: Option<Account>,
            role: RoleName,
        }
        let store = &self.inner.store;
        let asked = store.events_of(scene.repository, EventKind::Requested, scene.pull.created_at).await?;
        let here = serde_json::json!(scene.pull.number);
        let then = asked.into_iter().rfind(|event| event.details["pull_request"] == here && event.at <= ask.at);
        let Some(then) = then else { return Ok(None) };
        let Ok(head) = serde_json::from_value::<CommitId>(then.details["head"].clone()) else { return Ok(None) };
        let about = format!("{}/pull-{}/{}/{head}", scene.repository, scene.pull.number, EventKind::Decided);
        // What was refused anyway was not theirs to deny.
        if head == scene.pull.head || store.event(&format!("{about}-{:?}", Verdict::Refused)).await?.is_some() {
            return Ok(None);
        }
        let asked: Vec<Asked> = serde_json::from_value(then.details["requests"].clone()).unwrap_or_default();
        let mut needs = Needs::default();
        needs.extend(
            asked.iter().filter_map(|one| policy.roles.get(&one.role)).map(|role| Needs::of_role(role, policy)),
        );
        let mut directory = self.directory(scene.github, &needs).await?;
        self.add_member(scene.github, &mut directory, ask.by).await?;
        let may = |role: &RoleName| {
            let rule = policy.roles.get(role).and_then(|role| policy.approvals.get(&role.approval));
            let mut stages = rule.into_iter().flat_map(|rule| &rule.stages);
            stages.any(|stage| principals::includes(&stage.everybody(), ask.by, policy, &directory))
        };
        let theirs = |one: &Asked| may(&one.role) && one.subject.as_ref() != Some(ask.by);
        let denied = asked.into_iter().filter(theirs);
        let denied = denied.filter_map(|one| Some(Denied { subject: one.subject?.id, role: one.role }));
        Ok(Some((head, denied.collect())))
    }

    async fn revoke(&self, scene: &Scene<'_>, ask: &Ask<'_>) -> Result<Reply, EngineError> {
        let rows = self.inner.store.live_grants_about(scene.repository, scene.pull.number).await?;
        let Some(first) = rows.first().cloned() else {
            return Ok(Reply::refused(
                "Nobody has access by this pull request. Closing an open one withdraws the request.",
            ));
        };
        let mut ends: Vec<GrantRow> = rows.iter().filter(|row| may_extend(&row.grant, ask.by)).cloned().collect();
        if ends.len() < rows.len() {
            // Only for this does the policy matter: whoever has the access need not wait for it.
            let head = scene.github.head(scene.branch).await?;
            let loaded = self.in_force(scene.github, scene.repository, &head).await?.loaded;
            if let Some(policy) = &loaded.policy {
                let needs = command::needs(rows.iter().map(|row| &row.grant), policy);
                let mut directory = self.directory(scene.github, &needs).await?;
                self.add_member(scene.github, &mut directory, ask.by).await?;
                ends = rows;
                ends.retain(|row| removal::may_end(&row.grant, ask.by, policy, &directory));
            }
        }
        if ends.is_empty() {
            return Ok(Reply::refused(&answers::may_not_end(&first.grant)));
        }
        let here = ends.iter().any(|row| row.grant.id.pull_request == scene.pull.number);
        let said = ends.first().filter(|_| !here).map(|row| answers::elsewhere(&row.grant));
        Ok(Reply { ends, said, ..Reply::nothing() })
    }

    async fn explain(&self, scene: &Scene<'_>) -> Result<Reply, EngineError> {
        let grants = self.inner.store.live_grants_about(scene.repository, scene.pull.number).await?;
        if !grants.is_empty() {
            return Ok(Reply::says(grants.iter().map(|row| answers::standing(&row.grant)).collect()));
        }
        if scene.pull.state != PullState::Open {
            return Ok(Reply::says("Nobody has access by this pull request.\n".to_owned()));
        }
        let Some((judged, loaded)) = self.judged_now(scene).await? else {
            return Ok(Reply::refused("The policy or the pull request cannot be read; the check tells why."));
        };
        let Some(policy) = &loaded.policy else { return Ok(Reply::nothing()) };
        let trees = judged.judgement.requests.iter().map(|decision| answers::explanation(&Tree::of(decision, policy)));
        let text: String = trees.collect();
        Ok(match text.is_empty() {
            true => Reply::says(
                "This asks for no access. What there is to say stands in the first comment and in the check.\n"
                    .to_owned(),
            ),
            false => Reply::says(text),
        })
    }

    /// The judgement about an open pull request and the policy it was judged under; `None` if one of them cannot be read.
    async fn judged_now(
        &self,
        scene: &Scene<'_>,
    ) -> Result<Option<(super::facts::Judged, std::sync::Arc<Loaded>)>, EngineError> {
        let base = scene.github.head(scene.branch).await?;
        let InForce { loaded, files, .. } = self.in_force(scene.github, scene.repository, &base).await?;
        let Some(policy) = &loaded.policy else { return Ok(None) };
        let before = self.files(scene.github, &base).await?;
        let ground = Ground { policy, in_force: &files, base: &base, before: &before };
        match self.judge(scene.github, scene.repository, scene.pull.clone(), ground).await {
            Err(EngineError::Github(GithubError::Invalid { .. })) => Ok(None),
            judged => Ok(Some((judged?, loaded.clone()))),
        }
    }

    /// Finds out whether somebody belongs to the organisation.
    async fn add_member(
        &self,
        github: &Repository,
        directory: &mut Directory,
        account: &Account,
    ) -> Result<(), EngineError> {
        if !directory.is_member(account) && github.is_member(&account.login).await? {
            directory.members.insert(account.id);
        }
        Ok(())
    }
}

impl super::facts::Judged {
    /// Whether somebody may deny it, or say yes to it again: who may approve a stage and has no hand in it.
    pub(super) fn may_be_denied_by(&self, account: &Account, policy: &Policy, directory: &Directory) -> bool {
        command::may_deny(self.judgement.approvals(), account, &self.involved(policy, directory), policy, directory)
    }

    /// Whether somebody asks for it, would get it, or wrote or pushed a commit of it.
    fn has_a_hand(&self, account: &Account, policy: &Policy, directory: &Directory) -> bool {
        self.involved(policy, directory).how(account).is_some()
    }

    fn involved(&self, policy: &Policy, directory: &Directory) -> Involved {
        let case = crate::access::case::Case { policy, directory, facts: &self.facts, now: self.facts.pull.created_at };
        let (mut involved, _) = crate::access::decide::involved(&self.facts, None, case);
        for subject in self.judgement.requests.iter().filter_map(|decision| decision.subject.as_ref()) {
            involved.add(subject, crate::access::approval::Involvement::Subject);
        }
        involved
    }

    /// Whether somebody may approve one of its requests, now or later.
    fn is_deniable(&self, decision: &Decision, by: &Account, policy: &Policy, directory: &Directory) -> bool {
        command::may_deny(&decision.approval, by, &Involved::default(), policy, directory)
    }
}
