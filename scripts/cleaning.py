"""Specks and holes of a predicted mask: what is too small to be meant is removed, what an object encloses is filled."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scripts.components import connected_components
from scripts.errors import InputError, Problem


@dataclass(frozen=True)
class Cleaning:
    """What is cleaned, in pixels of the original image. With both 0, the default, masks stay as they are.

    Holes are filled first. Objects hang together by sides or corners, holes by sides; what touches the border of the
    image is no hole.

    Attributes:
        objects: objects of fewer pixels are removed.
        holes: holes of fewer pixels are filled.

    Raises:
        InputError: a negative number.
    """

    objects: int = 0
    holes: int = 0

    def __post_init__(self) -> None:
        bad = {name: value for name, value in (("objects", self.objects), ("holes", self.holes)) if value < 0}
        if bad:
            raise InputError([Problem("negative", f"cleaning#{n}", "0 or more pixels", str(v)) for n, v in bad.items()])

    def __call__(self, mask: np.ndarray) -> np.ndarray:
        """Return the cleaned mask, uint8 (H, W) in {0, 1}; non-zero is foreground in ``mask``."""
        kept = mask != 0
        if self.holes > 0:
            numbers = connected_components(~kept, corners=False)
            small = np.bincount(numbers.ravel()) < self.holes
            small[0] = False  # the foreground
            small[np.unique(np.concatenate([numbers[0], numbers[-1], numbers[:, 0], numbers[:, -1]]))] = False
            kept = kept | small[numbers]
        if self.objects > 0:
            numbers = connected_components(kept)
            large = np.bincount(numbers.ravel()) >= self.objects
            large[0] = False  # the background
            kept = large[numbers]
        return kept.astype(np.uint8)


UNCLEANED = Cleaning()
