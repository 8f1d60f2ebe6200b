//! Events, each once, and which of them are on the ledger's branch already.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;
use sqlx::Row;

use super::patience::InTime;
use super::{Job, Store, StoreError, Tx, key, read_json, time, write_json};
use crate::ledger::{Entry, Event, EventKind, LedgerFile, Link, Pending};
use crate::mutants::{self, Mutant};
use crate::policy::name::{CommitId, RepositoryName, TreeId};

/// How long an event waits for others, so that they are written to the branch together.
const TOGETHER: TimeDelta = TimeDelta::seconds(30);

/// Where the branch of a ledger was left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerPosition {
    /// The commit it was at; none: there was no branch.
    pub commit: Option<CommitId>,
    /// Its tree; none: what is on the branch is not ours, and everything is written anew.
    pub tree: Option<TreeId>,
    /// The file of the last event.
    pub file: Option<LedgerFile>,
    /// The number of the first event in it.
    pub first_in_file: u64,
    /// The last event.
    pub last: Link,
    /// Whether everything on the branch is known here; otherwise it is being taken in.
    pub complete: bool,
}

impl LedgerPosition {
    /// That of a ledger with nothing in it, on a branch at `commit`.
    pub fn empty(commit: Option<CommitId>, complete: bool) -> Self {
        Self { commit, tree: None, file: None, first_in_file: 1, last: Link::default(), complete }
    }
}

impl Store {
    /// Every event in order of time, for the record and for tests.
    pub async fn events(&self) -> Result<Vec<Event>, StoreError> {
        let bodies: Vec<String> =
            sqlx::query_scalar("SELECT body FROM events ORDER BY at, id").fetch_all(&self.pool).in_time().await?;
        bodies.iter().map(|body| read_json("events", body)).collect()
    }

    /// Where the branch of a repository's ledger was left; none if this database has not looked yet.
    pub async fn ledger(&self, repository: &RepositoryName) -> Result<Option<LedgerPosition>, StoreError> {
        let row = sqlx::query(
            "SELECT commit_id, tree, file, first_in_file, seq, hash, complete FROM ledgers WHERE repository = $1",
        )
        .bind(repository.as_str())
        .fetch_optional(&self.pool)
        .in_time()
        .await?;
        let Some(row) = row else { return Ok(None) };
        let corrupt = |problem: String| StoreError::Corrupt { table: "ledgers", problem };
        let text = |column: &str| row.try_get::<Option<String>, _>(column);
        let number = |column: &str| row.try_get::<i64, _>(column).map(i64::cast_unsigned);
        let commit = text("commit_id")?.map(|id| id.parse::<CommitId>()).transpose();
        let tree = text("tree")?.map(|id| id.parse::<TreeId>()).transpose();
        let file = text("file")?.map(|path| LedgerFile::at(&path).ok_or_else(|| corrupt(format!("{path} is no file"))));
        Ok(Some(LedgerPosition {
            commit: commit.map_err(|error| corrupt(error.to_string()))?,
            tree: tree.map_err(|error| corrupt(error.to_string()))?,
            file: file.transpose()?,
            first_in_file: number("first_in_file")?,
            last: Link { seq: number("seq")?, hash: row.try_get("hash")? },
            complete: number("complete")? != 0,
        }))
    }

    /// The next events to be written after number `seq`, in order, `limit` at most: first those that had a place already, which
    /// they get again.
    pub async fn pending_events(
        &self,
        repository: &RepositoryName,
        seq: u64,
        limit: u32,
    ) -> Result<Vec<Pending>, StoreError> {
        let mut pending = Vec::new();
        for condition in ["seq > $2 AND seq IS NOT NULL ORDER BY seq", "seq IS NULL AND $2 >= 0 ORDER BY nth, at, id"] {
            let left = i64::from(limit) - i64::try_from(pending.len()).unwrap_or(i64::MAX);
            let sql = format!("SELECT id, at, body FROM events WHERE repository = $1 AND {condition} LIMIT $3");
            let rows = sqlx::query(sqlx::AssertSqlSafe(sql))
                .bind(repository.as_str())
                .bind(seq.cast_signed())
                .bind(left)
                .fetch_all(&self.pool)
                .in_time()
                .await?;
            for row in rows {
                let body: String = row.try_get("body")?;
                pending.push(Pending {
                    key: row.try_get("id")?,
                    at: time("events", row.try_get("at")?)?,
                    body: read_json("events", &body)?,
                });
            }
        }
        Ok(pending)
    }

    /// The events of a ledger from number `first` to `last`: hash and body.
    pub async fn written_events(
        &self,
        repository: &RepositoryName,
        first: u64,
        last: u64,
    ) -> Result<Vec<(Link, Value)>, StoreError> {
        let rows = sqlx::query(
            "SELECT seq, hash, body FROM events WHERE repository = $1 AND seq >= $2 AND seq <= $3 ORDER BY seq",
        )
        .bind(repository.as_str())
        .bind(first.cast_signed())
        .bind(last.cast_signed())
        .fetch_all(&self.pool)
        .in_time()
        .await?;
        rows.iter()
            .map(|row| {
                let link = Link { seq: row.try_get::<i64, _>("seq")?.cast_unsigned(), hash: row.try_get("hash")? };
                Ok((link, read_json("events", &row.try_get::<String, _>("body")?)?))
            })
            .collect()
    }

    /// An event by its id.
    pub async fn event(&self, id: &str) -> Result<Option<Event>, StoreError> {
        let body: Option<String> = sqlx::query_scalar("SELECT body FROM events WHERE id = $1")
            .bind(key(id))
            .fetch_optional(&self.pool)
            .in_time()
            .await?;
        body.map(|body| read_json("events", &body)).transpose()
    }

    /// The events of one kind since `since`, oldest first.
    pub async fn events_of(
        &self,
        repository: &RepositoryName,
        kind: EventKind,
        since: DateTime<Utc>,
    ) -> Result<Vec<Event>, StoreError> {
        let sql = "SELECT body FROM events WHERE repository = $1 AND kind = $2 AND at >= $3 ORDER BY at, id";
        let bodies: Vec<String> = sqlx::query_scalar(sql)
            .bind(repository.as_str())
            .bind(kind.as_str())
            .bind(since.timestamp_millis())
            .fetch_all(&self.pool)
            .in_time()
            .await?;
        bodies.iter().map(|body| read_json("events", body)).collect()
    }

    /// The events of one kind in the order in which they were put on record, whatever the clocks said.
    pub async fn events_in_order(
        &self,
        repository: &RepositoryName,
        kind: EventKind,
    ) -> Result<Vec<Event>, StoreError> {
        let sql = "SELECT body FROM events WHERE repository = $1 AND kind = $2 \
                   ORDER BY CASE WHEN seq IS NULL THEN 1 ELSE 0 END, seq, nth";
        let bodies: Vec<String> = sqlx::query_scalar(sql)
            .bind(repository.as_str())
            .bind(kind.as_str())
            .fetch_all(&self.pool)
            .in_time()
            .await?;
        bodies.iter().map(|body| read_json("events", body)).collect()
    }

    /// How many events of each repository are not on its branch, and since when the oldest of them waits.
    pub async fn waiting_events(&self) -> Result<Vec<(String, i64, DateTime<Utc>)>, StoreError> {
        let rows =
            sqlx::query("SELECT repository, COUNT(*), MIN(at) FROM events WHERE seq IS NULL GROUP BY repository")
                .fetch_all(&self.pool)
                .in_time()
                .await?;
        rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?, time("events", row.try_get(2)?)?))).collect()
    }
}

impl Tx {
    /// Records an event; one that is there already is left as it is. True if it was new.
    pub async fn record(&mut self, event: &Event) -> Result<bool, StoreError> {
        let done = sqlx::query(
            "INSERT INTO events (id, at, repository, kind, body, nth) \
             SELECT $1, $2, $3, $4, $5, COALESCE(MAX(nth), 0) + 1 FROM events WHERE TRUE ON CONFLICT (id) DO NOTHING",
        )
        .bind(key(&event.id))
        .bind(event.at.timestamp_millis())
        .bind(event.repository.as_str())
        .bind(event.kind.as_str())
        .bind(write_json(event))
        .execute(&mut *self.tx)
        .in_time()
        .await?;
        if mutants::is(Mutant::DoubleEvents) && !event.id.ends_with("again") {
            let again = Event { id: format!("{} again", event.id), ..event.clone() };
            Box::pin(self.record(&again)).await?;
        }
        let new = done.rows_affected() > 0;
        if new {
            self.schedule(&Job::Ledger(event.repository.clone()), event.at + TOGETHER).await?;
        }
        Ok(new)
    }

    /// Takes in an event that is on the branch. What is said there is what was said first.
    pub async fn take_in_event(&mut self, entry: &Entry) -> Result<(), StoreError> {
        let event = &entry.event;
        sqlx::query(
            "INSERT INTO events (id, at, repository, kind, body, seq, hash) VALUES ($1, $2, $3, $4, $5, $6, $7) \
             ON CONFLICT (id) DO UPDATE SET at = excluded.at, kind = excluded.kind, body = excluded.body, \
             seq = excluded.seq, hash = excluded.hash WHERE events.hash IS NULL OR events.hash = excluded.hash",
        )
        .bind(key(&event.id))
        .bind(event.at.timestamp_millis())
        .bind(event.repository.as_str())
        .bind(event.kind.as_str())
        .bind(write_json(event))
        .bind(entry.seq.cast_signed())
        .bind(&entry.hash)
        .execute(&mut *self.tx)
        .in_time()
        .await?;
        Ok(())
    }

    /// Remembers the places events got on the branch.
    pub async fn place_events(&mut self, placed: &[(String, Link)]) -> Result<(), StoreError> {
        for (key, link) in placed {
            sqlx::query("UPDATE events SET seq = $2, hash = $3 WHERE id = $1")
                .bind(key)
                .bind(link.seq.cast_signed())
                .bind(&link.hash)
                .execute(&mut *self.tx)
                .in_time()
                .await?;
        }
        Ok(())
    }

    /// Remembers where the branch was left.
    pub async fn set_ledger(
        &mut self,
        repository: &RepositoryName,
        position: &LedgerPosition,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO ledgers (repository, commit_id, tree, file, first_in_file, seq, hash, complete) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (repository) DO UPDATE SET \
             commit_id = excluded.commit_id, tree = excluded.tree, file = excluded.file, \
             first_in_file = excluded.first_in_file, seq = excluded.seq, hash = excluded.hash, complete = excluded.complete",
        )
        .bind(repository.as_str())
        .bind(position.commit.as_ref().map(CommitId::as_str))
        .bind(position.tree.as_ref().map(TreeId::as_str))
        .bind(position.file.map(|file| file.to_string()))
        .bind(position.first_in_file.cast_signed())
        .bind(position.last.seq.cast_signed())
        .bind(&position.last.hash)
        .bind(i64::from(position.complete))
        .execute(&mut *self.tx)
        .in_time()
        .await?;
        Ok(())
    }

    /// Forgets where the branch was left, and which events are on it: all of that is read anew.
    pub async fn forget_ledger(&mut self, repository: &RepositoryName) -> Result<(), StoreError> {
        for sql in [
            "DELETE FROM ledgers WHERE repository = $1",
            "UPDATE events SET seq = NULL, hash = NULL WHERE repository = $1",
        ] {
            sqlx::query(sql).bind(repository.as_str()).execute(&mut *self.tx).in_time().await?;
        }
        Ok(())
    }
}
