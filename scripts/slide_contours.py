"""Outlines of the foreground of a plane that is read block by block: closed rings, exact across the blocks' borders.

contourpy draws the contour of each block (marching squares: straight from edge to edge between network pixels). Blocks
share their border pixels, so a line that leaves a block goes on in the next at the same point, and pieces are joined by
the grid edge they end on. The result does not depend on the blocks. In memory are the rings that are still open at the
current row of blocks and the holes whose outline is; a finished polygon is handed on at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from contourpy import contour_generator

from scripts.disk_plane import DiskPlane
from scripts.slide_grid import Box

BLOCK = 1024
Ring = npt.NDArray[np.float64]
"""Closed line (n, 2) of (x, y); its last point is its first."""
_Key = tuple[int, int, bool]


@dataclass(frozen=True)
class Polygon:
    """A connected piece of foreground.

    Attributes:
        outline: around it.
        holes: in it, each with background inside.
    """

    outline: Ring
    holes: tuple[Ring, ...]


def polygons(plane: DiskPlane, cut: float, progress: Callable[[], None] = lambda: None) -> Iterator[Polygon]:
    """Yield the polygons of what is above ``cut``, in pixels of the plane from the corner of its first pixel.

    At the plane's border the outline follows the border.

    Args:
        plane: whole numbers.
        cut: between two whole numbers, so that no line passes through the centre of a pixel.
        progress: called after each row of blocks.
    """
    height, width = plane.shape
    open_lines, holes = _OpenLines(), list[Ring]()
    for top in range(-2, height + 1, BLOCK):
        outlines: list[Ring] = []
        for left in range(-2, width + 1, BLOCK):
            for line in _lines(plane, top, left, cut):
                ring = open_lines.add(line, (top, left))
                if ring is not None:
                    placed = np.stack([_placed(ring[:, 0], width), _placed(ring[:, 1], height)], axis=1)
                    (outlines if signed_area(placed) > 0 else holes).append(placed)
        yield from _with_holes(outlines, holes)
        progress()


def signed_area(ring: Ring) -> float:
    """Return the area inside a ring, in square pixels: positive for an outline, negative for a hole."""
    x, y = ring[:, 0] - ring[0, 0], ring[:, 1] - ring[0, 1]  # near 0, for the sake of precision
    return float(0.5 * np.sum(x[:-1] * y[1:] - x[1:] * y[:-1]))


def _lines(plane: DiskPlane, top: int, left: int, cut: float) -> list[Ring]:
    """Return the contour of a block in index coordinates: the centre of the first pixel is (0, 0).

    Around the plane lie two more rows and columns: one that repeats the border, and a wall of background.
    """
    height, width = plane.shape
    bottom, right = min(top + BLOCK, height + 1), min(left + BLOCK, width + 1)  # shared with the next block
    inner = Box(max(top, 0), max(left, 0), min(bottom + 1, height), min(right + 1, width))
    inner = Box(min(inner.top, height - 1), min(inner.left, width - 1), inner.bottom, inner.right)
    if plane.blank(inner) and plane.fill < cut:
        return []
    values = plane.read(inner)
    if values.max() < cut:
        return []
    ys, xs = np.arange(top, bottom + 1), np.arange(left, right + 1)
    near = np.clip(ys, 0, height - 1) - int(inner.top), np.clip(xs, 0, width - 1) - int(inner.left)
    block = values[near[0][:, None], near[1]].astype(np.float64)
    wall = min(float(values.min()), cut - 1)
    block[(ys == -2) | (ys == height + 1)] = wall
    block[:, (xs == -2) | (xs == width + 1)] = wall
    generator = contour_generator(xs.astype(float), ys.astype(float), block, name="serial", line_type="Separate")
    lines: Any = generator.lines(cut)
    return lines


class _OpenLines:
    """Pieces of rings, by the grid edges where they begin and end; foreground is always on the same side of them."""

    def __init__(self) -> None:
        self._by_start: dict[_Key, tuple[list[Ring], _Key]] = {}
        self._start_of: dict[_Key, _Key] = {}  # end -> start

    def add(self, line: Ring, corner: tuple[int, int]) -> Ring | None:
        """Take a line of the block at ``corner`` (top, left); return the ring that it closes, if it does."""
        if np.array_equal(line[0], line[-1]):
            return line
        start, end = _edge(line[0], corner), _edge(line[-1], corner)
        parts = [line]
        if start in self._start_of:
            before = self._start_of.pop(start)
            if before == end:  # the other end of the same piece
                earlier, _ = self._by_start.pop(before)
                return _joined([*earlier, line])
            parts, start = [*self._by_start.pop(before)[0], line], before
        if end in self._by_start:
            later, last = self._by_start.pop(end)
            parts, end = [*parts, *later], last
        self._by_start[start] = (parts, end)
        self._start_of[end] = start
        return None


def _edge(point: npt.NDArray[np.float64], corner: tuple[int, int]) -> _Key:
    """Return the grid edge that a line ends on: (y, x) of its first pixel, and whether it runs along x.

    A line ends on the block's border, where one coordinate is whole; the other is not, since no value equals the cut.
    """
    off = np.abs(point - np.rint(point))  # (x, y)
    if off[1] < off[0]:
        return int(np.rint(point[1])), int(np.floor(point[0])), True
    return int(np.floor(point[1])), int(np.rint(point[0])), False


def _joined(parts: list[Ring]) -> Ring:
    """Return pieces that follow each other as one ring; each begins where the one before ended."""
    ring = np.concatenate([part[:-1] for part in parts])
    return np.concatenate([ring, ring[:1]])


def _placed(index: npt.NDArray[np.float64], length: int) -> npt.NDArray[np.float64]:
    """Return coordinates from the plane's corner for index coordinates; the wall and the border are one place."""
    return np.clip(index, -0.5, length - 0.5) + 0.5


def _with_holes(outlines: list[Ring], holes: list[Ring]) -> Iterator[Polygon]:
    """Yield outlines with their holes, which are taken from ``holes``.

    A hole ends no later than the outline around it, so all of its holes are known when an outline is; the smallest
    outline around a hole is its own, so the small ones come first.
    """
    lows, highs = (np.array([getattr(hole, of)(axis=0) for hole in holes]).reshape(-1, 2) for of in ("min", "max"))
    free = np.ones(len(holes), bool)
    for outline in sorted(outlines, key=signed_area):
        near = free & (lows >= outline.min(axis=0)).all(1) & (highs <= outline.max(axis=0)).all(1)
        own = [int(at) for at in np.flatnonzero(near) if _contains(outline, holes[at][0])]
        free[own] = False
        yield Polygon(outline, tuple(holes[at] for at in own))
    holes[:] = [holes[at] for at in np.flatnonzero(free)]


def _contains(ring: Ring, point: npt.NDArray[np.float64]) -> bool:
    """Tell whether a point is inside a ring (even-odd rule)."""
    x, y = ring[:-1, 0], ring[:-1, 1]
    next_x, next_y = ring[1:, 0], ring[1:, 1]
    crossed = (y > point[1]) != (next_y > point[1])
    x, y, next_x, next_y = x[crossed], y[crossed], next_x[crossed], next_y[crossed]
    at = x + (point[1] - y) / (next_y - y) * (next_x - x)
    return bool(np.count_nonzero(at > point[0]) % 2)
