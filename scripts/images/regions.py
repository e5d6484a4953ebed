"""Specks and holes of a predicted mask: what is too small to be meant is removed, what an object encloses is filled."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scripts.core.errors import InputError, Problem


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


def connected_components(mask: np.ndarray, corners: bool = True) -> np.ndarray:
    """Return the number of each pixel's object.

    Rows are cut into runs of foreground, so that the work grows with the number of runs, not of pixels.

    Args:
        mask: (H, W); non-zero is foreground.
        corners: pixels that touch by a corner belong together too (8-connectivity); False: only by a side (4).

    Returns:
        int32 (H, W): 0 background, then 1, 2, ... in the order of each object's first pixel, row by row.
    """
    mask = mask != 0
    rows, starts, ends = _runs(mask)
    above, below = _touching(rows, starts, ends, mask.shape[1] + 2, corners)
    _, number = np.unique(_roots(len(rows), above, below), return_inverse=True)
    labels = np.zeros(mask.shape, dtype=np.int32)
    labels[mask] = np.repeat(number + 1, ends - starts)  # runs stand in the order of their pixels
    return labels


def _runs(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return row, first column and column after the last of every run of foreground, by row and column."""
    steps = np.diff(np.pad(mask.astype(np.int8), ((0, 0), (1, 1))), axis=1)
    rows, starts = np.nonzero(steps == 1)
    return rows, starts, np.nonzero(steps == -1)[1]


def _touching(
    rows: np.ndarray, starts: np.ndarray, ends: np.ndarray, stride: int, corners: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Return all pairs of runs of neighbouring rows that touch; ``stride`` is more than any column."""
    next_row = (rows + 1) * stride
    first = np.searchsorted(rows * stride + ends, next_row + starts, side="left" if corners else "right")
    last = np.searchsorted(rows * stride + starts, next_row + ends, side="right" if corners else "left")
    count = np.maximum(last - first, 0)
    above = np.repeat(np.arange(len(rows)), count)
    position = np.arange(len(above)) - np.repeat(np.cumsum(count) - count, count)
    return above, np.repeat(first, count) + position


def _roots(n: int, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the lowest member of each of ``n`` nodes' component under the edges ``a``-``b``."""
    parent = np.arange(n)
    while True:
        low, high = np.minimum(parent[a], parent[b]), np.maximum(parent[a], parent[b])
        if (low == high).all():
            return parent
        np.minimum.at(parent, high, low)
        while (parent[parent] != parent).any():
            parent = parent[parent]


def outline(mask: np.ndarray) -> np.ndarray:
    """Return the foreground pixels (H, W), bool, with a side neighbour in the background or beyond the image."""
    padded = np.pad(mask != 0, 1)
    inner = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return padded[1:-1, 1:-1] & ~inner


def mask_cost(mask: np.ndarray) -> tuple[int, int]:
    """Return what a mask cost to draw: its foreground pixels, and those of them on the outline.

    Args:
        mask: uint8 (H, W); 1 is foreground, anything else is not.
    """
    inside = mask == 1
    return int(inside.sum()), int(outline(inside).sum())
