"""The files of one predicted slide, all written before the first of them gets its name."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripts.blobs import atomic_file
from scripts.errors import InputError, Problem, StateError
from scripts.evaluation_tables import csv_bytes
from scripts.slide_contours import polygons
from scripts.slide_gathering import SlidePrediction
from scripts.slide_geojson import FeatureWriter, PolygonRule
from scripts.slide_grid import Grid
from scripts.slide_network import cut_of
from scripts.slide_overview import Overview
from scripts.slide_pyramid import Mask, Probability, Reductions, level_sizes, write_pyramid
from scripts.trained_model import TrainedModel

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
        predicted: SlidePrediction,
        grid: Grid,
        mpp: Mpp,
        overview: Overview | None,
        title: str,
        progress: Callable[[str], None] = lambda _: None,
    ) -> Written:
        """Write the files of a slide, replacing earlier ones.

        Args:
            name: of the slide, with ``/`` between folders.
            predicted: what the network says.
            grid: of the slide.
            mpp: micrometres per pixel of level 0, (y, x), if known.
            overview: thumbnail; None for no picture.
            title: of the picture.
            progress: called with what is being written.

        Raises:
            StateError: a file cannot be written.
        """
        cut, about = cut_of(self.model.info.threshold), self._about(name, grid)
        features = FeatureWriter(self.rule, grid, mpp, name)
        with ExitStack() as stack:
            # Files get their names when the stack unwinds: none does if the writing of any of them fails.
            files = {kind: stack.enter_context(atomic_file(self.folder / f"{name}{kind}")) for kind in self._kinds()}
            reductions = stack.enter_context(Reductions(level_sizes(grid.slide), self.scratch))
            mask = Mask(predicted.logits, grid, cut, reductions)
            try:
                progress("mask")
                write_pyramid(files["_mask.tif"], reductions.sizes, mask.tile, {**about, "of": "mask"}, mpp)
                progress("polygons")
                features.write(files[".geojson"], polygons(predicted.logits, cut))
                if "_probability.tif" in files:
                    progress("probability")
                    self._write_probability(files["_probability.tif"], predicted, grid, mpp, about)
                if "_tiles.csv" in files:
                    files["_tiles.csv"].write(csv_bytes(predicted.tiles))
                if "_overview.png" in files and overview is not None:
                    cover = mask.small(self.outputs.overview)
                    picture = overview.picture(cover, title, self.rule.name, self.rule.colour)
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

    def _write_probability(
        self, file: Any, predicted: SlidePrediction, grid: Grid, mpp: Mpp, about: dict[str, Any]
    ) -> None:
        by = grid.downsample
        reduced = None if mpp is None else (mpp[0] * by[0], mpp[1] * by[1])
        with Reductions(level_sizes(grid.plane), self.scratch) as reductions:
            maker = Probability(predicted.logits, reductions)
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
