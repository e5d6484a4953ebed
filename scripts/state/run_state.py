"""The state of a run: what was asked, annotated, paired and measured, kept so that a kill at any instant loses nothing.

One SQLite file holds the facts, content-addressed files hold masks and weights. Files are written and synced first;
one transaction then stores all rows of a phase, names the files and moves the phase. So the state names no file that is
not there, and a phase either happened or did not: one that did not is simply run again.

Layout of the run folder: ``state.sqlite``, ``blobs/``, ``lock``. One process writes the run, under the lock; beside it
:mod:`scripts.state.desk` adds what people send, each time in one transaction. Nothing else writes them.
"""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import astuple
from pathlib import Path
from typing import Any, Self

from scripts.core.errors import Problem, StateError, listed
from scripts.core.files import make_folder, remove_leftovers
from scripts.core.lock import FileLock
from scripts.core.run_names import RunFile
from scripts.state import journal
from scripts.state.blob_store import DRAWN, BlobStore
from scripts.state.database import Database
from scripts.state.reader import StateReader
from scripts.state.rows import ImageRow, LabelRow, PseudoRow, QueryRow
from scripts.state.settings_checks import (
    OTHER_DATA,
    changed_images,
    changed_masks,
    changed_settings,
    flatten_settings,
    shortened,
)
from scripts.state.writes import (
    claim_labels,
    insert_labels,
    insert_pseudo,
    insert_queries,
    numbers_of,
    require_finite,
    require_train,
)

logger = logging.getLogger(__name__)


class RunState(StateReader):
    """State of one run; make it with :meth:`open`, use it as a context manager. Threads may share it.

    Every method raises :class:`StateError` when the disk or the state fails it.
    """

    def __init__(self, run_dir: Path, database: Database, lock: FileLock) -> None:
        super().__init__(run_dir, database)
        self._lock = lock

    # ---- opening and closing -------------------------------------------------------------------------------------

    @classmethod
    def open(cls, run_dir: Path | str) -> Self:
        """Lock the run in ``run_dir`` and open its state; make both where there are none.

        What a killed writer left is removed, but for masks that people drew: they are set aside.

        Raises:
            StateError: another writer (named by pid and host), a state that is missing, damaged, of another version or
                older than its files, a blob that the state names and the disk has lost, no permission, no space.
        """
        run_dir = Path(run_dir)
        path = run_dir / RunFile.STATE
        make_folder(run_dir)
        with contextlib.ExitStack() as undo:
            lock = FileLock(run_dir / RunFile.LOCK)
            undo.callback(lock.release)
            remove_leftovers(run_dir)
            if not path.exists():
                _refuse_lost_state(run_dir)
                Database.create(path)
            answered = journal.read(run_dir)  # before the state is opened, to which masks may come meanwhile
            database = Database.open(path)
            undo.callback(database.close)
            state = cls(run_dir, database, lock)
            journal.refuse_older_state(run_dir, state._lacking(answered))
            known = set(map(journal.key_of, answered.masks)), set(answered.phases)
            journal.append(run_dir, state._for_journal().beyond(*known))  # of an older run, or of a kill before
            state._require_blobs(state.named_blobs())  # before hours of work end at a missing one
            state.gc()
            undo.pop_all()
        return state

    def close(self) -> None:
        """Close the state and give back its lock; a second call does nothing."""
        try:
            super().close()
        finally:
            self._lock.release()

    # ---- blobs ---------------------------------------------------------------------------------------------------

    def put_blob(self, data: bytes, suffix: str = "") -> str:
        """Store ``data`` and return its name for a later :meth:`commit`; equal data give the same name."""
        return self._blobs.put(data, suffix)

    def put_blobs(self, contents: Iterable[bytes], suffix: str = "") -> list[str]:
        """Store many blobs at once, much faster than one by one; return their names in the same order."""
        return self._blobs.put_all(contents, suffix)

    def gc(self) -> int:
        """Remove blobs that nothing names and return how many; drawn masks among them are set aside, never removed.

        Only :meth:`open` calls it: later it would take the blobs of the phase at work, which no commit names yet. A
        :class:`scripts.state.desk.Desk` writes and names its blobs in one transaction, so none of its is without a name
        here.
        """
        with self._database.transaction():
            unnamed = set(self._blobs.names()) - self.named_blobs()
            for name in unnamed:
                if name.endswith(DRAWN):
                    self._blobs.move(name, self.run_dir / RunFile.SET_ASIDE)
                else:
                    self._blobs.remove(name)
        drawn = sorted(name for name in unnamed if name.endswith(DRAWN))
        if drawn:
            text = "%d drawn masks that nobody was told are kept, set aside in %s: %s"
            logger.warning(text, len(drawn), self.run_dir / RunFile.SET_ASIDE, listed(drawn))
        if unnamed:
            logger.info("removed %d files of an interrupted phase from %s", len(unnamed), self.run_dir)
        return len(unnamed)

    # ---- writing -------------------------------------------------------------------------------------------------

    def register_run(
        self,
        settings: Mapping[str, Any],
        harmless: Collection[str],
        items: Iterable[Mapping[str, Any]],
        data_sha256: str,
        quarantined: Mapping[str, str] | None = None,
    ) -> None:
        """Store what the run is about at the first call; at later calls refuse whatever differs.

        Args:
            settings: nested mapping of JSON values.
            harmless: flattened keys (``"loader"`` also covers ``"loader#num_workers"``) that may change; the new values
                are stored.
            items: images with ``"id"``, ``"sha256"``, ``"label"``, ``"split"`` and, where there is a mask file,
                ``"mask_sha256"``; other keys are ignored.
            data_sha256: hash over the whole data list.
            quarantined: id -> reason, of images that were left out because their files cannot be used.

        Raises:
            StateError: lists each changed setting with old and new value, and each changed image.
            InputError: lists settings that JSON cannot hold.
        """
        flatten_settings(settings)
        items, left_out = list(items), dict(quarantined or {})
        images = [ImageRow(str(i["id"]), str(i["sha256"]), int(i["label"]), str(i["split"])) for i in items]
        masks = {str(i["id"]): str(i["mask_sha256"]) for i in items if i.get("mask_sha256")}
        with self._database.transaction() as db:
            stored = dict(db.execute("SELECT key, value FROM run").fetchall())
            if stored:
                problems = changed_settings(json.loads(stored["settings"]), settings, harmless)
                problems += changed_images(self.images(), images, self.quarantined(), left_out)
                if not problems:
                    problems = changed_masks(json.loads(stored["masks"]), masks)
                if not problems and (was := stored["data_sha256"]) != data_sha256:
                    problems = [Problem("changed", "data list (SHA-256)", was, data_sha256, OTHER_DATA)]
                if problems:
                    raise StateError(problems)
            else:
                db.executemany("INSERT INTO images VALUES (?, ?, ?, ?)", map(astuple, images))
            values = {"settings": json.dumps(settings, allow_nan=False), "data_sha256": data_sha256}
            values |= {"masks": json.dumps(masks), "quarantined": json.dumps(left_out)}
            changed = values.items() - stored.items()  # none when nothing changed: then the file stays as it is
            db.executemany("INSERT OR REPLACE INTO run VALUES (?, ?)", sorted(changed))

    def commit(
        self,
        round: int,
        phase: str,
        *,
        queries: Sequence[QueryRow | tuple[str, float | None]] = (),
        reserves: Sequence[tuple[str, float | None]] = (),
        labels: Sequence[LabelRow] = (),
        claim: bool = False,
        pseudo: Sequence[PseudoRow] = (),
        metrics: Mapping[str, float] | None = None,
        artifacts: Mapping[str, str] | None = None,
        seconds: float = 0.0,
        rng: Mapping[str, Any] | None = None,
    ) -> None:
        """Store all results of a phase and mark it as done, in one transaction: all of it is kept, or nothing.

        Args:
            round: round of the phase, and of its metrics and artifacts.
            phase: its name; once per round.
            queries: rows, or pairs (id, score) which get this round and the ranks 0, 1, ... in their order.
            reserves: pairs (id, score) that people are asked for in place of queries that they skip, by rank.
            claim: this round takes the masks that people sent and no round has taken yet.
            labels: masks drawn; a further mask of an image becomes its next version, the earlier ones are kept.
            pseudo: pseudo-masks; never of an image that has an accepted mask in that round or before.
            metrics: finite numbers by name, each name once per round.
            artifacts: blob names by artifact name, each name once per round.
            seconds: time the phase took.
            rng: JSON values that a later phase needs to go on with the same random numbers.

        Raises:
            StateError: the phase was committed before; a row is not about a training image, names a blob that is not
                there, or holds a number that is not finite; the disk failed.
        """
        query_rows = [
            row if isinstance(row, QueryRow) else QueryRow(round, rank, *row) for rank, row in enumerate(queries)
        ]
        reserve_rows = [QueryRow(round, rank, *row) for rank, row in enumerate(reserves)]
        metrics, artifacts = dict(metrics or {}), dict(artifacts or {})
        require_finite(
            [
                *numbers_of((*query_rows, *reserve_rows, *labels, *pseudo)),
                *metrics.items(),
                (f"seconds of {phase}", seconds),
            ]
        )
        self._require_blobs({row.blob for row in labels} | {row.blob for row in pseudo} | set(artifacts.values()))
        used = [row.id for row in (*query_rows, *reserve_rows)] + [row.id for row in labels]
        used += [name for row in pseudo for name in (row.id, row.donor)]
        with self._database.transaction() as db:
            if db.execute("SELECT 1 FROM phases WHERE round = ? AND phase = ?", (round, phase)).fetchone():
                cure = "This is a fault of the program: a phase that is done must not run again."
                raise StateError(Problem("phase was committed before", f"round {round}, {phase}", cure=cure))
            require_train(db, used)
            state = json.dumps(rng or {}, allow_nan=False)
            columns = "(round, phase, seconds, rng)"
            db.execute(f"INSERT INTO phases {columns} VALUES (?, ?, ?, ?)", (round, phase, float(seconds), state))
            insert_queries(db, query_rows)
            insert_queries(db, reserve_rows, "reserves")
            insert_labels(db, labels)
            if claim:
                claim_labels(db, round)
            insert_pseudo(db, pseudo)
            db.executemany("INSERT INTO metrics VALUES (?, ?, ?)", [(round, k, float(v)) for k, v in metrics.items()])
            db.executemany("INSERT INTO artifacts VALUES (?, ?, ?)", [(round, k, v) for k, v in artifacts.items()])
        # If this fails the phase is done all the same, and the next start of the run adds the line.
        journal.append(self.run_dir, journal.Entries(phases=((round, phase),)))

    # ---- inside --------------------------------------------------------------------------------------------------

    def _require_blobs(self, names: Iterable[str]) -> None:
        missing = sorted(name for name in names if not self.blob_path(name).is_file())
        cure = "Bring back the file from a backup of the run's folder."
        problems = [Problem("file of the run is missing", str(self.blob_path(name)), cure=cure) for name in missing]
        if problems:
            raise StateError(shortened(problems))


def _refuse_lost_state(run_dir: Path) -> None:
    """Refuse to start anew where a run has been: its state was lost, and silence would hide that."""
    log = run_dir / f"{RunFile.STATE}-wal"
    trace = log if log.exists() else next(BlobStore(run_dir / RunFile.BLOBS).names(), None)
    if trace is not None:
        cure = "Bring back the whole folder from a backup, or choose another output folder for a new run."
        raise StateError(Problem("state is missing where a run has been", str(run_dir), found=str(trace), cure=cure))
