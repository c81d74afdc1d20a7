-- The same incident may come twice: from the spool and from the monitor that still watches, for instance.
ALTER TABLE incident ADD COLUMN uid TEXT;

CREATE UNIQUE INDEX incident_uid ON incident (uid);
