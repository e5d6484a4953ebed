"""Tiles of a slide as they are read: what the network is shown, and whether there is any tissue to show.

**The rule for background.** A pixel is empty if its darkest channel is at least ``white``, or its brightest at most
``black`` (scanners paint either where there is no tissue, and a transparent pixel is white). A tile is background if
less than ``min_tissue`` of its kept part is not empty. That is decided for all tiles before the first is read at full
size, on a small level where the slide has one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image

from scripts.core.errors import InputError, Problem
from scripts.images.slide_files.box import Box
from scripts.images.slide_files.reader import Slide
from scripts.images.slide_files.tissue import BLACK, WHITE, empty_pixels
from scripts.slides.grid import Grid, Tile

PREVIEW = 96
"""Pixels per tile, at least, by which tissue is told from background."""
_USUAL_AREA = 256.0 * 256.0


@dataclass(frozen=True)
class BackgroundRule:
    """Which tiles are left out, see the module.

    Attributes:
        white: least value of the darkest channel of an empty pixel, 0 to 255; 256 takes no pixel to be white.
        black: greatest value of the brightest channel of an empty pixel; -1 takes no pixel to be black.
        min_tissue: least share of tissue in a tile that is predicted, in [0, 1]; 0 predicts every tile.
        glass: square network pixels beyond which an empty region gets no mask (:mod:`scripts.slides.glass`); None is
            the area of a training image, 0 predicts empty regions like any other.

    Raises:
        InputError: a value out of its range.
    """

    white: int = WHITE
    black: int = BLACK
    min_tissue: float = 0.005
    glass: float | None = None

    def __post_init__(self) -> None:
        checks = (
            ("white", 0 <= self.white <= 256, "0 to 256", self.white),
            ("black", -1 <= self.black <= 255, "-1 to 255", self.black),
            ("min_tissue", 0 <= self.min_tissue <= 1, "0 to 1", self.min_tissue),
            ("glass", self.glass is None or self.glass >= 0, "0 or more square pixels, or null", self.glass),
        )
        problems = [Problem("out of range", f"background#{n}", e, str(f)) for n, good, e, f in checks if not good]
        if problems:
            raise InputError(problems)

    def empty(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
        """Return which pixels (H, W) of (H, W, 3) are empty."""
        return empty_pixels(pixels, self.white, self.black)

    def least_glass(self, image_size: tuple[int, int] | None) -> float:
        """Return the square network pixels from which an empty region is glass; 0 where none is."""
        if self.glass is not None:
            return self.glass
        return float(np.prod(image_size)) if image_size is not None else _USUAL_AREA


@dataclass(frozen=True)
class Preview:
    """The kept part of a tile, small.

    Attributes:
        tile: where it is.
        pixels: uint8 (h, w, 3).
        empty: bool (h, w), which pixels are empty.
    """

    tile: Tile
    pixels: npt.NDArray[np.uint8]
    empty: npt.NDArray[np.bool_]

    @property
    def tissue(self) -> float:
        """Share of tissue, in [0, 1]."""
        return 1.0 - float(self.empty.mean())


@dataclass(frozen=True)
class ReadTile:
    """A tile with what the network is shown.

    Attributes:
        tile: where it is.
        tissue: share of tissue in its kept part, in [0, 1].
        pixels: uint8 (H, W, 3), its window at the network's resolution.
    """

    tile: Tile
    tissue: float
    pixels: npt.NDArray[np.uint8]


class TileReader:
    """Reads the tiles of one slide: all of them small, then at full size those that have tissue.

    Args:
        slide: open.
        grid: of the slide.
        rule: what is background.

    Attributes:
        level: that windows are read from: the smallest that is as fine as the network plane.
    """

    def __init__(self, slide: Slide, grid: Grid, rule: BackgroundRule) -> None:
        self.slide, self.grid, self.rule = slide, grid, rule
        self.level = slide.best_level(min(grid.downsample))
        self._small = slide.best_level(min(grid.downsample) * grid.side / PREVIEW)

    def preview(self, tile: Tile) -> Preview:
        """Return a tile as the small level shows it; ``InputError`` where the slide is damaged."""
        kept = self.slide.read(self._small, self._on_level(tile.kept))
        small = np.asarray(Image.fromarray(kept).reduce(max(1, min(kept.shape[:2]) // PREVIEW)))
        return Preview(tile, small, self.rule.empty(small))

    def read(self, tile: Tile, tissue: float) -> ReadTile:
        """Return a tile at full size; ``InputError`` where the slide is damaged."""
        return ReadTile(tile, tissue, self.slide.read_resized(self.level, tile.window, self.grid.plane))

    def previews(self, workers: int = 0) -> Generator[Preview, None, None]:
        """Yield every tile of the grid in its order, small."""
        yield from _in_order(self.preview, ((tile,) for tile in self.grid), workers)

    def read_all(self, tiles: Iterable[tuple[Tile, float]], workers: int = 0) -> Generator[ReadTile, None, None]:
        """Yield tiles at full size, in their order.

        Args:
            tiles: each with its share of tissue.
            workers: threads that read ahead, a tile or two each; 0 reads when a tile is asked for.
        """
        yield from _in_order(self.read, tiles, workers)

    def _on_level(self, box: Box) -> Box:
        """Return a box of the network plane as whole pixels of the small level, at least one."""
        size = self.slide.levels[self._small].size
        found = box.scaled((size[0] / self.grid.plane[0], size[1] / self.grid.plane[1]))
        top, left = min(int(found.top), size[0] - 1), min(int(found.left), size[1] - 1)
        return Box(top, left, max(round(found.bottom), top + 1), max(round(found.right), left + 1))


T = TypeVar("T")


def _in_order(call: Callable[..., T], arguments: Iterable[tuple[Any, ...]], workers: int) -> Generator[T, None, None]:
    """Yield what the calls return in their order; ``workers`` threads make them ahead of time."""
    if workers < 1:
        for one in arguments:
            yield call(*one)
        return
    waiting = iter(arguments)
    with ThreadPoolExecutor(workers) as pool:
        ahead: deque[Future[T]] = deque(pool.submit(call, *one) for one in islice(waiting, 2 * workers))
        try:
            while ahead:
                found = ahead.popleft().result()
                ahead.extend(pool.submit(call, *one) for one in islice(waiting, 1))
                yield found
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
