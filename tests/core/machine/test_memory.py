"""Memory that stays with the process: blocks that come again are not cleared by the system each time."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

from scripts.core.machine.memory import keep_freed_memory

CODE = """
import resource, sys, torch
from scripts.core.machine.memory import keep_freed_memory
kept = keep_freed_memory() if sys.argv[1] == "keep" else False
for turn in range(8):
    if turn == 3:  # what the process needs at once is there
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    blocks = [torch.ones(megabytes * 2**18) for megabytes in (40, 64, 48)]
    del blocks
print(int(kept), resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def _faults(mode: str, environment: dict[str, str]) -> tuple[bool, int]:
    """Whether memory was kept, and how many pages blocks of 40 to 64 MiB made the system clear, five times over."""
    plain = {k: v for k, v in os.environ.items() if not k.startswith("MALLOC_") and k != "GLIBC_TUNABLES"}
    done = subprocess.run([sys.executable, "-c", CODE, mode], env=plain | environment, check=True, capture_output=True)
    kept, faults = done.stdout.split()
    return bool(int(kept)), int(faults)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only GNU's allocator can be told")
def test_a_block_is_used_again_only_when_asked() -> None:
    kept, faults = _faults("keep", {})
    left, cleared = _faults("leave", {})
    assert kept and not left
    assert cleared > 5 * 152 * 2**20 // 4096  # all of it, each time
    assert faults < cleared / 2


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only GNU's allocator can be told")
def test_what_the_user_set_stays() -> None:
    kept, _ = _faults("keep", {"MALLOC_TRIM_THRESHOLD_": "131072"})
    assert not kept


def test_elsewhere_nothing_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not keep_freed_memory()
