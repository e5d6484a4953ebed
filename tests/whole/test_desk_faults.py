"""Power cuts, failing calls and kills while people hand masks in: what was acknowledged is there."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.core.errors import StateError
from scripts.state.desk import Desk
from scripts.state.run_state import RunState
from tests.support.fault_disk import CALLS, ERRORS, IMAGES, FailingDisk, LossyDisk, PowerCutError
from tests.support.people import a_label

ANSWERS = [("i0", b"mask of i0"), ("i1", b"mask of i1"), ("i0", b"i0 again")]


@pytest.fixture
def ram() -> Iterator[Path]:
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        yield Path(folder)


def annotated(run_dir: Path, acknowledged: list[bytes]) -> list[tuple[str, bytes]]:
    """Ask for two images, hand in what is not there yet, let a round take it; return all masks with their images."""
    with RunState.open(run_dir) as state:
        items = [{"id": image, "sha256": "s", "label": 0, "split": "train"} for image in IMAGES]
        state.register_run({}, [], items, "data")
        if not state.is_done(0, "query"):
            state.commit(0, "query", queries=[("i0", None), ("i1", None)], reserves=[("i2", None)])
    with Desk.open(run_dir) as desk:
        present = [desk.read_blob(row.blob) for row in desk.labels()]
        assert set(acknowledged) <= set(present)
        for key, content in ANSWERS:
            if content not in present:
                desk.hand_out("ann", order=[key])
                desk.submit(a_label(key), content)
                acknowledged.append(content)
    with RunState.open(run_dir) as state:
        if not state.is_done(0, "oracle"):
            state.commit(0, "oracle", claim=True)
        return [(row.id, state.read_blob(row.blob)) for row in state.labels(0)]


def test_power_cut_at_every_call_keeps_what_was_acknowledged(ram: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cut = 0
    while True:
        cut += 1
        root = ram / f"disk{cut}"
        root.mkdir()
        images = [(ram / f"cut{cut}_{seed}", seed) for seed in (None, 1, 2)]
        acknowledged: list[bytes] = []
        with monkeypatch.context() as patch:
            LossyDisk(root, cut).install(patch, images)
            try:
                assert annotated(root / "run", acknowledged) == ANSWERS
                break
            except PowerCutError:
                pass
        for image, _ in images:
            if acknowledged:
                with RunState.open(image / "run") as state:
                    kept = {state.read_blob(row.blob) for row in state.labels()}
                assert set(acknowledged) <= kept
            assert sorted(annotated(image / "run", list(acknowledged))) == sorted(ANSWERS)
            shutil.rmtree(image)
        shutil.rmtree(root)
    assert cut > 10


@pytest.mark.parametrize("code", ERRORS)
@pytest.mark.parametrize("call", [*CALLS, "write"])
def test_every_failing_call_is_told_and_nothing_acknowledged_is_lost(
    ram: Path, monkeypatch: pytest.MonkeyPatch, call: str, code: int
) -> None:
    nth = 0
    while True:
        nth += 1
        run_dir, acknowledged = ram / str(nth) / "run", []
        disk = FailingDisk(ram, call, nth, code)
        with monkeypatch.context() as patch:
            disk.install(patch)
            try:
                assert annotated(run_dir, acknowledged) == ANSWERS
            except StateError as error:
                assert os.strerror(code) in str(error)
        if not disk.hit:
            break
        assert sorted(annotated(run_dir, acknowledged)) == sorted(ANSWERS), f"{call} {nth}"


PROGRAM = """
import sys
from scripts.state.desk import Desk
from tests.support.people import a_label, png
with Desk.open(sys.argv[1]) as desk:
    for number in range(100_000):
        row = desk.submit(a_label("i0", said=str(number)), png(number % 30))
        print(row.version, flush=True)
"""


def test_kill_at_random_times_keeps_what_was_acknowledged(tmp_path: Path) -> None:
    rng = random.Random(0)
    run_dir = tmp_path / "run"
    with RunState.open(run_dir) as state:
        items = [{"id": image, "sha256": "s", "label": 0, "split": "train"} for image in IMAGES]
        state.register_run({}, [], items, "data")
    acknowledged = 0
    for _ in range(3):
        process = subprocess.Popen([sys.executable, "-c", PROGRAM, str(run_dir)], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        first = process.stdout.readline()
        time.sleep(rng.random() / 2)
        process.send_signal(signal.SIGKILL)
        told = [first, *process.stdout.read().splitlines()]
        process.wait()
        acknowledged = max([acknowledged, *(int(line) for line in told if line.strip())])
        with RunState.open(run_dir) as state:
            versions = [row.version for row in state.labels()]
            assert versions == list(range(1, len(versions) + 1))
            assert len(versions) >= acknowledged
            assert all(state.read_blob(row.blob) for row in state.labels())
    assert acknowledged > 3
