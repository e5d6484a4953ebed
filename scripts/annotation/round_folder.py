"""The folder of a round that goes out to people: pictures, proposed masks, a page to draw on, and what to do."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from scripts.annotation.found_files import SKIP
from scripts.annotation.page import PageImage, page_files, write_changed, write_pages
from scripts.annotation.person_oracle import AskedImage, Proposal, Propose
from scripts.annotation.shown_boxes import earlier_proposals
from scripts.core.files import file_stem, make_folder, write_atomic
from scripts.core.run_names import RunFile, round_name
from scripts.images.overlays import heat_map
from scripts.images.png import mask_to_png, quick_png
from scripts.images.windows import Window, covered, framed

_SAYS_NOTHING = 0.95  # share of a picture; a proposal that covers more begins empty

_README = """\
{title}

{count} images wait for a mask. Draw what is to be found in each.

{pages}
  With a program: draw on the pictures in the folder images, and put each mask into the folder masks:
                  PNG (black: background, white: inside), NIfTI, or outlines: GeoJSON of QuPath, JSON of COCO, LabelMe
                  or Label Studio, XML of CVAT, ASAP or ImageScope. The mask has the size and the name of its picture.
                  The folder start holds proposals to begin with, the folder cam shows where the classifier looked.
{boxes}
A picture that is dark around a yellow frame: draw what lies inside of the frame, and nothing else. If there is nothing
in it, hand in an empty mask.

An image that cannot be drawn: put a text file with its name and the ending {skip} into the folder masks, with the
reason in it. Another image is asked for in its place. Take the file away to be asked again.
Several people may draw the same image: each puts masks into a folder of their name inside the folder masks.
A corrected mask replaces the file; the earlier version is kept by the run.

When all masks are there, start the run again with the command it was started with. Masks that do not fit are named
then, with what to mend.

picture                                   class                 why
{rows}
"""


_ONE_PAGE = """\
  With the page:  open annotate.html in a browser, draw, save the zip file, and put it into the folder masks."""
_BOXES = """\
  With boxes:     a box around each object, in a file per picture with its name and the ending .json:
                  {{"boxes": [[left, top, right, bottom], ...]}} in pixels, or the JSON of Label Studio. A mask is made
                  of them when the run goes on{what}.
"""
_WHAT = {"shown": ", and shown on the page: hand it in as it is, or correct it first", "accepted": ""}
_PAGES = """\
  With the pages: {names}.
                  The images are too large for one page. Open one after the other in a browser, draw, save the zip file
                  of each, and put all of them into the folder masks."""


def round_folder(run_dir: Path, index: int) -> Path:
    """Return where the images of a round go out to."""
    return run_dir / RunFile.TO_ANNOTATE / round_name(index)


def write_round(run_dir: Path, index: int, asked: Sequence[AskedImage], propose: Propose, boxes: str = "") -> Path:
    """Write the folder of a round for the images it asks for, and return it; files that are there are kept.

    Args:
        run_dir: folder of the run.
        index: the round.
        asked: its images.
        propose: makes the proposals of those that are not written yet.
        boxes: what becomes of boxes that are handed in, see :attr:`scripts.annotation.gate.Gate.boxes`.

    Raises:
        InputError: a file that is there is not what was written.
        StateError: a file cannot be written.
    """
    folder = round_folder(run_dir, index)
    for name in ("masks", "images", "start", "cam"):
        make_folder(folder / name)
    missing = {image.id: image.window for image in asked if not _is_written(folder, image.id)}
    for proposal in propose(list(missing)):
        _write_proposal(folder, proposal, missing[proposal.id])
    images = [_page_image(folder, image) for image in asked]
    title = f"{run_dir.name}, round {index}"
    pages = write_pages(folder, title, images, f"{folder.name}_masks.zip", boxes=boxes)
    rows = "\n".join(f"{image.name + '.png':<41} {image.label:<21} {image.why}" for image in images)
    count = sum(image.waits for image in asked)
    offered = _BOXES.format(what=_WHAT[boxes]) if boxes else ""
    text = _README.format(title=title, count=count, skip=SKIP, rows=rows, pages=_pages_words(pages), boxes=offered)
    write_changed(folder / "README.txt", lambda: iter([text.encode()]))
    return folder


def pages_to_open(folder: Path) -> str:
    """Return which pages of a round there are to open, as a person reads it; the first with its folder."""
    first, *others = page_files(folder)
    if not others:
        return str(first)
    return f"{first} to {others[-1].name}, one after the other,"


def _pages_words(pages: Sequence[Path]) -> str:
    if len(pages) == 1:
        return _ONE_PAGE
    names = ", ".join(page.name for page in pages[:-1])
    return _PAGES.format(names=f"{names} and {pages[-1].name}")


def _is_written(folder: Path, key: str) -> bool:
    return all((folder / part / f"{file_stem(key)}.png").is_file() for part in ("images", "start", "cam"))


def _write_proposal(folder: Path, proposal: Proposal, window: Window | None) -> None:
    """Write picture, proposed mask and the map; of a window the rest of them is dark, and of the mask empty."""
    name = f"{file_stem(proposal.id)}.png"
    picture, heat = proposal.picture, heat_map(proposal.picture, proposal.class_map)
    drawn = proposal.mask == 1
    if window is not None:
        picture, heat = framed(picture, window), framed(heat, window)
        drawn &= covered((drawn.shape[0], drawn.shape[1]), [window])
    write_atomic(folder / "images" / name, quick_png(Image.fromarray(picture)))
    if drawn.mean() > _SAYS_NOTHING:  # it would hide the picture, and could be handed in by mistake
        drawn = np.zeros_like(drawn)
    write_atomic(folder / "start" / name, mask_to_png(drawn * np.uint8(255)))
    write_atomic(folder / "cam" / name, quick_png(Image.fromarray(heat)))


def _page_image(folder: Path, image: AskedImage) -> PageImage:
    stem = file_stem(image.id)
    picture, start, cam = ((folder / part / f"{stem}.png").read_bytes for part in ("images", "start", "cam"))
    earlier = tuple(path.read_bytes for path in earlier_proposals(folder, image.id))
    return PageImage(
        image.id, stem, image.label, picture, start, image.rank, image.score, image.reason, cam, image.window, earlier
    )
