-- Where each stream of events is: the last event it took, by the order in which events were recorded, and who sends it at present.
CREATE TABLE streams (
    name       TEXT   NOT NULL PRIMARY KEY,
    nth        BIGINT NOT NULL,
    holder     TEXT,
    held_until BIGINT
);
