"""Regions of a mask: objects that hang together, their outlines, specks and holes, and what a mask costs to draw."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from scripts.core.errors import InputError, Problem

_AROUND = np.ones((3, 3), dtype=bool)  # a pixel and its eight neighbours


def connected_components(mask: np.ndarray, corners: bool = True) -> npt.NDArray[np.int32]:
    """Return the number of each pixel's object.

    Args:
        mask: (H, W); non-zero is foreground.
        corners: pixels that touch by a corner belong together too (8-connectivity); False: only by a side (4).

    Returns:
        int32 (H, W): 0 background, then 1, 2, ... in the order of each object's first pixel, row by row.
    """
    return ndimage.label(mask, _AROUND if corners else None)[0]


def component_boxes(mask: np.ndarray, least: int = 1) -> npt.NDArray[np.int64]:
    """Return the frames of the objects of :func:`connected_components`, int64 (N, 4): x0, y0, x1, y1 in pixels.

    The ends lie beyond the last pixel, so a frame is x1 - x0 pixels wide.

    Args:
        mask: (H, W); non-zero is foreground.
        least: objects of fewer pixels have none.
    """
    return object_boxes(connected_components(mask), least)


def object_boxes(numbers: np.ndarray, least: int = 1) -> npt.NDArray[np.int64]:
    """Return the frames of numbered objects, as :func:`component_boxes`, in the order of their numbers.

    Args:
        numbers: integers (H, W), 0 for background; numbers may be missing.
        least: objects of fewer pixels have none.
    """
    _, dense = np.unique(numbers, return_inverse=True)
    dense = dense.reshape(numbers.shape) + (0 if (numbers == 0).any() else 1)  # the smallest number is 0
    large = np.bincount(dense.ravel())[1:] >= least
    found = [frame for frame, kept in zip(ndimage.find_objects(dense), large, strict=True) if kept]
    return np.array([[c.start, r.start, c.stop, r.stop] for r, c in found], dtype=np.int64).reshape(-1, 4)


def outline(mask: np.ndarray) -> npt.NDArray[np.bool_]:
    """Return the foreground pixels (H, W), bool, with a side neighbour in the background or beyond the image."""
    return (mask != 0) & ~ndimage.binary_erosion(mask)


def grown(mask: np.ndarray) -> npt.NDArray[np.bool_]:
    """Return the foreground (H, W), bool, and its eight neighbours; nothing grows in from beyond the image."""
    return ndimage.binary_dilation(mask, _AROUND)


def mask_cost(mask: np.ndarray, asked: npt.NDArray[np.bool_] | None = None) -> tuple[int, int]:
    """Return the foreground pixels that were drawn, and how many of them are the :func:`outline` of it.

    Args:
        mask: (H, W) with 0, 1 and 255; pixels to ignore cost nothing and are outside.
        asked: (H, W), the pixels that were asked for; None for all. An object that goes on beyond them was not drawn to
            its end there, so their edge is no outline.
    """
    drawn = mask == 1
    inside = drawn if asked is None else drawn | ~asked
    return int(drawn.sum()), int((drawn & outline(inside)).sum())


@dataclass(frozen=True)
class Cleaning:
    """What is cleaned, in pixels of the original image. With both 0, the default, masks stay as they are.

    Holes are filled first. Objects hang together by sides or corners, holes by sides; what touches the border of the
    image is no hole.

    Attributes:
        objects: objects of fewer pixels are removed.
        holes: holes of fewer pixels are filled.

    Raises:
        InputError: a negative number.
    """

    objects: int = 0
    holes: int = 0

    def __post_init__(self) -> None:
        bad = {name: value for name, value in (("objects", self.objects), ("holes", self.holes)) if value < 0}
        if bad:
            raise InputError([Problem("negative", f"cleaning#{n}", "0 or more pixels", str(v)) for n, v in bad.items()])

    def __call__(self, mask: np.ndarray) -> np.ndarray:
        """Return the cleaned mask, uint8 (H, W) in {0, 1}; non-zero is foreground in ``mask``."""
        kept = mask != 0
        if self.holes > 0:
            numbers = connected_components(~kept, corners=False)
            small = np.bincount(numbers.ravel()) < self.holes
            small[0] = False  # the foreground
            small[np.unique(np.concatenate([numbers[0], numbers[-1], numbers[:, 0], numbers[:, -1]]))] = False
            kept = kept | small[numbers]
        if self.objects > 0:
            numbers = connected_components(kept)
            large = np.bincount(numbers.ravel()) >= self.objects
            large[0] = False  # the background
            kept = large[numbers]
        return kept.astype(np.uint8)


UNCLEANED = Cleaning()
