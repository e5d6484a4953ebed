"""Power cuts, failing calls, full and read-only disks under the state of a scripted run."""

from __future__ import annotations

import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from scripts.core.errors import StateError
from scripts.state.database import Database
from scripts.state.reader import StateReader
from scripts.state.rows import LabelRow
from scripts.state.run_state import RunState
from tests.support.fault_disk import CALLS, ERRORS, IMAGES, FailingDisk, LossyDisk, PowerCutError, scripted_run

NOBODY = 65534
FRAME = 24 + 4096  # header and page of a frame in SQLite's log
LOG_HEADER = 32


@pytest.fixture
def ram() -> Iterator[Path]:
    """A folder in memory where there is one; there inode numbers are not used twice either."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        yield Path(folder)


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    return scripted_run(tmp_path_factory.mktemp("reference") / "run")


def test_power_cut_at_every_call_loses_no_phase(
    ram: Path, monkeypatch: pytest.MonkeyPatch, reference: list[Any]
) -> None:
    commit = RunState.commit
    cut = 0
    while True:
        cut += 1
        root = ram / f"disk{cut}"
        root.mkdir()
        images = [(ram / f"cut{cut}_{seed}", seed) for seed in (None, 1, 2)]
        done: list[tuple[int, str]] = []

        def told(state: RunState, at: int, phase: str, to: list[Any] = done, **rows: Any) -> None:
            commit(state, at, phase, **rows)
            to.append((at, phase))

        with monkeypatch.context() as patch:
            disk = LossyDisk(root, cut)
            patch.setattr(RunState, "commit", told)
            disk.install(patch, images)
            try:
                assert scripted_run(root / "run") == reference
                break
            except PowerCutError:
                pass
        for image, seed in images:
            if done:
                with RunState.open(image / "run") as state:
                    assert all(state.is_done(*phase) for phase in done), f"cut {cut}, seed {seed}"
            assert scripted_run(image / "run") == reference, f"cut {cut}, seed {seed}"
            shutil.rmtree(image)
        shutil.rmtree(root)
    assert cut > 40


def test_a_lost_sync_would_be_seen(ram: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk above finds a writer that does not sync: without it, a cut leaves nothing of the file."""
    root, image = ram / "disk", ram / "image"
    root.mkdir()
    with monkeypatch.context() as patch:
        LossyDisk(root, 1).install(patch, [(image, None)])
        (root / "file").write_bytes(b"not synced")
        with pytest.raises(PowerCutError):
            os.unlink(root / "other")
    assert list(image.iterdir()) == []


@pytest.mark.parametrize("code", ERRORS)
@pytest.mark.parametrize("call", [*CALLS, "write"])
def test_every_failing_call_is_told_and_the_run_goes_on(
    ram: Path, monkeypatch: pytest.MonkeyPatch, reference: list[Any], call: str, code: int
) -> None:
    nth = 0
    while True:
        nth += 1
        run_dir = ram / str(nth) / "run"
        disk = FailingDisk(ram, call, nth, code)
        with monkeypatch.context() as patch:
            disk.install(patch)
            try:
                assert scripted_run(run_dir) == reference
            except StateError as error:
                assert os.strerror(code) in str(error)
                assert all(problem.cure and str(ram) in problem.where for problem in error.problems)
        if not disk.hit:
            break
        assert scripted_run(run_dir) == reference, f"{call} {nth}"
    assert nth > (1 if call == "unlink" else 3)


def test_database_full_at_every_page_is_told_and_keeps_the_phases(ram: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = Database.open.__func__  # type: ignore[attr-defined]
    items = [{"id": f"i{n}", "sha256": "s" * 64, "label": 0, "split": "train"} for n in range(200)]
    with RunState.open(ram / "empty") as state:
        first = state._database.rows("PRAGMA page_count")[0][0]

    def run(folder: Path) -> int:
        with RunState.open(folder) as state:
            state.register_run({}, [], items, "data")
            for at in range(2):
                if not state.is_done(at, "query"):
                    state.commit(at, "query", queries=[(item["id"], 0.5) for item in items])
            assert len(state.queries()) == 2 * len(items)
            return state._database.rows("PRAGMA page_count")[0][0]

    last = run(ram / "reference")
    assert last > first + 5
    for limit in range(first, last):

        def small(kind: type[Database], path: Path, pages: int = limit) -> Database:
            database = opened(kind, path)
            database.rows(f"PRAGMA max_page_count = {pages}")
            return database

        with monkeypatch.context() as patch:
            patch.setattr(Database, "open", classmethod(small))
            with pytest.raises(StateError, match=r"disk is full.*Free disk space"):
                run(ram / str(limit))
        assert run(ram / str(limit)) == last


def test_log_torn_anywhere_ends_in_whole_phases(ram: Path, tmp_path: Path) -> None:
    run_dir = ram / "run"
    with RunState.open(run_dir) as state:
        state.register_run({}, [], [{"id": i, "sha256": "s", "label": 0, "split": "train"} for i in IMAGES], "d")
        with StateReader.open(run_dir):  # keeps the log from being folded into the one file
            for at in range(4):
                state.commit(at, "query", queries=[(image, 0.5) for image in IMAGES], metrics={"dice": 0.5})
            log = (run_dir / "state.sqlite-wal").read_bytes()
            whole = (run_dir / "state.sqlite").read_bytes()
    frames = (len(log) - LOG_HEADER) // FRAME
    assert frames > 8
    rng = random.Random(0)
    cuts = [0, *(LOG_HEADER + FRAME * n for n in range(frames + 1)), *rng.sample(range(len(log)), 20)]
    survived = []
    for number, cut in enumerate(sorted(cuts)):
        for name, tail in (("cut", b""), ("torn", rng.randbytes(len(log) - cut))):
            copy = ram / f"{name}{number}"
            copy.mkdir()
            (copy / "state.sqlite").write_bytes(whole)
            (copy / "state.sqlite-wal").write_bytes(log[:cut] + tail)
            with RunState.open(copy) as state:
                done = [at for at in range(4) if state.is_done(at, "query")]
                assert done == list(range(len(done)))
                assert len(state.queries()) == len(IMAGES) * len(done)
                assert sorted(state.metrics()) == done
            if name == "cut":
                survived.append(len(done))
    assert survived == sorted(survived)
    assert survived[-1] == 4


def test_full_small_disk_is_told_and_cured_by_space(tmp_path: Path, reference: list[Any]) -> None:
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=160k", "none", tmp_path], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"no right to mount a small disk: {mounted.stderr.strip()}")
    try:
        told = 0
        for filled in range(0, 160, 8):
            (tmp_path / "filler").write_bytes(b"")
            shutil.rmtree(tmp_path / "run", ignore_errors=True)
            try:
                (tmp_path / "filler").write_bytes(bytes(filled * 1024))
                scripted_run(tmp_path / "run")
            except StateError as error:
                assert "run the same command again" in str(error)
                told += 1
        assert told > 3
        (tmp_path / "filler").unlink()
        subprocess.run(["mount", "-o", "remount,size=2m", tmp_path], check=True)
        assert scripted_run(tmp_path / "run") == reference
    finally:
        subprocess.run(["umount", tmp_path], check=True)


@pytest.mark.parametrize("begun", [False, True])
def test_read_only_folder_is_told(ram: Path, begun: bool) -> None:
    if os.getuid() != 0:
        pytest.skip("needs root to become a user without rights")
    run_dir = ram / "run"
    if begun:
        scripted_run(run_dir)
    ram.chmod(0o755)
    before = sorted(ram.rglob("*"))
    process = os.fork()
    if process == 0:
        status = 1
        try:
            os.setuid(NOBODY)
            RunState.open(run_dir)
        except StateError as error:
            status = 3 if str(run_dir) in str(error) and "ermission" in str(error) else 4
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 3
    assert sorted(ram.rglob("*")) == before


def test_second_process_exits_naming_the_first_and_takes_over_when_it_died(ram: Path) -> None:
    code = "import sys; from scripts.state.run_state import RunState; "
    code += "s = RunState.open(sys.argv[1]); print('open', flush=True)"
    root = Path(__file__).resolve().parents[2]
    arguments = [sys.executable, "-c", code + "; sys.stdin.read()", ram / "run"]
    with subprocess.Popen(arguments, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as first:
        assert first.stdout is not None
        first.stdout.readline()
        second = subprocess.run(
            [sys.executable, "-c", code, ram / "run"], cwd=root, capture_output=True, text=True, check=False
        )
        assert second.returncode == 1
        assert f"pid {first.pid} on host {socket.gethostname()}" in second.stderr
        first.kill()
        first.wait()
    RunState.open(ram / "run").close()


def test_thousand_submissions_of_eight_threads_are_all_kept(ram: Path) -> None:
    with RunState.open(ram / "run") as state:
        state.register_run({}, [], [{"id": i, "sha256": "s", "label": 0, "split": "train"} for i in IMAGES], "d")

        def submit(worker: int) -> None:
            for number in range(125):
                mask = state.put_blob(f"{worker} {number}".encode())
                row = LabelRow(IMAGES[number % len(IMAGES)], 0, mask, 1, 1, 0.0)
                state.commit(0, f"label {worker} {number}", labels=[row])

        threads = [threading.Thread(target=submit, args=(worker,)) for worker in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        found = sorted(state.read_blob(row.blob).decode() for row in state.labels())
        assert found == sorted(f"{worker} {number}" for worker in range(8) for number in range(125))
        assert len({(row.id, row.version) for row in state.labels()}) == 1000
