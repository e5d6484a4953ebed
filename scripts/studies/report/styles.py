"""Colour, marker and dashes of each method: told apart without colour, and the same in all pictures of a report."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from scripts.report.curve_plot import STYLES
from scripts.studies.report.method_curves import FULL, WEAK

GREY, INK, GRID = "#B8BEC4", "#444444", "#E3E3E3"
_SOLID, _DASHED, _DOTTED = (0, ()), (0, (5, 1.6)), (0, (1.2, 1.2))
# Controls have the colour of what they control and an open marker.
_KNOWN = {
    "random_equal_steps": (STYLES["random"][0], "s", _DASHED, True),
    "label_prop_lambda_0": (STYLES["label_prop"][0], "o", _DASHED, True),
}
# Okabe and Ito's palette, and three darker colours that keep apart from it when red and green look alike.
_OTHERS = (
    ("#E69F00", "v", _SOLID), ("#56B4E9", "P", _SOLID), ("#8C6D31", "X", _SOLID), ("#6A51A3", "*", _SOLID),
    ("#009E73", "<", _DASHED), ("#CC79A7", ">", _DASHED), ("#E69F00", "d", _DASHED), ("#56B4E9", "p", _DASHED),
    ("#8C6D31", "h", _DOTTED), ("#6A51A3", "^", _DOTTED), ("#666666", "D", _DOTTED), ("#000000", "8", _DOTTED),
)  # fmt: skip


@dataclass(frozen=True)
class Style:
    """How a method is drawn.

    Attributes:
        colour: of line and marker.
        marker: of Matplotlib; empty for flat lines.
        dashes: of the line, as Matplotlib takes them.
        is_open: whether the marker is not filled.
    """

    colour: str
    marker: str
    dashes: tuple[int, tuple[float, ...]] = _SOLID
    is_open: bool = False

    def line(self) -> dict[str, Any]:
        """Return arguments of ``Axes.plot``."""
        return {
            "color": self.colour, "linestyle": self.dashes, "marker": self.marker or None,
            "markerfacecolor": "white" if self.is_open else self.colour,
        }  # fmt: skip


def styles_of(names: Iterable[str]) -> dict[str, Style]:
    """Return a style for each name; those of the published methods are the same in every study."""
    found: dict[str, Style] = {}
    others = 0
    for name in names:
        if name in _KNOWN:
            found[name] = Style(*_KNOWN[name])
        elif name in (WEAK, FULL):
            found[name] = Style(STYLES[name][0], "", _DOTTED if name == WEAK else _DASHED)
        elif name in STYLES:
            found[name] = Style(*STYLES[name])
        else:
            colour, marker, dashes = _OTHERS[others % len(_OTHERS)]
            found[name] = Style(colour, marker, dashes, is_open=others >= len(_OTHERS))
            others += 1
    return found
