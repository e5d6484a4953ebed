"""Connected components of a mask: pixels that touch by a side or, if wanted, by a corner are one object."""

from __future__ import annotations

import numpy as np


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
