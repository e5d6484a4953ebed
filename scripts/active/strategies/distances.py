"""Distances between all images of a class, by matrix products."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy.spatial.distance import cdist

ROWS = 512  # images whose distances to all others are held at once
_NEAR = 1e-6  # squared distance, in parts of the squared lengths, below which |a|^2 + |b|^2 - 2ab is mostly rounding


def distance_blocks(features: np.ndarray, rows: int = ROWS) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield some rows and their Euclidean distances to all, until every row has come.

    Pairs that are near for their lengths are measured by their difference instead, so rows are at distance 0 if they
    are equal. All are rounded to float32, so that distances that are equal stay so whatever the order of the sums.

    Args:
        features: (N, D) float64.
        rows: how many at once, >= 1.

    Yields:
        (R,) int, the rows, and (R, N) float64.
    """
    centred = features - features.mean(axis=0)  # else the mean's length takes digits
    squares = np.einsum("nd,nd->n", centred, centred)
    for start in range(0, len(features), rows):
        block = np.arange(start, min(start + rows, len(features)))
        lengths = squares[block, None] + squares
        distance = centred[block] @ centred.T
        distance *= -2
        distance += lengths
        lengths *= _NEAR
        near = distance <= lengths
        near[np.arange(len(block)), block] = False
        np.sqrt(np.maximum(distance, 0, out=distance), out=distance)
        distance[np.arange(len(block)), block] = 0
        for at in np.flatnonzero(near.any(axis=1)):
            others = np.flatnonzero(near[at])
            distance[at, others] = cdist(features[block[at], None], features[others])[0]
        distance[:] = distance.astype(np.float32)
        yield block, distance
