"""Memory of the process that is used again in place of being given back after every batch."""

from __future__ import annotations

import ctypes
import os
import sys

_TRIM, _MMAP = -1, -3  # of glibc's malloc.h
_LARGEST_BLOCK, _MOST_FREE = 2**30, 2**29
_BY_USER = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "GLIBC_TUNABLES")


def keep_freed_memory() -> bool:
    """Let the process keep the memory of tensors that are gone, for the next ones; return whether it does.

    GNU's allocator gives a block of 32 MiB or more back at once, and the next one of its size is cleared by the system
    page by page: a fifth of the time of a training of the encoder. Up to 512 MiB of free memory at the end of what the
    process holds stay with it. Elsewhere than with GNU's allocator, and where the user has set it up by the
    environment, nothing is done.
    """
    if not sys.platform.startswith("linux") or any(name in os.environ for name in _BY_USER):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:  # another C library
        return False
    # an old library refuses the first; the second alone would only fix a low limit
    return mallopt(_MMAP, _LARGEST_BLOCK) == 1 and mallopt(_TRIM, _MOST_FREE) == 1
