"""What the machine is: its processor, its cores, its free memory. Without torch."""

from __future__ import annotations

import os
import platform
from pathlib import Path

GIB = 2**30
_MEMORY, _GROUP = Path("/proc/meminfo"), Path("/sys/fs/cgroup")


def cpu_model() -> str:
    """Return the model name of the CPU, as well as it can be told."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def cores() -> int:
    """Return on how many cores this process may run."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def free_memory() -> float | None:
    """Return the memory in GiB that programs could get without swapping; None where the system does not tell.

    A limit of the control group this process is in counts, as in a container. What the group holds of files that were
    read, and that nothing uses now, is free: the system drops it when memory is asked for.
    """
    try:
        lines = _MEMORY.read_text().splitlines()
        free = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration, ValueError):
        return None
    try:
        limit = int((_GROUP / "memory.max").read_text())
        used = int((_GROUP / "memory.current").read_text())
        lines = (_GROUP / "memory.stat").read_text().splitlines()
        cached = sum(int(line.split()[1]) for line in lines if line.startswith("inactive_file "))
        free = max(0, min(free, limit - used + cached))
    except (OSError, ValueError):  # no such file, or the limit is "max"
        pass
    return free / GIB
