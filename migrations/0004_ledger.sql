-- The place of each event in the ledger, once it is on the branch. What has none waits to be written.
ALTER TABLE events ADD COLUMN seq BIGINT;
ALTER TABLE events ADD COLUMN hash TEXT;
-- In which order events were recorded: several happen at once.
ALTER TABLE events ADD COLUMN nth BIGINT NOT NULL DEFAULT 0;
CREATE INDEX events_in_ledger ON events (repository, seq, nth);
CREATE INDEX events_in_order ON events (nth);

-- Where the ledger's branch of each policy repository was left: its commit and tree, the last event, and the file that one is in
-- with the number of the first event in it. Without `commit_id` there is no branch yet; without `tree` what is on it is not ours.
-- `complete` is 0 while a new database takes in what is on the branch.
CREATE TABLE ledgers (
    repository    TEXT   NOT NULL PRIMARY KEY,
    commit_id     TEXT,
    tree          TEXT,
    file          TEXT,
    first_in_file BIGINT NOT NULL,
    seq           BIGINT NOT NULL,
    hash          TEXT   NOT NULL,
    complete      BIGINT NOT NULL
);
