from __future__ import annotations

from dataclasses import replace

import pytest

from scripts.prediction.tiling import DEFAULT_TILE, fits_whole, tile_size, working_size
from tests.support.colour_net import INFO

GLAS = replace(INFO, image_size=(256, 384), native_size=(522, 775))


@pytest.mark.parametrize("size", [(522, 775), (1, 1), (783, 1162), (433, 574)])
def test_images_about_as_large_as_in_training_pass_whole(size: tuple[int, int]) -> None:
    assert fits_whole(size, GLAS)
    assert working_size(size, GLAS) == (256, 384)


@pytest.mark.parametrize(
    ("size", "expected"), [((1044, 1550), (512, 768)), ((784, 775), (384, 384)), ((20, 7750), (10, 3840))]
)
def test_larger_ones_keep_the_scale_of_training(size: tuple[int, int], expected: tuple[int, int]) -> None:
    assert not fits_whole(size, GLAS)
    assert working_size(size, GLAS) == expected


def test_limit_can_be_moved() -> None:
    assert working_size((1044, 1550), GLAS, whole_up_to=2.0) == (256, 384)
    assert working_size((522, 775), GLAS, whole_up_to=0.5) == (256, 384)  # the same scale


def test_without_the_size_of_training_every_image_passes_whole() -> None:
    assert working_size((5000, 5000), replace(GLAS, native_size=None)) == (256, 384)


def test_a_model_of_images_of_any_size_never_resizes() -> None:
    free = replace(INFO, image_size=None, native_size=(100, 200))
    assert working_size((7, 9), free) == (7, 9)
    assert working_size((1000, 1000), free) == (1000, 1000)
    assert (tile_size(free), tile_size(replace(free, native_size=None))) == ((100, 200), DEFAULT_TILE)
    assert tile_size(GLAS) == (256, 384)
