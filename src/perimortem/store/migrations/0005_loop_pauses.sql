-- How long the loop of a monitor did not look at its processes, for `doctor`.
CREATE TABLE loop_pause (
    id       INTEGER PRIMARY KEY,
    noted_at REAL NOT NULL,  -- seconds since the epoch
    command  TEXT NOT NULL,  -- run, watch, monitor
    pause_s  REAL NOT NULL,
    waited_s REAL NOT NULL   -- in addition, for a processor
);
