"""Pickles that do something when they are read, in the forms in which they could reach a loader."""

from __future__ import annotations

import io
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import torch


class Touch:
    """Makes a file when it is unpickled."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.canary),)


def payloads(canary: Path) -> list[bytes]:
    """The pickle by itself, and inside a file of PyTorch and of NumPy."""
    saved, array = io.BytesIO(), io.BytesIO()
    torch.save({"w": Touch(canary)}, saved)
    np.savez(array, ids=np.array([Touch(canary)], dtype=object))
    return [pickle.dumps(Touch(canary)), saved.getvalue(), array.getvalue()]
