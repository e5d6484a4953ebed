from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from scripts.slides.disk_plane import DiskPlane
from scripts.slides.glass import GlassMap
from scripts.slides.grid import Box, Grid
from scripts.slides.logits import BACKGROUND, Gathering, PredictedTile, SlidePrediction, class_columns, cut_of
from scripts.slides.tiles import ReadTile
from tests.support.slides import CLASSES, LocalNet, model

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
