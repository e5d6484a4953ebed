"""The vote of donors' pixels, against brute force, and what it takes the weight of."""

from __future__ import annotations

import numpy as np
import pytest

from scripts.active.pseudo.by_donors import AgreeWithDonors, _vote
from scripts.active.pseudo.chain import DonorImage, pseudo_target
from scripts.core.errors import InputError
from scripts.images.values import IGNORE
from tests.active.pseudo.test_chain import case_of


def test_vote_equals_brute_force() -> None:
    rng = np.random.default_rng(0)
    features, memory = rng.normal(size=(5, 3, 4)), rng.normal(size=(40, 5))
    foreground = rng.random(40) < 0.5
    found = _vote(features, memory, foreground, k=7, temperature=0.1)
    mean, spread = memory.mean(0), memory.std(0) + 1e-6
    for at, pixel in enumerate(features.reshape(5, -1).T):
        a, others = (pixel - mean) / spread, (memory - mean) / spread
        cosines = [a @ b / np.linalg.norm(a) / np.linalg.norm(b) for b in others]
        order = sorted(range(40), key=lambda i: -cosines[i])[:7]
        weights = [np.exp(cosines[i] / 0.1) for i in order]
        expected = sum(w for w, i in zip(weights, order, strict=True) if foreground[i]) / sum(weights)
        assert found[at] == pytest.approx(expected, rel=1e-5)


def two_tissues() -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Features of a donor and of an image, left half of one kind and right half of another; the donor's mask."""
    kinds = np.zeros((2, 4, 6), np.float32)
    kinds[0, :, :3], kinds[1, :, 3:] = 1.0, 1.0
    noise = np.random.default_rng(1).normal(scale=0.01, size=(2, *kinds.shape)).astype(np.float32)
    mask = np.zeros((8, 12), np.uint8)
    mask[:, :6] = 1
    return {"donor": kinds + noise[0], "u": kinds + noise[1]}, mask


def test_unsure_pixels_against_which_the_donors_vote_do_not_count() -> None:
    features, mask = two_tissues()
    probs = np.full((8, 12), 0.6)
    probs[:, 8:] = 0.95
    case = case_of(probs, donors=(DonorImage("donor", mask),), features=features)
    found = pseudo_target(case, [AgreeWithDonors(k=5, sure=0.4)])
    expected = np.ones((8, 12), np.uint8)
    expected[:, 6:8] = IGNORE  # unsure foreground where the donor says background; beyond, the network is sure
    np.testing.assert_array_equal(found.mask(), expected)


def test_pixels_that_the_oracle_left_out_do_not_vote() -> None:
    features, mask = two_tissues()
    mask[:, 6:] = IGNORE
    case = case_of(np.full((8, 12), 0.6), donors=(DonorImage("donor", mask),), features=features)
    assert (pseudo_target(case, [AgreeWithDonors(k=5)]).weight == 255).all()


def test_without_donors_nothing_changes() -> None:
    assert pseudo_target(case_of(np.full((4, 4), 0.6)), [AgreeWithDonors()]).is_mask


def test_the_pixels_drawn_are_the_same_each_time() -> None:
    features, mask = two_tissues()
    case = case_of(np.random.default_rng(2).random((8, 12)), donors=(DonorImage("donor", mask),), features=features)
    steps = [AgreeWithDonors(k=3, pixels=6), AgreeWithDonors(k=3, pixels=6)]
    first, second = (pseudo_target(case, [step]).weight for step in steps)
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(pseudo_target(case, [steps[0]]).weight, first)


@pytest.mark.parametrize("setting", [{"k": 0}, {"pixels": 0}, {"temperature": 0.0}, {"sure": 0.6}])
def test_settings_out_of_range_are_refused(setting: dict[str, float]) -> None:
    with pytest.raises(InputError, match=next(iter(setting))):
        AgreeWithDonors(**setting)  # type: ignore[arg-type]
