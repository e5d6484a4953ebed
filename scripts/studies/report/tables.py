"""Tables of the report: methods, Dice at each number of masks, and who beats whom how often."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from scripts.core.run_names import Metric
from scripts.evaluation.metrics import auc_over_rounds
from scripts.studies.comparisons import penalty_matrix, rank_intervals
from scripts.studies.curves import budget_for, foreground_efficiency
from scripts.studies.report.method_curves import COSTS, FULL, MethodCurves, StudyCurves, areas, common_range
from scripts.studies.wording import FEWEST_SEEDS

Table = tuple[list[str], list[list[Any]]]
TARGET = 0.95
"""Part of the Dice of full supervision that a budget is told for."""
_IMAGES = next(iter(COSTS))


def methods_table(study: StudyCurves) -> Table:
    """Return a row per method; what needs several rounds, seeds or full supervision is None without them."""
    columns = [
        "method", "seeds", "masks", "Dice, first", "Dice, last", "AUBC", "AUC as published",
        f"masks for {100 * TARGET:g} % of {FULL}", "foreground efficiency", "mean rank",
    ]  # fmt: skip
    ranks = mean_ranks(study)
    return columns, [_row(study, method, ranks.get(method.name)) for method in study.methods]


def dice_table(study: StudyCurves) -> Table:
    """Return the mean and deviation of Dice at each number of masks that any curve was measured at."""
    counts = {method.name: method.costs[_IMAGES].mean(axis=0) for method in study.curves}
    columns = sorted({float(count) for spent in counts.values() for count in spent})
    rows = []
    for method in study.curves:
        at = {float(count): _spread(method.dice[:, i]) for i, count in enumerate(counts[method.name])}
        rows.append([method.name, *(at.get(count) for count in columns)])
    return ["method", *(f"{count:g} masks" for count in columns)], rows


def mean_ranks(study: StudyCurves) -> dict[str, str]:
    """Return the mean rank of each curve by area within each seed, with its interval; empty where there is none."""
    within = common_range(study.curves, _IMAGES)
    seeds = common_seeds(study.curves)
    if within is None or not seeds or len(study.curves) < 2:
        return {}
    values = np.array([areas(m, _IMAGES, within)[[m.seeds.index(s) for s in seeds]] for m in study.curves])
    means, lows, highs = rank_intervals(values, np.random.default_rng(0))
    return {
        method.name: f"{mean:.1f}" + ("" if np.isnan(low) else f" ({low:.1f} to {high:.1f})")
        for method, mean, low, high in zip(study.curves, means, lows, highs, strict=True)
    }


def penalties(study: StudyCurves) -> dict[str, Any] | None:
    """Return names, shares (M, M), and means of rows and columns of the penalty matrix; None with too few seeds."""
    seeds, methods = common_seeds(study.curves), study.curves
    if len(seeds) < FEWEST_SEEDS or len(methods) < 2:
        return None
    values = np.array([m.dice[[m.seeds.index(s) for s in seeds], : study.last + 1] for m in methods])
    matrix = penalty_matrix(values)
    off = ~np.eye(len(methods), dtype=bool)
    count = len(methods) - 1
    return {
        "names": [method.name for method in methods],
        "matrix": [[float(v) if off[i, j] else None for j, v in enumerate(row)] for i, row in enumerate(matrix)],
        "wins": [float(row.sum() / count) for row in matrix],
        "losses": [float(column.sum() / count) for column in matrix.T],
        "rounds": study.last + 1,
        "seeds": len(seeds),
    }


def common_seeds(methods: Sequence[MethodCurves]) -> list[int]:
    """Return the seeds that all methods ran with."""
    shared = set.intersection(*(set(method.seeds) for method in methods)) if methods else set()
    return sorted(shared)


def _row(study: StudyCurves, method: MethodCurves, rank: str | None) -> list[Any]:
    masks = method.costs[_IMAGES].mean(axis=0)
    if method.flat:
        return [method.name, len(method.seeds), f"{masks[-1]:g}", None, _spread(method.dice[:, -1]),
                None, None, None, None, None]  # fmt: skip
    within = common_range(study.curves, _IMAGES)
    last = study.last
    dice, mean = method.dice[:, : last + 1], method.dice.mean(axis=0)
    published = np.array([auc_over_rounds(curve) for curve in dice])
    ceiling = None if study.full is None else float(study.full.dice[:, -1].mean())
    efficiency = foreground_efficiency(method.costs[Metric.PIXELS].mean(axis=0), mean, ceiling)
    several = last > 0
    return [
        method.name, len(method.seeds), f"{masks[0]:g} to {masks[last]:g}" if several else f"{masks[0]:g}",
        _spread(dice[:, 0]) if several else None, _spread(dice[:, -1]),
        None if within is None else _spread(areas(method, _IMAGES, within)),
        _spread(published) if several else None, _masks_needed(masks, mean, ceiling),
        None if efficiency is None else f"{efficiency:.3g}", rank,
    ]  # fmt: skip


def _masks_needed(masks: np.ndarray, dice: np.ndarray, ceiling: float | None) -> str | None:
    if ceiling is None:
        return None
    needed = budget_for(masks, dice, TARGET * ceiling)
    if needed is None:
        return f"more than {masks[-1]:g}"
    return f"at most {needed:g}" if needed == masks[0] else f"{needed:.1f}"


def _spread(values: np.ndarray) -> str:
    return f"{values.mean():.4f} ± {values.std():.4f}" if len(values) > 1 else f"{values[0]:.4f}"
