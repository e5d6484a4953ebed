"""A job's end is always told, also of one that could not start; one of a kind at a time. No server is started."""

from __future__ import annotations

import importlib
import json
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from scripts.core.errors import StateError
from tests.support.label_server import APP, require_monailabel

require_monailabel()
pytestmark = pytest.mark.label


@pytest.fixture(scope="module")
def module() -> Any:
    sys.path.insert(0, str(APP))
    try:
        yield importlib.import_module("lib.work.jobs")
    finally:
        sys.path.remove(str(APP))


@pytest.fixture()
def jobs(module: Any) -> Any:
    return module.Jobs("a training", "/train/")


def command(code: str, folder: Path) -> dict[str, Any]:
    return {"what": "train", "command": [sys.executable, "-c", code], "folder": str(folder)}


def ended(jobs: Any) -> Any:
    deadline = time.monotonic() + 30
    while jobs.is_running and time.monotonic() < deadline:
        time.sleep(0.02)
    return jobs.last()


def yes() -> None:
    pass


def test_done(jobs: Any, tmp_path: Path) -> None:
    jobs.start("joint", command("print('one\\ntwo')", tmp_path), yes, lambda: {"round": 0})
    job = ended(jobs)
    assert (job.status, job.result, list(job.lines)) == ("DONE", {"round": 0}, ["one", "two"])
    assert job.told(False)["details"] == []
    assert job.told(True)["details"] == ["one", "two"]
    assert job.told(True)["end_ts"]


def test_failed_with_its_last_line(jobs: Any, tmp_path: Path) -> None:
    jobs.start("joint", command("print('error: no\\n'); raise SystemExit(3)", tmp_path), yes, dict)
    job = ended(jobs)
    assert (job.status, job.error) == ("ERROR", "it ended with exit code 3: error: no")


@pytest.mark.parametrize(
    "error",
    [OSError(24, "Too many open files"), MemoryError(), RuntimeError("can't start new thread"), ValueError("x")],
)
def test_could_not_start(
    jobs: Any, module: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*args: Any, **more: Any) -> None:
        raise error

    monkeypatch.setattr(module.subprocess, "Popen", fail)
    jobs.start("joint", command("", tmp_path), yes, dict)
    job = ended(jobs)
    assert job.status == "ERROR"
    assert not jobs.is_running
    monkeypatch.undo()
    jobs.start("joint", command("", tmp_path), yes, dict)
    assert ended(jobs).status == "DONE"


def test_no_thread_could_start(jobs: Any, module: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class NoThread:
        def __init__(self, **more: Any) -> None:
            pass

        def start(self) -> None:
            raise RuntimeError("can't start new thread")

    monkeypatch.setattr(module.threading, "Thread", NoThread)
    assert jobs.start("joint", command("", tmp_path), yes, dict).status == "ERROR"
    assert not jobs.is_running


def test_a_result_that_fails(jobs: Any, tmp_path: Path) -> None:
    def fail() -> dict[str, Any]:
        raise StateError([])

    jobs.start("joint", command("", tmp_path), yes, fail)
    assert ended(jobs).status == "ERROR"


def test_one_at_a_time_however_many_ask(jobs: Any, tmp_path: Path) -> None:
    refused, lock = [], threading.Lock()

    def ask() -> None:
        try:
            jobs.start("joint", command("import time; time.sleep(1)", tmp_path), lambda: time.sleep(0.05), dict)
        except StateError as error:
            with lock:
                refused.append(str(error))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refused) == 7
    assert all("a training goes on" in text for text in refused)
    assert ended(jobs).status == "DONE"
    assert len(jobs.all()) == 1


def test_not_the_time_for_it(jobs: Any, tmp_path: Path) -> None:
    def no() -> None:
        raise StateError([])

    with pytest.raises(StateError):
        jobs.start("joint", command("", tmp_path), no, dict)
    assert jobs.last() is None


def test_stopped_with_all_it_started(jobs: Any, tmp_path: Path) -> None:
    code = f"import time; open({str(tmp_path / 'began')!r}, 'w'); time.sleep(3); open({str(tmp_path / 'end')!r}, 'w')"
    jobs.start("joint", command(code, tmp_path), yes, dict)
    deadline = time.monotonic() + 20
    while not (tmp_path / "began").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    stopped = jobs.stop()
    assert (stopped.status, jobs.is_running, jobs.stop()) == ("STOPPED", False, None)
    time.sleep(3.2)
    assert not (tmp_path / "end").exists()
    assert jobs.last().status == "STOPPED"


def test_stopping_one_that_has_just_ended_signals_nobody(
    jobs: Any, module: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its process number may be another's by then."""
    jobs.start("joint", command("", tmp_path), yes, dict)
    job = ended(jobs)
    assert job.process.returncode == 0
    job.status = "RUNNING"  # as it is for a moment between the two

    def fail(*numbers: int) -> None:
        raise AssertionError(numbers)

    monkeypatch.setattr(module.os, "killpg", fail)
    assert jobs.stop().status == "STOPPED"


def test_lines_cannot_forge_others(jobs: Any, tmp_path: Path) -> None:
    jobs.start("joint", command("print('a\\x1b[2J\\rb')", tmp_path), yes, dict)
    assert all("\x1b" not in line and "\r" not in line for line in ended(jobs).lines)


def test_the_child_gets_what_it_is_told_and_no_more(module: Any) -> None:
    """Nothing of a client stands on its command line or in its environment: all of it comes by its standard input."""
    text = Path(module.__file__).read_text()
    assert "[sys.executable, str(CHILD)]" in text
    assert json.dumps({"what": "score"}) == '{"what": "score"}'
