"""Distance between the outlines of two masks.

The definition is that of MONAI's ``HausdorffDistanceMetric`` with ``percentile=95``, but in float64 and without NaN.
"""

from __future__ import annotations

import math

import numpy as np
from scipy import ndimage

from scripts.core.errors import InputError, Problem
from scripts.images.regions import outline


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
    distances = (ndimage.distance_transform_edt(~b)[a] for a, b in ((ours, theirs), (theirs, ours)))
    return max(float(np.percentile(values, 95)) for values in distances)
