"""Targets, weights and origins of pixels: as masks, as files, as what a training gets."""

from __future__ import annotations

import numpy as np
import pytest

from scripts.core.errors import InputError
from scripts.images.png import mask_to_png
from scripts.images.targets import PixelTarget, target_of_png

MASK = np.array([[0, 1, 255], [1, 1, 0]], np.uint8)
SOFT = PixelTarget(
    np.array([[0, 127, 128], [255, 60, 200]], np.uint8),
    np.array([[255, 255, 10], [0, 255, 255]], np.uint8),
    np.array([[0, 1, 2], [0, 0, 1]], np.uint8),
)


def test_a_mask_stays_a_mask() -> None:
    found = PixelTarget.of_mask(MASK)
    assert found.is_mask
    np.testing.assert_array_equal(found.mask(), MASK)
    np.testing.assert_array_equal(found.maps(), MASK)
    np.testing.assert_array_equal(found.hard(), [[0, 1, 0], [1, 1, 0]])
    assert found.to_png() == mask_to_png(MASK)
    np.testing.assert_array_equal(target_of_png(found.to_png()).mask(), MASK)


def test_soft_targets_are_cut_at_one_half_and_ignored_where_they_weigh_nothing() -> None:
    assert not SOFT.is_mask
    np.testing.assert_array_equal(SOFT.hard(), [[0, 0, 1], [1, 0, 1]])
    np.testing.assert_array_equal(SOFT.mask(), [[0, 0, 1], [255, 0, 1]])
    np.testing.assert_array_equal(SOFT.maps(), [SOFT.target, SOFT.weight])


def test_files_bring_back_all_three_maps() -> None:
    found = target_of_png(SOFT.to_png())
    for name in ("target", "weight", "origin"):
        np.testing.assert_array_equal(getattr(found, name), getattr(SOFT, name))


def test_a_hard_target_of_a_step_keeps_its_origin_and_is_a_mask_for_the_training() -> None:
    plain = PixelTarget.of_mask(MASK)
    made = PixelTarget(plain.target, plain.weight, np.ones(MASK.shape, np.uint8))
    np.testing.assert_array_equal(target_of_png(made.to_png()).origin, made.origin)
    np.testing.assert_array_equal(made.maps(), MASK)


@pytest.mark.parametrize(
    "maps",
    [
        (np.zeros((2, 2), np.uint8), np.zeros((2, 3), np.uint8), np.zeros((2, 2), np.uint8)),
        (np.zeros((2, 2), np.float32),) * 3,
        (np.zeros((1, 2, 2), np.uint8),) * 3,
    ],
)
def test_other_maps_are_refused(maps: tuple[np.ndarray, ...]) -> None:
    with pytest.raises(InputError, match="no maps of one image"):
        PixelTarget(*maps)
