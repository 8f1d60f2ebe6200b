//! A modelled database, as a target: who is a member of which role, and how it fails.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use daypass::policy::entitlement::{Access, Entitlement};
use daypass::policy::model::TargetKind;
use daypass::target::{Drift, Observed, Receipt, Session, Target, TargetError};
use tokio::sync::Notify;

/// How a call fails.
#[derive(Debug, Clone)]
pub enum Failure {
    /// Nothing is done.
    Refuse(TargetError),
    /// It is done, but the answer is lost.
    Pretend(TargetError),
    /// No answer until [`Database::resume`]; nothing is done before, or it is `done` already.
    Stall { done: bool },
}

/// Asked at each call.
pub type Failures = Arc<dyn Fn() -> Option<Failure> + Send + Sync>;

#[derive(Default)]
pub struct Database {
    members: Mutex<BTreeSet<(String, String)>>,
    down: Mutex<bool>,
    calls: Mutex<Vec<String>>,
    failures: Mutex<Option<Failures>>,
    resumed: Notify,
    /// Who is connected, if it tells.
    sessions: Mutex<Option<Vec<(String, Session)>>>,
    sessions_hang: Mutex<bool>,
    drift: Mutex<Option<Drift>>,
}

impl std::fmt::Debug for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Database")
    }
}

impl Database {
    pub fn is_member(&self, role: &str, login: &str) -> bool {
        self.members.lock().unwrap().contains(&(role.to_owned(), login.to_owned()))
    }

    /// Every membership, as role and login.
    pub fn members(&self) -> BTreeSet<(String, String)> {
        self.members.lock().unwrap().clone()
    }

    pub fn add(&self, role: &str, login: &str) {
        self.members.lock().unwrap().insert((role.to_owned(), login.to_owned()));
    }

    /// What is done about what somebody else takes away.
    pub fn on_drift(&self, drift: Drift) {
        *self.drift.lock().unwrap() = Some(drift);
    }

    /// Somebody else takes it away.
    pub fn take_away(&self, role: &str, login: &str) {
        self.members.lock().unwrap().remove(&(role.to_owned(), login.to_owned()));
    }

    /// From now on it tells who is connected.
    pub fn tells_sessions(&self) {
        self.sessions.lock().unwrap().get_or_insert_default();
    }

    /// Whoever asks for sessions gets no answer.
    pub fn hides_sessions(&self) {
        self.tells_sessions();
        *self.sessions_hang.lock().unwrap() = true;
    }

    /// Somebody connects.
    pub fn connects(&self, login: &str, key: &str, opened_at: Option<DateTime<Utc>>, what: &str) {
        let session = Session { key: key.to_owned(), opened_at, what: what.to_owned() };
        self.sessions.lock().unwrap().as_mut().unwrap().push((login.to_owned(), session));
    }

    /// Everybody is gone.
    pub fn all_disconnect(&self) {
        self.sessions.lock().unwrap().as_mut().unwrap().clear();
    }

    pub fn set_down(&self, down: bool) {
        *self.down.lock().unwrap() = down;
    }

    pub fn fail(&self, failures: Failures) {
        *self.failures.lock().unwrap() = Some(failures);
    }

    /// Ends every stall there is now.
    pub fn resume(&self) {
        self.resumed.notify_waiters();
    }

    /// Every `grant` and `revoke` it carried out; `late` are those that had been on their way while whoever sent them was paused.
    pub fn calls(&self) -> Vec<String> {
        self.calls.lock().unwrap().clone()
    }

    /// Does `effect`, unless it fails.
    async fn answer<T>(
        &self,
        entitlement: &Entitlement,
        effect: impl FnOnce(String, String, &'static str) -> T,
    ) -> Result<T, TargetError> {
        if *self.down.lock().unwrap() {
            return Err(TargetError::Temporary("it cannot be reached: connection refused".to_owned()));
        }
        let Access::Postgres { role, login } = &entitlement.access else {
            return Err(TargetError::Permanent("not a role".to_owned()));
        };
        let failure = self.failures.lock().unwrap().clone().and_then(|failures| failures());
        let mut when = "";
        match failure {
            Some(Failure::Refuse(error)) => return Err(error),
            Some(Failure::Stall { done: false }) => {
                self.resumed.notified().await;
                when = "late ";
            }
            _ => {}
        }
        let done = effect(role.clone(), login.clone(), when);
        match failure {
            Some(Failure::Pretend(error)) => return Err(error),
            Some(Failure::Stall { done: true }) => self.resumed.notified().await,
            _ => {}
        }
        Ok(done)
    }
}

#[async_trait]
impl Target for Database {
    fn kind(&self) -> TargetKind {
        TargetKind::Postgres
    }

    async fn check(&self) -> Result<String, TargetError> {
        Ok("modelled".to_owned())
    }

    async fn observe(&self, entitlement: &Entitlement) -> Result<Observed, TargetError> {
        let look = |role: String, login: String, _| match self.is_member(&role, &login) {
            true => Observed::Present,
            false => Observed::Absent,
        };
        self.answer(entitlement, look).await
    }

    async fn grant(&self, entitlement: &Entitlement, _now: DateTime<Utc>) -> Result<Receipt, TargetError> {
        let grant = |role: String, login: String, when: &str| {
            self.calls.lock().unwrap().push(format!("{when}grant {role} to {login}"));
            self.add(&role, &login);
            Receipt { summary: format!("{login} is a member of role {role}"), ..Receipt::default() }
        };
        self.answer(entitlement, grant).await
    }

    async fn revoke(
        &self,
        entitlement: &Entitlement,
        _receipt: Option<&Receipt>,
        _now: DateTime<Utc>,
    ) -> Result<Receipt, TargetError> {
        let revoke = |role: String, login: String, when: &str| {
            self.calls.lock().unwrap().push(format!("{when}revoke {role} from {login}"));
            self.members.lock().unwrap().remove(&(role.clone(), login.clone()));
            Receipt { summary: format!("{login} is no longer a member of role {role}"), ..Receipt::default() }
        };
        self.answer(entitlement, revoke).await
    }

    fn drift(&self) -> Drift {
        self.drift.lock().unwrap().unwrap_or(Drift::Ignore)
    }

    fn sees_sessions(&self) -> bool {
        self.sessions.lock().unwrap().is_some()
    }

    async fn sessions(&self, of: &BTreeSet<Entitlement>) -> Result<Vec<(Entitlement, Session)>, TargetError> {
        if *self.sessions_hang.lock().unwrap() {
            std::future::pending::<()>().await;
        }
        let sessions = self.sessions.lock().unwrap().clone().unwrap_or_default();
        let theirs = |entitlement: &Entitlement, login: &str| matches!(&entitlement.access, Access::Postgres { login: of, .. } if of == login);
        let all = of.iter().flat_map(|one| {
            let seen = sessions.iter().filter(|(login, _)| theirs(one, login));
            seen.map(|(_, session)| (one.clone(), session.clone())).collect::<Vec<_>>()
        });
        Ok(all.collect())
    }
}
