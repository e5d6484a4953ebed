"""The process of a run: its log, its end, and that nobody starts a second one beside it."""

from __future__ import annotations

import os
import resource
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from scripts.core.lock import FileLock, HeldError
from scripts.studies.process import ended_by_signals, last_words, run_process
from tests.support.study_runs import fake_run


def test_what_it_prints_and_how_it_ends(tmp_path: Path) -> None:
    run = fake_run(tmp_path, "import os, sys; print(os.environ['OMP_NUM_THREADS'], sys.stdin.read() == '')")
    started = []
    ended = run_process(run, 3, lambda run, number: started.append(number))
    assert (ended.code, ended.words) == (0, "")
    assert ended.seconds > 0
    assert run.log.read_text() == "3 True\n"
    assert len(started) == 1
    FileLock(run.lock).release()


def test_memory_is_counted_in_gib(tmp_path: Path) -> None:
    """Linux hands the peak of the process of the tests on to the run, whatever it was: the run needs more than that."""
    unit = 1 if sys.platform == "darwin" else 1024
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    needed = own + 100 * 2**20
    ended = run_process(fake_run(tmp_path, f"a = bytearray({needed}); a[::1000] = b'x' * len(a[::1000])"), 1)
    assert ended.code == 0
    assert needed < ended.peak_gb * 2**30 < needed + 50 * 2**20


@pytest.mark.parametrize(
    ("code", "status", "words"),
    [
        (
            "import sys; print('a'); sys.exit('error: the cause\\n  - in two lines')",
            1,
            "error: the cause - in two lines",
        ),
        ("raise ValueError('no such thing')", 1, "ValueError: no such thing"),
        ("import os; print('busy', flush=True); os.kill(os.getpid(), 9)", -9, "SIGKILL: by a person, or by the system"),
        ("import os; os.kill(os.getpid(), 15)", -15, "ended by SIGTERM."),
        ("import sys; sys.exit('\\x1b[31m')", 1, "\\x1b[31m"),
        ("import sys; sys.exit(4)", 4, ""),
    ],
)
def test_why_it_failed(tmp_path: Path, code: str, status: int, words: str) -> None:
    ended = run_process(fake_run(tmp_path, code), 1)
    assert ended.code == status
    assert words in ended.words


def test_words_of_an_earlier_start_are_not_told(tmp_path: Path) -> None:
    run_process(fake_run(tmp_path, "import sys; sys.exit('error: old')"), 1)
    run = fake_run(tmp_path, "import os; os.kill(os.getpid(), 9)")
    ended = run_process(run, 1)
    assert "old" not in ended.words
    assert "error: old" in run.log.read_text()
    run.log.unlink()
    assert last_words(run, 1).startswith("no log")


def test_a_place_that_cannot_be_written_fails_the_run_alone(tmp_path: Path) -> None:
    run = fake_run(tmp_path)
    run.output_dir.write_text("a file")
    ended = run_process(run, 1)
    assert ended.code == 1 and "cannot be started" in ended.words


def test_the_process_that_a_killed_study_left_is_waited_for(tmp_path: Path) -> None:
    """Its run takes no lock of its own yet: it is still loading."""
    code = (
        "import time, os; open(FOLDER + '/begun', 'a').write('x'); time.sleep(1); open(FOLDER + '/end', 'a').write('x')"
    )
    study = os.fork()
    if study == 0:
        run_process(fake_run(tmp_path, code), 1)
        os._exit(0)
    while not (tmp_path / "begun").exists():
        time.sleep(0.01)
    os.kill(study, signal.SIGKILL)
    os.waitpid(study, 0)
    run = fake_run(tmp_path, code)
    with pytest.raises(HeldError, match="pid"):
        FileLock(run.lock)
    assert not (tmp_path / "end").exists()
    ended = run_process(fake_run(tmp_path, "print((FOLDER, open(FOLDER + '/end').read()))"), 1)
    assert ended.code == 0
    assert (tmp_path / "begun").read_text() == (tmp_path / "end").read_text() == "x"


def test_a_run_that_somebody_started_by_hand_is_waited_for(tmp_path: Path) -> None:
    run = fake_run(tmp_path)
    run.folder.mkdir(parents=True)
    lock = FileLock(run.folder / "lock")
    threading.Timer(0.7, lock.release).start()
    begun = time.monotonic()
    assert run_process(run, 1).code == 0
    assert time.monotonic() - begun > 0.6


@pytest.mark.parametrize("inner", [True, False])
def test_waiting_ends_when_it_is_told(tmp_path: Path, inner: bool) -> None:
    run, stop = fake_run(tmp_path), threading.Event()
    path = run.folder / "lock" if inner else run.lock
    path.parent.mkdir(parents=True)
    lock = FileLock(path)
    threading.Timer(0.2, stop.set).start()
    ended = run_process(run, 1, stop=stop)
    assert (ended.code, ended.words) == (130, "interrupted before its process was started")
    assert not run.log.exists()
    lock.release()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_polite_signals_are_like_ctrl_c(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt), ended_by_signals():
        os.kill(os.getpid(), number)
        time.sleep(5)
    assert signal.getsignal(number) == before


def test_ignored_signals_stay_ignored_and_threads_set_none() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with ended_by_signals():
            os.kill(os.getpid(), signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)
    found = []

    def inside() -> None:
        with ended_by_signals():
            found.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=inside)
    thread.start()
    thread.join()
    assert found == [signal.getsignal(signal.SIGTERM)]
