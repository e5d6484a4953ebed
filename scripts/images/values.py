"""Values of a mask, uint8: what is inside, outside, and what nobody judged; and classes whose masks are all outside."""

from __future__ import annotations

from dataclasses import dataclass

BACKGROUND = 0
FOREGROUND = 1
IGNORE = 255
"""Pixels of this value take no part in losses, metrics and costs."""


@dataclass(frozen=True)
class BackgroundClasses:
    """Image classes that are masks: an image of one of them has no foreground, so its mask is known without drawing.

    Attributes:
        labels: their indices, ascending; empty where all classes have foreground.
        gate: whether an image that is predicted as one of them has no foreground either.
    """

    labels: tuple[int, ...] = ()
    gate: bool = True

    def __bool__(self) -> bool:
        return bool(self.labels)

    @property
    def gated(self) -> tuple[int, ...]:
        """Labels that, predicted, leave nothing to draw: all of them, or none without the gate."""
        return self.labels if self.gate else ()


NO_BACKGROUND = BackgroundClasses()
"""All classes have foreground."""
