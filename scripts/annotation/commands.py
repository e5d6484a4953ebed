"""Command line of the desk: what a run waits for, what cannot be drawn, and all masks as files.

``python -m scripts.annotation status|skip|unskip|export|restore RUN``, RUN being the folder of a run such as
``runs/mine/label_prop_seed0``.
"""

from __future__ import annotations

import getpass
import logging
import time
from pathlib import Path

import numpy as np

from scripts.core.errors import InputError, Problem
from scripts.core.files import file_stem, make_folder, write_atomic
from scripts.core.result_files import Record, csv_bytes
from scripts.evaluation.agreement import consensus
from scripts.images.png import mask_to_png, png_to_mask
from scripts.images.values import FOREGROUND, IGNORE
from scripts.state.desk import Desk
from scripts.state.reader import StateReader

logger = logging.getLogger(__name__)

COLUMNS = (
    "image",
    "version",
    "annotator",
    "round",
    "at",
    "seconds",
    "pixels",
    "border_pixels",
    "said",
    "origin",
    "file",
)


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


def export(run: str, out: str) -> None:
    """Write every mask that was taken, the majority of each image, and a table of who drew what and when.

    Args:
        run: folder of the run.
        out: folder to write ``masks/<image>.png`` (0, 255 inside, 128 where annotators are even), all versions as
            ``versions/<image>_v<N>.png``, and ``annotations.csv``.
    """
    folder = Path(out)
    for name in ("masks", "versions"):
        make_folder(folder / name)
    rows: list[Record] = []
    with StateReader.open(run) as state:
        for row in state.labels():
            file = f"versions/{file_stem(row.id)}_v{row.version}.png"
            write_atomic(folder / file, mask_to_png(_grey(png_to_mask(state.read_blob(row.blob)))))
            values = (row.id, row.version, row.user, row.round, row.at, row.seconds, row.cost_px, row.boundary_px,
                      row.said, row.origin, file)  # fmt: skip
            rows.append(dict(zip(COLUMNS, values, strict=True)))
        last = max((row.round for row in state.labels() if row.round is not None), default=-1)
        for key, labels in state.drawn(last).items():
            mask = consensus([png_to_mask(state.read_blob(row.blob)) for row in labels])
            write_atomic(folder / "masks" / f"{file_stem(key)}.png", mask_to_png(_grey(mask)))
    write_atomic(folder / "annotations.csv", csv_bytes(rows, COLUMNS))
    logger.info("written: %d masks in %s", len(rows), folder)


def restore(run: str) -> None:
    """Take in again the drawn masks that an older state, brought back from a copy, does not know."""
    rows = Desk.restore(run)
    for row in rows:
        logger.info("taken in again: %s, version %d, drawn by %s, %s", row.id, row.version, row.user, row.at)
    logger.info("%d masks taken in again. What was skipped since is asked for again; the next start goes on from here.",
                len(rows))  # fmt: skip


def _grey(mask: np.ndarray) -> np.ndarray:
    """A mask with 0, 1, 255 as people look at it: 0, 255, and 128 for pixels that are ignored."""
    return np.select([mask == FOREGROUND, mask == IGNORE], [255, 128], 0).astype(np.uint8)
