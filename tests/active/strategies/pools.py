"""Pools whose images are points of a plane."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from scripts.active.strategies.pool import Pool


def pool_of(points: np.ndarray, labelled: Sequence[int] = (), order: Sequence[int] | None = None, **more) -> Pool:
    """Images ``i00``, ``i01``, ... at rows of ``points``; ``order`` is that in which the unlabelled come."""
    names = [f"i{at:02d}" for at in range(len(points))]
    free = [at for at in (range(len(points)) if order is None else order) if at not in set(labelled)]

    def features(ids: Sequence[str]) -> np.ndarray:
        return np.stack([points[names.index(id_)] for id_ in ids]).astype(np.float32)

    return Pool([names[at] for at in labelled], [names[at] for at in free], features=features, **more)


def numbers(ids: Sequence[str]) -> list[int]:
    return [int(id_[1:]) for id_ in ids]


def blobs(sizes: Sequence[int], seed: int = 0, far: float = 10.0) -> np.ndarray:
    """Points around the corners of a large polygon, so many at each, one corner after the other."""
    angle = 2 * np.pi * np.arange(len(sizes)) / len(sizes)
    corners = far * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return np.repeat(corners, sizes, axis=0) + np.random.default_rng(seed).normal(0, 0.3, (sum(sizes), 2))
