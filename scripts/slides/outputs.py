"""The files of one predicted slide, all written before the first of them gets its name, and its picture.

The picture is the thumbnail with the outlines of the foreground; tiles that were left out are grey.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from contourpy import contour_generator
from PIL import Image, ImageDraw, ImageFont

from scripts.core.errors import InputError, Problem, StateError
from scripts.core.files import atomic_file
from scripts.core.result_files import Record, csv_bytes
from scripts.images.slide_files.box import Box
from scripts.networks.model_file import TrainedModel
from scripts.slides.contours import polygons
from scripts.slides.disk_plane import DiskPlane
from scripts.slides.geojson import FeatureWriter, PolygonRule
from scripts.slides.grid import Grid, Tile
from scripts.slides.logits import cut_of
from scripts.slides.pyramid import Mask, Probability, Reductions, level_sizes, write_pyramid

Mpp = tuple[float, float] | None


@dataclass(frozen=True)
class Outputs:
    """Which files are written besides mask and polygons.

    Attributes:
        probability: the pyramid of the probability.
        tile_table: a CSV with a row per tile.
        overview: pixels of the longer side of the picture; 0 for none.

    Raises:
        InputError: ``overview`` is negative.
    """

    probability: bool = False
    tile_table: bool = True
    overview: int = 2048

    def __post_init__(self) -> None:
        if self.overview < 0:
            raise InputError(Problem("out of range", "outputs#overview", "0 or more pixels", str(self.overview)))


@dataclass(frozen=True)
class Written:
    """What the files of a slide hold: pixels of foreground on level 0, and the number of polygons."""

    foreground: int
    polygons: int


@dataclass(frozen=True)
class Ending:
    """What is known of a slide when all of it is predicted: title of the picture, rows of the table of tiles."""

    title: str
    tiles: list[Record]


class SlideWriter:
    """Writes ``<name>_mask.tif``, ``<name>.geojson`` and the files of :class:`Outputs`.

    Args:
        folder: where to.
        outputs: which files.
        rule: of the polygons.
        model: that predicted.
        scratch: folder for temporary files.
    """

    def __init__(self, folder: Path, outputs: Outputs, rule: PolygonRule, model: TrainedModel, scratch: Path) -> None:
        self.folder, self.outputs, self.rule, self.model, self.scratch = folder, outputs, rule, model, scratch

    def write(
        self,
        name: str,
        logits: DiskPlane,
        grid: Grid,
        mpp: Mpp,
        overview: Overview | None,
        ending: Callable[[], Ending],
    ) -> Written:
        """Write the files of a slide, replacing earlier ones.

        Args:
            name: of the slide, with ``/`` between folders.
            logits: the network plane, int16 in 1 / 1024; it is read from the top for the polygons, then again.
            grid: of the slide.
            mpp: micrometres per pixel of level 0, (y, x), if known.
            overview: thumbnail; None for no picture.
            ending: asked when the pyramids and polygons are written.

        Raises:
            StateError: a file cannot be written.
        """
        cut, about = cut_of(self.model.info.threshold), self._about(name, grid)
        features = FeatureWriter(self.rule, grid, mpp, name)
        with ExitStack() as stack:
            # Files get their names when the stack unwinds: none does if the writing of any of them fails.
            files = {kind: stack.enter_context(atomic_file(self.folder / f"{name}{kind}")) for kind in self._kinds()}
            reductions = stack.enter_context(Reductions(level_sizes(grid.slide), self.scratch))
            mask = Mask(logits, grid, cut, reductions)
            try:
                features.write(files[".geojson"], polygons(logits, cut))  # first: it takes longest
                write_pyramid(files["_mask.tif"], reductions.sizes, mask.tile, {**about, "of": "mask"}, mpp)
                if "_probability.tif" in files:
                    self._write_probability(files["_probability.tif"], logits, grid, mpp, about)
                end = ending()
                if "_tiles.csv" in files:
                    files["_tiles.csv"].write(csv_bytes(end.tiles))
                if "_overview.png" in files and overview is not None:
                    cover = mask.small(self.outputs.overview)
                    picture = overview.picture(cover, end.title, self.rule.name, self.rule.colour)
                    picture.save(files["_overview.png"], format="PNG", compress_level=3)
            except OSError as error:
                cure = "Free space or give permission, then run the same command again."
                problem = Problem(f"results cannot be written ({error.strerror or error})", str(self.folder), cure=cure)
                raise StateError(problem) from error
        return Written(mask.foreground, features.count)

    def _kinds(self) -> list[str]:
        wanted = {
            "_mask.tif": True,
            ".geojson": True,
            "_probability.tif": self.outputs.probability,
            "_tiles.csv": self.outputs.tile_table,
            "_overview.png": self.outputs.overview > 0,
        }
        return [kind for kind, yes in wanted.items() if yes]

    def _write_probability(self, file: Any, logits: DiskPlane, grid: Grid, mpp: Mpp, about: dict[str, Any]) -> None:
        by = grid.downsample
        reduced = None if mpp is None else (mpp[0] * by[0], mpp[1] * by[1])
        with Reductions(level_sizes(grid.plane), self.scratch) as reductions:
            maker = Probability(logits, reductions)
            write_pyramid(file, reductions.sizes, maker.tile, {**about, "of": "probability x 255"}, reduced)

    def _about(self, name: str, grid: Grid) -> dict[str, Any]:
        """Return what is written into the description of a TIFF."""
        model = json.loads(self.model.info.to_json())
        return {
            "slide": name,
            "downsample": list(grid.downsample),
            "threshold": self.model.info.threshold,
            "model": model,
        }


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
