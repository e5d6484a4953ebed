"""All masks that people drew in a run as files: ``python -m scripts.annotation export RUN OUT``."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np

from scripts.core.files import file_stem, make_folder, write_atomic
from scripts.core.result_files import Record, csv_bytes
from scripts.evaluation.agreement import consensus
from scripts.images.drawn.drawings import Drawing, drawing_of
from scripts.images.drawn.outline_writing import files_of, form_of
from scripts.images.png import mask_to_png, png_to_mask
from scripts.images.values import FOREGROUND, IGNORE
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


def export(run: str, out: str, form: str = "") -> None:
    """Write every mask that was taken, the majority of each image, and a table of who drew what and when.

    Args:
        run: folder of the run.
        out: folder to write ``masks/<image>.png`` (0, 255 inside, 128 where annotators are even), all versions as
            ``versions/<image>_v<N>.png``, and ``annotations.csv``.
        form: also write the majority as outlines, below ``outlines/``: geojson, coco, labelme, cvat, label_studio,
            imagescope or asap. Their borders follow the sides of pixels, so that they are read as the same masks.

    Raises:
        InputError: there is no such form.
    """
    folder = Path(out)
    if form:
        form_of(form)  # before anything is written
    for name in ("masks", "versions", *(["outlines"] if form else [])):
        make_folder(folder / name)
    drawings: list[Drawing] = []
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
            if form:
                drawings.append(drawing_of(f"{file_stem(key)}.png", mask))  # as the picture that was given out
    for file, content in files_of(form, drawings) if form else ():
        write_atomic(folder / "outlines" / file, content)
    write_atomic(folder / "annotations.csv", csv_bytes(rows, COLUMNS))
    logger.info("written: %d masks in %s", len(rows), folder)


def _grey(mask: np.ndarray) -> np.ndarray:
    """A mask with 0, 1, 255 as people look at it: 0, 255, and 128 for pixels that are ignored."""
    return np.select([mask == FOREGROUND, mask == IGNORE], [255, 128], 0).astype(np.uint8)
