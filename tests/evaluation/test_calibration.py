from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from monai.metrics import calibration_binning

from scripts.core.errors import InputError
from scripts.evaluation.calibration import bin_sums, expected_calibration_error


def test_by_hand() -> None:
    probs = np.array([0.1, 0.9, 0.95, 0.5])
    sums = bin_sums(probs, np.array([0, 1, 0, 1]), bins=2)
    np.testing.assert_allclose(sums, [[1, 3], [0.1, 2.35], [0, 2]])
    # bin 0: |0.1 - 0| of one prediction; bin 1: |2.35/3 - 2/3| of three
    assert expected_calibration_error(sums) == pytest.approx((0.1 + 0.35) / 4)


def test_ends_of_the_range() -> None:
    sums = bin_sums(np.array([0.0, 1.0, 1 - 1e-12]), np.zeros(3))
    assert sums[0, 0] == 1 and sums[0, -1] == 2


def test_probabilities_that_come_true_as_often_as_they_say() -> None:
    rng = np.random.default_rng(0)
    probs = rng.random(200_000)
    sums = bin_sums(probs, rng.random(200_000) < probs)
    assert expected_calibration_error(sums) < 0.005
    assert expected_calibration_error(bin_sums(probs, np.ones(200_000))) == pytest.approx(0.5, abs=0.01)


def test_equals_monais_bins_where_float32_is_enough() -> None:
    rng = np.random.default_rng(0)
    probs = rng.random((12, 10)).astype(np.float32)
    truth = rng.random((12, 10)) < 0.3
    mean_p, mean_y, count = (
        t[0, 0].double().numpy()
        for t in calibration_binning(torch.from_numpy(probs)[None, None], torch.from_numpy(truth)[None, None], 15)
    )
    sums = bin_sums(probs.ravel(), truth.ravel())
    np.testing.assert_array_equal(sums[0], count)
    expected = np.nansum(count * np.abs(mean_p - mean_y)) / count.sum()
    assert expected_calibration_error(sums) == pytest.approx(expected, abs=1e-6)


def test_sums_of_images_add_up() -> None:
    rng = np.random.default_rng(0)
    probs, truth = rng.random(100), rng.random(100) < 0.5
    parts = np.stack([bin_sums(probs[i::4], truth[i::4]) for i in range(4)])
    np.testing.assert_allclose(parts.sum(axis=0), bin_sums(probs, truth))
    assert expected_calibration_error(parts).shape == (4,)


def test_many_pixels_lose_no_digits() -> None:
    sums = bin_sums(np.full(400_000, 0.99, dtype=np.float32), np.ones(400_000))
    assert expected_calibration_error(sums) == pytest.approx(1 - float(np.float32(0.99)), abs=1e-9)


def test_nothing_to_measure() -> None:
    assert math.isnan(expected_calibration_error(bin_sums(np.array([]), np.array([]))))


@pytest.mark.parametrize("bad", [np.array([1.1]), np.array([-0.1]), np.array([np.nan]), np.array([0.1, 0.2])])
def test_no_probabilities(bad: np.ndarray) -> None:
    with pytest.raises(InputError):
        bin_sums(bad, np.array([1]))
