"""Soft targets and sure pixels, against the formulas."""

from __future__ import annotations

import numpy as np
import pytest

from scripts.active.pseudo.by_confidence import Confident, soft
from scripts.active.pseudo.chain import pseudo_target
from scripts.core.errors import InputError
from tests.active.pseudo.test_chain import case_of

PROBS = np.array([[0.02, 0.11, 0.45, 0.55, 0.89, 0.97]])


def test_soft_targets_are_the_probabilities() -> None:
    found = pseudo_target(case_of(PROBS), [soft])
    np.testing.assert_allclose(found.target / 255, PROBS, atol=0.5 / 255 + 1e-6)
    assert (found.weight == 255).all()


def test_soft_targets_cut_at_one_half_are_the_hard_mask_at_the_threshold() -> None:
    probs = np.random.default_rng(1).random((50, 50))
    found = pseudo_target(case_of(probs, 0.2), [soft])
    hard = probs.astype(np.float32) >= 0.2
    near = np.abs(case_of(probs, 0.2).foreground - 0.5) < 1 / 255  # rounding to 255ths
    np.testing.assert_array_equal(found.hard()[~near], hard[~near])


def test_only_sure_pixels_count_and_targets_stay_hard() -> None:
    found = pseudo_target(case_of(PROBS), [Confident(0.9)])
    np.testing.assert_array_equal(found.mask(), [[0, 255, 255, 255, 255, 1]])
    np.testing.assert_array_equal(found.origin, [[0, 1, 1, 1, 1, 0]])


def test_sureness_is_of_the_scaled_odds() -> None:
    found = pseudo_target(case_of(np.array([[0.2, 0.02]]), 0.1), [Confident(0.6)])
    np.testing.assert_array_equal(found.mask(), [[1, 0]])  # odds 0.25 and 0.0204 against 0.111


@pytest.mark.parametrize("least", [0.4, 1.1, float("nan")])
def test_other_shares_are_refused(least: float) -> None:
    with pytest.raises(InputError, match=r"0\.5 to 1"):
        Confident(least)
