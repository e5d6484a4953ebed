"""Named moments of a run, put around the program from outside: the code under test knows nothing of them.

A moment is a text such as ``"round 0 oracle: blob.png half written"``: the phase at work, then what happens in it. The
same run names the same moments in the same order, so one recorded run tells every point at which it can be killed.
"""

from __future__ import annotations

import os
import re
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ignite.engine import Engine, Events
from monai.engines import SupervisedTrainer

from scripts.active import handlers, report_handler, rounds
from scripts.core import files
from scripts.state import run_state
from scripts.state.database import Database
from scripts.training import learner, stage0

BLOB = re.compile(r"[0-9a-f]{64}(\.\w+)?")
THETA0 = re.compile(r"[0-9a-f]{16}\.")
PICTURE = re.compile(r"(train|val|test)_\d+\.png")


class Moments:
    """Counts the moments of this process, writes them down, and kills the process at one of them.

    Args:
        trace: file to append the moments to, one a line; None writes none.
        fatal: the moment that kills; None for none.
        steps: file that gets one byte per optimisation step.
    """

    def __init__(self, trace: Path | None = None, fatal: str | None = None, steps: Path | None = None) -> None:
        self.fatal, self.where = fatal, "start"
        self.seen: Counter[str] = Counter()
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        self._trace = None if trace is None else os.open(trace, flags)
        self._steps = None if steps is None else os.open(steps, flags)

    def name(self, what: str) -> str:
        """The full name of a moment, numbered from its second occurrence on."""
        name = f"{self.where}: {what}"
        count = self.seen[name] + 1
        return name if count == 1 else f"{name} ({count})"

    def at(self, what: str) -> None:
        """Say that a moment has come; does not return from the fatal one."""
        name = self.name(what)
        self.seen[f"{self.where}: {what}"] += 1
        if self._trace is not None:
            os.write(self._trace, f"{name}\n".encode())
        if name == self.fatal:
            os.kill(os.getpid(), signal.SIGKILL)

    def step(self) -> None:
        """Count one optimisation step."""
        if self._steps is not None:
            os.write(self._steps, b".")

    @contextmanager
    def inside(self, where: str) -> Iterator[None]:
        """Name the phase at work."""
        self.where, before = where, self.where
        try:
            yield
        finally:
            self.where = before


def install(moments: Moments) -> None:
    """Put the moments around the program, in this process and for good."""
    _around_files(moments)
    _around_commits(moments)
    _around_phases(moments)
    _around_training(moments)


def _replace_everywhere(original: Callable[..., Any], changed: Callable[..., Any]) -> None:
    """Modules import functions by name, so each module's own name is changed."""
    for name, module in list(sys.modules.items()):
        if name.startswith("scripts.") and getattr(module, original.__name__, None) is original:
            setattr(module, original.__name__, changed)


def _role(path: Path) -> str:
    """A name for a file that does not hold its hash or its number."""
    if BLOB.fullmatch(path.name):
        return f"blob{path.suffix}"
    return PICTURE.sub("picture", THETA0.sub("theta0.", path.name))


class _HalfWritten:
    """A file whose first write stops in the middle: half of the bytes are with the system, then the moment comes."""

    def __init__(self, file: Any, moments: Moments, role: str) -> None:
        self._file, self._moments, self._role = file, moments, role

    def __enter__(self) -> _HalfWritten:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def write(self, data: bytes) -> None:
        half = len(data) // 2
        self._file.write(data[:half])
        self._file.flush()
        self._moments.at(f"{self._role} half written")
        self._file.write(data[half:])


def _around_files(moments: Moments) -> None:
    write, replace = files.write_atomic, os.replace
    # Several threads store masks at once; what they write together is one kind of file.
    role = {"now": "file"}

    def write_atomic(path: Path, data: bytes) -> None:
        role["now"] = _role(Path(path))
        moments.at(f"{role['now']} not yet written")
        write(path, data)
        moments.at(f"{_role(Path(path))} written")

    def opened(path: Any, mode: str = "r", *arguments: Any, **named: Any) -> Any:
        file = open(path, mode, *arguments, **named)  # noqa: SIM115 - the caller closes it
        return _HalfWritten(file, moments, role["now"]) if "x" in mode else file

    def replaced(old: Any, new: Any, **named: Any) -> None:
        moments.at(f"{_role(Path(new))} complete under its temporary name")
        replace(old, new, **named)
        moments.at(f"{_role(Path(new))} renamed, folder not synced")

    files.open = opened  # type: ignore[attr-defined]
    os.replace = replaced  # type: ignore[assignment]
    _replace_everywhere(write, write_atomic)


def _around_commits(moments: Moments) -> None:
    commit, insert, create = run_state.RunState.commit, run_state.insert_pseudo, Database.create

    def committed(self: Any, *arguments: Any, **named: Any) -> None:
        moments.at("before commit")
        commit(self, *arguments, **named)
        moments.at("after commit")

    def inserted(*arguments: Any) -> None:
        moments.at("inside the transaction")
        insert(*arguments)

    def created(path: Path) -> None:
        moments.at("before the state is made")
        create(path)
        moments.at("state made, empty")

    run_state.RunState.commit = committed  # type: ignore[method-assign]
    run_state.insert_pseudo = inserted
    Database.create = created  # type: ignore[method-assign,assignment]


def _around_phases(moments: Moments) -> None:
    phase, report, start = handlers.PhaseHandler.__call__, report_handler.ReportHandler.__call__, stage0.theta0
    final, image = rounds.write_report, learner._image

    def run_phase(self: Any, engine: Engine) -> None:
        with moments.inside(f"round {engine.state.round.index} {self.event.value}"):
            phase(self, engine)

    def run_report(self: Any, engine: Engine) -> None:
        with moments.inside(f"round {engine.state.round.index} report"):
            moments.at("start")
            report(self, engine)
            moments.at("end")

    def run_stage0(*arguments: Any, **named: Any) -> Any:
        with moments.inside("stage 0"):
            moments.at("start")
            found = start(*arguments, **named)
            moments.at("end, not in the state yet")
        return found

    def run_final(*arguments: Any, **named: Any) -> Any:
        with moments.inside("final report"):
            moments.at("start")
            page = final(*arguments, **named)
            moments.at("end, before the run says so")
        return page

    def read_image(*arguments: Any) -> Any:
        moments.at("an image is predicted")
        return image(*arguments)

    handlers.PhaseHandler.__call__ = run_phase  # type: ignore[method-assign]
    report_handler.ReportHandler.__call__ = run_report  # type: ignore[method-assign]
    rounds.theta0, rounds.write_report = run_stage0, run_final
    learner._image = read_image


def _around_training(moments: Moments) -> None:
    iteration, fire = SupervisedTrainer._iteration, Engine._fire_event

    def step(self: Any, *arguments: Any) -> Any:
        moments.at(f"before step {self.state.iteration}")
        found = iteration(self, *arguments)
        moments.step()
        return found

    def fired(self: Engine, event: Any, *arguments: Any, **named: Any) -> None:
        trainer = isinstance(self, SupervisedTrainer) and event == Events.EPOCH_COMPLETED
        if trainer:
            moments.at(f"epoch {self.state.epoch} done, not validated")
        fire(self, event, *arguments, **named)
        if trainer:
            moments.at(f"epoch {self.state.epoch} validated")

    SupervisedTrainer._iteration = step  # type: ignore[method-assign]
    Engine._fire_event = fired  # type: ignore[method-assign]
