"""Own data begin with a plan: ``initialize`` makes it when there is none, and lays it under what was set by hand."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser

from scripts.active.planning.by_hand import by_hand
from scripts.active.planning.planner import DATA, FILE, ROWS, Planner, rows_sha256
from scripts.core.config.ids import is_among
from scripts.core.config.words import CommandLine, monai_command_line
from scripts.core.errors import InputError, Problem
from scripts.core.files import plain_file
from scripts.core.lock import held
from scripts.core.machine.threads import use_threads
from scripts.core.run_config import RunConfig, running_parser
from scripts.core.run_names import RunFile

logger = logging.getLogger(__name__)
_KEY = "auto_plan"
_MAKES_ONE = "plan"


def plan_first(config: RunConfig, auto: bool) -> None:
    """Change the running config to the plan of its data, where they are a user's own and ``auto_plan`` is true.

    Every config that trains calls it in its ``initialize``, before anything is built of the values that a plan sets.

    Args:
        config: the running one.
        auto: its ``auto_plan``.

    Raises:
        InputError: see :func:`settings_of_plan`.
    """
    typed = monai_command_line()
    changes = settings_of_plan(config, typed) if auto and typed.run_id != _MAKES_ONE else {}
    if not changes:
        return
    parser = running_parser()
    for key, value in changes.items():
        parser[key] = value
    parser.parse(reset=True)  # MONAI goes on with the next line of initialize
    if changes.get("image_size", config["image_size"]) != config["image_size"]:
        use_threads(parser.get_parsed_content("threads"), changes["image_size"], training=True)


def settings_of_plan(config: RunConfig, typed: CommandLine) -> dict[str, Any]:
    """Return the settings that the plan of a run's output folder adds to its config, by id.

    Nothing is added to the embedded demo, where ``auto_plan`` is false, and in a folder with runs that began without a
    plan. The plan is made once per folder, so that all its runs have one.

    Args:
        config: of the run.
        typed: what a user asked for, to tell what was set by hand.

    Raises:
        InputError: what is wrong with the table, or with a file that was looked at; a plan that cannot be read, or is
            of another data set.
    """
    parser = config.parser()
    if config.get(_KEY) is not True or _is_demo(parser):
        return {}
    planner: Planner = parser.get_parsed_content("planner")
    folder = planner.path.parent
    has_runs = any(any(folder.glob(f"{where}/{RunFile.STATE}")) for where in ("*", "*/*"))  # of a study one deeper
    if has_runs and not planner.path.exists():
        logger.info("no plan: the runs in %s began without one", folder)
        return {}
    set_ids = by_hand(config, typed)
    with held(folder / f".{FILE}.lock", "another process that plans for the same folder"):
        overlay = _kept(planner, has_runs) if planner.path.exists() else None
        told = "made before; "
        if overlay is None:
            with _all_faults_told(planner):
                overlay, told = planner.make(set_ids), "written; of it "
    settings = {key: value for key, value in overlay.items() if not key.startswith("_") and key != _KEY}
    own = {key for key in settings if is_among(key, set_ids)}
    used = {key: value for key, value in settings.items() if key not in own}
    text = ", ".join(f"{key} {json.dumps(value)}" for key, value in used.items()) or "nothing"
    text += f"; by hand {', '.join(sorted(own))}" if own else ""
    logger.info("plan %s: %s%s", planner.path, told, text)
    return used


def _is_demo(parser: ConfigParser) -> bool:
    data, demo = (parser.get_parsed_content(key) for key in ("dataset_dir", "data#demo_dir"))
    return os.path.abspath(data) == os.path.abspath(demo)


@contextmanager
def _all_faults_told(planner: Planner) -> Iterator[None]:
    try:
        yield
    except InputError:
        planner.listed(check=True)  # which looks into all files, so it finds more
        raise


def _kept(planner: Planner, has_runs: bool) -> dict[str, Any] | None:
    """Return the plan that is there; None where its images are no longer those of the table, and no run has begun."""
    cure = "Remove it for a new plan, or choose another --output_dir."
    try:
        with plain_file(planner.path) as file:
            overlay = json.loads(file.read())
    except ValueError as error:
        if isinstance(error, InputError):
            raise
        raise InputError(Problem("plan cannot be read", str(planner.path), "JSON", str(error), cure)) from error
    if not isinstance(overlay, dict):
        raise InputError(Problem("not a plan", str(planner.path), '{"id": value, ...}', type(overlay).__name__, cure))
    made_for, now = overlay.get(DATA), _root(planner.dataset_dir)
    if made_for is not None and made_for != now:
        raise InputError(Problem("plan is of another data set", str(planner.path), now, str(made_for), cure))
    if has_runs or ROWS not in overlay:
        return overlay
    with _all_faults_told(planner):
        if overlay[ROWS] == rows_sha256(planner.listed()):
            return overlay
    logger.info("plan %s: made anew, since the table has changed", planner.path)
    return None


def _root(dataset_dir: str) -> str:
    path = Path(os.path.abspath(Path(dataset_dir).expanduser()))
    return str(path.parent if path.is_file() else path)
