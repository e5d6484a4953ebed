"""Mask and probability of a slide as tiled pyramids (BigTIFF), written tile by tile.

The mask has the size of the slide's level 0, 255 for foreground: logits are interpolated between network pixels, then
cut at the threshold, as for images. Each further level halves the one before; its pixel is foreground where at least
half of its area is. The probability (255 for 1) has the size of the network plane, because more is not known. Levels
are pages of their own marked as reduced, which OpenSlide, QuPath and libvips take for a pyramid.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
from PIL import Image

from scripts.core.errors import StateError
from scripts.core.optional import needed
from scripts.images.slide_files.box import Box
from scripts.slides.disk_plane import DiskPlane
from scripts.slides.grid import Grid
from scripts.slides.logits import BACKGROUND, UNIT

TILE = 512
FOREGROUND = 255
Pixels = npt.NDArray[np.uint8]


class Reductions:
    """The reduced levels of a pyramid, made on the disk while larger ones are written; for a ``with`` statement.

    Args:
        sizes: (height, width) of each level, the largest first; that one is not kept.
        scratch: folder for temporary files.
    """

    def __init__(self, sizes: list[tuple[int, int]], scratch: Path) -> None:
        self.sizes = sizes
        self._stack = ExitStack()
        self._planes: list[DiskPlane] = []
        try:
            for size in sizes[1:]:
                self._planes.append(DiskPlane(size, np.uint8, 0, scratch))
                self._stack.callback(self._planes[-1].close)
        except StateError:
            self._stack.close()
            raise

    def __enter__(self) -> Reductions:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def read(self, at: int, box: Box) -> Pixels:
        """Return a box of level ``at``, 1 or more."""
        return self._planes[at - 1].read(box)

    def halve(self, at: int, box: Box, values: Pixels) -> None:
        """Put the mean of 2 x 2 pixels of a tile of level ``at`` into the next level, if there is one."""
        if at + 1 == len(self.sizes):
            return
        if values.any():
            even = np.pad(values, [(0, n % 2) for n in values.shape], mode="edge")
            half = np.asarray(Image.fromarray(even).reduce(2))
        else:
            half = np.zeros([-(-n // 2) for n in values.shape], np.uint8)
        top, left = box.top // 2, box.left // 2
        self._planes[at].write(Box(top, left, top + half.shape[0], left + half.shape[1]), half)


class Mask:
    """The mask of a slide, tile by tile.

    Args:
        logits: network plane in 1 / 1024.
        grid: of the slide.
        cut: between background and foreground, see :func:`scripts.slides.logits.cut_of`.
        reductions: of the slide's size.

    Attributes:
        foreground: pixels of level 0 among the tiles made so far.
    """

    def __init__(self, logits: DiskPlane, grid: Grid, cut: float, reductions: Reductions) -> None:
        self.logits, self.grid, self.cut, self.reductions = logits, grid, cut, reductions
        self.foreground = 0

    def tile(self, at: int, box: Box) -> Pixels:
        """Return 0 or 255 for a box of level ``at``; all of a level is to be asked for before the next."""
        if at == 0:
            mask = cover = self._full(box)
            self.foreground += int(np.count_nonzero(mask))
        else:
            cover = self.reductions.read(at, box)
            mask = np.where(cover > FOREGROUND // 2, np.uint8(FOREGROUND), np.uint8(0))
        self.reductions.halve(at, box, cover)
        return mask

    def small(self, longest: int) -> npt.NDArray[np.float32]:
        """Return the share of foreground of the whole slide, (h, w) in [0, 1], its longer side ``longest`` pixels.

        To be asked for when all tiles were made. A smaller slide keeps its size.
        """
        sizes = self.reductions.sizes
        at = max((at for at, size in enumerate(sizes) if max(size) >= longest), default=0)
        whole = Box(0, 0, *sizes[at])
        values = self._full(whole) if at == 0 else self.reductions.read(at, whole)
        by = min(1.0, longest / max(sizes[at]))
        height, width = (max(1, round(n * by)) for n in sizes[at])
        reduced = np.asarray(Image.fromarray(values).resize((width, height), Image.Resampling.BOX))
        return reduced.astype(np.float32) / np.float32(FOREGROUND)

    def _full(self, box: Box) -> Pixels:
        by, plane = self.grid.downsample, self.grid.plane
        rows = _between((box.top, box.bottom), by[0], plane[0])
        columns = _between((box.left, box.right), by[1], plane[1])
        source = Box(rows[0][0], columns[0][0], rows[1][-1] + 1, columns[1][-1] + 1)
        size = (int(box.size[0]), int(box.size[1]))
        if self.logits.is_blank(source):
            return np.zeros(size, np.uint8)
        values = self.logits.read(source)
        low, high = values.min() > self.cut, values.max() > self.cut
        if low == high:  # nothing to interpolate
            return np.full(size, FOREGROUND if high else 0, np.uint8)
        return np.where(_interpolated(values, rows, columns) > self.cut, np.uint8(FOREGROUND), np.uint8(0))


class Probability:
    """The probability of foreground, tile by tile, on the network plane; arguments as of :class:`Mask`."""

    def __init__(self, logits: DiskPlane, reductions: Reductions) -> None:
        self.logits, self.reductions = logits, reductions

    def tile(self, at: int, box: Box) -> Pixels:
        """Return 0 to 255 for a box of level ``at``; all of a level is to be asked for before the next."""
        values = self._full(box) if at == 0 else self.reductions.read(at, box)
        self.reductions.halve(at, box, values)
        return values

    def _full(self, box: Box) -> Pixels:
        values = self.logits.read(box)
        probability = 1 / (1 + np.exp(values.astype(np.float32) / -UNIT))
        return np.where(values == BACKGROUND, 0, np.rint(FOREGROUND * probability)).astype(np.uint8)


def write_pyramid(
    file: BinaryIO,
    sizes: list[tuple[int, int]],
    tile: Callable[[int, Box], Pixels],
    about: Mapping[str, Any],
    mpp: tuple[float, float] | None,
) -> None:
    """Write 8-bit grey levels as BigTIFF, tiled, with zlib.

    Args:
        file: open for writing.
        sizes: (height, width) of each level, the largest first.
        tile: gives the pixels of a box of a level. Boxes come row by row, level after level.
        about: JSON values for the description.
        mpp: micrometres per pixel of the first level, (y, x), if known.
    """
    tifffile = needed("tifffile")
    with tifffile.TiffWriter(file, bigtiff=True) as writer:
        for at, size in enumerate(sizes):
            reduced = [full / part for full, part in zip(sizes[0], size, strict=True)]
            resolution = {} if mpp is None else {
                "resolution": (1e4 / mpp[1] / reduced[1], 1e4 / mpp[0] / reduced[0]), "resolutionunit": "CENTIMETER"
            }  # fmt: skip
            writer.write(
                _tiles(at, size, tile),
                shape=size,
                dtype=np.uint8,
                tile=(TILE, TILE),
                compression="zlib",
                photometric="minisblack",
                subfiletype=int(at > 0),
                description=json.dumps(about, allow_nan=False) if at == 0 else None,
                software="weak-annotator-active-learning",
                metadata=None,
                maxworkers=1,  # more would hold tiles in a queue
                **resolution,
            )


def level_sizes(size: tuple[int, int]) -> list[tuple[int, int]]:
    """Return the sizes of a pyramid of factor 2, down to a level that fits into one tile."""
    sizes = [size]
    while max(sizes[-1]) > TILE:
        height, width = sizes[-1]
        sizes.append((-(-height // 2), -(-width // 2)))
    return sizes


def _tiles(at: int, size: tuple[int, int], tile: Callable[[int, Box], Pixels]) -> Iterator[Pixels]:
    """Yield the tiles of a level, row by row, all of full size: a TIFF has no smaller ones."""
    for top in range(0, size[0], TILE):
        for left in range(0, size[1], TILE):
            values = tile(at, Box(top, left, min(top + TILE, size[0]), min(left + TILE, size[1])))
            if values.shape == (TILE, TILE):
                yield values
                continue
            padded = np.zeros((TILE, TILE), np.uint8)
            padded[: values.shape[0], : values.shape[1]] = values
            yield padded


Between = tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], npt.NDArray[np.float32]]


def _between(span: tuple[float, float], factor: float, length: int) -> Between:
    """Return, for each pixel of a span of the slide, the two network pixels around it and the weight of the second.

    Pixels are areas (as torch does with ``align_corners=False``); beyond the first and last network pixel their value
    goes on.
    """
    place = np.clip((np.arange(int(span[0]), int(span[1])) + 0.5) / factor - 0.5, 0, length - 1)
    first = place.astype(np.intp)
    return first, np.minimum(first + 1, length - 1), (place - first).astype(np.float32)


def _interpolated(values: npt.NDArray[np.int16], rows: Between, columns: Between) -> npt.NDArray[np.float32]:
    """Return bilinearly interpolated values; indices count from the first row and column of ``values``."""
    found = values.astype(np.float32)
    if rows[2].any():
        first, second, weight = rows[0] - rows[0][0], rows[1] - rows[0][0], rows[2][:, None]
        found = found[first] * (1 - weight) + found[second] * weight
    else:
        found = found[rows[0] - rows[0][0]]
    first, second, weight = columns[0] - columns[0][0], columns[1] - columns[0][0], columns[2]
    if not weight.any():
        return found[:, first]
    return found[:, first] * (1 - weight) + found[:, second] * weight
