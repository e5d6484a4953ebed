"""Distance between the outlines of two masks.

The definition is that of MONAI's ``HausdorffDistanceMetric`` with ``percentile=95``, which needs SciPy; this does not.
"""

from __future__ import annotations

import math

import numpy as np

from scripts.core.errors import InputError, Problem
from scripts.images.regions import outline

_CHUNK = 4096


def hausdorff_95(pred: np.ndarray, truth: np.ndarray) -> float:
    """Return the 95 % Hausdorff distance in pixels.

    That is the larger of the two 95th percentiles (linear between values) of the distance from each outline pixel of
    one mask to the nearest of the other. Two empty masks have distance 0. Where only one is empty no distance exists:
    it is then the image's diagonal, above every distance in it, so that saying nothing is not the better answer.

    Args:
        pred: (H, W); non-zero is foreground.
        truth: likewise.

    Raises:
        InputError: shapes differ.
    """
    if pred.shape != truth.shape:
        raise InputError(Problem("masks differ in shape", "hausdorff_95", f"{truth.shape}", f"{pred.shape}"))
    ours, theirs = outline(pred), outline(truth)
    if not ours.any() or not theirs.any():
        return math.hypot(*pred.shape) if ours.any() or theirs.any() else 0.0
    return max(float(np.percentile(_distances(a, b), 95)) for a, b in ((ours, theirs), (theirs, ours)))


def _distances(points: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Return the distance of each pixel of ``points`` to the nearest of ``targets``, both (H, W) bool and not empty.

    The nearest target of every column is known from one pass down and one up; only the columns remain to be compared,
    and only for the points asked about.
    """
    height, width = targets.shape
    rows = np.arange(height, dtype=np.float64)[:, None]
    above = np.maximum.accumulate(np.where(targets, rows, -np.inf), axis=0)
    below = np.minimum.accumulate(np.where(targets, rows, np.inf)[::-1], axis=0)[::-1]
    vertical = np.minimum(rows - above, below - rows) ** 2  # (H, W), infinite in columns without a target
    columns = np.arange(width, dtype=np.float64)
    y, x = np.nonzero(points)
    found = np.empty(len(y))
    for at in range(0, len(y), _CHUNK):
        part = slice(at, at + _CHUNK)
        found[part] = (vertical[y[part]] + (columns - x[part, None]) ** 2).min(axis=1)
    return np.sqrt(found)
