"""What people were told is kept, a second time: so that a state which is older than its files is noticed.

A state can fall behind: its write-ahead log is lost, an older copy of the one file is brought back. Then it is sound
and knows less, and nothing in it says so. ``people.jsonl`` beside it has a line per mask that was answered for. A line
is written after the transaction and before the answer: a state that knows fewer masks than the journal is not the
newest. The journal is never read for anything else.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, fields
from pathlib import Path

from scripts.core.errors import Problem, StateError, listed
from scripts.core.files import fsync_folder, writing
from scripts.core.run_names import RunFile
from scripts.state.rows import LabelRow

_FIELDS = {field.name for field in fields(LabelRow)}


def append(run_dir: Path, rows: Iterable[LabelRow]) -> None:
    """Add masks to the journal; they are on the disk when this returns.

    Args:
        run_dir: folder of the run.
        rows: as they were stored.

    Raises:
        StateError: it cannot be written.
    """
    # A line begins with its end of line: what a kill cut off before does not spoil it.
    lines = "".join(f"\n{json.dumps(asdict(row))}" for row in rows).encode()
    path = run_dir / RunFile.PEOPLE
    if not lines:
        return
    with writing(path):
        is_new = not path.exists()
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            if os.write(descriptor, lines) != len(lines):
                raise OSError("only a part was written")
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if is_new:
            fsync_folder(run_dir)


def read(run_dir: Path) -> list[LabelRow]:
    """Return the masks of the journal, in its order, each once; lines that a kill cut off are left out.

    Raises:
        StateError: it is there and cannot be read.
    """
    path = run_dir / RunFile.PEOPLE
    try:
        lines = path.read_bytes().splitlines()
    except FileNotFoundError:
        return []
    except OSError as error:
        cure = "Give permission to read it."
        raise StateError(
            Problem("journal of the masks cannot be read", str(path), found=error.strerror or "", cure=cure)
        ) from error
    return list(dict.fromkeys(row for row in map(_row, lines) if row is not None))


def _row(line: bytes) -> LabelRow | None:
    try:
        values = json.loads(line)
        return LabelRow(**values) if isinstance(values, dict) and values.keys() == _FIELDS else None
    except (ValueError, RecursionError):
        return None


def key_of(row: LabelRow) -> tuple[str, int, str]:
    """Return what tells one mask from all others: image, version, blob."""
    return row.id, row.version, row.blob


def lost(rows: Iterable[LabelRow], known: Collection[tuple[str, int, str]]) -> list[LabelRow]:
    """Return the masks whose :func:`key_of` is not among ``known``."""
    return [row for row in rows if key_of(row) not in known]


def refuse_older_state(run_dir: Path, missing: Sequence[LabelRow]) -> None:
    """Raise StateError where a state lacks masks that people were told are kept."""
    if missing:
        images, users = sorted({row.id for row in missing}), sorted({row.user for row in missing})
        found = f"{len(missing)} masks that it does not know, of {listed(images, 5)}, drawn by {listed(users, 5)}"
        cure = (
            f"Bring back {RunFile.STATE} together with {RunFile.STATE}-wal, or the whole folder from a newer backup. "
            f"Or have the state take them in again: python -m scripts.annotation restore {run_dir}"
        )
        raise StateError(Problem("state is older than its files", str(run_dir), f"as in {RunFile.PEOPLE}", found, cure))
