-- Sessions that were seen on a target, until they are seen to be over: what is on record of them, and until when they were seen.
CREATE TABLE sessions (
    target      TEXT   NOT NULL,
    entitlement TEXT   NOT NULL,
    session     TEXT   NOT NULL,
    body        TEXT   NOT NULL,
    seen_at     BIGINT NOT NULL,
    PRIMARY KEY (target, entitlement, session)
);
CREATE INDEX sessions_by_entitlement ON sessions (entitlement);
-- Finding the grants that ran at a time.
CREATE INDEX grants_by_end ON grants (repository, ends_at);
