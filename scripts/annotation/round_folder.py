"""The folder of a round that goes out to people: pictures, proposed masks, a page to draw on, and what to do."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from scripts.annotation.found_files import SKIP
from scripts.annotation.page import PageImage, annotation_page
from scripts.annotation.person_oracle import AskedImage, Proposal, Propose
from scripts.core.files import file_stem, make_folder, write_atomic
from scripts.core.run_names import RunFile, round_name
from scripts.images.overlays import heat_map
from scripts.images.png import mask_to_png, quick_png

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
    return run_dir / RunFile.TO_ANNOTATE / round_name(index)


def write_round(run_dir: Path, index: int, asked: Sequence[AskedImage], propose: Propose) -> Path:
    """Write the folder of a round for the images it asks for, and return it; files that are there are kept.

    Args:
        run_dir: folder of the run.
        index: the round.
        asked: its images.
        propose: makes the proposals of those that are not written yet.

    Raises:
        StateError: a file cannot be written.
    """
    folder = round_folder(run_dir, index)
    for name in ("masks", "images", "start", "cam"):
        make_folder(folder / name)
    missing = [image.id for image in asked if not (folder / "cam" / f"{file_stem(image.id)}.png").is_file()]
    for proposal in propose(missing):
        _write_proposal(folder, proposal)
    images = [_page_image(folder, image) for image in asked]
    title = f"{run_dir.name}, round {index}"
    _write_changed(folder / "annotate.html", annotation_page(title, images, f"{folder.name}_masks.zip"))
    rows = "\n".join(f"{image.name + '.png':<41} {image.label:<21} {image.why}" for image in images)
    text = _README.format(title=title, count=sum(image.waits for image in asked), skip=SKIP, rows=rows)
    _write_changed(folder / "README.txt", text.encode())
    return folder


def _write_proposal(folder: Path, proposal: Proposal) -> None:
    """Write picture, proposed mask and, last, the map: where it is, the others are."""
    name = f"{file_stem(proposal.id)}.png"
    heat = heat_map(proposal.picture, proposal.class_map)
    write_atomic(folder / "images" / name, quick_png(Image.fromarray(proposal.picture)))
    write_atomic(folder / "start" / name, mask_to_png((proposal.mask == 1) * np.uint8(255)))
    write_atomic(folder / "cam" / name, quick_png(Image.fromarray(heat)))


def _page_image(folder: Path, image: AskedImage) -> PageImage:
    stem = file_stem(image.id)
    picture, start, cam = ((folder / part / f"{stem}.png").read_bytes() for part in ("images", "start", "cam"))
    return PageImage(image.id, stem, image.label, picture, start, image.rank, image.score, image.reason, cam=cam)


def _write_changed(path: Path, content: bytes) -> None:
    """Leave a file alone that says the same: somebody may have it open."""
    if not path.is_file() or path.read_bytes() != content:
        write_atomic(path, content)
