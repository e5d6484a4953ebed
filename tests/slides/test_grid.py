from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from scripts.core.errors import InputError
from scripts.images.slide_files.box import Box
from scripts.networks.model_file import ModelInfo
from scripts.slides.grid import Grid, Scale


def info(**changes: Any) -> ModelInfo:
    values: dict[str, Any] = {
        "network": {"_target_": "x"},
        "classes": ("a",),
        "image_size": (256, 384),
        "threshold": 0.5,
    }
    return ModelInfo(**{**values, **changes})


@pytest.mark.parametrize("size", [(1, 1), (64, 64), (300, 517), (129, 64)])
@pytest.mark.parametrize(("side", "margin"), [(64, 32), (128, 0), (32, 96)])
def test_kept_boxes_cover_the_plane_once(size: tuple[int, int], side: int, margin: int) -> None:
    grid = Grid(size, size, side, margin)
    seen = np.zeros(size, int)
    tiles = list(grid)
    for tile in tiles:
        seen[tile.kept.slices()] += 1
        outer, inner = tile.window, tile.kept
        assert outer.top == max(inner.top - margin, 0) and outer.left == max(inner.left - margin, 0)
        assert outer.bottom == min(inner.bottom + margin, size[0]) and outer.right == min(inner.right + margin, size[1])
    assert (seen == 1).all()
    assert len(tiles) == len(grid) == grid.shape[0] * grid.shape[1]


def test_plane_is_the_reduced_slide() -> None:
    grid = Grid.of((20001, 9999), (2.0, 3.0), 64, 32)
    assert grid.plane == (10000, 3333)
    assert grid.downsample == (2.0001, 3.0)
    assert Grid.of((3, 3), (100.0, 100.0), 64, 32).plane == (1, 1)


def test_box() -> None:
    box = Box(2, 4, 10, 20)
    assert box.size == (8, 16)
    assert box.scaled((2.0, 0.5)) == (4, 2, 20, 10)
    assert box.moved(2, 3) == (0, 1, 8, 17)
    assert Box(32, 64, 65, 128).cells(32) == (1, 2, 3, 4)
    assert box.slices() == (slice(2, 10), slice(4, 20))


class TestScale:
    def test_slide_is_reduced_as_training_images_were(self) -> None:
        assert Scale((522, 775)).downsample(info(), None, "s") == (522 / 256, 775 / 384)

    def test_images_that_were_not_resized(self) -> None:
        assert Scale().downsample(info(image_size=None), None, "s") == (1.0, 1.0)

    def test_size_stored_with_the_model(self) -> None:
        class Stored:
            image_size, native_size = (100, 100), (200, 300)

        assert Scale().downsample(Stored(), None, "s") == (2.0, 3.0)  # type: ignore[arg-type]
        assert Scale((400, 400)).downsample(Stored(), None, "s") == (4.0, 4.0)  # type: ignore[arg-type]

    def test_pixels_of_another_size(self) -> None:
        assert Scale((512, 768), mpp=0.5).downsample(info(), (0.25, 0.125), "s") == (4.0, 8.0)
        assert Scale((512, 768), mpp=0.5, slide_mpp=1.0).downsample(info(), (0.25, 0.25), "s") == (1.0, 1.0)

    def test_what_is_not_known_is_asked_for(self) -> None:
        with pytest.raises(InputError, match="--native_size"):
            Scale().downsample(info(), None, "s")
        with pytest.raises(InputError, match=r"s: size of the slide's pixels.*--slide_mpp"):
            Scale((256, 384), mpp=0.5).downsample(info(), None, "s")

    @pytest.mark.parametrize(
        "values", [{"native_size": (1,)}, {"native_size": (0, 1)}, {"mpp": 0.0}, {"slide_mpp": -1.0}]
    )
    def test_refuses_values_out_of_range(self, values: dict[str, Any]) -> None:
        with pytest.raises(InputError, match=next(iter(values))):
            Scale(**values)


@pytest.mark.parametrize(("side", "margin", "name"), [(0, 0, "tile"), (32, -1, "margin")])
def test_refuses_sizes_out_of_range(side: int, margin: int, name: str) -> None:
    with pytest.raises(InputError, match=name):
        Grid((1, 1), (1, 1), side, margin)
