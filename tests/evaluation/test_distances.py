from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from monai.metrics import compute_hausdorff_distance

from scripts.core.errors import InputError
from scripts.evaluation.distances import hausdorff_95
from scripts.images.regions import outline


def square(top: int, left: int, side: int, shape: tuple[int, int] = (40, 50)) -> np.ndarray:
    mask = np.zeros(shape, dtype=bool)
    mask[top : top + side, left : left + side] = True
    return mask


def brute(a: np.ndarray, b: np.ndarray) -> float:
    """All pairs of outline pixels."""
    first, second = (torch.tensor(np.argwhere(outline(mask)), dtype=torch.float64) for mask in (a, b))
    pairs = torch.cdist(first, second, compute_mode="donot_use_mm_for_euclid_dist")
    return max(float(np.percentile(pairs.min(axis).values.numpy(), 95)) for axis in (0, 1))


def test_by_hand() -> None:
    assert hausdorff_95(square(5, 5, 1), square(8, 9, 1)) == 5.0
    assert hausdorff_95(square(5, 5, 7), square(5, 5, 7)) == 0.0
    assert hausdorff_95(square(5, 5, 10), square(5, 8, 10)) == 3.0
    line, longer = np.zeros((3, 200), dtype=bool), np.zeros((3, 200), dtype=bool)
    line[1, :80], longer[1, :101] = True, True
    # of 101 distances, 80 are 0 and the others 1 to 21; the 95th percentile is that of position 95
    assert hausdorff_95(line, longer) == hausdorff_95(longer, line) == 16.0


@pytest.mark.parametrize("seed", range(6))
def test_equals_all_pairs(seed: int) -> None:
    rng = np.random.default_rng(seed)
    shape = tuple(rng.integers(1, 60, 2))
    a, b = (rng.random(shape) < share for share in rng.uniform(0.02, 0.9, 2))
    a[0, 0] = b[-1, -1] = True
    assert hausdorff_95(a, b) == pytest.approx(brute(a, b), abs=1e-12)


def test_large_outlines() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.random((150, 150)) < 0.5, square(100, 100, 9, (150, 150))
    assert outline(a).sum() > 2 * 4096
    assert hausdorff_95(a, b) == pytest.approx(brute(a, b), abs=1e-12)


def test_empty_masks() -> None:
    nothing, full = np.zeros((30, 40)), np.ones((30, 40))
    assert hausdorff_95(nothing, nothing) == 0.0
    assert hausdorff_95(nothing, full) == hausdorff_95(full, nothing) == math.hypot(30, 40) == 50.0


def test_equals_monai() -> None:
    rng = np.random.default_rng(1)
    for _ in range(5):
        a, b = (np.kron(rng.random((9, 11)) < 0.4, np.ones((5, 5))) for _ in range(2))
        tensors = [torch.from_numpy(mask)[None, None] for mask in (a, b)]
        expected = compute_hausdorff_distance(*tensors, include_background=True, percentile=95)
        assert hausdorff_95(a, b) == pytest.approx(float(expected), abs=1e-5)


def test_shapes_must_agree() -> None:
    with pytest.raises(InputError, match="shape"):
        hausdorff_95(np.zeros((3, 4)), np.zeros((4, 3)))
