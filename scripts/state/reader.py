"""What a run's state tells: phases, queries, masks, metrics, and what people were asked, sent and skipped."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from scripts.core.errors import Problem, StateError
from scripts.core.run_names import Phase, RunFile, Stage, is_run
from scripts.state import journal
from scripts.state.blob_store import BlobStore
from scripts.state.database import Database
from scripts.state.rows import (
    OUTLINE,
    SIMULATED,
    ImageRow,
    LabelRow,
    LeaseRow,
    PseudoRow,
    QueryRow,
    RefusalRow,
    SkipRow,
)

_LABELS = (
    "SELECT labels.id, round, blob, cost_px, boundary_px, seconds, user, labels.version, status, at, said, origin, "
    "origin_sha256"
)
_WITH_ANSWERS = (
    f"{_LABELS}, COALESCE(kind, '{OUTLINE}'), COALESCE(objects, 0) FROM labels "
    "LEFT JOIN answers ON answers.id = labels.id AND answers.version = labels.version"
)
_WITHOUT_ANSWERS = f"{_LABELS} FROM labels"  # a state of before, in which all masks are outlines

_STEP_S = 1.0  # that a clock may be set back without ending leases: time services do that every day
_NAMED_BLOBS = "SELECT blob FROM labels UNION SELECT blob FROM pseudo UNION SELECT blob FROM artifacts"


def state_file(run_dir: Path | str) -> Path:
    """Return the file of the state of the run in ``run_dir``.

    Raises:
        StateError: there is none.
    """
    if not is_run(Path(run_dir)):
        cure = "Name the folder of a run, or start the run first."
        raise StateError(Problem("holds no run", str(run_dir), f"a file {RunFile.STATE}", cure=cure))
    return Path(run_dir) / RunFile.STATE


class StateReader:
    """Questions to the state of a run; make it with :meth:`open`, use it as a context manager. Threads may share it.

    Each question raises ``StateError`` when the file cannot be read.
    """

    def __init__(self, run_dir: Path, database: Database) -> None:
        self.run_dir = run_dir
        self._database = database
        self._blobs = BlobStore(run_dir / RunFile.BLOBS)

    # ---- opening and closing -------------------------------------------------------------------------------------

    @classmethod
    def open(cls, run_dir: Path | str) -> Self:
        """Open the state in ``run_dir`` for reading.

        No lock is taken and nothing is changed. What is read is the state as it is at this moment, until it is closed.

        Raises:
            StateError: no run there, a state that is damaged, of another version, or older than its files.
        """
        return cls._newest(run_dir, Database.open_snapshot)

    @classmethod
    def _newest(cls, run_dir: Path | str, opened: Callable[[Path], Database]) -> Self:
        """Return the state, or refuse one that has fallen behind its journal."""
        answered = journal.read(Path(run_dir))  # before the state is opened, to which masks may come meanwhile
        state = cls(Path(run_dir), opened(state_file(run_dir)))
        try:
            journal.refuse_older_state(Path(run_dir), state._lacking(answered))
        except BaseException:
            state.close()
            raise
        return state

    def _lacking(self, answered: journal.Entries) -> journal.Entries:
        """Return what of a journal this state does not know."""
        masks = {(row[0], row[1], row[2]) for row in self._rows("SELECT id, version, blob FROM labels")}
        return answered.beyond(masks, {(row[0], row[1]) for row in self._rows("SELECT round, phase FROM phases")})

    def _for_journal(self) -> journal.Entries:
        """Return what a journal of this state holds: masks that people drew, and phases."""
        phases = tuple((row[0], row[1]) for row in self._rows("SELECT round, phase FROM phases ORDER BY seq"))
        return journal.Entries(tuple(row for row in self.labels() if row.user != SIMULATED), phases)

    def close(self) -> None:
        """Close the state; a second call does nothing."""
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    # ---- blobs ---------------------------------------------------------------------------------------------------

    def read_blob(self, name: str) -> bytes:
        """Return the data of a blob; ``StateError`` when they are not what was stored."""
        return self._blobs.read(name)

    def blob_path(self, name: str) -> Path:
        """Return where a blob lies, for readers that need a file; its content is not checked."""
        return self._blobs.path(name)

    def named_blobs(self) -> set[str]:
        """Return the names of all blobs that the state refers to."""
        return {name for (name,) in self._rows(_NAMED_BLOBS)}

    # ---- phases and rounds ---------------------------------------------------------------------------------------

    def phases(self, round: int) -> list[str]:
        """Return the phases of a round that are done, in the order they were committed."""
        return [phase for (phase,) in self._rows("SELECT phase FROM phases WHERE round = ? ORDER BY seq", round)]

    def is_done(self, round: int, phase: str) -> bool:
        """Tell whether a phase of a round is done."""
        return bool(self._rows("SELECT 1 FROM phases WHERE round = ? AND phase = ?", round, phase))

    def last(self) -> tuple[int, str] | None:
        """Return round and name of the phase committed last, ``None`` at the start of a run."""
        rows = self._rows("SELECT round, phase FROM phases ORDER BY seq DESC LIMIT 1")
        return (rows[0][0], rows[0][1]) if rows else None

    def rng(self, round: int, phase: str) -> dict[str, Any]:
        """Return what was stored as ``rng`` with a phase; ``KeyError`` when the phase is not done."""
        rows = self._rows("SELECT rng FROM phases WHERE round = ? AND phase = ?", round, phase)
        if not rows:
            raise KeyError((round, phase))
        return json.loads(rows[0][0])

    def seconds(self, round: int) -> dict[str, float]:
        """Return the time of each phase of a round that is done, in the order they were committed."""
        return dict(self._rows("SELECT phase, seconds FROM phases WHERE round = ? ORDER BY seq", round))

    def queries(self, round: int | None = None) -> list[QueryRow]:
        """Return the queries of one round or of all, by round and rank."""
        where, values = ("", ()) if round is None else (" WHERE round = ?", (round,))
        query = f"SELECT round, rank, id, score FROM queries{where} ORDER BY round, rank"
        return [QueryRow(*row) for row in self._rows(query, *values)]

    def labels(self, up_to_round: int | None = None) -> list[LabelRow]:
        """Return all versions of all masks whose round is at most ``up_to_round``, in the order they were stored.

        Without ``up_to_round`` those that wait for a round are among them.
        """
        where, values = ("", ()) if up_to_round is None else (" WHERE round <= ?", (up_to_round,))
        query = f"{self._labels}{where} ORDER BY seq"
        return [LabelRow(*row) for row in self._rows(query, *values)]

    def labelled(self, up_to_round: int | None = None) -> dict[str, LabelRow]:
        """Return the latest accepted mask of each image that has one, in the order of the images' first masks."""
        return {row.id: row for row in self.labels(up_to_round) if row.status == "accepted"}

    def pseudo(self, round: int, stage: Stage) -> list[PseudoRow]:
        """Return the pseudo-masks of one stage of a round, in the order stored."""
        columns = "id, round, stage, donor, distance, threshold, blob"
        query = f"SELECT {columns} FROM pseudo WHERE round = ? AND stage = ? ORDER BY seq"
        return [PseudoRow(*row) for row in self._rows(query, round, stage)]

    def metrics(self, round: int | None = None) -> dict[int, dict[str, float]]:
        """Return ``{round: {name: value}}`` of one round or of all; a round without metrics is not there."""
        where, values = ("", ()) if round is None else (" WHERE round = ?", (round,))
        found: dict[int, dict[str, float]] = {}
        for at, name, value in self._rows(
            f"SELECT round, name, value FROM metrics{where} ORDER BY round, name", *values
        ):
            found.setdefault(at, {})[name] = value
        return found

    def artifact(self, round: int, name: str) -> str:
        """Return the blob name of an artifact; ``KeyError`` when the round has none of this name."""
        rows = self._rows("SELECT blob FROM artifacts WHERE round = ? AND name = ?", round, name)
        if not rows:
            raise KeyError((round, name))
        return rows[0][0]

    def settings(self) -> dict[str, Any]:
        """Return the settings of the run, ``{}`` before :meth:`register_run`."""
        rows = self._rows("SELECT value FROM run WHERE key = 'settings'")
        return json.loads(rows[0][0]) if rows else {}

    def data_sha256(self) -> str | None:
        """Return the hash over the data list, ``None`` before :meth:`register_run`."""
        rows = self._rows("SELECT value FROM run WHERE key = 'data_sha256'")
        return rows[0][0] if rows else None

    def quarantined(self) -> dict[str, str]:
        """Return id -> reason of the images that were left out of the run because their files cannot be used."""
        rows = self._rows("SELECT value FROM run WHERE key = 'quarantined'")
        return json.loads(rows[0][0]) if rows else {}

    def images(self) -> list[ImageRow]:
        """Return the images of the run, by id."""
        return [ImageRow(*row) for row in self._rows("SELECT id, sha256, label, split FROM images ORDER BY id")]

    # ---- people --------------------------------------------------------------------------------------------------

    def open_round(self) -> int | None:
        """Return the round whose images are asked for and whose masks are not complete; ``None`` while it trains."""
        rows = self._rows(
            "SELECT MAX(round) FROM phases WHERE phase = ? AND round NOT IN (SELECT round FROM phases WHERE phase = ?)",
            Phase.QUERY, Phase.ORACLE,
        )  # fmt: skip
        return rows[0][0]

    def asked(self, round: int) -> list[str]:
        """Return the images that people are asked to draw in a round: skipped ones are replaced, in order of rank."""
        queries = self._ranked("queries", round)
        label_of = dict(self._rows("SELECT id, label FROM images WHERE split = 'train'"))
        return with_replacements(queries, self.reserves(round), label_of, self.skipped())

    def reserves(self, round: int) -> list[QueryRow]:
        """Return the images that stand in for skipped ones of a round, by rank; most of them are never asked for."""
        return self._ranked("reserves", round)

    def waiting(self, round: int) -> list[str]:
        """Return the images of :meth:`asked` that nobody has drawn yet."""
        query = "SELECT DISTINCT id FROM labels WHERE status = 'accepted' AND (round IS NULL OR round >= ?)"
        drawn = {key for (key,) in self._rows(query, round)}  # of earlier rounds: other windows of the image
        return [key for key in self.asked(round) if key not in drawn]

    def was_asked(self, key: str) -> bool:
        """Tell whether anybody was ever asked for the mask of an image, by a query or by handing it out."""
        asked = "SELECT 1 FROM queries WHERE id = ? UNION SELECT 1 FROM leases WHERE id = ?"
        if self._rows(f"{asked} UNION SELECT 1 FROM labels WHERE id = ?", key, key, key):
            return True
        return any(key in self.asked(at) for (at,) in self._rows("SELECT round FROM reserves WHERE id = ?", key))

    def pending(self) -> list[LabelRow]:
        """Return the accepted masks that no round has taken yet, in the order in which they came."""
        query = f"{self._labels} WHERE round IS NULL AND status = 'accepted' ORDER BY seq"
        return [LabelRow(*row) for row in self._rows(query)]

    def drawn(self, up_to_round: int) -> dict[str, list[LabelRow]]:
        """Return, for each image of L, the latest accepted mask of each of its annotators, by first mask.

        A simulated mask counts only where no person has drawn.

        Args:
            up_to_round: masks of later rounds do not count.
        """
        query = f"{self._labels} WHERE round <= ? AND status = 'accepted' ORDER BY seq"
        found: dict[str, dict[str, LabelRow]] = {}
        for values in self._rows(query, up_to_round):
            row = LabelRow(*values)
            found.setdefault(row.id, {})[row.user] = row
        for rows in found.values():
            if len(rows) > 1:
                rows.pop(SIMULATED, None)
        return {key: list(rows.values()) for key, rows in found.items()}

    def was_taken(self, origin: str, origin_sha256: str) -> bool:
        """Tell whether a file with this name was accepted last with this content; an earlier one can come back."""
        rows = self._rows("SELECT origin_sha256 FROM labels WHERE origin = ? ORDER BY seq DESC LIMIT 1", origin)
        return bool(rows) and rows[0][0] == origin_sha256

    def skipped(self) -> dict[str, SkipRow]:
        """Return the images that somebody cannot annotate and that were not given back since, by id."""
        rows = self._rows("SELECT id, user, at, reason, origin FROM skips WHERE undone = '' ORDER BY seq")
        return {row[0]: SkipRow(*row) for row in rows}

    def was_given_back(self, origin: str) -> bool:
        """Tell whether an image was given back that had been skipped from this place, such as a file."""
        return bool(self._rows("SELECT 1 FROM skips WHERE origin = ? AND undone != ''", origin))

    def leases(self, now: float, seconds: float = math.inf) -> dict[str, LeaseRow]:
        """Return the images that are in somebody's hands.

        Clocks are set back and forth. A lease that begins in the future has ended, and so has one that would go on for
        longer than leases are given: it comes from a clock that was wrong then, or is now.

        Args:
            now: seconds since 1970.
            seconds: how long leases are given.
        """
        query = "SELECT id, user, since, until FROM leases WHERE since <= ? AND until > ? AND until <= ?"
        rows = self._rows(f"{query} ORDER BY since, id", now + _STEP_S, now, now + seconds + _STEP_S)
        return {row[0]: LeaseRow(*row) for row in rows}

    def refusals(self, most: int = -1) -> list[RefusalRow]:
        """Return the masks that were not taken, the last ``most`` of them or all, in the order in which they came."""
        columns = "id, user, at, origin, origin_sha256, reason"
        rows = self._rows(f"SELECT {columns} FROM refusals ORDER BY seq DESC LIMIT ?", most)
        return [RefusalRow(*row) for row in reversed(rows)]

    def scores(self, name: str) -> dict[str, float]:
        """Return the scores of one kind that were made last, by id; empty where none were made."""
        return dict(self._rows("SELECT id, value FROM scores WHERE name = ? ORDER BY id", name))

    def scored_model(self, name: str) -> str | None:
        """Return the name of the model that the scores of one kind are of; ``None`` where none were made."""
        rows = self._rows("SELECT model FROM scores WHERE name = ? LIMIT 1", name)
        return rows[0][0] if rows else None

    @property
    def _labels(self) -> str:
        has_answers = self._rows("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'answers'")
        return _WITH_ANSWERS if has_answers else _WITHOUT_ANSWERS

    def _accepted(self) -> set[str]:
        """Ids of the images that have an accepted mask, of a round or waiting for one."""
        return {key for (key,) in self._rows("SELECT DISTINCT id FROM labels WHERE status = 'accepted'")}

    def _ranked(self, table: str, round: int) -> list[QueryRow]:
        rows = self._rows(f"SELECT round, rank, id, score FROM {table} WHERE round = ? ORDER BY rank", round)
        return [QueryRow(*row) for row in rows]

    def _rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        return self._database.rows(query, values)


def with_replacements(
    queries: Sequence[QueryRow], reserves: Iterable[QueryRow], label_of: Mapping[str, int], skipped: Collection[str]
) -> list[str]:
    """Return the images to draw: queries that are not skipped, then a reserve of its class for each that is.

    A reserve that is skipped in turn is passed over. Where a class has no more reserves, the round has fewer images.

    Args:
        queries: of a round, by rank.
        reserves: what the strategy would choose next, by rank.
        label_of: class index of each training image.
        skipped: ids that nobody can annotate.
    """
    asked = [row.id for row in queries if row.id not in skipped]
    missing = [label_of[row.id] for row in queries if row.id in skipped]
    for row in reserves:
        if row.id not in skipped and label_of[row.id] in missing:
            missing.remove(label_of[row.id])
            asked.append(row.id)
    return asked
