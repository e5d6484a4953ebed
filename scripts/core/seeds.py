"""Randomness: one generator per purpose, seeded from (run seed, round, purpose); global generators stay untouched."""

from __future__ import annotations

import hashlib
import random

import numpy as np


def derive_seed(run_seed: int, *purpose: int | str) -> int:
    """Return a seed in ``[0, 2**32)`` that depends on every argument and on nothing else.

    Args:
        run_seed: the seed of the run (config key ``active#seed``).
        purpose: what the numbers are for, e.g. ``(round, cycle, "batches")``.
    """
    text = "\x1f".join(str(part) for part in (run_seed, *purpose))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")


def numpy_generator(run_seed: int, *purpose: int | str) -> np.random.Generator:
    """Return a fresh ``numpy.random.Generator`` for one purpose (see :func:`derive_seed`)."""
    return np.random.default_rng(derive_seed(run_seed, *purpose))


def python_generator(run_seed: int, *purpose: int | str) -> random.Random:
    """Return a fresh ``random.Random`` for one purpose; with no purpose it is ``random.Random(run_seed)`` itself."""
    return random.Random(derive_seed(run_seed, *purpose) if purpose else run_seed)
