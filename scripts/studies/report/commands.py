"""The command ``python -m scripts.studies report``: the page of a study, again from its results."""

from __future__ import annotations

import logging
from pathlib import Path

from scripts.core.errors import InputError, Problem, listed
from scripts.studies.report.page import write_study_report
from scripts.studies.report.pool_of_run import arm_config
from scripts.studies.report.study_report import best_arm, report_study
from scripts.studies.results import read_results

logger = logging.getLogger(__name__)


def report(folder: str, study: str | None = None, pool: bool = False, method: str | None = None) -> None:
    """Write report.html of a study into its folder.

    Args:
        folder: of a study, or with the results of studies, such as docs/results.
        study: which, where the folder has results of several.
        pool: show the training images of one run; needs its folder and the images.
        method: whose images are shown; the best one unless given.
    """
    place = Path(str(folder))
    within = place / "results"
    results = read_results(within if within.is_dir() else place)
    if study is not None:
        results = [result for result in results if result.get("study") == str(study)]
    names = sorted({str(result.get("study")) for result in results})
    if len(names) != 1:
        found = listed(names) if names else "no result" + ("" if study is None else f" of {study!r}")
        raise InputError(Problem("not the results of one study", str(place), "one; choose it with --study", found))
    arm = method or best_arm(results)
    if pool and arm is not None:
        seed = min((int(result["seed"]) for result in results if result["method"] == arm), default=0)
        data = arm_config(place, arm, seed).parser().get_parsed_content("data")
        target = report_study(place, results, data, arm=arm, own_data=True)
    else:
        target = write_study_report(place, results)
    logger.info("%s", target)
