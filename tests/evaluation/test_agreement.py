"""Majorities of masks, and how far annotators agree."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from scripts.evaluation.agreement import agreement, consensus


def test_majority_pixel_by_pixel() -> None:
    votes = list(itertools.product((0, 1, 255), repeat=3))
    masks = [np.array([[vote[i] for vote in votes]], np.uint8) for i in range(3)]
    for vote, found in zip(votes, consensus(masks)[0], strict=True):
        ones, zeros = vote.count(1), vote.count(0)
        assert found == (1 if ones > zeros else 0 if zeros > ones else 255)


def test_two_annotators_who_differ_are_ignored_there() -> None:
    first, second = np.array([[1, 1, 0]], np.uint8), np.array([[1, 0, 0]], np.uint8)
    assert consensus([first, second]).tolist() == [[1, 255, 0]]
    assert consensus([first]) is first


def test_many_annotators_do_not_overflow() -> None:
    assert consensus([np.ones((1, 1), np.uint8)] * 300 + [np.zeros((1, 1), np.uint8)]).tolist() == [[1]]


@pytest.mark.parametrize("masks", [[], [np.zeros((2, 2), np.uint8), np.zeros((2, 3), np.uint8)]])
def test_no_masks_or_of_several_sizes(masks: list[np.ndarray]) -> None:
    with pytest.raises(ValueError, match="one size"):
        consensus(masks)


def test_agreement_is_the_mean_dice_of_pairs() -> None:
    a, b, c = (np.array([row], np.uint8) for row in ([1, 1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 1]))
    assert agreement([a, b]) == pytest.approx(2 / 3)
    assert agreement([a, b, c]) == pytest.approx((2 / 3 + 0 + 0) / 3)
    assert agreement([a]) is None
    empty = np.zeros((1, 4), np.uint8)
    assert agreement([empty, empty]) == 1.0
    assert agreement([a, np.array([[1, 255, 0, 0]], np.uint8)]) == pytest.approx(1.0)
