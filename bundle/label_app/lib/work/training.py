"""Training: one call is one round of the run, by the same command that an engineer would give."""

from __future__ import annotations

from typing import Any

from lib.refusals import NotNowError
from lib.run import TRAIN, ServedRun
from lib.work.jobs import Job, Jobs
from scripts.core.errors import Problem, listed
from scripts.core.lock import holder_of
from scripts.core.run_names import Metric, RunFile

DESCRIPTION = "One round: learns from the masks that came, measures, and chooses the next images"


class Trainings:
    """Runs ``python -m monai.bundle run training`` of the run, which ends when it asks for masks again.

    Args:
        run: the run.
    """

    def __init__(self, run: ServedRun) -> None:
        self.run, self.jobs = run, Jobs("a training", "/train/")

    def info(self) -> dict[str, Any]:
        """Return what clients are told of it."""
        return {"description": DESCRIPTION, "config": {}}

    def stats(self) -> dict[str, Any]:
        """Return the metrics of the rounds, and the one whose model answers."""
        rounds = {f"round {at}": values for at, values in self.run.evaluated().items()}
        return {"rounds": rounds, "best_round": self.run.best_round()} if rounds else {}

    def order(self, name: str, without_masks: bool = False) -> Job:
        """Begin the next round.

        Args:
            name: of the model.
            without_masks: also where nobody drew a mask for it.

        Raises:
            NotNowError: a training goes on, masks are missing, or the run is complete.
            StateError: the run is gone.
        """
        command = self.run.settings.command()
        order = {"what": "train", "command": command, "folder": str(self.run.settings.bundle_root)}
        return self.jobs.start(name, order, lambda: self._refuse_untimely(without_masks), self._outcome)

    def _outcome(self) -> dict[str, Any]:
        situation, done = self.run.situation(), self.run.evaluated()
        last = max(done, default=None)
        values = {} if last is None else done[last]
        shown = (Metric.VAL_DICE, Metric.DICE, Metric.ACCURACY)
        return {
            "round": last,
            **{name: round(values[name], 4) for name in shown if name in values},
            "best_round": self.run.best_round(),
            "asked": list(situation.waiting),
            "message": situation.text,
        }

    def _refuse_untimely(self, without_masks: bool) -> None:
        """Raise NotNowError where a training could not do a round, or should not unasked."""
        where = str(self.run.folder)
        if holder_of(self.run.folder / RunFile.LOCK) is not None:
            cure = "Wait for its end. Masks that come meanwhile go to the next round."
            raise NotNowError(Problem("a training goes on", where, "none", "one of another program", cure))
        situation = self.run.situation()
        if situation.kind == "draw":
            cure = "Draw them, or say that they cannot be drawn: POST /annotation/skip."
            what = f"round {situation.round} waits for masks"
            found = f"{listed(situation.waiting)} without one"
            raise NotNowError(Problem(what, where, "all masks", found, cure))
        if situation.kind == "undrawn" and not without_masks:
            cure = f"Ask for images again: DELETE /annotation/skip. Or train all the same: {WITHOUT}"
            raise NotNowError(Problem(situation.text, where, "a mask", "none", cure))
        if situation.kind == "complete":
            raise NotNowError(Problem("the run is complete", where, found=situation.text))


WITHOUT = f"{TRAIN.split(': ')[1].rstrip('.')}?without_masks=true"
