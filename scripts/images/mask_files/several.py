"""The mask of an image, from its file or files, one per object or per lesion; together they are one mask.

A table names them in one cell, separated by ``|``. Pictures are read by the rule of the data set
(:mod:`scripts.images.masks`), outlines (:mod:`scripts.images.drawn.outline_files`) are drawn in the size of the image;
foreground of any is foreground of the whole, and what one of them ignores is ignored where no other has foreground.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from scripts.core.errors import InputError, Problem
from scripts.images.drawn.outline_drawing import draw_numbered, draw_outlines, reaching_out
from scripts.images.drawn.outline_files import fitting_outlines, is_outlines
from scripts.images.drawn.outlines import Picture
from scripts.images.files.names import image_stem
from scripts.images.mask_files.doubts import mask_notes
from scripts.images.mask_files.names import mask_paths
from scripts.images.masks import NONZERO, MaskRule, read_instances, read_mask_and_notes
from scripts.images.reading import image_size
from scripts.images.values import FOREGROUND, IGNORE


def read_whole_mask(cell: str, image: str | Path, rule: MaskRule = NONZERO) -> np.ndarray:
    """Read the mask of an image from all its files.

    Args:
        cell: see :func:`scripts.images.mask_files.names.mask_paths`.
        image: file of the image, whose size and name outlines are for.
        rule: which values are foreground, in each file that is a picture.

    Returns:
        uint8 (H, W): 0 background, 1 foreground, 255 ignore.

    Raises:
        InputError: with what :func:`scripts.images.masks.read_mask` and
            :func:`scripts.images.drawn.outline_files.fitting_outlines` say of any file, or files of different sizes.
    """
    return read_whole_mask_and_notes(cell, image, rule)[0]


def read_whole_mask_and_notes(cell: str, image: str | Path, rule: MaskRule = NONZERO) -> tuple[np.ndarray, list[str]]:
    """Read a mask as :func:`read_whole_mask`, with the notes of :func:`scripts.images.masks.read_mask_and_notes`."""
    paths = mask_paths(cell)
    if len(paths) == 1:
        return _read(Path(paths[0]), Path(image), rule)
    problems: list[Problem] = []
    parts: list[np.ndarray] = []
    notes: dict[str, None] = {}
    for path in paths:
        try:
            part, of_part = _read(Path(path), Path(image), rule)
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


def read_numbered_objects(cell: str, image: str | Path, rule: MaskRule = NONZERO) -> np.ndarray | None:
    """Return the objects of a mask whose file numbers or outlines them, or of several files, each of which is one.

    Args:
        cell: see :func:`scripts.images.mask_files.names.mask_paths`.
        image: file of the image.
        rule: which values are foreground.

    Returns:
        int64 (H, W) with 0 for background and ignored pixels (where files overlap, the later counts); None for a
        single file that does not number its objects, see :func:`scripts.images.masks.read_instances`.

    Raises:
        InputError: as :func:`read_whole_mask`.
    """
    paths = mask_paths(cell)
    if len(paths) == 1 and is_outlines(paths[0]):
        picture = _picture(Path(image))
        return draw_numbered(fitting_outlines(Path(paths[0]), picture), picture.size)
    if len(paths) == 1:
        return read_instances(Path(paths[0]), rule)
    objects = np.zeros(read_whole_mask(cell, image, rule).shape, np.int64)
    for number, path in enumerate(paths, start=1):
        objects[_read(Path(path), Path(image), rule)[0] == FOREGROUND] = number
    return objects


def _read(path: Path, image: Path, rule: MaskRule) -> tuple[np.ndarray, list[str]]:
    """Return the mask of one file, and what to know of it."""
    if not is_outlines(path):
        return read_mask_and_notes(path, rule)
    picture = _picture(image)
    outlines = fitting_outlines(path, picture)
    mask = draw_outlines(outlines, picture.size)
    is_cut = reaching_out(outlines, picture.size) != ""
    return mask, [*mask_notes(mask, mask, None), *(["with shapes that are cut off at the border"] if is_cut else [])]


def _picture(image: Path) -> Picture:
    return Picture(image_size(image), (image_stem(image),))
