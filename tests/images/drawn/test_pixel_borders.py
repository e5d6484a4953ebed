"""Borders of painted masks: drawn again they are the same masks, whatever touches what."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from scripts.images.drawn.outline_drawing import draw_outlines
from scripts.images.drawn.pixel_borders import borders, painted, runs_of_mask, runs_of_spans


def masks() -> list[np.ndarray]:
    """Masks of all densities, with every way that four pixels can meet."""
    rng = np.random.default_rng(0)
    found = [(rng.random((rng.integers(1, 20), rng.integers(1, 20))) < share) for share in np.linspace(0, 1, 40)]
    ring = np.ones((9, 12), bool)
    ring[2:7, 2:10] = False
    ring[4, 4:6] = True  # an island in a hole
    return [*found, ring, np.eye(5, dtype=bool), ~np.eye(5, dtype=bool), np.fliplr(np.eye(4)) > 0]


@pytest.mark.parametrize("number", range(len(masks())))
def test_a_mask_drawn_of_its_borders_is_the_same(number: int) -> None:
    mask = masks()[number]
    runs = runs_of_mask(mask)
    shape = (mask.shape[0], mask.shape[1])
    if not mask.any():
        assert borders(runs) == []
        return
    np.testing.assert_array_equal(draw_outlines([painted(runs)], shape), mask)
    by_columns = painted(runs_of_mask(mask.T), are_columns=True)
    np.testing.assert_array_equal(draw_outlines([by_columns], shape), mask)
    moved = draw_outlines([painted(runs, (3, 2))], (shape[0] + 5, shape[1] + 5))
    np.testing.assert_array_equal(moved[2:-3, 3:-2], mask)
    assert moved.sum() == mask.sum()


@pytest.mark.parametrize("number", range(len(masks())))
def test_each_ring_around_foreground_has_one_object_inside(number: int) -> None:
    mask = masks()[number]
    rings = borders(runs_of_mask(mask))
    objects, count = ndimage.label(mask)
    holes = ndimage.label(~np.pad(mask, 1), np.ones((3, 3)))[1] - 1
    assert [sum(around is side for _, around in rings) for side in (True, False)] == [count, holes]
    begins = [ring[0].astype(int) for ring, around in rings if around]
    assert sorted(objects[y, x] for x, y in begins) == list(range(1, count + 1))
    for ring, _ in rings:  # sides along the axes in turn: no corner could be left out
        steps = np.roll(ring, -1, axis=0) - ring
        assert ((steps != 0).sum(axis=1) == 1).all()
        assert ((steps[:, 0] != 0) != (np.roll(steps, 1, axis=0)[:, 0] != 0)).all()


def test_runs_over_each_other_count_once() -> None:
    runs = np.array([[0, 2, 5], [0, 4, 9], [0, 9, 10], [2, 0, 1], [0, 3, 4]])
    expected = np.zeros((3, 12), np.uint8)
    expected[0, 2:10] = expected[2, 0] = 1
    np.testing.assert_array_equal(draw_outlines([painted(runs)], (3, 12)), expected)


def test_spans_go_on_in_the_next_line() -> None:
    flat = np.random.default_rng(1).random(84) < 0.5
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flat, [0]])))
    runs = runs_of_spans(edges.reshape(-1, 2), 7)
    np.testing.assert_array_equal(draw_outlines([painted(runs)], (12, 7)), flat.reshape(12, 7))
    whole = runs_of_spans(np.array([[0, 84]]), 7)
    assert [ring.tolist() for ring, _ in borders(whole)] == [[[0, 0], [7, 0], [7, 12], [0, 12]]]
