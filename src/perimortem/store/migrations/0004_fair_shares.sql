-- A program that makes thousands of incidents does not evict those of others: the first of an hour are kept
-- whole, later ones are counted.
ALTER TABLE incident ADD COLUMN program TEXT;

ALTER TABLE incident ADD COLUMN stored_at REAL;  -- seconds since the epoch; NULL before this version

ALTER TABLE incident ADD COLUMN repeats INTEGER NOT NULL DEFAULT 0;  -- incidents counted with this one

CREATE INDEX incident_program ON incident (program, stored_at);

-- What was counted, so that a fuller report of the same incident is not counted again.
CREATE TABLE counted (
    uid       TEXT PRIMARY KEY,
    incident  INTEGER NOT NULL,
    stored_at REAL    NOT NULL
);
