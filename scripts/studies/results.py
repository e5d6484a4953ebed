"""What a study leaves behind: one JSON per run, and one flat table of all rounds of all runs."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from scripts.core.errors import InputError, Problem, StateError, listed
from scripts.core.files import plain_file, write_atomic
from scripts.core.lock import held
from scripts.core.machine.hardware import cores, cpu_model
from scripts.core.result_files import Record, csv_bytes, versions
from scripts.core.run_names import TEST_DICE, Metric, Phase
from scripts.report.curve import curve_rows
from scripts.state.reader import StateReader
from scripts.studies.plan import StudyRun
from scripts.studies.process import Ended

FORMAT = 1
ROUNDS = "rounds.csv"
"""Name of the table of all rounds."""
_CURE = "Remove it, then run the same command again: what a run of the study found is read anew from the run."
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
        StateError: its state cannot be read, or people still draw for it.
    """
    with StateReader.open(run.folder) as state:
        if state.open_round() is not None:
            cure = "A study draws by itself: --oracle simulated. Or let people draw, then run the same command again."
            raise StateError(Problem("masks of people are waited for", run.name, cure=cure))
        rows = curve_rows(state)
        settings = state.settings()
        queries = [[query.id for query in state.queries(at)] for at in range(len(rows))]
        each = [json.loads(state.read_blob(state.artifact(row["round"], TEST_DICE))) for row in rows]
        data_sha256, seconds = state.data_sha256(), sum(sum(state.seconds(row["round"]).values()) for row in rows)
    return {
        "format": FORMAT,
        "study": names.study, "data": names.data, "split": names.split, "method": run.arm, "seed": run.seed,
        "settings_sha256": settings_hash(settings),
        "data_sha256": data_sha256,
        "versions": versions(),
        "machine": {
            "cpu": cpu_model(), "cores": cores(),
            "threads": settings.get("threads"), "precision": settings.get("precision"),
        },
        "seconds": round(seconds, 1),
        "seconds_outside_training": round(sum(map(_outside_training, rows)), 1),
        "peak_gb": round(ended.peak_gb, 2),
        "queries": queries,
        "rounds": rows,
        "test_dice": [{key: round(value, 4) for key, value in sorted(one.items())} for one in each],
        "settings": settings,
    }  # fmt: skip


def settings_hash(settings: Mapping[str, Any]) -> str:
    """Return the SHA-256 of the settings of a run, 64 hex digits."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()


def read_results(folder: Path) -> list[Record]:
    """Return the results in a folder, by method and seed.

    Raises:
        InputError: files that are no results, all of them.
    """
    found, problems = [], []
    for path in sorted(folder.glob("*.json")):
        try:
            with plain_file(path) as file:
                content = json.loads(file.read())
            wrong = _wrong_with(path, content)
        except (ValueError, RecursionError) as error:
            wrong = f"{type(error).__name__}: {error}"
        if wrong:
            problems.append(Problem("not a result of a study", str(path), f"format {FORMAT}", wrong, _CURE))
        else:
            found.append(content)
    if problems:
        raise InputError(problems)
    return sorted(found, key=lambda result: (result["method"], result["seed"]))


def _wrong_with(path: Path, content: Any) -> str:
    """Return what makes content no result, in words; empty where it is one."""
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        return f"format {content.get('format')}" if isinstance(content, dict) else type(content).__name__
    kinds = {"study": str, "data": str, "split": str, "method": str, "seed": int, "rounds": list, "test_dice": list}
    wrong = [name for name, kind in kinds.items() if type(content.get(name)) is not kind]
    rounds = content.get("rounds")
    if not wrong and not all(isinstance(row, dict) and {"masks", "dice"} <= row.keys() for row in rounds or ()):
        wrong = ["rounds"]
    if wrong:
        return f"without {listed(wrong)}"
    name = f"{content['method']}_seed{content['seed']}.json"
    return "" if path.name == name else f"that of {name}"  # a copy beside it would count twice


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


def write_rounds(
    path: Path, results: Sequence[Mapping[str, Any]], names: StudyNames | None = None, fresh: bool = False
) -> None:
    """Write the flat table of all rounds. Rows of other studies, data or splits that are in the file stay.

    Args:
        path: of the table.
        results: of the study, all of them.
        names: of the study, whose rows in the file go even where no result is left; None takes those of the results.
        fresh: no row of the file stays.

    Raises:
        StateError: it cannot be written.
        InputError: it is another table.
    """
    rows = round_rows(results)
    own = {_place(row) for row in rows} | ({_place(asdict(names))} if names is not None else set())
    kept = [row for row in _read_rounds(path) if not fresh and _place(row) not in own]
    write_atomic(path, csv_bytes([*kept, *rows], COLUMNS))


class SharedResults:
    """A folder with results of several studies, and of several machines at one study.

    It holds a folder per study, by its name, and a ``rounds.csv`` of all.

    Args:
        folder: made when something is put into it.
        names: of the study.
    """

    def __init__(self, folder: Path, names: StudyNames) -> None:
        self.folder, self.names = folder, names

    @property
    def own(self) -> Path:
        """Folder of the study."""
        return self.folder / self.names.study

    def newer(self, results: Sequence[Record]) -> list[Record]:
        """Return the results of the study here that ``results`` lack, or have with fewer rounds."""
        known = {_key(result): len(result["rounds"]) for result in results}
        return [result for result in read_results(self.own) if len(result["rounds"]) > known.get(_key(result), -1)]

    def put(self, results: Sequence[Record]) -> None:
        """Add results, but those that are here with more rounds, and write the table of all that are here then.

        Raises:
            StateError: it cannot be written, or a result here is damaged.
        """
        with held(self.folder / ".lock", "the folder of results"):
            here = {_key(result): result for result in read_results(self.own)}
            for result in results:
                before = here.get(_key(result))
                if before is None or len(before["rounds"]) <= len(result["rounds"]):
                    write_result(self.own / result_file(result), result)
                    here[_key(result)] = dict(result)
            rows = sorted(here.values(), key=_key)
            write_rounds(self.folder / ROUNDS, rows, self.names)


def result_file(result: Mapping[str, Any]) -> str:
    """Return the name of the file of a result."""
    return f"{result['method']}_seed{result['seed']}.json"


def _key(result: Mapping[str, Any]) -> tuple[str, int]:
    return str(result["method"]), int(result["seed"])


def _place(row: Mapping[str, Any]) -> tuple[str, ...]:
    return str(row["study"]), str(row["data"]), str(row["split"])


def _read_rounds(path: Path) -> list[Record]:
    if not path.exists():
        return []
    with plain_file(path) as file:
        text = file.read().decode(errors="replace")
    reader = csv.DictReader(io.StringIO(text, newline=""))
    if tuple(reader.fieldnames or ()) != COLUMNS:
        found = listed(list(reader.fieldnames or ["nothing"]))
        raise InputError(Problem("another table", str(path), ", ".join(COLUMNS), found, "Move it away."))
    return [{name: row[name] for name in COLUMNS} for row in reader]


def _outside_training(row: Mapping[str, Any]) -> float:
    training = sum(row.get(f"seconds_{phase}") or 0.0 for phase in (Phase.CYCLE_0, Phase.CYCLE_1))
    return float(row["seconds_total"]) - training
