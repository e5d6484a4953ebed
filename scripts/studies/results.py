"""What a study leaves behind: one JSON per run, and one flat table of all rounds of all runs."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripts.core.errors import InputError, Problem
from scripts.core.files import write_atomic
from scripts.core.machine.hardware import cores, cpu_model
from scripts.core.result_files import Record, csv_bytes, versions
from scripts.core.run_names import TEST_DICE, Metric
from scripts.report.curve import curve_rows
from scripts.state.reader import StateReader
from scripts.studies.plan import StudyRun
from scripts.studies.process import Ended

FORMAT = 1
COLUMNS = (
    "study", "data", "split", "method", "seed", "round", "masks", "fg_pixels", "boundary_px", "seconds", "dice",
    "miou", "pxap", "accuracy",
)  # fmt: skip
"""Columns of ``rounds.csv``; ``seconds`` are the annotator's."""
_OF_CURVE = {"fg_pixels": Metric.PIXELS, "seconds": "annotation_seconds"}


@dataclass(frozen=True)
class StudyNames:
    """How the results of a study are told from those of others.

    Attributes:
        study: name of the study.
        data: name of the data, e.g. ``"glas"``.
        split: name of the split, e.g. ``"published"``.
    """

    study: str
    data: str
    split: str


def run_result(run: StudyRun, names: StudyNames, ended: Ended) -> Record:
    """Return what a run that has ended leaves behind, JSON values.

    Args:
        run: all its rounds are done.
        names: of the study.
        ended: how its process ended, the last one where there were several.

    Raises:
        StateError: its state cannot be read.
    """
    with StateReader.open(run.folder) as state:
        rows = curve_rows(state)
        settings = state.settings()
        queries = [[query.id for query in state.queries(at)] for at in range(len(rows))]
        each = [json.loads(state.read_blob(state.artifact(row["round"], TEST_DICE))) for row in rows]
        data_sha256, seconds = state.data_sha256(), sum(sum(state.seconds(row["round"]).values()) for row in rows)
    return {
        "format": FORMAT,
        "study": names.study, "data": names.data, "split": names.split, "method": run.arm, "seed": run.seed,
        "settings_sha256": hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest(),
        "data_sha256": data_sha256,
        "versions": versions(),
        "machine": {"cpu": cpu_model(), "cores": cores(), "threads": settings.get("threads")},
        "seconds": round(seconds, 1),
        "seconds_outside_training": round(sum(map(_outside_training, rows)), 1),
        "peak_gb": round(ended.peak_gb, 2),
        "queries": queries,
        "rounds": rows,
        "test_dice": [{key: round(value, 4) for key, value in sorted(one.items())} for one in each],
        "settings": settings,
    }  # fmt: skip


def read_results(folder: Path) -> list[Record]:
    """Return the results in a folder, by method and seed.

    Raises:
        InputError: files that are no results, all of them.
    """
    found, problems = [], []
    for path in sorted(folder.glob("*.json")):
        try:
            content = json.loads(path.read_bytes())
            missing = [name for name in ("method", "seed", "rounds", "test_dice") if name not in content]
        except (OSError, ValueError, TypeError) as error:
            problems.append(Problem("cannot be read", str(path), "a result of a study", str(error)))
            continue
        if content.get("format") != FORMAT or missing:
            told = f"format {content.get('format')}, without {missing}"
            problems.append(Problem("not a result of a study", str(path), f"format {FORMAT}", told))
            continue
        found.append(content)
    if problems:
        raise InputError(problems)
    return sorted(found, key=lambda result: (result["method"], result["seed"]))


def write_result(path: Path, result: Mapping[str, Any]) -> None:
    """Write a result, a line per round where it can be. Raises ``StateError``."""
    parts = []
    for key, value in result.items():
        if isinstance(value, list):
            lines = ",\n  ".join(json.dumps(one, allow_nan=False) for one in value)
            parts.append(f'"{key}": [\n  {lines}\n ]')
        else:
            parts.append(f'"{key}": {json.dumps(value, allow_nan=False)}')
    write_atomic(path, ("{\n " + ",\n ".join(parts) + "\n}\n").encode())


def round_rows(results: Iterable[Mapping[str, Any]]) -> list[Record]:
    """Return a row per run and round with the columns of :data:`COLUMNS`."""
    return [
        {
            name: result[name] if name in result and name != "seconds" else row.get(_OF_CURVE.get(name, name))
            for name in COLUMNS
        }
        for result in results
        for row in result["rounds"]
    ]


def write_rounds(path: Path, results: Sequence[Mapping[str, Any]]) -> None:
    """Write the flat table of all rounds. Rows of other studies, data or splits that are in the file stay.

    Raises:
        StateError: it cannot be written.
        InputError: it is another table.
    """
    rows = round_rows(results)
    own = {_place(row) for row in rows}
    kept = [row for row in _read_rounds(path) if _place(row) not in own]
    write_atomic(path, csv_bytes([*kept, *rows], COLUMNS))


def _place(row: Mapping[str, Any]) -> tuple[str, ...]:
    return str(row["study"]), str(row["data"]), str(row["split"])


def _read_rounds(path: Path) -> list[Record]:
    if not path.is_file():
        return []
    reader = csv.DictReader(io.StringIO(path.read_text()))
    if tuple(reader.fieldnames or ()) != COLUMNS:
        found = ", ".join(reader.fieldnames or ())
        raise InputError(Problem("another table", str(path), ", ".join(COLUMNS), found, "Move it away."))
    return list(reader)


def _outside_training(row: Mapping[str, Any]) -> float:
    training = sum(row.get(f"seconds_{phase}") or 0.0 for phase in ("cycle0", "cycle1"))
    return float(row["seconds_total"]) - training
