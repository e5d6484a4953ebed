"""The network on the tiles of a slide, and from the tiles to the whole: logits on the disk, class scores, tile rows.

Mask logits are whole numbers; pixels that are empty or glass are marked among them.

**Class of a slide.** Class maps have a value (a cell) per ``stride`` x ``stride`` network pixels. All cells with
tissue are pooled by the network's own pooling, as those of one image are: the slide is one large image without its
glass. They are kept in memory, 4 bytes per class and cell.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from scripts.core.errors import InputError, Problem
from scripts.core.result_files import Record
from scripts.images.slide_files.box import Box
from scripts.networks.interface import joint_network
from scripts.networks.model_file import TrainedModel
from scripts.networks.outputs import unpack_outputs
from scripts.slides.disk_plane import DiskPlane
from scripts.slides.glass import GlassMap
from scripts.slides.grid import Grid, Tile
from scripts.slides.tiles import BackgroundRule, Preview, ReadTile

Inferer = Callable[..., torch.Tensor]
UNIT = 1024
"""Logits are kept as whole numbers of 1 / 1024, which makes contours meet exactly where blocks do."""
LIMIT = 16 * UNIT
"""Beyond this, a probability is 0 or 1 to seven digits."""
BACKGROUND = -LIMIT - 1
"""Value of what was not predicted; no prediction has it."""


def cut_of(threshold: float) -> float:
    """Return the value between whole logits that parts those with a probability below ``threshold`` from the others."""
    if threshold <= 0:
        return BACKGROUND + 0.5
    if threshold >= 1:
        return LIMIT + 0.5
    cut = math.ceil(UNIT * math.log(threshold / (1 - threshold))) - 0.5
    return min(max(cut, BACKGROUND + 0.5), LIMIT + 0.5)


@dataclass(frozen=True)
class PredictedTile:
    """What the network says about the kept part of a tile.

    Attributes:
        tile: where it is.
        tissue: share of tissue, in [0, 1].
        logits: int16 (h, w) in 1 / 1024.
        empty: bool (h, w), pixels without tissue.
        maps: float32 (C, h', w') class maps.
    """

    tile: Tile
    tissue: float
    logits: npt.NDArray[np.int16]
    empty: npt.NDArray[np.bool_]
    maps: torch.Tensor


def predict_tiles(
    tiles: Iterable[ReadTile], model: TrainedModel, inferer: Inferer, rule: BackgroundRule, batch_size: int
) -> Iterator[PredictedTile]:
    """Yield the prediction of each tile. Tiles wait until a batch of one shape is full.

    Args:
        tiles: as they are read.
        model: in eval mode.
        inferer: gives packed outputs, as :class:`scripts.networks.inferer.JointInferer`.
        rule: which pixels are empty.
        batch_size: tiles per pass.

    Raises:
        InputError: the network gives values that are not finite.
    """
    waiting: dict[tuple[int, ...], list[ReadTile]] = {}
    for read in tiles:
        batch = waiting.setdefault(read.pixels.shape, [])
        batch.append(read)
        if len(batch) == batch_size:
            yield from _passed(waiting.pop(read.pixels.shape), model, inferer, rule)
    for batch in waiting.values():
        yield from _passed(batch, model, inferer, rule)


def check_stride(grid_side: int, margin: int, stride: int) -> None:
    """Refuse tiles that would part a cell of the class maps.

    Raises:
        InputError: a length is no multiple of the stride.
    """
    problems = [
        Problem("no multiple of the network's stride", name, f"a multiple of {stride}", str(value))
        for name, value in (("tile", grid_side), ("margin", margin))
        if value % stride
    ]
    if problems:
        raise InputError(problems)


@torch.inference_mode()
def _passed(batch: list[ReadTile], model: TrainedModel, inferer: Inferer, rule: BackgroundRule) -> list[PredictedTile]:
    stacked = np.stack([read.pixels for read in batch])  # (B, H, W, 3)
    images = torch.from_numpy(stacked).to(model.device).permute(0, 3, 1, 2).float() / 255.0  # (B, 3, H, W)
    stride = joint_network(model.network).stride
    logits, maps = unpack_outputs(inferer(images, model.network), stride)
    if not bool(torch.isfinite(logits).all() & torch.isfinite(maps).all()):
        problem = Problem("the network gives values that are not finite", "model", "numbers", "NaN or infinity",
                          "Try --amp False; else the weights are damaged.")  # fmt: skip
        raise InputError(problem)
    fixed = (logits[:, 0] * UNIT).round().clamp(-LIMIT, LIMIT).to(torch.int16).cpu().numpy()
    found = []
    for read, pixels, one, cells in zip(batch, stacked, fixed, maps.float().cpu(), strict=True):
        kept, coarse = _kept(read.tile, 1).slices(), _kept(read.tile, stride).slices()
        own = cells[(slice(None), *coarse)]
        found.append(PredictedTile(read.tile, read.tissue, one[kept], rule.empty(pixels[kept]), own))
    return found


def _kept(tile: Tile, stride: int) -> Box:
    """Return the kept box in its window, in cells of ``stride`` pixels; a cell that the slide's border parts counts."""
    return tile.kept.moved(tile.window.top, tile.window.left).cells(stride)


_GLASS_CELL = 0.5
"""Share of glass from which a cell of the class maps does not count."""


@dataclass(frozen=True)
class SlidePrediction:
    """What the network says about a slide, besides the logits.

    Attributes:
        scores: (C,) float32 class scores; None where there is no tissue.
        tiles: a row per tile that was predicted.
        background: tiles that were not.
        tissue: share of the slide that is tissue, by the rule for background.
    """

    scores: npt.NDArray[np.float32] | None
    tiles: list[Record]
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

    Attributes:
        wanted: the tiles seen so far that are to be predicted, each with its share of tissue.
    """

    def __init__(self, grid: Grid, model: TrainedModel, logits: DiskPlane, glass: GlassMap | None) -> None:
        self.grid, self.model, self.logits, self.glass = grid, model, logits, glass
        self.wanted: list[tuple[Tile, float]] = []
        self.tissue = 0.0
        self._network = joint_network(model.network)
        cells = [-(-n // self._network.stride) for n in grid.plane]
        self._maps = torch.zeros(len(model.info.classes), *cells)  # (C, h', w')
        self._counts = torch.zeros(*cells, dtype=torch.bool)  # which cells are pooled

    def see(self, small: Preview, least_tissue: float) -> bool:
        """Take note of a tile and return whether it is to be predicted: all are to be seen before :meth:`gather`."""
        self.tissue += small.tissue * float(np.prod(small.tile.kept.size) / np.prod(self.grid.plane))
        if self.glass is not None:
            self.glass.add(small.tile, small.empty)
        wanted = small.tissue >= least_tissue
        if wanted:
            self.wanted.append((small.tile, small.tissue))
        return wanted

    def gather(
        self, predicted: Iterable[PredictedTile], progress: Callable[[int], None] = lambda _: None
    ) -> SlidePrediction:
        """Store all tiles, without the glass in them, and pool the classes.

        Args:
            predicted: those of :attr:`wanted`, in any order.
            progress: called with the number of rows of the network plane that are complete.
        """
        rows: dict[tuple[int, int], Record] = {}
        missing = Counter(tile.row for tile, _ in self.wanted)
        if self.glass is not None:
            self.glass.settle()
        for found in predicted:
            tile = found.tile
            rows[tile.row, tile.column] = self._put(found)
            missing[tile.row] -= 1
            progress(self.grid.side * min((row for row, count in missing.items() if count), default=self.grid.shape[0]))
        everything = (slice(None), slice(None))
        ordered = [rows[tile.row, tile.column] for tile, _ in self.wanted]
        return SlidePrediction(self._pooled(everything), ordered, len(self.grid) - len(self.wanted), self.tissue)

    def _put(self, found: PredictedTile) -> Record:
        """Store a tile; return its row of the table."""
        tile, logits, cells = found.tile, found.logits, self._cells(found.tile)
        self._maps[(slice(None), *cells)] = found.maps
        self._counts[cells] = True
        if self.glass is not None:
            bare = self.glass.pixels(tile.kept, found.empty)
            if bare.any():
                logits = np.where(bare, np.int16(BACKGROUND), logits)
                self._counts[cells] = torch.from_numpy(_cell_shares(bare, self._network.stride) <= _GLASS_CELL)
        self.logits.write(tile.kept, logits)
        foreground = float((logits > cut_of(self.model.info.threshold)).mean())
        return self._row(tile, found.tissue, foreground, self._pooled(cells))

    def _cells(self, tile: Tile) -> tuple[slice, slice]:
        """Return the place of a tile in the class maps; a cell that the slide's border parts belongs to it."""
        return tile.kept.cells(self._network.stride).slices()

    @torch.inference_mode()
    def _pooled(self, cells: tuple[slice, slice]) -> npt.NDArray[np.float32] | None:
        """Return class scores (C,) of the cells that count among some; None where there are none."""
        values = self._maps[(slice(None), *cells)][:, self._counts[cells]]  # (C, n)
        return self._network.pool(values[None, :, None])[0].numpy() if values.shape[1] else None  # of (1, C, 1, n)

    def _row(self, tile: Tile, tissue: float, foreground: float, scores: npt.NDArray[np.float32] | None) -> Record:
        box = tile.kept.scaled(self.grid.downsample)
        left, top = round(box.left), round(box.top)
        place = {"x": left, "y": top, "width": round(box.right) - left, "height": round(box.bottom) - top}
        shares = {"tissue": round(tissue, 4), "foreground": round(foreground, 4)}
        return place | shares | class_columns(scores, self.model.info.classes)


def class_columns(scores: npt.NDArray[np.float32] | None, classes: tuple[str, ...]) -> Record:
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
