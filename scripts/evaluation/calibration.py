"""Calibration: do probabilities come true as often as they say? Bins of equal width, kept as sums per image.

As in ``monai.metrics.calibration_binning``, but summed in float64: in float32 a sum over the pixels of a few images
loses so many digits that the error shows.
"""

from __future__ import annotations

import numpy as np

from scripts.core.errors import InputError, Problem

BINS = 15


def bin_sums(probs: np.ndarray, outcomes: np.ndarray, bins: int = BINS) -> np.ndarray:
    """Sort predictions into bins [i / bins, (i + 1) / bins), the last one closed.

    Args:
        probs: (N,) in [0, 1].
        outcomes: (N,) bool or 0 and 1: whether it came true.
        bins: how many.

    Returns:
        float64 (3, bins): number, sum of probabilities, sum of outcomes.

    Raises:
        InputError: shapes differ, or a probability lies outside [0, 1].
    """
    if probs.shape != outcomes.shape or probs.ndim != 1:
        raise InputError(Problem("probabilities and outcomes differ", "bin_sums", "(N,)", f"{probs.shape}"))
    if not ((probs >= 0) & (probs <= 1)).all():
        raise InputError(Problem("not probabilities", "bin_sums", "values in [0, 1]", "others"))
    at = np.minimum((probs.astype(np.float64) * bins).astype(np.intp), bins - 1)
    weights = (None, probs, outcomes)
    return np.stack([np.bincount(at, weights=w, minlength=bins).astype(np.float64) for w in weights])


def expected_calibration_error(sums: np.ndarray) -> np.ndarray:
    """Return the mean over predictions of |mean probability - share that came true| of their bin, in [0, 1].

    Args:
        sums: (..., 3, bins) of :func:`bin_sums`, added up over whatever is measured together.

    Returns:
        (...) float64; NaN without a prediction.
    """
    count, confidence, outcome = sums[..., 0, :], sums[..., 1, :], sums[..., 2, :]
    total = count.sum(axis=-1)
    gaps = np.abs(confidence - outcome).sum(axis=-1)  # count * |means' difference|, so that empty bins need no care
    return np.divide(gaps, total, out=np.full(total.shape, np.nan), where=total > 0)
