"""Outlines of the foreground of a plane that is read block by block: closed rings, exact across the blocks' borders.

contourpy draws the contour of each block (marching squares: straight from edge to edge between network pixels). Blocks
share their border pixels, so a line that leaves a block goes on in the next at the same point, and pieces are joined by
the grid edge they end on. The result does not depend on the blocks. In memory are the rings that are still open at the
current row of blocks and the holes whose outline is; a finished polygon is handed on at once. Foreground that hangs
together across a large slide would never be finished: it is cut where it becomes too much.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from contourpy import contour_generator

from scripts.core.optional import needed
from scripts.images.slide_files.box import Box
from scripts.slides.disk_plane import DiskPlane

BLOCK = 1024
MOST_POINTS = 1_000_000
"""Of unfinished lines; to simplify them takes some 250 bytes for each."""
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

    At the plane's border the outline follows the border. Where unfinished lines have more than :data:`MOST_POINTS`
    points, all of them are ended at the centre of the row of pixels that is reached, and go on from there as new ones.

    Args:
        plane: whole numbers.
        cut: between two whole numbers, so that no line passes through the centre of a pixel.
        progress: called after each row of blocks.
    """
    height = plane.shape[0]
    first, top = 0, -2  # of the band that is not ended yet; of the row of blocks
    while top < height + 1:
        band = _Band(plane, cut, first, height - 1)
        while top < height + 1:
            yield from band.advance(top, min(top + BLOCK, height + 1))
            progress()
            top += BLOCK
            if band.points() > MOST_POINTS and top < height:
                yield from band.ended(max(top, 0))
                first, top = max(top, 0), max(top, 0) - 2
                break


class _Band:
    """Rows of a plane whose polygons are made: between two walls of background, the plane's borders as a rule.

    Coordinates of lines are indices, where the centre of the first pixel is (0, 0). Next to the first and the last row
    and column come one more that repeats it and then the wall.
    """

    def __init__(self, plane: DiskPlane, cut: float, first: int, last: int) -> None:
        self.plane, self.cut, self.first, self.last = plane, cut, first, last
        self._open, self._holes = _OpenLines(), list[Ring]()

    def points(self) -> int:
        """Return how many points are kept: of lines that are not closed, of holes whose outline is not."""
        return self._open.points + sum(map(len, self._holes))

    def advance(self, top: int, bottom: int) -> Iterator[Polygon]:
        """Yield the polygons that are finished with the rows from ``top`` to ``bottom``, which the next share."""
        height, width = self.plane.shape
        low = -0.5 if self.first == 0 else self.first
        high = height - 0.5 if self.last == height - 1 else self.last
        outlines: list[Ring] = []
        for left in range(-2, width + 1, BLOCK):
            for line in self._lines(top, bottom, left):
                ring = self._open.add(line)
                if ring is not None:
                    ring = np.clip(ring, (-0.5, low), (width - 0.5, high)) + 0.5  # the wall stands on the border
                    (outlines if signed_area(ring) > 0 else self._holes).append(ring)
        yield from _with_holes(outlines, self._holes)

    def ended(self, row: int) -> Iterator[Polygon]:
        """Yield all polygons that are not finished, ended at ``row``."""
        self.last = row
        yield from self.advance(row, row + 2)

    def _lines(self, top: int, bottom: int, left: int) -> list[Ring]:
        """Return the contour of a block."""
        width, right = self.plane.shape[1], min(left + BLOCK, self.plane.shape[1] + 1)
        ys, xs = np.arange(top, bottom + 1), np.arange(left, right + 1)
        rows, columns = np.clip(ys, self.first, self.last), np.clip(xs, 0, width - 1)
        box = Box(rows[0], columns[0], rows[-1] + 1, columns[-1] + 1)
        if self.plane.is_blank(box) and self.plane.fill < self.cut:
            return []
        values = self.plane.read(box)
        if values.max() < self.cut:
            return []
        block = values[rows[:, None] - rows[0], columns - columns[0]].astype(np.float64)
        wall = min(float(values.min()), self.cut - 1)
        block[(ys == self.first - 2) | (ys == self.last + 2)] = wall
        block[:, (xs == -2) | (xs == width + 1)] = wall
        generator = contour_generator(xs.astype(float), ys.astype(float), block, name="serial", line_type="Separate")
        lines: Any = generator.lines(self.cut)
        return lines


def signed_area(ring: Ring) -> float:
    """Return the area inside a ring, in square pixels: positive for an outline, negative for a hole."""
    x, y = ring[:, 0] - ring[0, 0], ring[:, 1] - ring[0, 1]  # near 0, for the sake of precision
    return float(0.5 * np.sum(x[:-1] * y[1:] - x[1:] * y[:-1]))


class _OpenLines:
    """Pieces of rings, by the grid edges where they begin and end; foreground is always on the same side of them."""

    def __init__(self) -> None:
        self.points = 0
        self._by_start: dict[_Key, tuple[list[Ring], _Key]] = {}
        self._start_of: dict[_Key, _Key] = {}  # end -> start

    def add(self, line: Ring) -> Ring | None:
        """Take a line of a block; return the ring that it closes, if it does."""
        if np.array_equal(line[0], line[-1]):
            return line
        start, end = _edge(line[0]), _edge(line[-1])
        parts = [line]
        if start in self._start_of:
            before = self._start_of.pop(start)
            if before == end:  # the other end of the same piece
                earlier, _ = self._by_start.pop(before)
                self.points -= sum(map(len, earlier))
                return _joined([*earlier, line])
            parts, start = [*self._by_start.pop(before)[0], line], before
        if end in self._by_start:
            later, last = self._by_start.pop(end)
            parts, end = [*parts, *later], last
        self.points += len(line)
        self._by_start[start] = (parts, end)
        self._start_of[end] = start
        return None


def _edge(point: npt.NDArray[np.float64]) -> _Key:
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


def _with_holes(outlines: list[Ring], holes: list[Ring]) -> Iterator[Polygon]:
    """Yield outlines with their holes, which are taken from ``holes``.

    A hole ends no later than the outline around it, so all of its holes are known when an outline is; the smallest
    outline around a hole is its own, so the small ones come first.
    """
    if not holes:
        yield from (Polygon(outline, ()) for outline in outlines)
        return
    shapely = needed("shapely")
    lows, highs = (np.array([getattr(hole, of)(axis=0) for hole in holes]) for of in ("min", "max"))
    points, free = np.array([hole[0] for hole in holes]), np.ones(len(holes), bool)
    for outline in sorted(outlines, key=signed_area):
        near = np.flatnonzero(free & (lows >= outline.min(axis=0)).all(1) & (highs <= outline.max(axis=0)).all(1))
        if len(near):
            area = shapely.Polygon(outline)
            shapely.prepare(area)  # an index of its edges: both they and the holes can be many
            near = near[shapely.contains_xy(area, points[near])]
            free[near] = False
        yield Polygon(outline, tuple(holes[at] for at in near))
    holes[:] = [holes[at] for at in np.flatnonzero(free)]
