//! Role membership in PostgreSQL: `GRANT role TO login`, `REVOKE role FROM login`, and the end of running sessions.
//!
//! Names cannot be bound as parameters, so the server itself quotes them (`format('%I')`). The login Daypass uses needs the
//! ADMIN OPTION on the roles it hands out, and to end sessions `pg_signal_backend`; it needs no superuser.
//!
//! It looks before it speaks: after a crash between a statement and the record of it, the statement is not made again, and the
//! server's log has it once. Each statement is a transaction of its own. One that spanned the look as well would stay open where a
//! process is suspended between the two, and whoever revoked meanwhile would not see what it is about to commit.

use std::collections::BTreeSet;
use std::str::FromStr;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use secrecy::{ExposeSecret, SecretString};
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::{AssertSqlSafe, ConnectOptions, Row};

use super::{Drift, MOST_SESSIONS, Observed, Receipt, Session, Target, TargetError, still_fresh};
use crate::policy::entitlement::{Access, Entitlement};
use crate::policy::model::TargetKind;

/// A PostgreSQL server.
pub struct Postgres {
    pool: PgPool,
    terminate_sessions: bool,
    drift: Drift,
}

impl std::fmt::Debug for Postgres {
    /// Not the pool: its options hold the password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Postgres")
    }
}

impl Postgres {
    /// The server at `url` (`postgres://…`). Nothing is connected yet: a server that is down keeps nobody from starting.
    pub fn new(url: &SecretString, terminate_sessions: bool) -> Result<Self, TargetError> {
        let options = PgConnectOptions::from_str(url.expose_secret())
            // The error would quote the address, and with it the password.
            .map_err(|_| TargetError::Permanent("its `url` is no postgres:// address".to_owned()))?
            .application_name("daypass")
            // The server gives up before we do: what we no longer wait for must not take effect later.
            .options([("statement_timeout", "10s"), ("lock_timeout", "8s")])
            .disable_statement_logging();
        let pool = PgPoolOptions::new()
            .max_connections(4)
            .acquire_timeout(Duration::from_secs(10))
            .idle_timeout(Duration::from_secs(60))
            .connect_lazy_with(options);
        Ok(Self { pool, terminate_sessions, drift: Drift::default() })
    }

    /// The same, with what is done about drift.
    pub fn on_drift(self, drift: Drift) -> Self {
        Self { drift, ..self }
    }

    async fn is_member(&self, role: &str, login: &str) -> Result<bool, TargetError> {
        sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.roleid \
             JOIN pg_roles l ON l.oid = m.member WHERE r.rolname = $1 AND l.rolname = $2)",
        )
        .bind(role)
        .bind(login)
        .fetch_one(&self.pool)
        .await
        .map_err(failure)
    }

    async fn exists(&self, role: &str) -> Result<bool, TargetError> {
        sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = $1)")
            .bind(role)
            .fetch_one(&self.pool)
            .await
            .map_err(failure)
    }

    /// Runs a statement with two names in it, quoted by the server; not if what it rests on was seen too long ago.
    async fn run(&self, format: &'static str, role: &str, login: &str, looked: Instant) -> Result<(), TargetError> {
        let sql: String = sqlx::query_scalar("SELECT format($1, $2::text, $3::text)")
            .bind(format)
            .bind(role)
            .bind(login)
            .fetch_one(&self.pool)
            .await
            .map_err(failure)?;
        let mut connection = self.pool.acquire().await.map_err(failure)?;
        still_fresh(looked)?;
        sqlx::query(AssertSqlSafe(sql)).execute(&mut *connection).await.map_err(failure)?;
        Ok(())
    }

    /// Ends the sessions of a login; how many.
    async fn end_sessions(&self, login: &str) -> Result<i64, TargetError> {
        sqlx::query_scalar(
            "SELECT count(*) FILTER (WHERE pg_terminate_backend(pid)) FROM pg_stat_activity \
             WHERE usename = $1 AND pid <> pg_backend_pid()",
        )
        .bind(login)
        .fetch_one(&self.pool)
        .await
        .map_err(failure)
    }
}

/// A name longer than this is cut by the server, and would then mean another role.
const LONGEST_NAME: usize = 63;

fn wanted(entitlement: &Entitlement) -> Result<(&str, &str), TargetError> {
    let Access::Postgres { role, login } = &entitlement.access else {
        return Err(TargetError::Permanent(format!("{entitlement} is not a role in PostgreSQL")));
    };
    for name in [role, login] {
        if name.is_empty() || name.len() > LONGEST_NAME || name.contains('\0') {
            return Err(TargetError::Permanent(format!(
                "{name:?} cannot be the name of a role: 1 to {LONGEST_NAME} bytes"
            )));
        }
    }
    Ok((role, login))
}

/// Sorts errors: what may pass by itself, and what somebody has to change. Codes:
/// <https://www.postgresql.org/docs/current/errcodes-appendix.html>.
fn failure(error: sqlx::Error) -> TargetError {
    match &error {
        sqlx::Error::Database(database) => {
            let code = database.code().unwrap_or_default();
            let message = format!("{} (SQLSTATE {code})", database.message());
            match code.get(..2).unwrap_or_default() {
                // Connection, resources, operator intervention, rollback (deadlock), lock not available.
                "08" | "53" | "57" | "40" | "55" => TargetError::Temporary(message),
                "XX" if code == "XX000" && message.contains("concurrently updated") => TargetError::Temporary(message),
                _ => TargetError::Permanent(message),
            }
        }
        sqlx::Error::Configuration(_) => TargetError::Permanent("its settings cannot be used".to_owned()),
        sqlx::Error::PoolTimedOut => TargetError::Temporary("no connection within 10 seconds".to_owned()),
        sqlx::Error::Io(error) => TargetError::Temporary(format!("it cannot be reached: {}", error.kind())),
        _ => TargetError::Temporary("the connection broke".to_owned()),
    }
}

#[async_trait]
impl Target for Postgres {
    fn kind(&self) -> TargetKind {
        TargetKind::Postgres
    }

    async fn check(&self) -> Result<String, TargetError> {
        let version: String = sqlx::query_scalar("SHOW server_version").fetch_one(&self.pool).await.map_err(failure)?;
        Ok(format!("PostgreSQL {version} answers"))
    }

    async fn observe(&self, entitlement: &Entitlement) -> Result<Observed, TargetError> {
        let (role, login) = wanted(entitlement)?;
        Ok(if self.is_member(role, login).await? { Observed::Present } else { Observed::Absent })
    }

    async fn grant(&self, entitlement: &Entitlement, _now: DateTime<Utc>) -> Result<Receipt, TargetError> {
        let (role, login) = wanted(entitlement)?;
        let looked = Instant::now();
        if !self.exists(login).await? {
            return Err(TargetError::Permanent(format!(
                "there is no login {login:?}; create it, or correct `people: {{ …: {{ postgres: … }} }}` in the policy"
            )));
        }
        if !self.exists(role).await? {
            return Err(TargetError::Permanent(format!(
                "there is no role {role:?}; create it, or correct the entitlement"
            )));
        }
        if !self.is_member(role, login).await? {
            self.run("GRANT %I TO %I", role, login, looked).await?;
        }
        Ok(Receipt { summary: format!("{login} is a member of role {role}"), ..Receipt::default() })
    }

    async fn revoke(
        &self,
        entitlement: &Entitlement,
        _receipt: Option<&Receipt>,
        _now: DateTime<Utc>,
    ) -> Result<Receipt, TargetError> {
        let (role, login) = wanted(entitlement)?;
        let looked = Instant::now();
        // Roles that are gone have no members.
        let there = self.is_member(role, login).await?;
        if there {
            self.run("REVOKE %I FROM %I", role, login, looked).await?;
        }
        // PostgreSQL 16 keeps one membership per grantor: what somebody else gave, only they can take.
        if there && self.is_member(role, login).await? {
            return Err(TargetError::Permanent(format!(
                "{login} is still a member of role {role}, granted by somebody else; revoke that by hand"
            )));
        }
        let mut summary = format!("{login} is no longer a member of role {role}");
        if self.terminate_sessions {
            let ended = self.end_sessions(login).await?;
            if ended > 0 {
                summary.push_str(&format!("; {ended} running session{} ended", if ended == 1 { "" } else { "s" }));
            }
        }
        Ok(Receipt { summary, ..Receipt::default() })
    }

    fn drift(&self) -> Drift {
        self.drift
    }

    fn sees_sessions(&self) -> bool {
        true
    }

    /// Since when a session is open, only `pg_read_all_stats` may know; who is connected to which database, everybody.
    /// Addresses are not asked for: they are personal data, and the server's own log has them.
    async fn sessions(&self, of: &BTreeSet<Entitlement>) -> Result<Vec<(Entitlement, Session)>, TargetError> {
        let logins: BTreeSet<&str> = of.iter().filter_map(|one| wanted(one).ok()).map(|(_, login)| login).collect();
        let rows = sqlx::query(
            "SELECT usename::text, pid, datname::text, application_name, (extract(epoch FROM backend_start) * 1000)::bigint \
             FROM (SELECT *, row_number() OVER (PARTITION BY usename ORDER BY pid) AS nth FROM pg_stat_activity \
             WHERE usename = ANY($1) AND pid <> pg_backend_pid() AND COALESCE(backend_type, 'client backend') = 'client backend') AS a \
             WHERE nth <= $2",
        )
        .bind(logins.into_iter().map(str::to_owned).collect::<Vec<String>>())
        .bind(MOST_SESSIONS)
        .fetch_all(&self.pool)
        .await
        .map_err(failure)?;
        let mut sessions = Vec::new();
        for row in rows {
            let login: String = row.try_get(0).map_err(failure)?;
            let pid: i32 = row.try_get(1).map_err(failure)?;
            let text =
                |nth: usize| row.try_get::<Option<String>, _>(nth).map(Option::unwrap_or_default).map_err(failure);
            let (database, program) = (text(2)?, text(3)?);
            let began: Option<i64> = row.try_get(4).map_err(failure)?;
            let what = match program.as_str() {
                "" => format!("database {database}"),
                program => format!("database {database}, program {program}"),
            };
            let session = Session {
                key: format!("process {pid}"),
                opened_at: began.and_then(DateTime::from_timestamp_millis),
                what,
            };
            let theirs = of.iter().filter(|one| wanted(one).is_ok_and(|(_, of)| of == login));
            sessions.extend(theirs.map(|one| (one.clone(), session.clone())));
        }
        Ok(sessions)
    }
}
