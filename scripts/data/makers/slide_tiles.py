"""Which regions of a slide make a pool: on a grid, with tissue, and none that looks like one that was taken."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from scripts.core.errors import InputError, Problem
from scripts.images.slide_files.box import Box
from scripts.images.slide_files.reader import Slide
from scripts.images.slide_files.tissue import BLACK, WHITE, empty_pixels

_PREVIEW = 96  # pixels of a region, at least, by which tissue and likeness are judged
_SHADES = 8  # per channel, of the histogram


@dataclass(frozen=True)
class TileRule:
    """How a slide is cut.

    Attributes:
        tile: sides of a region in pixels of its image.
        mpp: micrometres per pixel of that image; None takes pixels of level 0.
        slide_mpp: micrometres per pixel of level 0, in place of what the slides say.
        min_tissue: least share of tissue in a region, in [0, 1].
        thin: least distance of colours between two regions of a slide, in [0, 1]; 0 keeps all.
        most: regions of a slide at most; None for all.
        white: see :func:`scripts.images.slide_files.tissue.empty_pixels`.
        black: likewise.

    Raises:
        InputError: a value out of its range.
    """

    tile: int = 512
    mpp: float | None = None
    slide_mpp: float | None = None
    min_tissue: float = 0.5
    thin: float = 0.1
    most: int | None = None
    white: int = WHITE
    black: int = BLACK

    def __post_init__(self) -> None:
        checks = (
            ("tile", 32 <= self.tile <= 8192, "32 to 8192 pixels", self.tile),
            ("mpp", self.mpp is None or self.mpp > 0, "micrometres above 0", self.mpp),
            ("slide_mpp", self.slide_mpp is None or self.slide_mpp > 0, "micrometres above 0", self.slide_mpp),
            ("min_tissue", 0 <= self.min_tissue <= 1, "0 to 1", self.min_tissue),
            ("thin", 0 <= self.thin <= 1, "0 to 1", self.thin),
            ("most", self.most is None or self.most >= 1, "1 or more", self.most),
        )
        problems = [Problem("out of range", f"--{n}", expected, str(v)) for n, good, expected, v in checks if not good]
        if problems:
            raise InputError(problems)

    def downsample(self, slide: Slide) -> tuple[float, float]:
        """Return pixels of level 0 per pixel of a region, (y, x); ``InputError`` where the slide's are not known."""
        if self.mpp is None:
            return 1.0, 1.0
        found = slide.mpp if self.slide_mpp is None else (self.slide_mpp, self.slide_mpp)
        if found is None:
            cure = "Give it with --slide_mpp, or leave --mpp out: a region then has pixels of level 0."
            raise InputError(
                Problem("size of the slide's pixels is not known", str(slide.path), "micrometres per pixel", cure=cure)
            )
        return self.mpp / found[0], self.mpp / found[1]


@dataclass(frozen=True)
class Tiles:
    """The regions that were chosen of one slide.

    Attributes:
        areas: in pixels of level 0, from top to bottom.
        level: that they are read from.
        places: on the grid.
        with_tissue: places that have enough of it.
    """

    areas: list[Box]
    level: int
    places: int
    with_tissue: int


def tiles_of(slide: Slide, rule: TileRule) -> Tiles:
    """Return the regions of a slide.

    The grid stands in the middle of the slide and has whole regions only. Of those with tissue the one with most of it
    comes first, then always the one that is farthest from all that were taken (Gonzalez 1985), until that is nearer
    than ``thin`` or there are ``most``. Distances are Hellinger's, of histograms of 8 x 8 x 8 colours.

    Raises:
        InputError: the slide cannot be read, is smaller than a region, or has pixels of unknown size.
    """
    by = rule.downsample(slide)
    level, side = slide.best_level(min(by)), (max(1, round(rule.tile * by[0])), max(1, round(rule.tile * by[1])))
    rows, columns = slide.size[0] // side[0], slide.size[1] // side[1]
    if not rows or not columns:
        found = f"{slide.size[1]} x {slide.size[0]}"
        cure = "Take a smaller --tile or --mpp."
        raise InputError(
            Problem("slide is smaller than a region", str(slide.path), f"{side[1]} x {side[0]} pixels", found, cure)
        )
    first = (slide.size[0] - rows * side[0]) // 2, (slide.size[1] - columns * side[1]) // 2
    fit: list[tuple[Box, float, np.ndarray]] = []
    for row in range(rows):
        for column in range(columns):
            top, left = first[0] + row * side[0], first[1] + column * side[1]
            area = Box(top, left, top + side[0], left + side[1])
            small = _preview(slide, area, rule.tile)
            empty = empty_pixels(small, rule.white, rule.black)
            share = 1.0 - float(empty.mean())
            if share >= rule.min_tissue:
                fit.append((area, share, _root_histogram(small)))
    shares, roots = np.array([share for _, share, _ in fit]), np.array([root for _, _, root in fit])
    chosen = _apart(shares, roots, rule) if fit else []
    return Tiles([fit[at][0] for at in sorted(chosen)], level, rows * columns, len(fit))


def _preview(slide: Slide, area: Box, tile: int) -> npt.NDArray[np.uint8]:
    """Return a region small, from the smallest level that suffices."""
    height, width = (round(min(_PREVIEW, tile) * side / max(area.size)) or 1 for side in area.size)
    level = slide.best_level(min(area.size) / _PREVIEW)
    levels = slide.levels[level].size
    by = (levels[0] / slide.size[0], levels[1] / slide.size[1])
    source = area.scaled(by)
    top, left = min(int(source.top), levels[0] - 1), min(int(source.left), levels[1] - 1)
    pixels = slide.read(level, Box(top, left, max(round(source.bottom), top + 1), max(round(source.right), left + 1)))
    return np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.BOX))


def _root_histogram(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Return the square roots of the shares of 8 x 8 x 8 colours, float32 (512,)."""
    shade = (pixels // (256 // _SHADES)).astype(np.int64)
    number = (shade[..., 0] * _SHADES + shade[..., 1]) * _SHADES + shade[..., 2]
    counts = np.bincount(number.ravel(), minlength=_SHADES**3)
    return np.sqrt(counts / number.size).astype(np.float32)


def _apart(shares: np.ndarray, roots: np.ndarray, rule: TileRule) -> list[int]:
    """Return which regions are taken, see :func:`tiles_of`; of equals the first.

    Args:
        shares: of tissue, (N,).
        roots: of histograms, (N, 512).
        rule: ``thin`` and ``most``.
    """
    chosen = [int(np.argmax(shares))]
    nearest = _distance(roots, roots[chosen[0]])
    nearest[chosen[0]] = -1.0
    while len(chosen) < min(len(shares), rule.most or len(shares)):
        at = int(np.argmax(nearest))
        if nearest[at] < rule.thin:
            break
        chosen.append(at)
        nearest = np.minimum(nearest, _distance(roots, roots[at]))
        nearest[at] = -1.0
    return chosen


def _distance(roots: np.ndarray, root: np.ndarray) -> np.ndarray:
    """Return Hellinger's distances in [0, 1], to six digits so that they do not depend on the order of sums."""
    return np.round(np.sqrt(np.clip(1.0 - roots.astype(np.float64) @ root.astype(np.float64), 0.0, 1.0)), 6)
