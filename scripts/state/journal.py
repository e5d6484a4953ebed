"""What was answered for and what was done, a second time: so that a state which is older than its files is noticed.

A state can fall behind: its write-ahead log is lost, an older copy of the one file is brought back. Then it is sound
and knows less, and nothing in it says so. ``journal.jsonl`` beside it has a line per mask that people were told is
kept, and per phase that is done. A line is written after the transaction, and before anybody is told: a state that
knows fewer is not the newest. The journal is never read for anything else.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from scripts.core.errors import Problem, StateError, listed
from scripts.core.files import fsync_folder, write_atomic, writing
from scripts.core.run_names import RunFile
from scripts.state.blob_store import is_blob_name
from scripts.state.rows import LabelRow

_KINDS: dict[str, tuple[type, ...]] = {"cost_px": (int,), "boundary_px": (int,), "version": (int,), "objects": (int,),
                                        "seconds": (int, float), "round": (int, type(None))}  # fmt: skip
_LATER = ("kind", "objects")  # which journals of before do not have
_TYPES = {field.name: _KINDS.get(field.name, (str,)) for field in fields(LabelRow)}
_SHOWN = 5

MaskKey = tuple[str, int, str]
"""What tells one mask from all others: image, version, blob."""
PhaseKey = tuple[int, str]
"""Round and name of a phase."""


@dataclass(frozen=True)
class Entries:
    """Lines of a journal, or what a state lacks of them.

    Attributes:
        masks: as they were stored, in their order.
        phases: in the order in which they were done.
    """

    masks: tuple[LabelRow, ...] = ()
    phases: tuple[PhaseKey, ...] = ()

    def beyond(self, masks: Collection[MaskKey], phases: Collection[PhaseKey]) -> Entries:
        """Return those that are not among some others."""
        return Entries(
            tuple(row for row in self.masks if key_of(row) not in masks),
            tuple(phase for phase in self.phases if phase not in phases),
        )


def key_of(row: LabelRow) -> MaskKey:
    """Return what tells a mask from all others."""
    return row.id, row.version, row.blob


def append(run_dir: Path, entries: Entries) -> None:
    """Add lines; they are on the disk when this returns.

    Raises:
        StateError: they cannot be written.
    """
    lines = _lines(entries)
    path = run_dir / RunFile.JOURNAL
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


def rewrite(run_dir: Path, entries: Entries) -> None:
    """Put a journal in the place of the one that is there. Raises ``StateError``."""
    write_atomic(run_dir / RunFile.JOURNAL, _lines(entries))


def read(run_dir: Path) -> Entries:
    """Return the journal of a run, each entry once; lines that a kill cut off are left out.

    Raises:
        StateError: it is there and cannot be read.
    """
    path = run_dir / RunFile.JOURNAL
    try:
        lines = path.read_bytes().splitlines()
    except FileNotFoundError:
        return Entries()
    except OSError as error:
        found, cure = error.strerror or str(error), "Give permission to read it."
        raise StateError(Problem("journal of the run cannot be read", str(path), found=found, cure=cure)) from error
    values = [value for line in lines if isinstance(value := _value(line), dict)]
    masks = (_mask(value.get("mask")) for value in values)
    phases = (_phase(value.get("phase")) for value in values)
    return Entries(tuple(dict.fromkeys(filter(None, masks))), tuple(dict.fromkeys(filter(None, phases))))


def refuse_older_state(run_dir: Path, missing: Entries) -> None:
    """Raise StateError where a state lacks what its journal has."""
    if not missing.masks and not missing.phases:
        return
    images, users = sorted({row.id for row in missing.masks}), sorted({row.user for row in missing.masks})
    masks = f"{len(missing.masks)} masks, of {listed(images, _SHOWN)}, drawn by {listed(users, _SHOWN)}"
    names = [f"round {round} {name}" for round, name in missing.phases]
    phases = f"{len(names)} phases: {listed(names, _SHOWN)}"
    found = " and ".join(text for text, rows in ((masks, missing.masks), (phases, names)) if rows)
    cure = (
        f"Bring back {RunFile.STATE} together with {RunFile.STATE}-wal, or the whole folder from a newer backup. Or go "
        "on from here, with the masks taken in again and the phases done anew: "
        f"python -m scripts.annotation restore {run_dir}"
    )
    expected = f"as in {RunFile.JOURNAL}"
    raise StateError(
        Problem("state is older than its files", str(run_dir), expected, f"it does not know {found}", cure)
    )


def _lines(entries: Entries) -> bytes:
    told: list[Any] = [{"mask": asdict(row)} for row in entries.masks] + [{"phase": phase} for phase in entries.phases]
    # A line begins with its end of line: what a kill cut off before does not spoil it.
    return "".join(f"\n{json.dumps(value)}" for value in told).encode()


def _value(line: bytes) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def _mask(value: Any) -> LabelRow | None:
    is_one = isinstance(value, dict) and {*value, *_LATER} == _TYPES.keys()
    if not is_one or not all(isinstance(value[name], kind) for name, kind in _TYPES.items() if name in value):
        return None
    return LabelRow(**value) if is_blob_name(value["blob"]) else None


def _phase(value: Any) -> PhaseKey | None:
    is_one = isinstance(value, list) and len(value) == 2 and isinstance(value[0], int) and isinstance(value[1], str)
    return (value[0], value[1]) if is_one else None
