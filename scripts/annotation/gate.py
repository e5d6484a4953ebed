"""The gate that every mask from a person passes, whichever way it comes. It lets through or says what to mend.

Reading and judging only: nothing is stored here (:mod:`scripts.annotation.submission` does that).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path

import numpy as np

from scripts.core.errors import InputError, Problem
from scripts.core.files import file_stem
from scripts.data.run_data import RunData
from scripts.images.drawn.boxes import BoxModel, boxes_of_outlines, read_boxes
from scripts.images.drawn.outline_drawing import (
    draw_outlines,
    reaching_out,
    refuse_outside,
    spoken_class,
)
from scripts.images.drawn.outline_files import SUFFIXES, fitting_outlines, named_in, read_outlines
from scripts.images.drawn.outlines import Picture, stems_of
from scripts.images.files.names import SUFFIXES as IMAGE_SUFFIXES
from scripts.images.files.names import image_stem, image_suffix, is_region
from scripts.images.mask_files.doubts import FULL_BORDER, border_share
from scripts.images.mask_files.pictures import may_be_picture, picture_problem
from scripts.images.mask_grid import on_grid_of_image, refuse_other_size
from scripts.images.masks import NONZERO, MaskRule, read_mask
from scripts.images.values import BACKGROUND, FOREGROUND
from scripts.images.windows import Window, cut_out


@dataclass(frozen=True)
class Passed:
    """A mask that was let through.

    Attributes:
        id: its image.
        mask: uint8 (H, W) at the image's original size: 0 background, 1 foreground, 255 ignore.
        said: class that the annotator named, ``""`` for none.
        notes: what may surprise though the mask is taken.
        objects: number of boxes that a model made it of; None for one that was drawn.
    """

    id: str
    mask: np.ndarray
    said: str = ""
    notes: tuple[str, ...] = ()
    objects: int | None = None


class Gate:
    """What a mask must be.

    Args:
        data: images of the run.
        rule: which values of a mask file are foreground, as for masks of the data set.
        empty_classes: names of the classes whose images may have no foreground.
        accept_unasked: also take masks of images that nobody was asked to draw.
        box_model: makes masks of boxes; None refuses boxes.
        rectangles: what outlines mean that are all rectangles along the axes: ``"outlines"`` or ``"boxes"``.
        accept_full_border: take masks that cover most of their border where no mask on disk covers half of it; else
            they are refused, since an inverted mask looks so.
        accept_boxes: take the masks of boxes without a look at them; else the folder of the round shows them first, and
            other ways refuse boxes.

    Raises:
        InputError: ``empty_classes`` names a class that the data do not have, or ``rectangles`` is neither.
    """

    def __init__(
        self,
        data: RunData,
        rule: MaskRule = NONZERO,
        empty_classes: Sequence[str] = (),
        accept_unasked: bool = False,
        box_model: BoxModel | None = None,
        rectangles: str = "outlines",
        accept_boxes: bool = False,
        accept_full_border: bool = False,
    ) -> None:
        if rectangles not in ("outlines", "boxes"):
            raise InputError(Problem("unknown meaning", "active#gate#rectangles", '"outlines" or "boxes"', rectangles))
        unknown = sorted(set(empty_classes) - set(data.classes))
        if unknown:
            listed = ", ".join(data.classes)
            raise InputError(Problem("unknown class", "active#gate#empty_classes", f"of {listed}", ", ".join(unknown)))
        self.data, self.rule = data, rule
        self.empty_classes, self.accept_unasked = frozenset(empty_classes), accept_unasked
        self.box_model, self.rectangles, self.accept_boxes = box_model, rectangles, accept_boxes
        self.accept_full_border = accept_full_border
        self._items = {item["id"]: item for item in data.datalist.items}

    def admit(
        self,
        key: str,
        path: Path,
        was_asked: Callable[[str], bool],
        said: str = "",
        content: bytes | None = None,
        window: Window | None = None,
    ) -> Passed:
        """Return the mask in a file, fit for training.

        Args:
            key: id of the image.
            path: PNG, BMP, TIFF, JPEG or NIfTI by its suffix; outlines or boxes as JSON or XML.
            was_asked: tells whether anybody was asked for the mask of an image.
            said: class that came with it by other means; ``""`` for none.
            content: bytes of the file, where they have been read.
            window: the part of the image that was asked for, which may be empty: what lies outside becomes 255. None
                for all of it.

        Raises:
            InputError: what is wrong with it, what was expected, and the cure.
        """
        self.refuse_image(key, was_asked)
        boxes = self._boxes(key, path, content)
        if boxes is not None:
            if not self.accept_boxes:
                cure = "Send a mask, or start the run with --active#gate#accept_boxes True."
                raise InputError(Problem("nobody has looked at the mask of these boxes", path.name, cure=cure))
            return self._of_boxes(key, path.name, boxes, said, window)
        mask, named, note = self._read(key, path, content)
        if window is None:
            self._refuse_inverted(path.name, mask)
        passed = self._judged(key, path.name, mask, said or named, window)
        return replace(passed, notes=(note, *passed.notes)) if note else passed

    def made_of_boxes(
        self,
        key: str,
        path: Path,
        was_asked: Callable[[str], bool],
        content: bytes | None = None,
        window: Window | None = None,
    ) -> Passed | None:
        """Return the mask that the model makes of the boxes in a file, to be looked at; None for any other file.

        Args:
            key: as for :meth:`admit`.
            path: as for :meth:`admit`.
            was_asked: as for :meth:`admit`.
            content: as for :meth:`admit`.
            window: as for :meth:`admit`.

        Raises:
            InputError: as :meth:`admit`; boxes of which the model makes nothing.
        """
        if key not in self._items or path.suffix.lower() not in SUFFIXES:
            return None
        boxes = self._boxes(key, path, content)
        if boxes is None:
            return None
        self.refuse_image(key, was_asked)
        return self._of_boxes(key, path.name, boxes, "", window)

    def knows(self, key: str) -> bool:
        """Tell whether an image of the run has this id."""
        return key in self._items

    def images_in(self, key: str, path: Path) -> list[str]:
        """Return the ids of the images that a file of outlines names, if it has no image's name itself; else none."""
        if key in self._items or path.suffix.lower() not in SUFFIXES:
            return []
        stems: set[str] = set().union(*map(stems_of, named_in(path)))
        known = [each for each, item in self._items.items() if item["split"] == "train"] if stems else []
        return [each for each in known if not stems.isdisjoint(self._names(each))]

    @property
    def boxes(self) -> str:
        """What becomes of boxes: ``"shown"`` first, ``"accepted"`` at once, or ``""`` where they are not taken."""
        return ("accepted" if self.accept_boxes else "shown") if self.takes_boxes else ""

    @cached_property
    def takes_boxes(self) -> bool:
        """Whether there is a model for boxes, and what it needs is installed."""
        try:
            if self.box_model is not None:
                self.box_model.require()
        except InputError:
            return False
        return self.box_model is not None

    def refuse_image(self, key: str, was_asked: Callable[[str], bool]) -> None:
        """Raise InputError for an image that no mask is taken of: unknown, of another split, changed, not asked for."""
        item = self._items.get(key)
        if item is None:
            cure = "Name the mask as its image was named when it was given out."
            raise InputError(Problem("no image of the run has this name", key, "the id of a training image", cure=cure))
        if item["split"] != "train":
            cure = "Masks of validation and test images only measure; the run never learns from new ones."
            raise InputError(Problem("not an image that is annotated", key, "a training image", item["split"], cure))
        if item["label"] in self.data.background.labels:
            cure = "Nothing is to be drawn there: data#background_classes says that its mask is empty."
            name = self.data.classes[item["label"]]
            raise InputError(Problem("class has no foreground", key, "an image of another class", name, cure))
        # A mask that was drawn on another picture would be learned from when the right one is back.
        self.data.datalist.watch.require_same(item["image"])
        if not self.accept_unasked and not was_asked(key):
            cure = "Draw an image that was given out, or start the run with --active#gate#accept_unasked True."
            raise InputError(Problem("nobody asked for this image", key, "an image of a query", cure=cure))

    def _boxes(self, key: str, path: Path, content: bytes | None) -> tuple[np.ndarray, str] | None:
        """Return the boxes in a file of an image of the run and the class it names; None for a file without boxes."""
        picture, said = self._picture(key), ""
        found = read_boxes(path, picture, content)
        if found is None and self.rectangles == "boxes" and path.suffix.lower() in SUFFIXES:
            outlines = read_outlines(path, picture, content)
            refuse_outside(outlines, picture.size, path.name)
            said, drawn = spoken_class(outlines, self.data.classes, picture.size)
            found = boxes_of_outlines(drawn) if drawn else None  # a shape to be ignored makes all of them outlines
        return None if found is None else (found, said)

    def _of_boxes(
        self, key: str, where: str, found: tuple[np.ndarray, str], said: str, window: Window | None
    ) -> Passed:
        boxes, named = found
        if self.box_model is None:
            cure = "Send a mask or outlines."
            raise InputError(
                Problem("no model makes masks of boxes here", where, "active#gate#box_model", "none", cure)
            )
        image = partial(self.data.store.original_image, key)
        mask = (self.box_model.foreground(key, image, boxes) >= 0.5).astype(np.uint8)
        return replace(self._judged(key, where, mask, said or named, window), objects=len(boxes))

    def _names(self, key: str) -> tuple[str, ...]:
        """Return how files may call an image: as its own file, or as the picture that was given out."""
        return tuple(dict.fromkeys((image_stem(self._items[key]["image"]), file_stem(key), key)))

    def _picture(self, key: str) -> Picture:
        return Picture(self.data.store.original_size(key), self._names(key))

    def _read(self, key: str, path: Path, content: bytes | None) -> tuple[np.ndarray, str, str]:
        """Return the mask in a file of an image of the run, the class it names, and what may surprise of it."""
        size = self.data.store.original_size(key)
        if path.suffix.lower() in SUFFIXES:
            outlines = fitting_outlines(path, self._picture(key), content)
            said, drawn = spoken_class(outlines, self.data.classes, size)
            return draw_outlines(drawn, size), said, reaching_out(drawn, size)
        if not image_suffix(path) or is_region(path):
            accepted = ", ".join((*IMAGE_SUFFIXES, *SUFFIXES))
            raise InputError(Problem("not a format of masks", path.name, accepted, path.suffix or "no suffix"))
        image = Path(self._items[key]["image"])
        refuse_other_size(path, image, size, content)
        if may_be_picture(path, size, content):
            problem = picture_problem(path, self.data.store.original_image(key), content)
            if problem is not None:
                raise InputError(problem)
        mask = read_mask(path, self.rule, content)
        return on_grid_of_image(mask, path, image, size, content), "", ""

    def _refuse_inverted(self, where: str, mask: np.ndarray) -> None:
        known = [shape.border for shape in self.data.shapes.values()]
        share = border_share(mask)
        if self.accept_full_border or share <= FULL_BORDER or not known or max(known) > 0.5:
            return
        if (mask == BACKGROUND).any():
            raise InputError(
                Problem("mask may be inverted", where, "objects as in the masks of the data, which keep off the border",
                        f"{share:.0%} of the border as foreground", "Save it with 0 for the ground; or, where objects "
                        "may fill the picture, start the run with --active#gate#accept_full_border True.")
            )  # fmt: skip

    def _judged(self, key: str, where: str, mask: np.ndarray, said: str, window: Window | None) -> Passed:
        name = self.data.classes[self._items[key]["label"]]
        notes = []
        if window is not None:
            beyond, mask = int((mask == FOREGROUND).sum()), cut_out(mask, [window])
            beyond -= int((mask == FOREGROUND).sum())
            notes += [f"{beyond} pixels outside of the window are left out ({window})"] if beyond else []
        if not (mask == FOREGROUND).any():
            may_be_empty = window is not None or is_region(self._items[key]["image"])  # a part need not hold anything
            if name not in self.empty_classes and not may_be_empty:
                cure = (
                    "Draw what is to be found, or say that it cannot be drawn. Where images of the class may have "
                    f"none, start the run with --active#gate#empty_classes \"['{name}']\"."
                )
                raise InputError(
                    Problem("mask is empty", where, f"foreground in an image of class {name}", "none", cure)
                )
            notes.append("without foreground")
        elif not (mask == BACKGROUND).any():
            notes.append("without background")
        known = {other.lower(): other for other in self.data.classes}
        if said and said.lower() not in known:
            listed = ", ".join(self.data.classes)
            raise InputError(Problem("unknown class", where, f"one of {listed}", said, "Correct its name."))
        said = known.get(said.lower(), "")
        if said and said != name:
            notes.append(f"annotator says {said}, the data list says {name}")
        return Passed(key, mask, said, tuple(notes))
