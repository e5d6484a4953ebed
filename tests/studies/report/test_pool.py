from __future__ import annotations

import numpy as np
import pytest

from scripts.core.errors import InputError
from scripts.studies.report.pool import PoolView, drawn_ids, soft_iou


def test_small_pools_are_drawn_whole() -> None:
    assert drawn_ids(["b", "a"], ["a"], most=2) == ["b", "a"]


@pytest.mark.parametrize("most", [1, 5, 40, 999])
def test_large_pools_keep_what_was_asked_and_are_spread_over_the_list(most: int) -> None:
    ids = [f"i{number:04d}" for number in range(1000)]
    asked = ["i0999", "i0500", "i0000"]
    found = drawn_ids(ids, asked, most)
    assert len(found) == len(set(found)) == most and found == sorted(found)
    assert set(asked[:most]) <= set(found)
    if most == 40:
        places = [int(key[1:]) for key in found if key not in asked]
        assert max(np.diff(places)) < 60


def test_soft_iou_of_hard_probabilities_is_iou() -> None:
    rng = np.random.default_rng(0)
    mask, other = rng.integers(0, 2, (2, 20, 30))
    expected = (mask & other).sum() / (mask | other).sum()
    assert soft_iou(mask, other.astype(np.float32), 255) == pytest.approx(expected)


def test_soft_iou_leaves_ignored_pixels_out() -> None:
    mask = np.array([[1, 0, 255]])
    assert soft_iou(mask, np.array([[0.5, 0.5, 0.9]]), 255) == pytest.approx(0.5 / (1 + 1 - 0.5))
    assert soft_iou(np.zeros((2, 2)), np.zeros((2, 2)), 255) == 1.0


@pytest.mark.parametrize("features", [np.zeros((2, 3)), np.zeros(3), np.full((3, 2), np.nan)])
def test_a_pool_has_one_row_of_finite_features_per_image(features: np.ndarray) -> None:
    with pytest.raises(InputError):
        PoolView("run", ["a", "b", "c"], ["x", "x", "y"], features, {}, [], [], 3)
