-- Since when the people who may approve a pull request have been asked to, at which head; without `asked_since` they are not: it is a
-- draft, or refused. Known again from the ledger.
ALTER TABLE pulls ADD COLUMN asked_head TEXT;
ALTER TABLE pulls ADD COLUMN asked_since BIGINT;

-- Who pushed a commit. Only webhooks tell; what a request was judged on is in the ledger too.
CREATE TABLE pushes (
    repository TEXT   NOT NULL,
    commit_id  TEXT   NOT NULL,
    account    BIGINT NOT NULL,
    login      TEXT   NOT NULL,
    pushed_at  BIGINT NOT NULL,
    PRIMARY KEY (repository, commit_id, account)
);
CREATE INDEX pushes_by_time ON pushes (pushed_at);
