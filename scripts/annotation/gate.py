"""The gate that every mask from a person passes, whichever way it comes. It lets through or says what to mend.

Reading and judging only: nothing is stored here (:mod:`scripts.annotation.submission` does that).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from scripts.core.errors import InputError, Problem
from scripts.data.run_data import RunData
from scripts.images.drawn.outline_drawing import draw_outlines, refuse_costly, refuse_outside, spoken_class
from scripts.images.drawn.outlines import SUFFIXES, read_outlines
from scripts.images.mask_grid import on_grid_of_image, refuse_other_size
from scripts.images.masks import NONZERO, MaskRule, read_mask
from scripts.images.reading import FORMATS, NIFTI_SUFFIXES, image_suffix
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
    """

    id: str
    mask: np.ndarray
    said: str = ""
    notes: tuple[str, ...] = ()


class Gate:
    """What a mask must be.

    Args:
        data: images of the run.
        rule: which values of a mask file are foreground, as for masks of the data set.
        empty_classes: names of the classes whose images may have no foreground.
        accept_unasked: also take masks of images that nobody was asked to draw.

    Raises:
        InputError: ``empty_classes`` names a class that the data do not have.
    """

    def __init__(
        self,
        data: RunData,
        rule: MaskRule = NONZERO,
        empty_classes: Sequence[str] = (),
        accept_unasked: bool = False,
    ) -> None:
        unknown = sorted(set(empty_classes) - set(data.classes))
        if unknown:
            listed = ", ".join(data.classes)
            raise InputError(Problem("unknown class", "active#gate#empty_classes", f"of {listed}", ", ".join(unknown)))
        self.data, self.rule = data, rule
        self.empty_classes, self.accept_unasked = frozenset(empty_classes), accept_unasked
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
            path: PNG, BMP, TIFF, JPEG, NIfTI, GeoJSON or ASAP XML; the suffix says which.
            was_asked: tells whether anybody was asked for the mask of an image.
            said: class that came with it by other means; ``""`` for none.
            content: bytes of the file, where they have been read.
            window: the part of the image that was asked for, which may be empty: what lies outside becomes 255. None
                for all of it.

        Raises:
            InputError: what is wrong with it, what was expected, and the cure.
        """
        self.refuse_image(key, was_asked)
        mask, named = self._read(key, path, content)
        return self._judged(key, path.name, mask, said or named, window)

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

    def _read(self, key: str, path: Path, content: bytes | None) -> tuple[np.ndarray, str]:
        size = self.data.store.original_size(key)
        if path.suffix.lower() in SUFFIXES:
            outlines = read_outlines(path, content)
            refuse_outside(outlines, size, path.name)
            refuse_costly(outlines, size, path.name)
            said, drawn = spoken_class(outlines, self.data.classes, size)
            return draw_outlines(drawn, size), said
        if not image_suffix(path):
            accepted = ", ".join((*FORMATS, *NIFTI_SUFFIXES, *SUFFIXES))
            raise InputError(Problem("not a format of masks", path.name, accepted, path.suffix or "no suffix"))
        image = Path(self._items[key]["image"])
        refuse_other_size(path, image, size, content)
        mask = read_mask(path, self.rule, content)
        return on_grid_of_image(mask, path, image, size, content), ""

    def _judged(self, key: str, where: str, mask: np.ndarray, said: str, window: Window | None) -> Passed:
        name = self.data.classes[self._items[key]["label"]]
        notes = []
        if window is not None:
            beyond, mask = int((mask == FOREGROUND).sum()), cut_out(mask, [window])
            beyond -= int((mask == FOREGROUND).sum())
            notes += [f"{beyond} pixels outside of the window are left out ({window})"] if beyond else []
        if not (mask == FOREGROUND).any():
            if name not in self.empty_classes and window is None:
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
