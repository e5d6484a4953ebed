"""Randomness: one generator per purpose, seeded from (run seed, round, purpose); global generators stay untouched."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


def derive_seed(run_seed: int, *purpose: int | str) -> int:
    """Return a seed in ``[0, 2**32)`` that depends on every argument and on nothing else.

    Args:
        run_seed: the seed of the run (config key ``active#seed``).
        purpose: what the numbers are for, e.g. ``(round, cycle, "batches")``.
    """
    text = "\x1f".join(str(part) for part in (run_seed, *purpose))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")


def torch_generator(run_seed: int, *purpose: int | str, device: torch.device | str = "cpu") -> torch.Generator:
    """Return a fresh ``torch.Generator`` for one purpose (see :func:`derive_seed`)."""
    return torch.Generator(device=device).manual_seed(derive_seed(run_seed, *purpose))


def numpy_generator(run_seed: int, *purpose: int | str) -> np.random.Generator:
    """Return a fresh ``numpy.random.Generator`` for one purpose (see :func:`derive_seed`)."""
    return np.random.default_rng(derive_seed(run_seed, *purpose))


def python_generator(run_seed: int, *purpose: int | str) -> random.Random:
    """Return a fresh ``random.Random`` for one purpose; with no purpose it is ``random.Random(run_seed)`` itself."""
    return random.Random(derive_seed(run_seed, *purpose) if purpose else run_seed)


@contextmanager
def isolated_rng(seed: int, device: torch.device | str = "cpu") -> Iterator[None]:
    """Seed torch's global generators inside the block and put them back as they were after it.

    For code that draws from the global generator and takes no other: initial weights, ``torch.nn.Dropout``.
    """
    device = torch.device(device)
    devices = [torch.cuda.current_device() if device.index is None else device.index] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.random.manual_seed(seed)
        yield
