"""Threads of torch: measured where nobody says how many, kept by a run, and asleep while they wait."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from scripts.core.errors import InputError, StateError
from scripts.core.machine import threads
from scripts.core.machine.threads import fastest, keep_threads, measured_seconds, use_threads

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(autouse=True)
def _as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Each test with the threads of the others after it, and without what the user's environment says."""
    before = torch.get_num_threads()
    for name in ("OMP_NUM_THREADS", "OMP_WAIT_POLICY", "GOMP_SPINCOUNT"):
        monkeypatch.delenv(name, raising=False)
    yield
    torch.set_num_threads(before)


def clocked(monkeypatch: pytest.MonkeyPatch, seconds: dict[int, float]) -> tuple[Callable[[], None], list[int]]:
    """Work that takes ``seconds`` with each number of threads, by a clock of its own, and the numbers it ran with."""
    clock, ran = [0.0], list[int]()

    def work() -> None:
        ran.append(torch.get_num_threads())
        clock[0] += seconds[ran[-1]]

    monkeypatch.setattr(threads, "time", SimpleNamespace(perf_counter=lambda: clock[0]))
    return work, ran


def machine(monkeypatch: pytest.MonkeyPatch, seconds: dict[int, float]) -> None:
    """A machine with as many cores as the most threads, on which the sample takes ``seconds`` with each number."""
    work, _ = clocked(monkeypatch, seconds)
    monkeypatch.setattr(threads, "cores", lambda: max(seconds))
    monkeypatch.setattr(threads, "_sample", lambda size, training=False: work)


def test_a_number_is_used_as_it_is(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        assert use_threads(2) == torch.get_num_threads() == 2
    assert caplog.messages == ["threads: 2 (as set)"]


@pytest.mark.parametrize("value", [0, -1, True, 1.5, "two", None])
def test_anything_else_is_refused(value: object) -> None:
    with pytest.raises(InputError, match="threads"):
        use_threads(value)  # type: ignore[arg-type]


@pytest.mark.parametrize(("text", "count"), [("3", 3), ("2,1", 2)])
def test_the_environment_is_the_users_choice(monkeypatch: pytest.MonkeyPatch, text: str, count: int) -> None:
    machine(monkeypatch, {1: 0.0})
    monkeypatch.setenv("OMP_NUM_THREADS", text)
    assert use_threads("auto") == torch.get_num_threads() == count


@pytest.mark.parametrize("text", ["", "many", "0"])
def test_what_openmp_cannot_read_is_no_choice(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    machine(monkeypatch, {1: 0.0})
    monkeypatch.setenv("OMP_NUM_THREADS", text)
    assert use_threads("auto") == 1


@pytest.mark.parametrize(
    ("seconds", "count"),
    [
        ({1: 0.02, 2: 0.01}, 2),
        ({1: 0.02, 2: 0.018}, 1),  # faster, not by the margin
        ({1: 0.01, 2: 0.04}, 1),
        ({1: 0.04, 2: 0.02, 4: 0.01, 6: 0.02}, 4),
    ],
)
def test_several_are_taken_where_they_are_clearly_faster(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, seconds: dict[int, float], count: int
) -> None:
    machine(monkeypatch, seconds)
    with caplog.at_level(logging.INFO):
        assert use_threads("auto") == torch.get_num_threads() == count
    (told,) = caplog.messages
    assert told.startswith(f"threads: {count} (measured: 1: ") and told.count(" ms") == len(seconds)


def test_one_lucky_turn_is_not_enough() -> None:
    slow, fast = [1.0] * 7, [0.5] * 7
    assert fastest({1: slow, 2: fast}) == 2
    assert fastest({1: slow, 2: [*fast[1:], 9.0]}) == 2  # another program came in between once
    assert fastest({1: slow, 2: [*fast[2:], 1.0, 1.0]}) == 1
    assert fastest({1: slow, 2: [1.6]}) == 1 == fastest({1: []})


def test_a_hopeless_number_is_not_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    work, ran = clocked(monkeypatch, {1: 0.1, 2: 0.2})
    found = measured_seconds(work, (1, 2), turns=5)
    assert (ran.count(1), ran.count(2)) == (6, 2)  # one untimed call each
    assert (len(found[1]), len(found[2])) == (5, 1)


def test_nothing_is_timed_with_one_core(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "cores", lambda: 1)
    monkeypatch.setattr(threads, "_sample", lambda size, training: pytest.fail)
    assert use_threads("auto") == 1


@pytest.mark.parametrize("training", [False, True])
def test_the_sample_is_short_at_any_size(training: bool) -> None:
    for size in (None, (192, 256), "$a", (8, 8), (10**5, 10**5)):
        work = threads._sample(size, training)  # type: ignore[arg-type]
        work()
        started = time.process_time()
        work()
        assert time.process_time() - started < 1.0


class TestOfARun:
    """A run keeps the number it was started with."""

    def test_a_run_that_begins_keeps_what_was_chosen(self) -> None:
        torch.set_num_threads(2)
        assert keep_threads(None) == keep_threads(2, 2) == torch.get_num_threads() == 2

    def test_its_number_wins_over_another_choice(self, caplog: pytest.LogCaptureFixture) -> None:
        torch.set_num_threads(2)
        with caplog.at_level(logging.INFO):
            assert keep_threads(1, "auto") == torch.get_num_threads() == 1
        assert len(caplog.messages) == 1 and "with which the run was started" in caplog.text

    def test_also_where_it_is_slow_and_says_so(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        machine(monkeypatch, {1: 0.005, 2: 0.02})
        torch.set_num_threads(1)
        with caplog.at_level(logging.WARNING):
            assert keep_threads(2) == torch.get_num_threads() == 2
        (told,) = caplog.messages
        assert told.startswith("threads: one would be faster")

    def test_another_number_is_refused(self) -> None:
        torch.set_num_threads(2)
        with pytest.raises(StateError, match="threads") as caught:
            keep_threads(1, 2)
        (problem,) = caught.value.problems
        assert (problem.expected, problem.found) == ("1", "2")
        assert torch.get_num_threads() == 2


WAITED = """
import os, resource, sys, time, torch
from scripts.core.machine import threads
torch.set_num_threads(2)
pool = threads._IdlePool() if "OMP_WAIT_POLICY" not in os.environ else None
x = torch.zeros(1 << 20)
def seconds():
    x.add_(1.0)
    before = resource.getrusage(resource.RUSAGE_SELF)
    for _ in range(40):
        x.add_(1.0)
        time.sleep(0.005)
    after = resource.getrusage(resource.RUSAGE_SELF)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
print(seconds())
if pool is not None:
    pool.end()
    time.sleep(0.5)
    print(seconds())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux") or threads.cores() < 2, reason="GNU's OpenMP, two cores")
def test_waiting_threads_sleep() -> None:
    """The second thread has work for some of each 5 ms; awake all the time it would take the time of a core."""

    def seconds(**environment: str) -> list[float]:
        known = {name: text for name, text in os.environ.items() if not name.startswith(("OMP_", "GOMP_"))}
        env = {**known, **environment, "PYTHONPATH": str(ROOT)}
        done = subprocess.run([sys.executable, "-c", WAITED], env=env, capture_output=True, text=True, check=True)
        return [float(line) for line in done.stdout.split()]

    (awake,) = seconds(OMP_WAIT_POLICY="active")
    assert awake > 0.15
    asleep, after = seconds()
    assert asleep < 0.5 * awake
    assert after > 1.5 * asleep  # the pool has ended


class TestWatch:
    """Waiting threads sleep at once when other programs need the cores, and wake when those have ended for a while."""

    @pytest.fixture
    def pools(self, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        monkeypatch.setattr(threads, "cores", lambda: 4)
        return []

    def watch(self, pools: list[str], count: int) -> threads._Watch:
        def made() -> SimpleNamespace:
            pools.append("made")
            return SimpleNamespace(end=lambda: pools.append("ended"))

        return threads._Watch(count, made)  # type: ignore[arg-type]

    def test_follows_the_load(self, pools: list[str]) -> None:
        watch = self.watch(pools, 4)
        for others in (0.0, 0.2, 0.1):
            watch.look(others)
        assert pools == []
        for others in (0.7, 0.9, *[0.0] * 5, 0.7, *[0.0] * 5):
            watch.look(others)
        assert pools == ["made"]
        watch.look(0.0)
        assert pools == ["made", "ended"]
        watch.look(1.0)
        assert pools == ["made", "ended", "made"]

    def test_cores_that_are_free_can_be_used_by_others(self, pools: list[str]) -> None:
        watch = self.watch(pools, 2)
        watch.look(2.0)
        assert pools == []
        watch.look(2.5)
        assert pools == ["made"]

    @pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc/stat")
    def test_what_this_process_uses_is_not_others(self) -> None:
        before = threads._cpu_seconds()
        until = time.process_time() + 0.3
        while time.process_time() < until:
            pass
        passed, all_, own = (b - a for a, b in zip(before, threads._cpu_seconds(), strict=True))
        assert 0.29 < own < passed + 0.1
        assert all_ > own - 0.1
