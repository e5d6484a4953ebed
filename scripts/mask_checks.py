"""What the values of a mask file say about how it was made: soft edges, fractions, nothing drawn."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from scripts.errors import InputError, Problem

_AREA_SHARE = 0.05
_FEW_PIXELS = 10


def refuse_doubtful_values(values: np.ndarray, path: Path, every_value_counts: bool) -> None:
    """Raise InputError where the rule "every value but 0 is foreground" would widen each object or mean nothing.

    Args:
        values: (H, W), as stored.
        path: for the message.
        every_value_counts: false for other rules, which name their values or cut at a number: nothing is refused.
    """
    if not every_value_counts:
        return
    cure = "Save it without smoothing (values 0 and 255, or one number per object), or set mask_rule#foreground to "
    if np.issubdtype(values.dtype, np.floating) and (values != np.rint(values)).any():
        found = f"{int((values != np.rint(values)).sum())} pixels with fractions"
        raise InputError(Problem("mask holds fractions", str(path), "whole numbers", found, f"{cure}over:0.5."))
    if values.min() < 0:
        found = f"values down to {values.min():g}"
        raise InputError(
            Problem("mask holds negative values", str(path), "0 and above", found, "Set mask_rule#foreground.")
        )
    soft = soft_pixels(values)
    if soft:
        top = np.iinfo(values.dtype).max
        found = f"{soft} pixels with values between 0 and {values.max()} that form no areas"
        raise InputError(Problem("mask has soft edges", str(path), "a sharp edge", found, f"{cure}over:{top / 2:g}."))


def soft_pixels(values: np.ndarray) -> int:
    """Return how many pixels of a smoothed or lossy mask lie between background and foreground; 0 for a sharp one.

    A mask is soft if its highest value lies in the upper half of its type's range, and of the pixels with values
    between 0 and this one (at least ten) fewer than one in twenty have four neighbours of their own value. Numbered
    objects have areas, and soft edges have none.

    Args:
        values: (H, W); of other types than unsigned integers none is soft.
    """
    if values.dtype.kind != "u" or values.size == 0 or values.max() <= np.iinfo(values.dtype).max // 2:
        return 0
    between = (values != 0) & (values != values.max())
    count = int(between.sum())
    if count < _FEW_PIXELS:
        return 0
    inner = np.zeros_like(between)
    centre = values[1:-1, 1:-1]
    inner[1:-1, 1:-1] = (
        (centre == values[:-2, 1:-1]) & (centre == values[2:, 1:-1])
        & (centre == values[1:-1, :-2]) & (centre == values[1:-1, 2:])
    )  # fmt: skip
    return count if int((between & inner).sum()) < _AREA_SHARE * count else 0


def mask_notes(mask: np.ndarray, values: np.ndarray, named: Sequence[float | None] | None) -> list[str]:
    """Return what a user should know of a mask that can be used.

    Args:
        mask: (H, W) uint8 with 0, 1, 255.
        values: (H, W), as stored.
        named: the values that the rule names; None for a rule that names none.
    """
    notes = []
    if not (mask == 1).any():
        notes.append("without foreground")
    elif not (mask == 0).any():
        notes.append("without background")
    if named is not None:
        known = [value for value in named if value is not None]
        others = np.unique(values[~np.isin(values, known)])
        if len(others):
            shown = ", ".join(f"{value:g}" for value in others[:5]) + (", ..." if len(others) > 5 else "")
            notes.append(f"with values that mask_rule does not name and that count as background ({shown})")
    return notes
