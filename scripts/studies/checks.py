"""Whether results of a study are those of today's command: the same settings, the same data, as many rounds."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from scripts.active.run_record import HARMLESS, stored_settings
from scripts.core.errors import Problem, StateError, listed
from scripts.core.result_files import Record
from scripts.core.run_config import RunConfig
from scripts.data.run_data import RunData
from scripts.state.settings_checks import OTHER_DATA, changed_settings
from scripts.studies.plan import StudyRun
from scripts.studies.results import settings_hash

_OF_DATA = ("data", "dataset_dir", "demo", "image_size", "mask_rule", "on_bad_image", "classes")
_READ_FROM_DATA = ("bits", "classes", "native_size", "patients_in_several_splits")
_MAY_GROW = ("rounds", "budget")
_NAMED = 3


def runs_left(config: RunConfig, data: RunData, runs: Sequence[StudyRun], results: Sequence[Record]) -> list[StudyRun]:
    """Return the runs that have no result, or one of fewer rounds than are asked for now.

    A result is held against what its run would store today, as the run itself does when it goes on.

    Args:
        config: of the study.
        data: of the study; where an overlay of a run changes them, they are left to the run itself.
        runs: of the study.
        results: of the study, and perhaps of runs that it does not name any more.

    Raises:
        StateError: results of other settings or data, all of them.
    """
    known = {(result["method"], result["seed"]): result for result in results}
    left: list[StudyRun] = []
    differing: dict[Problem, list[StudyRun]] = {}
    for run in runs:
        result = known.get((run.arm, run.seed))
        if result is None:
            left.append(run)
            continue
        now = settings_today(config, data, run)
        for problem in _differences(result, now, run, data):
            differing.setdefault(problem, []).append(run)
        if not _asks_the_same(result, now):
            left.append(run)
    if differing:
        raise StateError([_of_runs(problem, some) for problem, some in differing.items()])
    return left


def settings_today(config: RunConfig, data: RunData, run: StudyRun) -> Record:
    """Return the settings that a run would store if it began now, as JSON gives them back."""
    changes = {**run.changes, "active#method": run.method, "active#seed": run.seed}
    changed = RunConfig(config.parser(changes).get())
    settings = changed.parser().get_parsed_content("active#loop#settings")
    return json.loads(json.dumps(stored_settings(changed, data, settings)))


def ids_of_data(ids: Iterable[str]) -> list[str]:
    """Return those of some nested ids of a config that the images, their masks or their size depend on."""
    return [key for key in ids if key.replace("::", "#").split("#")[0] in _OF_DATA]


def _differences(result: Mapping[str, Any], now: Record, run: StudyRun, data: RunData) -> list[Problem]:
    before = result.get("settings")
    if not isinstance(before, dict) or settings_hash(before) != result.get("settings_sha256"):
        cure = "Remove it, then run the same command again: the result is read anew from the run."
        return [Problem("result was changed, or is damaged", str(run.result), "its own settings", cure=cure)]
    own_data = bool(ids_of_data(run.changes))
    found = changed_settings(before, now, (*HARMLESS, *(_READ_FROM_DATA if own_data else ())))
    if not own_data and result.get("data_sha256") != data.datalist.sha256:
        was, is_now = str(result.get("data_sha256")), data.datalist.sha256
        found.append(Problem("changed", "data list (SHA-256)", was, is_now, OTHER_DATA))
    return found


def _asks_the_same(result: Mapping[str, Any], now: Record) -> bool:
    """Tell whether the number of rounds and the budget are those of the result; they may change in a run."""
    before = result["settings"].get("active", {}) if isinstance(result.get("settings"), dict) else {}
    return all(before.get(name) == now["active"].get(name) for name in _MAY_GROW)


def _of_runs(problem: Problem, runs: Sequence[StudyRun]) -> Problem:
    return replace(problem, where=f"{problem.where} of {listed([run.result.stem for run in runs], _NAMED)}")
