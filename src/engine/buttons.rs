//! The buttons on the check run of a merged request whose grant is running, and what is done when somebody presses one.
//!
//! Who pressed it is told by the webhook alone; GitHub has no way to ask again. So of the webhook, whose signature was verified,
//! that one thing is believed, as a numeric id. That the check run is ours and stands on that pull request is read from GitHub; what
//! the person may do is decided now, from what is known of the grant, the policy and the teams. A delivery is looked at once. Whoever
//! could replay one under another delivery id would gain nothing: ending what is over does nothing, and an extension is approved
//! by people. See `docs/decisions/0011-buttons.md`.

use super::commands::{Ask, Scene};
use super::publish::CHECK_NAME;
use super::{Engine, EngineError, answers};
use crate::access::command::Command;
use crate::access::facts::PullState;
use crate::github::Button;
use crate::github::events::Hint;
use crate::policy::Duration;
use crate::policy::name::RepositoryName;
use crate::store::{Claim, Press, Published};

const REVOKE: Button = Button { label: "Revoke now", description: "End this access at once", identifier: "revoke" };
const EXTEND: Button =
    Button { label: "Extend 1h", description: "Ask for one more hour of it", identifier: "extend-1h" };

/// Whether a button is one of these.
pub(super) fn is_ours(identifier: &str) -> bool {
    command_of(identifier).is_some()
}

fn command_of(identifier: &str) -> Option<Command> {
    match identifier {
        _ if identifier == REVOKE.identifier => Some(Command::Revoke),
        _ if identifier == EXTEND.identifier => Some(Command::Extend(Duration::hours(1))),
        _ => None,
    }
}

impl Engine {
    /// What is to be kept of a webhook about a button of ours.
    pub(super) fn press_of(&self, delivery: &str, hint: &Hint) -> Option<(RepositoryName, Press)> {
        let Hint::Pressed { repository, number, check_run, button, by } = hint else { return None };
        let repository = self.ours(repository).filter(|_| is_ours(button))?;
        let press = Press {
            delivery: delivery.to_owned(),
            pull_request: *number,
            check_run: *check_run,
            button: button.clone(),
            account: *by,
        };
        Some((repository.clone(), press))
    }

    /// Does what buttons of a pull request ask for. False while what it gave is not read yet.
    pub(super) async fn heed_presses(&self, claim: &Claim, scene: &Scene<'_>) -> Result<bool, EngineError> {
        let mut failed = None;
        for press in self.inner.store.waiting_presses(scene.repository, scene.pull.number).await? {
            if self.is_unread(scene).await? {
                return Ok(false);
            }
            // One that cannot be done now keeps the others from nothing: access may have to end.
            if let Err(error) = self.heed_press(claim, scene, &press).await {
                failed = failed.or(Some(error));
            }
        }
        failed.map_or(Ok(true), Err)
    }

    async fn heed_press(&self, claim: &Claim, scene: &Scene<'_>, press: &Press) -> Result<(), EngineError> {
        let reply = match self.presser(scene, press).await? {
            Some((account, command)) => {
                let occasion = format!("press-{}", press.delivery);
                let ask = Ask { by: &account, command: &command, occasion: &occasion, at: self.inner.clock.now() };
                let mut reply = self.obey(scene, &ask).await?;
                reply.said = reply.said.map(|said| answers::pressed(&account, label(&command), &said));
                Some((account, command, reply, occasion))
            }
            None => {
                tracing::warn!(
                    pull = scene.pull.number,
                    delivery = press.delivery,
                    "a press of a button is not heeded"
                );
                None
            }
        };
        let mut tx = self.inner.store.begin().await?;
        tx.assert_held(claim).await?;
        if let Some((account, command, reply, occasion)) = reply {
            let ask = Ask { by: &account, command: &command, occasion: &occasion, at: self.inner.clock.now() };
            self.act(&mut tx, scene, &ask, reply).await?;
        }
        tx.pressed(&press.delivery, self.inner.clock.now()).await?;
        tx.commit().await?;
        self.wake();
        Ok(())
    }

    /// Who pressed a button and what it means, if it is one of ours, on the merged request, and they are somebody.
    async fn presser(
        &self,
        scene: &Scene<'_>,
        press: &Press,
    ) -> Result<Option<(crate::access::facts::Account, Command)>, EngineError> {
        let merged = matches!(scene.pull.state, PullState::Merged { .. });
        let Some(command) = command_of(&press.button).filter(|_| merged) else { return Ok(None) };
        let ours = Some(self.inner.github.id());
        let checks = scene.github.checks(&scene.pull.head, CHECK_NAME).await?;
        if !checks.iter().any(|check| check.id == press.check_run && check.app_id == ours) {
            return Ok(None);
        }
        let Some(account) = scene.github.account_by_id(press.account).await? else { return Ok(None) };
        Ok(self.is_somebody(scene, &account).await?.then_some((account, command)))
    }

    /// Puts the buttons on the check run of a merged request whose grant is running, and takes them off any other.
    pub(super) async fn set_buttons(&self, scene: &Scene<'_>) -> Result<(), EngineError> {
        let (repository, number) = (scene.repository, scene.pull.number);
        let live = self.inner.store.live_grants_about(repository, number).await?;
        let wanted = live.iter().any(|row| row.grant.id.pull_request == number);
        let known = self.inner.store.published(repository.as_str(), number).await?;
        if known.buttons == wanted {
            return Ok(());
        }
        let mut id = known.check_id.filter(|_| known.head.as_deref() == Some(scene.pull.head.as_str()));
        if id.is_none() {
            let ours = Some(self.inner.github.id());
            let checks = scene.github.checks(&scene.pull.head, CHECK_NAME).await?;
            id = checks.iter().find(|check| check.app_id == ours).map(|check| check.id);
        }
        if let Some(id) = id {
            let buttons: &[Button] = if wanted { &[REVOKE, EXTEND] } else { &[] };
            super::pull_request::ignore_refusal(scene.github.set_check_actions(id, buttons).await)?;
        }
        let mut tx = self.inner.store.begin().await?;
        tx.set_published(repository.as_str(), number, &Published { buttons: wanted, ..known }).await?;
        Ok(tx.commit().await?)
    }
}

fn label(command: &Command) -> &'static str {
    if *command == Command::Revoke { REVOKE.label } else { EXTEND.label }
}
