"""What a study is made of: runs of active learning, one per method, overlay and seed, and where each of them lies."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from scripts.core.config.words import CommandLine, as_kept
from scripts.core.config_checks import check_config
from scripts.core.errors import InputError, Problem, listed
from scripts.core.files import plain_file, write_atomic
from scripts.core.run_config import RunConfig
from scripts.core.run_names import OutputFile, run_folder

_BESIDE = ("metadata.json", "logging.conf")  # MONAI looks for them where the first config file is
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_OWN = ("runner", "studies", "study")
"""Ids that belong to the study itself, not to its runs."""
_OF_A_RUN = ("output_dir", "active", "active#method", "active#seed", "active#stage0#dir", "bundle_root", "config")
"""Ids that the study sets for each run."""
_LETTERS = "letters, digits, _ . -"


@dataclass(frozen=True)
class StudyRun:
    """One run of a study.

    Attributes:
        study: folder of the study.
        arm: what is compared: the method, with the overlay's name after a ``+``.
        method: a name in ``active#methods``.
        seed: of the run.
        rounds: how many it has.
        changes: config values of its overlay, by nested id.
    """

    study: Path
    arm: str
    method: str
    seed: int
    rounds: int
    changes: Mapping[str, Any] = field(default_factory=dict, compare=False)

    @property
    def name(self) -> str:
        """The run for readers: ``"label_prop, seed 3"``."""
        return f"{self.arm}, seed {self.seed}"

    @property
    def output_dir(self) -> Path:
        """The output folder of the run, which runs of other seeds share."""
        return self.study / self.arm

    @property
    def folder(self) -> Path:
        """The folder of the run itself."""
        return run_folder(self.output_dir, self.method, self.seed)

    @property
    def log(self) -> Path:
        """What the run printed."""
        return self.output_dir / f"seed{self.seed}.log"

    @property
    def lock(self) -> Path:
        """Lock of the process that a study started for it."""
        return self.output_dir / f"seed{self.seed}.lock"

    @property
    def config(self) -> Path:
        """Config values of the run alone."""
        return self.output_dir / f"seed{self.seed}.json"

    @property
    def result(self) -> Path:
        """What the run found, written when it has ended."""
        return self.study / "results" / f"{self.arm}_seed{self.seed}.json"

    def command(self, python: str) -> list[str]:
        """Return the command of the run, for the working directory of the study."""
        files = [str(self.study / "config.json"), str(self.config)]
        return [python, "-m", "monai.bundle", "run", "training", "--config_file", str(files)]


def plan_runs(
    config: RunConfig,
    study: Path,
    methods: Sequence[str],
    seeds: Sequence[int],
    overlays: Mapping[str, str] | None = None,
) -> list[StudyRun]:
    """Return the runs of a study: all methods of the first seed, then of the next.

    So after each seed the methods can be compared, however far the study has come.

    Args:
        config: of the study.
        study: its folder.
        methods: names in ``active#methods``.
        seeds: of the runs.
        overlays: name -> path of a JSON overlay like those of ``--config_file``: one more run per method and seed, the
            config as it is besides. None for no overlay.

    Raises:
        InputError: nothing to run, a method twice or unknown, names that make no folder, or an overlay that cannot be
            read or used.
    """
    problems = [*_list_problems(config, methods, seeds), *_overlay_problems(overlays)]
    if problems:
        raise InputError(problems)
    changed: dict[str, tuple[dict[str, Any], RunConfig]] = {"": ({}, config)}
    for name, path in (overlays or {}).items():
        changed[name] = _overlay(config, path)
    return [
        StudyRun(study, f"{method}+{name}" if name else method, method, seed, _rounds(whole, method), changes)
        for seed in seeds
        for name, (changes, whole) in changed.items()
        for method in methods
    ]


def write_configs(config: RunConfig, runs: Sequence[StudyRun], shared: Mapping[str, Any]) -> None:
    """Write what the commands of the runs read: one config for all, and the values of each.

    Args:
        config: of the study.
        runs: at least one.
        shared: config values of all runs by nested id, the places they share among them.

    Raises:
        StateError: a file cannot be written.
        InputError: an overlay changes an id that the config does not have.
    """
    study, root = runs[0].study, _bundle_root(config)
    content = RunConfig({key: value for key, value in config.content.items() if key not in _OWN})
    places = {**shared, "bundle_root": str(root), "active#stage0#dir": str(study / OutputFile.STAGE_0)}
    if content.get("auto_plan"):  # the study has made the plan, for all its runs
        places["auto_plan"] = False
    places = {key: as_kept(value) if isinstance(value, str) else value for key, value in places.items()}
    whole = content.parser(places).get()
    write_atomic(study / "config.json", _json(whole))
    for name in _BESIDE:
        found = [path for folder in ("bundle/configs", "configs") if (path := root / folder / name).is_file()]
        if found:
            write_atomic(study / name, found[0].read_bytes())
    for run in runs:
        own = {
            **run.changes,
            "output_dir": as_kept(str(run.output_dir)),
            "active#method": run.method,
            "active#seed": run.seed,
        }
        RunConfig(whole).parser(own)
        write_atomic(run.config, _json(own))


def _list_problems(config: RunConfig, methods: Any, seeds: Any) -> list[Problem]:
    """Return what is wrong with the lists of methods and seeds, which may be anything that JSON can hold."""
    problems = []
    for where, values, kind, example in (
        ("studies#methods", methods, str, "['random','label_prop']"),
        ("studies#seeds", seeds, int, "[0,1,2]"),
    ):
        told = "names" if kind is str else "whole numbers"
        cure = f'On the command line: --{where} "{example}".'
        if not isinstance(values, list | tuple) or not all(type(value) is kind for value in values):
            problems.append(Problem("value cannot be used", where, f"a list of {told}", repr(values), cure))
        elif not values or len(set(values)) != len(values):
            problems.append(Problem("nothing, or one of them twice", where, f"distinct {told}", str(list(values))))
    known = config["active#methods"]
    names = methods if isinstance(methods, list | tuple) else ()
    for name in names:
        if isinstance(name, str) and name not in known:
            problems.append(Problem("unknown method", "studies#methods", listed(sorted(known), 40), repr(name)))
        elif isinstance(name, str) and not _NAME.fullmatch(name):
            problems.append(Problem("this name makes no folder", "studies#methods", _LETTERS, repr(name)))
    return problems


def _overlay_problems(overlays: Any) -> list[Problem]:
    where, expected = "studies#overlays", '{"name": "path of a JSON file", ...}'
    if overlays is None:
        return []
    if not isinstance(overlays, Mapping) or not all(isinstance(path, str) for path in overlays.values()):
        return [Problem("value cannot be used", where, expected, repr(overlays))]
    wrong = [str(name) for name in overlays if not _NAME.fullmatch(str(name))]
    return [Problem("this name makes no folder", where, _LETTERS, repr(name)) for name in wrong]


def _overlay(config: RunConfig, path: str) -> tuple[dict[str, Any], RunConfig]:
    """Return the changes of an overlay by nested id, and the config with them."""
    try:
        with plain_file(path) as file:
            content = json.loads(file.read())
    except (ValueError, RecursionError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(Problem("overlay cannot be read", path, "a JSON file", str(error))) from error
    if not isinstance(content, dict):
        raise InputError(Problem("not an overlay", path, '{"id": value, ...}', type(content).__name__))
    changes = {key: value for key, value in content.items() if not key.startswith("_")}
    owned = [key for key in changes if key.replace("::", "#").split("#")[0] in _OWN or key in _OF_A_RUN]
    problems = [Problem("an overlay of a study cannot change this", key, cure="Take it out.") for key in owned]
    try:
        if not problems:
            changed = RunConfig(config.parser(changes).get())
            check_config(changed, CommandLine())  # what was typed is of the study, and was looked at
            return changes, changed
    except InputError as error:
        problems = list(error.problems)
    raise InputError([replace(problem, where=f"{path}: {problem.where}") for problem in problems])


def _rounds(config: RunConfig, method: str) -> int:
    """Return how many rounds a run has: as its method fixes, else as the config or the overlay says."""
    for key in (f"active#methods#{method}#rounds", "active#rounds"):
        value = config.get(key)
        if isinstance(value, str):  # an expression
            value = config.parser().get_parsed_content(key)
        if value is not None:
            break
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise InputError(Problem("value cannot be used", key, "a whole number from 1", repr(value)))
    return value


def _bundle_root(config: RunConfig) -> Path:
    """Return the folder of the bundle: all that runs read is found whatever folder they are started in."""
    return Path(str(config.parser().get_parsed_content("bundle_root"))).absolute()


def _json(content: Mapping[str, Any]) -> bytes:
    return (json.dumps(content, indent=1) + "\n").encode()
