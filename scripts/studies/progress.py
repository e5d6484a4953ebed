"""How far a study is: a line per run that is going on, and one for all with the time that is left."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from tqdm import tqdm

from scripts.core.errors import StateError
from scripts.core.run_names import Metric, is_run
from scripts.state.reader import StateReader
from scripts.studies.plan import StudyRun

_SECONDS_ON_A_TERMINAL, _SECONDS_IN_A_FILE = 1.0, 60.0


class Progress:
    """Bars of the runs, and of the rounds of all of them.

    Args:
        runs: those that are not done yet.
        done: rounds of those that are.
    """

    def __init__(self, runs: Sequence[StudyRun], done: int) -> None:
        self.runs = list(runs)
        self.before = {run: rounds_done(run)[0] for run in runs}
        self.seen = dict(self.before)
        every = _SECONDS_ON_A_TERMINAL if sys.stderr.isatty() else _SECONDS_IN_A_FILE
        self._every = every
        total = done + sum(run.rounds for run in runs)
        begun = done + sum(self.before.values())
        self._all = tqdm(total=total, initial=begun, desc="study", unit="round", mininterval=every, smoothing=0.0)
        self._bars: dict[StudyRun, tqdm] = {}

    def look(self) -> None:
        """Read how far the runs are and show it."""
        for run in self.runs:
            rounds, dice = rounds_done(run)
            if run not in self._bars and not run.log.is_file():
                continue
            if run not in self._bars:
                self._bars[run] = tqdm(
                    total=run.rounds, initial=rounds, desc=run.name, unit="round", mininterval=self._every
                )
            bar = self._bars[run]
            if rounds > self.seen[run] and dice is not None:
                bar.set_postfix_str(f"Dice {dice:.4f}", refresh=False)
            bar.update(max(0, rounds - bar.n))
            self._all.update(max(0, rounds - self.seen[run]))
            self.seen[run] = max(rounds, self.seen[run])

    def ended(self, run: StudyRun) -> None:
        """Show a run for the last time; its line stays."""
        self.look()
        if run in self._bars:
            self._bars.pop(run).close()
        self.runs.remove(run)

    def close(self) -> None:
        """Take the bars away."""
        for bar in [*self._bars.values(), self._all]:
            bar.close()


def rounds_done(run: StudyRun) -> tuple[int, float | None]:
    """Return how many rounds of a run have been measured, and the Dice of the last; (0, None) before the first."""
    if not is_run(run.folder):
        return 0, None
    try:
        with StateReader.open(run.folder) as state:
            metrics = state.metrics()
    except StateError:  # it is being made just now
        return 0, None
    measured = [at for at, values in metrics.items() if at >= 0 and Metric.MASKS in values]
    return len(measured), metrics[max(measured)].get(Metric.DICE) if measured else None
