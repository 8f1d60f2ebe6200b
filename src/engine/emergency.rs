//! The review of emergencies: an issue that somebody who could have approved it ends with `/daypass reviewed`. Until then it stays
//! open, whoever closes it, and grows louder once it is overdue.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};

use super::messages::marker;
use super::pull_request::ignore_refusal;
use super::{Engine, EngineError, emergency_words as words};
use crate::access::approval::Involved;
use crate::access::case::{Case, PullFacts};
use crate::access::command::{self, Command, Mistake};
use crate::access::decide::involved;
use crate::access::emergency;
use crate::access::facts::{Account, Directory};
use crate::access::grant::{EndReason, Grant, GrantId, State, Window};
use crate::access::history::History;
use crate::github::{Comment, Reaction, Repository};
use crate::ledger::{Event, EventKind};
use crate::policy::name::RepositoryName;
use crate::policy::{Policy, Principal};
use crate::store::{Claim, Emergency, Job, Message, Tx};

/// A comment, and who wrote it.
type Heard = (Comment, Account);

/// How often it is said that a review is overdue.
const AGAIN: TimeDelta = TimeDelta::days(1);
/// How long a comment of somebody who may not review is looked at again: GitHub does not always find who is there.
const PATIENCE: TimeDelta = TimeDelta::minutes(10);

impl Engine {
    /// Sees that the use of break-glass is reviewed.
    pub(super) async fn look_at_emergency(
        &self,
        claim: &Claim,
        repository: &RepositoryName,
        id: &GrantId,
    ) -> Result<(), EngineError> {
        let Some(grant) = self.emergency_grant(repository, id).await? else { return self.done(claim).await };
        let known = self.inner.store.emergency(repository, id).await?;
        // A new database knows from the ledger that somebody reviewed it, who may have left since.
        if known.is_none() && self.was_reviewed(repository, id).await? {
            return self.done(claim).await;
        }
        if !grant.break_glass || known.as_ref().is_some_and(|known| known.reviewed_at.is_some()) {
            return self.done(claim).await;
        }
        let (github, branch) = self.open(repository).await?;
        let loaded = self.in_force(&github, repository, &github.head(&branch).await?).await?.loaded;
        // A broken policy names nobody. Somebody will mend it; until then the issue waits.
        let Some(policy) = &loaded.policy else {
            return Err(EngineError::NotYet(
                "who may review an emergency is told by the policy, which is broken".to_owned(),
            ));
        };
        let grant = &grant;
        let mut emergency = known.unwrap_or_else(|| Emergency {
            grant: id.clone(),
            issue: None,
            due_at: grant.window.starts_at + emergency::review_within(&grant.role, policy).delta(),
            reviewed_at: None,
        });
        let issue = self.emergency_issue(claim, &github, repository, grant, policy, &mut emergency).await?;
        let (comments, mistakes) = self.heard(&github, repository, grant, issue).await?;
        self.answer_mistakes(&github, repository, grant, issue, mistakes).await?;
        let mut directory = self.directory(&github, &emergency::needs(&grant.role, policy)).await?;
        let involved = match comments.is_empty() {
            true => Involved::default(),
            false => self.hands_in(&github, repository, grant, policy).await?,
        };
        let now = self.inner.clock.now();
        let mut look_again = None;
        for (comment, by) in &comments {
            if !directory.is_member(by) && github.is_member(&by.login).await? {
                directory.members.insert(by.id);
            }
            if emergency::may_review(grant, by, &involved, policy, &directory) {
                return self.reviewed(claim, &github, repository, grant, emergency, (comment, by)).await;
            }
            if now - comment.created_at < PATIENCE {
                look_again = Some(comment.created_at + PATIENCE);
            } else {
                ignore_refusal(github.react(comment.id, Reaction::ThumbsDown).await)?;
                let mut tx = self.inner.store.begin().await?;
                let who = (grant, format!("comment-{}", comment.id));
                say_on_issue(&mut tx, repository, issue, who, words::may_not_review(by, grant), now).await?;
                tx.commit().await?;
            }
        }
        let reviewers = mentions(&emergency::reviewers(&grant.role, policy), policy, repository);
        let next = self.insist(&github, repository, grant, (issue, emergency.due_at), &reviewers).await?;
        let tx = self.inner.store.begin().await?;
        self.finish(claim, tx, Some(look_again.map_or(next, |again| again.min(next)))).await
    }

    /// The comments by which people say that they reviewed it, with who wrote each; and those that only look like it.
    async fn heard(
        &self,
        github: &Repository,
        repository: &RepositoryName,
        grant: &Grant,
        issue: u64,
    ) -> Result<(Vec<Heard>, Vec<(Heard, Mistake)>), EngineError> {
        let (mut reviews, mut mistakes) = (Vec::new(), Vec::new());
        for comment in github.comments(issue).await? {
            // What is older was said about something else, and an app speaks for nobody.
            let by = comment.author.clone().filter(|by| !by.bot && !comment.by_app);
            let Some(by) = by.filter(|_| comment.created_at >= grant.window.starts_at) else { continue };
            let Some(asked) = command::parse(&comment.body) else { continue };
            match asked {
                _ if self.is_edited(repository, &comment).await? => mistakes.push(((comment, by), Mistake::Edited)),
                Ok(Command::Reviewed) => reviews.push((comment, by)),
                Ok(_) => mistakes.push(((comment, by), Mistake::Unknown)),
                Err(mistake) => mistakes.push(((comment, by), mistake)),
            }
        }
        Ok((reviews, mistakes))
    }

    /// Tells members what is wrong with what they wrote: each mistake once.
    async fn answer_mistakes(
        &self,
        github: &Repository,
        repository: &RepositoryName,
        grant: &Grant,
        issue: u64,
        mistakes: Vec<(Heard, Mistake)>,
    ) -> Result<(), EngineError> {
        for ((comment, by), mistake) in mistakes {
            if !github.is_member(&by.login).await? {
                continue;
            }
            let now = self.inner.clock.now();
            let mut tx = self.inner.store.begin().await?;
            let who = (grant, format!("mistake-{mistake:?}"));
            let new = say_on_issue(&mut tx, repository, issue, who, words::mistake(&mistake), now).await?;
            tx.commit().await?;
            if new {
                ignore_refusal(github.react(comment.id, Reaction::Confused).await)?;
            }
        }
        Ok(())
    }

    /// Who else has a hand in the request: whoever wrote or pushed a commit of it.
    async fn hands_in(
        &self,
        github: &Repository,
        repository: &RepositoryName,
        grant: &Grant,
        policy: &Policy,
    ) -> Result<Involved, EngineError> {
        let pull = github.pull(grant.id.pull_request).await?;
        let commits = github.pull_commits(pull.number).await?;
        let pushers = self.pushers(repository, pull.number, &commits).await?;
        let history = History { pushers, ..History::default() };
        let facts = PullFacts { pull, commits, reviews: Vec::new(), extends: None, history };
        let directory = Directory::default();
        let case = Case { policy, directory: &directory, facts: &facts, now: self.inner.clock.now() };
        Ok(involved(&facts, Some(&grant.subject), case).0)
    }

    /// Keeps the issue open, and says that the review is overdue once it is. When to look again.
    async fn insist(
        &self,
        github: &Repository,
        repository: &RepositoryName,
        grant: &Grant,
        (issue, due_at): (u64, DateTime<Utc>),
        reviewers: &[String],
    ) -> Result<DateTime<Utc>, EngineError> {
        let now = self.inner.clock.now();
        let reopened = github.reopen_issue(issue).await?;
        let mut tx = self.inner.store.begin().await?;
        if reopened {
            let occasion = format!("reopened-{}", now.timestamp());
            say_on_issue(&mut tx, repository, issue, (grant, occasion), words::reopened(), now).await?;
        }
        let next = match overdue(due_at, now) {
            None => due_at,
            Some(times) => {
                let body = words::overdue(grant, reviewers);
                say_on_issue(&mut tx, repository, issue, (grant, format!("overdue-{times}")), body, now).await?;
                let details = serde_json::json!({ "grant": grant.id, "issue": issue, "due_at": due_at });
                tx.record(&Event::new(repository, EventKind::ReviewOverdue, &grant.id, times, now, details)).await?;
                due_at + AGAIN * i32::try_from(times + 1).unwrap_or(i32::MAX)
            }
        };
        tx.commit().await?;
        Ok(next)
    }

    /// The issue in which it is reviewed: the one there is, or a new one. Everybody who may review it is mentioned, so that they are
    /// told at once.
    async fn emergency_issue(
        &self,
        claim: &Claim,
        github: &Repository,
        repository: &RepositoryName,
        grant: &Grant,
        policy: &Policy,
        emergency: &mut Emergency,
    ) -> Result<u64, EngineError> {
        if let Some(issue) = emergency.issue {
            return Ok(issue);
        }
        let mark = marker(&format!("{repository}/{}/emergency", grant.id));
        let me = self.inner.github.me().await?.login();
        // A crash may have come between opening it and remembering.
        let issue = match github.issue_of(&me, grant.window.starts_at, &mark).await? {
            Some(issue) => issue,
            None => {
                let reviewers = mentions(&emergency::reviewers(&grant.role, policy), policy, repository);
                let body = format!("{mark}\n{}", words::body(grant, emergency.due_at, &reviewers));
                github.create_issue(&words::title(grant), &body).await?
            }
        };
        emergency.issue = Some(issue);
        let now = self.inner.clock.now();
        let mut tx = self.inner.store.begin().await?;
        tx.assert_held(claim).await?;
        tx.put_emergency(repository, emergency).await?;
        let body = words::told_on_request(grant, issue, emergency.due_at);
        self.say(&mut tx, repository, grant, "emergency", body, now).await?;
        let details = serde_json::json!({ "grant": grant.id, "issue": issue, "due_at": emergency.due_at });
        tx.record(&Event::new(repository, EventKind::Emergency, &grant.id, issue, now, details)).await?;
        tx.commit().await?;
        Ok(issue)
    }

    async fn reviewed(
        &self,
        claim: &Claim,
        github: &Repository,
        repository: &RepositoryName,
        grant: &Grant,
        emergency: Emergency,
        (comment, by): (&Comment, &Account),
    ) -> Result<(), EngineError> {
        let Some(issue) = emergency.issue else { return self.done(claim).await };
        ignore_refusal(github.react(comment.id, Reaction::Rocket).await)?;
        github.close_issue(issue).await?;
        let now = self.inner.clock.now();
        let mut tx = self.inner.store.begin().await?;
        tx.put_emergency(repository, &Emergency { reviewed_at: Some(comment.created_at), ..emergency }).await?;
        let details = serde_json::json!({ "grant": grant.id, "issue": issue, "by": by, "comment": comment.id,
            "at": comment.created_at, "due_at": emergency.due_at });
        tx.record(&Event::new(repository, EventKind::Reviewed, &grant.id, comment.id, now, details)).await?;
        say_on_issue(&mut tx, repository, issue, (grant, "reviewed".to_owned()), words::reviewed(by), now).await?;
        self.finish(claim, tx, None).await
    }

    /// The grant of an emergency. A new database does not know it if it is over, but the ledger does.
    async fn emergency_grant(&self, repository: &RepositoryName, id: &GrantId) -> Result<Option<Grant>, EngineError> {
        if let Some(row) = self.inner.store.grant(repository, id).await? {
            return Ok(Some(row.grant));
        }
        let granted = self.inner.store.events_of(repository, EventKind::Granted, DateTime::UNIX_EPOCH).await?;
        let of = |event: &&Event| event.details["grant"] == serde_json::json!(id);
        Ok(granted.iter().rev().find(of).and_then(|event| on_record(id, event.details.clone())))
    }

    /// The emergencies nobody has reviewed: those that are known, and those only the ledger tells of.
    pub(super) async fn emergencies(&self, repository: &RepositoryName) -> Result<Vec<Emergency>, EngineError> {
        let mut found = self.inner.store.emergencies(repository).await?;
        let of_kind = async |kind| self.inner.store.events_of(repository, kind, DateTime::UNIX_EPOCH).await;
        let reviewed = of_kind(EventKind::Reviewed).await?;
        for event in of_kind(EventKind::Emergency).await? {
            let told = |name: &str| event.details[name].clone();
            let Ok(grant) = serde_json::from_value::<GrantId>(told("grant")) else { continue };
            if found.iter().any(|known| known.grant == grant) {
                continue;
            }
            let review = reviewed.iter().find(|review| review.details["grant"] == told("grant"));
            let due_at = serde_json::from_value(told("due_at")).unwrap_or(event.at);
            let emergency =
                Emergency { grant, issue: told("issue").as_u64(), due_at, reviewed_at: review.map(|review| review.at) };
            let mut tx = self.inner.store.begin().await?;
            tx.put_emergency(repository, &emergency).await?;
            tx.commit().await?;
            found.push(emergency);
        }
        found.retain(|emergency| emergency.reviewed_at.is_none());
        Ok(found)
    }

    async fn was_reviewed(&self, repository: &RepositoryName, id: &GrantId) -> Result<bool, EngineError> {
        let reviewed = self.inner.store.events_of(repository, EventKind::Reviewed, DateTime::UNIX_EPOCH).await?;
        Ok(reviewed.iter().any(|review| review.details["grant"] == serde_json::json!(id)))
    }

    /// Asks for a look at the emergencies nobody has reviewed.
    pub(super) async fn schedule_emergencies(
        &self,
        tx: &mut Tx,
        repository: &RepositoryName,
        waiting: Vec<Emergency>,
    ) -> Result<(), EngineError> {
        for emergency in waiting {
            tx.schedule(&Job::Emergency(repository.clone(), emergency.grant), self.inner.clock.now()).await?;
        }
        Ok(())
    }
}

/// A grant that is over, as its event tells it.
fn on_record(id: &GrantId, mut details: serde_json::Value) -> Option<Grant> {
    let window: Window = serde_json::from_value(details["window"].clone()).ok()?;
    let ended = State::Ended { at: window.ends_at, reason: EndReason::Expired };
    details["id"] = serde_json::to_value(id).ok()?;
    details["revert_at"] = serde_json::to_value(window.ends_at).ok()?;
    details["state"] = serde_json::to_value(ended).ok()?;
    serde_json::from_value(details).ok()
}

/// How often it should have been said by now that a review is overdue, not counting the first time; `None` if it is not.
fn overdue(due: DateTime<Utc>, now: DateTime<Utc>) -> Option<i64> {
    (now >= due).then(|| (now - due).num_seconds() / AGAIN.num_seconds())
}

/// Says something on the issue, once; true if it was not said yet.
async fn say_on_issue(
    tx: &mut Tx,
    repository: &RepositoryName,
    issue: u64,
    (grant, occasion): (&Grant, String),
    body: String,
    now: DateTime<Utc>,
) -> Result<bool, EngineError> {
    let message = Message { id: format!("{repository}/{}/emergency/{occasion}", grant.id), body };
    let new = tx.say(repository, issue, &message, now).await?;
    if new {
        tx.schedule(&Job::Messages(repository.clone(), issue), now).await?;
    }
    Ok(new)
}

/// How GitHub is told to tell them: people and teams of the organisation.
fn mentions(principals: &BTreeSet<Principal>, policy: &Policy, repository: &RepositoryName) -> Vec<String> {
    let flat = crate::access::principals::written_out(principals, policy);
    let one = |principal: &Principal| match principal {
        Principal::User(login) => Some(format!("@{login}")),
        Principal::Team(slug) => Some(format!("@{}/{slug}", repository.owner())),
        Principal::Everyone => Some("everybody in the organisation".to_owned()),
        Principal::App(_) | Principal::Group(_) => None,
    };
    flat.iter().filter_map(one).collect()
}
