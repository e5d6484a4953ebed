"""Masks that are pictures: the image itself in the place of its mask, with something painted on it, or a photograph."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from scripts.core.errors import InputError, Problem
from scripts.images.reading import read_image

_STEP = 4  # every fourth row and column says enough
_NEAR = 12  # levels by which JPEG and colour spaces move a pixel
_EQUAL = 3  # less, as other images of one stain are near each other too
_LEAST_SHADES = 0.3  # share of the pixels that are neither black nor white, as of a picture
_SAME, _PARTLY = 0.98, 0.3  # share of these that are as in the image
_FEW_COLOURS, _COLOURS = 16, 1000


def may_be_picture(path: Path, size: tuple[int, int], content: bytes | None = None) -> bool:
    """Say whether a file is large enough to be worth the look: masks are packed to much less than a bit per pixel.

    Args:
        path: of the mask.
        size: (H, W) of the image.
        content: its bytes, where they have been read.
    """
    return (path.stat().st_size if content is None else len(content)) * 8 > size[0] * size[1]


def picture_problem(path: Path, image: np.ndarray, content: bytes | None = None) -> Problem | None:
    """Return what is wrong with a mask that is a picture; None for a mask, and for what cannot be decoded.

    Args:
        path: of the mask.
        image: uint8 (H, W, 3), which it belongs to.
        content: bytes of the mask's file, where they have been read.
    """
    try:
        shown = read_image(path, content=content)
    except InputError:
        return None
    same_size = shown.shape == image.shape
    shown = shown[::_STEP, ::_STEP].astype(np.int16)
    shades = ((shown > _NEAR) & (shown < 255 - _NEAR)).any(axis=2)
    colours = len(np.unique(shown.reshape(-1, 3), axis=0))
    if colours <= _FEW_COLOURS or shades.mean() < _LEAST_SHADES:
        return None
    cure = (
        "Export the mask alone from the program that drew it (0 and 255, or a number per object), and name that file."
    )
    if same_size:
        there = image[::_STEP, ::_STEP].astype(np.int16)
        if (shown == shown[..., :1]).all():  # a grey copy
            there = np.repeat(there @ np.array([299, 587, 114], np.int32) // 1000, 3).reshape(shown.shape)
        distance = np.abs(shown - there).max(axis=2)
        if (distance <= _NEAR).mean() >= _SAME:
            return Problem("mask is the image itself", str(path), "a mask", "its pixels", cure)
        share = float((distance <= _EQUAL)[shades].mean())
        if share >= _PARTLY:
            found = f"{float((distance <= _EQUAL).mean()):.0%} of the pixels as in the image"
            return Problem("mask is its image with something painted on it", str(path), "a mask alone", found, cure)
    if colours > _COLOURS:
        found = f"{colours} or more colours"
        return Problem("mask looks like a photograph", str(path), "a mask of few values", found, cure)
    return None
