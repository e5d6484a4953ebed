"""Differences between methods: intervals by the bootstrap, paired t-tests, Holm's correction, penalty matrix, ranks.

Runs are paired: seed s of every method starts from the same weights and the same first images, and all are measured on
the same test images. Values are such that more is better, e.g. Dice in [0, 1].
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata, ttest_rel

from scripts.core.errors import InputError, Problem
from scripts.evaluation.bootstrap import percentile_interval, resample_counts

# Values that differ by no more than this part of their size differ by the rounding of float64 only.
_ROUNDING = 1e-12
_COUNTS = 1_000_000  # of resamples x images that are held at once, 24 bytes each


@dataclass(frozen=True)
class Difference:
    """How much better one method is than another; all but the last four in the unit of the values.

    Attributes:
        mean: mean over seeds and images of the first method less the second.
        low: lower end of the interval over seeds and images.
        high: its upper end.
        seeds_low: lower end of the interval over seeds alone, NaN with one seed.
        seeds_high: its upper end.
        p: of the two-sided paired t-test over seeds, in [0, 1]; NaN with one seed.
        level: of both intervals, e.g. 0.95.
        seeds: how many.
        images: how many.
    """

    mean: float
    low: float
    high: float
    seeds_low: float
    seeds_high: float
    p: float
    level: float
    seeds: int
    images: int


def paired_difference(
    a: np.ndarray, b: np.ndarray, generator: np.random.Generator, resamples: int = 10000, level: float = 0.95
) -> Difference:
    """Compare two methods that ran with the same seeds and were measured on the same images.

    Each resample draws seeds and, independently, images, both with replacement and the same for both methods; its
    statistic is the mean of ``a - b`` over the drawn seeds and images (pigeonhole bootstrap; Owen 2007, Annals of
    Applied Statistics 1(2)). The interval then holds for other seeds *and* other test images, and errs on the wide
    side. The interval over seeds keeps the images fixed; it is too narrow where seeds are few (in simulations with 5
    seeds "95 %" held about 84 % even of fixed images), so it describes and does not decide. The t-test keeps the
    images fixed too.

    With one seed the first interval is over images alone; with one image (e.g. one area under the curve per seed) it
    is over seeds alone. With one of both it is NaN.

    Args:
        a: (S, I) float, finite: value of the first method per seed and image, S >= 1 and I >= 1.
        b: (S, I) likewise of the second; rows and columns stand for the same seeds and images.
        generator: draws seeds first, then images.
        resamples: draws, at least 1. Those of images are made in blocks: memory is some 24 MB, or 24 bytes x I if more.
        level: of the intervals, in (0, 1).

    Raises:
        InputError: shapes differ, no value, a value that is not finite, or a level outside (0, 1).
    """
    where = "paired_difference"
    a, b = _finite(a, 2, where), _finite(b, 2, where)
    if a.shape != b.shape:
        raise InputError(Problem("methods differ in seeds or images", where, f"{a.shape}", f"{b.shape}"))
    _check_level(level, where)
    seeds, images = a.shape
    difference = a - b
    drawn_seeds = resample_counts(seeds, resamples, generator)  # (B, S)
    crossed = np.empty(resamples)
    size = max(_COUNTS // images, 1)
    for start in range(0, resamples, size):
        of_block = drawn_seeds[start : start + size] @ difference  # (b, I)
        drawn_images = resample_counts(images, len(of_block), generator)
        crossed[start : start + size] = np.einsum("bi,bi->b", of_block, drawn_images) / difference.size
    of_seeds = drawn_seeds @ difference.mean(axis=1) / seeds
    none = (float("nan"), float("nan"))
    low, high = percentile_interval(crossed, level) if difference.size > 1 else none
    seeds_low, seeds_high = percentile_interval(of_seeds, level) if seeds > 1 else none
    p = float(_paired_p(a.mean(axis=1), b.mean(axis=1), "two-sided"))
    return Difference(float(difference.mean()), low, high, seeds_low, seeds_high, p, level, seeds, images)


def holm(p: np.ndarray) -> np.ndarray:
    """Adjust p-values of one family of tests by Holm's step-down method; SciPy has none.

    The k-th smallest of N, k = 0, 1, ..., becomes the largest of ``(N - k) p`` up to there, at most 1. Rejecting where
    the adjusted value is below alpha keeps the chance of any false rejection below alpha, whatever the dependence
    (Holm 1979, Scandinavian Journal of Statistics 6).

    Args:
        p: (N,) float in [0, 1], N >= 1; NaN for tests that were not possible.

    Returns:
        (N,) float64 in [0, 1]. NaN stays NaN and is not counted among the N tests.

    Raises:
        InputError: not such an array.
    """
    p = np.asarray(p, dtype=np.float64)
    if p.ndim != 1 or len(p) == 0:
        raise InputError(Problem("no p-values to adjust", "holm", "an array (N,), N >= 1", f"shape {p.shape}"))
    known = np.flatnonzero(~np.isnan(p))
    outside = p[known][(p[known] < 0) | (p[known] > 1)]
    if len(outside):
        raise InputError(Problem("not a p-value", "holm", "numbers in [0, 1] or NaN", f"{outside[0]:g}"))
    order = known[np.argsort(p[known], kind="stable")]
    adjusted = np.full(len(p), np.nan)
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(order), 0, -1)), 1.0)
    return adjusted


def penalty_matrix(values: np.ndarray, level: float = 0.05) -> np.ndarray:
    """Return how often each method is significantly better than each other one (Ash et al. 2020; nnActive).

    For each round and each ordered pair (i, j) of different methods, a one-sided paired t-test over the seeds asks
    whether i is better than j. All M (M - 1) p-values of a round are one family, adjusted by :func:`holm`; rounds are
    not corrected for, since the matrix counts them. Entry (i, j) is the share of rounds whose adjusted p is below
    ``level``: a row tells a method's wins, a column its losses. Differences that are the same for every seed have
    p = 0 where i is better and 1 where it is worse or equal.

    Args:
        values: (M, S, R) float: methods, seeds, rounds, each >= 1; finite, or NaN for what was not measured.
        level: significance of the tests of one round, in (0, 1).

    Returns:
        (M, M) float64 in [0, 1], the diagonal 0. A pair is left out of a round in which a value of either is NaN, and
        of all rounds if there is one seed; its share is that of the rounds tested, and NaN if there are none.

    Raises:
        InputError: not such an array, or a level outside (0, 1).
    """
    where = "penalty_matrix"
    values = _finite(values, 3, where, or_nan=True)
    _check_level(level, where)
    methods, _, rounds = values.shape
    first, second = np.nonzero(~np.eye(methods, dtype=bool))  # (P,) ordered pairs
    seeds_last = values.swapaxes(1, 2)  # (M, R, S)
    p = _paired_p(seeds_last[first], seeds_last[second], "greater")  # (P, R)
    wins = np.zeros(p.shape)
    for at in range(rounds if methods > 1 else 0):
        wins[:, at] = holm(p[:, at]) < level
    tested = (~np.isnan(p)).sum(axis=1)
    matrix = np.zeros((methods, methods))
    matrix[first, second] = np.divide(wins.sum(axis=1), tested, out=np.full(len(p), np.nan), where=tested > 0)
    return matrix


def rank_intervals(
    values: np.ndarray, generator: np.random.Generator, resamples: int = 10000, level: float = 0.95
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rank the methods within each seed, and draw the seeds again for an interval of the mean rank.

    Args:
        values: (M, S) float, finite: methods and seeds, each >= 1; more is better.
        generator: draws the seeds.
        resamples: draws, at least 1.
        level: of the intervals, in (0, 1).

    Returns:
        mean rank (M,), lower and upper ends (M,), float64 in [1, M]. 1 is the best; equal methods share the mean of
        their ranks. With one seed the ends are NaN.

    Raises:
        InputError: not such an array, or a level outside (0, 1).
    """
    values = _finite(values, 2, "rank_intervals")
    _check_level(level, "rank_intervals")
    ranks = rankdata(-values, axis=0)  # (M, S)
    methods, seeds = ranks.shape
    drawn = resample_counts(seeds, resamples, generator) @ ranks.T / seeds  # (B, M)
    ends = np.full((methods, 2), np.nan)
    if seeds > 1:
        ends = np.array([percentile_interval(column, level) for column in drawn.T])
    return ranks.mean(axis=1), ends[:, 0], ends[:, 1]


def _paired_p(a: np.ndarray, b: np.ndarray, alternative: str) -> np.ndarray:
    """Return p of paired t-tests over the last axis, (...) from (..., S); NaN with one seed or where a value is NaN.

    The t-test is undefined where all differences are equal, and no more than rounding where they nearly are: there p is
    0 if the difference agrees with the alternative and 1 if not.
    """
    difference = a - b
    missing = np.isnan(difference).any(axis=-1)
    p = np.full(difference.shape[:-1], np.nan)
    if difference.shape[-1] < 2:
        return p
    rounding = _ROUNDING * np.maximum(np.abs(a), np.abs(b)).max(axis=-1)
    mean = difference.mean(axis=-1)
    constant = np.ptp(difference, axis=-1) <= rounding
    agrees = mean > rounding if alternative == "greater" else np.abs(mean) > rounding
    p[constant] = np.where(agrees, 0.0, 1.0)[constant]
    tested = ~constant & ~missing
    if tested.any():
        p[tested] = ttest_rel(a[tested], b[tested], axis=-1, alternative=alternative).pvalue
    return p


def _finite(values: np.ndarray, ndim: int, where: str, or_nan: bool = False) -> np.ndarray:
    """Return the values as float64; they have ``ndim`` dimensions, none empty, and are finite (or NaN, if allowed)."""
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != ndim or values.size == 0:
        expected = f"an array of {ndim} dimensions, none empty"
        raise InputError(Problem("no values to compare", where, expected, f"shape {values.shape}"))
    bad = np.isinf(values) if or_nan else ~np.isfinite(values)
    if bad.any():
        found = f"{int(bad.sum())} of {values.size}, the first at {tuple(map(int, np.argwhere(bad)[0]))}"
        cure = "Leave out the seeds, images or rounds that were not measured, for all methods."
        expected = "finite values or NaN" if or_nan else "finite values"
        raise InputError(Problem("values are not finite", where, expected, found, cure))
    return values


def _check_level(level: float, where: str) -> None:
    if not 0 < level < 1:
        raise InputError(Problem("no such level", where, "a number between 0 and 1", f"{level:g}"))
