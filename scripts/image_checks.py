"""Checking every image and mask of a list before anything is computed, so that all faults are told at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from scripts.errors import InputError, Problem
from scripts.images import read_image
from scripts.masks import MaskRule, read_mask

OnRead = Callable[[Mapping[str, Any], np.ndarray, np.ndarray | None], None]


def check_items(
    items: Iterable[Mapping[str, Any]],
    rule: MaskRule,
    classes: Sequence[str],
    progress: bool = True,
    on_read: OnRead | None = None,
) -> list[Problem]:
    """Decode every image and mask in full and return all that is wrong with them; nothing is raised.

    Args:
        items: dicts with ``id``, ``image``, ``label`` and ``mask`` (None where there is none).
        rule: how masks are read.
        classes: class names; ``label`` must be an index into them.
        progress: show a bar on stderr.
        on_read: called as ``on_read(item, image, mask)`` for each item without a fault, with image uint8 (H, W, 3)
            and mask uint8 (H, W) or None. ``ImageStore.keep`` here makes this the only decoding of a run.
    """
    problems: list[Problem] = []
    for item in tqdm(items, desc="reading images", unit="image", disable=not progress):
        found = _label_problems(item, classes)
        image = _collect(partial(read_image, item["image"]), found)
        mask = None
        if item.get("mask"):
            mask = _collect(partial(read_mask, item["mask"], rule), found)
        if image is not None and mask is not None and mask.shape != image.shape[:2]:
            found.append(
                Problem("mask has another size than its image", f"{item['id']} ({Path(item['mask'])})",
                        _size(image), _size(mask), "Replace the mask by one drawn on this image.")
            )  # fmt: skip
        problems += found
        if not found and on_read is not None and image is not None:
            on_read(item, image, mask)
    return problems


def _collect(read: Callable[[], np.ndarray], problems: list[Problem]) -> np.ndarray | None:
    """Return what ``read`` gives, or None with its problems added to the list."""
    try:
        return read()
    except InputError as error:
        problems.extend(error.problems)
        return None


def _label_problems(item: Mapping[str, Any], classes: Sequence[str]) -> list[Problem]:
    label = item.get("label")
    if isinstance(label, int) and not isinstance(label, bool) and 0 <= label < len(classes):
        return []
    expected = f"an index into {len(classes)} classes"
    return [Problem("unknown label", str(item["id"]), expected, repr(label), "Check the label in the table.")]


def _size(array: np.ndarray) -> str:
    return f"{array.shape[1]} x {array.shape[0]} (width x height)"
