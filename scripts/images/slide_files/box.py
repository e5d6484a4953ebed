"""A rectangle in an image or a slide: half open, (top, left, bottom, right); sizes are (height, width)."""

from __future__ import annotations

from typing import NamedTuple


class Box(NamedTuple):
    """A rectangle, half open; whole numbers unless it is said otherwise."""

    top: float
    left: float
    bottom: float
    right: float

    @property
    def size(self) -> tuple[float, float]:
        """(height, width)."""
        return self.bottom - self.top, self.right - self.left

    def scaled(self, by: tuple[float, float]) -> Box:
        """Return the box with its coordinates multiplied by (y, x)."""
        return Box(self.top * by[0], self.left * by[1], self.bottom * by[0], self.right * by[1])

    def moved(self, top: float, left: float) -> Box:
        """Return the box with the origin at (top, left)."""
        return Box(self.top - top, self.left - left, self.bottom - top, self.right - left)

    def cells(self, stride: int) -> Box:
        """Return the box in cells of ``stride`` x ``stride`` pixels, with those that it holds in part."""
        return Box(self.top // stride, self.left // stride, -(-self.bottom // stride), -(-self.right // stride))

    def slices(self) -> tuple[slice, slice]:
        """Return the index of the box in an array."""
        return slice(int(self.top), int(self.bottom)), slice(int(self.left), int(self.right))
