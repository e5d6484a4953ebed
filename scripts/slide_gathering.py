"""From the tiles of a slide to the whole: logits on the disk, glass taken out, class scores, a row per tile.

**Class of a slide.** Class maps have a value (a cell) per ``stride`` x ``stride`` network pixels. All cells with
tissue are pooled by the network's own pooling, as those of one image are: the slide is one large image without its
glass. They are kept in memory, 4 bytes per class and cell.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from scripts.disk_plane import DiskPlane
from scripts.evaluation_tables import Row
from scripts.joint_network import joint_network
from scripts.slide_glass import GlassMap
from scripts.slide_grid import Grid, Tile
from scripts.slide_network import BACKGROUND, PredictedTile, cut_of
from scripts.slide_tiles import ReadTile
from scripts.trained_model import TrainedModel

_GLASS_CELL = 0.5
"""Share of glass from which a cell of the class maps does not count."""


@dataclass(frozen=True)
class SlidePrediction:
    """What the network says about a slide.

    Attributes:
        logits: the network plane, int16 in 1 / 1024; :data:`BACKGROUND` where nothing was predicted.
        scores: (C,) float32 class scores; None where there is no tissue.
        tiles: a row per tile that was predicted.
        background: tiles that were not.
        tissue: share of the slide that is tissue, by the rule for background.
    """

    logits: DiskPlane
    scores: npt.NDArray[np.float32] | None
    tiles: list[Row]
    background: int
    tissue: float


class Gathering:
    """A slide that is being predicted.

    What stays until the end is allocated at once: small pieces kept from among the network's large temporary ones would
    keep the memory around them too.

    Args:
        grid: of the slide.
        model: that predicts.
        logits: where they go to.
        glass: which regions are empty; None where that does not matter.
        scratch: folder for temporary files.
    """

    def __init__(
        self, grid: Grid, model: TrainedModel, logits: DiskPlane, glass: GlassMap | None, scratch: Path
    ) -> None:
        self.grid, self.model, self.logits, self.glass, self.scratch = grid, model, logits, glass, scratch
        self.background, self.tissue = 0, 0.0
        self._network = joint_network(model.network)
        cells = [-(-n // self._network.stride) for n in grid.plane]
        self._maps = torch.zeros(len(model.info.classes), *cells)  # (C, h', w')
        self._counts = torch.zeros(*cells, dtype=torch.bool)  # which cells are pooled
        self._tiles: list[tuple[Tile, float]] = []

    def see(self, read: ReadTile) -> None:
        """Take note of a tile that was read, also of one that is not predicted."""
        self.tissue += read.tissue * float(np.prod(read.tile.kept.size) / np.prod(self.grid.plane))
        self.background += read.pixels is None
        if self.glass is not None:
            self.glass.add(read.tile, read.empty)

    def gather(self, predicted: Iterable[PredictedTile]) -> SlidePrediction:
        """Store all tiles, then take the glass out and pool the classes."""
        empty = DiskPlane(self.grid.plane, np.uint8, 1, self.scratch)
        try:
            for found in predicted:
                self.logits.write(found.tile.kept, found.logits)
                self._maps[(slice(None), *self._cells(found.tile))] = found.maps
                self._counts[self._cells(found.tile)] = True
                self._tiles.append((found.tile, found.tissue))
                if self.glass is not None:
                    empty.write(found.tile.kept, found.empty.astype(np.uint8))
            return self._finished(empty)
        finally:
            empty.close()

    def _finished(self, empty: DiskPlane) -> SlidePrediction:
        rows, cut = [], cut_of(self.model.info.threshold)
        if self.glass is not None:
            self.glass.settle()
        for tile, tissue in self._tiles:
            logits = self.logits.read(tile.kept)
            if self.glass is not None:
                bare = self.glass.pixels(tile.kept, empty.read(tile.kept) > 0)
                if bare.any():
                    logits[bare] = BACKGROUND
                    self.logits.write(tile.kept, logits)
                    shares = _cell_shares(bare, self._network.stride)
                    self._counts[self._cells(tile)] = torch.from_numpy(shares <= _GLASS_CELL)
            scores = self._pooled(self._cells(tile))
            rows.append(self._row(tile, tissue, float((logits > cut).mean()), scores))
        everything = (slice(None), slice(None))
        return SlidePrediction(self.logits, self._pooled(everything), rows, self.background, self.tissue)

    def _cells(self, tile: Tile) -> tuple[slice, slice]:
        """Return the place of a tile in the class maps; a cell that the slide's border parts belongs to it."""
        return tile.kept.cells(self._network.stride).slices()

    @torch.inference_mode()
    def _pooled(self, cells: tuple[slice, slice]) -> npt.NDArray[np.float32] | None:
        """Return class scores (C,) of the cells that count among some; None where there are none."""
        values = self._maps[(slice(None), *cells)][:, self._counts[cells]]  # (C, n)
        return self._network.pool(values[None, :, None])[0].numpy() if values.shape[1] else None  # of (1, C, 1, n)

    def _row(self, tile: Tile, tissue: float, foreground: float, scores: npt.NDArray[np.float32] | None) -> Row:
        box = tile.kept.scaled(self.grid.downsample)
        left, top = round(box.left), round(box.top)
        place = {"x": left, "y": top, "width": round(box.right) - left, "height": round(box.bottom) - top}
        shares = {"tissue": round(tissue, 4), "foreground": round(foreground, 4)}
        return place | shares | class_columns(scores, self.model.info.classes)


def class_columns(scores: npt.NDArray[np.float32] | None, classes: tuple[str, ...]) -> Row:
    """Return the class of scores (C,) and the probability of each as columns of a table, empty for no scores."""
    if scores is None:
        return {"class": "", **{f"p_{name}": "" for name in classes}}
    raised = np.exp(scores.astype(np.float64) - scores.max())
    shares = raised / raised.sum()
    return {
        "class": classes[int(scores.argmax())],
        **{f"p_{name}": round(float(share), 6) for name, share in zip(classes, shares, strict=True)},
    }


def _cell_shares(mask: npt.NDArray[np.bool_], stride: int) -> npt.NDArray[np.float64]:
    """Return the share of true pixels of each cell (h', w'); cells at the end may be cut."""
    starts = [np.arange(0, n, stride) for n in mask.shape]
    sums = np.add.reduceat(np.add.reduceat(mask.astype(np.int64), starts[0], axis=0), starts[1], axis=1)
    sizes = [np.diff(np.append(start, n)) for start, n in zip(starts, mask.shape, strict=True)]
    return sums / np.outer(sizes[0], sizes[1])
