"""A mask on another pixel grid than its image: where NIfTI headers say how both lie, the mask is brought over."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from scripts.core.errors import InputError, Problem
from scripts.images.files.names import is_nifti
from scripts.images.files.nifti import nifti_affine
from scripts.images.reading import stored_size

_MOST_TIMES = 16
_FEW = 10**6
_SAME = 1e-3  # pixels; what headers lose by single precision


def refuse_other_size(mask_path: Path, image_path: Path, size: tuple[int, int], content: bytes | None = None) -> None:
    """Refuse a mask by the size in its header, before its pixels are decoded: a few bytes can stand for gigabytes.

    Args:
        mask_path: its file.
        image_path: file of the image.
        size: (H, W) of the image.
        content: bytes of ``mask_path``, where they have been read.

    Raises:
        InputError: as :func:`on_grid_of_image` where sizes have to agree; else a mask on a grid of its own that has
            many times the pixels of the image.
    """
    found = stored_size(mask_path, content)
    if not (is_nifti(mask_path) and is_nifti(image_path)):
        _require_size(mask_path, found, size)
    elif found[0] * found[1] > max(_MOST_TIMES * size[0] * size[1], _FEW):
        expected = f"at most {_MOST_TIMES} times the pixels of its image, {_shown(size)}"
        raise InputError(Problem("mask is far finer than its image", mask_path.name, expected, _shown(found)))


def _require_size(mask_path: Path, found: tuple[int, ...], size: tuple[int, int]) -> None:
    if found != size:
        cure = "Draw it on the image that was given out, without resizing."
        what = "mask has another size than its image"
        raise InputError(Problem(what, mask_path.name, _shown(size), _shown(found), cure))


def on_grid_of_image(
    mask: np.ndarray, mask_path: Path, image_path: Path, size: tuple[int, int], content: bytes | None = None
) -> np.ndarray:
    """Return a mask on the pixel grid of its image, by nearest neighbour; background where the mask does not reach.

    Only two NIfTI files tell how they lie. Any other pair must agree in size.

    Args:
        mask: uint8 (H, W), as :func:`scripts.images.masks.read_mask` gave it.
        mask_path: its file.
        image_path: file of the image.
        size: (H, W) of the image.
        content: bytes of ``mask_path``, where they have been read.

    Returns:
        uint8, ``size``.

    Raises:
        InputError: sizes differ and nothing says how the mask lies, or the headers cannot be compared.
    """
    if not (is_nifti(mask_path) and is_nifti(image_path)):
        _require_size(mask_path, mask.shape, size)
        return mask
    columns, rows = _mask_position(mask_path, image_path, size, content)
    if mask.shape == size and _is_identity(columns, rows):
        return mask
    found = np.zeros(size, np.uint8)
    i, j = np.rint(columns).astype(np.int64), np.rint(rows).astype(np.int64)
    there = (i >= 0) & (j >= 0) & (i < mask.shape[1]) & (j < mask.shape[0])
    found[there] = mask[j[there], i[there]]
    return found


def _mask_position(
    mask_path: Path, image_path: Path, size: tuple[int, int], content: bytes | None
) -> tuple[np.ndarray, np.ndarray]:
    """Return, for each pixel of the image, its (fractional) column and row in the mask, each (H, W) float64."""
    try:
        between = np.linalg.inv(nifti_affine(mask_path, content)) @ nifti_affine(image_path)
    except np.linalg.LinAlgError:
        between = np.full((4, 4), np.nan)
    if not np.isfinite(between).all():
        raise InputError(Problem("geometry cannot be compared", mask_path.name, "an invertible affine in its header"))
    y, x = np.mgrid[: size[0], : size[1]].astype(np.float64)
    columns = between[0, 0] * x + between[0, 1] * y + between[0, 3]
    rows = between[1, 0] * x + between[1, 1] * y + between[1, 3]
    return columns, rows


def _is_identity(columns: np.ndarray, rows: np.ndarray) -> bool:
    y, x = np.mgrid[: columns.shape[0], : columns.shape[1]]
    return bool(np.abs(columns - x).max() < _SAME and np.abs(rows - y).max() < _SAME)


def _shown(shape: tuple[int, ...]) -> str:
    return f"{shape[1]} x {shape[0]} (width x height)"
