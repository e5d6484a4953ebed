"""A run that waits for people, on the images of ``tiny_runs``, and masks as people would hand them in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from scripts.images.png import mask_to_png
from scripts.state.rows import LabelRow, QueryRow
from scripts.state.run_state import RunState

TRAIN = [f"train_{i:02d}" for i in range(12)]


def register(state: RunState, data: Any) -> None:
    """Make ``state`` that of a run on ``data``."""
    items = [{**item, "sha256": data.datalist.image_sha256[item["id"]]} for item in data.datalist.items]
    state.register_run({}, (), items, data.datalist.sha256)


def asking_run(folder: Path, data: Any, asked: tuple[str, ...] = ("train_00", "train_01"), **phase: Any) -> Path:
    """A run whose round 0 asks for some images; returns its folder."""
    with RunState.open(folder) as state:
        register(state, data)
        state.commit(0, "query", queries=[(key, None) for key in asked], **phase)
    return folder


def a_mask(size: tuple[int, int] = (64, 64), left: int = 10) -> np.ndarray:
    """A square of 20 pixels, uint8 (H, W)."""
    mask = np.zeros(size, np.uint8)
    mask[10:30, left : left + 20] = 1
    return mask


def a_label(key: str, user: str = "ann", **fields: Any) -> LabelRow:
    """A row for :meth:`scripts.state.desk.Desk.submit`."""
    return LabelRow(key, None, "", cost_px=400, boundary_px=76, seconds=fields.pop("seconds", 3.0), user=user, **fields)


def png(left: int = 10) -> bytes:
    """The PNG of :func:`a_mask`."""
    return mask_to_png(a_mask(left=left))


def save(path: Path, mask: np.ndarray) -> Path:
    """Write a mask as people's programs do, 0 and 255."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray((mask * 255).astype(np.uint8)).save(path)
    return path


def query(*keys: str) -> list[QueryRow]:
    """Query rows of round 0."""
    return [QueryRow(0, rank, key, None) for rank, key in enumerate(keys)]
