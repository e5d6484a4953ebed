"""One writer per run, across processes, threads' descriptors, kills and forks."""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from scripts.core.errors import StateError
from scripts.core.lock import FileLock, HeldError, held, holder_of

ROOT = Path(__file__).resolve().parents[2]
HOLD = "import sys, time; from pathlib import Path; from scripts.core.lock import FileLock; "
HOLD += "lock = FileLock(Path(sys.argv[1])); print('held', flush=True); time.sleep(60)"


def test_second_holder_is_refused_and_told_who_holds(tmp_path: Path) -> None:
    first = FileLock(tmp_path / "lock")
    with pytest.raises(StateError, match=f"pid {os.getpid()} on host {socket.gethostname()}"):
        FileLock(tmp_path / "lock")
    first.release()
    first.release()
    FileLock(tmp_path / "lock").release()


def test_lock_of_a_killed_process_is_taken_over(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLD, str(tmp_path / "lock")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(StateError, match=f"pid {holder.pid} on"):
            FileLock(tmp_path / "lock")
        holder.send_signal(signal.SIGKILL)
    assert str(holder.pid) in (tmp_path / "lock").read_text()
    FileLock(tmp_path / "lock").release()


def test_forked_child_does_not_keep_the_lock(tmp_path: Path) -> None:
    lock = FileLock(tmp_path / "lock")
    ready, done = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(done, b"1")
        time.sleep(60)
        os._exit(0)
    try:
        os.read(ready, 1)
        lock.release()
        FileLock(tmp_path / "lock").release()
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_child_that_ends_leaves_the_parent_locked(tmp_path: Path) -> None:
    lock = FileLock(tmp_path / "lock")
    child = os.fork()
    if child == 0:
        lock.release()
        os._exit(0)
    os.waitpid(child, 0)
    with pytest.raises(StateError, match="in use"):
        FileLock(tmp_path / "lock")
    lock.release()


@pytest.mark.parametrize("text", ["", "{", "[]", "\xff"])
def test_unreadable_holder_is_still_a_holder(tmp_path: Path, text: str) -> None:
    lock = FileLock(tmp_path / "lock")
    (tmp_path / "lock").write_text(text)
    with pytest.raises(StateError, match="process id is not known"):
        FileLock(tmp_path / "lock")
    lock.release()


def test_folder_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="nowhere"):
        FileLock(tmp_path / "nowhere" / "lock")


def test_holder_is_named_without_taking_the_lock(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    assert holder_of(path) is None
    lock = FileLock(path)
    assert f"pid {os.getpid()} on host {socket.gethostname()}, since 2" in (holder_of(path) or "")
    path.write_bytes(b"{")
    assert holder_of(path) == "its process id is not known"
    lock.release()
    assert holder_of(path) is None
    FileLock(path).release()


@pytest.mark.parametrize("pid", [str(10**30), "1e400", "-1", '"x"', "[" * 100_000, "9" * 5000])
def test_a_file_that_names_no_process_names_no_holder(tmp_path: Path, pid: str) -> None:
    (tmp_path / "lock").write_text(f'{{"host": "{socket.gethostname()}", "since": 1, "pid": {pid}}}')
    assert holder_of(tmp_path / "lock") is None


def test_a_killed_holder_is_none(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        assert f"pid {holder.pid} on host" in (holder_of(path) or "")
        holder.send_signal(signal.SIGKILL)
    assert holder_of(path) is None
    path.write_text("{")  # as while its name is being written
    assert holder_of(path) is None
    path.write_text(f'{{"pid": {os.getpid()}, "host": "{socket.gethostname()}"}}')  # a process id that was used again
    assert holder_of(path) is None


def test_what_is_held_is_waited_for_and_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "made" / "lock"
    with held(path, "the thing") as first:
        threading.Timer(1.2, first.release).start()
        begun = time.monotonic()
        with caplog.at_level(logging.INFO), held(path, "the thing"):
            assert time.monotonic() - begun > 1.0
    assert len(caplog.messages) == 1
    assert caplog.messages[0].startswith(f"waiting for the thing: pid {os.getpid()} on host")
    FileLock(path).release()


def test_waiting_can_be_given_up(tmp_path: Path) -> None:
    lock = FileLock(tmp_path / "lock")
    with pytest.raises(HeldError, match="in use"), held(tmp_path / "lock", "it", lambda: True):
        pass
    lock.release()
    with held(tmp_path / "lock", "it", lambda: True), pytest.raises(HeldError):
        FileLock(tmp_path / "lock")


def test_an_error_inside_gives_the_lock_back(tmp_path: Path) -> None:
    with pytest.raises(KeyError), held(tmp_path / "lock", "it"):
        raise KeyError
    FileLock(tmp_path / "lock").release()


def test_a_process_that_inherits_the_lock_holds_it_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    lock = FileLock(path)
    with subprocess.Popen(["sleep", "60"], pass_fds=[lock.descriptor]) as heir:
        lock.name_holder(heir.pid)
        with pytest.raises(HeldError, match=f"pid {heir.pid} on"):
            FileLock(path)
        os.close(lock.descriptor)  # as when the process that took it is killed
        lock._descriptor = None
        with pytest.raises(HeldError, match=f"pid {heir.pid} on"):
            FileLock(path)
        assert f"pid {heir.pid} on" in (holder_of(path) or "")
        heir.kill()
    assert holder_of(path) is None
    FileLock(path).release()
    with pytest.raises(ValueError, match="given back"):
        lock.descriptor  # noqa: B018
