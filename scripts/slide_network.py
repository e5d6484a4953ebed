"""The network on the tiles of a slide: mask logits in whole numbers, class maps, pixel by pixel what is empty."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from scripts.errors import InputError, Problem
from scripts.joint_network import joint_network
from scripts.pooling import unpack_outputs
from scripts.slide_grid import Box, Tile
from scripts.slide_tiles import BackgroundRule, ReadTile
from scripts.trained_model import TrainedModel

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
    """Yield the prediction of each tile that has tissue. Tiles wait until a batch of one shape is full.

    Args:
        tiles: as they are read.
        model: in eval mode.
        inferer: gives packed outputs, as :class:`scripts.inferers.JointInferer`.
        rule: which pixels are empty.
        batch_size: tiles per pass.

    Raises:
        InputError: the network gives values that are not finite.
    """
    waiting: dict[tuple[int, ...], list[ReadTile]] = {}
    for read in tiles:
        if read.pixels is None:
            continue
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
    stacked = np.stack([read.pixels for read in batch if read.pixels is not None])  # (B, H, W, 3)
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
