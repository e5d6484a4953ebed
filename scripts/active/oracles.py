"""Oracles: who draws the mask of a queried image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Protocol

import numpy as np

from scripts.core.errors import InputError, Problem
from scripts.data.run_data import RunData
from scripts.images.windows import Window, cut_out, drawn_cost
from scripts.state.rows import SIMULATED


@dataclass(frozen=True)
class Answer:
    """A mask from an oracle.

    Attributes:
        id: the image.
        mask: uint8 (H, W) at the image's original size: 0 background, 1 foreground, 255 ignore.
        user: who drew it.
        seconds: time it took to draw, 0 where unknown.
    """

    id: str
    mask: np.ndarray
    user: str = SIMULATED
    seconds: float = 0.0


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
    """

    takes_windows = True

    def __init__(self, data: RunData, seconds_per_mask: float = 0.0, seconds_per_boundary_px: float = 0.0) -> None:
        self.data = data
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
        return Answer(key, mask, seconds=self.seconds(mask, windows))

    def seconds(self, mask: np.ndarray, windows: Sequence[Window] = ()) -> float:
        """Return the annotation time to book for a mask; each of its windows counts as a mask of its own."""
        asked = max(1, len(windows))
        return self.seconds_per_mask * asked + self.seconds_per_boundary_px * drawn_cost(mask, windows)[1]
