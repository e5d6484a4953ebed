"""Objects, specks and holes by a slow independent flood fill; outlines and costs by hand and by looking around."""

from __future__ import annotations

import numpy as np
import pytest

from scripts.core.errors import InputError
from scripts.images.regions import (
    Cleaning,
    component_boxes,
    connected_components,
    grown,
    mask_cost,
    object_boxes,
    outline,
)


def areas(mask: np.ndarray, corners: bool) -> list[set[tuple[int, int]]]:
    """Connected areas of the true pixels, one after the other by flood fill."""
    steps = [(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1) if (y, x) != (0, 0) and (corners or 0 in (y, x))]
    left = {(int(y), int(x)) for y, x in zip(*np.nonzero(mask), strict=True)}
    found = []
    while left:
        waiting = [left.pop()]
        area = set(waiting)
        while waiting:
            y, x = waiting.pop()
            for near in ((y + dy, x + dx) for dy, dx in steps):
                if near in left:
                    left.remove(near)
                    area.add(near)
                    waiting.append(near)
        found.append(area)
    return found


def numbered(mask: np.ndarray, corners: bool = True) -> np.ndarray:
    """The areas in the order of their first pixels."""
    labels = np.zeros(mask.shape, dtype=np.int32)
    for number, area in enumerate(sorted(areas(mask, corners), key=min), 1):
        for at in area:
            labels[at] = number
    return labels


class TestConnectedComponents:
    @pytest.mark.parametrize("share", [0.05, 0.3, 0.4, 0.6, 0.95])
    @pytest.mark.parametrize("shape", [(30, 41), (1, 50), (50, 1), (2, 2)])
    def test_equals_a_flood_fill(self, share: float, shape: tuple[int, int]) -> None:
        rng = np.random.default_rng(0)
        for _ in range(5):
            mask = rng.random(shape) < share
            for form in (mask, np.asfortranarray(mask), mask.T, mask[::-1, ::-1]):  # rows come first in all of them
                np.testing.assert_array_equal(connected_components(form), numbered(form))
                np.testing.assert_array_equal(connected_components(form, corners=False), numbered(form, corners=False))

    def test_corners_connect(self) -> None:
        np.testing.assert_array_equal(connected_components(np.eye(4)), np.eye(4))
        np.testing.assert_array_equal(connected_components(np.eye(4)[::-1]), np.eye(4)[::-1])
        assert connected_components(np.eye(4), corners=False).max() == 4

    def test_spiral_and_comb_are_one_object(self) -> None:
        spiral = np.zeros((41, 41), dtype=bool)
        for ring in range(0, 20, 2):
            spiral[ring : 41 - ring, ring] = spiral[ring, ring : 41 - ring] = True
            spiral[40 - ring, ring : 41 - ring] = spiral[ring + 2 : 41 - ring, 40 - ring] = True
            spiral[ring + 2, ring : ring + 3] = True
        np.testing.assert_array_equal(connected_components(spiral), numbered(spiral))
        comb = np.zeros((20, 401), dtype=bool)
        comb[:, ::2], comb[-1] = True, True
        assert connected_components(comb).max() == 1

    @pytest.mark.parametrize("value", [0, 1])
    def test_uniform_masks(self, value: int) -> None:
        labels = connected_components(np.full((5, 7), value, dtype=np.uint8))
        assert labels.dtype == np.int32 and (labels == value).all()

    def test_rows_do_not_touch_around_the_edge(self) -> None:
        mask = np.zeros((3, 5), dtype=bool)
        mask[0, 4] = mask[1, 0] = True
        assert connected_components(mask).max() == 2


class TestOutline:
    def test_is_what_touches_the_outside_by_a_side(self) -> None:
        square, inner = np.zeros((2, 40, 50), dtype=bool)
        square[5:10, 5:10] = inner[6:9, 6:9] = True
        np.testing.assert_array_equal(outline(square), square & ~inner)
        whole = outline(np.ones((4, 5)))
        assert whole.sum() == 14 and not whole[1:-1, 1:-1].any()
        corner = np.ones((5, 5), dtype=bool)
        corner[0, 0] = False  # a missing corner pixel opens no side of the pixel within
        assert not outline(corner)[1, 1]

    @pytest.mark.parametrize("seed", range(6))
    def test_outline_and_growth_by_looking_around(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        mask = (rng.random(rng.integers(1, 20, 2)) < 0.1 + 0.15 * seed).astype(np.uint8) * 255
        around = np.pad(mask != 0, 1)
        for at in np.ndindex(mask.shape):
            near = around[at[0] : at[0] + 3, at[1] : at[1] + 3]
            assert outline(mask)[at] == (near[1, 1] and not (near[1].all() and near[:, 1].all()))
            assert grown(mask)[at] == near.any()


class TestMaskCost:
    def test_costs_of_a_square(self) -> None:
        mask = np.zeros((10, 12), dtype=np.uint8)
        mask[2:7, 3:9] = 1  # 5 x 6: its contour has 2 * 5 + 2 * 6 - 4 pixels
        assert mask_cost(mask) == (30, 18)

    def test_the_edge_of_the_image_is_drawn_too(self) -> None:
        assert mask_cost(np.ones((4, 5), dtype=np.uint8)) == (20, 14)

    def test_ignored_pixels_cost_nothing_and_are_outside(self) -> None:
        mask = np.ones((5, 5), dtype=np.uint8)
        mask[2, 2] = 255
        assert mask_cost(mask) == (24, 20)

    def test_empty_mask(self) -> None:
        assert mask_cost(np.zeros((3, 3), dtype=np.uint8)) == (0, 0)


def expected(mask: np.ndarray, objects: int, holes: int) -> np.ndarray:
    found = mask.copy()
    height, width = mask.shape
    for area in areas(mask == 0, corners=False):
        if len(area) < holes and not any(y in (0, height - 1) or x in (0, width - 1) for y, x in area):
            for at in area:
                found[at] = 1
    for area in areas(found != 0, corners=True):
        if len(area) < objects:
            for at in area:
                found[at] = 0
    return found


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize(("objects", "holes"), [(0, 0), (4, 0), (0, 4), (6, 3), (1000, 0), (0, 1000)])
def test_as_a_flood_fill(seed: int, objects: int, holes: int) -> None:
    mask = (np.random.default_rng(seed).random((17, 23)) < 0.35 + 0.03 * seed).astype(np.uint8)
    before = mask.copy()
    np.testing.assert_array_equal(Cleaning(objects, holes)(mask), expected(mask, objects, holes))
    np.testing.assert_array_equal(mask, before)


def test_a_lumen_is_filled_and_a_bay_is_not() -> None:
    mask = np.zeros((20, 20), np.uint8)
    mask[3:12, 3:12] = 1
    mask[6:9, 6:9] = 0  # a lumen
    mask[14:20, 2:8] = 1
    mask[16:20, 4:6] = 0  # a bay at the border of the image
    cleaned = Cleaning(holes=50)(mask)
    assert cleaned[6:9, 6:9].all()
    assert not cleaned[16:20, 4:6].any()


@pytest.mark.parametrize("full", [0, 1])
def test_empty_and_full_masks(full: int) -> None:
    mask = np.full((5, 6), full, np.uint8)
    np.testing.assert_array_equal(Cleaning(3, 100)(mask), mask)


def test_negative_numbers() -> None:
    with pytest.raises(InputError, match=r"cleaning#objects: negative.*\n.*cleaning#holes: negative"):
        Cleaning(-1, -2)


def test_frames_of_objects_in_their_order_without_small_ones():
    mask = np.zeros((12, 20), np.uint8)
    mask[1:4, 2:9] = 1
    mask[6:11, 4:6] = 1
    mask[7, 15] = 1
    np.testing.assert_array_equal(component_boxes(mask), [[2, 1, 9, 4], [4, 6, 6, 11], [15, 7, 16, 8]])
    np.testing.assert_array_equal(component_boxes(mask, least=2), [[2, 1, 9, 4], [4, 6, 6, 11]])
    assert component_boxes(np.zeros((3, 3))).shape == (0, 4)


def test_frames_of_numbered_objects_though_numbers_are_missing():
    numbers = np.zeros((6, 8), np.int64)
    numbers[1:3, 1:4], numbers[1:3, 4:6], numbers[4:, 7:] = 9, 2, 70
    np.testing.assert_array_equal(object_boxes(numbers), [[4, 1, 6, 3], [1, 1, 4, 3], [7, 4, 8, 6]])
    np.testing.assert_array_equal(object_boxes(np.full((2, 3), 4)), [[0, 0, 3, 2]])
