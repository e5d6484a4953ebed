"""The SQLite file under a run's state: made whole or not at all, checked when opened, errors told with a cure."""

from __future__ import annotations

import contextlib
import math
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from scripts.core.errors import Problem, StateError
from scripts.core.files import fsync_folder, make_folder
from scripts.state.schema import APPLICATION_ID, SCHEMA, VERSION

_BUSY_S = 30.0
_FULL_CHECK_BYTES = 32 * 1024**2
_WRITING = ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON")
_BACKUP = "Bring back the whole run folder from a backup, or choose another output folder for a new run."
_WRITERS = {1: "0.1", 2: "0.2"}
"""Older format -> version of this program that wrote it."""
_CURES = {
    "SQLITE_FULL": "Free disk space, then run the same command again; nothing stored before is lost.",
    "SQLITE_IOERR": "Look after the disk, then run the same command again; nothing stored before is lost.",
    "SQLITE_READONLY": "Give write permission on the run folder, then run the same command again.",
    "SQLITE_CANTOPEN": "Give permission on the run folder, then run the same command again.",
    "SQLITE_BUSY": "Close the other program that has the state open, then run the same command again.",
}


class Database:
    """A connection that many threads may share.

    Args:
        connection: open connection in autocommit mode.
        path: the file, for messages.
    """

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._connection = connection
        self._path = path
        self._turn = threading.RLock()

    @classmethod
    def create(cls, path: Path) -> None:
        """Make an empty state at ``path``. It has its final name only when complete, so a kill leaves no half state.

        Raises:
            StateError: it cannot be written.
        """
        temporary = path.with_name(f"{path.name}.tmp")
        make_folder(path.parent)
        with _explained(path):
            for suffix in ("", "-wal", "-shm", "-journal"):
                temporary.with_name(temporary.name + suffix).unlink(missing_ok=True)
            with contextlib.closing(sqlite3.connect(temporary, isolation_level=None)) as connection:
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute("PRAGMA synchronous = FULL")
                connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                connection.execute(f"PRAGMA user_version = {VERSION}")
                connection.executescript(f"BEGIN; {SCHEMA} COMMIT;")
            # Closing the last connection folded the log into the one file and synced it.
            temporary.replace(path)
            fsync_folder(path.parent)

    @classmethod
    def open(cls, path: Path) -> Database:
        """Open an existing state for the one writer of its run.

        Raises:
            StateError: it is missing, damaged, of another version, or not a state.
        """
        database = cls._checked(path, "mode=rw", _WRITING)
        try:
            database._refuse_cut_file()
        except BaseException:
            database.close()
            raise
        return database

    @classmethod
    def open_beside(cls, path: Path) -> Database:
        """Open a state for reading and writing beside the writer of its run, for what people add while it works.

        Raises:
            StateError: as :meth:`open`.
        """
        return cls._checked(path, "mode=rw", _WRITING)

    @classmethod
    def open_snapshot(cls, path: Path) -> Database:
        """Open a state for reading; what is read stays as it was at this moment while another process writes.

        Raises:
            StateError: as :meth:`open`.
        """
        log = path.with_name(f"{path.name}-wal")
        try:
            database = cls._checked(path, "mode=ro", ())
        except StateError:
            # A folder without write permission has no room for SQLite's shared memory. Where no log waits to be
            # folded in, the one file is all there is and needs no such memory.
            if log.exists() and log.stat().st_size:
                raise
            database = cls._checked(path, "mode=ro&immutable=1", ())
        with _explained(path):
            database._connection.execute("BEGIN")
            database._connection.execute("SELECT COUNT(*) FROM run").fetchone()
        return database

    @classmethod
    def _checked(cls, path: Path, mode: str, pragmas: Sequence[str]) -> Database:
        with _explained(path):
            uri = f"{path.resolve().as_uri()}?{mode}"
            connection = sqlite3.connect(uri, uri=True, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)
            try:
                cls._check(connection, path)
                for pragma in pragmas:
                    connection.execute(f"PRAGMA {pragma}")
            except BaseException:
                connection.close()
                raise
        return cls(connection, path)

    @staticmethod
    def _check(connection: sqlite3.Connection, path: Path) -> None:
        """Refuse a file that is not a sound state of this version."""
        found = connection.execute("PRAGMA application_id").fetchone()[0]
        if found != APPLICATION_ID:
            raise StateError(Problem("is not the state of a run, or its beginning is damaged", str(path), cure=_BACKUP))
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version != VERSION:
            written = f"{version}, of program {_WRITERS[version]}" if version in _WRITERS else str(version)
            cure = "Go on with the version of this program that made it, or choose another output folder for a new run."
            expected = f"format {VERSION}, with which this program begins"
            raise StateError(Problem("state has another format", str(path), expected, f"format {written}", cure))
        # The full check compares indexes with their tables too, at some 100 MB per second.
        check = "integrity_check" if path.stat().st_size <= _FULL_CHECK_BYTES else "quick_check"
        verdict = connection.execute(f"PRAGMA {check}(1)").fetchone()[0]
        if verdict != "ok":
            raise StateError(Problem("state is damaged", str(path), found=str(verdict), cure=_BACKUP))

    def _refuse_cut_file(self) -> None:
        """Refuse a file that lost its end: SQLite reads the missing bytes of a last page as zeros.

        Only the one writer may ask, and only with an empty log: else the file may rightly lag behind. The log is looked
        at again when the sizes differ, since somebody may have added a mask in between.
        """
        log = self._path.with_name(f"{self._path.name}-wal")

        def is_behind() -> bool:
            return log.exists() and log.stat().st_size > 0

        with _explained(self._path):
            if is_behind():
                return
            expected = math.prod(self.rows(f"PRAGMA {name}")[0][0] for name in ("page_count", "page_size"))
            found = self._path.stat().st_size
            if found != expected and not is_behind():
                sizes = (f"{expected} bytes", f"{found} bytes")
                raise StateError(Problem("state is damaged", str(self._path), *sizes, cure=_BACKUP))

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Give the connection to one thread; all it writes is on the disk after the block, or none of it.

        Raises:
            StateError: SQLite refused; nothing of the block was kept.
        """
        with self._turn, _explained(self._path):
            connection = self._connection
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
            # Keeps the one file complete for those who copy it without its log. The data are safe in the log already,
            # so a failure here is not one of the transaction.
            with contextlib.suppress(sqlite3.OperationalError):
                connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

    def rows(self, query: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Return all rows of one query. Raises ``StateError``."""
        with self._turn, _explained(self._path):
            return self._connection.execute(query, values).fetchall()

    def close(self) -> None:
        """Close the connection; a second call does nothing."""
        with self._turn, _explained(self._path):
            self._connection.close()


@contextlib.contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn errors of SQLite and of the file system into a :class:`StateError` with a cure."""
    try:
        yield
    except (sqlite3.ProgrammingError, sqlite3.InterfaceError):
        raise  # a fault of the caller, such as the use of a closed state: no cure would help
    except sqlite3.IntegrityError as error:
        cure = "This is a fault of the program: please report it. Nothing of the phase was stored."
        raise StateError(Problem(f"row breaks a rule of the state ({error})", where=str(path), cure=cure)) from error
    except sqlite3.Error as error:
        name = getattr(error, "sqlite_errorname", "")
        cure = next((text for kind, text in _CURES.items() if name.startswith(kind)), _BACKUP)
        raise StateError(Problem(f"state cannot be used ({error})", where=str(path), cure=cure)) from error
    except UnicodeDecodeError as error:
        raise StateError(Problem("state is damaged", str(path), "text", "other bytes", _BACKUP)) from error
    except OSError as error:
        cure = "Free disk space or give permission on the run folder, then run the same command again."
        raise StateError(
            Problem(f"state cannot be used ({error.strerror or error})", where=str(path), cure=cure)
        ) from error
