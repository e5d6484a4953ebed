from __future__ import annotations

import numpy as np
import pytest

from scripts.core.errors import InputError
from scripts.evaluation.objects import ObjectSums, object_sums, overlaps, stacked


def row(*lengths: tuple[int, int]) -> np.ndarray:
    """One row of pixels: (value, how many) one after the other."""
    return np.concatenate([np.full(n, value) for value, n in lengths])[None]


def brute(pred: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    """Object Dice and F1 of one image, from sets of pixels, as the paper writes them."""
    s, g = ([set(np.flatnonzero(labels == value)) for value in np.unique(labels) if value] for labels in (pred, truth))
    if not s or not g:
        return (1.0, 1.0) if not s and not g else (0.0, 0.0)

    def one_way(mine: list[set], theirs: list[set]) -> float:
        total = sum(map(len, mine))
        found = 0.0
        for one in mine:
            other = max(theirs, key=lambda candidate: len(one & candidate))
            found += len(one) / total * 2 * len(one & other) / (len(one) + len(other))
        return found

    detected = set()
    for one in s:
        best = max(range(len(g)), key=lambda i: len(one & g[i]))
        if len(one & g[best]) >= 0.5 * len(g[best]):
            detected.add(best)
    tp = len(detected)
    return 0.5 * (one_way(s, g) + one_way(g, s)), 2 * tp / (len(s) + len(g))


class TestByHand:
    def test_two_true_objects_merged_into_one(self) -> None:
        truth, pred = row((1, 6), (0, 2), (2, 4)), row((1, 12))
        found = object_sums(pred, truth)
        assert (found.tp, found.n_true, found.n_pred) == (1, 2, 1)
        assert found.f1 == pytest.approx(2 / 3)
        # true: (6 * 12/18 + 4 * 8/16) / 10 = 0.6; predicted: its counterpart is the larger: 12/18
        assert found.dice == pytest.approx(0.5 * (0.6 + 12 / 18))

    def test_one_true_object_split_in_two(self) -> None:
        found = object_sums(row((1, 5), (0, 1), (2, 4)), row((7, 10)))
        assert (found.tp, found.n_true, found.n_pred) == (1, 1, 2)
        # true: counterpart of 5 pixels, 10/15; predicted: (5 * 10/15 + 4 * 8/14) / 9
        assert found.dice == pytest.approx(0.5 * (10 / 15 + (5 * 10 / 15 + 4 * 8 / 14) / 9))

    def test_halves_of_one_object_detect_it_once(self) -> None:
        found = object_sums(row((1, 5), (2, 5)), row((1, 10)))
        assert (found.tp, found.f1) == (1, pytest.approx(2 / 3))

    def test_half_covers_and_less_does_not(self) -> None:
        assert object_sums(row((1, 5), (0, 5)), row((1, 10))).tp == 1
        assert object_sums(row((1, 4), (0, 6)), row((1, 10))).tp == 0

    def test_an_object_counts_for_the_one_it_overlaps_most(self) -> None:
        # it covers both true objects wholly and detects only the larger
        assert object_sums(row((1, 10)), row((1, 4), (2, 6))).tp == 1

    def test_no_overlap(self) -> None:
        found = object_sums(row((1, 3), (0, 7)), row((0, 7), (1, 3)))
        assert (found.f1, found.dice) == (0.0, 0.0)

    def test_perfect(self) -> None:
        truth = row((3, 4), (0, 1), (9, 2))
        found = object_sums(truth, truth)
        assert (found.f1, found.dice) == (1.0, 1.0)

    @pytest.mark.parametrize(("pred", "truth", "expected"), [(0, 0, 1.0), (0, 1, 0.0), (1, 0, 0.0)])
    def test_empty_images(self, pred: int, truth: int, expected: float) -> None:
        found = object_sums(row((pred, 9)), row((truth, 9)))
        assert (found.f1, found.dice) == (expected, expected)


@pytest.mark.parametrize("seed", range(20))
def test_equals_sets_of_pixels(seed: int) -> None:
    rng = np.random.default_rng(seed)
    highest = rng.integers(0, 6, 2)
    pred, truth = (np.kron(rng.integers(0, n + 1, (6, 6)), np.ones((3, 2), dtype=int)) for n in highest)
    found = object_sums(pred, truth)
    assert (found.dice, found.f1) == pytest.approx(brute(pred, truth), abs=1e-12)


def test_values_of_objects_do_not_matter() -> None:
    rng = np.random.default_rng(0)
    pred, truth = rng.integers(0, 4, (2, 9, 9))
    names = np.array([0, 7, 300, 65535])
    assert object_sums(names[pred], truth) == object_sums(pred, truth)


def test_set_of_images_pools_their_objects() -> None:
    images = [(row((1, 4), (0, 6)), row((1, 10))), (row((1, 5)), row((1, 5)))]
    many = stacked([object_sums(*pair) for pair in images])
    np.testing.assert_allclose(many.f1, [0.0, 1.0])
    total = ObjectSums(**{name: values.sum() for name, values in vars(many).items()})
    assert total.f1 == pytest.approx(0.5)
    # areas 10 and 5 with Dice 8/14 and 1, areas 4 and 5 with the same
    assert total.dice == pytest.approx(0.5 * ((10 * 8 / 14 + 5) / 15 + (4 * 8 / 14 + 5) / 9))


def test_overlaps_counts_every_pixel() -> None:
    np.testing.assert_array_equal(overlaps(row((0, 2), (5, 3)), row((0, 1), (2, 4))), [[1, 1], [0, 3]])
    np.testing.assert_array_equal(overlaps(row((5, 3)), row((2, 3))), [[0, 0], [0, 3]])  # background is always there


def test_shapes_must_agree() -> None:
    with pytest.raises(InputError, match="shape"):
        object_sums(np.zeros((3, 4), dtype=int), np.zeros((4, 3), dtype=int))
