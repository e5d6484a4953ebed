"""The process of a job: does what its standard input says, and ends with the server that began it.

What it does stands in JSON: ``what`` is ``"train"`` (``command`` in ``folder``), ``"score"`` or ``"predict"`` of the
run that ``app_dir``, ``studies`` and ``conf`` name; ``result`` is the file descriptor that takes what comes of it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_APP = Path(__file__).resolve().parents[2]
_NICE = 5  # people who draw are answered first


def main() -> int:
    """Do it; return the exit code."""
    parent = os.getppid()
    order = json.loads(sys.stdin.read())
    os.nice(_NICE)
    if order["what"] == "train":
        return _train(order["command"], order["folder"], parent)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    sys.path[:0] = [str(_APP), str(_APP.parent)]
    found = _of_the_run(order)
    with os.fdopen(int(order["result"]), "w") as file:
        json.dump(found, file)
    return 0


def _train(command: list[str], folder: str, parent: int) -> int:
    """Run a command, and kill it when the parent of this process is gone: who starts again must find the run free."""
    with subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL) as process:
        while process.poll() is None:
            if os.getppid() != parent:
                process.kill()
            time.sleep(0.2)
    return process.returncode


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.2)
    os._exit(1)


def _of_the_run(order: Mapping[str, Any]) -> dict[str, Any]:
    from lib.answering import AnsweringModel
    from lib.bodies import Region
    from lib.run import ServedRun
    from lib.settings import Settings
    from lib.work.scoring import score
    from scripts.core.plain_errors import show_user_errors_plainly

    show_user_errors_plainly()
    run = ServedRun(Settings.of(Path(order["app_dir"]), order["studies"], order["conf"]))
    run.refuse_another()
    if order["what"] == "score":
        return score(run, order["name"], run.methods[order["name"]])
    from lib.infer import JointInfer

    infer = JointInfer(run, AnsweringModel(run))

    def told(key: str) -> dict[str, Any]:
        problem = run.unusable(key)  # another picture lies there, say; the rest goes on
        return {"error": problem} if problem else infer(run.image_path(key), Region()).told

    return {key: told(key) for key in order["images"]}


if __name__ == "__main__":
    sys.exit(main())
