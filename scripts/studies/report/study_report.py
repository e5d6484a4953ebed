"""The report of a study whose runs lie here: the results, and the pool of its best run if that can be read."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from scripts.core.errors import InputError, Problem, UserError, listed
from scripts.data.run_data import RunData
from scripts.studies.report.method_curves import COSTS, areas, common_range, study_curves
from scripts.studies.report.page import write_study_report
from scripts.studies.report.pool import PoolView
from scripts.studies.report.pool_of_run import pool_of_run

logger = logging.getLogger(__name__)


def report_study(
    folder: Path,
    results: Sequence[Mapping[str, Any]],
    data: RunData,
    failed: Sequence[tuple[str, str]] = (),
    arm: str | None = None,
    own_data: bool = False,
) -> Path:
    """Write the report of a study with the pool of one run, and return its path.

    A pool that cannot be read, or is of other data, is told in the log, and left out: the results are worth a page
    without it.

    Args:
        folder: of the study, with its runs.
        results: of its runs.
        data: images of the study.
        failed: name of each run without a result, and why.
        arm: method whose pool is shown; None for :func:`best_arm`.
        own_data: ``data`` are those of the config of that method's run; else its pool is left out where its overlay
            changes the data.

    Raises:
        StateError: the page cannot be written.
        InputError: ``arm`` has no result.
    """
    pool: PoolView | None = None
    chosen = best_arm(results) if arm is None else arm
    if chosen is not None:
        seed = _lowest_seed(results, chosen)
        try:
            pool = pool_of_run(folder, chosen, seed, data, own_data=own_data)
        except UserError as error:
            logger.warning("study: the report has no map of the pool: %s", error)
    return write_study_report(folder, results, pool, failed)


def best_arm(results: Sequence[Mapping[str, Any]]) -> str | None:
    """Return the method with the largest area under its curve, by name among equals; None without several rounds."""
    study = study_curves(results)
    cost = next(iter(COSTS))
    within = common_range(study.curves, cost)
    if within is None:
        return None
    found = {method.name: float(areas(method, cost, within).mean()) for method in study.curves}
    return min(found, key=lambda name: (-found[name], name))


def _lowest_seed(results: Sequence[Mapping[str, Any]], arm: str) -> int:
    seeds = [int(result["seed"]) for result in results if result["method"] == arm]
    if not seeds:
        known = listed(sorted({str(result["method"]) for result in results}), 40)
        raise InputError(Problem("no result of this method", "report", known, repr(arm)))
    return min(seeds)
