"""A synthetic whole slide of any size, written tile by tile: a section of the demo tissue on an empty background.

``python -m scripts.data.demo slide slide.tif --side 20000`` writes a tiled pyramid as scanners do, for trying and
measuring the prediction of slides. The section is a mosaic of fields drawn by :mod:`scripts.data.demo.tissue` in the
stain of one patient, benign on the left and malignant on the right; a field is repeated where the mosaic has more
places than fields.
"""

from __future__ import annotations

import dataclasses
import logging
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from scripts.core.errors import InputError, Problem
from scripts.core.files import atomic_file
from scripts.core.optional import needed
from scripts.core.seeds import numpy_generator
from scripts.data.demo.tissue import CLASSES, random_slide, render_tissue

logger = logging.getLogger(__name__)

FIELD = (192, 256)
TILE = 256
REDUCTION = 4
_WAVES = ((3, 0.05, 0.4), (5, 0.03, 2.0), (9, 0.02, 4.1))  # of the section's outline: number, height, phase


class Mosaic:
    """A square slide of demo tissue, asked for region by region; nothing of it is kept but its fields.

    Args:
        side: pixels.
        seed: of stain, fields and their places.
        fields: drawn per class.
        malignant: share of the columns, from the right, that are malignant.
    """

    def __init__(self, side: int, seed: int = 0, fields: int = 24, malignant: float = 0.5) -> None:
        self.side, self._benign = side, side * (1.0 - malignant)
        rng = numpy_generator(seed, "demo", "slide")
        slide = dataclasses.replace(random_slide(rng), zoom=1.0, blur=0.0, grain=0.0)
        self._fields = [[render_tissue(kind, FIELD, slide, rng, place) for place in range(fields)] for kind in CLASSES]
        glass = slide.white + rng.normal(0, 0.7, (*FIELD, 3))
        self._glass = np.clip(np.rint(glass), 0, 255).astype(np.uint8)
        rows, columns = -(-side // FIELD[0]), -(-side // FIELD[1])
        self._chosen = rng.integers(fields, size=(rows, columns))
        self._flipped = rng.integers(4, size=(rows, columns))

    def region(self, top: int, left: int, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
        """Return a region's pixels, uint8 (height, width, 3) RGB, and its mask, bool (height, width).

        What lies beyond the slide repeats its last row and column.
        """
        image = np.empty((height, width, 3), np.uint8)
        mask = np.zeros((height, width), bool)
        bottom, right = min(top + height, self.side), min(left + width, self.side)
        for row in range(top // FIELD[0], -(-bottom // FIELD[0])):
            for column in range(left // FIELD[1], -(-right // FIELD[1])):
                y, x = row * FIELD[0], column * FIELD[1]
                ys, xs = slice(max(top, y), min(bottom, y + FIELD[0])), slice(max(left, x), min(right, x + FIELD[1]))
                here = (slice(ys.start - top, ys.stop - top), slice(xs.start - left, xs.stop - left))
                there = (slice(ys.start - y, ys.stop - y), slice(xs.start - x, xs.stop - x))
                pixels, truth = self._field(row, column)
                inside = self._section(ys, xs)
                image[here] = np.where(inside[..., None], pixels[there], self._glass[there])
                mask[here] = inside & (truth[there] > 0)
        for axis, known in ((0, bottom - top), (1, right - left)):
            _repeat_last(image, axis, known)
            _repeat_last(mask, axis, known)
        return image, mask

    def _field(self, row: int, column: int) -> tuple[np.ndarray, np.ndarray]:
        kind = int((column + 0.5) * FIELD[1] > self._benign)
        pixels, truth = self._fields[kind][self._chosen[row, column]]
        turned = self._flipped[row, column]
        step = (slice(None, None, -1 if turned & 1 else 1), slice(None, None, -1 if turned & 2 else 1))
        return pixels[step], truth[step]

    def _section(self, ys: slice, xs: slice) -> np.ndarray:
        """Tell where the section is, bool: a disc with a wavy outline."""
        y = (np.arange(ys.start, ys.stop, dtype=np.float32)[:, None] + 0.5) / self.side - 0.5
        x = (np.arange(xs.start, xs.stop, dtype=np.float32)[None] + 0.5) / self.side - 0.5
        corners = np.hypot(y[[0, 0, -1, -1], 0], x[0, [0, -1, 0, -1]])
        spread = sum(height for _, height, _ in _WAVES)
        if corners.max() < 0.44 * (1 - spread) or np.hypot(np.abs(y).min(), np.abs(x).min()) > 0.44 * (1 + spread):
            return np.full((len(y), x.shape[1]), bool(corners.max() < 0.44))
        angle = np.arctan2(y, x)
        waves = sum(height * np.cos(number * angle + phase) for number, height, phase in _WAVES)
        return np.hypot(y, x) < 0.44 * (1 + waves)


def write_slide(
    out: str,
    side: int = 20000,
    seed: int = 0,
    fields: int = 24,
    levels: int = 3,
    mpp: float | None = 0.5,
    mask: str | None = None,
    malignant: float = 0.5,
) -> Path:
    """Write a slide and return its path. Memory does not depend on its size.

    Args:
        out: name of the TIFF.
        side: pixels of both sides.
        seed: another seed gives other tissue and stain.
        fields: different pictures per class that the section is made of.
        levels: of the pyramid, each a quarter of the one before in both directions; 1 for none but the full one.
        mpp: micrometres per pixel to write down; None for none.
        mask: name of a TIFF for what is foreground in it, 0 and 255; None writes none.
        malignant: share of the slide, from the right, that is malignant, in [0, 1]; the rest is benign.

    Raises:
        InputError: an argument is out of range, or tifffile is missing.
        StateError: the file cannot be written.
    """
    _check(side, levels, fields, malignant)
    tifffile = needed("tifffile")
    mosaic = Mosaic(side, seed, fields, malignant)
    path = Path(out)
    with atomic_file(path) as file, tifffile.TiffWriter(file, bigtiff=True) as writer:
        for level in range(levels):
            reduced = REDUCTION**level
            length = -(-side // reduced)
            resolution = {} if mpp is None else {"resolution": (1e4 / mpp / reduced,) * 2, "resolutionunit": 3}
            writer.write(
                _tiles(mosaic, length, reduced),
                shape=(length, length, 3),
                dtype=np.uint8,
                tile=(TILE, TILE),
                subfiletype=int(level > 0),
                metadata=None,
                compression="zlib",  # of the codecs that need no further package, the one that OpenSlide reads too
                photometric="rgb",
                **resolution,
            )
    if mask is not None:
        with atomic_file(Path(mask)) as file, tifffile.TiffWriter(file, bigtiff=True) as writer:
            settings = {"tile": (TILE, TILE), "metadata": None, "compression": "zlib", "photometric": "minisblack"}
            writer.write(_masks(mosaic), shape=(side, side), dtype=np.uint8, **settings)
    logger.info("wrote %s: %d x %d pixels, %d levels", path, side, side, levels)
    return path


def _masks(mosaic: Mosaic) -> Iterator[bytes]:
    """Yield the encoded tiles of the mask, row by row."""
    for top in range(0, mosaic.side, TILE):
        for left in range(0, mosaic.side, TILE):
            yield zlib.compress((mosaic.region(top, left, TILE, TILE)[1] * np.uint8(255)).tobytes(), 1)


def _tiles(mosaic: Mosaic, length: int, reduced: int) -> Iterator[bytes]:
    """Yield the encoded tiles of a level, row by row."""
    for top in range(0, length, TILE):
        for left in range(0, length, TILE):
            image, _ = mosaic.region(top * reduced, left * reduced, TILE * reduced, TILE * reduced)
            yield zlib.compress(Image.fromarray(image).reduce(reduced).tobytes(), 1)


def _repeat_last(values: np.ndarray, axis: int, known: int) -> None:
    """Fill what lies behind the first ``known`` rows (axis 0) or columns (1) with the last of them."""
    moved = values.swapaxes(0, axis)
    moved[known:] = moved[known - 1]


def _check(side: int, levels: int, fields: int, malignant: float) -> None:
    problems = [
        Problem("out of range", f"--{name}", f"at least {least}", str(value))
        for name, value, least in (("side", side, 64), ("levels", levels, 1), ("fields", fields, 1))
        if value < least
    ]
    if not 0 <= malignant <= 1:
        problems.append(Problem("out of range", "--malignant", "0 to 1", str(malignant)))
    if problems:
        raise InputError(problems)
