"""Tables of a run's state and the rows that go in and out of them.

Queries, labels and pseudo-masks refer to ``(id, 'train')`` of ``images``: the database itself refuses to store one for
an image of the validation or test split, whatever the code above it does.
"""

from __future__ import annotations

from dataclasses import dataclass

APPLICATION_ID = 0x57414C31  # "WAL1": tells a state from any other SQLite file
VERSION = 1

_TRAIN_ONLY = """
    split TEXT NOT NULL DEFAULT 'train' CHECK (split = 'train'),
    FOREIGN KEY (id, split) REFERENCES images (id, split)"""

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
    round INTEGER NOT NULL,
    blob TEXT NOT NULL,
    cost_px INTEGER NOT NULL CHECK (cost_px >= 0),
    boundary_px INTEGER NOT NULL CHECK (boundary_px >= 0),
    seconds REAL NOT NULL CHECK (seconds >= 0),
    user TEXT NOT NULL,
    version INTEGER NOT NULL CHECK (version >= 1),
    status TEXT NOT NULL,{_TRAIN_ONLY},
    UNIQUE (id, version)
);

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
"""


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
        round: first round that trains on it.
        blob: name of the mask's blob.
        cost_px: pixels of the annotated image.
        boundary_px: pixels on the boundary of the mask.
        seconds: time the annotator took.
        user: who drew it.
        version: 1, 2, ... per image; given by the state when the row is stored, whatever stands here.
        status: only ``"accepted"`` masks are trained on.
    """

    id: str
    round: int
    blob: str
    cost_px: int
    boundary_px: int
    seconds: float
    user: str = "simulated"
    version: int = 1
    status: str = "accepted"


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
