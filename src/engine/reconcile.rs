//! Making a target as it is due to be: revoke first, then grant. Needs the store and the target, never GitHub.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;

use super::due::Due;
use super::record::Whose;
use super::{Engine, EngineError, words};
use crate::access::grant::{GrantRef, State};
use crate::access::plan::{Applied, Operation, Progress, plan};
use crate::ledger::{Event, EventKind};
use crate::mutants::{self, Mutant};
use crate::policy::entitlement::Entitlement;
use crate::policy::name::TargetName;
use crate::store::{Claim, Held, Job, Tx};
use crate::target::{Receipt, Target, TargetError};

/// How long one call to a target may take.
const DEADLINE: std::time::Duration = std::time::Duration::from_secs(20);
/// How long a lease must hold yet before a target is called: as long as the call may take.
const LEASE_FOR_A_CALL: TimeDelta = TimeDelta::seconds(20);
/// How often a process tries to write what it did without a lease.
const OWNING_UP: u32 = 10;

/// How long a plan is carried out; then another is made. Grants end, and others begin, meanwhile.
const PLAN_KEPT: TimeDelta = TimeDelta::seconds(10);
/// How soon another plan is made when something has to wait.
const SOON: TimeDelta = TimeDelta::seconds(10);
/// How long the first reading of a repository may stand still before what it has found is acted upon all the same.
const READING_RESTS: TimeDelta = TimeDelta::minutes(2);

/// What went wrong with an operation on a target.
type Failure = Option<TargetError>;

impl Engine {
    /// Brings one target to where it should be. One failed operation does not keep the others from being done.
    pub(super) async fn reconcile(&self, claim: &Claim, name: &TargetName) -> Result<(), EngineError> {
        let planned = self.inner.clock.passed();
        let (held, due) = self.held_and_due(name).await?;
        // Nobody touches what only undecided grants may have given.
        let waits = |held: &Held| !held.applied.holders.is_empty() && held.applied.holders.is_subset(&due.undecided);
        let applied = held
            .iter()
            .filter(|(entitlement, held)| due.holders.contains_key(*entitlement) || !waits(held))
            .map(|(entitlement, held)| (entitlement.clone(), held.applied.clone()))
            .collect();
        let mut operations = plan(&due.holders, &applied);
        // What failed the last time must not keep the rest from having its turn.
        operations
            .sort_by_key(|operation| held.get(operation.entitlement()).is_some_and(|held| held.last_error.is_some()));
        let being_read = self.inner.store.being_read(self.inner.clock.now() - READING_RESTS).await?;
        let target = self.inner.targets.get(name);
        let mut failures: Vec<TargetError> = Vec::new();
        let mut again = None;
        for operation in operations {
            let Some(target) = &target else {
                let why = "it is not configured on this server; add it to `targets` in daypass.yaml".to_owned();
                failures.push(TargetError::Permanent(why));
                break;
            };
            if self.inner.clock.passed() - planned > PLAN_KEPT {
                again = Some(self.inner.clock.now());
                break;
            }
            // A grant that is read later may need what an earlier one no longer does.
            let read_on = |leaving: &BTreeSet<GrantRef>| {
                leaving.iter().any(|grant| being_read.iter().any(|name| name == grant.repository.as_str()))
            };
            if matches!(&operation, Operation::Revoke { leaving, .. } if read_on(leaving)) {
                again = Some(self.inner.clock.now() + SOON);
                continue;
            }
            let given = match &operation {
                Operation::Grant { holders, .. } | Operation::Share { holders, .. } => holders.clone(),
                Operation::Revoke { .. } | Operation::Release { .. } => BTreeSet::new(),
            };
            failures.extend(self.carry_out(claim, target, (&held, &due), operation).await?);
            for grant in &given {
                // At once, while it is there: what is told is what a database after this one knows.
                if let Err(error) = self.tell(grant).await {
                    // A row that cannot be read is told of elsewhere, and holds nobody else up.
                    error.unless_unreadable()?;
                }
            }
        }
        if let Some(target) = target.as_ref().filter(|_| self.inner.clock.passed() - planned < PLAN_KEPT) {
            let is_due = |entitlement: &Entitlement| due.holders.contains_key(entitlement);
            if self.look_again(claim, name, target, is_due).await? {
                again = again.or(Some(self.inner.clock.now() + SOON));
            }
        }
        if let Some(first) = failures.first() {
            let permanent = failures.iter().all(|failure| matches!(failure, TargetError::Permanent(_)));
            return Err(EngineError::Target { target: name.to_string(), message: first.to_string(), permanent });
        }
        let tx = self.inner.store.begin().await?;
        self.finish(claim, tx, again).await
    }

    async fn carry_out(
        &self,
        claim: &Claim,
        target: &Arc<dyn Target>,
        (held, due): (&BTreeMap<Entitlement, Held>, &Due),
        operation: Operation,
    ) -> Result<Failure, EngineError> {
        match operation {
            Operation::Revoke { entitlement, leaving } => {
                let held = held.get(&entitlement);
                self.revoke_access(claim, target, &entitlement, held, leaving).await
            }
            Operation::Release { entitlement, leaving } => {
                let mut tx = self.inner.store.begin().await?;
                tx.assert_held(claim).await?;
                if let Some(held) = held.get(&entitlement) {
                    tx.forget_held(&entitlement, held.revision).await?;
                }
                look_at(&mut tx, &leaving, self.inner.clock.now()).await?;
                tx.commit().await?;
                Ok(None)
            }
            Operation::Grant { entitlement, holders } => {
                let until = due.until.get(&entitlement).copied().unwrap_or(DateTime::<Utc>::MIN_UTC);
                let known = held.get(&entitlement);
                self.grant_access(claim, target, (&entitlement, until), known, holders).await
            }
            Operation::Share { entitlement, holders, mut joining, leaving } => {
                let Some(known) = held.get(&entitlement) else { return Ok(None) };
                let (state, now) = (Applied { holders, ..known.applied.clone() }, self.inner.clock.now());
                let subjects = self.subjects(&joining.union(&leaving).cloned().collect()).await;
                let details = json!({ "entitlement": entitlement, "standing": state.standing });
                let mut tx = self.inner.store.begin().await?;
                tx.assert_held(claim).await?;
                if !tx.update_held(&entitlement, known.revision, &state, None, now).await? {
                    return Err(overtaken(&entitlement));
                }
                if let Some(until) = due.until.get(&entitlement) {
                    tx.set_held_end(&entitlement, *until).await?;
                }
                self.record(&mut tx, EventKind::Joined, (&joining, &subjects), &entitlement, &details).await?;
                self.record(&mut tx, EventKind::Left, (&leaving, &subjects), &entitlement, &details).await?;
                joining.extend(leaving);
                look_at(&mut tx, &joining, now).await?;
                tx.commit().await?;
                Ok(None)
            }
        }
    }

    async fn grant_access(
        &self,
        claim: &Claim,
        target: &Arc<dyn Target>,
        (entitlement, until): (&Entitlement, DateTime<Utc>),
        known: Option<&Held>,
        holders: BTreeSet<GrantRef>,
    ) -> Result<Failure, EngineError> {
        let standing = match known {
            // It was looked at before the first attempt; what is there now may be our own half-done work.
            Some(known) => known.applied.standing,
            None => match self.called(entitlement, "observe", target.observe(entitlement)).await {
                Ok(observed) => self.is_standing(entitlement, observed).await?,
                Err(failure) => {
                    self.note_failure(&holders, entitlement, &failure, false).await?;
                    return Ok(Some(failure));
                }
            },
        };
        if self.inner.clock.instant().latest >= until && !mutants::is(Mutant::ExpireLate) {
            // It was due when the plan was made, and time was up while others had their turn or the target was looked at.
            return Ok(None);
        }
        let now = self.inner.clock.now();
        let mut state = Applied { progress: Progress::Granting, standing, holders: holders.clone() };
        if standing {
            state.progress = Progress::Granted;
        }
        let mut tx = self.inner.store.begin().await?;
        tx.assert_held(claim).await?;
        if !tx.are_active(&holders).await? {
            // One of them ended since the plan was made: by a removal that another process read, say.
            tx.schedule(&Job::Target(entitlement.target.clone()), now).await?;
            tx.commit().await?;
            return Ok(None);
        }
        let revision = tx.put_held(entitlement, &state, None, now).await?;
        tx.set_held_end(entitlement, until).await?;
        if !standing {
            tx.open_call(entitlement).await?;
        }
        tx.commit().await?;
        let began = tokio::time::Instant::now();
        let called = match standing {
            true => Ok(None),
            false => {
                self.hold(claim).await?;
                self.called(entitlement, "grant", target.grant(entitlement, now)).await.map(Some)
            }
        };
        // What was given up may have an effect yet.
        let returned = called.is_ok() || began.elapsed() < DEADLINE;
        state.progress = Progress::Granted;
        let done = self.after_grant(claim, (entitlement, revision, until), &state, (called, returned)).await;
        if !standing && self.is_lost(claim, &done) {
            self.own_up(entitlement, Some(&holders)).await?;
        }
        done
    }

    /// Writes down what a target answered to `grant`.
    async fn after_grant(
        &self,
        claim: &Claim,
        (entitlement, revision, until): (&Entitlement, i64, DateTime<Utc>),
        granted: &Applied,
        (called, returned): (Result<Option<Receipt>, TargetError>, bool),
    ) -> Result<Failure, EngineError> {
        self.still_held(claim).await?;
        let holders = granted.holders.clone();
        let receipt = match called {
            Ok(receipt) => receipt,
            Err(failure) => {
                if returned {
                    let mut tx = self.inner.store.begin().await?;
                    tx.assert_held(claim).await?;
                    tx.close_call(entitlement).await?;
                    tx.commit().await?;
                }
                self.note_failure(&holders, entitlement, &failure, false).await?;
                return Ok(Some(failure));
            }
        };
        let subjects = self.subjects(&holders).await;
        let now = self.inner.clock.now();
        let mut tx = self.inner.store.begin().await?;
        tx.assert_held(claim).await?;
        if !tx.update_held(entitlement, revision, granted, receipt.as_ref(), now).await? {
            return Err(overtaken(entitlement));
        }
        if !granted.standing {
            tx.close_call(entitlement).await?;
        }
        let details = json!({ "entitlement": entitlement, "standing": granted.standing, "receipt": receipt });
        self.record(&mut tx, EventKind::Applied, (&holders, &subjects), entitlement, &details).await?;
        self.ask_for_sessions(&mut tx, &entitlement.target, now + super::sessions::EVERY).await?;
        look_at(&mut tx, &holders, now).await?;
        if self.inner.clock.instant().latest >= until {
            // It ended during the call, and whoever noticed may have seen nothing to take away yet.
            tx.schedule(&Job::Target(entitlement.target.clone()), now).await?;
        }
        tx.commit().await?;
        Ok(None)
    }

    /// Gives up on a call after [`DEADLINE`]. Targets survive being cancelled at any await.
    pub(super) async fn called<T>(
        &self,
        entitlement: &Entitlement,
        name: &'static str,
        call: impl Future<Output = Result<T, TargetError>>,
    ) -> Result<T, TargetError> {
        let answer = tokio::time::timeout(DEADLINE, call).await.unwrap_or_else(|_| {
            Err(TargetError::Temporary(format!("no answer within {} seconds", DEADLINE.as_secs())))
        });
        self.inner.metrics.called(entitlement.target.as_str(), name, &answer);
        answer
    }

    /// Sees that the claim outlasts a call to a target: a process that was paused must not act on work others have taken over.
    async fn hold(&self, claim: &Claim) -> Result<(), EngineError> {
        let now = self.inner.clock.now();
        if claim.left(now) < LEASE_FOR_A_CALL {
            self.inner.store.renew(claim, now, super::LEASE).await?;
        }
        Ok(())
    }

    /// Whether the claim outlasted a call to a target.
    async fn still_held(&self, claim: &Claim) -> Result<(), EngineError> {
        match claim.left(self.inner.clock.now()) > TimeDelta::zero() {
            true => Ok(()),
            false => Ok(self.inner.store.renew(claim, self.inner.clock.now(), super::LEASE).await?),
        }
    }

    /// Whether what was done was done without a lease, for all this process knows.
    fn is_lost<T>(&self, claim: &Claim, done: &Result<T, EngineError>) -> bool {
        let lost =
            |error: &EngineError| error.is_lost_lease() || claim.left(self.inner.clock.now()) <= TimeDelta::zero();
        done.as_ref().is_err_and(lost)
    }

    /// Tells the others that this process was paused, lost its lease, and called a target all the same: they look again. The grants
    /// are those it gave the entitlement for; without, it took it away.
    async fn own_up(&self, entitlement: &Entitlement, gave: Option<&BTreeSet<GrantRef>>) -> Result<(), EngineError> {
        if mutants::is(Mutant::IgnoreLostLease) {
            return Ok(());
        }
        tracing::warn!(%entitlement, "called the target after the lease was lost; it is looked at again");
        // Whoever was paused finds its connections gone. Nobody else knows of this.
        for _ in 1..OWNING_UP {
            match self.put_stray(entitlement, gave).await {
                Ok(()) => return Ok(()),
                Err(error) => {
                    tracing::warn!(%entitlement, %error, "what was done without a lease could not be written")
                }
            }
            tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        }
        self.put_stray(entitlement, gave).await
    }

    pub(super) async fn put_stray(
        &self,
        entitlement: &Entitlement,
        gave: Option<&BTreeSet<GrantRef>>,
    ) -> Result<(), EngineError> {
        let now = self.inner.clock.now();
        let mut tx = self.inner.store.begin().await?;
        match gave {
            Some(holders) => tx.put_stray_grant(entitlement, holders, now).await?,
            None => tx.put_stray_revoke(entitlement).await?,
        }
        tx.schedule(&Job::Target(entitlement.target.clone()), now).await?;
        Ok(tx.commit().await?)
    }

    async fn revoke_access(
        &self,
        claim: &Claim,
        target: &Arc<dyn Target>,
        entitlement: &Entitlement,
        held: Option<&Held>,
        leaving: BTreeSet<GrantRef>,
    ) -> Result<Failure, EngineError> {
        if let Some(grant) = leaving.first().filter(|_| mutants::is(Mutant::AskGithubBeforeRevoking)) {
            let (github, branch) = self.open(&grant.repository).await?;
            github.head(&branch).await?;
        }
        let last_seen = self.last_look(target, entitlement).await;
        let now = self.inner.clock.now();
        let mut tx = self.inner.store.begin().await?;
        tx.assert_held(claim).await?;
        let state = Applied { progress: Progress::Revoking, standing: false, holders: leaving.clone() };
        let revision = tx.put_held(entitlement, &state, None, now).await?;
        tx.set_held_over(entitlement, now).await?;
        tx.commit().await?;
        let receipt = held.and_then(|held| held.receipt.as_ref());
        self.hold(claim).await?;
        let called = self.called(entitlement, "revoke", target.revoke(entitlement, receipt, now)).await;
        self.note_last_look(entitlement, &leaving, last_seen, called.is_ok()).await;
        let done = self.after_revoke(claim, (entitlement, revision), leaving, called).await;
        if self.is_lost(claim, &done) {
            self.own_up(entitlement, None).await?;
        }
        done
    }

    /// Writes down what a target answered to `revoke`; `revision` is that of what was written before.
    async fn after_revoke(
        &self,
        claim: &Claim,
        (entitlement, revision): (&Entitlement, i64),
        leaving: BTreeSet<GrantRef>,
        called: Result<Receipt, TargetError>,
    ) -> Result<Failure, EngineError> {
        self.still_held(claim).await?;
        match called {
            Ok(receipt) => {
                let subjects = self.subjects(&leaving).await;
                let mut tx = self.inner.store.begin().await?;
                tx.assert_held(claim).await?;
                self.watch(&mut tx, entitlement).await?;
                if !tx.forget_held(entitlement, revision).await? {
                    return Err(overtaken(entitlement));
                }
                let details = json!({ "entitlement": entitlement, "receipt": receipt });
                self.record(&mut tx, EventKind::Removed, (&leaving, &subjects), entitlement, &details).await?;
                look_at(&mut tx, &leaving, self.inner.clock.now()).await?;
                tx.commit().await?;
                self.measure(&leaving).await;
                Ok(None)
            }
            Err(failure) => {
                if mutants::is(Mutant::ForgetFailedRevocation) {
                    let mut tx = self.inner.store.begin().await?;
                    tx.forget_held(entitlement, revision).await?;
                    tx.commit().await?;
                }
                self.note_failure(&leaving, entitlement, &failure, true).await?;
                Ok(Some(failure))
            }
        }
    }

    /// Notes how late access was taken away.
    async fn measure(&self, grants: &BTreeSet<GrantRef>) {
        for grant in grants {
            // A figure is not worth an error.
            let Ok(Some(row)) = self.inner.store.grant(&grant.repository, &grant.id).await else { continue };
            let ended = match row.grant.state {
                State::Ended { at, .. } => at.min(row.grant.window.ends_at),
                _ => row.grant.window.ends_at,
            };
            self.inner.metrics.revoked(ended, self.inner.clock.now());
        }
    }

    async fn record(
        &self,
        tx: &mut Tx,
        kind: EventKind,
        (grants, subjects): (&BTreeSet<GrantRef>, &BTreeMap<GrantRef, Whose>),
        entitlement: &Entitlement,
        details: &serde_json::Value,
    ) -> Result<(), EngineError> {
        for grant in grants {
            let mut details = details.clone();
            details["grant"] = json!(grant.id);
            if let Some((subject, role)) = subjects.get(grant) {
                details["subject"] = json!(subject);
                details["role"] = json!(role);
            }
            let now = self.inner.clock.now();
            tx.record(&Event::new(&grant.repository, kind, &grant.id, entitlement, now, details)).await?;
        }
        Ok(())
    }

    /// Tells people, once per grant and entitlement, that a target refuses.
    async fn note_failure(
        &self,
        grants: &BTreeSet<GrantRef>,
        entitlement: &Entitlement,
        failure: &TargetError,
        ending: bool,
    ) -> Result<(), EngineError> {
        let mut rows = Vec::new();
        for grant in grants {
            match self.inner.store.grant(&grant.repository, &grant.id).await {
                Ok(row) => rows.extend(row),
                Err(error) => EngineError::from(error).unless_unreadable()?,
            }
        }
        let (name, error, now) = (entitlement.to_string(), failure.to_string(), self.inner.clock.now());
        let mut tx = self.inner.store.begin().await?;
        tx.set_held_error(entitlement, &error).await?;
        for row in rows {
            let occasion = if ending { "not-removed" } else { "failing" };
            let body = if ending { words::not_removed(&name, &error) } else { words::failing(&name, &error) };
            let details = json!({ "grant": row.grant.id, "subject": row.grant.subject, "role": row.grant.role,
                "entitlement": entitlement,
                "ending": ending, "error": error });
            let event = Event::new(
                &row.repository,
                EventKind::Failed,
                &row.grant.id,
                format!("{occasion} {name}"),
                now,
                details,
            );
            tx.record(&event).await?;
            self.say(&mut tx, &row.repository, &row.grant, &format!("{occasion}-{name}"), body, now).await?;
        }
        Ok(tx.commit().await?)
    }

    /// Tells the pull request of a grant once everything it gives is there, or gone.
    pub(super) async fn tell(&self, grant: &GrantRef) -> Result<(), EngineError> {
        let Some(row) = self.inner.store.grant(&grant.repository, &grant.id).await? else { return Ok(()) };
        let mut receipts = Vec::new();
        let (mut all_there, mut kept, mut all_gone) = (true, Vec::new(), true);
        for entitlement in &row.grant.entitlements {
            let held = self.inner.store.held_one(entitlement).await?;
            all_there &= held.as_ref().is_some_and(|held| held.applied.progress == Progress::Granted);
            match &held {
                Some(held) if !held.applied.holders.contains(grant) => kept.push(entitlement.to_string()),
                Some(_) => all_gone = false,
                None => {}
            }
            receipts.push((entitlement.to_string(), held.and_then(|held| held.receipt)));
        }
        let now = self.inner.clock.now();
        let mut tx = self.inner.store.begin().await?;
        match &row.grant.state {
            State::Active if all_there => {
                self.say(&mut tx, &row.repository, &row.grant, "applied", words::applied(&row.grant, &receipts), now)
                    .await?;
            }
            State::Ended { at, reason } if all_gone => {
                let body = words::removed(&row.grant, *at, reason, &kept);
                self.say(&mut tx, &row.repository, &row.grant, "removed", body, now).await?;
                tx.schedule(&Job::Revert(row.repository.clone(), row.grant.id.clone()), now).await?;
            }
            _ => {}
        }
        Ok(tx.commit().await?)
    }

    /// Whether nothing a grant gave is applied on its behalf any more.
    pub(super) async fn is_gone(&self, grant: &GrantRef, entitlements: &[Entitlement]) -> Result<bool, EngineError> {
        for entitlement in entitlements {
            let held = self.inner.store.held_one(entitlement).await?;
            if held.is_some_and(|held| held.applied.holders.contains(grant)) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

fn overtaken(entitlement: &Entitlement) -> EngineError {
    EngineError::NotYet(format!("{entitlement} was written by another process meanwhile; it is looked at again"))
}

/// Asks for a look at grants that may have something new to tell.
async fn look_at(tx: &mut Tx, grants: &BTreeSet<GrantRef>, now: DateTime<Utc>) -> Result<(), EngineError> {
    for grant in grants {
        tx.schedule(&Job::Grant(grant.repository.clone(), grant.id.clone()), now).await?;
    }
    Ok(())
}
