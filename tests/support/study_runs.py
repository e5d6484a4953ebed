"""Runs of a study whose commands take no time, and the command of a real study that is as small as can be."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripts.studies.plan import StudyRun
from tests.support.tiny_runs import SMALL

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = ["bundle/configs/train.json", "bundle/configs/study.json"]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"}
TINY: dict[str, Any] = {
    **{key: value for key, value in SMALL.items() if key not in ("demo", "active#max_overlays")},
    "epoch_length": 1,
    "variants": 1,
    "active#stage0#overrides#epoch_length": 1,
    "demo#n_train": 8, "demo#n_val": 2, "demo#n_test": 2, "demo#size": [64, 64],
    "studies#methods": ["random", "label_prop"],
    "studies#seeds": [0],
    "studies#runners#local#workers": 2,
}  # fmt: skip
"""Config values of a real study of two runs of two rounds."""


@dataclass(frozen=True)
class FakeRun(StudyRun):
    """A run whose command is a line of Python; ``FOLDER``, ``SEED`` are known to it."""

    code: str = "pass"

    def command(self, python: str) -> list[str]:
        return [python, "-c", f"FOLDER, SEED = {str(self.study)!r}, {self.seed}\n{self.code}"]


def fake_run(study: Path, code: str = "pass", seed: int = 0, method: str = "random", rounds: int = 2) -> FakeRun:
    return FakeRun(study, method, method, seed, rounds, code=code)


def study_command(folder: Path, changes: Mapping[str, Any] | None = None) -> list[str]:
    """The command of the tiny study in ``folder / "out"``; its overlay is written beside."""
    folder.mkdir(parents=True, exist_ok=True)
    overlay = folder / "tiny.json"
    overlay.write_text(json.dumps({**TINY, **(changes or {})}))
    files = str([*CONFIGS, str(overlay)])
    command = [sys.executable, "-m", "monai.bundle", "run", "study", "--config_file", files]
    return [*command, "--output_dir", str(folder / "out")]


def start_study(folder: Path, changes: Mapping[str, Any] | None = None) -> subprocess.Popen[bytes]:
    """Start the tiny study as leader of a process group of its own; what it prints is added to ``log.txt``."""
    command = study_command(folder, changes)
    with open(folder / "log.txt", "ab") as log:
        return subprocess.Popen(
            command, cwd=ROOT, env=ENVIRONMENT, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
