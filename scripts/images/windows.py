"""Windows of an image: the part of it that is asked of an oracle; nobody judged what lies beyond."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from scripts.images.regions import grown, mask_cost
from scripts.images.values import IGNORE

_LINE = (255, 230, 40)


@dataclass(frozen=True)
class Window:
    """A rectangle of whole pixels of the original image.

    Attributes:
        top: its first row, from 0.
        left: its first column, from 0.
        height: rows, >= 1.
        width: columns, >= 1.
    """

    top: int
    left: int
    height: int
    width: int

    @property
    def at(self) -> tuple[slice, slice]:
        """Rows and columns, to index an array (H, W)."""
        return slice(self.top, self.top + self.height), slice(self.left, self.left + self.width)

    def overlaps(self, other: Window) -> bool:
        """Tell whether both have a pixel in common."""
        return (
            self.top < other.top + other.height
            and other.top < self.top + self.height
            and self.left < other.left + other.width
            and other.left < self.left + self.width
        )

    def __str__(self) -> str:
        rows, columns = self.at
        return f"columns {columns.start} to {columns.stop - 1}, rows {rows.start} to {rows.stop - 1}"


def covered(size: tuple[int, int], windows: Sequence[Window]) -> npt.NDArray[np.bool_]:
    """Return the pixels of an image of ``size`` (H, W) that lie in any of the windows, bool (H, W)."""
    inside = np.zeros(size, dtype=bool)
    for window in windows:
        inside[window.at] = True
    return inside


def cut_out(mask: np.ndarray, windows: Sequence[Window]) -> np.ndarray:
    """Return a mask, uint8 (H, W), with 255 outside of the windows."""
    return np.where(covered((mask.shape[0], mask.shape[1]), windows), mask, np.uint8(IGNORE))


def framed(picture: npt.NDArray[np.uint8], window: Window) -> npt.NDArray[np.uint8]:
    """Return a picture (H, W, 3) that shows which part is asked for: the rest is dark, between them lies a yellow line.

    No pixel of the window is changed.
    """
    inside = covered((picture.shape[0], picture.shape[1]), [window])
    shown = np.where(inside[..., None], picture, picture // 2)
    shown[grown(grown(inside)) & ~inside] = _LINE
    return shown


def drawn_cost(mask: np.ndarray, windows: Sequence[Window]) -> tuple[int, int]:
    """Return :func:`scripts.images.regions.mask_cost` of a mask that was asked for in windows; without any, of all."""
    return mask_cost(mask, covered((mask.shape[0], mask.shape[1]), windows) if windows else None)
