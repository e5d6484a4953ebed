"""One picture per slide: its thumbnail with the outlines of the foreground, tiles that were left out in grey."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from contourpy import contour_generator
from PIL import Image, ImageDraw, ImageFont

from scripts.slide_grid import Box, Grid, Tile

_TITLE_ROW, _GAP = 34, 8
_INK, _PAPER, _RIM = (30, 30, 30), (255, 255, 255), (0, 0, 0)
_LEFT_OUT = 0.85  # light that is left of tiles that were not predicted


class Overview:
    """The thumbnail of a slide, put together while its tiles are read.

    Args:
        grid: of the slide.
        longest: pixels of its longer side.
    """

    def __init__(self, grid: Grid, longest: int) -> None:
        by = min(1.0, longest / max(grid.slide))
        self.size = (max(1, round(grid.slide[0] * by)), max(1, round(grid.slide[1] * by)))
        self.grid = grid
        self._pixels = np.full((*self.size, 3), 255, np.uint8)

    def add(self, tile: Tile, preview: npt.NDArray[np.uint8], predicted: bool) -> None:
        """Put in a tile's kept part (h, w, 3), of whatever size it has."""
        box = self._place(tile.kept)
        height, width = (int(n) for n in box.size)
        if height < 1 or width < 1:
            return
        small = np.asarray(Image.fromarray(preview).resize((width, height), Image.Resampling.BOX))
        self._pixels[box.slices()] = small if predicted else (_LEFT_OUT * small).astype(np.uint8)

    def picture(self, cover: npt.NDArray[np.float32], title: str, name: str, colour: Sequence[int]) -> Image.Image:
        """Return the picture.

        Args:
            cover: (h, w) in [0, 1], share of foreground of the whole slide.
            title: line above it.
            name: of the foreground, for the legend.
            colour: (red, green, blue) of the outlines.
        """
        height, width = self.size
        sheet = Image.new("RGB", (width + 2 * _GAP, height + _TITLE_ROW + _GAP), _PAPER)
        thumbnail = Image.fromarray(self._pixels)
        draw = ImageDraw.Draw(thumbnail)
        lines = list(_outlines(cover, self.size))
        for thickness, ink in ((4, _RIM), (2, tuple(int(value) for value in colour))):
            for line in lines:
                draw.line(line, ink, thickness, joint="curve")
        sheet.paste(thumbnail, (_GAP, _TITLE_ROW))
        _write_title(sheet, title, name, tuple(int(value) for value in colour))
        return sheet

    def _place(self, box: Box) -> Box:
        by = (self.size[0] / self.grid.plane[0], self.size[1] / self.grid.plane[1])
        return Box(*(round(value) for value in box.scaled(by)))


def _outlines(cover: npt.NDArray[np.float32], size: tuple[int, int]) -> Iterable[list[tuple[float, float]]]:
    """Yield lines of (x, y) in pixels of a picture of ``size`` where the cover is a half."""
    padded = np.pad(cover, 1)  # so that what touches the border has an outline too
    by = (size[1] / cover.shape[1], size[0] / cover.shape[0])
    lines: Any = contour_generator(z=padded, name="serial", line_type="Separate").lines(0.5)
    for line in lines:
        yield [(float((x - 0.5) * by[0]), float((y - 0.5) * by[1])) for x, y in line]


def _write_title(sheet: Image.Image, title: str, name: str, colour: tuple[int, ...]) -> None:
    draw, middle = ImageDraw.Draw(sheet), _TITLE_ROW / 2
    large, small = ImageFont.load_default(17), ImageFont.load_default(14)
    legend = small.getlength(name) + 18
    start = sheet.width - _GAP - legend
    while title and large.getlength(title) > start - 2 * _GAP:
        title = title[:-2] + "…" if len(title) > 2 else ""
    draw.text((_GAP, middle), title, _INK, large, anchor="lm")
    draw.rectangle((start, middle - 6, start + 12, middle + 6), colour, _RIM)
    draw.text((start + 18, middle), name, _INK, small, anchor="lm")
