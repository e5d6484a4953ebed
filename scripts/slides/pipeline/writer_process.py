"""The files of a slide written in a process of their own while the network still predicts the rows below.

The process is forked: it shares the plane of logits, and waits for the rows that it reads. It ends with the process
that started it, and then names no file, since it does so only after the last word of that process.
"""

from __future__ import annotations

import gc
import multiprocessing
import signal
import sys
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any, Protocol

from scripts.core.errors import UserError
from scripts.images.slide_files.box import Box
from scripts.slides.disk_plane import DiskPlane
from scripts.slides.outputs import Ending, Written

Write = Callable[[Callable[[], Ending]], Written]
"""Writes the files; asks for the ending when it cannot go on without."""


class Beside(Protocol):
    """How the files of one slide are written."""

    def reached(self, rows: int) -> None:
        """Say that the first ``rows`` rows of the plane are complete."""

    def finish(self, ending: Ending) -> Written:
        """Say that the plane is complete; return when all files have their names."""

    def close(self) -> None:
        """End without files, unless they are finished."""


def can_fork() -> bool:
    """Tell whether a process can be forked here without harm."""
    return sys.platform == "linux"


class WrittenAfterwards:
    """Writes when the plane is complete, in this process.

    Args:
        write: what is to be done.
    """

    def __init__(self, write: Write) -> None:
        self._write = write

    def reached(self, rows: int) -> None:
        """Do nothing."""

    def finish(self, ending: Ending) -> Written:
        """Write all files."""
        return self._write(lambda: ending)

    def close(self) -> None:
        """Do nothing."""


class WriterProcess:
    """Writes beside this process.

    Args:
        write: what is to be done; it reads ``plane``.
        plane: that this process fills, from the top.
    """

    def __init__(self, write: Write, plane: DiskPlane) -> None:
        self._here, there = multiprocessing.Pipe()
        context: Any = multiprocessing.get_context("fork")
        self._process = context.Process(target=_serve, args=(there, self._here, write, plane), daemon=True)
        self._process.start()
        there.close()  # so that the end of the process is seen here
        self._rows = 0

    def reached(self, rows: int) -> None:
        """Say that the first ``rows`` rows of the plane are complete; raises what the writing failed with."""
        if self._here.poll():
            self._answer()
        if rows > self._rows:
            self._rows = rows
            self._say(rows)

    def finish(self, ending: Ending) -> Written:
        """Return when all files have their names.

        Raises:
            UserError: they cannot be written.
            RuntimeError: the writing process failed, or was killed.
        """
        self._say(ending)
        return self._answer()

    def close(self) -> None:
        """End the process; without files, unless they are finished."""
        self._here.close()
        self._process.join()

    def _say(self, news: int | Ending) -> None:
        try:
            self._here.send(news)
        except OSError:  # it has ended, and said why
            self._answer()

    def _answer(self) -> Written:
        try:
            found = self._here.recv()
        except (EOFError, OSError):
            self._process.join()
            raise RuntimeError(f"the process that writes ended with status {self._process.exitcode}") from None
        if isinstance(found, Written):
            return found
        kind, what = found
        raise kind(what)


def _serve(there: Connection, here: Connection, write: Write, plane: DiskPlane) -> None:
    gc.freeze()  # a collection would write to every object, and so copy what is shared with the other process
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the other process is told, and closes the pipe
    here.close()  # so that the end of the other process is seen here
    news = _News(there)
    plane.before_reading = news.wait_for
    try:
        there.send(write(news.ending))
    except _AbandonedError:
        pass
    except UserError as error:
        there.send((type(error), error.problems))
    except Exception:  # noqa: BLE001 - whatever it is, the other process has to say it
        there.send((RuntimeError, traceback.format_exc()))


class _AbandonedError(Exception):
    """The other process has ended, or wants no files."""


class _News:
    """What the other process says: numbers of rows, then the ending."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe, self._rows = pipe, 0
        self._ending: Ending | None = None

    def wait_for(self, box: Box) -> None:
        """Wait until a box of the plane is complete."""
        while self._ending is None and self._rows < box.bottom:
            self._hear()

    def ending(self) -> Ending:
        """Wait for the ending."""
        while self._ending is None:
            self._hear()
        return self._ending

    def _hear(self) -> None:
        try:
            found = self._pipe.recv()
        except (EOFError, OSError):
            raise _AbandonedError from None
        if isinstance(found, Ending):
            self._ending = found
        else:
            self._rows = found
