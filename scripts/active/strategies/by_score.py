"""By how much an image would tell, as it is or with chance in it, which keeps like images from being asked together."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from scripts.active.strategies.pool import Pool, fresh_generator
from scripts.core.errors import InputError, Problem


def highest_score(pool: Pool, n: int, rng: random.Random) -> list[str]:
    """Return the ``n`` unlabelled ids of highest score, ties by id; their order on entry does not matter.

    Cost: none besides the score.

    Raises:
        InputError: an image without a score.
    """
    score = dict(zip(pool.unlabelled, pool.score(), strict=True))
    return sorted(score, key=lambda id_: (-score[id_], id_))[:n]


def power(pool: Pool, n: int, rng: random.Random, *, beta: float = 1.0, column: int = 0) -> list[str]:
    """Return the ``n`` unlabelled ids of highest ``ln(score) + g / beta``, g drawn from the Gumbel distribution.

    Kirsch, Farquhar, Atighehchian, Jesson, Branchaud-Charron, Gal: Stochastic Batch Acquisition, a Simple Baseline for
    Deep Active Learning. TMLR 2023, arXiv:2106.12059. So ids are drawn without replacement, each with a probability
    proportional to score ** beta. A score of 0 or less has the logarithm -inf: such images come last, by lot. The
    order on entry does not matter. Cost: none besides the score.

    Args:
        pool: unlabelled images with scores.
        n: how many.
        rng: for the noise.
        beta: > 0, the higher the nearer to :func:`highest_score`.
        column: which of the numbers of a score.

    Raises:
        InputError: an image without a score, or another beta.
    """
    pool = _sorted(pool)
    order = _noisy_order(pool.score(column), beta, fresh_generator(pool, rng))
    return [pool.unlabelled[at] for at in order[: max(n, 0)]]


def stochastic_batch(pool: Pool, n: int, rng: random.Random, *, column: int = 0) -> list[str]:
    """Return that group of ``n`` unlabelled ids whose mean score is the greatest of groups drawn by lot.

    Gaillochet, Desrosiers, Lombaert: Active learning for medical image segmentation with stochastic batches. Medical
    Image Analysis 2023, arXiv:2301.07670. The ids are shuffled and cut into groups of n; each is in one group. The
    last, which may be short, counts too: where it wins, it is filled up from the second best. With n = 1 a group is an
    image, and this is :func:`highest_score`. The order on entry does not matter. Cost: none besides the score, which
    may be any.

    Args:
        pool: N unlabelled images with scores.
        n: how many.
        rng: for the shuffle.
        column: which of the numbers of a score.

    Returns:
        min(n, N) ids.

    Raises:
        InputError: an image without a score.
    """
    pool = _sorted(pool)
    score = pool.score(column)
    if min(n, len(score)) < 1:
        return []
    order = fresh_generator(pool, rng).permutation(len(score))
    groups = [order[start : start + n] for start in range(0, len(order), n)]
    groups.sort(key=lambda group: -score[group].mean())
    return [pool.unlabelled[at] for at in np.concatenate(groups)[:n]]


def clasp(
    pool: Pool, n: int, rng: random.Random, *, class_share: float = 0.66, betas: Sequence[float] = (1.0, 100.0)
) -> list[str]:
    """Return ids that are uncertain in each class of pixels, with noise that fades from round to round.

    ClaSP PE (Class-stratified Scheduled Power Predictive Entropy) of Lueth, Traub et al.: Finally Outshining the
    Random Baseline. TMLR 2026, arXiv:2601.13677; its code has maps of foreground classes alone. The score has a plain
    map first, then one for each class of pixels (:func:`scripts.active.scores.pixel_maps.clasp_maps`). ``class_share``
    of the query goes by the class maps, in equal parts, the rest by the plain one; each takes those of highest
    ``ln(score) + g / beta`` that are left, as :func:`power` does, with

        beta = betas[0] * (betas[1] / betas[0]) ** (t / (T - 1)),    t the round from 0, T the rounds of the run.

    Parts that are no whole numbers are rounded by lot so that they hold on average: with one image in a query, its map
    is drawn, a class map with probability 0.66. T is that of the run as it is: a run of more rounds has more noise at
    the same round. The order on entry does not matter. Cost: none besides the score.

    Args:
        pool: N unlabelled images with scores of 1 + classes numbers.
        n: how many.
        rng: for the lot and the noise.
        class_share: in [0, 1].
        betas: in the first and the last round, > 0.

    Returns:
        min(n, N) ids, those of the plain map first.

    Raises:
        InputError: an image without a score, a score without class maps, or a share or beta out of its range.
    """
    pool, wanted = _sorted(pool), min(n, len(pool.unlabelled))
    if wanted < 1:
        return []
    generator = fresh_generator(pool, rng)
    done = pool.round / max(pool.rounds - 1, 1)
    beta = betas[0] * (_positive(betas[1]) / _positive(betas[0])) ** done
    chosen: list[int] = []
    for column, part in enumerate(_parts(wanted, class_share, _maps(pool), generator)):
        order = _noisy_order(pool.score(column), beta, generator)
        chosen += [at for at in order.tolist() if at not in chosen][:part]
    return [pool.unlabelled[at] for at in chosen]


def _parts(n: int, class_share: float, maps: int, generator: np.random.Generator) -> np.ndarray:
    """Return (maps,) int of sum ``n``, how many images each map chooses: on average their shares (systematic draw)."""
    if not 0 <= class_share <= 1:
        raise InputError(Problem("share out of its range", "active#strategy", "class_share in 0..1", f"{class_share}"))
    edges = n * np.array([0.0, *np.linspace(1 - class_share, 1, maps)])
    return np.diff(np.floor(edges + generator.random())).astype(int)


def _maps(pool: Pool) -> int:
    """Return how many maps the score has."""
    pool.score()  # refuses images without one
    found = len(pool.scores[pool.unlabelled[0]])
    if found < 2:
        cure = "Give the method the score scripts.active.scores.pixel_maps.clasp_maps in active#methods."
        raise InputError(Problem("no maps of classes", "active#strategy", "2 maps or more", f"{found}", cure))
    return found


def _noisy_order(score: np.ndarray, beta: float, generator: np.random.Generator) -> np.ndarray:
    """Return (N,) int, the places of ``ln(score) + g / beta`` from the highest; where it is -inf, by g."""
    noise = generator.gumbel(size=len(score))
    with np.errstate(divide="ignore"):
        key = np.log(np.maximum(score, 0)) + noise / _positive(beta)
    return np.lexsort((-noise, -key))


def _positive(beta: float) -> float:
    if not beta > 0:
        raise InputError(Problem("beta out of its range", "active#strategy", "beta > 0", f"{beta}"))
    return beta


def _sorted(pool: Pool) -> Pool:
    """Return the pool with its unlabelled ids in order, so that the lot falls on ids and not on places."""
    return replace(pool, unlabelled=sorted(pool.unlabelled))
