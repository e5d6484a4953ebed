from __future__ import annotations

import itertools
import random

import numpy as np
import pytest

from scripts.active.strategies.by_cluster import clusters, kmeans_start, typiclust
from tests.active.strategies.pools import blobs, numbers, pool_of

BOTH = pytest.mark.parametrize("strategy", [kmeans_start, typiclust])


def best_partition(points, k):
    """The cluster of each point at the least sum of squares of all partitions, by trying them."""
    found = []
    for cluster_of in itertools.product(range(k), repeat=len(points) - 1):
        cluster_of = np.array([0, *cluster_of])
        if len(set(cluster_of)) == k:
            members = [points[cluster_of == cluster] for cluster in range(k)]
            found.append((sum(((some - some.mean(0)) ** 2).sum() for some in members), cluster_of.tolist()))
    return min(found)[1]


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("k", [1, 2, 3])
def test_clusters_are_the_best_of_all(seed, k):
    points = np.random.default_rng(seed).normal(size=(8, 2))
    _, found = clusters(points, k, np.random.default_rng(0), restarts=30)
    expected = best_partition(points, k)
    assert {tuple(np.flatnonzero(found == c)) for c in set(found)} == {
        tuple(np.flatnonzero(np.array(expected) == c)) for c in set(expected)
    }


@pytest.mark.parametrize("seed", range(6))
def test_kmeans_start_takes_the_nearest_to_each_centre(seed):
    points = np.random.default_rng(seed).normal(size=(8, 2)).astype(np.float32)
    cluster_of = best_partition(points.astype(np.float64), 3)
    expected = set()
    for cluster in set(cluster_of):
        members = [at for at in range(8) if cluster_of[at] == cluster]
        centre = points[members].mean(axis=0)
        expected.add(min(members, key=lambda at: (round(float(np.linalg.norm(points[at] - centre)), 5), at)))
    found = numbers(kmeans_start(pool_of(points), 3, random.Random(0), restarts=30))
    assert set(found) == expected
    sizes = [cluster_of.count(cluster_of[at]) for at in found]
    assert sizes == sorted(sizes, reverse=True)


def typical(points, members, neighbours=20):
    """The image of highest typicality among ``members``, by loops."""
    k = min(neighbours, len(members) // 2)
    scores = []
    for at in members:
        distances = sorted(float(np.linalg.norm(points[at] - points[other])) for other in members if other != at)
        scores.append(1 / (sum(distances[:k]) / k + 1e-5) if k else 0.0)
    return members[int(np.argmax(scores))]


def test_typiclust_goes_through_clusters_of_fewest_labelled_images():
    points = blobs([5, 9, 7, 3]).astype(np.float32)
    groups = [range(5), range(5, 14), range(14, 21), range(21, 24)]
    labelled = [0, 15]  # one in the first blob, one in the third
    found = numbers(typiclust(pool_of(points, labelled), 2, random.Random(0)))
    assert found == [typical(points, list(groups[1])), typical(points, list(groups[3]))]


@pytest.mark.parametrize("neighbours", [1, 3, 20])
def test_typiclust_without_labelled_images_takes_big_clusters_first(neighbours):
    points = blobs([5, 9, 7, 3]).astype(np.float32)
    groups = [list(range(5)), list(range(5, 14)), list(range(14, 21)), list(range(21, 24))]
    expected = [typical(points, groups[at], neighbours) for at in (1, 2, 0, 3)]
    found = numbers(typiclust(pool_of(points), 4, random.Random(0), neighbours=neighbours))
    assert found == expected


def test_typiclust_goes_round_again_where_clusters_are_few():
    points = blobs([6, 4]).astype(np.float32)
    found = numbers(typiclust(pool_of(points), 5, random.Random(0), most_clusters=2))
    first, second = typical(points, list(range(6))), typical(points, list(range(6, 10)))
    third = typical(points, [at for at in range(6) if at != first])
    assert found[:3] == [first, second, third]
    assert [at < 6 for at in found] == [True, False, True, False, True]


@BOTH
@pytest.mark.parametrize("n", [1, 5, 30, 67, 80])
@pytest.mark.parametrize("labelled", [0, 8])
def test_as_many_as_there_are(strategy, n, labelled):
    points = np.random.default_rng(1).normal(size=(67, 6))
    found = strategy(pool_of(points, range(labelled)), n, random.Random(0))
    assert len(found) == len(set(found)) == min(n, 67 - labelled)
    assert all(at >= labelled for at in numbers(found))


@BOTH
def test_equal_images_come_by_id(strategy):
    assert numbers(strategy(pool_of(np.ones((6, 3)), order=[4, 2, 5, 0, 1, 3]), 4, random.Random(0))) == [0, 1, 2, 3]
    assert numbers(strategy(pool_of(np.ones((6, 3)), [0, 2]), 9, random.Random(0))) == [1, 3, 4, 5]
    assert numbers(strategy(pool_of(np.ones((1, 3))), 1, random.Random(0))) == [0]
    assert strategy(pool_of(np.ones((2, 3)), [0, 1]), 3, random.Random(0)) == []


@BOTH
def test_repeated_images_are_not_asked_for_before_others(strategy):
    points = np.repeat(blobs([1, 1, 1]), 4, axis=0)
    assert {at // 4 for at in numbers(strategy(pool_of(points), 3, random.Random(0)))} == {0, 1, 2}


@BOTH
@pytest.mark.parametrize("seed", range(4))
def test_order_on_entry_does_not_matter_and_the_seed_decides(strategy, seed):
    points = np.random.default_rng(seed).normal(size=(40, 5))
    order = np.random.default_rng(seed + 1).permutation(40).tolist()
    plain = strategy(pool_of(points, [3, 7]), 6, random.Random(seed))
    assert strategy(pool_of(points, [7, 3], order), 6, random.Random(seed)) == plain
    assert strategy(pool_of(points, [3, 7]), 6, random.Random(seed)) == plain


def test_a_generator_serves_all_classes():
    rng, again = random.Random(0), random.Random(0)
    points = np.random.default_rng(0).normal(size=(40, 5))
    pool = pool_of(points)
    draws = [kmeans_start(pool, 12, rng, restarts=1) for _ in range(6)]
    assert len({tuple(sorted(draw)) for draw in draws}) > 1
    assert [kmeans_start(pool, 12, again, restarts=1) for _ in range(6)] == draws
