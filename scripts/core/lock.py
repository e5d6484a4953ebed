"""One writer at a time: an advisory lock of the operating system, with the name of its holder inside the lock file."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import socket
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from scripts.core.errors import Problem, StateError
from scripts.core.files import make_folder, writing

logger = logging.getLogger(__name__)

_READ_HOLDER_S = 0.5
_WAIT_S = 0.5  # between two looks at a lock that somebody holds


class HeldError(StateError):
    """Another process holds the lock."""


class FileLock:
    """Exclusive lock, of a run for instance, held from construction to :meth:`release`.

    The kernel drops the lock with the process, however it ends, so a lock of a dead process is free at once and no
    age or process id has to be judged. The file stays: removing it would let two processes lock two files of one name.

    Args:
        path: the lock file, made when missing.

    Raises:
        HeldError: another holder, named by process id and host.
        StateError: no permission to write, or no locks on this disk.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError as error:
            cure = "Give write permission on the folder, or choose another one."
            raise StateError(Problem(f"cannot be locked ({error.strerror})", str(path), cure=cure)) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._write_holder(descriptor)
        except BlockingIOError:
            os.close(descriptor)
            raise HeldError(self._held_problem()) from None
        except OSError as error:
            os.close(descriptor)
            cure = "Free disk space, or use a disk that has file locks, then run the same command again."
            raise StateError(Problem(f"cannot be locked ({error.strerror})", str(path), cure=cure)) from error
        self._descriptor = descriptor
        _held.add(self)

    @property
    def descriptor(self) -> int:
        """The descriptor that carries the lock: a process that inherits it holds the lock too, to its own end."""
        if self._descriptor is None:
            raise ValueError("the lock was given back")
        return self._descriptor

    def name_holder(self, pid: int) -> None:
        """Name another process of this host, which inherited :attr:`descriptor`, as the holder.

        Raises:
            StateError: the file cannot be written.
        """
        with writing(self._path):
            self._write_holder(self.descriptor, pid)

    def release(self) -> None:
        """Give the lock back; a second call does nothing."""
        if self._descriptor is None:
            return
        descriptor, self._descriptor = self._descriptor, None
        try:
            os.ftruncate(descriptor, 0)
        finally:
            os.close(descriptor)

    @staticmethod
    def _write_holder(descriptor: int, pid: int | None = None) -> None:
        """Name a process in the lock file; None for this one."""
        since = datetime.now(UTC).isoformat(timespec="seconds")
        holder = {"pid": os.getpid() if pid is None else pid, "host": socket.gethostname(), "since": since}
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(holder).encode(), 0)

    def _held_problem(self) -> Problem:
        """Name the holder; it may have locked the file a moment ago and not yet written its name."""
        found = "its process id is not known"
        deadline = time.monotonic() + _READ_HOLDER_S
        while time.monotonic() < deadline:
            try:
                holder = json.loads(self._path.read_text())
                found = f"pid {holder['pid']} on host {holder['host']}, since {holder['since']}"
                break
            except (OSError, ValueError, KeyError, TypeError, RecursionError):
                time.sleep(0.02)
        cure = "Wait for it to end, or stop it, or choose another output folder."
        return Problem("the run is in use by another process", str(self._path.parent), found=found, cure=cure)

    def _close_in_child(self) -> None:
        """Drop the inherited descriptor, so that an orphaned loader worker does not keep the lock of a killed run."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


@contextmanager
def held(path: Path, what: str, give_up: Callable[[], bool] | None = None) -> Iterator[FileLock]:
    """Hold the lock ``path``, having waited for it as long as it takes.

    Args:
        path: the lock file, made when missing, as its folder is.
        what: is waited for, for the log.
        give_up: asked at each look; no more is waited when it says so.

    Raises:
        HeldError: somebody holds it, and ``give_up`` said so.
        StateError: no permission to write, or no locks on this disk.
    """
    make_folder(path.parent)
    lock, told = None, False
    while lock is None:
        try:
            lock = FileLock(path)
        except HeldError as error:
            if give_up is not None and give_up():
                raise
            if not told:
                logger.info("waiting for %s: %s", what, error.problems[0].found)
                told = True
            time.sleep(_WAIT_S)
    try:
        yield lock
    finally:
        lock.release()


def holder_of(path: Path) -> str | None:
    """Return who holds the lock ``path``, in words; ``None`` where nobody does, as it is at this moment.

    A holder empties the file when it lets go, and its process is looked for before the lock is touched: so that asking
    keeps nobody from it.
    """
    named = "its process id is not known"
    try:
        content = path.read_bytes()
        if not content:
            return None
        holder = json.loads(content)
        if holder["host"] == socket.gethostname() and not _is_alive(holder["pid"]):
            return None
        named = f"pid {holder['pid']} on host {holder['host']}, since {holder['since']}"
    except OSError:
        return None
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        pass  # it may be held all the same
    try:
        with open(path, "rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return named
    except OSError:
        return None
    return None


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


_held: weakref.WeakSet[FileLock] = weakref.WeakSet()


def _close_all_in_child() -> None:
    for lock in list(_held):
        lock._close_in_child()


os.register_at_fork(after_in_child=_close_all_in_child)
