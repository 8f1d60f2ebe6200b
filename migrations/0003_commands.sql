-- Commands in comments that were looked at, each once. `verb` is what was asked for, `outcome` what became of it;
-- `closes` is 1 while the pull request still has to be closed. Nothing is left to do once there is `done_at`. A reaction of ours on the
-- comment says the same to a new database.
CREATE TABLE commands (
    repository   TEXT   NOT NULL,
    comment      BIGINT NOT NULL,
    pull_request BIGINT NOT NULL,
    verb         TEXT   NOT NULL,
    outcome      TEXT   NOT NULL,
    closes       BIGINT NOT NULL,
    decided_at   BIGINT NOT NULL,
    done_at      BIGINT,
    PRIMARY KEY (repository, comment)
);

-- Buttons that were pressed on check runs. The webhook is the only one who tells by whom, so it is kept until it was looked at.
CREATE TABLE presses (
    delivery     TEXT   NOT NULL PRIMARY KEY,
    repository   TEXT   NOT NULL,
    pull_request BIGINT NOT NULL,
    check_run    BIGINT NOT NULL,
    button       TEXT   NOT NULL,
    account      BIGINT NOT NULL,
    pressed_at   BIGINT NOT NULL,
    done_at      BIGINT
);
CREATE INDEX presses_waiting ON presses (repository, pull_request, done_at);

-- The pull request that asks to extend a grant, so that it is looked at when the grant ends. Can be found again on GitHub.
CREATE TABLE extensions (
    repository   TEXT   NOT NULL,
    grant_id     TEXT   NOT NULL,
    pull_request BIGINT NOT NULL,
    PRIMARY KEY (repository, grant_id)
);

-- Whether the check run of a pull request has its buttons.
ALTER TABLE pulls ADD COLUMN buttons BIGINT NOT NULL DEFAULT 0;

-- The pull request a grant came by, and the one its chain of extensions began with: comments on either may be about it.
ALTER TABLE grants ADD COLUMN pull_request BIGINT;
ALTER TABLE grants ADD COLUMN chain BIGINT;
UPDATE grants SET pull_request = CAST(substr(id, length(slug) + 2) AS BIGINT);
UPDATE grants SET chain = pull_request;
CREATE INDEX grants_by_pull ON grants (repository, pull_request);
CREATE INDEX grants_by_revert ON grants (repository, revert_pull);
CREATE INDEX grants_by_chain ON grants (repository, chain);
