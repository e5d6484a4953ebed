"""Checking every image and mask of a list before anything is computed, so that all faults are told at once."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from tqdm import tqdm

from scripts.errors import InputError, Problem, listed
from scripts.images import read_image
from scripts.masks import MaskRule, read_mask_and_notes

logger = logging.getLogger(__name__)
Read = TypeVar("Read")
OnRead = Callable[[Mapping[str, Any], np.ndarray, np.ndarray | None], None]


def check_items(
    items: Iterable[Mapping[str, Any]],
    rule: MaskRule,
    progress: bool = True,
    on_read: OnRead | None = None,
) -> dict[str, list[Problem]]:
    """Decode every image and mask in full and return id -> what is wrong; nothing is raised.

    Masks that can be used but may surprise (nothing drawn, values that the rule does not name) are logged, by kind.

    Args:
        items: dicts with ``id``, ``image`` and ``mask`` (None where there is none).
        rule: how masks are read.
        progress: show a bar on stderr.
        on_read: called as ``on_read(item, image, mask)`` for each item without a fault, with image uint8 (H, W, 3)
            and mask uint8 (H, W) or None. ``ImageStore.keep`` here makes this the only decoding of a run.
    """
    problems: dict[str, list[Problem]] = {}
    notes: dict[str, list[str]] = {}
    for item in tqdm(items, desc="reading images", unit="image", disable=not progress):
        found: list[Problem] = []
        image = _collect(partial(read_image, item["image"]), found)
        mask = None
        if item.get("mask"):
            read = _collect(partial(read_mask_and_notes, item["mask"], rule), found)
            mask = None if read is None else read[0]
            for note in [] if read is None else read[1]:
                notes.setdefault(note, []).append(str(item["id"]))
        if image is not None and mask is not None and mask.shape != image.shape[:2]:
            found.append(
                Problem("mask has another size than its image", f"{item['id']} ({Path(item['mask'])})",
                        _size(image), _size(mask), "Replace the mask by one drawn on this image.")
            )  # fmt: skip
        if found:
            problems[item["id"]] = found
        elif on_read is not None and image is not None:
            on_read(item, image, mask)
    for note, ids in sorted(notes.items()):
        logger.warning("%d masks %s: %s", len(ids), note, listed(ids))
    return problems


def _collect(read: Callable[[], Read], problems: list[Problem]) -> Read | None:
    """Return what ``read`` gives, or None with its problems added to the list."""
    try:
        return read()
    except InputError as error:
        problems.extend(error.problems)
        return None


def _size(array: np.ndarray) -> str:
    return f"{array.shape[1]} x {array.shape[0]} (width x height)"
