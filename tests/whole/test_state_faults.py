"""Kills, full disks and failing syncs under the state: nothing stored is lost, and the run goes on to the same end."""

from __future__ import annotations

import errno
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from scripts.core.errors import StateError
from scripts.state.rows import LabelRow
from scripts.state.run_state import RunState

ROOT = Path(__file__).resolve().parents[2]
N_ROUNDS = 2


def run_to_the_end(run_dir: Path) -> str:
    """Do the phases that are not done, as a real run would; return all that the state holds."""
    with RunState.open(run_dir) as state:
        ids = [f"i{number}" for number in range(N_ROUNDS)]
        items = [{"id": image, "sha256": "s", "label": 0, "split": "train"} for image in ids]
        state.register_run({"seed": 0}, [], items, "data")
        for number, image in enumerate(ids):
            if not state.is_done(number, "select"):
                state.commit(number, "select", queries=[(image, 0.5)], rng={"draws": number})
            if not state.is_done(number, "train"):
                mask, model = state.put_blob(image.encode(), ".png"), state.put_blob(image.encode() * 5000, ".pt")
                label = LabelRow(image, number, mask, cost_px=1, boundary_px=1, seconds=0.0)
                state.commit(number, "train", labels=[label], artifacts={"model": model}, metrics={"dice": number / 3})
        rounds = range(N_ROUNDS)
        blobs = [state.read_blob(row.blob).decode() for row in state.labels()]
        blobs += [state.read_blob(state.artifact(number, "model")).decode() for number in rounds]
        rows = [*map(repr, state.labels()), *map(repr, state.queries()), repr(state.metrics())]
        return json.dumps([blobs, rows, [state.phases(number) for number in rounds], state.rng(1, "select")])


def run_and_die_at(run_dir: Path, step: int) -> None:
    """Run, and SIGKILL this process at its ``step``-th sync, rename, removal, or start or end of a commit."""
    calls = 0

    def counted(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == step:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*arguments)

        return call

    os.fsync, os.replace, os.unlink = counted(os.fsync), counted(os.replace), counted(os.unlink)
    RunState.commit = counted_method(RunState.commit, counted)  # type: ignore[method-assign]
    run_to_the_end(run_dir)


def counted_method(method: Callable[..., Any], counted: Callable[..., Any]) -> Callable[..., Any]:
    """Count the moments just before and just after a method."""
    pause = counted(lambda: None)

    def call(*arguments: Any, **named: Any) -> Any:
        pause()
        result = method(*arguments, **named)
        pause()
        return result

    return call


def child(function: str, run_dir: Path, *arguments: object) -> subprocess.Popen[bytes]:
    code = f"import sys; from pathlib import Path; from tests.whole.test_state_faults import {function}; "
    code += f"{function}(Path(sys.argv[1]), *map(int, sys.argv[2:]))"
    return subprocess.Popen([sys.executable, "-c", code, run_dir, *map(str, arguments)], cwd=ROOT)


@pytest.fixture
def ram() -> Iterator[Path]:
    """A folder in memory where there is one: a kill spares the page cache, a slow disk would only take time."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        yield Path(folder)


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> str:
    return run_to_the_end(tmp_path_factory.mktemp("reference"))


def leftovers(run_dir: Path) -> list[Path]:
    return [path for path in run_dir.rglob("*") if path.name.endswith(".tmp")]


def forked(function: Callable[..., Any], *arguments: Any) -> int:
    """Run a function in a forked child, where patches and kills hurt nobody; return its exit status."""
    process = os.fork()
    if process == 0:
        status = 1
        try:
            function(*arguments)
            status = 0
        finally:
            os._exit(status)
    return os.waitpid(process, 0)[1]


def test_kill_at_every_step_ends_the_same(ram: Path, reference: str) -> None:
    step = 0
    while True:
        step += 1
        run_dir = ram / str(step)
        status = forked(run_and_die_at, run_dir, step)
        if status == 0:
            break
        assert os.WTERMSIG(status) == signal.SIGKILL, f"step {step} ended with status {status}"
        assert run_to_the_end(run_dir) == reference, f"killed at step {step}"
        assert leftovers(run_dir) == []
    assert step > 30


def test_kill_after_every_kill_ends_the_same(ram: Path, reference: str) -> None:
    for step in range(3, 50, 4):
        forked(run_and_die_at, ram, step)
    assert run_to_the_end(ram) == reference


def test_kill_at_random_times_ends_the_same(ram: Path, reference: str) -> None:
    rng = random.Random(0)
    killed = 0
    window = 0.03  # seconds; shorter when the child was faster than the kill, so that kills hit on any machine
    for number in range(10):
        run_dir = ram / str(number)
        with child("run_to_the_end", run_dir) as process:
            while not run_dir.exists() and process.poll() is None:
                time.sleep(0.001)
            time.sleep(rng.uniform(0.0, window))
            process.kill()
        hit = process.returncode == -signal.SIGKILL
        killed += hit
        window *= 1.0 if hit else 0.5
        assert run_to_the_end(run_dir) == reference
        assert leftovers(run_dir) == []
    assert killed >= 3


@pytest.mark.parametrize("call", ["fsync", "replace"])
@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC])
def test_every_failing_call_is_told_and_cured_by_the_same_command(
    ram: Path, monkeypatch: pytest.MonkeyPatch, reference: str, call: str, code: int
) -> None:
    real = getattr(os, call)
    step = 0
    while True:
        step += 1
        calls = 0

        def failing(*arguments: Any, at: int = step) -> Any:
            nonlocal calls
            calls += 1
            if calls == at:
                raise OSError(code, os.strerror(code))
            return real(*arguments)

        run_dir = ram / str(step)
        monkeypatch.setattr(os, call, failing)
        try:
            assert run_to_the_end(run_dir) == reference
            break
        except StateError as error:
            assert os.strerror(code) in str(error)
        finally:
            monkeypatch.setattr(os, call, real)
        assert run_to_the_end(run_dir) == reference, f"{call} failed at call {step}"
        assert leftovers(run_dir) == []
    assert step > N_ROUNDS * 2


def run_with_small_files(run_dir: Path, limit: int) -> None:
    """Run where no file may grow beyond ``limit`` bytes, as on a full disk; exit 3 when that is told."""
    import resource

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    try:
        run_to_the_end(run_dir)
    except StateError as error:
        os._exit(3 if "run the same command again" in str(error) else 4)


@pytest.mark.parametrize("limit", [0, 100, 5000, 9000, 40_000, 70_000, 100_000, 130_000])
def test_full_disk_is_told_and_cured_by_space(ram: Path, reference: str, limit: int) -> None:
    status = forked(run_with_small_files, ram / "run", limit)
    told = os.waitstatus_to_exitcode(status)
    assert told == 3 if limit < 40_000 else told in (0, 3)
    assert run_to_the_end(ram / "run") == reference
