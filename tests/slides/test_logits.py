from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from scripts.core.errors import InputError
from scripts.networks.inferer import JointInferer
from scripts.networks.outputs import unpack_outputs
from scripts.slides.disk_plane import DiskPlane
from scripts.slides.glass import GlassMap
from scripts.slides.grid import Box, Grid
from scripts.slides.logits import (
    BACKGROUND,
    LIMIT,
    UNIT,
    Gathering,
    PredictedTile,
    SlidePrediction,
    check_stride,
    class_columns,
    cut_of,
    predict_tiles,
)
from scripts.slides.tiles import BackgroundRule, ReadTile
from tests.support.slides import CLASSES, LocalNet, model, tissue

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


SIZE = (160, 224)


def gathered(folder: Path, maps: torch.Tensor, logits: np.ndarray, empty: np.ndarray, least: float) -> SlidePrediction:
    """A slide of 160 x 224 in tiles of 64 whose maps (C, 5, 7), logits and empty pixels are given."""
    grid = Grid((2 * SIZE[0], 2 * SIZE[1]), SIZE, 64, 0)
    glass = GlassMap(grid, least) if least else None
    one = Gathering(grid, model(), DiskPlane(SIZE, np.int16, BACKGROUND, folder), glass, folder)
    tiles = []
    for tile in grid:
        inside = empty[tile.kept.slices()]
        bare = inside.all()
        one.see(
            ReadTile(
                tile, np.zeros((*inside.shape, 3), np.uint8), inside, None if bare else np.zeros((1, 1, 3), np.uint8)
            )
        )
        if not bare:
            cells = tuple(slice(int(n.start) // 32, -(-int(n.stop) // 32)) for n in tile.kept.slices())
            part = maps[(slice(None), *cells)]
            tiles.append(PredictedTile(tile, 1 - float(inside.mean()), logits[tile.kept.slices()], inside, part))
    return one.gather(tiles)


@pytest.fixture
def maps() -> torch.Tensor:
    return torch.randn(2, 5, 7, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def logits() -> np.ndarray:
    return np.random.default_rng(0).integers(-3000, 3000, SIZE).astype(np.int16)


def test_class_is_that_of_one_large_image(maps: torch.Tensor, logits: np.ndarray, tmp_path: Path) -> None:
    found = gathered(tmp_path, maps, logits, np.zeros(SIZE, bool), least=1000)
    np.testing.assert_allclose(found.scores, LocalNet().pool(maps[None])[0].numpy(), rtol=1e-6)
    np.testing.assert_array_equal(found.logits.read(Box(0, 0, *SIZE)), logits)
    assert found.tissue == pytest.approx(1.0) and found.background == 0


def test_rows_of_tiles(maps: torch.Tensor, logits: np.ndarray, tmp_path: Path) -> None:
    rows = gathered(tmp_path, maps, logits, np.zeros(SIZE, bool), least=0).tiles
    assert len(rows) == 3 * 4
    last = rows[-1]  # 32 x 32 network pixels, two slide pixels each
    assert [last[name] for name in ("x", "y", "width", "height")] == [384, 256, 64, 64]
    assert last["foreground"] == pytest.approx((logits[128:, 192:] > cut_of(0.4)).mean(), abs=1e-4)
    shares = torch.softmax(LocalNet().pool(maps[None, :, 4:, 6:])[0], 0)
    assert [last["p_benign"], last["p_malignant"]] == pytest.approx(shares.tolist(), abs=1e-5)
    assert last["class"] == CLASSES[int(shares.argmax())]


def test_glass_has_no_mask_and_no_vote(maps: torch.Tensor, logits: np.ndarray, tmp_path: Path) -> None:
    empty = np.zeros(SIZE, bool)
    empty[:, :100] = True  # three columns of cells, and an eighth of the fourth
    empty[60:70, 150:160] = True  # a lumen
    found = gathered(tmp_path, maps, logits, empty, least=1000)
    expected = logits.copy()
    expected[:, :100] = BACKGROUND
    np.testing.assert_array_equal(found.logits.read(Box(0, 0, *SIZE)), expected)
    np.testing.assert_allclose(found.scores, LocalNet().pool(maps[None, :, :, 3:])[0].numpy(), rtol=1e-6)
    assert found.background == 3 and found.tissue == pytest.approx(1 - empty.mean())


def test_glass_can_be_left_alone(maps: torch.Tensor, logits: np.ndarray, tmp_path: Path) -> None:
    empty = np.zeros(SIZE, bool)
    empty[:, :100] = True
    found = gathered(tmp_path, maps, logits, empty, least=0)
    np.testing.assert_array_equal(found.logits.read(Box(0, 64, 160, 224)), logits[:, 64:])


def test_a_slide_without_tissue(maps: torch.Tensor, logits: np.ndarray, tmp_path: Path) -> None:
    found = gathered(tmp_path, maps, logits, np.ones(SIZE, bool), least=1000)
    assert found.scores is None and found.tiles == [] and found.background == 12
    assert class_columns(None, CLASSES) == {"class": "", "p_benign": "", "p_malignant": ""}
