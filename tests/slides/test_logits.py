from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from scripts.core.errors import InputError
from scripts.images.slide_files.box import Box
from scripts.networks.inferer import JointInferer
from scripts.networks.outputs import unpack_outputs
from scripts.slides.disk_plane import DiskPlane
from scripts.slides.glass import GlassMap
from scripts.slides.grid import Grid
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
from scripts.slides.tiles import BackgroundRule, Preview, ReadTile
from tests.support.slides import CLASSES, LocalNet, model, tissue

IMAGE = tissue(333, 270)


def read(image: np.ndarray, side: int, margin: int) -> Iterator[ReadTile]:
    size = (image.shape[0], image.shape[1])
    for tile in Grid(size, size, side, margin):
        yield ReadTile(tile, 1.0, image[tile.window.slices()])


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


def gathered(
    folder: Path,
    maps: torch.Tensor,
    logits: np.ndarray,
    empty: np.ndarray,
    least: float,
    order: int = 1,
    reached: Callable[[int], None] = lambda _: None,
) -> tuple[SlidePrediction, np.ndarray]:
    """A slide of 160 x 224 in tiles of 64 whose maps (C, 5, 7), logits and empty pixels are given; and its plane."""
    grid = Grid((2 * SIZE[0], 2 * SIZE[1]), SIZE, 64, 0)
    plane = DiskPlane(SIZE, np.int16, BACKGROUND, folder)
    one = Gathering(grid, model(), plane, GlassMap(grid, least) if least else None)
    tiles = []
    for tile in grid:
        inside = empty[tile.kept.slices()]
        wanted = one.see(Preview(tile, np.zeros((*inside.shape, 3), np.uint8), inside), 0.005)
        assert wanted == (inside.mean() <= 0.995)
        if wanted:
            cells = tuple(slice(int(n.start) // 32, -(-int(n.stop) // 32)) for n in tile.kept.slices())
            part = maps[(slice(None), *cells)]
            tiles.append(PredictedTile(tile, 1 - float(inside.mean()), logits[tile.kept.slices()], inside, part))
    return one.gather(tiles[::order], reached), plane.read(Box(0, 0, *SIZE))


@pytest.fixture
def maps() -> torch.Tensor:
    return torch.randn(2, 5, 7, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def logits() -> np.ndarray:
    return np.random.default_rng(0).integers(-3000, 3000, SIZE).astype(np.int16)


def test_class_is_that_of_one_large_image(maps: torch.Tensor, logits: np.ndarray, tmp_path: Path) -> None:
    found, plane = gathered(tmp_path, maps, logits, np.zeros(SIZE, bool), least=1000)
    np.testing.assert_allclose(found.scores, LocalNet().pool(maps[None])[0].numpy(), rtol=1e-6)
    np.testing.assert_array_equal(plane, logits)
    assert found.tissue == pytest.approx(1.0) and found.background == 0


def test_rows_of_tiles(maps: torch.Tensor, logits: np.ndarray, tmp_path: Path) -> None:
    rows = gathered(tmp_path, maps, logits, np.zeros(SIZE, bool), least=0)[0].tiles
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
    found, plane = gathered(tmp_path, maps, logits, empty, least=1000)
    expected = logits.copy()
    expected[:, :100] = BACKGROUND
    np.testing.assert_array_equal(plane, expected)
    np.testing.assert_allclose(found.scores, LocalNet().pool(maps[None, :, :, 3:])[0].numpy(), rtol=1e-6)
    assert found.background == 3 and found.tissue == pytest.approx(1 - empty.mean())


def test_glass_can_be_left_alone(maps: torch.Tensor, logits: np.ndarray, tmp_path: Path) -> None:
    empty = np.zeros(SIZE, bool)
    empty[:, :100] = True
    _, plane = gathered(tmp_path, maps, logits, empty, least=0)
    np.testing.assert_array_equal(plane[:, 64:], logits[:, 64:])


def test_the_order_of_tiles_does_not_matter(maps: torch.Tensor, logits: np.ndarray, tmp_path: Path) -> None:
    empty = np.zeros(SIZE, bool)
    empty[:, :100] = True
    one, other = (gathered(tmp_path, maps, logits, empty, 1000, order) for order in (1, -1))
    np.testing.assert_array_equal(one[1], other[1])
    np.testing.assert_array_equal(one[0].scores, other[0].scores)
    assert one[0].tiles == other[0].tiles


def test_rows_are_complete_when_all_their_tiles_are(maps: torch.Tensor, logits: np.ndarray, tmp_path: Path) -> None:
    seen: list[int] = []
    gathered(tmp_path, maps, logits, np.zeros(SIZE, bool), 0, 1, seen.append)
    assert seen == [0, 0, 0, 64, 64, 64, 64, 128, 128, 128, 128, 192]
    seen.clear()
    gathered(tmp_path, maps, logits, np.zeros(SIZE, bool), 0, -1, seen.append)
    assert seen == [0] * 11 + [192]


def test_a_slide_without_tissue(maps: torch.Tensor, logits: np.ndarray, tmp_path: Path) -> None:
    found, _ = gathered(tmp_path, maps, logits, np.ones(SIZE, bool), least=1000)
    assert found.scores is None and found.tiles == [] and found.background == 12
    assert class_columns(None, CLASSES) == {"class": "", "p_benign": "", "p_malignant": ""}
