"""What one learning curve says: its area, the budget for a target, how fast it rises, and who is on the Pareto front.

A curve is a pair of arrays (R,), one entry per round: the budget spent until then (masks, annotated pixels, seconds;
never falling) and a value of which more is better, such as Dice in [0, 1].
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial

import numpy as np
from scipy.optimize import OptimizeWarning, curve_fit

from scripts.core.errors import InputError, Problem

_PER_MEGAPIXEL = 1e6
_FEWEST_POINTS = 4
_EVALUATIONS = 10_000
_START = 2.0  # of b over the whole budget: the curve has come within 14 % of its plateau
_NEARLY_STRAIGHT = 0.1  # b over the whole budget


def aubc(budget: np.ndarray, values: np.ndarray) -> float:
    """Area under the budget curve: the trapezoid rule over the budget scaled to [0, 1].

    It is the mean of the values over the budget, in their unit, so a constant curve gives its constant. With evenly
    spaced budgets it equals :func:`scripts.evaluation.metrics.auc_over_rounds`. (Zhan et al. 2021, IJCAI, "A
    comparative survey: benchmarking for pool-based active learning"; the same in nnActive.)

    Args:
        budget: (R,) float, finite, not falling, R >= 1.
        values: (R,) float, finite.

    Returns:
        the area; the value itself where there is one round.

    Raises:
        InputError: no curve (see above), or several rounds of which none spent anything.
    """
    budget, values = _curve(budget, values, "aubc")
    if len(values) == 1:
        return float(values[0])
    spent = budget[-1] - budget[0]
    if spent <= 0:
        found = f"{len(budget)} rounds at budget {budget[0]:g}"
        raise InputError(Problem("the budget does not rise", "aubc", "a budget that rises over the rounds", found))
    return float(np.trapezoid(values, (budget - budget[0]) / spent))


def budget_for(budget: np.ndarray, values: np.ndarray, target: float) -> float | None:
    """Return the budget at which a curve first reaches a target, e.g. the masks for 95 % of full supervision.

    Between the last round below the target and the first at or above it, the curve is taken as a straight line. That
    it falls below the target again later makes no difference.

    Args:
        budget: (R,) float, finite, not falling, R >= 1.
        values: (R,) float, finite.
        target: finite, in the unit of ``values``.

    Returns:
        the budget, in its unit; that of the first round if it reaches the target already (less was not tried); None if
        no round does.

    Raises:
        InputError: no curve, or a target that is not finite.
    """
    budget, values = _curve(budget, values, "budget_for")
    if not np.isfinite(target):
        raise InputError(Problem("no target", "budget_for", "a finite number", f"{target}"))
    reached = np.flatnonzero(values >= target)
    if len(reached) == 0:
        return None
    first = int(reached[0])
    if first == 0:
        return float(budget[0])
    segment = slice(first - 1, first + 1)
    return float(np.interp(target, values[segment], budget[segment]))


def foreground_efficiency(pixels: np.ndarray, values: np.ndarray, ceiling: float | None = None) -> float | None:
    """Return how fast a curve rises with the annotated foreground: b of ``-a exp(-b (x - x0)) + c``, by least squares.

    x0 is the first point. After every 1/b megapixels the distance to c has shrunk by the factor e, so a larger b is
    better; it says nothing of how high c is.

    As in nnActive (Lüth et al. 2025, ``DatasetBeta``) where ``ceiling`` is given: c is that value, the same for all
    methods, a its distance from the first point, and only b is fitted. Without it a, b and c are all fitted, so b
    belongs to the curve's own plateau and compares only between curves that end alike.

    Args:
        pixels: (R,) float, finite, not falling: annotated foreground until each round, in pixels.
        values: (R,) float, finite.
        ceiling: value under full supervision, above the first value.

    Returns:
        b per megapixel, > 0. None where fewer than 4 points, the fit does not converge, the curve does not rise
        (a <= 0 or b <= 0), or b is not determined by the points: its standard error exceeds it, or a plateau that was
        to be found lies far beyond a nearly straight curve, which covers less than a tenth of the way to it.

    Raises:
        InputError: no curve, or a ceiling that is not finite.
    """
    pixels, values = _curve(pixels, values, "foreground_efficiency")
    if ceiling is not None and not np.isfinite(ceiling):
        raise InputError(Problem("no ceiling", "foreground_efficiency", "a finite number", f"{ceiling}"))
    spent = pixels[-1] - pixels[0]
    top = float(values.max()) if ceiling is None else ceiling
    if len(pixels) < _FEWEST_POINTS or spent <= 0 or top <= values[0]:
        return None
    x = (pixels - pixels[0]) / spent  # in [0, 1], where one start does for b whatever the size of the images
    if ceiling is None:
        fitted = _fit(_saturating, x, values, [_START, top - values[0], top])
    else:
        fitted = _fit(partial(_saturating, a=top - values[0], c=top), x, values, [_START])
    if fitted is None or (ceiling is None and fitted < _NEARLY_STRAIGHT):
        return None
    return float(fitted * _PER_MEGAPIXEL / spent)


def pareto_front(costs: np.ndarray, values: np.ndarray) -> list[int]:
    """Return the indices, ascending, of what no other beats: none is as cheap and as good, and cheaper or better.

    Equals of a point on the front are on it too.

    Args:
        costs: (N,) float, finite; less is better.
        values: (N,) float, finite; more is better.

    Raises:
        InputError: not two arrays of one length >= 1, or a number that is not finite.
    """
    costs, values = _pair(costs, values, "pareto_front")
    no_worse = (costs[:, None] <= costs) & (values[:, None] >= values)  # (N, N): row against column
    better = (costs[:, None] < costs) | (values[:, None] > values)
    return np.flatnonzero(~(no_worse & better).any(axis=0)).tolist()


def _saturating(x: np.ndarray, b: float, a: float, c: float) -> np.ndarray:
    return -a * np.exp(-b * x) + c


def _fit(model: Callable[..., np.ndarray], x: np.ndarray, values: np.ndarray, start: list[float]) -> float | None:
    """Return b, the first parameter of the model; None where it (or a, the second) makes no sense."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore", OptimizeWarning)  # no covariance: read below as an infinite one
        try:
            found, covariance = curve_fit(model, x, values, p0=start, maxfev=_EVALUATIONS)
        except RuntimeError:  # the documented sign that least squares did not converge
            return None
    if not np.isfinite(found).all() or (found[:2] <= 0).any():
        return None
    return float(found[0]) if np.sqrt(covariance[0, 0]) <= found[0] else None


def _curve(budget: np.ndarray, values: np.ndarray, where: str) -> tuple[np.ndarray, np.ndarray]:
    budget, values = _pair(budget, values, where)
    falls = np.flatnonzero(np.diff(budget) < 0)
    if len(falls):
        found = f"{budget[falls[0]]:g} and then {budget[falls[0] + 1]:g}"
        cure = "Put the rounds in order; a budget is all that was spent until then."
        raise InputError(Problem("the budget falls", where, "a budget that never falls", found, cure))
    return budget, values


def _pair(first: np.ndarray, second: np.ndarray, where: str) -> tuple[np.ndarray, np.ndarray]:
    """Return both as float64, of one dimension, one length and finite."""
    first, second = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if first.ndim != 1 or first.shape != second.shape or len(first) == 0:
        found = f"shapes {first.shape} and {second.shape}"
        raise InputError(Problem("no curve", where, "two arrays of one length, at least 1", found))
    unknown = int((~np.isfinite(first) | ~np.isfinite(second)).sum())
    if unknown:
        found = f"NaN or infinity at {unknown} of {len(first)} points"
        cure = "Leave out the rounds that were not measured."
        raise InputError(Problem("a point is not finite", where, "finite numbers", found, cure))
    return first, second
