"""What holds of the differences between methods, in words: one plain sentence per comparison.

The rule: a difference *holds* if and only if there are at least 3 seeds, its interval over seeds and images excludes 0,
and the p of its paired t-test over seeds, adjusted by Holm's method over all comparisons made together, is below 0.05.
The interval speaks for other test images, the test for few seeds, and Holm for many comparisons: each is blind to what
another sees. What does not hold is "not shown", never "equal".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from scripts.core.errors import InputError, Problem
from scripts.studies.comparisons import Difference, holm

FEWEST_SEEDS = 3
SIGNIFICANCE = 0.05
_FEWEST_DECIMALS = 3
_MOST_DECIMALS = 6


@dataclass(frozen=True)
class Comparison:
    """A method against a reference.

    Attributes:
        method: its name.
        reference: name of what it was compared with.
        difference: how much better the method is.
        adjusted_p: p of the difference, adjusted over all comparisons made together, in [0, 1]; NaN without a test.
        quantity: what was compared, with its unit if it has one, e.g. ``"Dice"``.
    """

    method: str
    reference: str
    difference: Difference
    adjusted_p: float
    quantity: str = "Dice"


def comparisons_with(
    reference: str, differences: Mapping[str, Difference], quantity: str = "Dice"
) -> tuple[Comparison, ...]:
    """Return one comparison per method, in their order, with p adjusted by Holm's method over all of them.

    Args:
        reference: name of what every method was compared with.
        differences: name of the method -> its difference to the reference.
        quantity: what was compared.

    Raises:
        InputError: no difference.
    """
    if not differences:
        raise InputError(Problem("nothing to compare", "comparisons_with", "a difference per method", "none"))
    adjusted = holm(np.array([difference.p for difference in differences.values()]))
    return tuple(
        Comparison(name, reference, difference, float(p), quantity)
        for (name, difference), p in zip(differences.items(), adjusted, strict=True)
    )


def holds(comparison: Comparison) -> bool:
    """Return whether a difference holds, for the better or the worse, by the rule of this module."""
    difference = comparison.difference
    return bool(
        difference.seeds >= FEWEST_SEEDS and _excludes_zero(difference) and comparison.adjusted_p < SIGNIFICANCE
    )


def sentence(comparison: Comparison) -> str:
    """Say in one sentence how large a difference is and whether it holds.

    ``"label_prop over random_equal_steps: +0.012 Dice (95 % interval +0.004 to +0.020 over seeds and images, 5 seeds):
    holds (Holm-adjusted p 0.012)."`` A method that is worse is "below" its reference. The number printed is never
    rounded onto the border that decides (0 of the interval, 0.05 of p): it gets up to 6 decimals instead of 3.
    """
    difference = comparison.difference
    side = "below" if difference.mean < 0 else "over"
    ends = (difference.low, difference.high)
    decimals = _decimals(0.0, *ends)
    low, high = (f"{end:+z.{decimals}f}" for end in ends)
    seeds = "1 seed" if difference.seeds == 1 else f"{difference.seeds} seeds"
    interval = f"{100 * difference.level:g} % interval {low} to {high} over {_drawn(difference)}, {seeds}"
    if np.isnan(ends).any():
        interval = f"no interval, {seeds}"
    names = f"{comparison.method} {side} {comparison.reference}"
    size = f"{difference.mean:+z.{decimals}f} {comparison.quantity}"
    return f"{names}: {size} ({interval}): {_verdict(comparison)}."


def _verdict(comparison: Comparison) -> str:
    """Return whether it holds, and the first reason why not."""
    difference = comparison.difference
    if difference.seeds < FEWEST_SEEDS:
        return f"too few seeds (at least {FEWEST_SEEDS} are needed)"
    if np.isnan([difference.low, difference.high]).any():
        return "not shown: there is no interval"
    if not _excludes_zero(difference):
        return "not shown: the interval contains 0"
    if np.isnan(comparison.adjusted_p):
        return "not shown: there is no test"
    p = f"Holm-adjusted p {_p_text(comparison.adjusted_p)}"
    return f"holds ({p})" if holds(comparison) else f"not shown: {p}, not below {SIGNIFICANCE:g}"


def _excludes_zero(difference: Difference) -> bool:
    return difference.low > 0 or difference.high < 0


def _drawn(difference: Difference) -> str:
    """Return what the interval is over: that of which there is one only was not drawn."""
    if difference.images == 1:
        return "seeds"
    return "images" if difference.seeds == 1 else "seeds and images"


def _p_text(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"{p:.{_decimals(SIGNIFICANCE, p)}f}"


def _decimals(border: float, *numbers: float) -> int:
    """Return the fewest decimals, 3 to 6, that print no number as the border unless it is the border."""
    wanted = range(_FEWEST_DECIMALS, _MOST_DECIMALS)
    clear = (d for d in wanted if all(n == border or round(n, d) != round(border, d) for n in numbers))
    return next(clear, _MOST_DECIMALS)
