from __future__ import annotations

import numpy as np
import pytest

from scripts.images.regions import mask_cost
from scripts.images.windows import Window, covered, cut_out, drawn_cost

WHOLE = np.zeros((6, 8), dtype=np.uint8)
WHOLE[1:5, 1:7] = 1
LEFT, RIGHT = Window(0, 0, 6, 4), Window(0, 4, 6, 4)


def test_what_lies_outside_is_ignored() -> None:
    found = cut_out(WHOLE, [LEFT])
    np.testing.assert_array_equal(found[:, :4], WHOLE[:, :4])
    assert (found[:, 4:] == 255).all()
    np.testing.assert_array_equal(cut_out(WHOLE, [LEFT, RIGHT]), WHOLE)
    assert covered((6, 8), []).sum() == 0


@pytest.mark.parametrize(
    ("other", "expected"),
    [(RIGHT, False), (Window(6, 0, 1, 1), False), (Window(5, 3, 1, 1), True), (Window(2, 2, 1, 1), True), (LEFT, True)],
)
def test_overlap_is_a_pixel_in_common(other: Window, expected: bool) -> None:
    assert LEFT.overlaps(other) is other.overlaps(LEFT) is expected


def test_edge_of_a_window_costs_nothing_and_windows_add_up() -> None:
    # of the object of 4 x 6 pixels, 3 columns lie in the left window: 3 above, 3 below, and 2 more at the left
    assert drawn_cost(cut_out(WHOLE, [LEFT]), [LEFT]) == (12, 8)
    assert drawn_cost(cut_out(WHOLE, [LEFT, RIGHT]), [LEFT, RIGHT]) == (24, 16) == mask_cost(WHOLE)


def test_without_windows_all_of_it_was_drawn() -> None:
    assert drawn_cost(WHOLE, ()) == mask_cost(WHOLE)


def test_ignored_pixels_inside_of_a_window_are_outside_of_the_object() -> None:
    mask = WHOLE.copy()
    mask[1:5, 2] = 255
    assert drawn_cost(cut_out(mask, [LEFT]), [LEFT]) == (8, 8)


def test_borders_of_the_image_are_outlines_in_windows_too() -> None:
    ones = np.ones((4, 5), dtype=np.uint8)
    assert drawn_cost(cut_out(ones, [Window(0, 0, 2, 2)]), [Window(0, 0, 2, 2)]) == (4, 3)


def test_a_window_is_told_to_people_by_its_first_and_last_pixels() -> None:
    assert str(Window(2, 3, 4, 5)) == "columns 3 to 7, rows 2 to 5"
