"""The table of a study: a row per method, means and deviations over its seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from scripts.core.run_names import Metric
from scripts.studies.curves import aubc

Result = Mapping[str, Any]


def by_method(results: Sequence[Result]) -> dict[str, list[Result]]:
    """Return method -> its results, by seed."""
    found: dict[str, list[Result]] = {}
    for result in sorted(results, key=lambda one: one["seed"]):
        if result["rounds"]:
            found.setdefault(result["method"], []).append(result)
    return found


def last_round(results: Sequence[Result]) -> int:
    """Return the number of the last round that all have."""
    return min(len(result["rounds"]) for result in results) - 1


def dice_of(results: Sequence[Result]) -> np.ndarray:
    """Return the test Dice, (S, R), of the rounds that all seeds have."""
    last = last_round(results)
    return np.array([[row[Metric.DICE] for row in result["rounds"][: last + 1]] for result in results])


def masks_of(results: Sequence[Result]) -> np.ndarray:
    """Return the mean number of oracle masks in each of those rounds, (R,)."""
    last = last_round(results)
    return np.array([[row[Metric.MASKS] for row in result["rounds"][: last + 1]] for result in results]).mean(axis=0)


def summary_table(results: Sequence[Result]) -> str:
    """Return the fixed-width table for the terminal: first and last Dice, and the area under the curve."""
    head = f"{'method':<24} {'seeds':>5} {'masks':>9} {'first Dice':>16} {'last Dice':>16} {'AUBC':>16}"
    lines = [head, "-" * len(head)]
    for method, some in by_method(results).items():
        dice, masks = dice_of(some), masks_of(some)
        areas = np.array([aubc(masks, curve) for curve in dice]) if len(masks) > 1 else None
        span = f"{masks[0]:.0f} to {masks[-1]:.0f}" if len(masks) > 1 else f"{masks[0]:.0f}"
        first = _spread(dice[:, 0]) if len(masks) > 1 else "-"
        area = "-" if areas is None else _spread(areas)
        lines.append(f"{method:<24} {len(some):>5} {span:>9} {first:>16} {_spread(dice[:, -1]):>16} {area:>16}")
    return "\n".join(lines)


def _spread(values: np.ndarray) -> str:
    return f"{values.mean():.4f} ± {values.std():.4f}" if len(values) > 1 else f"{values[0]:.4f}"
