"""A process that writes what another one still computes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from scripts.core.errors import Problem, StateError
from scripts.images.slide_files.box import Box
from scripts.slides.disk_plane import DiskPlane
from scripts.slides.outputs import Ending, Written
from scripts.slides.pipeline.writer_process import WriterProcess, WrittenAfterwards, can_fork

pytestmark = pytest.mark.skipif(not can_fork(), reason="no process can be forked here")
SIZE = (1000, 300)
END = Ending("title", [{"x": 3}])


@pytest.fixture
def plane(tmp_path: Path) -> DiskPlane:
    return DiskPlane(SIZE, np.int16, -1, tmp_path)


def summing(plane: DiskPlane, out: Path) -> Callable[[Callable[[], Ending]], Written]:
    """Sums the plane from the top, then writes the sum with the ending."""

    def write(ending: Callable[[], Ending]) -> Written:
        total = sum(int(plane.read(Box(top, 0, top + 100, 300)).sum()) for top in range(0, 1000, 100))
        end = ending()
        out.write_text(f"{end.title} {end.tiles[0]['x']} {total}")
        return Written(total % 1000, os.getpid())

    return write


def test_it_waits_for_the_rows_that_it_reads(plane: DiskPlane, tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 9, SIZE).astype(np.int16)
    beside = WriterProcess(summing(plane, tmp_path / "sum"), plane)
    for top in range(0, 1000, 250):
        plane.write(Box(top, 0, top + 250, 300), values[top : top + 250])
        beside.reached(top + 250)
        time.sleep(0.05)
    assert not (tmp_path / "sum").exists()
    written = beside.finish(END)
    beside.close()
    assert written.polygons != os.getpid() and written.foreground == values.sum() % 1000
    assert (tmp_path / "sum").read_text() == f"title 3 {values.sum()}"


def test_it_does_what_is_done_afterwards(plane: DiskPlane, tmp_path: Path) -> None:
    plane.write(Box(10, 10, 20, 20), np.full((10, 10), 7, np.int16))
    for name, beside in (("a", WriterProcess(summing(plane, tmp_path / "a"), plane)),
                         ("b", WrittenAfterwards(summing(plane, tmp_path / "b")))):  # fmt: skip
        beside.reached(1000)
        assert beside.finish(END).foreground == (800 - 1 * (300000 - 0)) % 1000
        beside.close()
        assert (tmp_path / name).is_file()


def test_without_an_ending_it_writes_nothing(plane: DiskPlane, tmp_path: Path) -> None:
    beside = WriterProcess(summing(plane, tmp_path / "sum"), plane)
    beside.reached(1000)
    beside.close()
    assert not beside._process.is_alive() and not (tmp_path / "sum").exists()


def test_its_faults_are_told_here(plane: DiskPlane) -> None:
    def full(_: Callable[[], Ending]) -> Written:
        raise StateError(Problem("results cannot be written", "x", cure="Free space."))

    def broken(_: Callable[[], Ending]) -> Written:
        raise ZeroDivisionError("an error of ours")

    for write, kind, text in ((full, StateError, "Free space"), (broken, RuntimeError, "an error of ours")):
        beside = WriterProcess(write, plane)
        with pytest.raises(kind, match=text):
            beside.finish(END)
        beside.close()
    beside = WriterProcess(full, plane)
    with pytest.raises(StateError):
        for _ in range(200):
            beside.reached(1)
            time.sleep(0.05)
    beside.close()


def test_that_it_was_killed_is_told(plane: DiskPlane, tmp_path: Path) -> None:
    beside = WriterProcess(summing(plane, tmp_path / "sum"), plane)
    os.kill(beside._process.pid, signal.SIGKILL)
    with pytest.raises(RuntimeError, match="ended with status -9"):
        beside.finish(END)
    beside.close()


KILLED = """
import os, signal, sys
from pathlib import Path
from scripts.slides.disk_plane import DiskPlane
from scripts.slides.pipeline.writer_process import WriterProcess
from tests.slides.pipeline.test_writer_process import SIZE, summing
import numpy as np
plane = DiskPlane(SIZE, np.int16, 0, Path(sys.argv[1]))
beside = WriterProcess(summing(plane, Path(sys.argv[1]) / "sum"), plane)
beside.reached(500)
print(beside._process.pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_it_ends_with_the_process_that_started_it(tmp_path: Path) -> None:
    root = str(Path(__file__).resolve().parents[3])
    found = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], capture_output=True, text=True, cwd=root,
                           env={**os.environ, "PYTHONPATH": root}, timeout=200, check=False)  # fmt: skip
    assert found.returncode == -signal.SIGKILL, found.stderr
    for _ in range(200):
        if not Path(f"/proc/{int(found.stdout)}").exists():
            break
        time.sleep(0.05)
    assert not Path(f"/proc/{int(found.stdout)}").exists() and list(tmp_path.iterdir()) == []
