"""A folder as the way to people: images go out to it, masks dropped into it come back through the gate."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from scripts.annotation.asked_windows import windows_of_round
from scripts.annotation.found_files import Found, found_files, read_reason
from scripts.annotation.gate import Gate
from scripts.annotation.on_slides.coming_back import on_regions
from scripts.annotation.on_slides.going_out import Place, places_of, write_slides
from scripts.annotation.person_oracle import AskedImage, DeskOracle, Propose
from scripts.annotation.round_folder import pages_to_open, write_round
from scripts.annotation.shown_boxes import is_shown, show, shown
from scripts.annotation.submission import Submission, content_of, drawn_by, remember_refusal, take_in
from scripts.core.errors import InputError, Problem
from scripts.core.files import file_sha256, file_stem
from scripts.core.run_names import RunFile
from scripts.images.drawn.outline_files import SUFFIXES
from scripts.images.windows import Window
from scripts.state.desk import Desk

logger = logging.getLogger(__name__)


_SLIDES = """\
     Or draw on the slides: import the files in {folder} into QuPath, one per slide, draw inside
     the rectangles, and export all objects as GeoJSON into the folder masks.
"""


class FolderOracle(DeskOracle):
    """Masks are dropped into ``to_annotate/round_NN/masks`` of the run, beside the images to draw.

    Args:
        gate: judges them.
        wait: see :class:`DeskOracle`.
        poll_seconds: see :class:`DeskOracle`.
        user: name of the annotator of files that tell none: neither in them nor by their sub-folder.
    """

    takes_windows = True

    def __init__(self, gate: Gate, wait: bool = False, poll_seconds: float = 5.0, user: str = "annotator") -> None:
        super().__init__(wait, poll_seconds)
        self.gate, self.user = gate, user
        self._told: set[tuple[str, str]] = set()
        self._refused: dict[tuple[str, str], InputError] = {}

    def ask(self, run_dir: Path, index: int, asked: Sequence[AskedImage], propose: Propose) -> str:
        """Write the folder of the round, and return what people should do with it."""
        folder = write_round(run_dir, index, asked, propose, self.gate.boxes)
        slides = write_slides(folder, asked, self._places)
        boxes = ", boxes as JSON" if self.gate.takes_boxes else ""
        how = "it goes on by itself" if self.poll_seconds else "start the same command again"
        return (
            f"1. Open {pages_to_open(folder)} in a browser and draw, or draw the pictures in {folder / 'images'}\n"
            "     with any program.\n"
            f"  2. Put the masks into {folder / 'masks'}, named as their pictures\n"
            f"     (PNG, NIfTI, outlines as JSON or XML{boxes}, or a zip of them).\n"
            f"{_SLIDES.format(folder=slides[0].parent) if slides else ''}"
            f"  3. When all are there, {how}. {folder / 'README.txt'} says more."
        )

    def collect(self, run_dir: Path) -> bool:
        """Take in the masks that lie in the folders of all rounds; a changed file is a new version of its mask.

        Masks that a model made of boxes are put into the folder as proposals, and true is returned then.
        """
        base = run_dir / RunFile.TO_ANNOTATE
        refused: list[Problem] = []
        are_new = False
        with Desk.open(run_dir) as desk:
            seen = set()
            for folder in sorted(base.glob("round_*/masks")):
                prefix, windows = folder.relative_to(base).as_posix(), _windows_of(desk, folder.parent)
                for found in self._for_images(self._of_slides(found_files(folder, refused), refused)):
                    origin = f"{prefix}/{found.origin}"
                    seen.add(origin)
                    try:
                        window = windows.get(found.key)
                        is_new = self._shows(desk, found, origin, folder.parent, window)
                        if is_new is None:
                            self._take(desk, found, origin, folder.parent, window)
                        are_new |= bool(is_new)
                    except InputError as error:
                        refused += error.problems
            self._give_back(desk, seen, base)
        self._tell(refused)
        return are_new

    def _of_slides(self, files: Iterable[Found], refused: list[Problem]) -> Iterator[Found]:
        """Yield each file once, but one that was drawn on a slide once for each region that it answers."""
        for found in files:
            try:
                yield from on_regions(found, self._places, self.gate.knows(found.key))
            except InputError as error:
                refused += error.problems

    @cached_property
    def _places(self) -> dict[str, Place]:
        return places_of(self.gate.data.datalist)

    def _for_images(self, files: Iterable[Found]) -> Iterator[Found]:
        """Yield each file once, but a file of outlines about several images once for each of them."""
        for found in files:
            images = [] if found.image else self.gate.images_in(found.key, found.path)
            yield from [replace(found, image=key, origin=f"{found.origin}/{file_stem(key)}") for key in images] or [
                found
            ]

    def _shows(self, desk: Desk, found: Found, origin: str, folder: Path, window: Window | None) -> bool | None:
        """Show the mask of boxes; return whether it is new, None for a file that is no boxes to be looked at."""
        if self.gate.accept_boxes or found.path.suffix.lower() not in SUFFIXES:
            return None
        sent = Submission(found.key, found.path, found.user or self.user, origin)
        content = content_of(sent)
        sent, digest = replace(sent, content=content), hashlib.sha256(content).hexdigest()
        if is_shown(folder, found.key, digest):
            return False
        if (origin, digest) in self._refused:
            raise self._refused[origin, digest]
        try:
            made = self.gate.made_of_boxes(found.key, found.path, desk.was_asked, content, window)
            if made is None:
                return None
            user, seconds = drawn_by(sent, content)
            _refuse_closed(desk, found)
        except InputError as error:
            self._refused[origin, digest] = error  # the model is not asked about it again
            remember_refusal(desk, sent, digest, error)
            raise
        file = {"sha256": digest, "user": user, "seconds": seconds}
        show(folder, made.id, made.mask, made.objects or 0, file)
        logger.info("a mask is made of %d boxes of %s: look at it on the page, and hand it in", made.objects, made.id)
        return True

    def _take(self, desk: Desk, found: Found, origin: str, folder: Path, window: Window | None) -> None:
        user = found.user or self.user
        if found.is_skip:
            if found.key not in desk.skipped() and not desk.was_given_back(origin):
                self.gate.refuse_image(found.key, desk.was_asked)
                desk.skip(found.key, user, read_reason(found.path), origin)
                logger.info("cannot be drawn: %s, says %s", found.key, user)
            return
        digest = file_sha256(found.path)
        if desk.was_taken(origin, digest) or (found.image and _is_known(desk, found.key, user, digest)):
            return
        sent = Submission(found.key, found.path, user, origin, window=window, shown=shown(folder, found.key))
        row = take_in(desk, self.gate, sent)
        logger.info("mask taken: %s, version %d, drawn by %s", row.id, row.version, row.user)

    def _give_back(self, desk: Desk, seen: set[str], base: Path) -> None:
        """Ask again for images whose ``.skip`` file was taken away."""
        for key, row in desk.skipped().items():
            # What a server or a command skipped has another origin than a file below the folder of a round.
            of_a_file = row.origin.startswith("round_") and (base / row.origin).parent.parent.is_dir()
            if of_a_file and row.origin not in seen:
                desk.unskip(key, forget=True)
                logger.info("asked for again: %s", key)

    def _tell(self, refused: Sequence[Problem]) -> None:
        new = [problem for problem in refused if (problem.where, str(problem)) not in self._told]
        self._told |= {(problem.where, str(problem)) for problem in new}
        if new:
            listed = "\n  - ".join(map(str, new))
            logger.warning("not taken, and asked for again:\n  - %s", listed)


def _is_known(desk: Desk, key: str, user: str, digest: str) -> bool:
    """Tell whether a file about several images, handed in anew in a later round, says of one what it said before."""
    return any((row.id, row.user, row.origin_sha256) == (key, user, digest) for row in desk.labels())


def _refuse_closed(desk: Desk, found: Found) -> None:
    """Raise InputError for boxes that no page would show: their image does not wait for a mask."""
    at = desk.open_round()
    if at is None or found.key not in desk.waiting(at):
        cure = "Send a mask in their place; it is a new version of the one that is there."
        raise InputError(Problem("boxes of an image that waits for no mask", found.key, cure=cure))


def _windows_of(desk: Desk, folder: Path) -> dict[str, Window]:
    """Return the windows that the pictures in the folder of a round show; none of a folder of another name."""
    number = folder.name.removeprefix("round_")
    return windows_of_round(desk, int(number)) if number.isdecimal() else {}
