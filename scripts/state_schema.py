"""Tables of a run's state and the rows that go in and out of them.

Queries, labels, pseudo-masks and all that people do refer to ``(id, 'train')`` of ``images``: the database itself
refuses to store one for an image of the validation or test split, whatever the code above it does.
"""

from __future__ import annotations

from dataclasses import dataclass

APPLICATION_ID = 0x57414C31  # "WAL1": tells a state from any other SQLite file
VERSION = 2
SIMULATED = "simulated"  # annotator of the masks that lie on disk

_TRAIN_ONLY = """
    split TEXT NOT NULL DEFAULT 'train' CHECK (split = 'train'),
    FOREIGN KEY (id, split) REFERENCES images (id, split)"""

LABELS = f"""CREATE TABLE labels (
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
);"""

ANNOTATION = f"""
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
"""

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

{LABELS}

CREATE TABLE pseudo (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL,
    round INTEGER NOT NULL,
    stage TEXT NOT NULL CHECK (stage IN ('cycle0', 'final')),
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
{ANNOTATION}"""

_OLD_LABELS = "seq, id, round, blob, cost_px, boundary_px, seconds, user, version, status, split"
MIGRATIONS = {
    1: f"""
ALTER TABLE labels RENAME TO labels_1;
{LABELS}
INSERT INTO labels ({_OLD_LABELS}) SELECT {_OLD_LABELS} FROM labels_1;
DROP TABLE labels_1;
{ANNOTATION}"""
}
"""Version -> statements that make the next one of it. 1: masks came from disk alone, always within a round."""


@dataclass(frozen=True)
class ImageRow:
    """One image of the run: its id, the SHA-256 of its file, its class index and its split."""

    id: str
    sha256: str
    label: int
    split: str


@dataclass(frozen=True)
class QueryRow:
    """One image chosen for annotation.

    Attributes:
        round: round it was chosen in.
        rank: place in the order of asking, from 0.
        id: image.
        score: what the strategy gave it, ``None`` where the strategy has no score.
    """

    round: int
    rank: int
    id: str
    score: float | None


@dataclass(frozen=True)
class LabelRow:
    """One mask drawn for an image.

    Attributes:
        id: image.
        round: first round that trains on it; ``None`` until the oracle phase of a round takes it.
        blob: name of the mask's blob.
        cost_px: foreground pixels drawn.
        boundary_px: pixels on the boundary of the mask.
        seconds: time the annotator took, 0 where it is not known.
        user: who drew it.
        version: 1, 2, ... per image; given by the state when the row is stored, whatever stands here.
        status: only ``"accepted"`` masks are trained on.
        at: when it came, ISO 8601 in UTC; empty for simulated masks.
        said: class that the annotator named, empty where none; the class that is trained on is the data list's.
        origin: where it came from, such as the name of a file; empty for simulated masks.
        origin_sha256: of that file.
    """

    id: str
    round: int | None
    blob: str
    cost_px: int
    boundary_px: int
    seconds: float
    user: str = SIMULATED
    version: int = 1
    status: str = "accepted"
    at: str = ""
    said: str = ""
    origin: str = ""
    origin_sha256: str = ""


@dataclass(frozen=True)
class PseudoRow:
    """One pseudo-mask and where it comes from.

    Attributes:
        id: image that got the mask.
        round: round it belongs to.
        stage: ``"cycle0"`` (before the round's last training) or ``"final"`` (after it).
        donor: labelled image whose nearness earned it.
        distance: Jensen-Shannon distance between the two.
        threshold: probability from which a pixel is foreground.
        blob: name of the mask's blob.
    """

    id: str
    round: int
    stage: str
    donor: str
    distance: float
    threshold: float
    blob: str


@dataclass(frozen=True)
class SkipRow:
    """An image that somebody cannot annotate.

    Attributes:
        id: image.
        user: who said so.
        at: when, ISO 8601 in UTC.
        reason: in the annotator's words.
        origin: where that was said, such as the name of a file.
    """

    id: str
    user: str
    at: str
    reason: str
    origin: str = ""


@dataclass(frozen=True)
class LeaseRow:
    """An image that was handed to one annotator for a time.

    Attributes:
        id: image.
        user: who has it.
        since: when it was handed out, seconds since 1970.
        until: when others may get it, seconds since 1970.
    """

    id: str
    user: str
    since: float
    until: float


@dataclass(frozen=True)
class RefusalRow:
    """A mask that was not taken; it costs nothing.

    Attributes:
        id: image it was meant for, as far as that is known.
        user: who sent it.
        at: when, ISO 8601 in UTC.
        origin: where it came from, such as the name of a file.
        origin_sha256: of that file.
        reason: what was wrong, what was expected and how to mend it.
    """

    id: str
    user: str
    at: str
    origin: str
    origin_sha256: str
    reason: str
