"""Filling of closed rings, pixel by pixel: a pixel is inside where its centre is, by the even-odd rule."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

_CROSSINGS_AT_ONCE = 2**20


def fill(mask: np.ndarray, rings: Sequence[np.ndarray], value: int) -> None:
    """Set the pixels of ``mask`` whose centre is inside: an odd number of edges crosses their row left of it."""
    frame = frame_of(rings, (mask.shape[0], mask.shape[1]))
    if frame is None:
        return
    top, bottom, left, right = frame
    edges, first, count = crossed_rows(edges_of(rings), top, bottom)
    width = right - left + 1
    crossings = np.zeros((bottom - top) * width, np.uint8)  # only odd or even counts, which survives an overflow
    for part in _parts(count):
        x0, y0, x1, y1 = (np.repeat(edges[part, i], count[part]) for i in range(4))
        begins = np.cumsum(count[part]) - count[part]
        rows = np.repeat(first[part] - begins, count[part]) + np.arange(len(x0))
        x = x0 + (rows + 0.5 - y0) * (x1 - x0) / (y1 - y0)
        column = np.clip(np.ceil(x - 0.5), left, right).astype(np.int64) - left  # first pixel right of the edge
        np.add.at(crossings, (rows - top) * width + column, np.uint8(1))
    odd = np.bitwise_xor.accumulate(crossings.reshape(-1, width) & 1, axis=1)
    mask[top:bottom, left:right][odd[:, :-1] == 1] = value


def frame_of(rings: Sequence[np.ndarray], size: tuple[int, int]) -> tuple[int, int, int, int] | None:
    """Return the rows and columns of the image around some rings: top, bottom, left, right; None where none is."""
    points = np.concatenate(rings)
    (left, top), (right, bottom) = np.floor(points.min(axis=0)), np.ceil(points.max(axis=0))
    top, bottom, left, right = max(0, int(top)), min(size[0], int(bottom)), max(0, int(left)), min(size[1], int(right))
    return (top, bottom, left, right) if bottom > top and right > left else None


def edges_of(rings: Sequence[np.ndarray]) -> np.ndarray:
    """Return (N, 4) float64: x and y of both ends of every edge of closed rings."""
    return np.concatenate([np.concatenate([ring, np.roll(ring, -1, axis=0)], axis=1) for ring in rings])


def crossed_rows(edges: np.ndarray, top: int, bottom: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the edges, (N, 4), that cross centres of rows ``top`` to ``bottom``; for each the first row, and how many.

    Rows count whose centre is in [low, high) of the edge: half-open, so that a vertex on a centre counts once.
    """
    low, high = np.minimum(edges[:, 1], edges[:, 3]), np.maximum(edges[:, 1], edges[:, 3])
    first = np.maximum(top, np.ceil(low - 0.5)).astype(np.int64)
    count = np.minimum(bottom, np.ceil(high - 0.5)).astype(np.int64) - first
    crosses = count > 0
    return edges[crosses], first[crosses], count[crosses]


def _parts(count: np.ndarray) -> list[slice]:
    """Return slices of edges that cross about a million rows each, so that memory does not grow with the outline."""
    if not len(count):
        return []
    number = (np.cumsum(count) - 1) // _CROSSINGS_AT_ONCE
    ends = [*np.flatnonzero(np.diff(number)) + 1, len(count)]
    return [slice(begin, end) for begin, end in zip([0, *ends[:-1]], ends, strict=True)]
