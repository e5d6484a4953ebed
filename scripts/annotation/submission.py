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
from scripts.images.files.pictures import opened_picture
from scripts.images.png import mask_to_png, png_to_mask
from scripts.images.regions import mask_cost
from scripts.images.values import FOREGROUND, IGNORE
from scripts.images.windows import Window, covered, cut_out
from scripts.state.desk import Desk, timestamp
from scripts.state.rows import BOX, OUTLINE, SIMULATED, LabelRow, RefusalRow

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
        content = content_of(submission)  # read once: hash, mask and texts are of the same bytes
        digest = hashlib.sha256(content).hexdigest()
        passed = gate.admit(submission.id, submission.path, desk.was_asked, submission.said, content, submission.window)
        user, seconds = drawn_by(submission, content)
    except InputError as error:
        remember_refusal(desk, submission, digest, error)
        raise
    if notes is not None:
        notes += passed.notes
    for note in passed.notes:
        logger.warning("%s: mask of %s taken, %s", origin, submission.id, note)
    row = LabelRow(passed.id, None, "", *mask_cost(passed.mask), seconds, user,
                   said=passed.said, origin=origin, origin_sha256=digest)  # fmt: skip
    row = _with_boxes(desk, row, passed, submission.shown)
    if submission.window is None:
        return desk.submit(row, mask_to_png(passed.mask))
    row, mask = _with_other_windows(desk, row, passed.mask, submission.window)
    return desk.submit(row, mask_to_png(mask))


def remember_refusal(desk: Desk, submission: Submission, digest: str, error: InputError) -> None:
    """Keep why a submission was not taken; ``digest`` is the SHA-256 of its file, "" where it could not be read."""
    user = submission.user if is_name(submission.user) else "unknown"
    # Without its folder, which for archives and servers is a new one each time.
    reason = "; ".join(map(str, error.problems)).replace(f"{submission.path.parent}{os.sep}", "")
    origin = submission.origin or submission.path.name
    desk.refuse(RefusalRow(submission.id[:LONGEST_NAME], user, timestamp(), origin, digest, reason))


def _with_boxes(desk: Desk, row: LabelRow, passed: Passed, shown: Shown | None) -> LabelRow:
    """Return the row as one of boxes, if it is one, and with the seconds of boxes that were shown before it.

    These are booked with the first mask of the image that comes from who drew them.
    """
    objects = passed.objects
    if shown is not None:
        if objects is None and np.array_equal(passed.mask == FOREGROUND, shown.mask == FOREGROUND):
            objects = shown.boxes
        if not any(old.id == row.id and old.user == row.user for old in desk.labels()):
            row = replace(row, seconds=row.seconds + shown.seconds.get(row.user, 0.0))
    return row if objects is None else replace(row, boundary_px=0, kind=BOX, objects=objects)


def _with_other_windows(desk: Desk, row: LabelRow, mask: np.ndarray, window: Window) -> tuple[LabelRow, np.ndarray]:
    """Return the row and mask of a window together with what is known of the image outside of it."""
    before = {old.user: old for old in desk.labels() if old.id == row.id and old.status == "accepted"}
    old = before.get(row.user, before.get(SIMULATED))
    inside = covered((mask.shape[0], mask.shape[1]), [window])
    if old is not None:
        mask = np.where(inside, mask, png_to_mask(desk.read_blob(old.blob)))
    pixels, boundary = mask_cost(mask, inside | (mask != IGNORE))
    seconds = row.seconds + (0.0 if old is None else old.seconds)
    objects = row.objects + (0 if old is None else old.objects)
    if objects:  # around boxes nothing was outlined: what was is the sum of the windows that were drawn
        own = mask_cost(cut_out(mask, [window]), inside)[1] if row.kind == OUTLINE else 0
        boundary = own + (0 if old is None else old.boundary_px)
    return replace(row, cost_px=pixels, boundary_px=boundary, seconds=seconds, objects=objects), mask


def content_of(submission: Submission) -> bytes:
    """Return the bytes of the file of a submission. Raises ``InputError`` where it cannot be read."""
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


def drawn_by(submission: Submission, content: bytes) -> tuple[str, float]:
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
    seconds = submission.seconds
    if not seconds:
        try:
            seconds = float(told.get("seconds", "0"))
        except ValueError:
            seconds = 0.0
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
