//! What people do with their access, as far as somebody can tell: targets that are asked who is connected, once a minute and right
//! before access is taken away; and reports from elsewhere, such as those of `daypass forward sshd`.
//!
//! It is for the record alone. Nothing here gives access, ends it, or holds up what does.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Deserialize;
use serde_json::json;

use super::record::Whose;
use super::{Engine, EngineError};
use crate::access::grant::{GrantId, GrantRef, State};
use crate::access::plan::{Applied, Progress};
use crate::ledger::{Event, EventKind};
use crate::policy::entitlement::Entitlement;
use crate::policy::name::{Login, RepositoryName, TargetName};
use crate::policy::render::tame;
use crate::policy::request::is_deceptive;
use crate::store::{Claim, GrantRow, Job, OpenSession, Tx, digest};
use crate::target::{Session, Target, TargetError};

/// How often targets are asked.
pub(super) const EVERY: TimeDelta = TimeDelta::minutes(1);
/// How long a look may take.
const LOOK: Duration = Duration::from_secs(5);
/// How long taking access away waits for a last look.
const LAST_LOOK: Duration = Duration::from_secs(2);
/// What a session is said to be is kept in so many characters.
const LONGEST_WORDS: usize = 200;
/// How old a session may be when it is reported: forwarders that were cut off catch up.
const OLDEST: TimeDelta = TimeDelta::days(7);
/// How far the clocks of whoever reports and of Daypass may be apart.
const SLACK: TimeDelta = TimeDelta::minutes(5);

/// A session somebody reports, as `POST /api/v1/sessions` takes it. The same report twice is one session; one with `closed_at` later
/// says that it is over.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SessionReport {
    /// Who reports, such as `sshd on web-1`: 1 to 100 characters.
    pub source: String,
    /// Tells the session apart from all others of the source, for ever: 1 to 200 characters.
    pub key: String,
    /// The grant it belongs to, if that is known.
    pub grant: Option<GrantId>,
    /// The policy repository of the grant, where several have one of that name.
    pub repository: Option<RepositoryName>,
    /// Whose session it is. Without `grant`, it is counted for every grant that gave the subject something on the target then.
    pub subject: Option<Login>,
    /// On which target.
    pub target: Option<TargetName>,
    /// When it began.
    pub opened_at: DateTime<Utc>,
    /// When it was over, if it is.
    pub closed_at: Option<DateTime<Utc>>,
    /// What it is, in a few words that everybody who reads the repository may read.
    #[serde(default)]
    pub what: String,
}

/// Why a report is not taken.
#[derive(Debug, thiserror::Error)]
pub enum NotTaken {
    /// It does not say what it should.
    #[error("{0}")]
    Invalid(String),
    /// It is about nothing that is known.
    #[error("{0}")]
    Unknown(String),
    /// It contradicts one that was taken.
    #[error("{0}")]
    Contradicts(String),
    /// It could not be written.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

impl From<crate::store::StoreError> for NotTaken {
    fn from(error: crate::store::StoreError) -> Self {
        Self::Engine(error.into())
    }
}

/// A report that was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// The grants on whose record it is.
    pub grants: Vec<GrantRef>,
    /// Whether it said anything new.
    pub new: bool,
}

impl Engine {
    /// Asks for a look at the sessions on a target, if it can be looked at.
    pub(super) async fn ask_for_sessions(
        &self,
        tx: &mut Tx,
        name: &TargetName,
        at: DateTime<Utc>,
    ) -> Result<(), EngineError> {
        if self.inner.targets.get(name).is_some_and(|target| target.sees_sessions()) {
            tx.schedule(&Job::Sessions(name.clone()), at).await?;
        }
        Ok(())
    }

    /// Looks who uses what they have on a target, and asks to be called again while anybody has anything.
    pub(super) async fn look_at_sessions(&self, claim: &Claim, name: &TargetName) -> Result<(), EngineError> {
        let Some(target) = self.inner.targets.get(name).filter(|target| target.sees_sessions()) else {
            return self.done(claim).await;
        };
        let held = self.inner.store.held(name).await?.held;
        let given = |applied: &Applied| applied.progress == Progress::Granted;
        let holders: BTreeMap<&Entitlement, &BTreeSet<GrantRef>> = held
            .iter()
            .filter(|(_, held)| given(&held.applied) && !held.applied.holders.is_empty())
            .map(|(entitlement, held)| (entitlement, &held.applied.holders))
            .collect();
        let of: BTreeSet<Entitlement> = holders.keys().map(|entitlement| (*entitlement).clone()).collect();
        let seen = match of.is_empty() {
            true => Vec::new(),
            false => tokio::time::timeout(LOOK, target.sessions(&of))
                .await
                .unwrap_or_else(|_| Err(TargetError::Temporary("no answer".to_owned())))
                .map_err(|error| EngineError::Target {
                    target: name.to_string(),
                    message: format!("its sessions cannot be seen: {error}"),
                    permanent: matches!(error, TargetError::Permanent(_)),
                })?,
        };
        let known = self.inner.store.open_sessions(name).await?;
        let now = self.inner.clock.now();
        let all: BTreeSet<GrantRef> = holders.values().flat_map(|grants| grants.iter().cloned()).collect();
        let gone = known.iter().flat_map(|(session, _)| session.grants.iter().cloned());
        let subjects = self.subjects(&all.iter().cloned().chain(gone).collect()).await;
        let mut tx = self.inner.store.begin().await?;
        tx.assert_held(claim).await?;
        let mut still = BTreeSet::new();
        for (entitlement, session) in &seen {
            let Some(grants) = holders.get(entitlement) else { continue };
            let open = sighting(entitlement, session, grants, &known, now);
            still.insert((entitlement.clone(), open.name()));
            self.record_opened(&mut tx, &open, (&session.what, target.kind().as_str()), &subjects, now).await?;
            tx.put_session(&open, now).await?;
        }
        for (session, _) in known {
            if !still.contains(&(session.entitlement.clone(), session.name())) {
                self.record_closed(&mut tx, &session, target.kind().as_str(), false, &subjects, now).await?;
                tx.forget_session(&session).await?;
            }
        }
        let again = (!of.is_empty()).then(|| now + EVERY);
        self.finish(claim, tx, again).await
    }

    /// Who uses an entitlement right before it is taken away; nobody if that cannot be told at once.
    pub(super) async fn last_look(&self, target: &Arc<dyn Target>, entitlement: &Entitlement) -> Vec<Session> {
        if !target.sees_sessions() {
            return Vec::new();
        }
        match tokio::time::timeout(LAST_LOOK, target.sessions(&BTreeSet::from([entitlement.clone()]))).await {
            Ok(Ok(sessions)) => sessions.into_iter().map(|(_, session)| session).collect(),
            Ok(Err(_)) | Err(_) => Vec::new(),
        }
    }

    /// Writes down what was seen right before access was, or was not, taken away.
    pub(super) async fn note_last_look(
        &self,
        entitlement: &Entitlement,
        grants: &BTreeSet<GrantRef>,
        seen: Vec<Session>,
        revoked: bool,
    ) {
        if let Err(error) = self.try_note_last_look(entitlement, grants, seen, revoked).await {
            // The record of it is not worth holding up the end of access.
            tracing::warn!(%entitlement, %error, "the sessions that were open when access ended could not be recorded");
        }
    }

    async fn try_note_last_look(
        &self,
        entitlement: &Entitlement,
        grants: &BTreeSet<GrantRef>,
        seen: Vec<Session>,
        revoked: bool,
    ) -> Result<(), EngineError> {
        let known = self.inner.store.open_sessions_of(entitlement).await?;
        if seen.is_empty() && known.is_empty() {
            return Ok(());
        }
        let kind = self.inner.targets.get(&entitlement.target).map_or("", |target| target.kind().as_str());
        let gone = known.iter().flat_map(|(session, _)| session.grants.iter().cloned());
        let subjects = self.subjects(&grants.iter().cloned().chain(gone).collect()).await;
        let now = self.inner.clock.now();
        let mut tx = self.inner.store.begin().await?;
        let mut open = BTreeSet::new();
        for session in &seen {
            let sighting = sighting(entitlement, session, grants, &known, now);
            self.record_opened(&mut tx, &sighting, (&session.what, kind), &subjects, now).await?;
            match revoked {
                true => self.record_closed(&mut tx, &sighting, kind, true, &subjects, now).await?,
                false => tx.put_session(&sighting, now).await?,
            }
            open.insert(sighting.name());
        }
        for (session, _) in known.iter().filter(|_| revoked) {
            if !open.contains(&session.name()) {
                self.record_closed(&mut tx, session, kind, false, &subjects, now).await?;
            }
            tx.forget_session(session).await?;
        }
        Ok(tx.commit().await?)
    }

    async fn record_opened(
        &self,
        tx: &mut Tx,
        session: &OpenSession,
        (what, source): (&str, &str),
        subjects: &BTreeMap<GrantRef, Whose>,
        now: DateTime<Utc>,
    ) -> Result<(), EngineError> {
        for grant in &session.grants {
            let mut details = json!({ "grant": grant.id, "target": session.entitlement.target, "source": source,
                "session": session.key, "opened_at": session.opened_at, "what": words(what) });
            add_whose(&mut details, subjects.get(grant));
            let occasion = occasion(source, Some(&session.entitlement.target), &session.name());
            tx.record(&Event::new(&grant.repository, EventKind::SessionOpened, &grant.id, occasion, now, details))
                .await?;
        }
        Ok(())
    }

    async fn record_closed(
        &self,
        tx: &mut Tx,
        session: &OpenSession,
        source: &str,
        revoked: bool,
        subjects: &BTreeMap<GrantRef, Whose>,
        now: DateTime<Utc>,
    ) -> Result<(), EngineError> {
        for grant in &session.grants {
            let mut details = json!({ "grant": grant.id, "target": session.entitlement.target, "source": source,
                "session": session.key, "opened_at": session.opened_at, "closed_at": now, "revoked": revoked });
            add_whose(&mut details, subjects.get(grant));
            let occasion = occasion(source, Some(&session.entitlement.target), &session.name());
            tx.record(&Event::new(&grant.repository, EventKind::SessionClosed, &grant.id, occasion, now, details))
                .await?;
        }
        Ok(())
    }

    /// Puts a session that somebody reports on the record of the grants it belongs to.
    ///
    /// # Errors
    ///
    /// [`NotTaken`] says what is wrong with it, or that the database cannot be written.
    pub async fn take_session(&self, report: &SessionReport) -> Result<Taken, NotTaken> {
        let now = self.inner.clock.now();
        report.check(now)?;
        let rows = match &report.grant {
            Some(id) => vec![self.reported_grant(report, id).await?],
            None => self.reported_subject(report).await?,
        };
        let name = format!("reported {}", digest(&[&report.key]));
        let occasion = occasion(&report.source, None, &name);
        let mut events = Vec::new();
        for row in &rows {
            let target = report.target.clone().or_else(|| only_target(row));
            let details = json!({ "grant": row.grant.id, "subject": row.grant.subject, "role": row.grant.role, "target": target,
                "source": report.source, "session": report.key, "opened_at": report.opened_at });
            let mut opened = details.clone();
            opened["what"] = json!(report.what);
            let event = |kind, details| Event::new(&row.repository, kind, &row.grant.id, &occasion, now, details);
            let opened = event(EventKind::SessionOpened, opened);
            if let Some(known) = self.inner.store.event(&opened.id).await?
                && known.details["opened_at"] != opened.details["opened_at"]
            {
                return Err(NotTaken::Contradicts(format!(
                    "a session of `{}` with this key began at {}: give each session a key of its own",
                    report.source, known.details["opened_at"]
                )));
            }
            events.push(opened);
            if let Some(closed_at) = report.closed_at {
                let mut closed = details;
                closed["closed_at"] = json!(closed_at);
                closed["revoked"] = json!(false);
                events.push(event(EventKind::SessionClosed, closed));
            }
        }
        let mut tx = self.inner.store.begin().await?;
        let mut new = false;
        for event in &events {
            new |= tx.record(event).await?;
        }
        tx.commit().await?;
        let grants = rows.into_iter().map(|row| GrantRef { repository: row.repository, id: row.grant.id }).collect();
        Ok(Taken { grants, new })
    }

    /// The grant a report names.
    async fn reported_grant(&self, report: &SessionReport, id: &GrantId) -> Result<GrantRow, NotTaken> {
        let mut found = Vec::new();
        for repository in self.repositories_of(report) {
            found.extend(self.inner.store.grant(repository, id).await?);
        }
        let (row, None) = (found.pop(), found.pop()) else {
            return Err(NotTaken::Invalid(format!(
                "several repositories have a grant `{id}`: say which, by `repository`"
            )));
        };
        let Some(row) = row else { return Err(NotTaken::Unknown(format!("there is no grant `{id}`"))) };
        if let Some(subject) = &report.subject
            && !row.grant.subject.login.as_str().eq_ignore_ascii_case(subject.as_str())
        {
            return Err(NotTaken::Unknown(format!("grant `{id}` is not of `{subject}`")));
        }
        if let Some(target) = &report.target
            && !gives_on(&row, target)
        {
            return Err(NotTaken::Unknown(format!("grant `{id}` gives nothing on `{target}`")));
        }
        if !ran_at(&row, report.opened_at) {
            return Err(NotTaken::Unknown(format!("grant `{id}` did not run at {}", report.opened_at.to_rfc3339())));
        }
        Ok(row)
    }

    /// The grants that gave the subject of a report something on its target when the session began.
    async fn reported_subject(&self, report: &SessionReport) -> Result<Vec<GrantRow>, NotTaken> {
        let (Some(subject), Some(target)) = (&report.subject, &report.target) else {
            return Err(NotTaken::Invalid("give either `grant`, or `subject` and `target`".to_owned()));
        };
        let mut found = Vec::new();
        for repository in self.repositories_of(report) {
            let rows = self.inner.store.grants_had_since(repository, subject, report.opened_at - SLACK).await?;
            found.extend(rows.into_iter().filter(|row| gives_on(row, target) && ran_at(row, report.opened_at)));
        }
        match found.is_empty() {
            true => Err(NotTaken::Unknown(format!(
                "no grant gave `{subject}` anything on `{target}` at {}",
                report.opened_at.to_rfc3339()
            ))),
            false => Ok(found),
        }
    }

    fn repositories_of<'a>(&'a self, report: &'a SessionReport) -> impl Iterator<Item = &'a RepositoryName> {
        let asked = |name: &&RepositoryName| {
            report.repository.as_ref().is_none_or(|asked| asked.as_str().eq_ignore_ascii_case(name.as_str()))
        };
        self.inner.options.repositories.iter().filter(asked)
    }
}

impl SessionReport {
    fn check(&self, now: DateTime<Utc>) -> Result<(), NotTaken> {
        let invalid = |why: &str| Err(NotTaken::Invalid(why.to_owned()));
        for (name, text, least, most) in
            [("source", &self.source, 1, 100), ("key", &self.key, 1, 200), ("what", &self.what, 0, LONGEST_WORDS)]
        {
            let length = text.chars().count();
            if length < least || length > most || text.chars().any(|c| c.is_control() || is_deceptive(c)) {
                return invalid(&format!(
                    "`{name}` has to have {least} to {most} characters, and no control or invisible ones"
                ));
            }
        }
        if self.opened_at > now + SLACK || self.closed_at.is_some_and(|closed| closed > now + SLACK) {
            return invalid("a time is in the future: set the clock");
        }
        if self.closed_at.is_some_and(|closed| closed < self.opened_at) {
            return invalid("`closed_at` is before `opened_at`");
        }
        // What goes on for long is told while it runs, or when it is over.
        if self.closed_at.unwrap_or(self.opened_at).max(self.opened_at) < now - OLDEST {
            return invalid("it is older than seven days");
        }
        Ok(())
    }
}

/// A session that a target tells of, as it is known already or else as it is known from now on.
fn sighting(
    entitlement: &Entitlement,
    session: &Session,
    grants: &BTreeSet<GrantRef>,
    known: &[(OpenSession, DateTime<Utc>)],
    now: DateTime<Utc>,
) -> OpenSession {
    let same = |open: &&(OpenSession, DateTime<Utc>)| {
        open.0.entitlement == *entitlement
            && open.0.key == session.key
            && session.opened_at.is_none_or(|opened| opened == open.0.opened_at)
    };
    let before = known.iter().find(same).map(|(open, _)| open.clone());
    let mut open = before.unwrap_or_else(|| OpenSession {
        entitlement: entitlement.clone(),
        key: words(&session.key),
        opened_at: session.opened_at.unwrap_or(now),
        grants: BTreeSet::new(),
    });
    open.grants.extend(grants.iter().cloned());
    open
}

/// What tells the events of one session apart from those of others, in the id of the event.
fn occasion(source: &str, target: Option<&TargetName>, session: &str) -> String {
    digest(&[source, target.map_or("", TargetName::as_str), session]).chars().take(32).collect()
}

/// Somebody's words, as they may be kept.
fn words(text: &str) -> String {
    tame(&text.chars().take(LONGEST_WORDS).collect::<String>())
}

fn add_whose(details: &mut serde_json::Value, whose: Option<&Whose>) {
    if let Some((subject, role)) = whose {
        details["subject"] = json!(subject);
        details["role"] = json!(role);
    }
}

fn gives_on(row: &GrantRow, target: &TargetName) -> bool {
    row.grant.entitlements.iter().any(|entitlement| entitlement.target == *target)
}

/// The target of a grant, if it gives something on one only.
fn only_target(row: &GrantRow) -> Option<TargetName> {
    let targets: BTreeSet<&TargetName> = row.grant.entitlements.iter().map(|entitlement| &entitlement.target).collect();
    targets.first().filter(|_| targets.len() == 1).map(|name| (*name).clone())
}

/// Whether a grant ran at a time, as far as clocks agree.
fn ran_at(row: &GrantRow, at: DateTime<Utc>) -> bool {
    let over = match row.grant.state {
        State::Ended { at, .. } => at.min(row.grant.window.ends_at),
        _ => row.grant.window.ends_at,
    };
    row.grant.window.starts_at - SLACK <= at && at < over + SLACK
}
