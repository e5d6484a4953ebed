"""One mask from outside to the state: through the gate and kept for the next round, or refused and remembered."""

from __future__ import annotations

import hashlib
import logging
import os
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import PngImagePlugin

from scripts.annotation.gate import Gate, Passed
from scripts.annotation.shown_boxes import Shown
from scripts.core.errors import InputError, Problem
from scripts.core.files import plain_file
from scripts.images.drawn.boxes import texts_of_boxes
from scripts.images.png import mask_to_png, png_to_mask
from scripts.images.reading import opened_picture
from scripts.images.regions import mask_cost
from scripts.images.values import IGNORE
from scripts.images.windows import Window, covered
from scripts.state.desk import Desk, timestamp
from scripts.state.rows import BOX, SIMULATED, LabelRow, RefusalRow

logger = logging.getLogger(__name__)

LONGEST_NAME = 120
"""Letters of an annotator's name."""
_LONGEST_DAY_S = 86_400.0
_MOST_BYTES = 512 * 1024**2


@dataclass(frozen=True)
class Submission:
    """A mask that somebody hands in.

    Attributes:
        id: image it is for.
        path: file with the mask.
        user: who drew it; a PNG that names its annotator (text ``annotator``) wins, unless ``certain``.
        origin: where it came from, for people to find it again; "" for the file's name.
        seconds: time it took, 0 where not known; a PNG that tells (text ``seconds``) is believed then.
        said: class that the annotator named, "" for none.
        certain: the user said who they are, or proved it, so that a text in a PNG does not count.
        content: bytes of the file where they came without one; of ``path`` only the name counts then.
        window: the part of the image that was asked for; None for all of it. Mask and seconds are added to what the
            user drew in other windows of it, or else the simulation.
        shown: mask of boxes that was shown for this image: handed in as it is, it counts as an answer by boxes. Their
            seconds are added in any case.
    """

    id: str
    path: Path
    user: str
    origin: str = ""
    seconds: float = 0.0
    said: str = ""
    certain: bool = False
    content: bytes | None = None
    window: Window | None = None
    shown: Shown | None = None


def take_in(desk: Desk, gate: Gate, submission: Submission, notes: list[str] | None = None) -> LabelRow:
    """Keep the mask of a submission for the next round.

    Args:
        desk: of the run.
        gate: judges it.
        submission: the mask.
        notes: what may surprise though the mask is taken is added to; it is logged, too.

    Returns:
        the row as stored: its version tells whether the image had masks before.

    Raises:
        InputError: the gate refuses it; that is remembered, and costs nothing.
    """
    origin = submission.origin or submission.path.name
    digest = ""
    try:
        content = _content(submission)  # read once: hash, mask and texts are of the same bytes
        digest = hashlib.sha256(content).hexdigest()
        passed = gate.admit(submission.id, submission.path, desk.was_asked, submission.said, content, submission.window)
        user, seconds = _drawn_by(submission, content)
    except InputError as error:
        user = submission.user if is_name(submission.user) else "unknown"
        # Without its folder, which for archives and servers is a new one each time.
        reason = "; ".join(map(str, error.problems)).replace(f"{submission.path.parent}{os.sep}", "")
        desk.refuse(RefusalRow(submission.id[:LONGEST_NAME], user, timestamp(), origin, digest, reason))
        raise
    if notes is not None:
        notes += passed.notes
    for note in passed.notes:
        logger.warning("%s: mask of %s taken, %s", origin, submission.id, note)
    pixels, boundary = mask_cost(passed.mask)
    objects = _boxes_of(passed, submission.shown)
    seconds += 0.0 if submission.shown is None else submission.shown.seconds
    row = LabelRow(passed.id, None, "", pixels, boundary, seconds, user,
                   said=passed.said, origin=origin, origin_sha256=digest)  # fmt: skip
    if objects is not None:
        row = replace(row, boundary_px=0, kind=BOX, objects=objects)
    if submission.window is None:
        return desk.submit(row, mask_to_png(passed.mask))
    row, mask = _with_other_windows(desk, row, passed.mask, submission.window)
    return desk.submit(row, mask_to_png(mask))


def _boxes_of(passed: Passed, shown: Shown | None) -> int | None:
    """Return the number of boxes that a mask was made of; None for one that somebody drew or corrected."""
    if passed.objects is None and shown is not None and np.array_equal(passed.mask, shown.mask):
        return shown.boxes
    return passed.objects


def told_seconds(path: Path, content: bytes) -> float:
    """Return the seconds that a PNG or a JSON of boxes says it took; 0 where it says none."""
    try:
        seconds = float(_texts(path, content).get("seconds", "0"))
    except ValueError:
        return 0.0
    return seconds if 0.0 <= seconds <= _LONGEST_DAY_S else 0.0


def _with_other_windows(desk: Desk, row: LabelRow, mask: np.ndarray, window: Window) -> tuple[LabelRow, np.ndarray]:
    """Return the row and mask of a window together with what is known of the image outside of it."""
    before = {old.user: old for old in desk.labels() if old.id == row.id and old.status == "accepted"}
    old = before.get(row.user, before.get(SIMULATED))
    inside = covered((mask.shape[0], mask.shape[1]), [window])
    if old is not None:
        mask = np.where(inside, mask, png_to_mask(desk.read_blob(old.blob)))
    pixels, boundary = mask_cost(mask, inside | (mask != IGNORE))
    seconds = row.seconds + (0.0 if old is None else old.seconds)
    return replace(row, cost_px=pixels, boundary_px=boundary, seconds=seconds), mask


def _content(submission: Submission) -> bytes:
    if submission.content is not None:
        return submission.content
    path = submission.path
    try:
        with plain_file(path) as file:
            content = file.read(_MOST_BYTES + 1)
    except MemoryError as error:
        raise InputError(Problem("file does not fit into memory", str(path), "a mask of one image")) from error
    if len(content) > _MOST_BYTES:
        raise InputError(Problem("file is too large", str(path), f"a mask of at most {_MOST_BYTES} bytes", "more"))
    return content


def _drawn_by(submission: Submission, content: bytes) -> tuple[str, float]:
    """Return annotator and seconds: what the file tells, else what the submission does."""
    told = _texts(submission.path, content)
    named = "" if submission.certain else told.get("annotator", "").strip()
    user = named or submission.user
    if not is_name(user):
        raise InputError(
            Problem(
                "annotator's name cannot be used",
                f"annotator of {submission.path.name}",
                f"1 to {LONGEST_NAME} printable letters, and not the name of the simulation",
                repr(user[:200]),
            )
        )
    seconds = submission.seconds or told_seconds(submission.path, content)
    return user, seconds if 0.0 <= seconds <= _LONGEST_DAY_S else 0.0


def _texts(path: Path, content: bytes) -> dict[str, str]:
    if path.suffix.lower() == ".json":
        return texts_of_boxes(content)
    if path.suffix.lower() != ".png":
        return {}
    with opened_picture(path, content) as picture:
        picture.load()  # text may stand behind the pixels
        found = picture.text if isinstance(picture, PngImagePlugin.PngImageFile) else {}
    return {name: str(value) for name, value in found.items() if name in ("annotator", "seconds")}


def is_name(user: str) -> bool:
    """Tell whether somebody can be called so; the name of the simulation is nobody's."""
    return 0 < len(user) <= LONGEST_NAME and user.isprintable() and user != SIMULATED
