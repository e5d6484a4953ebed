"""Runs ``python -m monai.bundle`` many times in a second each: one process imports everything, each command is a fork.

``python -m tests.support.forked_commands`` reads lines of JSON, ``[log file, folder, module, argument, ...]``, and
answers each with the exit code. A command ends as the interpreter ends a program: ``SystemExit`` gives the code,
anything else goes to ``sys.excepthook``.
"""

from __future__ import annotations

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


class Commands:
    """The process that forks; use it as a context manager. Its folder is the repository."""

    def __enter__(self) -> Commands:
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}  # a fork spoils a pool of threads
        command = [sys.executable, "-m", "tests.support.forked_commands"]
        self.process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        return self

    def __exit__(self, *_: object) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(timeout=60)

    def run(self, log: Path, *arguments: str, folder: Path = ROOT, module: str = "monai.bundle") -> tuple[int, str]:
        """Return the exit code of ``python -m module arguments`` in a folder, and its standard output and error."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps([str(log), str(folder), module, *arguments]) + "\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline()), log.read_text()


def _child(log: str, folder: str, module: str, arguments: list[str]) -> int:
    with open(log, "wb", buffering=0) as stream:
        os.dup2(stream.fileno(), 1)
        os.dup2(stream.fileno(), 2)
    os.chdir(folder)
    sys.argv = [module, *arguments]
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        return _code(end)
    except BaseException as error:  # noqa: BLE001 - as the interpreter does
        try:
            sys.excepthook(type(error), error, error.__traceback__)
        except SystemExit as end:
            return _code(end)
        return 1
    return 0


def _code(end: SystemExit) -> int:
    return end.code if isinstance(end.code, int) else int(end.code is not None)


def main() -> None:
    """Answer commands until standard input ends."""
    import torch._dynamo  # noqa: F401 - the first optimizer imports it, a second that each child would pay
    from monai.bundle import ComponentLocator

    import scripts.active.rounds  # noqa: F401

    ComponentLocator().get_component_module_name("Compose")  # imports all of MONAI

    answers = os.fdopen(os.dup(1), "w")
    for line in sys.stdin:
        log, folder, module, *arguments = json.loads(line)
        process = os.fork()
        if not process:
            code = 1
            try:
                code = _child(log, folder, module, arguments)
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)
        answers.write(f"{os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])}\n")
        answers.flush()


if __name__ == "__main__":
    main()
