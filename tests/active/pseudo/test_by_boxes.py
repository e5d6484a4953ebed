"""Refinement by a model of boxes: what it is asked about, and what becomes of its answer."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from scripts.active.pseudo.by_boxes import RefineWithBoxes
from scripts.active.pseudo.chain import pseudo_target
from scripts.core.errors import InputError, Problem
from tests.active.pseudo.test_chain import case_of


class Filled:
    """A model that says 0.8 within every box."""

    def __init__(self) -> None:
        self.asked: list[list[list[int]]] = []

    def require(self) -> None:
        raise InputError(Problem("package is missing", "boxes"))

    def foreground(self, key: str, image: Callable[[], np.ndarray], boxes: np.ndarray) -> np.ndarray:
        self.asked.append(boxes.tolist())
        found = np.zeros(image().shape[:2], np.float32)
        for x0, y0, x1, y1 in boxes:
            found[y0:y1, x0:x1] = 0.8
        return found


def probs_with(size: tuple[int, int], *frames: tuple[int, int, int, int]) -> np.ndarray:
    probs = np.full(size, 0.1)
    for x0, y0, x1, y1 in frames:
        probs[y0:y1, x0:x1] = 0.9
        probs[y0, x0] = 0.2  # a corner that the frame holds and the region does not
    return probs


def test_the_mixture_of_network_and_model_over_the_frames_of_its_objects() -> None:
    probs = probs_with((20, 30), (2, 3, 8, 9), (15, 10, 25, 18))
    model = Filled()
    found = pseudo_target(case_of(probs), [RefineWithBoxes(model, share=0.25)])
    assert model.asked == [[[2, 3, 8, 9], [15, 10, 25, 18]]]
    said = model.foreground("u", lambda: np.zeros((20, 30, 3), np.uint8), np.array(model.asked[0]))
    np.testing.assert_allclose(found.target / 255, 0.75 * probs + 0.25 * said, atol=0.5 / 255 + 1e-6)
    assert (found.weight == 255).all()
    assert (found.origin == 1).all()


def test_small_regions_are_not_asked_about() -> None:
    model = Filled()
    pseudo_target(case_of(probs_with((20, 30), (2, 3, 5, 6), (15, 10, 25, 18))), [RefineWithBoxes(model, 0.5, 0.02)])
    assert model.asked == [[[15, 10, 25, 18]]]


def test_without_objects_the_networks_own_low_probabilities_are_left() -> None:
    model = Filled()
    found = pseudo_target(case_of(np.full((4, 4), 0.2)), [RefineWithBoxes(model)])
    assert model.asked == [[]]
    assert not found.hard().any()


def test_hard_targets_are_the_mixture_cut_at_one_half() -> None:
    probs = probs_with((20, 30), (2, 3, 8, 9))
    found = pseudo_target(case_of(probs), [RefineWithBoxes(Filled(), share=0.5, hard=True)])
    expected = np.zeros((20, 30), np.uint8)
    expected[3:9, 2:8] = 1  # the corner too: (0.2 + 0.8) / 2
    np.testing.assert_array_equal(found.mask(), expected)


def test_the_model_is_required_before_a_run() -> None:
    with pytest.raises(InputError, match="package is missing"):
        RefineWithBoxes(Filled()).require()


@pytest.mark.parametrize(("share", "least"), [(-0.1, 0.0), (1.5, 0.0), (0.5, 2.0)])
def test_other_shares_are_refused(share: float, least: float) -> None:
    with pytest.raises(InputError, match="no share"):
        RefineWithBoxes(Filled(), share, least)
