"""The rule that brings numbers of any type to 8 bits, and how many of 16 bits a camera or scanner used.

A file of 16-bit numbers does not say how many bits count: 12-bit images that are read as if 65535 were white show few
and dark greys. So the number is taken from the highest value over a data set (:func:`depth_of`), stored with the run
and its model, and used for every later image.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from scripts.core.errors import InputError, Problem

DEPTHS = (8, 10, 12, 14, 16)
"""Bits per channel that cameras and scanners use."""
FULL = 16


def depth_of(highest: int) -> int:
    """Return the smallest of :data:`DEPTHS` that a value fits into: 4095 -> 12."""
    return next((bits for bits in DEPTHS if highest < 2**bits), FULL)


def eight_bits(values: np.ndarray, bits: int, path: Path) -> np.ndarray:
    """Bring finite values of any real dtype to uint8 by the table of :mod:`scripts.images.reading`; the shape stays."""
    if values.dtype == np.uint8:
        return values
    if is_deep(values):
        return highest_bits(values, bits, path)
    numbers = values.astype(np.float64)
    low, high = numbers.min(), numbers.max()
    if low == high:
        return np.zeros(values.shape, np.uint8)
    return np.rint((numbers - low) / (high - low) * 255.0).astype(np.uint8)


def highest_bits(values: np.ndarray, bits: int, path: Path) -> np.ndarray:
    """Return uint8 of unsigned 16-bit values (H, W[, C]) of which ``bits`` count; the highest of these is white."""
    if bits < FULL and values.max() >= 2**bits:
        expected = f"values up to {2**bits - 1}, {bits} bits as in the images of the data set or the model"
        cure = "Give it in the same scale, or start a new run with --data#bits 16."
        raise InputError(Problem("image is brighter than white", str(path), expected, f"up to {values.max()}", cure))
    return (values >> (bits - 8)).astype(np.uint8)


def is_deep(values: np.ndarray) -> bool:
    """Tell unsigned 16-bit numbers from all others."""
    return values.dtype.kind == "u" and values.dtype.itemsize == 2


def three_channels(values: np.ndarray) -> np.ndarray:
    """Repeat grey: (H, W) -> (H, W, 3); (H, W, 3) is returned as it is."""
    return values if values.ndim == 3 else np.repeat(values[:, :, None], 3, axis=2)


def over_white(picture: Image.Image) -> Image.Image:
    """Return a picture with transparency of any kind over a white background, as RGB."""
    rgba = picture.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")


def composite(values: np.ndarray, bits: int, path: Path) -> np.ndarray:
    """Return uint8 (H, W, 3) of finite values (H, W, 2 to 4): red, green, blue, and grey over all, as ImageJ shows."""
    planes = eight_bits(values, bits, path)
    shown = np.zeros((*planes.shape[:2], 3), np.uint16)
    shown[..., : planes.shape[2]] = planes[..., :3]
    if planes.shape[2] == 4:
        shown += planes[..., 3:]
    return shown.clip(0, 255).astype(np.uint8)
