from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from scripts.active.strategies.by_cluster import _typicality
from scripts.active.strategies.distances import distance_blocks


def all_distances(features: np.ndarray, rows: int) -> np.ndarray:
    blocks = list(distance_blocks(features, rows))
    np.testing.assert_array_equal(np.concatenate([block for block, _ in blocks]), np.arange(len(features)))
    return np.concatenate([distance for _, distance in blocks])


def unlike(kind: str, n: int = 60, d: int = 200) -> np.ndarray:
    """Rows with the troubles of |a|^2 + |b|^2 - 2ab."""
    rng = np.random.default_rng(0)
    points = rng.normal(size=(n, d))
    if kind == "length 1":
        return points / np.linalg.norm(points, axis=1, keepdims=True)
    if kind == "far from zero":
        return points + 1e6
    if kind == "one far off":
        points[7] *= 1e7
    if kind == "near each other":
        points[n // 2 :] = points[: n // 2] * (1 + 1e-9 * rng.normal(size=(n // 2, 1)))
    return points * 1e-12 if kind == "small" else points


KINDS = pytest.mark.parametrize("kind", ["length 1", "far from zero", "one far off", "near each other", "small"])


@KINDS
@pytest.mark.parametrize("rows", [7, 512])
def test_are_those_of_the_differences(kind: str, rows: int) -> None:
    features = unlike(kind)
    np.testing.assert_allclose(all_distances(features, rows), cdist(features, features), rtol=2e-7)


@KINDS
@pytest.mark.parametrize("rows", [7, 512])
def test_equal_rows_are_at_zero_and_as_far_from_others(kind: str, rows: int) -> None:
    points = unlike(kind)
    which = np.random.default_rng(1).integers(0, len(points), 150)
    found = all_distances(points[which], rows)
    np.testing.assert_array_equal(found == 0, which[:, None] == which)
    np.testing.assert_array_equal(found, found.T)
    for row in set(which):
        same = found[which == row]
        np.testing.assert_array_equal(same, np.broadcast_to(same[0], same.shape))


@KINDS
@pytest.mark.parametrize("neighbours", [1, 5, 40])
def test_typicality_does_not_count_the_image_itself(kind: str, neighbours: int) -> None:
    features = np.concatenate([unlike(kind), unlike(kind)[:9]])  # 9 images twice
    distance = cdist(features, features)
    others = [np.sort(np.delete(row, at))[: min(neighbours, 34)] for at, row in enumerate(distance)]
    expected = 1 / (np.mean(others, axis=1) + 1e-5)
    np.testing.assert_allclose(_typicality(features, neighbours), expected, rtol=2e-7)


def test_typicality_of_equal_images_is_equal() -> None:
    points = np.random.default_rng(0).normal(size=(30, 300))
    found = _typicality(np.concatenate([points, points, points]), 20).reshape(3, 30)
    np.testing.assert_array_equal(found, np.broadcast_to(found[0], found.shape))


def test_the_nearest_two_of_three_are_equally_typical() -> None:
    found = np.sort(_typicality(np.random.default_rng(0).normal(size=(3, 300)), 20))
    assert found[0] < found[1] == found[2]
