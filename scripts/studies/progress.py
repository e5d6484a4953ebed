"""How far a study is: a line per run that is going on, and one for all with the time that is left."""

from __future__ import annotations

import csv
import logging
import math
import sys
import time
from collections.abc import Sequence

from tqdm import tqdm

from scripts.core.run_names import Metric, RunFile
from scripts.studies.plan import StudyRun

logger = logging.getLogger(__name__)

_BETWEEN_LINES_S = 60.0


class Progress:
    """Bars of the runs, and of the rounds of all of them; where nobody watches, lines of the log instead.

    Args:
        runs: those that are not done yet.
        done: rounds of those that are.
        on_terminal: None asks standard error.
    """

    def __init__(self, runs: Sequence[StudyRun], done: int, on_terminal: bool | None = None) -> None:
        self.runs = list(runs)
        self.on_terminal = sys.stderr.isatty() if on_terminal is None else on_terminal
        self.seen = {run: rounds_done(run)[0] for run in runs}
        self._total = done + sum(run.rounds for run in runs)
        self._begun_at = self._now = done + sum(self.seen.values())
        self._since = time.monotonic()
        self._told = self._since
        self._bars: dict[StudyRun, tqdm] = {}
        self._all = tqdm(
            total=self._total, initial=self._now, desc="study", unit="round", mininterval=1.0, smoothing=0.0,
            disable=not self.on_terminal,
        )  # fmt: skip

    def look(self) -> None:
        """Read how far the runs are and show it."""
        for run in self.runs:
            if run in self._bars or run.log.is_file():
                self._look_at(run)

    def ended(self, run: StudyRun) -> None:
        """Show a run for the last time; its line stays."""
        self._look_at(run)
        self.runs.remove(run)
        missing = max(0, run.rounds - self.seen[run])  # it failed, or had nothing more to ask about
        self._total -= missing
        self._all.total = self._total
        if run in self._bars:
            self._bars.pop(run).close()
        if not self.on_terminal:
            logger.info("%s: ended with %d of %d rounds; %s", run.name, self.seen[run], run.rounds, self._of_all())

    def close(self) -> None:
        """Let the bars be; nothing is shown any more."""
        for bar in [*self._bars.values(), self._all]:
            bar.close()

    def _look_at(self, run: StudyRun) -> None:
        rounds, dice = rounds_done(run)
        more = max(0, rounds - self.seen[run])
        self.seen[run] += more
        self._now += more
        if self.on_terminal:
            self._draw(run, dice, more)
        elif more and time.monotonic() - self._told >= _BETWEEN_LINES_S:
            self._told = time.monotonic()
            shown = math.nan if dice is None else dice
            text = "%s: %d of %d rounds, Dice %.4f; %s"
            logger.info(text, run.name, self.seen[run], run.rounds, shown, self._of_all())

    def _draw(self, run: StudyRun, dice: float | None, more: int) -> None:
        if run not in self._bars:
            self._bars[run] = tqdm(
                total=run.rounds,
                initial=self.seen[run] - more,
                desc=run.name,
                unit="round",
                mininterval=1.0,
                smoothing=0.0,
            )
        if more and dice is not None:
            self._bars[run].set_postfix_str(f"Dice {dice:.4f}", refresh=False)
        self._bars[run].update(more)
        self._all.update(more)

    def _of_all(self) -> str:
        """Return how far the study is, in words: ``"study: 3 of 8 rounds, 12:30 left"``."""
        here, left = self._now - self._begun_at, self._total - self._now
        told = f"study: {self._now} of {self._total} rounds"
        if not here or not left:
            return told
        return f"{told}, {tqdm.format_interval((time.monotonic() - self._since) / here * left)} left"


def rounds_done(run: StudyRun) -> tuple[int, float | None]:
    """Return how many rounds of a run have been measured, and the Dice of the last; (0, None) before the first.

    Asked of the curve that a run writes after each round, not of its state: on a cluster that is another machine's, and
    SQLite's log must not be read from two.
    """
    try:
        rows = list(csv.DictReader((run.folder / RunFile.CURVE_CSV).read_text().splitlines()))
        return len(rows), float(rows[-1][Metric.DICE])
    except (OSError, ValueError, IndexError, KeyError, TypeError, csv.Error):  # none yet, or damaged: made anew
        return 0, None
