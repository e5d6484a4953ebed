"""Where a slide is bare glass: no mask there, whatever the network says about something it never saw in training.

Training images are cut from tissue, so that a network knows the white of a lumen or a tear, but not of a slide
without tissue. **The rule.** Empty pixels (see :mod:`scripts.slides.tiles`) are glass if they belong to an empty
region larger than a whole training image. Regions are found on a map of at most 2048 x 2048 cells, whose cells are
empty if nine tenths of them are; they touch by sides or corners. Around a region, within one cell, empty pixels are
glass too.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image

from scripts.images.regions import connected_components, grown
from scripts.images.slide_files.box import Box
from scripts.slides.grid import Grid, Tile
from scripts.slides.tiles import PREVIEW

_LONGEST = 2048
_EMPTY_SHARE = 0.9


class GlassMap:
    """The empty regions of one slide.

    Args:
        grid: of the slide.
        least: square network pixels of a region that is glass.
    """

    def __init__(self, grid: Grid, least: float) -> None:
        by = min(1.0, PREVIEW / grid.side, _LONGEST / max(grid.plane))  # no finer than what is given
        self.plane, self.least = grid.plane, least
        self.shape = (max(1, round(grid.plane[0] * by)), max(1, round(grid.plane[1] * by)))
        self._empty = np.zeros(self.shape, bool)
        self._near: npt.NDArray[np.bool_] | None = None

    def add(self, tile: Tile, empty: npt.NDArray[np.bool_]) -> None:
        """Put in which pixels (h, w) of a tile's kept part are empty, of which PREVIEW a side suffice."""
        box = self._on_map(tile.kept)
        height, width = (int(n) for n in box.size)
        if height < 1 or width < 1:
            return
        share = Image.fromarray(empty.astype(np.float32)).resize((width, height), Image.Resampling.BOX)
        self._empty[box.slices()] = np.asarray(share) >= _EMPTY_SHARE

    def settle(self) -> None:
        """Find the regions; to be called when all tiles are in."""
        cell = self.plane[0] * self.plane[1] / (self.shape[0] * self.shape[1])
        numbers = connected_components(self._empty)
        large = np.bincount(numbers.ravel()) * cell >= self.least
        large[0] = False  # what is not empty
        self._near = grown(large[numbers])

    def pixels(self, box: Box, empty: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        """Return which of the empty pixels (h, w) of a box of the network plane are glass."""
        if self._near is None:
            raise RuntimeError("settle() comes first")
        rows, columns = (
            np.arange(int(low), int(high)) * cells // length
            for low, high, cells, length in zip(box[:2], box[2:], self.shape, self.plane, strict=True)
        )
        return empty & self._near[rows[:, None], columns]

    def _on_map(self, box: Box) -> Box:
        by = (self.shape[0] / self.plane[0], self.shape[1] / self.plane[1])
        return Box(*(round(value) for value in box.scaled(by)))
