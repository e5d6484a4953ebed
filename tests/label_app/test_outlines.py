"""Polygons of the MONAI Label app: drawn again they are the mask they were made of."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scripts.evaluation.metrics import dice
from scripts.images.drawn.outline_drawing import draw_outlines
from scripts.images.drawn.outlines import Outline

APP = Path(__file__).resolve().parents[2] / "bundle" / "label_app"
pytest.importorskip("skimage", reason="scikit-image is not installed, see bundle/label_app/README.md")
pytestmark = pytest.mark.label


@pytest.fixture(scope="module")
def outlines() -> Any:
    sys.path.insert(0, str(APP))
    try:
        return importlib.import_module("lib.outlines")
    finally:
        sys.path.remove(str(APP))


def drawn(rings: list[np.ndarray], size: tuple[int, int]) -> np.ndarray:
    return draw_outlines([Outline((ring,)) for ring in rings], size)


def smooth(seed: int, size: tuple[int, int] = (60, 80)) -> np.ndarray:
    """A field in [0, 1] of blobs, some with holes, some at the border."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: size[0], : size[1]]
    field = np.zeros(size)
    for _ in range(12):
        cy, cx, r = rng.uniform(0, size[0]), rng.uniform(0, size[1]), rng.uniform(4, 12)
        field += rng.choice([1.0, -0.6]) * np.exp(-((y - cy) ** 2 + (x - cx) ** 2) / (2 * r**2))
    return (field - field.min()) / (field.max() - field.min())


def test_a_full_mask_is_the_border_of_the_image(outlines: Any) -> None:
    (ring,) = outlines.trace(np.ones((20, 30)), 0.5)
    assert {tuple(point) for point in ring.tolist()} == {(0.0, 0.0), (30.0, 0.0), (30.0, 20.0), (0.0, 20.0)}


def test_an_empty_mask_has_none(outlines: Any) -> None:
    assert outlines.trace(np.zeros((20, 30)), 0.5) == []


def test_holes_are_cut_out_and_islands_in_them_are_kept(outlines: Any) -> None:
    mask = np.zeros((40, 50), np.uint8)
    mask[5:35, 5:45] = 1
    mask[15:30, 10:22] = 0
    mask[10:20, 30:40] = 0
    mask[18:22, 14:18] = 1
    rings = outlines.trace(mask, 0.5)
    assert len(rings) == 2
    np.testing.assert_array_equal(drawn(rings, mask.shape), mask)


@pytest.mark.parametrize("seed", range(8))
def test_probabilities_drawn_again(outlines: Any, seed: int) -> None:
    field = smooth(seed)
    mask = (field >= 0.55).astype(np.uint8)
    assert 0 < mask.mean() < 1
    assert dice(drawn(outlines.trace(field, 0.55), mask.shape), mask) > 0.98
    assert dice(drawn(outlines.trace(mask, 0.5), mask.shape), mask) > 0.998


def test_small_regions_and_small_holes_are_left_out(outlines: Any) -> None:
    mask = np.zeros((40, 50), np.uint8)
    mask[5:35, 5:35] = 1
    mask[10:12, 10:12] = 0
    mask[10:13, 45:48] = 1
    expected = np.zeros_like(mask)
    expected[5:35, 5:35] = 1
    np.testing.assert_array_equal(drawn(outlines.trace(mask, 0.5, least_area=20.0), mask.shape), expected)


def test_a_region(outlines: Any) -> None:
    field = np.ones((20, 30))
    cut = outlines.in_region(field, (25, -5), (100, 10))
    assert cut[:5, 25:].all()
    assert cut.sum() == 5 * 5
    np.testing.assert_array_equal(outlines.in_region(field, (3, 3), (0, 0)), field)


def test_form_of_monai_labels_writers(outlines: Any) -> None:
    found = outlines.annotation([np.array([[0.0, 0.04], [9.96, 0.0], [5.0, 7.0]])], {"foreground": 1})
    assert found["annotation"]["elements"] == [
        {"label": "foreground", "contours": [[[0.0, 0.0], [10.0, 0.0], [5.0, 7.0]]]}
    ]
    assert set(found["annotation"]["labels"]) == {"foreground"}
