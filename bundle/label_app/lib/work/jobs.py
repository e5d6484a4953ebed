"""One job of a kind at a time, in a process of its own, whose end is always told: also when it could not start."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lib.refusals import NotNowError
from scripts.core.errors import Problem, visible

logger = logging.getLogger(__name__)

CHILD = Path(__file__).with_name("child.py")
_KEPT_JOBS, _KEPT_LINES = 20, 1000
_RUNNING = ("SUBMITTED", "RUNNING")


@dataclass
class Job:
    """One job.

    Attributes:
        name: of the model or the scores.
        status: as MONAI Label calls it: SUBMITTED, RUNNING, DONE, ERROR, STOPPED.
        began: seconds since 1970, for people.
        ended: the same, 0 before.
        result: JSON values, None before the end.
        error: why it failed, "" where it did not.
        lines: the last that it wrote.
    """

    name: str
    status: str = "SUBMITTED"
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    began: float = field(default_factory=time.time)
    ended: float = 0.0
    result: dict[str, Any] | None = None
    error: str = ""
    lines: deque[str] = field(default_factory=lambda: deque(maxlen=_KEPT_LINES))
    process: subprocess.Popen[str] | None = None

    @property
    def is_running(self) -> bool:
        """Whether it has not ended."""
        return self.status in _RUNNING

    def told(self, to_lead: bool) -> dict[str, Any]:
        """Return what clients are told, in MONAI Label's form; only the lead is told what it wrote."""

        def day(moment: float) -> str | None:
            return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(moment)) if moment else None

        return {
            "id": self.id, "status": self.status, "request": {"model": self.name}, "result": self.result,
            "error": self.error or None, "start_ts": day(self.began), "end_ts": day(self.ended),
            "details": list(self.lines) if to_lead else [],
        }  # fmt: skip


class Jobs:
    """Jobs of one kind. Threads share it.

    Args:
        noun: the kind, for messages: ``"a training"``.
        where: address that tells of them.
        most_s: seconds that a stopped process is waited for.
    """

    def __init__(self, noun: str, where: str, most_s: float = 10.0) -> None:
        self.noun, self.where, self.most_s = noun, where, most_s
        self._turn = threading.RLock()
        self._jobs: deque[Job] = deque(maxlen=_KEPT_JOBS)

    @property
    def is_running(self) -> bool:
        """Whether one has begun that has not ended."""
        last = self.last()
        return last is not None and last.is_running

    def last(self) -> Job | None:
        """Return the job that began last, None before the first."""
        with self._turn:
            return self._jobs[-1] if self._jobs else None

    def all(self) -> list[Job]:
        """Return the last jobs, in the order in which they began."""
        with self._turn:
            return list(self._jobs)

    def start(
        self,
        name: str,
        order: Mapping[str, Any],
        allowed: Callable[[], None],
        result: Callable[[], dict[str, Any]] | None = None,
    ) -> Job:
        """Begin a job, and return it.

        Args:
            name: of the model or the scores.
            order: JSON values that the process gets (:mod:`lib.work.child`); nothing of them is a client's key.
            allowed: raises where it is not the time for it; asked while no other job can begin.
            result: makes the result when the process has ended well; None where the process gives it.

        Raises:
            NotNowError: one of this kind goes on.
        """
        with self._turn:
            if self.is_running:
                cure = f"Wait for its end: GET {self.where}. Or stop it: DELETE {self.where}"
                raise NotNowError(Problem(f"{self.noun} goes on", name, "none", "one of this server", cure))
            allowed()
            job = Job(name)
            self._jobs.append(job)
            try:
                threading.Thread(target=self._run, args=(job, order, result), daemon=True).start()
            except RuntimeError as error:
                self._end(job, "ERROR", f"it could not begin: {error}")
        return job

    def stop(self) -> Job | None:
        """Stop the job that runs; return it, None where none does."""
        job = self.last()
        if job is None or not job.is_running:
            return None
        with self._turn:
            job.status = "STOPPED"
            process = job.process
        if process is not None and process.returncode is None:  # else its number may be another's by now
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(self.most_s)
        self._end(job, "STOPPED", "")
        return job

    def _run(self, job: Job, order: Mapping[str, Any], result: Callable[[], dict[str, Any]] | None) -> None:
        try:
            code, found = self._process(job, order)
            if job.status == "STOPPED":
                return
            if code:
                self._end(job, "ERROR", f"it ended with exit code {code}: {_last_words(job.lines)}")
                return
            job.result = found if result is None else result()
            self._end(job, "DONE", "")
        except Exception as error:
            logger.exception("%s %s failed", self.noun, job.name)
            self._end(job, "ERROR", f"it could not be done: {error}")

    def _process(self, job: Job, order: Mapping[str, Any]) -> tuple[int, dict[str, Any]]:
        """Run the process of a job to its end; return its exit code and what it gave."""
        env = {"TQDM_MININTERVAL": "5", "PYTHONUNBUFFERED": "1", **os.environ}
        with tempfile.TemporaryFile("w+") as given:
            told = json.dumps({**order, "result": given.fileno()})
            with subprocess.Popen(
                [sys.executable, str(CHILD)], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT, text=True, errors="replace", start_new_session=True,
                pass_fds=[given.fileno()],
            ) as process:  # fmt: skip
                self._began(job, process)
                assert process.stdin is not None
                assert process.stdout is not None
                with contextlib.suppress(BrokenPipeError):
                    process.stdin.write(told)
                    process.stdin.close()
                for line in process.stdout:
                    job.lines.append(visible(line.rstrip("\n")))
                    logger.info("%s: %s", job.name, job.lines[-1])
            given.seek(0)
            text = given.read()
        return process.returncode, json.loads(text) if text else {}

    def _began(self, job: Job, process: subprocess.Popen[str]) -> None:
        with self._turn:
            job.process = process
            if job.status == "STOPPED":  # before it had a process
                os.killpg(process.pid, signal.SIGKILL)
            else:
                job.status = "RUNNING"

    def _end(self, job: Job, status: str, error: str) -> None:
        with self._turn:
            if not job.ended:
                job.status, job.error, job.ended = status, error, time.time()
        if error:
            logger.error("%s %s: %s", self.noun, job.name, error)


def _last_words(lines: Iterable[str]) -> str:
    """Return what a process said last: a message of several problems whole, else its last line."""
    said = [line.strip() for line in lines if line.strip()]
    begins = [at for at, line in enumerate(said) if line.startswith("error: ")]
    return " ".join(said[begins[-1] :]) if begins else "".join(said[-1:])
