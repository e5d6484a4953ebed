"""Oracles: who draws the mask of a queried image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Protocol

import numpy as np

from scripts.core.errors import InputError, Problem
from scripts.core.seeds import numpy_generator
from scripts.data.run_data import RunData
from scripts.images.drawn.boxes import BoxModel
from scripts.images.mask_files.several import read_numbered_objects
from scripts.images.masks import NONZERO, MaskRule
from scripts.images.regions import component_boxes, object_boxes
from scripts.images.values import FOREGROUND
from scripts.images.windows import Window, cut_out, drawn_cost
from scripts.state.rows import BOX, OUTLINE, SIMULATED


@dataclass(frozen=True)
class Answer:
    """A mask from an oracle.

    Attributes:
        id: the image.
        mask: uint8 (H, W) at the image's original size: 0 background, 1 foreground, 255 ignore.
        user: who drew it.
        seconds: time it took to draw, 0 where unknown.
        kind: how it was drawn, :data:`scripts.state.rows.OUTLINE` or :data:`scripts.state.rows.BOX`.
        objects: number of boxes.
    """

    id: str
    mask: np.ndarray
    user: str = SIMULATED
    seconds: float = 0.0
    kind: str = OUTLINE
    objects: int = 0


class Oracle(Protocol):
    """What every oracle can do."""

    def can_answer(self, key: str) -> bool:
        """Tell whether the image can be asked about at all; others are never queried."""

    def answer(self, ids: Sequence[str]) -> list[Answer]:
        """Return a mask for each id, in the same order."""


class WindowOracle(Oracle, Protocol):
    """What an oracle can do that answers for parts of images, too.

    Attributes:
        takes_windows: true; where it is false or missing, methods with regions are refused.
    """

    takes_windows: bool

    def answer(self, ids: Sequence[str], windows: Mapping[str, Sequence[Window]] = ...) -> list[Answer]:
        """Return a mask for each id, in the same order, with 255 outside of the windows of an image that has some."""


class SimulatedOracle:
    """Takes the masks that lie on disk, for simulations; images without a mask are never queried.

    Args:
        data: images of the run.
        seconds_per_mask: annotation time to book per mask, in seconds; 0 books none.
        seconds_per_boundary_px: and per pixel on the boundary of the mask, in seconds.
        seconds_per_object: and per object, in seconds.
        rule: of the mask files, which may number their objects; else an object is a connected region.
    """

    takes_windows = True

    def __init__(
        self,
        data: RunData,
        seconds_per_mask: float = 0.0,
        seconds_per_boundary_px: float = 0.0,
        seconds_per_object: float = 0.0,
        rule: MaskRule = NONZERO,
    ) -> None:
        self.data, self.rule, self.seconds_per_object = data, rule, seconds_per_object
        self.seconds_per_mask, self.seconds_per_boundary_px = seconds_per_mask, seconds_per_boundary_px
        self._with_mask = {item["id"] for item in data.datalist.items if item["mask"]}

    def can_answer(self, key: str) -> bool:
        """Tell whether the image has a mask on disk."""
        return key in self._with_mask

    def answer(
        self, ids: Sequence[str], windows: Mapping[str, Sequence[Window]] = MappingProxyType({})
    ) -> list[Answer]:
        """Return the masks on disk.

        Args:
            ids: the images.
            windows: all that were ever asked of an image; one that is not there is asked for whole.

        Raises:
            InputError: lists the images that have none.
        """
        masks = {key: self.data.store.true_mask(key) for key in ids}
        problems = [
            Problem("no mask on disk to answer with", key, cure="Add its mask to the data list.")
            for key, mask in masks.items()
            if mask is None
        ]
        if problems:
            raise InputError(problems)
        return [self._answer(key, mask, windows.get(key, ())) for key, mask in masks.items() if mask is not None]

    def _answer(self, key: str, mask: np.ndarray, windows: Sequence[Window]) -> Answer:
        mask = cut_out(mask, windows) if windows else mask
        numbered = self.seconds_per_object and not windows
        return Answer(key, mask, seconds=self.seconds(mask, windows, len(self.boxes(key)) if numbered else None))

    def seconds(self, mask: np.ndarray, windows: Sequence[Window] = (), objects: int | None = None) -> float:
        """Return the annotation time to book for a mask; each of its windows counts as a mask of its own.

        Args:
            mask: uint8 (H, W).
            windows: of which it was asked; none for all of it.
            objects: in the mask; None counts its connected regions.
        """
        asked = max(1, len(windows))
        seconds = self.seconds_per_mask * asked + self.seconds_per_boundary_px * drawn_cost(mask, windows)[1]
        if not self.seconds_per_object:
            return seconds
        count = len(component_boxes(mask == FOREGROUND)) if objects is None else objects
        return seconds + self.seconds_per_object * count

    def boxes(self, key: str) -> np.ndarray:
        """Return the frames of the objects of a true mask, see :func:`scripts.images.regions.object_boxes`.

        Raises:
            InputError: the mask cannot be read.
        """
        item = next(item for item in self.data.datalist.items if item["id"] == key)
        numbers = read_numbered_objects(item["mask"], item["image"], self.rule)
        mask = self.data.store.true_mask(key)
        if numbers is not None or mask is None:
            return object_boxes(np.zeros((0, 0)) if numbers is None else numbers)
        return component_boxes(mask == FOREGROUND)


class SimulatedBoxes:
    """Draws a box around every object of the masks on disk; a model makes the mask of them.

    With ``unsure`` an image gets an outline after its boxes where the model's mask of them is not clear: where the
    share of its foreground whose probability lies within a quarter of one half is above it.

    Args:
        data: images of the run.
        model: from boxes to masks.
        outlines: what outlines are and take; its masks are the true ones.
        jitter: each side of a box is moved by up to this share of the box's width or height, either way.
        seconds_per_box: annotation time of a box, in seconds.
        unsure: share from which an outline is drawn too, in [0, 1]; None for boxes alone.
        seed: of the jitter, the same for an image in all rounds and runs.

    Raises:
        InputError: a setting out of its range.
    """

    def __init__(
        self,
        data: RunData,
        model: BoxModel,
        outlines: SimulatedOracle,
        jitter: float = 0.0,
        seconds_per_box: float = 7.0,
        unsure: float | None = None,
        seed: int = 0,
    ) -> None:
        problems = []
        if not 0.0 <= jitter < 0.5:
            problems.append(Problem("not a share of a side", "active#oracles#boxes#jitter", "0 to 0.5", f"{jitter}"))
        if unsure is not None and not 0.0 <= unsure <= 1.0:
            problems.append(Problem("not a share", "active#oracles#boxes#unsure", "0 to 1, or null", f"{unsure}"))
        if problems:
            raise InputError(problems)
        self.data, self.model, self.outlines, self.jitter = data, model, outlines, jitter
        self.seconds_per_box, self.unsure, self.seed = seconds_per_box, unsure, seed

    def require(self) -> None:
        """Raise ``InputError`` where the model cannot be used."""
        self.model.require()

    def can_answer(self, key: str) -> bool:
        """Tell whether the image has a mask on disk."""
        return self.outlines.can_answer(key)

    def answer(self, ids: Sequence[str]) -> list[Answer]:
        """Return the masks that the model makes of the boxes, or the true ones, see the class.

        Raises:
            InputError: lists the images that have no mask on disk.
        """
        return [self._answer(outline) for outline in self.outlines.answer(ids)]

    def seconds(self, mask: np.ndarray) -> float:
        """Return the annotation time of an outline, which validation masks are."""
        return self.outlines.seconds(mask)

    def _answer(self, outline: Answer) -> Answer:
        boxes = self._drawn(outline.id)
        seconds = self.seconds_per_box * len(boxes)
        probs = self.model.foreground(outline.id, lambda: self.data.store.original_image(outline.id), boxes)
        mask = (probs >= 0.5).astype(np.uint8)
        if self.unsure is not None and np.count_nonzero(np.abs(probs - 0.5) < 0.25) > self.unsure * max(1, mask.sum()):
            return replace(outline, seconds=outline.seconds + seconds)
        return Answer(outline.id, mask, seconds=seconds, kind=BOX, objects=len(boxes))

    def _drawn(self, key: str) -> np.ndarray:
        """Return the boxes of an image as somebody draws them, float64 (N, 4), within the image."""
        exact = self.outlines.boxes(key).astype(np.float64)
        height, width = self.data.store.original_size(key)
        sides = np.tile(exact[:, 2:] - exact[:, :2], 2)
        moved = exact + sides * numpy_generator(self.seed, "boxes", key).uniform(-self.jitter, self.jitter, exact.shape)
        return np.clip(moved, 0.0, [width, height, width, height])
