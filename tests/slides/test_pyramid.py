from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from scripts.images.slide_files.box import Box
from scripts.slides import pyramid
from scripts.slides.disk_plane import DiskPlane
from scripts.slides.grid import Grid
from scripts.slides.logits import BACKGROUND, UNIT, cut_of
from scripts.slides.pyramid import Mask, Probability, Reductions, level_sizes, write_pyramid
from tests.support.slides import disk, openslide, smooth, tifffile


def written(
    path: Path, plane: DiskPlane, grid: Grid, threshold: float = 0.4, mpp: tuple[float, float] | None = None
) -> Mask:
    with Reductions(level_sizes(grid.slide), path.parent) as reductions, open(path, "wb") as file:
        mask = Mask(plane, grid, cut_of(threshold), reductions)
        write_pyramid(file, reductions.sizes, mask.tile, {"of": "mask", "name": "é"}, mpp)
        mask.small(100)  # can be asked for while the reductions are there
        return mask


def restored(values: np.ndarray, size: tuple[int, int], threshold: float) -> np.ndarray:
    """The mask as it is made of an image: resized logits, sigmoid, threshold."""
    logits = torch.from_numpy(values.astype(np.float64))[None, None] / UNIT
    return (F.interpolate(logits, size=size, mode="bilinear").sigmoid()[0, 0] >= threshold).numpy()


@pytest.mark.parametrize("slide", [(700, 530), (1401, 1059), (513, 1025), (350, 265), (200, 100)])
def test_mask_is_that_of_an_image(slide: tuple[int, int], tmp_path: Path) -> None:
    values = smooth(700, 530)
    grid = Grid(slide, (700, 530), 256, 0)
    mask = written(tmp_path / "m.tif", disk(values, tmp_path, BACKGROUND), grid)
    found = tifffile.imread(tmp_path / "m.tif", key=0)
    expected = restored(values, slide, 0.4)
    assert set(np.unique(found)) <= {0, 255} and found.dtype == np.uint8
    assert ((found > 0) != expected).mean() < 1e-4  # the cut is rounded to half a 1024th of a logit
    assert mask.foreground == np.count_nonzero(found)


def test_levels_halve_and_majority_decides(tmp_path: Path) -> None:
    values = smooth(1100, 1401, period=9)
    grid = Grid((1100, 1401), (1100, 1401), 256, 0)
    written(tmp_path / "m.tif", disk(values, tmp_path), grid)
    with tifffile.TiffFile(tmp_path / "m.tif") as file:
        levels = [level.asarray() for level in file.series[0].levels]
        assert file.is_bigtiff and len(file.pages) == 3
        assert all(page.is_tiled and page.compression == 8 for page in file.pages)
        assert [page.is_reduced for page in file.pages] == [False, True, True]
    assert [level.shape for level in levels] == [(1100, 1401), (550, 701), (275, 351)]
    for at, level in enumerate(levels[1:], start=1):
        step = 2**at
        rows, columns = 1100 // step * step, 1401 // step * step
        whole = levels[0][:rows, :columns].reshape(rows // step, step, columns // step, step).mean((1, 3)) / 255
        part = level[: rows // step, : columns // step] > 0
        np.testing.assert_array_equal(part[whole > 0.51], True)
        np.testing.assert_array_equal(part[whole < 0.49], False)


def test_openslide_takes_it_for_a_slide(tmp_path: Path) -> None:
    values = smooth(1100, 1401)
    grid = Grid((2200, 2802), (1100, 1401), 256, 0)
    written(tmp_path / "m.tif", disk(values, tmp_path), grid, mpp=(0.25, 0.5))
    slide = openslide.OpenSlide(tmp_path / "m.tif")
    assert slide.level_dimensions == ((2802, 2200), (1401, 1100), (701, 550), (351, 275))
    assert float(slide.properties["openslide.mpp-x"]) == pytest.approx(0.5)
    assert float(slide.properties["openslide.mpp-y"]) == pytest.approx(0.25)
    assert json.loads(slide.properties["tiff.ImageDescription"]) == {"of": "mask", "name": "é"}
    full = np.asarray(slide.read_region((2000, 1500), 0, (802, 700)).convert("L"))
    np.testing.assert_array_equal(full, tifffile.imread(tmp_path / "m.tif", key=0)[1500:, 2000:])
    small = np.asarray(slide.read_region((0, 0), 3, slide.level_dimensions[3]).convert("L"))
    np.testing.assert_array_equal(small, tifffile.imread(tmp_path / "m.tif", key=3))


def test_what_was_not_predicted_is_background(tmp_path: Path) -> None:
    plane = DiskPlane((600, 600), np.int16, BACKGROUND, tmp_path)
    plane.write(Box(0, 0, 100, 100), np.full((100, 100), -UNIT, np.int16))
    mask = written(tmp_path / "m.tif", plane, Grid((600, 600), (600, 600), 256, 0), threshold=0.0)
    assert mask.foreground == 100 * 100  # every probability reaches 0, but there must be one


def test_probability(tmp_path: Path) -> None:
    values = smooth(700, 530)
    values[:300, :300] = BACKGROUND
    with Reductions(level_sizes((700, 530)), tmp_path) as reductions, open(tmp_path / "p.tif", "wb") as file:
        maker = Probability(disk(values, tmp_path), reductions)
        write_pyramid(file, reductions.sizes, maker.tile, {}, None)
    full, half = (tifffile.imread(tmp_path / "p.tif", key=key) for key in (0, 1))
    np.testing.assert_allclose(full, 255 / (1 + np.exp(-values.astype(float) / UNIT)), atol=0.51)
    assert (full[:300, :300] == 0).all()
    np.testing.assert_allclose(half, full.reshape(350, 2, 265, 2).mean((1, 3)), atol=0.51)


@pytest.mark.parametrize("longest", [10, 300, 600, 1000, 3000])
def test_small_mask_for_a_picture(longest: int, tmp_path: Path) -> None:
    values = smooth(1100, 1400)
    grid = Grid((1100, 1400), (1100, 1400), 256, 0)
    with Reductions(level_sizes(grid.slide), tmp_path) as reductions, open(tmp_path / "m.tif", "wb") as file:
        mask = Mask(disk(values, tmp_path), grid, cut_of(0.4), reductions)
        write_pyramid(file, reductions.sizes, mask.tile, {}, None)
        small = mask.small(longest)
    assert max(small.shape) == min(longest, 1400)
    assert small.mean() == pytest.approx((values > cut_of(0.4)).mean(), abs=0.01)


def test_only_parts_are_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    largest = 0
    read = DiskPlane.read

    def spy(self: DiskPlane, box: Box) -> np.ndarray:
        nonlocal largest
        largest = max(largest, int(box.size[0] * box.size[1]))
        return read(self, box)

    monkeypatch.setattr(DiskPlane, "read", spy)
    plane = disk(smooth(1000, 1000), tmp_path)
    with Reductions(level_sizes((3000, 3000)), tmp_path) as reductions, open(tmp_path / "m.tif", "wb") as file:
        mask = Mask(plane, Grid((3000, 3000), (1000, 1000), 256, 0), cut_of(0.5), reductions)
        write_pyramid(file, reductions.sizes, mask.tile, {}, None)
    assert largest <= pyramid.TILE**2


def test_sizes_of_levels() -> None:
    assert level_sizes((512, 512)) == [(512, 512)]
    assert level_sizes((513, 1)) == [(513, 1), (257, 1)]
    assert level_sizes((20000, 20000))[-1] == (313, 313)
