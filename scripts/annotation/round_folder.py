"""The folder of a round that goes out to people: pictures, proposed masks, a page to draw on, and what to do."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from scripts.active.round_context import RoundContext
from scripts.annotation.found_files import SKIP
from scripts.annotation.page import PageImage, annotation_page
from scripts.annotation.person_oracle import _why
from scripts.core.files import file_stem, make_folder, write_atomic
from scripts.images.overlays import heat_map
from scripts.images.png import _png
from scripts.networks.outputs import Prediction, pseudo_mask

_README = """\
{title}

{count} images wait for a mask. Draw what is to be found in each.

  With the page:  open annotate.html in a browser, draw, save the zip file, and put it into the folder masks.
  With a program: draw on the pictures in the folder images, and put each mask into the folder masks:
                  PNG (black: background, white: inside), NIfTI, or GeoJSON as QuPath exports it. The mask has the size
                  and the name of its picture. The folder start holds proposals to begin with, the folder cam shows
                  where the classifier looked.

An image that cannot be drawn: put a text file with its name and the ending {skip} into the folder masks, with the
reason in it. Another image is asked for in its place. Take the file away to be asked again.
Several people may draw the same image: each puts masks into a folder of their name inside the folder masks.
A corrected mask replaces the file; the earlier version is kept by the run.

When all masks are there, start the run again with the command it was started with. Masks that do not fit are named
then, with what to mend.

picture                                   class                 why
{rows}
"""


def round_folder(run_dir: Path, index: int) -> Path:
    """Return where the images of a round go out to."""
    return run_dir / "to_annotate" / f"round_{index:02d}"


def write_round(context: RoundContext) -> Path:
    """Write the folder of a round for the images it asks for, and return it; files that are there are kept.

    The proposed mask is the prediction of the round before; without a trained decoder it is the part of the image
    where its class has the highest map (the CAM mask).

    Raises:
        StateError: a file cannot be written.
    """
    run, state = context.run, context.run.state
    folder = round_folder(run.folder, context.index)
    for name in ("masks", "images", "start", "cam"):
        make_folder(folder / name)
    asked = state.asked(context.index)
    before = context.previous()
    threshold = state.metrics(before.index).get(before.index, {}).get("threshold", 0.5)
    trained = bool(state.labelled(before.index)) and run.method.cycles > 0
    missing = [key for key in asked if not (folder / "cam" / f"{file_stem(key)}.png").is_file()]
    for found in run.learner.predict(missing, before.weights()) if missing else ():
        _write_image(context, folder, found, threshold if trained else None)
    images = [_page_image(context, folder, key, rank) for rank, key in enumerate(asked)]
    title = f"{run.folder.name}, round {context.index}"
    _write_changed(folder / "annotate.html", annotation_page(title, images, f"{folder.name}_masks.zip"))
    rows = "\n".join(f"{image.name + '.png':<41} {image.label:<21} {image.why}" for image in images)
    text = _README.format(title=title, count=len(state.waiting(context.index)), skip=SKIP, rows=rows)
    _write_changed(folder / "README.txt", text.encode())
    return folder


def _write_image(context: RoundContext, folder: Path, found: Prediction, threshold: float | None) -> None:
    """Write picture, proposed mask and, last, the map; without a threshold the mask is the classifier's."""
    run, name = context.run, f"{file_stem(found.id)}.png"
    label = run.data.classes.index(run.class_of[found.id])
    image = run.data.store.original_image(found.id)
    mask = found.cam_mask(label) if threshold is None else pseudo_mask(found.probs, threshold)
    write_atomic(folder / "images" / name, _png(image))
    write_atomic(folder / "start" / name, _png((mask == 1).astype(np.uint8) * 255))
    write_atomic(folder / "cam" / name, _png(heat_map(image, found.cam(label))))


def _page_image(context: RoundContext, folder: Path, key: str, rank: int) -> PageImage:
    stem = file_stem(key)
    picture, start, cam = ((folder / part / f"{stem}.png").read_bytes() for part in ("images", "start", "cam"))
    score, why = _why(context, key)
    return PageImage(key, stem, context.run.class_of[key], picture, start, rank, score, why, cam=cam)


def _write_changed(path: Path, content: bytes) -> None:
    """Leave a file alone that says the same: somebody may have it open."""
    if not path.is_file() or path.read_bytes() != content:
        write_atomic(path, content)
