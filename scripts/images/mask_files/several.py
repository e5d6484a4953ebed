"""The mask of an image may lie in several files, one per object or per lesion; together they are one mask.

A table names them in one cell, separated by ``|``. Each is read by the rule of the data set
(:mod:`scripts.images.masks`); foreground of any is foreground of the whole, and what one of them ignores is ignored
where no other has foreground.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from scripts.core.errors import InputError, Problem
from scripts.images.mask_files.doubts import mask_notes
from scripts.images.mask_files.names import mask_paths
from scripts.images.masks import NONZERO, MaskRule, read_instances, read_mask_and_notes
from scripts.images.values import FOREGROUND, IGNORE


def read_whole_mask(cell: str, rule: MaskRule = NONZERO) -> np.ndarray:
    """Read the mask of an image from all its files.

    Args:
        cell: see :func:`scripts.images.mask_files.names.mask_paths`.
        rule: which values are foreground, in each file.

    Returns:
        uint8 (H, W): 0 background, 1 foreground, 255 ignore.

    Raises:
        InputError: with what :func:`scripts.images.masks.read_mask` says of any file, or files of different sizes.
    """
    return read_whole_mask_and_notes(cell, rule)[0]


def read_whole_mask_and_notes(cell: str, rule: MaskRule = NONZERO) -> tuple[np.ndarray, list[str]]:
    """Read a mask as :func:`read_whole_mask`, with the notes of :func:`scripts.images.masks.read_mask_and_notes`."""
    paths = mask_paths(cell)
    if len(paths) == 1:
        return read_mask_and_notes(paths[0], rule)
    problems: list[Problem] = []
    parts: list[np.ndarray] = []
    notes: dict[str, None] = {}
    for path in paths:
        try:
            part, of_part = read_mask_and_notes(path, rule)
        except InputError as error:
            problems += error.problems
            continue
        parts.append(part)
        # That one of several files is empty says nothing; whether all are is asked of the whole.
        notes.update(dict.fromkeys(note for note in of_part if note not in mask_notes(part, part, None)))
    sizes = {part.shape for part in parts}
    if len(sizes) > 1:
        cure = "Save all masks of an image in its size."
        found = ", ".join(f"{width} x {height}" for height, width in sorted(sizes))
        problems.append(Problem("masks of one image have several sizes", cell, "one size", found, cure))
    if problems:
        raise InputError(problems)
    whole = np.where(np.any([part == IGNORE for part in parts], axis=0), np.uint8(IGNORE), np.uint8(0))
    whole[np.any([part == FOREGROUND for part in parts], axis=0)] = FOREGROUND
    return whole, [*mask_notes(whole, whole, None), *notes]


def read_numbered_objects(cell: str, rule: MaskRule = NONZERO) -> np.ndarray | None:
    """Return the objects of a mask whose files number them, or of several files, each of which is an object.

    Args:
        cell: see :func:`scripts.images.mask_files.names.mask_paths`.
        rule: which values are foreground.

    Returns:
        int64 (H, W) with 0 for background and ignored pixels (where files overlap, the later counts); None for a
        single file that does not number its objects, see :func:`scripts.images.masks.read_instances`.

    Raises:
        InputError: as :func:`read_whole_mask`.
    """
    paths = mask_paths(cell)
    if len(paths) == 1:
        return read_instances(Path(paths[0]), rule)
    objects = np.zeros(read_whole_mask(cell, rule).shape, np.int64)
    for number, path in enumerate(paths, start=1):
        objects[read_mask_and_notes(path, rule)[0] == FOREGROUND] = number
    return objects
