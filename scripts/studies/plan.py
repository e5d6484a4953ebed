"""What a study is made of: runs of active learning, one per method, overlay and seed, and where each of them lies."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scripts.core.errors import InputError, Problem, listed
from scripts.core.files import write_atomic
from scripts.core.run_config import RunConfig
from scripts.core.run_names import OutputFile, run_folder

_BESIDE = ("metadata.json", "logging.conf")  # MONAI looks for them where the first config file is
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_OWN = ("runner", "studies", "study")
"""Ids that belong to the study itself, not to its runs."""


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
            read.
    """
    overlays = dict(overlays or {})
    known = config["active#methods"]
    unknown = [name for name in methods if name not in known]
    problems = [Problem("unknown method", "studies#methods", listed(sorted(known), 40), repr(n)) for n in unknown]
    for where, values in (("studies#methods", methods), ("studies#seeds", seeds)):
        if not values or len(set(values)) != len(values):
            problems.append(Problem("nothing, or one of them twice", where, "distinct ones", str(list(values))))
    wrong = [name for name in [*overlays, *methods] if name and not _NAME.fullmatch(name)]
    expected = "letters, digits, _ . -"
    problems += [Problem("this name makes no folder", "studies#overlays", expected, repr(name)) for name in wrong]
    if problems:
        raise InputError(problems)
    changes_of = {"": {}, **{name: _overlay(path) for name, path in overlays.items()}}
    return [
        StudyRun(
            study, f"{method}+{name}" if name else method, method, int(seed), _rounds(config, method, changes), changes
        )
        for seed in seeds
        for name, changes in changes_of.items()
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
    study = runs[0].study
    content = RunConfig({key: value for key, value in config.content.items() if key not in _OWN})
    places = {**shared, "active#stage0#dir": str(study / OutputFile.STAGE_0)}
    whole = content.parser(places).get()
    write_atomic(study / "config.json", _json(whole))
    for name in _BESIDE:
        for path in (Path(str(whole["bundle_root"])) / folder / name for folder in ("bundle/configs", "configs")):
            if path.is_file():
                write_atomic(study / name, path.read_bytes())
    for run in runs:
        own = {**run.changes, "output_dir": str(run.output_dir), "active#method": run.method, "active#seed": run.seed}
        RunConfig(whole).parser(own)
        write_atomic(run.config, _json(own))


def _overlay(path: str) -> dict[str, Any]:
    try:
        content = json.loads(Path(path).read_bytes())
    except (OSError, ValueError) as error:
        raise InputError(Problem("overlay cannot be read", str(path), "a JSON file", str(error))) from error
    if not isinstance(content, dict):
        raise InputError(Problem("not an overlay", str(path), '{"id": value, ...}', type(content).__name__))
    return {key: value for key, value in content.items() if not key.startswith("_")}


def _rounds(config: RunConfig, method: str, changes: Mapping[str, Any]) -> int:
    """Return how many rounds a run has: as its method fixes, else as the config or the overlay says."""
    fixed = config.get(f"active#methods#{method}#rounds")
    return int(fixed or changes.get("active#rounds", config["active#rounds"]))


def _json(content: Mapping[str, Any]) -> bytes:
    return (json.dumps(content, indent=1) + "\n").encode()
