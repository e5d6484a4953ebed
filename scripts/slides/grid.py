"""Geometry of a slide: how much it is reduced for the network, and the tiles it is predicted in. No pixels here.

Two planes: the *slide*, pixels of its level 0, and the *network plane*, the same area in pixels as the network sees
them. Boxes are half open and (top, left, bottom, right); sizes are (height, width).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from scripts.core.errors import InputError, Problem
from scripts.images.slide_files.box import Box
from scripts.networks.model_file import ModelInfo


@dataclass(frozen=True)
class Scale:
    """How large a slide is shown to the network: as large as the images it learned from.

    Those were resized from their own size, ``native_size``, to the model's ``image_size``. A slide is reduced by the
    same factors; where its pixels have another size than those of the training images, ``mpp`` corrects for that.

    Attributes:
        native_size: (height, width) in pixels that training images had; None takes the one stored with the model.
        mpp: micrometres per pixel of the training images at that size; None takes the slide's pixels to be as large.
        slide_mpp: micrometres per pixel of the slides, in place of what their files say.

    Raises:
        InputError: a value out of its range.
    """

    native_size: Sequence[int] | None = None
    mpp: float | None = None
    slide_mpp: float | None = None

    def __post_init__(self) -> None:
        size = self.native_size
        checks: tuple[tuple[str, bool, str, Any], ...] = (
            ("native_size", size is None or (len(size) == 2 and min(size) > 0), "[height, width], or null", size),
            ("mpp", self.mpp is None or self.mpp > 0, "micrometres, or null", self.mpp),
            ("slide_mpp", self.slide_mpp is None or self.slide_mpp > 0, "micrometres, or null", self.slide_mpp),
        )
        problems = [Problem("cannot be used", name, expected, str(found)) for name, good, expected, found in checks
                    if not good]  # fmt: skip
        if problems:
            raise InputError(problems)

    def downsample(self, info: ModelInfo, slide_mpp: tuple[float, float] | None, where: str) -> tuple[float, float]:
        """Return slide pixels per network pixel, (y, x).

        Args:
            info: of the model.
            slide_mpp: what the slide's file says, (y, x) micrometres per pixel; None where it says nothing.
            where: the slide, for messages.

        Raises:
            InputError: the size of the training images, or that of the slide's pixels, is needed and not known.
        """
        factors = self.training_factors(info)
        if self.mpp is None:
            return factors
        pixel = slide_mpp if self.slide_mpp is None else (self.slide_mpp, self.slide_mpp)
        if pixel is None:
            cure = "Give it with --slide_mpp, or take --mpp away if slides and training images have pixels of one size."
            raise InputError(
                Problem("size of the slide's pixels is not known", where, "micrometres per pixel", cure=cure)
            )
        return factors[0] * self.mpp / pixel[0], factors[1] * self.mpp / pixel[1]

    def training_factors(self, info: ModelInfo) -> tuple[float, float]:
        """Return how many times training images were reduced, (y, x); ``InputError`` where that is not known."""
        if info.image_size is None:  # images were not resized
            return 1.0, 1.0
        native = self.native_size or getattr(info, "native_size", None)
        if native is None:
            cure = 'Give the (height, width) that training images had in their files: --native_size "[522, 775]".'
            raise InputError(
                Problem("scale of the model is not known", "native_size", "a size in pixels", "none", cure)
            )
        return native[0] / info.image_size[0], native[1] / info.image_size[1]


@dataclass(frozen=True)
class Tile:
    """A part of the network plane.

    Attributes:
        row: of the tile in its grid; ``column`` likewise.
        kept: box whose prediction is kept; the kept boxes of a grid cover the plane once.
        window: box that the network is shown: the kept one and its surroundings, as far as the slide goes.
    """

    row: int
    column: int
    kept: Box
    window: Box


@dataclass(frozen=True)
class Grid:
    """The tiles of a slide.

    Attributes:
        slide: size of the slide.
        plane: size of the network plane.
        side: of a tile's kept box, network pixels.
        margin: surroundings on each side, network pixels.
    """

    slide: tuple[int, int]
    plane: tuple[int, int]
    side: int
    margin: int

    @classmethod
    def of(cls, slide: tuple[int, int], downsample: tuple[float, float], side: int, margin: int) -> Grid:
        """Return the grid of a slide that is reduced by ``downsample`` (y, x), to whole pixels."""
        height, width = (max(1, round(n / by)) for n, by in zip(slide, downsample, strict=True))
        return cls(slide, (height, width), side, margin)

    def __post_init__(self) -> None:
        problems = [
            Problem("cannot be used", name, f"{least} or more network pixels", str(value))
            for name, value, least in (("tile", self.side, 1), ("margin", self.margin, 0))
            if value < least
        ]
        if problems:
            raise InputError(problems)

    @property
    def downsample(self) -> tuple[float, float]:
        """Slide pixels per network pixel, (y, x): as it is after rounding."""
        return self.slide[0] / self.plane[0], self.slide[1] / self.plane[1]

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of tiles."""
        return math.ceil(self.plane[0] / self.side), math.ceil(self.plane[1] / self.side)

    def __len__(self) -> int:
        return self.shape[0] * self.shape[1]

    def __iter__(self) -> Iterator[Tile]:
        height, width = self.plane
        for row in range(self.shape[0]):
            for column in range(self.shape[1]):
                top, left = row * self.side, column * self.side
                kept = Box(top, left, min(top + self.side, height), min(left + self.side, width))
                window = Box(
                    max(top - self.margin, 0),
                    max(left - self.margin, 0),
                    min(kept.bottom + self.margin, height),
                    min(kept.right + self.margin, width),
                )
                yield Tile(row, column, kept, window)
