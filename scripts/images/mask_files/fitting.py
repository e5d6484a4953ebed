"""Which rule fits masks that today's rule makes all foreground or all background, found by trying the usual ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from scripts.core.errors import InputError, listed
from scripts.images.drawn.outline_files import is_outlines
from scripts.images.mask_files.doubts import FULL_BORDER, border_of, border_share, frequent_colours
from scripts.images.masks import MaskRule, read_mask, stored_mask
from scripts.images.values import BACKGROUND, FOREGROUND

_LOOKED_AT = 12
_FEW = 8


@dataclass(frozen=True)
class Fitting:
    """What masks hold, and the rule for it.

    Attributes:
        values: what was found, in words: ``"values 0, 255"``, ``"colours [255, 255, 255], [255, 0, 0]"``.
        rule: the first of the usual rules under which most masks have foreground and background and do not cover their
            border; None where none does.
        cure: how to start with the rule, or what else to do.
    """

    values: str
    rule: MaskRule | None
    cure: str


def fitting_rule(paths: Sequence[str | Path]) -> Fitting:
    """Look at some masks and find the rule for them.

    Args:
        paths: mask files that can be read; of outlines, which no rule reads, nothing is said beside pictures.

    Raises:
        InputError: one cannot be read any more.
    """
    pictures = [path for path in paths if not is_outlines(path)]
    if not pictures:
        return Fitting("outlines", None, "No rule reads outlines: draw objects, and not the whole picture.")
    looked_at = [Path(path) for path in pictures[:: max(1, len(pictures) // _LOOKED_AT)]]
    stored = [stored_mask(path) for path in looked_at]
    if any(mask.is_coloured for mask in stored):
        pixels = np.concatenate([mask.by_colour().reshape(-1, 3) for mask in stored])
        colours = frequent_colours(pixels, _FEW + 1)
        border = frequent_colours(np.concatenate([border_of(mask.by_colour()) for mask in stored]), 1)[0]
        drawn = [colour for colour in colours if colour != border]
        candidates = [MaskRule(), *([MaskRule(drawn)] if 0 < len(drawn) < _FEW else [])]
        values = f"colours {listed([str(colour) for colour in colours], _FEW)}"
    else:
        found = np.unique(np.concatenate([np.unique(mask.values) for mask in stored]))
        middle = (found[0] + 0.0 + found[-1]) / 2
        single = [MaskRule([value.item()]) for value in found[:_FEW]]
        candidates = [MaskRule(), MaskRule(f"over:{middle:g}"), *single, MaskRule(f"under:{middle:g}")]
        values = f"values {listed([f'{value:g}' for value in found], _FEW)}"
    rule = next((rule for rule in candidates if _fits(rule, looked_at)), None)
    return Fitting(values, rule, _cure(rule))


def spelling(rule: MaskRule) -> str:
    """Return the rule as it is written on a command line."""
    ignored = "" if rule.ignore is None else f" --mask_rule#ignore {_text(rule.ignore)}"
    return f"--mask_rule#foreground {_text(rule.foreground)}{ignored}"


def _text(given: object) -> str:
    if not isinstance(given, tuple):
        return str(given)
    return f'"{[list(one) if isinstance(one, tuple) else one for one in given]}"'


def _cure(rule: MaskRule | None) -> str:
    if rule is None:
        return "No usual rule fits these files: save the masks with 0 for the ground and another value for objects."
    return f"Start with {spelling(rule)}, which fits them."


def _fits(rule: MaskRule, paths: Sequence[Path]) -> bool:
    good = 0
    for path in paths:
        try:
            mask = read_mask(path, rule)
        except InputError:
            continue
        is_drawn = (mask == FOREGROUND).any() and (mask == BACKGROUND).any()
        good += bool(is_drawn and border_share(mask) <= FULL_BORDER)
    return 2 * good > len(paths)
