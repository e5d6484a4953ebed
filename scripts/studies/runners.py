"""Who runs the runs of a study: this machine's cores, or a cluster by SLURM. Both start the same commands."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from scripts.core.errors import InputError, Problem
from scripts.core.machine.hardware import cores, free_memory
from scripts.core.optional import needed
from scripts.studies.plan import StudyRun
from scripts.studies.process import Ended, run_process

logger = logging.getLogger(__name__)

AUTO = "auto"
LOOK_S = 1.0
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
        expected = "a whole number from 1"
        problems = [
            Problem("value cannot be used", f"studies#runners#local#{name}", expected, repr(value))
            for name, value in counts.items()
            if not isinstance(value, int) or isinstance(value, bool) or value < 1
        ]
        if not memory_gb > 0:
            where = "studies#runners#local#memory_gb"
            problems.append(Problem("value cannot be used", where, "GiB above 0", repr(memory_gb)))
        if problems:
            raise InputError(problems)
        self.threads = threads
        self.workers = workers if isinstance(workers, int) else _fitting(threads, memory_gb)
        self._running: dict[int, StudyRun] = {}
        self._lock = threading.Lock()

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
                pool.shutdown(wait=False, cancel_futures=True)
                self._stop()
                raise

    def _process(self, run: StudyRun) -> Ended:
        def started(run: StudyRun, number: int) -> None:
            with self._lock:
                self._running[number] = run

        try:
            return run_process(run, self.threads, started)
        finally:
            with self._lock:
                self._running = {number: other for number, other in self._running.items() if other != run}

    def _stop(self) -> None:
        """End the runs as Ctrl-C does; each goes on where it stopped when the study is started again."""
        with self._lock:
            for number in self._running:
                with suppress(ProcessLookupError):
                    os.kill(number, signal.SIGINT)


class SlurmRunner:
    """Jobs of a cluster, by submitit (``requirements-slurm.txt``); one that is pre-empted is queued again and goes on.

    Args:
        folder: for submitit's own files, on a disk that all nodes see, as the study's folder must be.
        threads: of torch in each run.
        cluster: ``"slurm"``; ``"local"`` runs the jobs here, one process each, for trials.
        at_once: most jobs at a time.
        parameters: further ones of submitit's ``update_parameters``: ``timeout_min``, ``mem_gb`` ...
    """

    def __init__(
        self, folder: str, threads: int = 1, cluster: str = "slurm", at_once: int = 32, **parameters: Any
    ) -> None:
        self.folder, self.threads, self.cluster, self.at_once = Path(folder), threads, cluster, at_once
        self.parameters = parameters

    def run(self, runs: Sequence[StudyRun], on_end: OnEnd, look: Look) -> None:
        """See :class:`Runner`."""
        submitit = needed("submitit")
        executor = submitit.AutoExecutor(folder=self.folder, cluster=self.cluster)
        executor.update_parameters(cpus_per_task=self.threads, **self.parameters)
        if self.cluster == "slurm":
            executor.update_parameters(slurm_array_parallelism=self.at_once)
        jobs = dict(zip(executor.map_array(SlurmJob(self.threads), runs), runs, strict=True))
        logger.info("study: %d jobs of submitit, files in %s", len(jobs), self.folder)
        waiting = list(jobs)
        while waiting:
            time.sleep(LOOK_S)  # an interrupted wait leaves the jobs to the cluster
            done = [job for job in waiting if job.done()]
            waiting = [job for job in waiting if job not in done]
            for job in done:
                failed = job.exception()
                if failed is not None:
                    logger.warning("study: the job of %s failed: %s", jobs[job].name, failed)
                on_end(jobs[job], Ended(1, 0.0, 0.0) if failed is not None else job.result())
            look()


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


def _fitting(threads: int, memory_gb: float) -> int:
    free = free_memory()
    by_memory = cores() if free is None else int(free / memory_gb)
    return max(1, min(cores() // threads, by_memory))
