"""Oracles: who draws the mask of a queried image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from scripts.core.errors import InputError, Problem
from scripts.data.run_data import RunData
from scripts.images.regions import mask_cost
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


class SimulatedOracle:
    """Takes the masks that lie on disk, for simulations; images without a mask are never queried.

    Args:
        data: images of the run.
        seconds_per_mask: annotation time to book per mask, in seconds; 0 books none.
        seconds_per_boundary_px: and per pixel on the boundary of the mask, in seconds.
    """

    def __init__(self, data: RunData, seconds_per_mask: float = 0.0, seconds_per_boundary_px: float = 0.0) -> None:
        self.data = data
        self.seconds_per_mask, self.seconds_per_boundary_px = seconds_per_mask, seconds_per_boundary_px
        self._with_mask = {item["id"] for item in data.datalist.items if item["mask"]}

    def can_answer(self, key: str) -> bool:
        """Tell whether the image has a mask on disk."""
        return key in self._with_mask

    def answer(self, ids: Sequence[str]) -> list[Answer]:
        """Return the masks on disk.

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
        return [Answer(key, mask, seconds=self.seconds(mask)) for key, mask in masks.items() if mask is not None]

    def seconds(self, mask: np.ndarray) -> float:
        """Return the annotation time to book for a mask."""
        return self.seconds_per_mask + self.seconds_per_boundary_px * mask_cost(mask)[1]
