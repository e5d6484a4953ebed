"""Command line of the desk: what a run waits for, and what cannot be drawn.

``python -m scripts.annotation status|skip|unskip|restore RUN``, RUN being the folder of a run such as
``runs/mine/label_prop_seed0``.
"""

from __future__ import annotations

import getpass
import logging
import time

from scripts.core.errors import InputError, Problem
from scripts.state.desk import Desk
from scripts.state.reader import StateReader

logger = logging.getLogger(__name__)


def status(run: str) -> None:
    """Tell what the run waits for, who holds which image, and what was skipped or refused."""
    with StateReader.open(run) as state:
        at = state.open_round()
        waiting = [] if at is None else state.waiting(at)
        held, skipped = state.leases(time.time()), state.skipped()
        lines = ["no round is open: the run trains, was stopped in it, or is at its end"] if at is None else []
        lines += [] if at is None else [f"round {at}: {len(waiting)} of {len(state.asked(at))} images wait for a mask"]
        lines += [f"  {key}{f', in the hands of {held[key].user}' if key in held else ''}" for key in waiting]
        lines += [f"{len(state.pending())} masks came; the next training takes them in"]
        lines += [
            f"cannot be drawn: {row.id}, says {row.user}: {row.reason or 'no reason'}" for row in skipped.values()
        ]
        lines += [f"not taken: {row.origin} of {row.user}: {row.reason}" for row in state.refusals()]
    logger.info("%s", "\n".join(lines))


def skip(run: str, image: str, reason: str = "", user: str = "") -> None:
    """Say that an image cannot be drawn; another one of its class is asked for in its place."""
    with Desk.open(run) as desk:
        split = next((row.split for row in desk.images() if row.id == str(image)), "no image of the run")
        if split != "train":
            raise InputError(Problem("only training images are asked for", str(image), "train", split))
        changed = desk.skip(str(image), user or getpass.getuser(), str(reason))
    logger.info("%s: %s", image, "not asked for any more" if changed else "was skipped before")


def unskip(run: str, image: str) -> None:
    """Ask for an image again that somebody could not draw."""
    with Desk.open(run) as desk:
        before = desk.unskip(str(image))
    if before is None:
        raise InputError(Problem("image was not skipped", str(image), "an image of which somebody said so"))
    logger.info("%s: asked for again; %s had said: %s", image, before.user, before.reason or "nothing")


def restore(run: str) -> None:
    """Take in again the drawn masks that an older state, brought back from a copy, does not know."""
    rows = Desk.restore(run)
    for row in rows:
        logger.info("taken in again: %s, version %d, drawn by %s, %s", row.id, row.version, row.user, row.at)
    logger.info("%d masks taken in again. What was skipped since is asked for again; the next start goes on from here.",
                len(rows))  # fmt: skip
