"""What a run left on the disk, and whether two runs left the same."""

from __future__ import annotations

import csv
import hashlib
import math
import shutil
import tempfile
from pathlib import Path
from typing import Any

from scripts.state.blob_store import BlobStore
from scripts.state.reader import StateReader

TOLERANCE = 1e-6
Outcome = dict[str, Any]


def outcome(output: Path, name: str) -> Outcome:
    """All results of a finished run by name; times are left out, and blobs are read and checked against their hash."""
    folder = output / name
    found: Outcome = {}
    with StateReader.open(folder) as state:
        rounds = sorted(state.metrics())
        found["theta0"] = state.rng(-1, "stage0")
        found["phases"] = {r: state.phases(r) for r in rounds}
        for row in state.queries():
            found[f"query {row.round}.{row.rank}"] = row
        for row in state.labels():
            found[f"label {row.id} version {row.version}"] = row
            state.read_blob(row.blob)
        for r in rounds:
            for stage in ("cycle0", "final"):
                for at, pseudo in enumerate(state.pseudo(r, stage)):
                    found[f"pseudo-mask {r} {stage} {at}"] = pseudo
                    state.read_blob(pseudo.blob)
            for name_, value in state.metrics()[r].items():
                found[f"metric {r} {name_}"] = value
            for cycle in (0, 1):
                blob = state.artifact(r, f"weights_cycle{cycle}")
                found[f"best weights {r} cycle {cycle}"] = hashlib.sha256(state.read_blob(blob)).hexdigest()
    with open(folder / "curve.csv", newline="") as file:
        for at, line in enumerate(csv.DictReader(file)):
            found |= {f"curve {at} {key}": text for key, text in line.items() if "seconds" not in key}
    for path in sorted(folder.glob("overlays/**/*.png")):
        found[f"picture {path.relative_to(folder)}"] = hashlib.sha256(path.read_bytes()).hexdigest()
    found["page is whole"] = (output / "report.html").read_text().rstrip().endswith("</html>")
    return found


def compare(expected: Outcome, found: Outcome) -> list[str]:
    """What differs, by name, with both values; numbers may differ by 1e-6."""
    return [
        f"{key}: {found.get(key)!r} instead of {expected.get(key)!r}"
        for key in dict.fromkeys([*expected, *found])
        if key not in expected or key not in found or not _same(expected[key], found[key])
    ]


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=0.0, abs_tol=TOLERANCE)
    return bool(one == other)


def leftovers(output: Path, name: str) -> list[str]:
    """Files that a finished run must not leave: temporary ones, checkpoints inside a training, blobs nothing names."""
    found = [path for path in output.rglob("*") if ".tmp" in path.name or path.name.endswith("training.pt")]
    folder = output / name
    with StateReader.open(folder) as state:
        unnamed = set(BlobStore(folder / "blobs").names()) - state.named_blobs()
    return [f"left over: {path.relative_to(output)}" for path in found] + [f"unnamed blob: {blob}" for blob in unnamed]


def stored(folder: Path) -> dict[str, int]:
    """What is committed in a run's folder, named, with its size in bytes: every row of the state, every named blob.

    Only a copy of the state is opened: the resume must find the files as the kill left them.
    """
    if not (folder / "state.sqlite").is_file():
        return {}
    with tempfile.TemporaryDirectory() as copy:
        for path in folder.glob("state.sqlite*"):
            shutil.copyfile(path, Path(copy) / path.name)
        with StateReader.open(copy) as state:
            tables = ("images", "phases", "queries", "labels", "pseudo", "metrics", "artifacts")
            rows = [f"{table} {row!r}" for table in tables for row in state._rows(f"SELECT * FROM {table}")]
            blobs = state.named_blobs()
    store = BlobStore(folder / "blobs")
    found = {row: len(row) for row in rows}
    return found | {name: store.path(name).stat().st_size for name in blobs if store.path(name).is_file()}


def lost_bytes(before: dict[str, int], after: dict[str, int]) -> int:
    """Bytes of what was committed before and is not there, or not in full, after."""
    return sum(max(size - after.get(name, 0), 0) for name, size in before.items())
