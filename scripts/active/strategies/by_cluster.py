"""One image from each cluster of the images' features."""

from __future__ import annotations

import itertools
import random
import warnings

import numpy as np
from scipy.cluster.vq import kmeans, kmeans2, vq

from scripts.active.strategies.distances import distance_blocks
from scripts.active.strategies.pool import Pool, fresh_generator

DIGITS = 6  # of a distance from a mean, beyond which it tells nothing of float32 features
_TOLERANCE = 1e-9  # of the mean distance to the centres, of features of length 1: k-means has come to rest


def kmeans_start(pool: Pool, n: int, rng: random.Random, *, restarts: int = 10) -> list[str]:
    """Return the image nearest to the centre of each of ``n`` clusters of the unlabelled images, big clusters first.

    ALPS (Active Learning by Processing Surprisal) as MedCAL-Bench has it (Zhu, Ma, Zhang, Wang 2025,
    arXiv:2508.03441), there the best cold start for segmentation on average. Labelled images are not looked at, so it
    suits the first round. Where features repeat and there are fewer clusters, the second nearest of each follow, and
    so on. Ties by id; the order on entry does not matter. Cost: restarts * N * n * D per step of k-means.

    Args:
        pool: N unlabelled images with features (N, D).
        n: how many.
        rng: for the first centres.
        restarts: the k-means of least sum of squares of so many is taken, >= 1.

    Returns:
        min(n, N) ids.
    """
    ids = sorted(pool.unlabelled)
    if min(n, len(ids)) < 1:
        return []
    features = pool.features(ids).astype(np.float64)
    centres, cluster_of = clusters(features, n, fresh_generator(pool, rng), restarts)
    # Two images that make a cluster are equally far from its centre, but for the last digits.
    distance = np.linalg.norm(features - centres[cluster_of], axis=1).round(DIGITS)
    place = np.empty(len(ids), dtype=int)  # of an image in its cluster, 0 for the nearest to the centre
    for cluster in np.unique(cluster_of):
        members = np.flatnonzero(cluster_of == cluster)
        place[members[np.argsort(distance[members], kind="stable")]] = np.arange(len(members))
    size = np.bincount(cluster_of)[cluster_of]
    return [ids[at] for at in np.lexsort((np.arange(len(ids)), -size, place))[:n]]


def typiclust(
    pool: Pool, n: int, rng: random.Random, *, neighbours: int = 20, most_clusters: int = 500, restarts: int = 10
) -> list[str]:
    """Return the most typical unlabelled image of each of the clusters with fewest labelled images.

    Hacohen, Dekel, Weinshall: Active Learning on a Budget: Opposite Strategies Suit High and Low Budgets. ICML 2022,
    arXiv:2202.02794. All images of the class, L and
    U, make K = min(|L| + n, most_clusters) clusters. They are gone through again and again, those with the fewest
    labelled images first, of equals the biggest, and each gives of its unlabelled images not yet taken, m of them, the
    one of highest typicality

        1 / (mean distance to the nearest min(neighbours, m // 2) of them + 1e-5).

    The published code leaves out clusters of 5 images and fewer, which would be all of a small class; here all with
    an unlabelled image count. It also takes squared distances, its paper does not, nor does this. Ties by id; the
    order on entry does not matter. Cost: restarts * N * K * D per step of k-means, and the neighbours, m * m * D.

    Args:
        pool: N images, labelled and not, with features (N, D).
        n: how many.
        rng: for the first centres.
        neighbours: how many make an image typical, >= 1.
        most_clusters: upper limit of K, >= 1.
        restarts: as for :func:`kmeans_start`.

    Returns:
        min(n, unlabelled) ids.
    """
    ids = sorted({*pool.labelled, *pool.unlabelled})
    wanted = min(n, len(pool.unlabelled))
    if wanted < 1:
        return []
    features = pool.features(ids).astype(np.float64)
    free = np.isin(ids, list(pool.unlabelled))
    k = min(len(pool.labelled) + n, most_clusters)
    _, cluster_of = clusters(features, k, fresh_generator(pool, rng), restarts)
    names, first, size = np.unique(cluster_of, return_index=True, return_counts=True)
    labelled = np.bincount(cluster_of[~free], minlength=names[-1] + 1)[names]
    chosen: list[str] = []
    for cluster in itertools.cycle(names[np.lexsort((first, -size, labelled))]):
        if len(chosen) == wanted:
            break
        members = np.flatnonzero(free & (cluster_of == cluster))
        if len(members):
            best = members[_typicality(features[members], neighbours).argmax()]
            chosen.append(ids[best])
            free[best] = False
    return chosen


def clusters(
    features: np.ndarray, k: int, generator: np.random.Generator, restarts: int = 10
) -> tuple[np.ndarray, np.ndarray]:
    """Return the centres (<= k, D) of k-means and (N,) int, the cluster of each of the features (N, D) float64.

    The result of least sum of squares of so many ``restarts``, each from the centres that k-means++ draws (Arthur,
    Vassilvitskii: SODA 2007) until it rests. There are fewer clusters where fewer than k features differ.
    """
    distinct, which = np.unique(features, axis=0, return_inverse=True)
    if len(distinct) <= k:
        return distinct, which.reshape(-1)
    found = [_one_k_means(features, k, generator) for _ in range(max(restarts, 1))]
    return min(found, key=lambda result: result[2])[:2]


def _one_k_means(features: np.ndarray, k: int, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray, float]:
    """Return centres, the cluster of each row, and the sum of squared distances to the centres."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of empty clusters, which kmeans drops
        centres, _ = kmeans2(features, k, iter=1, minit="++", rng=generator)
    centres, _ = kmeans(features, centres, thresh=_TOLERANCE)
    cluster_of, distance = vq(features, centres)
    return centres, cluster_of, float((distance**2).sum())


def _typicality(features: np.ndarray, neighbours: int) -> np.ndarray:
    """Return (m,) of features (m, D): high where neighbours are near."""
    k = min(neighbours, len(features) // 2)
    if k < 1:
        return np.ones(len(features))
    typicality = np.empty(len(features))
    for rows, distance in distance_blocks(features):
        distance[np.arange(len(rows)), rows] = np.inf  # an image is no neighbour of its own
        nearest = np.sort(np.partition(distance, k - 1, axis=1)[:, :k], axis=1)  # equal ones then have equal means
        typicality[rows] = 1 / (nearest.mean(axis=1) + 1e-5)
    return typicality
