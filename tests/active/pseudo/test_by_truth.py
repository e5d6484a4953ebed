"""The control that takes the true masks."""

from __future__ import annotations

import numpy as np

from scripts.active.pseudo.by_truth import true_mask
from scripts.active.pseudo.chain import pseudo_target
from tests.active.pseudo.test_chain import case_of

PROBS = np.array([[0.1, 0.9, 0.8]])


def test_the_true_mask_stands_in_with_what_it_ignores() -> None:
    truth = np.array([[1, 0, 255]], np.uint8)
    found = pseudo_target(case_of(PROBS, truth=truth), [true_mask])
    np.testing.assert_array_equal(found.mask(), truth)


def test_an_image_without_a_mask_keeps_the_networks() -> None:
    np.testing.assert_array_equal(pseudo_target(case_of(PROBS), [true_mask]).mask(), [[0, 1, 1]])
