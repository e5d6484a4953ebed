"""A study: every method with every seed, one run each, then one table, one report and the results as files.

The command again goes on where it stopped: runs that are done are not started, the others go on by themselves.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from scripts.core.errors import InputError, Problem, StateError, UserError, listed
from scripts.core.files import make_folder
from scripts.core.lock import FileLock, HeldError
from scripts.core.result_files import Record
from scripts.core.run_config import RunConfig
from scripts.data.run_data import RunData
from scripts.studies.checks import runs_left
from scripts.studies.plan import StudyRun, plan_runs, write_configs
from scripts.studies.process import Ended, ended_by_signals
from scripts.studies.progress import Progress
from scripts.studies.report.study_report import report_study
from scripts.studies.results import (
    ROUNDS,
    SharedResults,
    StudyNames,
    read_results,
    result_file,
    run_result,
    write_result,
    write_rounds,
)
from scripts.studies.runners import Runner
from scripts.studies.summary import summary_table

logger = logging.getLogger(__name__)

RESULTS, LOCK = "results", "study.lock"


class Study:
    """Runs of all methods and seeds.

    Args:
        config: of the study.
        data: images of all runs, checked before the first begins.
        output_dir: folder of the study.
        runner: name of who runs them.
        runners: who could, by name.
        methods: names in ``active#methods``.
        seeds: of the runs.
        overlays: see :func:`scripts.studies.plan.plan_runs`.
        shared: config values that all runs get by nested id: places resolved for the study.
        data_name: name of the data in the results; None takes that of its folder.
        split_name: name of the split in the results.
        results_dir: where results and table of rounds are kept besides, with those of other studies; results of this
            study that are there count as done, so that another machine can go on. None for nowhere.

    Raises:
        InputError: nothing to run, or unknown names.
    """

    def __init__(
        self,
        config: RunConfig,
        data: RunData,
        output_dir: str,
        runner: str,
        runners: Mapping[str, Runner],
        methods: Sequence[str],
        seeds: Sequence[int],
        overlays: Mapping[str, str] | None = None,
        shared: Mapping[str, Any] | None = None,
        data_name: str | None = None,
        split_name: str = "drawn",
        results_dir: str | None = None,
    ) -> None:
        if runner not in runners:
            raise InputError(Problem("unknown runner", "runner", listed(sorted(runners)), repr(runner)))
        for where, text in (("split_name", split_name), ("data_name", data_name), ("results_dir", results_dir)):
            if not isinstance(text, str) and (text is not None or where == "split_name"):
                raise InputError(Problem("value cannot be used", f"studies#{where}", "a text", repr(text)))
        self.folder = Path(output_dir).absolute()
        self.runner, self.config, self.data = runners[runner], config, data
        self.runs = plan_runs(config, self.folder, methods, seeds, overlays)
        self.shared = dict(shared or {})
        self.names = StudyNames(self.folder.name, data_name or data.datalist.root.name, split_name)
        self.shared_results = None if results_dir is None else SharedResults(Path(results_dir), self.names)

    def run(self) -> Path:
        """Run what is left, write table and report, and return the path of the table.

        Raises:
            StateError: another process is at the study; results of other settings; runs that failed, when all others
                are done and in the table; or no place to write.
            InputError: files of the study that cannot be read.
        """
        with _alone(self.folder), ended_by_signals():
            results = self._take_over(self._results())
            left = runs_left(self.config, self.data, self.runs, results)
            self._write_tables(results)  # whether it can be written is known before the first run
            write_configs(self.config, self.runs, self.shared)
            failed = self._run(left)
            table = self.tell(_told(failed))
        if failed:
            raise StateError([problem for problems in failed.values() for problem in problems])
        return table

    def tell(self, failed: Sequence[tuple[str, str]] = ()) -> Path:
        """Write table of rounds and report of all results, log their summary, and return the table's path.

        Args:
            failed: name of each run without a result, and why.
        """
        results = self._results()
        self._write_tables(results)
        known = {(run.arm, run.seed) for run in self.runs}
        others = [
            f"{one['method']}, seed {one['seed']}" for one in results if (one["method"], one["seed"]) not in known
        ]
        if others:
            text = "study: results of runs that it does not name any more are in the table too: %s"
            logger.info(text, listed(others))
        logger.info("study: %d results\n%s", len(results), summary_table(results))
        logger.info("study: %s", report_study(self.folder, results, self.data, failed))
        return self.folder / ROUNDS

    def _run(self, left: Sequence[StudyRun]) -> dict[StudyRun, Sequence[Problem]]:
        """Run the runs that are left, and return what went wrong with those that failed."""
        done = [run for run in self.runs if run not in left]
        logger.info("study %s: %d runs, %d of them done", self.folder, len(self.runs), len(done))
        failed: dict[StudyRun, Sequence[Problem]] = {}
        progress = Progress(left, sum(run.rounds for run in done))

        def on_end(run: StudyRun, ended: Ended) -> None:
            progress.ended(run)
            try:
                if ended.code != 0:
                    raise StateError(_failure(run, ended))
                result = run_result(run, self.names, ended)
                write_result(run.result, result)
                self._share(result)
            except UserError as error:
                failed[run] = error.problems
                logger.warning("study: %s failed, the others go on: %s", run.name, error)

        try:
            if left:
                self.runner.run(left, on_end, progress.look)
        finally:
            progress.close()
        return failed

    def _share(self, result: Record) -> None:
        """Add a result to those that are shared, so that a study that never ends leaves it there too."""
        try:
            if self.shared_results is not None:
                self.shared_results.put([result])
        except UserError as error:  # all of them are added again at the end, which fails the study if it must
            logger.warning("study: %s, seed %d is not shared yet: %s", result["method"], result["seed"], error)

    def _take_over(self, results: list[Record]) -> list[Record]:
        """Return the results with those that another machine left in ``results_dir``, which are kept here too.

        Raises:
            StateError: they are of other settings or data; nothing is kept then.
        """
        if self.shared_results is None:
            return results
        newer = self.shared_results.newer(results)
        try:
            runs_left(self.config, self.data, self.runs, newer)
        except StateError as error:
            cure = "Results there are told apart by the study's name: give output_dir another last part."
            where = str(self.shared_results.own)
            raise StateError(
                [
                    replace(one, where=f"{where}: {one.where}", cure=f"{one.cure} {cure}".strip())
                    for one in error.problems
                ]
            ) from error
        for result in newer:
            write_result(self.folder / RESULTS / result_file(result), result)
            logger.info(
                "study: %s, seed %d is taken from %s", result["method"], result["seed"], self.shared_results.own
            )
        return self._results() if newer else results

    def _results(self) -> list[Record]:
        """Return the results, which get today's names of study, data and split: those are no more than labels."""
        results = read_results(self.folder / RESULTS)
        names = asdict(self.names)
        for result in results:
            if any(result[key] != name for key, name in names.items()):
                result |= names
                write_result(self.folder / RESULTS / result_file(result), result)
        return results

    def _write_tables(self, results: Sequence[Record]) -> None:
        write_rounds(self.folder / ROUNDS, results, fresh=True)
        if self.shared_results is not None:
            self.shared_results.put(results)


def _told(failed: Mapping[StudyRun, Sequence[Problem]]) -> list[tuple[str, str]]:
    return [(run.name, "; ".join(one.found or one.what for one in problems)) for run, problems in failed.items()]


def _failure(run: StudyRun, ended: Ended) -> Problem:
    cure = f"Its log is {run.log}. Mend it, then run the same command again."
    return Problem("run of the study failed", run.name, "exit code 0", f"{ended.code}: {ended.words.rstrip('.')}", cure)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the lock of a study, whose results and table one process writes."""
    make_folder(folder)
    try:
        lock = FileLock(folder / LOCK)
    except HeldError as error:
        found, cure = error.problems[0].found, "Wait for it to end, or stop it, or choose another output folder."
        raise StateError(
            Problem("the study is in use by another process", str(folder), found=found, cure=cure)
        ) from None
    try:
        yield
    finally:
        lock.release()
