-- Uses of break-glass, with the issues in which they are reviewed.
CREATE TABLE emergencies (
    repository  TEXT   NOT NULL,
    id          TEXT   NOT NULL,
    issue       BIGINT,
    due_at      BIGINT NOT NULL,
    reviewed_at BIGINT,
    PRIMARY KEY (repository, id)
);
CREATE INDEX emergencies_by_issue ON emergencies (repository, issue);
CREATE INDEX emergencies_waiting ON emergencies (reviewed_at, due_at);
CREATE INDEX events_by_kind ON events (repository, kind, at);
