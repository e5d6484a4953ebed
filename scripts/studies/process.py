"""One run of a study as a process of its own: started, waited for, its memory measured."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from scripts.core.errors import UserError, visible
from scripts.core.files import make_folder
from scripts.core.lock import FileLock, HeldError, held, holder_of
from scripts.core.machine.hardware import GIB
from scripts.core.run_names import RunFile
from scripts.studies.plan import StudyRun

INTERRUPTED = 130
_LOOK_S = 0.5
_TOLD_LINES = 4
_TOLD_BYTES = 20_000
Started = Callable[[StudyRun, int], None]


@dataclass(frozen=True)
class Ended:
    """How the process of a run ended.

    Attributes:
        code: exit status; 0 is well, negative the number of the signal that ended it.
        seconds: from its start.
        peak_gb: most resident memory, GiB. Linux hands the peak of the process that starts another on to it, so it is
            never less than that of the study's own.
        words: why it failed; empty where it did not.
    """

    code: int
    seconds: float
    peak_gb: float
    words: str = ""


def run_process(
    run: StudyRun, threads: int, started: Started | None = None, stop: threading.Event | None = None
) -> Ended:
    """Run the command of a run to its end; what it prints is added to the log of the run.

    A process that a killed study left may still be at the run: it is left to it, and waited for. The lock of the
    process is in its hands from its first instant, long before it has loaded what it needs to lock the run itself.

    Args:
        run: its configs are written.
        threads: of torch in the process.
        started: told the run and the number of its process.
        stop: set when nothing is to be started or waited for any more.

    Returns:
        How it ended; a process that could not be started ends with 1, and one that is stopped before with 130.
    """
    stop = stop or threading.Event()
    try:
        with held(run.lock, f"the process of {run.name} that goes on", stop.is_set) as lock:
            while not stop.is_set() and holder_of(run.folder / RunFile.LOCK) is not None:
                stop.wait(_LOOK_S)
            return _not_started() if stop.is_set() else _run(run, threads, started, lock)
    except HeldError:
        return _not_started()
    except (OSError, UserError) as error:
        return Ended(1, 0.0, 0.0, f"cannot be started: {error}")


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Let a polite end (``kill``, a closed terminal) be one like Ctrl-C, so that processes of runs are ended too."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:  # nohup
            signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def last_words(run: StudyRun, code: int, begin: int = 0) -> str:
    """Return why a run failed: its message from ``error:`` on, else the last lines that it printed.

    Args:
        run: its process has ended.
        code: exit status of the process.
        begin: length of the log, in bytes, when the process was started.
    """
    try:
        with open(run.log, "rb") as file:
            file.seek(max(begin, run.log.stat().st_size - _TOLD_BYTES))
            text = file.read().decode(errors="replace")
    except OSError as error:
        return f"no log: {error.strerror}"
    lines = [line.strip() for line in text.replace("\r", "\n").splitlines() if line.strip()]
    starts = [at for at, line in enumerate(lines) if line.startswith("error:")]
    words = visible(" ".join(lines[starts[-1] :] if starts else lines[-_TOLD_LINES:]))
    return f"ended by {_signal_name(-code)}. {words}".strip() if code < 0 else words


def _run(run: StudyRun, threads: int, started: Started | None, lock: FileLock) -> Ended:
    make_folder(run.output_dir)
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    begun = time.perf_counter()
    with open(run.log, "ab") as log:
        begin = log.tell()
        process = subprocess.Popen(
            run.command(sys.executable), stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
            env=environment, pass_fds=[lock.descriptor],
        )  # fmt: skip
    if started is not None:
        started(run, process.pid)
    lock.name_holder(process.pid)
    _, status, usage = os.wait4(process.pid, 0)
    code = process.returncode = os.waitstatus_to_exitcode(status)
    kib = 1 if sys.platform == "darwin" else 1024  # macOS counts bytes
    words = last_words(run, code, begin) if code else ""
    return Ended(code, time.perf_counter() - begun, usage.ru_maxrss * kib / GIB, words)


def _not_started() -> Ended:
    return Ended(INTERRUPTED, 0.0, 0.0, "interrupted before its process was started")


def _signal_name(number: int) -> str:
    if number == signal.SIGKILL:
        return "SIGKILL: by a person, or by the system where memory ran out"
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
