-- One set of statements for SQLite and PostgreSQL: BIGINT and TEXT only. Times are milliseconds since 1970 UTC. PostgreSQL's
-- indexes take texts of 2,700 bytes at most: what may be longer is found by a digest.

-- Webhook deliveries, written before they are acknowledged. Kept a while so that redeliveries are recognised.
CREATE TABLE deliveries (
    id          TEXT   NOT NULL PRIMARY KEY,
    event       TEXT   NOT NULL,
    body        TEXT   NOT NULL,
    received_at BIGINT NOT NULL,
    done_at     BIGINT
);
CREATE INDEX deliveries_waiting ON deliveries (done_at, received_at);

-- Until when something was looked at.
CREATE TABLE marks (
    name TEXT   NOT NULL PRIMARY KEY,
    at   BIGINT NOT NULL
);

-- Work that is due at some time. One row per thing to look at, however often it was asked for; `revision` counts the asking,
-- `token` fences: whoever lost the lease cannot finish the work. `lane` 0 is the targets and 1 the clock of grants, which
-- wait for nothing else, 2 everything else; `owner` is whose
-- GitHub it needs, so that one organisation does not hold up the others. `wanted_at` is when it was due first, `due_at` when it is
-- tried next.
CREATE TABLE work (
    job        TEXT   NOT NULL PRIMARY KEY,
    lane       BIGINT NOT NULL,
    owner      TEXT   NOT NULL,
    due_at     BIGINT NOT NULL,
    wanted_at  BIGINT NOT NULL,
    revision   BIGINT NOT NULL,
    attempts   BIGINT NOT NULL,
    token      TEXT,
    held_until BIGINT,
    last_error TEXT
);
CREATE INDEX work_due ON work (lane, due_at, job);
CREATE INDEX work_wanted ON work (lane, wanted_at);
CREATE INDEX work_of_owner ON work (owner, lane, due_at, job);
CREATE INDEX work_held ON work (held_until);

-- How far the default branch of each policy repository has been read; nothing of it yet without `head`. What was on it up to
-- `first_until`, when this database first saw it, may have been applied before this database was made.
CREATE TABLE repositories (
    name        TEXT   NOT NULL PRIMARY KEY,
    head        TEXT,
    first_until TEXT,
    synced_at   BIGINT NOT NULL
);

-- What was published on each pull request, so that it is edited in place. Can be found again on GitHub.
CREATE TABLE pulls (
    repository TEXT   NOT NULL,
    number     BIGINT NOT NULL,
    head       TEXT,
    check_id   BIGINT,
    comment_id BIGINT,
    digest     TEXT,
    PRIMARY KEY (repository, number)
);

-- Content of the default branch that was looked at: verified grants, live or over, and refused files.
CREATE TABLE grants (
    repository   TEXT   NOT NULL,
    id           TEXT   NOT NULL,
    slug         TEXT   NOT NULL,
    blob         TEXT   NOT NULL,
    state        TEXT   NOT NULL,
    subject_id   BIGINT NOT NULL,
    ends_at      BIGINT NOT NULL,
    revert_pull  BIGINT,
    body         TEXT   NOT NULL,
    PRIMARY KEY (repository, id)
);
CREATE INDEX grants_by_state ON grants (state, ends_at);
CREATE INDEX grants_by_slug ON grants (repository, slug);

-- The targets live grants give something on.
CREATE TABLE grant_targets (
    target     TEXT NOT NULL,
    repository TEXT NOT NULL,
    id         TEXT NOT NULL,
    PRIMARY KEY (target, repository, id)
);

-- Files on the default branch whose origin could not be verified, until they are gone.
CREATE TABLE refusals (
    key         TEXT   NOT NULL PRIMARY KEY,
    repository  TEXT   NOT NULL,
    path        TEXT   NOT NULL,
    blob        TEXT   NOT NULL,
    commit_id   TEXT   NOT NULL,
    reason      TEXT   NOT NULL,
    revert_pull BIGINT,
    issue       BIGINT
);
CREATE INDEX refusals_by_repository ON refusals (repository);

-- Access that was applied, or may have been: written before a target is called. `revision` counts the writing, so that nobody
-- forgets what somebody else has written since. `ends_at` is when the last of its grants ends, or ended. `open_calls` counts the calls
-- that give it and of which nobody has written that they returned: one of them may still be on its way.
CREATE TABLE entitlements (
    key         TEXT   NOT NULL PRIMARY KEY,
    entitlement TEXT   NOT NULL,
    target      TEXT   NOT NULL,
    progress    TEXT   NOT NULL,
    standing    BIGINT NOT NULL,
    holders     TEXT   NOT NULL,
    receipt     TEXT,
    last_error  TEXT,
    changed_at  BIGINT NOT NULL,
    revision    BIGINT NOT NULL,
    ends_at     BIGINT,
    open_calls  BIGINT NOT NULL DEFAULT 0
);
CREATE INDEX entitlements_by_target ON entitlements (target);
CREATE INDEX entitlements_by_end ON entitlements (standing, ends_at);

-- Access that was taken away although a call that gives it may still have been on its way: it is looked at again until then.
CREATE TABLE watched (
    key         TEXT   NOT NULL PRIMARY KEY,
    entitlement TEXT   NOT NULL,
    target      TEXT   NOT NULL,
    holders     TEXT   NOT NULL,
    look_at     BIGINT NOT NULL,
    watch_until BIGINT NOT NULL
);
CREATE INDEX watched_by_target ON watched (target, look_at);

-- What happened, once each: ids are deterministic.
CREATE TABLE events (
    id         TEXT   NOT NULL PRIMARY KEY,
    at         BIGINT NOT NULL,
    repository TEXT   NOT NULL,
    kind       TEXT   NOT NULL,
    body       TEXT   NOT NULL
);
CREATE INDEX events_by_time ON events (at);

-- Comments to be posted, once each: ids are deterministic and become markers in the comments.
CREATE TABLE messages (
    key          TEXT   NOT NULL PRIMARY KEY,
    id           TEXT   NOT NULL,
    repository   TEXT   NOT NULL,
    pull_request BIGINT NOT NULL,
    written_at   BIGINT NOT NULL,
    body         TEXT   NOT NULL,
    posted_at    BIGINT
);
CREATE INDEX messages_waiting ON messages (repository, pull_request, posted_at);

-- One row, written whenever somebody asks whether the database takes writes.
CREATE TABLE health (
    id     BIGINT NOT NULL PRIMARY KEY,
    writes BIGINT NOT NULL
);
