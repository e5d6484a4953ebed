"""The desk: where people get images to draw and hand masks in, while a run trains or waits.

Any number of processes and threads may have a desk open on a run, beside the one process that writes the run itself
(:mod:`scripts.state.run_state`). Each call is one transaction, so nothing of it is lost or done by halves. A mask that
comes in belongs to no round yet; the next round takes it in its oracle phase, so a training never sees its data change.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from scripts.core.errors import InputError, Problem
from scripts.state import journal
from scripts.state.blob_store import DRAWN
from scripts.state.database import Database
from scripts.state.reader import StateReader, state_file
from scripts.state.rows import LabelRow, LeaseRow, RefusalRow, SkipRow
from scripts.state.writes import insert_labels, numbers_of, require_finite, require_train

LEASE_S = 1800.0


def timestamp(now: float | None = None) -> str:
    """Return a moment, seconds since 1970 (None for now), as ISO 8601 in UTC."""
    return datetime.fromtimestamp(time.time() if now is None else now, UTC).isoformat(timespec="seconds")


class Desk(StateReader):
    """The desk of one run; make it with :meth:`open`, use it as a context manager. Threads may share it.

    Every method raises :class:`StateError` when the disk or the state fails it.
    """

    @classmethod
    def open(cls, run_dir: Path | str) -> Self:
        """Open the desk of the run in ``run_dir``.

        Raises:
            StateError: no run there, a state that is damaged, of another version, or older than its files, no
                permission to write.
        """
        return cls._newest(run_dir, Database.open_beside)

    @classmethod
    def restore(cls, run_dir: Path | str) -> list[LabelRow]:
        """Make an older state fit to go on: take in again the masks that people were told are kept. Return them.

        They get the versions they had, and wait for the next round. Phases that it does not know are done anew.

        Raises:
            StateError: as :meth:`open`; the file of a mask is lost too.
        """
        answered = journal.read(Path(run_dir))
        with cls(Path(run_dir), Database.open_beside(state_file(run_dir))) as desk:
            missing = desk._lacking(answered).masks
            for row in missing:
                desk.read_blob(row.blob)
            with desk._database.transaction() as db:
                require_train(db, [row.id for row in missing])
                insert_labels(db, [replace(row, round=None) for row in missing])
            journal.rewrite(desk.run_dir, desk._for_journal())
            return list(missing)

    # ---- handing out ---------------------------------------------------------------------------------------------

    def hand_out(
        self, user: str, order: Iterable[str] | None = None, seconds: float = LEASE_S, now: float | None = None
    ) -> LeaseRow | None:
        """Lease one image to ``user``; until then nobody else gets it, and the same user gets it again.

        Args:
            user: who asks.
            order: ids, the most wanted first; None for what the open round asks for, in order of rank.
            seconds: how long the image is reserved.
            now: seconds since 1970; None for the clock.

        Returns:
            the lease, or None when every image is drawn, skipped or in other hands.
        """
        wanted = None if order is None else list(order)
        with self._database.transaction() as db:
            now = time.time() if now is None else now  # within, so that times follow the order of the transactions
            if wanted is None:
                at = self.open_round()
                wanted = [] if at is None else self.waiting(at)
            else:
                out = self._accepted() | self.skipped().keys()
                wanted = [key for key in wanted if key not in out]
            require_train(db, wanted)
            held = self.leases(now, seconds)
            own = [key for key in wanted if key in held and held[key].user == user]
            free = [key for key in wanted if key not in held]
            if not own and not free:
                return None
            key = own[0] if own else free[0]
            since = min(held[key].since, now) if own else now
            db.execute("INSERT OR REPLACE INTO leases (id, user, since, until) VALUES (?, ?, ?, ?)",
                       (key, user, since, now + seconds))  # fmt: skip
            return LeaseRow(key, user, since, now + seconds)

    def give_back(self, key: str, user: str) -> bool:
        """End the lease of ``user`` on an image, so that others get it at once; tell whether there was one."""
        with self._database.transaction() as db:
            return db.execute("DELETE FROM leases WHERE id = ? AND user = ?", (key, user)).rowcount > 0

    # ---- taking in -----------------------------------------------------------------------------------------------

    def submit(self, row: LabelRow, png: bytes, now: float | None = None) -> LabelRow:
        """Keep an accepted mask for the next round, as the next version of its image, and end its user's lease.

        Without a time of its own (0) a mask gets that since its user took the lease, 0 where the clock was set back.

        Args:
            row: ``round``, ``blob``, ``version`` and ``at`` are set here, whatever stands in them.
            png: the mask (:func:`scripts.images.png.mask_to_png`).
            now: seconds since 1970; None for the clock.

        Returns:
            the row as it was stored.

        Raises:
            StateError: not a training image of the run, or a number that is not finite.
        """
        require_finite(numbers_of((row,)))
        with self._database.transaction() as db:
            now = time.time() if now is None else now
            require_train(db, [row.id])
            lease = self._rows("SELECT since, until FROM leases WHERE id = ? AND user = ?", row.id, row.user)
            if lease and row.seconds == 0:
                row = replace(row, seconds=max(0.0, round(min(now, lease[0][1]) - lease[0][0], 1)))
            # Within the transaction, so that the start of a run never finds the file without its name.
            blob = self._blobs.put(png, DRAWN)
            row = replace(row, round=None, blob=blob, at=timestamp(now))
            (version,) = insert_labels(db, [row])
            db.execute("DELETE FROM leases WHERE id = ? AND user = ?", (row.id, row.user))
            # A mask says that the image can be drawn after all.
            db.execute("UPDATE skips SET undone = ? WHERE id = ? AND undone = ''", (row.at, row.id))
        row = replace(row, version=version)
        journal.append(self.run_dir, journal.Entries((row,)))  # fails it, the mask is kept, and may be sent again
        return row

    def confirm(self, row: LabelRow) -> None:
        """Write a mask that is kept into the journal if it is not there, before somebody is told of it once more.

        When it came its line may have failed; who sent it then was not told that it is kept.
        """
        if journal.key_of(row) not in set(map(journal.key_of, journal.read(self.run_dir).masks)):
            journal.append(self.run_dir, journal.Entries((row,)))

    def refuse(self, row: RefusalRow) -> None:
        """Remember a mask that was not taken, once however often it is sent. It costs nothing, and no lease ends."""
        values = (row.id, row.user, row.at or timestamp(), row.origin, row.origin_sha256, row.reason)
        with self._database.transaction() as db:
            columns = "(id, user, at, origin, origin_sha256, reason)"
            db.execute(f"INSERT OR IGNORE INTO refusals {columns} VALUES (?, ?, ?, ?, ?, ?)", values)

    def mask_path(self, blob: str) -> Path:
        """Return where the PNG of a mask lies, for programs that need a file; ``StateError`` as :meth:`read_blob`."""
        self._blobs.read(blob)
        return self._blobs.path(blob)

    # ---- what cannot be drawn ------------------------------------------------------------------------------------

    def skip(self, key: str, user: str, reason: str = "", origin: str = "") -> bool:
        """Take an image out of what is asked for, until :meth:`unskip`; tell whether it was in.

        Raises:
            StateError: not a training image of the run.
            InputError: it has a mask already, and no other part of it is asked for.
        """
        with self._database.transaction() as db:
            require_train(db, [key])
            at = self.open_round()
            if key in self._accepted() and not (at is not None and key in self.waiting(at)):
                raise InputError(Problem("image has a mask already", key, "an image without one", "a mask"))
            db.execute("DELETE FROM leases WHERE id = ?", (key,))
            query = "INSERT OR IGNORE INTO skips (id, user, at, reason, origin) VALUES (?, ?, ?, ?, ?)"
            return db.execute(query, (key, user, timestamp(), reason, origin)).rowcount > 0

    def unskip(self, key: str, forget: bool = False) -> SkipRow | None:
        """Ask for an image again; return what had been said against it, None where it was not skipped.

        Args:
            key: the image.
            forget: its ``origin`` is gone, so that the same place may skip it anew; else
                :meth:`~scripts.state.reader.StateReader.was_given_back` tells of it.
        """
        with self._database.transaction() as db:
            before = self.skipped().get(key)
            db.execute("UPDATE skips SET undone = ?, origin = CASE WHEN ? THEN '' ELSE origin END "
                       "WHERE id = ? AND undone = ''", (timestamp(), forget, key))  # fmt: skip
        return before

    # ---- scores --------------------------------------------------------------------------------------------------

    def put_scores(self, name: str, model: str, values: Mapping[str, float]) -> None:
        """Keep the scores of one kind in place of the earlier ones.

        Args:
            name: kind, such as ``"entropy"``.
            model: what they are of, such as the name of a blob of weights.
            values: finite numbers by id of a training image.

        Raises:
            StateError: a number that is not finite, or an id of another split.
        """
        require_finite([(f"{name} of {key}", value) for key, value in values.items()])
        rows: Sequence[tuple[str, str, float, str]] = [(name, key, float(v), model) for key, v in values.items()]
        with self._database.transaction() as db:
            require_train(db, values)
            db.execute("DELETE FROM scores WHERE name = ?", (name,))
            db.executemany("INSERT INTO scores (name, id, value, model) VALUES (?, ?, ?, ?)", rows)
