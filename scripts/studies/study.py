"""A study: every method with every seed, one run each, then one table, one report and the results as files.

The command again goes on where it stopped: runs that are done are not started, the others go on by themselves.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from scripts.core.errors import InputError, Problem, StateError, listed
from scripts.core.run_config import RunConfig
from scripts.data.run_data import RunData
from scripts.studies.plan import StudyRun, plan_runs, write_configs
from scripts.studies.process import Ended, last_words
from scripts.studies.progress import Progress
from scripts.studies.results import StudyNames, read_results, run_result, write_result, write_rounds
from scripts.studies.runners import Runner
from scripts.studies.summary import summary_table

logger = logging.getLogger(__name__)

ROUNDS = "rounds.csv"


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
        results_dir: where the results are copied to besides, for instance ``docs/results``; None for nowhere.

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
        self.folder = Path(output_dir).absolute()
        self.runner, self.config = runners[runner], config
        self.runs = plan_runs(config, self.folder, methods, seeds, overlays)
        self.shared = dict(shared or {})
        self.names = StudyNames(self.folder.name, data_name or data.datalist.root.name, split_name)
        self.results_dir = None if results_dir is None else Path(results_dir)

    def run(self) -> Path:
        """Run what is left, write table and report, and return the path of the table.

        Raises:
            StateError: runs that failed; all others are done and in the table.
        """
        write_configs(self.config, self.runs, self.shared)
        left = [run for run in self.runs if not run.result.is_file()]
        done = [run for run in self.runs if run.result.is_file()]
        logger.info("study %s: %d runs, %d of them done", self.folder, len(self.runs), len(done))
        failed: dict[StudyRun, Ended] = {}
        progress = Progress(left, sum(run.rounds for run in done))

        def on_end(run: StudyRun, ended: Ended) -> None:
            progress.ended(run)
            if ended.code == 0:
                write_result(run.result, run_result(run, self.names, ended))
            else:
                failed[run] = ended
                logger.warning("study: %s failed, the others go on: %s", run.name, last_words(run))

        try:
            if left:
                self.runner.run(left, on_end, progress.look)
        finally:
            progress.close()
        table = self.tell()
        if failed:
            cure = "Mend it, then run the same command again."
            raise StateError(
                [
                    Problem(f"{run.name} failed", str(run.log), "exit code 0", f"{ended.code}: {last_words(run)}", cure)
                    for run, ended in failed.items()
                ]
            )
        return table

    def tell(self) -> Path:
        """Write the table of rounds of all results, log their summary, and return the table's path."""
        results = read_results(self.folder / "results")
        targets = [self.folder / ROUNDS, *([self.results_dir / ROUNDS] if self.results_dir else [])]
        for path in targets:
            write_rounds(path, results)
        logger.info("study: %d results\n%s", len(results), summary_table(results))
        return targets[0]
