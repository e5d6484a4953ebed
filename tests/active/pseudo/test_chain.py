"""The chain itself: the published masks without steps, odds, the order of steps and what each of them changed."""

from __future__ import annotations

import numpy as np

from scripts.active.pseudo.chain import DonorImage, PseudoCase, in_255ths, pseudo_target
from scripts.images.targets import PixelTarget
from scripts.networks.outputs import pseudo_mask


def case_of(
    probs: np.ndarray,
    threshold: float = 0.5,
    image: np.ndarray | None = None,
    donors: tuple[DonorImage, ...] = (),
    features: dict[str, np.ndarray] | None = None,
    truth: np.ndarray | None = None,
) -> PseudoCase:
    pixels = np.zeros((*probs.shape, 3), np.uint8) if image is None else image
    known = features or {}
    own = probs.astype(np.float32)
    return PseudoCase("u", own, threshold, lambda: pixels, lambda: donors, lambda: truth, known.__getitem__)


def test_without_steps_it_is_the_hard_mask_at_the_threshold() -> None:
    probs = np.random.default_rng(0).random((6, 7))
    found = pseudo_target(case_of(probs, 0.3), ())
    assert found.is_mask
    np.testing.assert_array_equal(found.mask(), pseudo_mask(probs.astype(np.float32), 0.3))


def test_odds_are_scaled_so_that_the_threshold_is_one_half() -> None:
    probs = np.array([[0.0, 0.3, 1.0, 0.6]])
    found = case_of(probs, 0.3).foreground
    np.testing.assert_allclose(found, [[0.0, 0.5, 1.0, (0.6 / 0.4) / (0.6 / 0.4 + 0.3 / 0.7)]], atol=1e-6)
    np.testing.assert_array_equal(case_of(probs).foreground, probs.astype(np.float32))


def test_each_step_gets_what_the_one_before_made_and_signs_what_it_changed() -> None:
    def all_foreground(case: PseudoCase, made: PixelTarget) -> tuple[np.ndarray, np.ndarray]:
        return np.full_like(made.target, 255), made.weight

    def half_weight_left(case: PseudoCase, made: PixelTarget) -> tuple[np.ndarray, np.ndarray]:
        assert (made.target == 255).all()
        weight = made.weight.copy()
        weight[:, 0] = 127
        return made.target, weight

    found = pseudo_target(case_of(np.array([[0.1, 0.2, 0.9]])), [all_foreground, half_weight_left])
    np.testing.assert_array_equal(found.target, [[255, 255, 255]])
    np.testing.assert_array_equal(found.weight, [[127, 255, 255]])
    np.testing.assert_array_equal(found.origin, [[2, 1, 0]])


def test_shares_are_rounded_to_255ths() -> None:
    np.testing.assert_array_equal(in_255ths(np.array([0.0, 0.5, 1.0, True])), [0, 128, 255, 255])
