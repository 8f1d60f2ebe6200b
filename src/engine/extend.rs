//! Asking for more of a grant: the pull request that Daypass opens for whoever asks.

use super::commands::{Ask, Reply, Scene};
use super::revert::Proposal;
use super::{Engine, EngineError, answers};
use crate::access::command::may_extend;
use crate::access::extension::with_duration;
use crate::access::facts::PullRequest;
use crate::access::grant::Grant;
use crate::policy::{Duration, Policy, request};
use crate::store::GrantRow;

/// Branches that begin with this hold requests to extend a grant.
const EXTENSIONS: &str = "daypass/extend/";

impl Engine {
    /// Whether Daypass opened a pull request to extend a grant. Whether it does is told by what it changes.
    pub(super) async fn asks_to_extend(&self, pull: &PullRequest) -> Result<bool, EngineError> {
        Ok(pull.head_branch.starts_with(EXTENSIONS) && self.is_own(pull).await?)
    }

    /// Opens a pull request for each of the running grants that somebody may ask to extend.
    pub(super) async fn extend(&self, scene: &Scene<'_>, ask: &Ask<'_>, by: Duration) -> Result<Reply, EngineError> {
        let rows = self.inner.store.live_grants_about(scene.repository, scene.pull.number).await?;
        let Some(first) = rows.first() else { return Ok(Reply::refused("Nobody has access by this pull request.")) };
        let (may, may_not): (Vec<&GrantRow>, _) = rows.iter().partition(|row| may_extend(&row.grant, ask.by));
        if may.is_empty() {
            return Ok(Reply::refused(&answers::may_not_extend(&may_not.first().unwrap_or(&first).grant)));
        }
        let mut reply = Reply::nothing();
        let mut said = String::new();
        for row in may {
            match self.ask_to_extend(scene, ask, &row.grant, by).await? {
                Ok(pull) => {
                    reply.extensions.push((row.grant.id.clone(), pull));
                    said.push_str(&answers::asked(&row.grant, by, pull));
                }
                Err(why) => said.push_str(&answers::refused(&why)),
            }
        }
        if reply.extensions.is_empty() {
            return Ok(Reply { said: Some(said), ..Reply::refused("") });
        }
        Ok(Reply { said: Some(said), ..reply })
    }

    /// Opens the pull request that asks to extend a grant; or why not, as a sentence.
    async fn ask_to_extend(
        &self,
        scene: &Scene<'_>,
        ask: &Ask<'_>,
        grant: &Grant,
        by: Duration,
    ) -> Result<Result<u64, String>, EngineError> {
        let github = scene.github;
        if self.inner.clock.now() >= grant.window.ends_at {
            return Ok(Err("The access is over; ask anew.".to_owned()));
        }
        let head = github.head(scene.branch).await?;
        let path = request::path_of(&grant.id.slug);
        let files = self.files(github, &head).await?;
        let Some(file) = files.get(&path).filter(|file| file.blob == grant.blob) else {
            return Ok(Err("The file of this grant is being changed; ask again in a minute.".to_owned()));
        };
        let branch = format!("{EXTENSIONS}{}-{}", grant.id.slug, grant.id.pull_request);
        // Also the one that a crash made us forget.
        if let Some(open) = github.open_pull_of(&branch).await?
            && self.asks_to_extend(&open).await?
        {
            return self.answer_open(scene, ask, grant, open.number).await;
        }
        let text = self.grant_text(github, file).await?;
        let Ok(old) = request::read(&path, &text, None) else {
            return Ok(Err(answers::cannot_write(&grant.id.slug)));
        };
        let Some(total) = Duration::from_seconds(old.duration.seconds().saturating_add(by.seconds())) else {
            return Ok(Err(format!("Nothing lasts longer than {}.", Duration::MAX)));
        };
        let in_force = self.in_force(github, scene.repository, &head).await?;
        let ceiling = in_force.loaded.policy.as_ref().and_then(|policy| ceiling(grant, policy));
        if let Some(ceiling) = ceiling.filter(|ceiling| total > *ceiling) {
            return Ok(Err(answers::above_ceiling(&grant.role, ceiling, old.duration)));
        }
        let Some(content) = with_duration(&text, &old, total) else {
            return Ok(Err(answers::cannot_write(&grant.id.slug)));
        };
        let proposal = Proposal {
            branch,
            changes: vec![(path, Some(content))],
            title: answers::extension_title(grant, total),
            message: answers::extension_message(grant, total),
            body: answers::extension_body(grant, by, total, ask.by),
        };
        Ok(Ok(self.propose(github, scene.branch, &head, &proposal, None).await?.number))
    }

    /// An extension is asked for already: by this very comment, if a crash came between, or by another.
    async fn answer_open(
        &self,
        scene: &Scene<'_>,
        ask: &Ask<'_>,
        grant: &Grant,
        open: u64,
    ) -> Result<Result<u64, String>, EngineError> {
        let mut tx = self.inner.store.begin().await?;
        let known = tx.extension_of(scene.repository, &grant.id).await?;
        drop(tx);
        tracing::debug!(pull = open, occasion = ask.occasion, "an extension is asked for already");
        Ok(if known == Some(open) { Err(answers::asked_already(open)) } else { Ok(open) })
    }
}

/// How long the role of a grant may last in all.
fn ceiling(grant: &Grant, policy: &Policy) -> Option<Duration> {
    let role = policy.roles.get(&grant.role)?;
    let emergency = role.break_glass.as_ref().filter(|_| grant.break_glass);
    Some(emergency.map_or(role.max_duration, |path| path.max_duration))
}
