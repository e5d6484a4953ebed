"""Training: one call is one round of the run, by the same command that an engineer would give."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from typing import Any

from monailabel.interfaces.datastore import Datastore
from monailabel.interfaces.tasks.train import TrainTask
from monailabel.utils.async_tasks.task import AsyncTask
from monailabel.utils.async_tasks.utils import tasks

from lib.refusals import NotNowError
from lib.run import ServedRun
from scripts.core.errors import Problem, StateError, listed
from scripts.core.run_names import Metric, RunFile
from scripts.state.lock import holder_of

logger = logging.getLogger(__name__)

DESCRIPTION = "One round: learns from the masks that came, measures, and chooses the next images"
_ORDERING = threading.Lock()
_PROGRESS_S = "5"  # a line of the log per so many seconds of a progress bar


class RoundTrain(TrainTask):
    """Runs ``python -m monai.bundle run training`` of the run, which ends when it asks for masks again.

    Args:
        run: the run.
    """

    def __init__(self, run: ServedRun) -> None:
        super().__init__(DESCRIPTION)
        self.run = run

    def stats(self) -> dict[str, Any]:
        """Return the metrics of the rounds, and the one whose model answers."""
        rounds = {f"round {at}": values for at, values in self.run.evaluated().items()}
        return {"rounds": rounds, "best_round": self.run.best_round()} if rounds else {}

    def __call__(self, request: Mapping[str, Any], datastore: Datastore) -> dict[str, Any]:
        """Do the next round and return what came of it.

        Args:
            request: not used: the settings of a run are those it was started with.
            datastore: not needed.

        Raises:
            StateError: the command failed; its last lines, which are in the log, say why.
        """
        command = self.run.settings.command()
        logger.info("%s", " ".join(command))
        # MONAI Label's worker processes add this key; a server of our own has no parent to end with.
        code = _run(command, str(self.run.settings.bundle_root), ends_with_parent="local_rank" in request)
        if code:
            cure = "The lines above say why; they are in the log too: GET /logs/?text=true"
            raise StateError(Problem("training failed", str(self.run.folder), "exit code 0", str(code), cure))
        situation, done = self.run.situation(), self.run.evaluated()
        last = max(done, default=None)
        values = {} if last is None else done[last]
        return {
            "round": last,
            **{
                name: round(values[name], 4)
                for name in (Metric.VAL_DICE, Metric.DICE, Metric.ACCURACY)
                if name in values
            },
            "best_round": self.run.best_round(),
            "asked": list(situation.waiting),
            "message": situation.text,
        }


def is_ordered() -> bool:
    """Tell whether this server has begun a training that has not ended."""
    return any(task["status"] in ("SUBMITTED", "RUNNING") for task in tasks("train"))


def order(run: ServedRun, name: str, run_sync: bool = False) -> dict[str, Any]:
    """Begin the next round in the background and return MONAI Label's task.

    Args:
        run: the run.
        name: of the trainer.
        run_sync: wait for its end, and return what came of it.

    Raises:
        NotNowError: a training goes on, masks are missing, or the run is complete.
    """
    with _ORDERING:
        refuse_untimely(run)
        if not run_sync:
            found: Any = AsyncTask.run("train", request={"model": name}, enqueue=True)[0]
            return {**found}
    result: Any = AsyncTask.run("train", request={"model": name}, force_sync=True, enqueue=True)[0]
    return dict(result)


def refuse_untimely(run: ServedRun) -> None:
    """Raise NotNowError where a training could not do a round; see :func:`order`."""
    holder = holder_of(run.folder / RunFile.LOCK)
    if is_ordered() or holder is not None:
        cure = "Wait for its end: GET /train/. Masks that come meanwhile go to the next round."
        raise NotNowError(Problem("a training goes on", str(run.folder), "none", holder or "one of this server", cure))
    situation = run.situation()
    if situation.kind == "draw":
        cure = "Draw them, or say that they cannot be drawn: POST /annotation/skip."
        what = f"round {situation.round} waits for masks"
        raise NotNowError(Problem(what, str(run.folder), "all masks", f"{listed(situation.waiting)} without one", cure))
    if situation.kind == "complete":
        raise NotNowError(Problem("the run is complete", str(run.folder), found=situation.text))


def _run(command: list[str], folder: str, ends_with_parent: bool) -> int:
    """Run a command, pass its lines on as they come, and return its exit code.

    Args:
        command: its words.
        folder: where it runs.
        ends_with_parent: kill it, and this process, when the parent of this process is gone.
    """
    env = {"TQDM_MININTERVAL": _PROGRESS_S, "PYTHONUNBUFFERED": "1", **os.environ}
    with subprocess.Popen(
        command, cwd=folder, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as process:
        if ends_with_parent:
            threading.Thread(target=_kill_when_alone, args=(process, os.getppid()), daemon=True).start()
        try:
            assert process.stdout is not None
            for line in process.stdout:
                sys.stdout.write(line)
                sys.stdout.flush()
        except BaseException:  # nobody reads any more, or this process is told to end
            process.kill()
            raise
    return process.returncode


def _kill_when_alone(process: subprocess.Popen[str], parent: int) -> None:
    """Kill a process when the parent of this one is gone: a server that is started again must find the run free."""
    while process.poll() is None:
        if os.getppid() != parent:
            process.kill()
            return
        time.sleep(0.5)
