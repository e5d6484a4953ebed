from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scripts.core.errors import InputError
from scripts.images.slide_files.box import Box
from scripts.images.slide_files.reader import Slide
from scripts.slides.grid import Grid
from scripts.slides.tiles import BackgroundRule, TileReader
from tests.support.slides import WHITE, tissue, write_tiff


class TestRule:
    def test_empty_pixels(self) -> None:
        pixels = np.array([[[220, 255, 220], [219, 255, 255], [5, 0, 5], [6, 0, 0]]], np.uint8)
        assert BackgroundRule().empty(pixels).tolist() == [[True, False, True, False]]
        assert BackgroundRule(white=256, black=-1).empty(pixels).tolist() == [[False] * 4]

    def test_area_from_which_a_region_is_glass(self) -> None:
        assert BackgroundRule().least_glass((200, 300)) == 60000
        assert BackgroundRule().least_glass(None) == 256 * 256
        assert BackgroundRule(glass=0).least_glass((200, 300)) == 0

    @pytest.mark.parametrize("values", [{"white": 257}, {"black": -2}, {"min_tissue": 1.5}, {"glass": -1.0}])
    def test_refuses_values_out_of_range(self, values: dict[str, Any]) -> None:
        with pytest.raises(InputError, match=f"background#{next(iter(values))}"):
            BackgroundRule(**values)


@pytest.fixture(scope="module")
def half_glass(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, np.ndarray]:
    """A slide of 800 x 800 whose left half is glass, with four levels."""
    image = tissue(800, 800)
    image[:, :400] = WHITE
    return write_tiff(tmp_path_factory.mktemp("slides") / "a.tif", image, levels=4), image


def test_windows_and_previews(half_glass: tuple[Path, np.ndarray]) -> None:
    path, image = half_glass
    grid = Grid(image.shape[:2], image.shape[:2], 192, 32)
    with Slide(path) as slide:
        reader = TileReader(slide, grid, BackgroundRule())
        previews = list(reader.previews())
        found = list(reader.read_all([(small.tile, small.tissue) for small in previews]))
    assert [small.tile for small in previews] == [read.tile for read in found] == list(grid)
    for small, read in zip(previews, found, strict=True):
        kept = image[read.tile.kept.slices()]
        share = (kept < WHITE).any(axis=2).mean()
        assert read.tissue == small.tissue == pytest.approx(share, abs=0.03)
        np.testing.assert_array_equal(read.pixels, image[read.tile.window.slices()])
        assert min(small.pixels.shape[:2]) >= min(90, min(kept.shape[:2]) // 2)
        assert small.pixels.mean() == pytest.approx(kept.mean(), abs=1.5)
        assert small.empty.shape == small.pixels.shape[:2]


def test_previews_are_not_read_at_full_size(
    half_glass: tuple[Path, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, _ = half_glass
    read_at: list[tuple[int, float]] = []
    read = Slide.read

    def spy(self: Slide, level: int, box: Box) -> np.ndarray:
        read_at.append((level, box.right))
        return read(self, level, box)

    monkeypatch.setattr(Slide, "read", spy)
    with Slide(path) as slide:
        for _ in TileReader(slide, Grid((800, 800), (800, 800), 192, 0), BackgroundRule()).previews():
            pass
    assert {level for level, _ in read_at} == {1}  # it has 96 pixels of each tile


def test_reading_ahead_changes_nothing(half_glass: tuple[Path, np.ndarray]) -> None:
    grid = Grid((800, 800), (400, 400), 96, 32)
    with Slide(half_glass[0]) as slide:
        reader = TileReader(slide, grid, BackgroundRule())
        tiles = [(tile, 0.5) for tile in grid]
        for one, other in zip(reader.read_all(tiles, 0), reader.read_all(tiles, 3), strict=True):
            assert one.tile == other.tile
            np.testing.assert_array_equal(one.pixels, other.pixels)


def test_reading_ahead_ends_with_its_consumer(half_glass: tuple[Path, np.ndarray]) -> None:
    with Slide(half_glass[0]) as slide:
        tiles = TileReader(slide, Grid((800, 800), (800, 800), 32, 0), BackgroundRule()).previews(2)
        next(tiles)
        tiles.close()  # type: ignore[attr-defined]


def test_a_fault_while_reading_ahead_reaches_the_consumer(
    half_glass: tuple[Path, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise InputError([])

    monkeypatch.setattr(TileReader, "preview", fail)
    with Slide(half_glass[0]) as slide, pytest.raises(InputError):
        list(TileReader(slide, Grid((800, 800), (800, 800), 64, 0), BackgroundRule()).previews(2))
