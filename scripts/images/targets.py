"""What a training is told of each pixel of an image: a target, how much it counts, and what gave it.

A mask is the special case of the targets 0 and 1, each of weight 1, and of weight 0 where it is not known. It is kept
as it is; only other targets take a second map. Two files stand for them: the grey PNG of a mask, or a PNG of three
channels (target, weight, origin), all of 8 bits.
"""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from PIL import Image

from scripts.core.errors import InputError, Problem
from scripts.images.png import mask_to_png, quick_png
from scripts.images.values import FOREGROUND, IGNORE

FULL = 255
"""A target or weight of 1, as it is stored and as trainings get it."""
_MIDDLE = 128


@dataclass(frozen=True)
class PixelTarget:
    """Targets of one image at its original size.

    Attributes:
        target: (H, W) uint8, 255 times the share of foreground that the pixel should have.
        weight: (H, W) uint8, 255 times how much the pixel counts; 0 is the ignore value of masks.
        origin: (H, W) uint8, the number of the step that gave the target, from 1 in the order of the method's chain; 0
            for what the chain began with: the hard mask of the network.

    Raises:
        InputError: maps of different shape, or of another type.
    """

    target: np.ndarray
    weight: np.ndarray
    origin: np.ndarray

    def __post_init__(self) -> None:
        maps = (self.target, self.weight, self.origin)
        if len({each.shape for each in maps}) > 1 or self.target.ndim != 2 or any(m.dtype != np.uint8 for m in maps):
            found = ", ".join(f"{each.dtype} {each.shape}" for each in maps)
            raise InputError(Problem("no maps of one image", "pixel targets", "three uint8 (H, W)", found))

    @classmethod
    def of_mask(cls, mask: np.ndarray) -> PixelTarget:
        """Return the targets of a mask, uint8 (H, W) with 0, 1 and 255."""
        target = np.where(mask == FOREGROUND, FULL, 0).astype(np.uint8)
        weight = np.where(mask == IGNORE, 0, FULL).astype(np.uint8)
        return cls(target, weight, np.zeros(mask.shape, np.uint8))

    @property
    def is_mask(self) -> bool:
        """Whether a mask says the same: all targets 0 or 1, all weights 0 or 1, nothing changed after the network."""
        whole = all(np.isin(each, (0, FULL)).all() for each in (self.target, self.weight))
        return bool(whole and not self.origin.any())

    def hard(self) -> np.ndarray:
        """Return the mask whatever the weights, uint8 (H, W) in {0, 1}: 1 from a target of one half on."""
        return (self.target >= _MIDDLE).astype(np.uint8)

    def mask(self) -> np.ndarray:
        """Return :meth:`hard` with 255 where the weight is 0."""
        return np.where(self.weight == 0, np.uint8(IGNORE), self.hard())

    def maps(self) -> np.ndarray:
        """Return what a training gets, uint8: the mask (H, W) where one says the same, else target and weight."""
        whole = all(np.isin(each, (0, FULL)).all() for each in (self.target, self.weight))
        return self.mask() if whole else np.stack([self.target, self.weight])

    def to_png(self) -> bytes:
        """Return the file: grey for a mask, else of three channels."""
        if self.is_mask:
            return mask_to_png(self.mask())
        return quick_png(Image.fromarray(np.stack([self.target, self.weight, self.origin], axis=-1)))


def target_of_png(data: bytes) -> PixelTarget:
    """Return the targets of a file of :meth:`PixelTarget.to_png`."""
    with Image.open(io.BytesIO(data), formats=["PNG"]) as picture:
        values = np.array(picture, dtype=np.uint8)
    if values.ndim == 2:
        return PixelTarget.of_mask(values)
    return PixelTarget(*np.ascontiguousarray(values.transpose(2, 0, 1)))
