from __future__ import annotations

import numpy as np
import pytest
import torch

from scripts.core.errors import InputError
from scripts.evaluation.metrics import dice
from scripts.evaluation.thresholds import Threshold, ThresholdStats, grid
from scripts.networks.outputs import pseudo_mask


def _maps(data):
    probs = [torch.sigmoid(torch.tensor(logits)).numpy()[0] for logits in data["logits"]]  # each (5, 6) float32
    truths = [np.array(mask, dtype=np.uint8)[0] for mask in data["true_masks"]]
    return probs, truths


def _estimated(pairs, thresholds=None) -> Threshold:
    """The estimate of pairs of probabilities and truth; of one candidate, what that one reaches."""
    stats = ThresholdStats(thresholds)
    for pair in pairs:
        stats.update(*pair)
    return stats.compute()


def test_threshold_equals_golden(golden):
    data = golden("threshold_estimation")
    pairs = list(zip(*_maps(data), strict=True))
    result = _estimated(pairs)
    assert result.value == data["best_threshold"]
    assert (result.dice, result.miou) == pytest.approx((data["best_dice"], data["best_miou"]), abs=1e-6)
    table = np.array(data["threshold_meanDice_meanMIoU"])
    np.testing.assert_allclose(grid(), table[:, 0], atol=1e-9)
    each = [_estimated(pairs, grid()[[at]]) for at in range(len(grid()))]
    np.testing.assert_allclose([found.dice for found in each], table[:, 1], atol=1e-6)
    np.testing.assert_allclose([found.miou for found in each], table[:, 2], atol=1e-6)
    assert (len(grid()), grid()[0], grid()[-1]) == (data["grid_size"], data["grid_first"], data["grid_last"])


def test_first_maximum_wins():
    # every threshold in (0.2, 0.8] separates perfectly; 0.21 is the first of the grid
    probs = np.array([[0.2, 0.8]], dtype=np.float32)
    truth = np.array([[0, 1]], dtype=np.uint8)
    result = _estimated([(probs, truth)])
    # float32(0.2) is above 0.2, and the grid's 0.2 is not above it
    assert result.value == grid()[16] == pytest.approx(0.21)
    assert result.miou == 1.0


def test_images_weigh_the_same_whatever_their_size():
    small = np.array([[0.3]], dtype=np.float32), np.array([[1]], dtype=np.uint8)
    large = np.full((50, 50), 0.3, dtype=np.float32), np.zeros((50, 50), dtype=np.uint8)
    each = [_estimated([small, large], np.array([threshold])) for threshold in (0.1, 0.5)]
    np.testing.assert_allclose([found.dice for found in each], [0.5, 0.0], atol=1e-7)
    expected = [0.5 * (1.0 + 0.5 * (1 / 2501 + 1 / 2501)), 0.5 * (0.5 + 1.0)]
    np.testing.assert_allclose([found.miou for found in each], expected)
    best = _estimated([small, large], np.array([0.1, 0.5]))
    assert best == each[1]


def test_without_images_or_with_a_bad_grid():
    with pytest.raises(InputError, match="no image"):
        ThresholdStats().compute()
    with pytest.raises(InputError, match="ascending"):
        ThresholdStats(np.array([0.5, 0.4]))


def test_pseudo_mask_agrees_with_the_counts_at_every_threshold():
    # float32(0.07) lies below 0.07 in float64: a float32 comparison would call it foreground
    probs = grid().astype(np.float32)[None]
    truth = np.ones_like(probs, dtype=np.uint8)
    for threshold in grid():
        counted = _estimated([(probs, truth)], np.array([threshold])).dice
        assert counted == dice(pseudo_mask(probs, threshold), truth)


class TestForegroundOnly:
    DRAWN = np.array([[0.2, 0.8]], np.float32), np.array([[0, 1]], np.uint8)
    EMPTY = np.array([[0.3, 0.1]], np.float32), np.array([[0, 0]], np.uint8)

    def estimated(self, *pairs: tuple[np.ndarray, np.ndarray]) -> Threshold:
        stats = ThresholdStats(foreground_only=True)
        for pair in pairs:
            stats.update(*pair)
        return stats.compute()

    def test_images_without_foreground_are_kept_apart(self):
        alone, beside = self.estimated(self.DRAWN), self.estimated(self.DRAWN, self.EMPTY)
        assert (beside.value, beside.dice, beside.miou) == (alone.value, alone.dice, alone.miou)
        assert (alone.clean_share, alone.false_area) == (None, None)
        assert (beside.clean_share, beside.false_area) == (0.0, 0.5)  # of 0.3 and 0.1 one reaches 0.21
        clean = np.zeros((1, 2), np.float32), self.EMPTY[1]
        both = self.estimated(self.DRAWN, self.EMPTY, clean)
        assert (both.clean_share, both.false_area) == (0.5, 0.25)

    def test_masks_that_are_ignored_everywhere_say_nothing(self):
        ignored = self.EMPTY[0], np.full((1, 2), 255, np.uint8)
        assert self.estimated(self.DRAWN, ignored) == self.estimated(self.DRAWN)

    def test_only_empty_masks_are_no_estimate(self):
        with pytest.raises(InputError, match="no image with a mask"):
            self.estimated(self.EMPTY)
