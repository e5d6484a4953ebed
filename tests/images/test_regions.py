"""Specks and holes by a slow independent flood fill."""

from __future__ import annotations

import numpy as np
import pytest

from scripts.core.errors import InputError
from scripts.images.regions import Cleaning


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
