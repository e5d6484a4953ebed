from __future__ import annotations

import numpy as np
import pytest

from scripts.images.regions import connected_components


def flooded(mask: np.ndarray, corners: bool = True) -> np.ndarray:
    """The same by filling from pixel to pixel."""
    labels = np.zeros(mask.shape, dtype=np.int32)
    number = 0
    for seed in zip(*np.nonzero(mask), strict=True):
        if labels[seed]:
            continue
        number += 1
        waiting = [seed]
        while waiting:
            y, x = waiting.pop()
            if not (0 <= y < mask.shape[0] and 0 <= x < mask.shape[1]) or not mask[y, x] or labels[y, x]:
                continue
            labels[y, x] = number
            waiting += [(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if corners or 0 in (dy, dx)]
    return labels


@pytest.mark.parametrize("share", [0.05, 0.3, 0.4, 0.6, 0.95])
@pytest.mark.parametrize("shape", [(30, 41), (1, 50), (50, 1), (2, 2)])
def test_equals_a_flood_fill(share: float, shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    for _ in range(5):
        mask = rng.random(shape) < share
        np.testing.assert_array_equal(connected_components(mask), flooded(mask))
        np.testing.assert_array_equal(connected_components(mask, corners=False), flooded(mask, corners=False))


def test_corners_connect() -> None:
    np.testing.assert_array_equal(connected_components(np.eye(4)), np.eye(4))
    np.testing.assert_array_equal(connected_components(np.eye(4)[::-1]), np.eye(4)[::-1])
    assert connected_components(np.eye(4), corners=False).max() == 4


def test_spiral_and_comb_are_one_object() -> None:
    spiral = np.zeros((41, 41), dtype=bool)
    for ring in range(0, 20, 2):
        spiral[ring : 41 - ring, ring] = spiral[ring, ring : 41 - ring] = True
        spiral[40 - ring, ring : 41 - ring] = spiral[ring + 2 : 41 - ring, 40 - ring] = True
        spiral[ring + 2, ring : ring + 3] = True
    np.testing.assert_array_equal(connected_components(spiral), flooded(spiral))
    comb = np.zeros((20, 401), dtype=bool)
    comb[:, ::2], comb[-1] = True, True
    assert connected_components(comb).max() == 1


@pytest.mark.parametrize("value", [0, 1])
def test_uniform_masks(value: int) -> None:
    labels = connected_components(np.full((5, 7), value, dtype=np.uint8))
    assert labels.dtype == np.int32 and (labels == value).all()


def test_rows_do_not_touch_around_the_edge() -> None:
    mask = np.zeros((3, 5), dtype=bool)
    mask[0, 4] = mask[1, 0] = True
    assert connected_components(mask).max() == 2
