"""Tables of a run's state.

Queries, labels, pseudo-masks and all that people do refer to ``(id, 'train')`` of ``images``: the database itself
refuses to store one for an image of the validation or test split, whatever the code above it does.
"""

from __future__ import annotations

from scripts.core.run_names import Stage

APPLICATION_ID = 0x57414C31  # "WAL1": tells a state from any other SQLite file
VERSION = 3
"""Of the format of a run. Formats 1 and 2, of unpublished versions, are refused."""

_TRAIN_ONLY = """
    split TEXT NOT NULL DEFAULT 'train' CHECK (split = 'train'),
    FOREIGN KEY (id, split) REFERENCES images (id, split)"""

ANSWERS = """
CREATE TABLE IF NOT EXISTS answers (
    id TEXT NOT NULL,
    version INTEGER NOT NULL,
    kind TEXT NOT NULL,
    objects INTEGER NOT NULL CHECK (objects >= 0),
    PRIMARY KEY (id, version),
    FOREIGN KEY (id, version) REFERENCES labels (id, version)
);
"""
"""How masks of ``labels`` were drawn that are no outlines. States of before have no such table until one comes in."""

SCHEMA = f"""
CREATE TABLE run (key TEXT PRIMARY KEY, value TEXT NOT NULL);

CREATE TABLE images (
    id TEXT PRIMARY KEY,
    sha256 TEXT NOT NULL,
    label INTEGER NOT NULL,
    split TEXT NOT NULL CHECK (split IN ('train', 'val', 'test')),
    UNIQUE (id, split)
);

CREATE TABLE phases (
    seq INTEGER PRIMARY KEY,
    round INTEGER NOT NULL,
    phase TEXT NOT NULL,
    seconds REAL NOT NULL CHECK (seconds >= 0),
    rng TEXT NOT NULL,
    UNIQUE (round, phase)
);

CREATE TABLE queries (
    round INTEGER NOT NULL,
    rank INTEGER NOT NULL CHECK (rank >= 0),
    id TEXT NOT NULL,
    score REAL,{_TRAIN_ONLY},
    PRIMARY KEY (round, rank),
    UNIQUE (round, id)
);

CREATE TABLE labels (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL,
    round INTEGER,
    blob TEXT NOT NULL,
    cost_px INTEGER NOT NULL CHECK (cost_px >= 0),
    boundary_px INTEGER NOT NULL CHECK (boundary_px >= 0),
    seconds REAL NOT NULL CHECK (seconds >= 0),
    user TEXT NOT NULL,
    version INTEGER NOT NULL CHECK (version >= 1),
    status TEXT NOT NULL,
    at TEXT NOT NULL DEFAULT '',
    said TEXT NOT NULL DEFAULT '',
    origin TEXT NOT NULL DEFAULT '',
    origin_sha256 TEXT NOT NULL DEFAULT '',{_TRAIN_ONLY},
    UNIQUE (id, version)
);

CREATE TABLE pseudo (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL,
    round INTEGER NOT NULL,
    stage TEXT NOT NULL CHECK (stage IN {tuple(map(str, Stage))}),
    donor TEXT NOT NULL,
    distance REAL NOT NULL,
    threshold REAL NOT NULL,
    blob TEXT NOT NULL,{_TRAIN_ONLY},
    FOREIGN KEY (donor, split) REFERENCES images (id, split),
    UNIQUE (round, stage, id)
);

CREATE TABLE metrics (
    round INTEGER NOT NULL, name TEXT NOT NULL, value REAL NOT NULL, PRIMARY KEY (round, name)
);

CREATE TABLE artifacts (
    round INTEGER NOT NULL, name TEXT NOT NULL, blob TEXT NOT NULL, PRIMARY KEY (round, name)
);

CREATE TABLE reserves (
    round INTEGER NOT NULL,
    rank INTEGER NOT NULL CHECK (rank >= 0),
    id TEXT NOT NULL,
    score REAL,{_TRAIN_ONLY},
    PRIMARY KEY (round, rank),
    UNIQUE (round, id)
);

CREATE TABLE skips (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL,
    user TEXT NOT NULL,
    at TEXT NOT NULL,
    reason TEXT NOT NULL,
    origin TEXT NOT NULL DEFAULT '',
    undone TEXT NOT NULL DEFAULT '',{_TRAIN_ONLY}
);
CREATE UNIQUE INDEX skipped_once ON skips (id) WHERE undone = '';

CREATE TABLE leases (
    id TEXT PRIMARY KEY,
    user TEXT NOT NULL,
    since REAL NOT NULL,
    until REAL NOT NULL CHECK (until >= since),{_TRAIN_ONLY}
);

CREATE TABLE refusals (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL,
    user TEXT NOT NULL,
    at TEXT NOT NULL,
    origin TEXT NOT NULL,
    origin_sha256 TEXT NOT NULL,
    reason TEXT NOT NULL,
    UNIQUE (origin, origin_sha256, reason)
);

CREATE TABLE scores (
    name TEXT NOT NULL, id TEXT NOT NULL, value REAL NOT NULL, model TEXT NOT NULL,{_TRAIN_ONLY},
    PRIMARY KEY (name, id)
);
{ANSWERS}"""
