CREATE TABLE incident (
    id           INTEGER PRIMARY KEY,
    verdict      TEXT    NOT NULL,
    name         TEXT    NOT NULL,
    pid          INTEGER,
    started_at   TEXT    NOT NULL,  -- RFC 3339, UTC
    ended_at     TEXT    NOT NULL,
    has_dump     INTEGER NOT NULL,
    report       TEXT    NOT NULL   -- JSON, docs/report.schema.json
);

CREATE INDEX incident_ended_at ON incident (ended_at);
CREATE INDEX incident_name ON incident (name);
