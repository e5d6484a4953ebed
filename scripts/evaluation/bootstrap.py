"""Intervals by the bootstrap: images (or patients with all their images) are drawn again, with replacement.

A draw is a row of counts, how often each image is in it, so a metric that takes weights measures all draws at once.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from scripts.core.errors import InputError, Problem


def resample_counts(
    n: int, resamples: int, generator: np.random.Generator, clusters: Sequence[object] | None = None
) -> np.ndarray:
    """Return how often each of ``n`` images is in each draw, float64 (resamples, n).

    Args:
        n: images, at least 1.
        resamples: draws, at least 1.
        generator: draws them.
        clusters: n names, e.g. patients: whole clusters are drawn, as many as there are. None draws images.

    Raises:
        InputError: a number below 1, or not one name per image.
    """
    if n < 1 or resamples < 1 or (clusters is not None and len(clusters) != n):
        found = f"{n} images, {resamples} draws"
        raise InputError(Problem("nothing to draw from", "resample_counts", "images, draws, a name per image", found))
    if clusters is None:
        return generator.multinomial(n, np.full(n, 1.0 / n), size=resamples).astype(np.float64)
    position = {name: at for at, name in enumerate(dict.fromkeys(clusters))}
    drawn = generator.multinomial(len(position), np.full(len(position), 1.0 / len(position)), size=resamples)
    return drawn[:, [position[name] for name in clusters]].astype(np.float64)


def percentile_interval(values: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """Return the interval that holds the middle ``level`` of the values (N,).

    NaN stands for draws in which the metric does not exist (one class only, say) and is left out; if it is more than
    half, both ends are NaN.
    """
    known = values[~np.isnan(values)]
    if 2 * len(known) < len(values) or len(known) == 0:
        return float("nan"), float("nan")
    low, high = np.percentile(known, [50 * (1 - level), 50 * (1 + level)])
    return float(low), float(high)
