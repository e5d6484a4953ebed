from __future__ import annotations

import numpy as np
import pytest

from scripts.images.slide_files.box import Box
from scripts.slides.glass import GlassMap
from scripts.slides.grid import Grid


def glass_of(empty: np.ndarray, side: int, least: float, step: int = 1) -> np.ndarray:
    """What is glass of a plane, asked for tile by tile; tiles are given at a ``step``-th of their resolution."""
    grid = Grid(empty.shape, empty.shape, side, 0)  # type: ignore[arg-type]
    found = GlassMap(grid, least)
    for tile in grid:
        found.add(tile, empty[tile.kept.slices()][::step, ::step])
    found.settle()
    return np.block([[found.pixels(t.kept, empty[t.kept.slices()]) for t in grid if t.row == row]
                     for row in range(grid.shape[0])])  # fmt: skip


def plane() -> np.ndarray:
    """Glass around a section with a lumen of 40 x 40 pixels and a bay."""
    empty = np.ones((300, 400), bool)
    empty[50:250, 60:340] = False
    empty[100:140, 100:140] = True
    empty[50:90, 200:230] = True
    return empty


@pytest.mark.parametrize(("side", "step"), [(64, 1), (96, 1), (192, 2), (512, 1), (512, 5)])
def test_large_empty_regions_are_glass_and_lumina_are_not(side: int, step: int) -> None:
    empty = plane()
    found = glass_of(empty, side, least=5000, step=step)
    expected = empty.copy()
    expected[100:140, 100:140] = False
    np.testing.assert_array_equal(found, expected)


def test_size_of_a_region_decides() -> None:
    assert glass_of(plane(), 64, least=1600)[120, 120]
    assert not glass_of(plane(), 64, least=1601)[120, 120]
    assert not glass_of(plane(), 64, least=1e9).any()


def test_a_map_of_bounded_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scripts.slides.glass._LONGEST", 50)  # cells of 8 x 8 pixels
    empty = plane()
    found, exact = glass_of(empty, 64, least=5000), empty.copy()
    exact[100:140, 100:140] = False
    np.testing.assert_array_equal(found, exact)  # the borders of cells do not show: pixels decide there


def test_what_was_not_given_is_not_empty() -> None:
    found = GlassMap(Grid((100, 100), (100, 100), 50, 0), 1.0)
    found.settle()
    assert not found.pixels(Box(0, 0, 100, 100), np.ones((100, 100), bool)).any()
    with pytest.raises(RuntimeError):
        GlassMap(Grid((9, 9), (9, 9), 9, 0), 1.0).pixels(Box(0, 0, 9, 9), np.ones((9, 9), bool))
