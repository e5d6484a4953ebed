from __future__ import annotations

import random

import numpy as np
import pytest

import scripts.active.strategies.by_cover as by_cover
from scripts.active.strategies.by_cover import ball_radius, coreset, probcover
from tests.active.strategies.pools import blobs, numbers, pool_of

BOTH = pytest.mark.parametrize("strategy", [coreset, probcover])


def far_first(points, labelled, n):
    """k-centre greedy, by loops over all pairs."""
    points, centres, chosen = points.astype(np.float64), list(labelled), []
    rest = [at for at in range(len(points)) if at not in centres]
    while rest and len(chosen) < n:
        if centres:
            distance = {at: min(np.linalg.norm(points[at] - points[c]) for c in centres) for at in rest}
            best = max(rest, key=lambda at: (distance[at], -at))
        else:
            middle = points.mean(axis=0)
            best = min(rest, key=lambda at: (round(np.linalg.norm(points[at] - middle), 6), at))
        chosen.append(best)
        centres.append(best)
        rest.remove(best)
    return chosen


@pytest.mark.parametrize("labelled", [[], [4], [1, 9, 2]])
@pytest.mark.parametrize("seed", range(4))
def test_coreset_is_far_first(seed, labelled):
    points = np.random.default_rng(seed).normal(size=(20, 3)).astype(np.float32)
    for n in (1, 5, 30):
        assert numbers(coreset(pool_of(points, labelled), n, random.Random(0))) == far_first(points, labelled, n)


def pure_radius(points, pseudo_class, purity, steps):
    """The radius, by counting pure balls at each of the steps."""
    distance = np.array([[np.linalg.norm(a - b) for b in points] for a in points])
    best = 0.0
    for radius in np.linspace(0, distance.max(), steps):
        balls = [np.flatnonzero(row < radius) for row in distance]
        pure = sum(all(pseudo_class[ball] == pseudo_class[at]) for at, ball in enumerate(balls))
        if pure / len(points) >= purity:
            best = max(best, float(radius))
    return best


@pytest.mark.parametrize("purity", [0.5, 0.95, 1.0])
@pytest.mark.parametrize("seed", range(4))
def test_ball_radius_by_counting(seed, purity, monkeypatch):
    monkeypatch.setattr(by_cover, "_ROWS", 7)  # blocks of 7, 7 and 6
    points = np.random.default_rng(seed).normal(size=(20, 3))
    pseudo_class = np.random.default_rng(seed + 9).integers(0, 3, 20)
    assert ball_radius(points, pseudo_class, purity, 100) == pytest.approx(
        pure_radius(points, pseudo_class, purity, 100)
    )


def cover(points, labelled, n, radius):
    """The greedy cover, by sets."""
    size = range(len(points))
    balls = [{b for b in size if (d := np.linalg.norm(points[a] - points[b])) < radius or d == 0} for a in size]
    rest, chosen = [at for at in size if at not in labelled], []
    uncovered = set(size) - {at for key in labelled for at in balls[key]}
    while rest and len(chosen) < n:
        uncovered = uncovered or set(rest)
        best = max(rest, key=lambda at: (len(balls[at] & uncovered), -at))
        chosen.append(best)
        rest.remove(best)
        uncovered -= balls[best]
    return chosen


@pytest.mark.parametrize("labelled", [[], [4], [1, 9, 2]])
@pytest.mark.parametrize("seed", range(4))
def test_probcover_is_the_greedy_cover(seed, labelled, monkeypatch):
    monkeypatch.setattr(by_cover, "_ROWS", 7)
    radii = []
    monkeypatch.setattr(by_cover, "ball_radius", lambda *given: radii.append(ball_radius(*given)) or radii[-1])
    points = (blobs([8, 7, 5], seed, far=1.5)).astype(np.float32)
    for n in (1, 3, 30):
        found = numbers(probcover(pool_of(points, labelled), n, random.Random(0)))
        assert found == cover(points.astype(np.float64), labelled, n, radii[-1])


def test_probcover_takes_one_of_each_blob_the_biggest_first():
    points = blobs([5, 9, 7])
    found = numbers(probcover(pool_of(points), 3, random.Random(0)))
    assert [0 if at < 5 else 1 if at < 14 else 2 for at in found] == [1, 2, 0]
    # what a labelled image covers is not asked for again
    found = numbers(probcover(pool_of(points, [6]), 2, random.Random(0)))
    assert [0 if at < 5 else 1 if at < 14 else 2 for at in found] == [2, 0]


def test_the_last_rows_have_balls_too(monkeypatch):
    """The published loop drops a last block that is not full."""
    monkeypatch.setattr(by_cover, "_ROWS", 6)
    assert numbers(probcover(pool_of(blobs([3, 5])), 1, random.Random(0)))[0] >= 3


@BOTH
@pytest.mark.parametrize("n", [1, 5, 67, 80])
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
def test_order_on_entry_does_not_matter(strategy, seed):
    points = np.random.default_rng(seed).normal(size=(40, 5))
    order = np.random.default_rng(seed + 1).permutation(40).tolist()
    plain = strategy(pool_of(points, [3, 7]), 6, random.Random(seed))
    assert strategy(pool_of(points, [7, 3], order), 6, random.Random(seed)) == plain
