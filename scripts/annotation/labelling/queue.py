"""What a round asks for, as tasks of a labelling program: ``python -m scripts.annotation queue RUN``."""

from __future__ import annotations

import logging
from pathlib import Path

from scripts.annotation.person_oracle import asked_images
from scripts.annotation.round_folder import round_folder
from scripts.core.errors import InputError, Problem
from scripts.core.files import file_stem, write_atomic
from scripts.core.result_files import csv_bytes
from scripts.images.drawn.drawings import drawing_of
from scripts.images.drawn.forms import cvat, label_studio
from scripts.images.drawn.outline_writing import FORMS
from scripts.images.masks import MaskRule, read_mask
from scripts.state.reader import StateReader

logger = logging.getLogger(__name__)

COLUMNS = ("order", "picture", "class", "score", "why")
PROGRAMS = ("label_studio", "cvat")


def queue(run: str, form: str, place: str = "/data/local-files/?d=images/") -> None:
    """Write what the open round asks for as tasks of a labelling program, with the proposed masks to begin with.

    The pictures are those of ``to_annotate/round_XX/images``. What is drawn comes back by putting the program's export
    into ``to_annotate/round_XX/masks``.

    Args:
        run: folder of the run, begun with ``--oracle folder``.
        form: ``label_studio``: ``label_studio.json`` to import; ``cvat``: ``cvat.xml`` to upload as annotations of a
            task that has the pictures. Beside it ``queue.csv`` has their order, scores and reasons.
        place: what Label Studio needs before the name of a picture.

    Raises:
        InputError: there is no such form, no round is open, or its folder has not been written.
    """
    if form not in PROGRAMS:
        raise InputError(Problem("unknown form of a queue", "form", f"one of {', '.join(PROGRAMS)}", str(form)))
    with StateReader.open(run) as state:
        index = state.open_round()
        if index is None:
            cure = "Start the run; it asks when it has trained."
            raise InputError(Problem("no round is open", str(run), "a round that waits for masks", "none", cure))
        classes = state.settings()["classes"]
        class_of = {row.id: classes[row.label] for row in state.images()}
        asked = [image for image in asked_images(state, index, class_of) if image.waits]
    folder = round_folder(Path(run), index)
    if not (folder / "start").is_dir():
        cure = "Start the run with --oracle folder; it writes the pictures of a round."
        raise InputError(Problem("the round was not given out in a folder", str(folder), "images and start", cure=cure))
    drawings, rows = [], []
    for image in asked:
        name = f"{file_stem(image.id)}.png"
        proposal = read_mask(folder / "start" / name, MaskRule("over:127.5"))
        drawings.append(drawing_of(name, proposal))
        rows.append({"order": image.rank + 1, "picture": name, "class": image.label, "score": image.score,
                     "why": image.reason})  # fmt: skip
    told = [{key: row[key] for key in COLUMNS if key != "picture"} for row in rows]
    if form == "label_studio":
        text = label_studio.write_tasks(drawings, told, place, f"{Path(run).name}, round {index}")
    else:
        text = cvat.write(drawings)
    path = folder / f"{form}{FORMS[form].suffix}"
    write_atomic(path, text.encode())
    write_atomic(folder / "queue.csv", csv_bytes(rows, COLUMNS))
    logger.info("%d images of round %d, with their proposals: %s; order and reasons: %s", len(asked), index, path,
                folder / "queue.csv")  # fmt: skip
