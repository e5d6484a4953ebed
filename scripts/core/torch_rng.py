"""Generators of torch, and a block with its own global seed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from scripts.core.seeds import derive_seed


def torch_generator(run_seed: int, *purpose: int | str, device: torch.device | str = "cpu") -> torch.Generator:
    """Return a fresh ``torch.Generator`` for one purpose (see :func:`derive_seed`)."""
    return torch.Generator(device=device).manual_seed(derive_seed(run_seed, *purpose))


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
