-- Every dump that was asked for: what it was of, so that the same crash is not dumped without end, and
-- what it takes, so that all together keep their budget.
CREATE TABLE dump (
    id         INTEGER PRIMARY KEY,
    signature  TEXT    NOT NULL,
    asked_at   REAL    NOT NULL,  -- seconds since the epoch
    size_bytes INTEGER NOT NULL,  -- while it is written: what is set aside for it
    path       TEXT,              -- NULL while it is written
    incident   INTEGER            -- whose dump it is
);

CREATE INDEX dump_signature ON dump (signature, asked_at);
CREATE INDEX dump_path ON dump (path);
