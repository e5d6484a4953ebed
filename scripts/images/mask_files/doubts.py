"""What the values of a mask say against the rule that reads it: refused where it would misread, noted where it may.

The rule "every value but 0 is foreground" widens objects with soft edges, takes what nobody judged for an object, and
finds objects all over a photograph. All of it is seen in the values.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from scripts.core.errors import InputError, Problem
from scripts.images.values import BACKGROUND, FOREGROUND

_AREA_SHARE = 0.05
_FEW_PIXELS = 10
_VOID = 255
_MOST_CLASSES = 64  # of masks that number classes or objects and set 255 apart from them
_PICTURE_VALUES = 48
_PICTURE_SHARE = 0.3
FULL_BORDER = 0.75
"""Share of the border from which on a mask may be inverted. Of the 165 masks of GlaS nine cover more, at most 0.83."""


def refuse_doubtful_values(values: np.ndarray, path: Path, every_value_counts: bool, names_ignored: bool) -> None:
    """Raise InputError where the rule "every value but 0 is foreground" would widen each object or mean nothing.

    Args:
        values: (H, W), as stored.
        path: for the message.
        every_value_counts: false for other rules, which name their values or cut at a number: nothing is refused.
        names_ignored: whether the rule names a value to be ignored.
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
    if is_picture(values):
        what, found = "this looks like a picture, or one that was painted on", f"{len(np.unique(values))} mixed values"
        cure = "Give the mask alone: one value per object, and 0 around."
        raise InputError(Problem(what, str(path), "areas of few values", found, cure))
    soft = soft_pixels(values)
    if soft:
        top = np.iinfo(values.dtype).max
        found = f"{soft} pixels with values between 0 and {values.max()} that form no areas"
        raise InputError(Problem("mask has soft edges", str(path), "a sharp edge", found, f"{cure}over:{top / 2:g}."))
    if not names_ignored and (others := beside_void(values)):
        found = f"{others} and {int((values == _VOID).sum())} pixels of 255"
        cure = (
            "Start with --mask_rule#ignore 255 where it marks what nobody judged, or with --mask_rule#foreground "
            "over:0.5 where 255 is an object as well."
        )
        raise InputError(Problem("255 stands apart from the other values", str(path), "objects alone", found, cure))


def is_picture(values: np.ndarray) -> bool:
    """Tell whether values (H, W) vary like those of a photograph, which may have been painted on in one colour.

    Of the pixels that do not have the most frequent value, three in ten of all at least, hardly any lies beside its
    equals.

    Args:
        values: unsigned integers; others are none.
    """
    if values.dtype.kind != "u" or min(values.shape) < 3:
        return False
    found, count = np.unique(values, return_counts=True)
    if len(found) < _PICTURE_VALUES:
        return False
    others = values[1:-1, 1:-1] != found[count.argmax()]
    return others.mean() > _PICTURE_SHARE and (_inner(values) & others).sum() < _AREA_SHARE * others.sum()


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
    inner[1:-1, 1:-1] = _inner(values)
    return count if int((between & inner).sum()) < _AREA_SHARE * count else 0


def beside_void(values: np.ndarray) -> str:
    """Return the numbers of classes or objects (``"1..20"``) beside which 255 marks what nobody judged, else ``""``.

    So do Pascal VOC, Cityscapes and what is made after them. Numbers run to 255 themselves where there are many.

    Args:
        values: (H, W); of other types than uint8 none is void.
    """
    if values.dtype != np.uint8:
        return ""
    found = np.unique(values)
    numbers = found[(found != 0) & (found != _VOID)]
    if len(numbers) == 0 or found[-1] != _VOID or numbers[-1] > _MOST_CLASSES:
        return ""
    return f"{numbers[0]}" if len(numbers) == 1 else f"{numbers[0]}..{numbers[-1]}"


def mask_notes(mask: np.ndarray, values: np.ndarray, named: Sequence[float | None] | None) -> list[str]:
    """Return what a user should know of a mask that can be used.

    Args:
        mask: (H, W) uint8 with 0, 1, 255.
        values: (H, W), as stored.
        named: the values that the rule names; None for a rule that names none.
    """
    notes = []
    if not (mask == FOREGROUND).any():
        notes.append("without foreground")
    elif not (mask == BACKGROUND).any():
        notes.append("without background")
    if named is not None:
        known = [value for value in named if value is not None]
        others = np.unique(values[~np.isin(values, known)])
        if len(others):
            shown = ", ".join(f"{value:g}" for value in others[:5]) + (", ..." if len(others) > 5 else "")
            notes.append(f"with values that mask_rule does not name and that count as background ({shown})")
    return notes


def frequent_colours(values: np.ndarray, most: int = 5) -> list[list[int]]:
    """Return the most frequent colours of (H, W, 3), the most frequent first, as lists ``[red, green, blue]``."""
    found, count = np.unique(values.reshape(-1, 3), axis=0, return_counts=True)
    return [list(map(int, colour)) for colour in found[np.argsort(-count, kind="stable")[:most]]]


def border_share(mask: np.ndarray) -> float:
    """Return the share of a mask's outermost pixels that are foreground, in [0, 1].

    Args:
        mask: (H, W) uint8 with 0, 1, 255.
    """
    return float((border_of(mask) == FOREGROUND).mean())


def border_of(values: np.ndarray) -> np.ndarray:
    """Return the outermost pixels of (H, W) as (N,), of (H, W, C) as (N, C), each once."""
    return np.concatenate([values[0], values[-1], values[1:-1, 0], values[1:-1, -1]])


def _inner(values: np.ndarray) -> np.ndarray:
    """Return (H - 2, W - 2): whether a pixel's four neighbours have its own value."""
    centre = values[1:-1, 1:-1]
    return (
        (centre == values[:-2, 1:-1]) & (centre == values[2:, 1:-1])
        & (centre == values[1:-1, :-2]) & (centre == values[1:-1, 2:])
    )  # fmt: skip
