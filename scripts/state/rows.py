"""Rows of the state, one class per table."""

from __future__ import annotations

from dataclasses import dataclass

SIMULATED = "simulated"  # annotator of the masks that lie on disk
OUTLINE, BOX = "outline", "box"
"""Kinds of answers: a mask that was drawn, and one that a model made of boxes."""


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
        kind: how it was drawn, :data:`OUTLINE` or :data:`BOX`.
        objects: how many boxes there are, 0 for outlines.
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
    kind: str = OUTLINE
    objects: int = 0


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
