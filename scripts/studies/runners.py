"""Who runs the runs of a study: this machine's cores, or a cluster by SLURM. Both start the same commands."""

from __future__ import annotations

import logging
import math
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

from scripts.core.errors import InputError, Problem, listed, visible
from scripts.core.files import make_folder
from scripts.core.machine.hardware import cores, free_memory
from scripts.core.optional import needed
from scripts.studies.plan import StudyRun
from scripts.studies.process import Ended, run_process

logger = logging.getLogger(__name__)

AUTO = "auto"
LOOK_S = 1.0
_MOMENT_S, _END_S = 1.0, 5.0
OnEnd = Callable[[StudyRun, Ended], None]
Look = Callable[[], None]


class Runner(Protocol):
    """What can run a study."""

    def run(self, runs: Sequence[StudyRun], on_end: OnEnd, look: Look) -> None:
        """Run all to their end, whatever each of them ends by.

        Args:
            runs: in the order in which they should be done.
            on_end: told each run that has ended.
            look: called every second.
        """


class LocalRunner:
    """Processes on this machine, as many at a time as cores and memory allow.

    Args:
        workers: runs at a time; ``"auto"`` for one per ``threads`` cores, as far as the free memory is enough.
        threads: of torch in each run. Sums depend on it, so a study should keep it.
        memory_gb: GiB that a run is taken to need; what runs of the study needed is in their results.

    Raises:
        InputError: a number below 1, or no memory.
    """

    def __init__(self, workers: int | str = AUTO, threads: int = 1, memory_gb: float = 4.0) -> None:
        counts = {"workers": 1 if workers == AUTO else workers, "threads": threads}
        problems = _not_counts("studies#runners#local", counts)
        is_number = isinstance(memory_gb, int | float) and not isinstance(memory_gb, bool)
        if not is_number or not 0 < memory_gb < math.inf:
            where = "studies#runners#local#memory_gb"
            problems.append(Problem("value cannot be used", where, "GiB above 0", repr(memory_gb)))
        if problems:
            raise InputError(problems)
        self.threads = threads
        self.workers = workers if isinstance(workers, int) else _fitting(threads, memory_gb)
        self._running: dict[StudyRun, int] = {}
        self._lock, self._stop = threading.Lock(), threading.Event()

    def run(self, runs: Sequence[StudyRun], on_end: OnEnd, look: Look) -> None:
        """See :class:`Runner`."""
        logger.info("study: %d runs at a time with %d threads each", min(self.workers, len(runs)), self.threads)
        with ThreadPoolExecutor(self.workers) as pool:
            futures = {pool.submit(self._process, run): run for run in runs}
            waiting = set(futures)
            try:
                while waiting:
                    done, waiting = wait(waiting, LOOK_S, FIRST_COMPLETED)
                    for future in sorted(done, key=lambda one: runs.index(futures[one])):
                        on_end(futures[future], future.result())
                    look()
            except BaseException:
                self._stop.set()
                pool.shutdown(wait=False, cancel_futures=True)
                self._end()
                raise

    def _process(self, run: StudyRun) -> Ended:
        try:
            return run_process(run, self.threads, self._started, self._stop)
        finally:
            with self._lock:
                self._running.pop(run, None)

    def _started(self, run: StudyRun, number: int) -> None:
        with self._lock:
            self._running[run] = number

    def _end(self) -> None:
        """End the runs as Ctrl-C does; each goes on where it stopped when the study is started again.

        A terminal sends Ctrl-C to them too, so they get a moment before they are asked, and another before they are
        killed, which costs no more than the training that is under way.
        """
        for number, seconds in ((0, _MOMENT_S), (signal.SIGINT, _END_S), (signal.SIGKILL, _END_S)):
            with self._lock:
                for process in self._running.values():
                    with suppress(ProcessLookupError):
                        os.kill(process, number)
            deadline = time.monotonic() + seconds
            while self._running and time.monotonic() < deadline:
                time.sleep(0.05)


class SlurmRunner:
    """Jobs of a cluster, by submitit (``requirements-slurm.txt``); one that is pre-empted is queued again and goes on.

    Args:
        folder: for submitit's own files, on a disk that all nodes see, as the study's folder must be.
        threads: of torch in each run.
        cluster: ``"slurm"``; ``"local"`` runs the jobs here, one process each, for trials.
        at_once: most jobs at a time.
        parameters: further ones of submitit's ``update_parameters``: ``timeout_min``, ``mem_gb`` ...

    Raises:
        InputError: a number below 1.
    """

    def __init__(
        self, folder: str, threads: int = 1, cluster: str = "slurm", at_once: int = 32, **parameters: Any
    ) -> None:
        problems = _not_counts("studies#runners#slurm", {"threads": threads, "at_once": at_once})
        if problems:
            raise InputError(problems)
        self.folder, self.threads, self.cluster, self.at_once = Path(folder), threads, cluster, at_once
        self.parameters = parameters

    def run(self, runs: Sequence[StudyRun], on_end: OnEnd, look: Look) -> None:
        """See :class:`Runner`.

        Raises:
            InputError: submitit is missing, finds no cluster, or does not take a parameter.
        """
        jobs = self._submit(runs)
        logger.info("study: %d jobs of submitit, files in %s", len(jobs), self.folder)
        waiting = list(jobs)
        try:
            while waiting:
                time.sleep(LOOK_S)
                for job in [job for job in waiting if job.done()]:
                    waiting.remove(job)
                    on_end(jobs[job], _ended(job))
                look()
        except KeyboardInterrupt:
            ids = listed([str(job.job_id) for job in waiting], 40)
            logger.warning("study: jobs stay with the cluster, and a new start waits for them: %s", ids)
            raise

    def _submit(self, runs: Sequence[StudyRun]) -> dict[Any, StudyRun]:
        submitit = needed("submitit")
        make_folder(self.folder)
        try:
            executor = submitit.AutoExecutor(folder=self.folder, cluster=self.cluster)
            executor.update_parameters(cpus_per_task=self.threads, **self.parameters)
            if self.cluster == "slurm":
                executor.update_parameters(slurm_array_parallelism=self.at_once)
            with _importable():
                return dict(zip(executor.map_array(SlurmJob(self.threads), runs), runs, strict=True))
        except (RuntimeError, ValueError, TypeError, NameError, OSError) as error:  # all that submitit raises
            cure = "Correct studies#runners#slurm, or run the study with --runner local."
            found = " ".join(str(error).split())
            raise InputError(Problem("jobs cannot be submitted", str(self.cluster), found=found, cure=cure)) from error


class SlurmJob:
    """What a node of the cluster does; submitit asks :meth:`checkpoint` when the job is to be pre-empted.

    Args:
        threads: of torch in the run.
    """

    def __init__(self, threads: int) -> None:
        self.threads = threads

    def __call__(self, run: StudyRun) -> Ended:
        """Run it to its end."""
        return run_process(run, self.threads)

    def checkpoint(self, run: StudyRun) -> Any:
        """Return the job to queue again: the same, since a run goes on where it stopped."""
        return needed("submitit").helpers.DelayedSubmission(self, run)


def _ended(job: Any) -> Ended:
    """Return how the run of a job of submitit ended; of a job that was lost, why."""
    failed = job.exception()
    if failed is None:
        return job.result()
    lines = [line.strip() for line in str(failed).splitlines() if line.strip()]
    return Ended(1, 0.0, 0.0, f"job {job.job_id} was lost: {visible(' '.join(lines[-4:]))}")


@contextmanager
def _importable() -> Iterator[None]:
    """Let jobs that are submitted find this project, wherever the study was started from."""
    before = os.environ.get("PYTHONPATH")
    root = str(Path(__file__).resolve().parents[2])
    os.environ["PYTHONPATH"] = os.pathsep.join([root, *([before] if before else [])])
    try:
        yield
    finally:
        os.environ.pop("PYTHONPATH")
        if before is not None:
            os.environ["PYTHONPATH"] = before


def _not_counts(where: str, counts: Mapping[str, Any]) -> list[Problem]:
    return [
        Problem("value cannot be used", f"{where}#{name}", "a whole number from 1", repr(value))
        for name, value in counts.items()
        if not isinstance(value, int) or isinstance(value, bool) or value < 1
    ]


def _fitting(threads: int, memory_gb: float) -> int:
    free = free_memory()
    by_memory = cores() if free is None else int(free / memory_gb)
    return max(1, min(cores() // threads, by_memory))
