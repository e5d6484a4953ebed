"""One run of a study as a process of its own: started, waited for, its memory measured."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

from scripts.core.errors import visible
from scripts.core.files import make_folder
from scripts.core.lock import holder_of
from scripts.core.machine.hardware import GIB
from scripts.core.run_names import RunFile
from scripts.studies.plan import StudyRun

_LOOK_S = 0.5
_TOLD_LINES = 4


@dataclass(frozen=True)
class Ended:
    """How the process of a run ended.

    Attributes:
        code: exit status; 0 is well, negative the number of the signal that ended it.
        seconds: from its start.
        peak_gb: most resident memory, GiB.
    """

    code: int
    seconds: float
    peak_gb: float


def run_process(run: StudyRun, threads: int, started: Callable[[StudyRun, int], None] | None = None) -> Ended:
    """Run the command of a run to its end; what it prints is added to the log of the run.

    A process of a study that was killed may still be at the run: it is left to it, and waited for.

    Args:
        run: its configs are written.
        threads: of torch in the process.
        started: told the run and the number of its process.
    """
    lock = run.folder / RunFile.LOCK
    while holder_of(lock) is not None:
        time.sleep(_LOOK_S)
    make_folder(run.output_dir)
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    begun = time.perf_counter()
    with open(run.log, "ab") as log:
        process = subprocess.Popen(
            run.command(sys.executable), stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, env=environment
        )
    if started is not None:
        started(run, process.pid)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    kib = 1 if sys.platform == "darwin" else 1024  # macOS counts bytes
    return Ended(process.returncode, time.perf_counter() - begun, usage.ru_maxrss * kib / GIB)


def last_words(run: StudyRun) -> str:
    """Return why a run failed: its message from ``error:`` on, else the last lines that it printed."""
    try:
        text = run.log.read_bytes()[-20_000:].decode(errors="replace")
    except OSError as error:
        return f"no log: {error.strerror}"
    lines = [line.strip() for line in text.replace("\r", "\n").splitlines() if line.strip()]
    starts = [at for at, line in enumerate(lines) if line.startswith("error:")]
    return visible(" ".join(lines[starts[-1] :] if starts else lines[-_TOLD_LINES:]))
