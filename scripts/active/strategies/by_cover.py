"""Images that leave no other image far from all that are labelled."""

from __future__ import annotations

import random

import numpy as np
from scipy.sparse import csr_array, vstack
from scipy.spatial.distance import cdist

from scripts.active.strategies.by_cluster import DIGITS, clusters
from scripts.active.strategies.distances import ROWS, distance_blocks
from scripts.active.strategies.pool import Pool, fresh_generator

_ROWS = ROWS


def coreset(pool: Pool, n: int, rng: random.Random) -> list[str]:
    """Return one after another the unlabelled image that is farthest from all labelled and chosen ones.

    k-centre greedy of Sener, Savarese: Active Learning for Convolutional Neural Networks: A Core-Set Approach. ICLR
    2018, arXiv:1708.00489; their refinement by mixed integer programming is left out. With nothing labelled the first
    is the image nearest to the mean. It is drawn to outliers, as distance is all it knows. Ties by id; the order on
    entry does not matter, and nothing is random. Cost: N * (L + n) * D.

    Args:
        pool: N unlabelled and L labelled images with features of D numbers.
        n: how many.
        rng: not used.

    Returns:
        min(n, N) ids.
    """
    ids = sorted(pool.unlabelled)
    if min(n, len(ids)) < 1:
        return []
    features = pool.features(ids).astype(np.float64)
    nearest = np.full(len(ids), np.inf)  # distance to what is labelled or chosen
    if pool.labelled:
        for centre in pool.features(pool.labelled).astype(np.float64):
            np.minimum(nearest, _distance(features, centre), out=nearest)
    first = None if pool.labelled else int(_distance(features, features.mean(axis=0)).round(DIGITS).argmin())
    chosen: list[int] = []
    while len(chosen) < min(n, len(ids)):
        at = int(nearest.argmax()) if first is None else first
        first = None
        chosen.append(at)
        np.minimum(nearest, _distance(features, features[at]), out=nearest)
        nearest[at] = -1  # behind images that equal a chosen one
    return [ids[at] for at in chosen]


def probcover(
    pool: Pool,
    n: int,
    rng: random.Random,
    *,
    purity: float = 0.95,
    steps: int = 100,
    pseudo_classes: int | None = None,
) -> list[str]:
    """Return one after another the unlabelled image whose ball covers most images that no ball covers yet.

    Yehuda, Dekel, Hacohen, Weinshall: Active Learning Through a Covering Lens. NeurIPS 2022, arXiv:2205.11320. A ball
    holds the images nearer than delta, of labelled and unlabelled ones of the class, and its own with all that equal
    it; those of labelled images are covered from the start. Where all are covered, the rest is covered anew. delta as
    MedCAL-Bench (arXiv:2508.03441) estimates it, see :func:`ball_radius`; its pseudo-classes are as many as the masks
    of a run, so here |L| + n, at least 2. Near the end of a small class that makes small balls and ties. Ties by id;
    the order on entry does not matter. Cost: two times N * N * D for distances, in blocks, and k-means; memory: 5
    bytes per pair within delta.

    Args:
        pool: N images, labelled and not, with features (N, D).
        n: how many.
        rng: for the first centres of k-means.
        purity: least share of pure balls, in [0, 1].
        steps: radii that are tried, >= 2.
        pseudo_classes: clusters that stand for classes; None for max(2, |L| + n).

    Returns:
        min(n, unlabelled) ids.
    """
    ids = sorted({*pool.labelled, *pool.unlabelled})
    wanted = min(n, len(pool.unlabelled))
    if wanted < 1:
        return []
    features = pool.features(ids).astype(np.float64)
    _, pseudo_class = clusters(features, pseudo_classes or max(2, len(pool.labelled) + n), fresh_generator(pool, rng))
    balls = _balls(features, ball_radius(features, pseudo_class, purity, steps))
    free = np.isin(ids, list(pool.unlabelled))
    uncovered = balls[~free].sum(axis=0) == 0
    chosen: list[int] = []
    while len(chosen) < wanted:
        if not uncovered.any():
            uncovered = free.copy()
        at = int(np.where(free, balls @ uncovered.astype(np.int32), -1).argmax())
        chosen.append(at)
        free[at] = False
        uncovered[balls[[at]].indices] = False
    return [ids[at] for at in chosen]


def ball_radius(features: np.ndarray, pseudo_class: np.ndarray, purity: float = 0.95, steps: int = 100) -> float:
    """Return the largest of ``steps`` radii from 0 to the greatest distance at which enough balls are pure.

    A ball is pure if all images nearer to its centre than the radius are of the centre's pseudo-class, that is, up to
    the distance of the nearest image of another. At radius 0 all are.

    Args:
        features: (N, D) float64.
        pseudo_class: (N,) int.
        purity: share of pure balls that is enough.
        steps: how many radii are tried.
    """
    greatest, pure_up_to = 0.0, np.empty(len(features))
    for rows, distance in distance_blocks(features, _ROWS):
        greatest = max(greatest, float(distance.max()))
        others = pseudo_class[rows, None] != pseudo_class
        pure_up_to[rows] = np.min(distance, axis=1, where=others, initial=np.inf)
    radii = np.linspace(0, greatest, steps)
    pure = 1 - np.searchsorted(np.sort(pure_up_to), radii) / len(features)  # share of pure_up_to >= radius
    return float(radii[pure >= purity].max(initial=0.0))


def _balls(features: np.ndarray, radius: float) -> csr_array:
    """Return (N, N) of 0 and 1, sparse: row i has the images in the ball of image i."""
    blocks = [
        csr_array((distance < radius) | (distance == 0), dtype=np.int8)
        for _, distance in distance_blocks(features, _ROWS)
    ]
    return vstack(blocks, format="csr")


def _distance(features: np.ndarray, point: np.ndarray) -> np.ndarray:
    """Return (N,), how far each of the features is from ``point``."""
    return cdist(features, point[None])[:, 0]
