from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from scripts.core.errors import InputError
from scripts.networks.inferer import JointInferer
from scripts.networks.outputs import unpack_outputs
from scripts.slides.grid import Grid
from scripts.slides.logits import BACKGROUND, LIMIT, UNIT, check_stride, cut_of, predict_tiles
from scripts.slides.tiles import BackgroundRule, ReadTile
from tests.support.slides import LocalNet, model, tissue

IMAGE = tissue(333, 270)


def read(image: np.ndarray, side: int, margin: int, skip: Any = ()) -> Iterator[ReadTile]:
    size = (image.shape[0], image.shape[1])
    for number, tile in enumerate(Grid(size, size, side, margin)):
        pixels = None if number in skip else image[tile.window.slices()]
        yield ReadTile(tile, image[tile.kept.slices()], np.zeros((1, 1), bool), pixels)


def whole() -> tuple[np.ndarray, torch.Tensor]:
    """Logits and class maps of the image in one pass."""
    images = torch.from_numpy(IMAGE).permute(2, 0, 1)[None].float() / 255
    logits, maps = unpack_outputs(JointInferer(amp=False)(images, LocalNet()), 32)
    return logits[0, 0].numpy(), maps[0]


@pytest.mark.parametrize(("side", "margin", "batch"), [(64, 32, 1), (96, 32, 4), (128, 64, 3), (512, 0, 2)])
def test_tiles_make_the_whole(side: int, margin: int, batch: int) -> None:
    logits, maps = whole()
    found = np.full(IMAGE.shape[:2], BACKGROUND, np.int16)
    cells = torch.full_like(maps, torch.nan)
    tiles = predict_tiles(read(IMAGE, side, margin), model(), JointInferer(amp=False), BackgroundRule(), batch)
    for one in tiles:
        found[one.tile.kept.slices()] = one.logits
        place = [slice(int(n.start) // 32, -(-int(n.stop) // 32)) for n in one.tile.kept.slices()]
        cells[(slice(None), *place)] = one.maps
        np.testing.assert_array_equal(one.empty, BackgroundRule().empty(IMAGE[one.tile.kept.slices()]))
    expected = np.clip(np.rint(logits * UNIT), -LIMIT, LIMIT)
    assert np.abs(found - expected).max() <= 1  # a rounding
    torch.testing.assert_close(cells, maps, rtol=0, atol=1e-6)


def test_tiles_without_tissue_are_passed_over() -> None:
    tiles = predict_tiles(read(IMAGE, 64, 32, skip={0, 7}), model(), JointInferer(), BackgroundRule(), 2)
    assert {(one.tile.row, one.tile.column) for one in tiles}.isdisjoint({(0, 0), (1, 2)})


def test_values_that_are_not_finite_are_told() -> None:
    class Broken(LocalNet):
        def decode(self, features: list[torch.Tensor], x: torch.Tensor) -> torch.Tensor:
            return super().decode(features, x) * torch.nan

    with pytest.raises(InputError, match="not finite"):
        list(predict_tiles(read(IMAGE, 64, 32), model(Broken()), JointInferer(), BackgroundRule(), 1))


@pytest.mark.parametrize("threshold", [0.05, 0.4, 0.5, 0.73, 0.99])
def test_cut_parts_as_the_threshold_does(threshold: float) -> None:
    values = np.arange(-LIMIT, LIMIT + 1)
    above = 1 / (1 + np.exp(-values / UNIT)) >= threshold
    np.testing.assert_array_equal(values > cut_of(threshold), above)
    assert cut_of(threshold) % 1 == 0.5  # no whole number lies on it


def test_cut_at_the_ends() -> None:
    assert BACKGROUND < cut_of(0.0) < -LIMIT  # all that was predicted, and nothing else
    assert BACKGROUND < cut_of(1e-30) < -LIMIT
    assert cut_of(1.0) > LIMIT
    assert np.iinfo(np.int16).min <= BACKGROUND and np.iinfo(np.int16).max >= LIMIT


def test_tiles_must_hold_whole_cells() -> None:
    check_stride(64, 32, 32)
    with pytest.raises(InputError, match=r"2 problems.*\n.*tile.*multiple of 32.*\n.*margin"):
        check_stride(65, 33, 32)
