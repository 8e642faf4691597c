-- The journal of one run. Every row carries the CRC-32 of its other columns, because SQLite does not
-- notice a changed byte in the middle of a row.

CREATE TABLE IF NOT EXISTS meta (
    key   TEXT PRIMARY KEY,  -- format, run, job, digest, plan; final once the journal was closed
    value BLOB NOT NULL,
    crc   INTEGER NOT NULL
);

-- What the plan says about each selected notebook, for whoever reads this file without the program.
CREATE TABLE IF NOT EXISTS item (
    item      INTEGER PRIMARY KEY,
    scope     TEXT NOT NULL,
    id        TEXT NOT NULL,
    name      TEXT NOT NULL,
    owner     TEXT NOT NULL,
    wave      INTEGER,          -- null for notebooks that need or get no change
    run_state TEXT NOT NULL,
    lease     TEXT NOT NULL,    -- JSON, as are the next two
    before    TEXT NOT NULL,
    after     TEXT NOT NULL,
    outcome   TEXT,             -- of notebooks without a change: unchanged or skipped
    reason    TEXT NOT NULL,
    crc       INTEGER NOT NULL
);

-- Append only. seq has no holes, so that a lost row is noticed.
CREATE TABLE IF NOT EXISTS event (
    seq  INTEGER PRIMARY KEY,
    body TEXT NOT NULL,         -- JSON: kind; item, unless it is of the whole run; at (wall s since the epoch)
    crc  INTEGER NOT NULL       -- of the body's bytes, begun with seq
);

-- One row at most: what the events up to seq add up to, so that nobody need read them all to see how the run
-- stands. The events are the truth: without this row, or if it is damaged, they are read.
CREATE TABLE IF NOT EXISTS balance (
    seq   INTEGER PRIMARY KEY,
    value BLOB NOT NULL,        -- JSON
    crc   INTEGER NOT NULL
);
