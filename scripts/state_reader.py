"""What a run's state tells: phases, queries, masks, metrics. Reading only."""

from __future__ import annotations

import json
from typing import Any

from scripts.database import Database
from scripts.state_people import LABEL_COLUMNS, PeopleReader
from scripts.state_schema import ImageRow, LabelRow, PseudoRow, QueryRow


class StateReader(PeopleReader):
    """Questions to the database of a run. Each raises ``StateError`` when the file cannot be read.

    Args:
        database: open database of a run.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def phases(self, round: int) -> list[str]:
        """Return the phases of a round that are done, in the order they were committed."""
        return [phase for (phase,) in self._rows("SELECT phase FROM phases WHERE round = ? ORDER BY seq", round)]

    def done(self, round: int, phase: str) -> bool:
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
        query = f"SELECT {LABEL_COLUMNS} FROM labels{where} ORDER BY seq"
        return [LabelRow(*row) for row in self._rows(query, *values)]

    def labelled(self, up_to_round: int | None = None) -> dict[str, LabelRow]:
        """Return the latest accepted mask of each image that has one, in the order of the images' first masks."""
        return {row.id: row for row in self.labels(up_to_round) if row.status == "accepted"}

    def pseudo(self, round: int, stage: str) -> list[PseudoRow]:
        """Return the pseudo-masks of one stage (``"cycle0"`` or ``"final"``) of a round, in the order stored."""
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

    def _rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        return self._database.rows(query, values)
