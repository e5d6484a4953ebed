"""Threads of torch on the CPU: how many compute, and how they wait for one another.

Many small pieces of work are handed from thread to thread in a network. Two things follow. More threads are often no
faster, so their number is measured before the first piece of work, on the machine as it is then. And threads that keep
a core busy while they wait are the fastest on an idle machine, but take the core from the thread they wait for as soon
as another program needs it: with one busy program on two cores, two such threads were 4 to 14 times slower than one. So
where more than one computes, waiting ones sleep while other programs need the cores.

A sum of floats depends on how it was split. The number is therefore chosen once, before anything is computed, and never
follows the load after that; a run keeps the number it was started with. How threads wait changes no sum.
"""

from __future__ import annotations

import logging
import os
import statistics
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch.nn import functional

from scripts.core.errors import InputError, Problem, StateError
from scripts.core.machine.hardware import cores

logger = logging.getLogger(__name__)

AUTO = "auto"
MARGIN = 1.25
"""So many times faster than one thread must several be to be taken: the sample is not the work itself."""
_TURNS = 7
_HOPELESS = 1.5  # times slower than one thread in a turn: not tried again, for beside a busy program it may take long
_LARGEST = 512  # pixels of a side of the sample
_USUAL = (256, 256)
_GRAIN = 32768  # elements that torch gives to a thread at least
WAITING = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
"""Environment variables by which a user says how threads wait."""
_LOOK_SECONDS = 0.5
_CALM = 6  # looks at an idle machine, one after the other, before waiting threads keep their cores again
_SPARE = 0.3  # of a core: what small programs use at all times

Work = Callable[[], Any]


def use_threads(threads: int | str = AUTO, size: Sequence[int] | None = None, training: bool = False) -> int:
    """Set the number of threads that torch computes with in this process, say which, and return it.

    The bundle's ``initialize`` calls it, before anything is computed.

    Args:
        threads: a number; ``"auto"`` for that of the environment variable ``OMP_NUM_THREADS`` where the user set one,
            else for a measured one (:func:`measured_seconds`).
        size: (height, width) in pixels of what the network works at; None where it is not known yet.
        training: most of the work is that of trainings, whose batches are easier to share than single images.

    Raises:
        InputError: neither a number from 1 nor ``"auto"``.
    """
    if not (threads == AUTO or (isinstance(threads, int) and not isinstance(threads, bool) and threads >= 1)):
        raise InputError(Problem("value cannot be used", "threads", 'a whole number from 1 or "auto"', repr(threads)))
    asked = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    if isinstance(threads, int):
        chosen, why = threads, "as set"
    elif asked.isdecimal() and int(asked) > 0:
        chosen, why = int(asked), "OMP_NUM_THREADS"
    else:
        seconds = measured_seconds(_sample(size, training), _candidates(cores()))
        chosen, why = fastest(seconds), _told(seconds)
    _set(chosen)
    _watch(chosen)
    logger.info("threads: %d (%s)", chosen, why)
    return chosen


def keep_threads(stored: int | None, asked: Any = AUTO, size: Sequence[int] | None = None) -> int:
    """Go on with the number of threads that a run was started with, and return it.

    Args:
        stored: that number; None for a run that begins, which keeps what :func:`use_threads` set.
        asked: the value of ``threads`` in the config.
        size: see :func:`use_threads`.

    Raises:
        StateError: the config asks for another number.
    """
    now = torch.get_num_threads()
    if stored is None or stored == now:
        return now
    if isinstance(asked, int):
        cure = "Go on with the old value, or choose another output folder for a new run."
        problem = Problem("setting differs from that of the run", "threads", str(stored), str(asked), cure)
        raise StateError(problem)
    _set(stored)
    logger.info("threads: %d, with which the run was started; its results depend on the number", stored)
    if stored > 1:
        seconds = measured_seconds(_sample(size, training=True), (1, stored))
        if statistics.median(seconds[stored]) > _HOPELESS * statistics.median(seconds[1]):
            logger.warning("threads: one would be faster on this machine at present (%s)", _told(seconds))
        _set(stored)
    _watch(stored)
    return stored


def measured_seconds(work: Work, counts: Sequence[int], turns: int = _TURNS) -> dict[int, list[float]]:
    """Return number of threads -> seconds of ``work``; the numbers take turns, after one untimed call each.

    Args:
        work: what is timed.
        counts: numbers of threads, 1 first. A single one is not timed: there is nothing to choose.
        turns: how often each is timed. One that is hopelessly slow once is not timed again.
    """
    found: dict[int, list[float]] = {count: [] for count in counts}
    before = torch.get_num_threads()
    for turn in range(turns + 1 if len(counts) > 1 else 0):
        for count in counts:
            if found[count] and found[count][-1] > _HOPELESS * found[1][-1]:
                continue
            _set(count)
            started = time.perf_counter()
            work()
            if turn:
                found[count].append(time.perf_counter() - started)
    torch.set_num_threads(before)
    return found


def fastest(seconds: Mapping[int, Sequence[float]]) -> int:
    """Return the number of threads with the least median, of those faster than one by :data:`MARGIN`; 1 without any.

    Args:
        seconds: as of :func:`measured_seconds`. Faster means in all turns but one: what other programs do moves single
            turns, and a number that was lucky would stay for a whole run.
    """

    def is_faster(times: Sequence[float]) -> bool:
        pairs = zip(times, seconds[1], strict=False)
        return len(times) == len(seconds[1]) and sum(MARGIN * time > one for time, one in pairs) <= 1

    faster = [count for count, times in seconds.items() if count > 1 and is_faster(times)]
    return min(faster, key=lambda count: statistics.median(seconds[count]), default=1)


def _set(threads: int) -> None:
    torch.set_num_threads(threads)


class _IdlePool:
    """A second set of OpenMP threads, one for each core, that never has work: while it is there, waiting threads sleep.

    GNU's OpenMP, which torch comes with on Linux, reads its policy when it is loaded, before any line of ours. It gives
    up busy waiting (100 turns of a loop in place of 300,000) while the process has more of its threads than there are
    cores.
    """

    def __init__(self) -> None:
        self._ended, ready = threading.Event(), threading.Event()

        def occupy() -> None:
            count = max(2, cores())
            torch.set_num_threads(count)
            torch.zeros(_GRAIN * count).add_(1.0)
            ready.set()
            self._ended.wait()

        threading.Thread(target=occupy, name="sleeping threads of OpenMP", daemon=True).start()
        ready.wait()

    def end(self) -> None:
        """Let waiting threads keep their cores again."""
        self._ended.set()


class _Watch:
    """Lets waiting threads sleep while other programs need the cores.

    Args:
        threads: that compute.
        pool: makes what lets them sleep.
    """

    def __init__(self, threads: int, pool: Callable[[], _IdlePool] = _IdlePool) -> None:
        self.threads, self._make = threads, pool
        self._pool: _IdlePool | None = None
        self._calm = 0

    def look(self, others: float) -> None:
        """Follow the load: ``others`` is how many cores other programs used since the last look."""
        if others + self.threads > cores() + _SPARE:
            self._calm = 0
            self._pool = self._pool or self._make()
        else:
            self._calm += 1
            if self._pool is not None and self._calm >= _CALM:
                self._pool.end()
                self._pool = None


def _watch(threads: int) -> None:
    """Start a thread that looks at the load, where waiting can be changed and the user has not said how it is done."""
    if threads < 2 or not sys.platform.startswith("linux") or any(name in os.environ for name in WAITING):
        return
    if any(thread.name == _Watch.__name__ for thread in threading.enumerate()):
        return
    watch = _Watch(threads)

    def run() -> None:
        before = _cpu_seconds()
        while True:
            time.sleep(_LOOK_SECONDS)
            now = _cpu_seconds()
            passed, all_, own = (new - old for new, old in zip(now, before, strict=True))
            watch.look((all_ - own) / max(passed, 1e-3))
            before = now

    threading.Thread(target=run, name=_Watch.__name__, daemon=True).start()


def _cpu_seconds() -> tuple[float, float, float]:
    """Return the clock, the CPU seconds of all programs of the machine, and those of this process."""
    with open("/proc/stat") as stream:
        ticks = [int(word) for word in stream.readline().split()[1:9]]
    user, nice, system, _idle, _waiting, interrupts, soft, _stolen = ticks
    busy = user + nice + system + interrupts + soft
    return time.monotonic(), busy / os.sysconf("SC_CLK_TCK"), time.process_time()


def _candidates(most: int) -> tuple[int, ...]:
    """Return 1, 2, 4 ... and ``most``."""
    powers = [1 << power for power in range(most.bit_length())]
    return tuple(sorted({*(count for count in powers if count <= most), most}))


def _sample(size: Sequence[int] | None, training: bool = False) -> Work:
    """Return a short piece of work like that of the networks here, at their size."""
    known = size if size is not None and _is_size(size) else _USUAL
    height, width = (max(64, min(_LARGEST, side)) for side in known)
    return _training_sample(height, width) if training else _prediction_sample(height, width)


def _training_sample(height: int, width: int) -> Work:
    """Return two layers of the decoder, forward and backward, of a small batch."""
    kind = _precision()
    x = torch.full((4, 32, height // 4, width // 4), 0.5, dtype=kind).to(memory_format=torch.channels_last)
    weights = [torch.full((32, 32, 3, 3), 0.01, dtype=kind, requires_grad=True) for _ in range(2)]

    def work() -> None:
        y = x
        for weight in weights:
            y = functional.relu(functional.conv2d(y, weight, padding=1) * 1.1)
        torch.autograd.grad(y.sum(), weights)

    return work


def _precision() -> torch.dtype:
    """Return what networks compute in here: where the CPU only imitates bfloat16, the sample would take seconds."""
    return torch.bfloat16 if torch.ops.mkldnn._is_mkldnn_bf16_supported() else torch.float32


def _prediction_sample(height: int, width: int) -> Work:
    """Return an inverted bottleneck and a piece of the decoder, of one image.

    Like those of the networks, its layers are small and alternate with steps between them, so that it does not promise
    too much.
    """
    kind = _precision()
    low = torch.full((1, 24, height // 8, width // 8), 0.5)
    high = torch.full((1, 32, height // 2, width // 2), 0.5, dtype=kind)
    wide, narrow, deep = (torch.full(shape, 0.01) for shape in ((96, 24, 1, 1), (24, 96, 1, 1), (96, 1, 3, 3)))
    fuse, head = torch.full((16, 32, 3, 3), 0.01, dtype=kind), torch.full((2, 16, 3, 3), 0.01, dtype=kind)

    def work() -> None:
        with torch.inference_mode():
            x = low
            for _ in range(6):
                y = functional.relu6(functional.conv2d(x, wide) * 1.1)
                y = functional.relu6(functional.conv2d(y, deep, padding=1, groups=96) * 1.1)
                x = x + functional.conv2d(y, narrow)
            functional.conv2d(functional.relu(functional.conv2d(high, fuse, padding=1)), head, padding=1)

    return work


def _is_size(size: Any) -> bool:
    return isinstance(size, list | tuple) and len(size) == 2 and all(isinstance(side, int) for side in size)


def _told(seconds: Mapping[int, Sequence[float]]) -> str:
    if len(seconds) < 2:
        return "one core"
    medians = {count: statistics.median(times) for count, times in seconds.items()}
    return "measured: " + ", ".join(f"{count}: {1000 * median:.1f} ms" for count, median in medians.items())
