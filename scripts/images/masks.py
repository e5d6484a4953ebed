"""Reading masks: raw values of a mask file become background 0, foreground 1 and ignore 255 by a rule of the config.

Unlike images, masks are read raw: palette indices and grey values are kept as stored, nothing is stretched, and no
EXIF orientation is applied. One-bit files count as 0 and 255. Of a colour mask the largest channel decides. An alpha
channel is left aside, unless the colour is the same everywhere and alpha is not: then alpha is the mask. What the
values say about how a file was made, such as soft edges or fractions, is refused or noted.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from scripts.core.errors import InputError, Problem
from scripts.images.reading import is_nifti, nifti_values, opened_picture, refuse_non_finite
from scripts.images.values import IGNORE


@dataclass(frozen=True)
class MaskRule:
    """Which values of a mask file are foreground.

    Attributes:
        foreground: ``"nonzero"`` (instance ids as in GlaS), ``"over:127.5"`` (values above a number, as the grey
            masks of CUB-200-2011), or the list of foreground values; every other value is background.
        ignore: value of the pixels that count neither in a loss nor in a metric; it wins over ``foreground``.

    Raises:
        InputError: neither of the three forms.
    """

    foreground: str | Sequence[float] = "nonzero"
    ignore: int | None = None

    def __post_init__(self) -> None:
        if isinstance(self.foreground, str):
            valid = self.foreground == "nonzero" or self.over is not None
        else:
            object.__setattr__(self, "foreground", tuple(self.foreground))  # a list of the config becomes hashable
            valid = len(self.foreground) > 0 and all(isinstance(value, int | float) for value in self.foreground)
        if not valid:
            raise InputError(
                Problem("unknown mask rule", "foreground", "nonzero, over:NUMBER or a list", repr(self.foreground))
            )

    @property
    def over(self) -> float | None:
        """The number of ``"over:NUMBER"``, None for the other forms."""
        text = self.foreground
        if not isinstance(text, str) or not text.startswith("over:"):
            return None
        try:
            number = float(text.removeprefix("over:"))
        except ValueError:
            return None
        return number if math.isfinite(number) else None

    def apply(self, values: np.ndarray) -> np.ndarray:
        """Map raw values (H, W) of any numeric dtype to uint8 (H, W) with 0, 1 and 255."""
        if self.over is not None:
            mask = (values > self.over).astype(np.uint8)
        elif isinstance(self.foreground, str):
            mask = (values != 0).astype(np.uint8)
        else:
            mask = np.isin(values, self.foreground).astype(np.uint8)
        if self.ignore is not None:
            mask[values == self.ignore] = IGNORE
        return mask

    @property
    def has_single_values(self) -> bool:
        """True where single values matter, which colour and lossy compression do not have."""
        return not isinstance(self.foreground, str) or self.ignore is not None


NONZERO = MaskRule()


def read_mask(path: Path | str, rule: MaskRule = NONZERO, content: bytes | None = None) -> np.ndarray:
    """Read one mask.

    Args:
        path: PNG, BMP, JPEG, TIFF or 2-D NIfTI.
        rule: which values are foreground.
        content: bytes of the file, where they have been read.

    Returns:
        uint8 (H, W): 0 background, 1 foreground, 255 ignore.

    Raises:
        InputError: the file cannot be read (as :func:`scripts.images.reading.read_image`), a JPEG is to be read by
            exact values, a coloured mask by a list of values, or the rule ``"nonzero"`` would take soft edges,
            fractions or negative values for foreground (:func:`scripts.images.masks.refuse_doubtful_values`).
    """
    return read_mask_and_notes(path, rule, content)[0]


def read_mask_and_notes(
    path: Path | str, rule: MaskRule = NONZERO, content: bytes | None = None
) -> tuple[np.ndarray, list[str]]:
    """Read one mask as :func:`read_mask`, with what a user should know of it though it can be used.

    Returns:
        the mask, and notes such as ``"without foreground"`` that are equal for masks with the same peculiarity.
    """
    path = Path(path)
    values = _single_channel(_values(path, rule, content), path, rule)
    refuse_doubtful_values(values, path, rule.foreground == "nonzero")
    mask = rule.apply(values)
    named = None if isinstance(rule.foreground, str) else (0, *rule.foreground, rule.ignore)
    return mask, mask_notes(mask, values, named)


def read_instances(path: Path | str, rule: MaskRule = NONZERO) -> np.ndarray | None:
    """Return the objects of a mask file that numbers them (GlaS), None for one that does not.

    A mask numbers its objects if its rule is ``"nonzero"``, it has one channel of integers, and its foreground holds
    two values or more.

    Args:
        path: see :func:`read_mask`.
        rule: which values are foreground.

    Returns:
        int64 (H, W): 0 for background and for ignored pixels, else the number in the file.

    Raises:
        InputError: as :func:`read_mask`.
    """
    path = Path(path)
    values = _values(path, rule)
    if rule.foreground != "nonzero" or values.ndim != 2 or not np.issubdtype(values.dtype, np.integer):
        return None
    objects = np.where(rule.apply(values) == 1, values.astype(np.int64), 0)
    return objects if len(np.unique(objects[objects != 0])) > 1 else None


def _values(path: Path, rule: MaskRule, content: bytes | None = None) -> np.ndarray:
    """Return the stored values of a mask file that ``rule`` can be applied to, (H, W) or (H, W, C)."""
    if is_nifti(path):
        values = nifti_values(path, content)
    else:
        with opened_picture(path, content) as picture:
            if picture.format in ("JPEG", "MPO") and (rule.over is None or rule.has_single_values):
                # Compression leaves small non-zero values around each edge: they would all become foreground.
                raise InputError(
                    Problem("a JPEG mask has no exact values", str(path), "foreground over:127.5 and no ignore value",
                            f"foreground {rule.foreground}, ignore {rule.ignore}", "Change the rule or use PNG.")
                )  # fmt: skip
            values = _raw_values(picture)
        refuse_non_finite(values, path)
    return values


def _raw_values(picture: Image.Image) -> np.ndarray:
    """Return stored values (H, W), or (H, W, C) for colour or alpha; C is 2 (grey, alpha), 3 or 4."""
    if picture.mode == "1":
        picture = picture.convert("L")
    elif picture.mode not in ("L", "P", "LA", "PA", "RGB", "RGBA", "F") and not picture.mode.startswith("I"):
        picture = picture.convert("RGB")
    return np.asarray(picture)


def _single_channel(values: np.ndarray, path: Path, rule: MaskRule) -> np.ndarray:
    """Reduce (H, W[, C]) to the (H, W) values that the rule is for."""
    if values.ndim == 2:
        return values
    channels = values.shape[2]
    if channels in (2, 4):
        colour, alpha = values[..., :-1], values[..., -1]
        if (colour == colour[0, 0]).all() and (alpha != alpha[0, 0]).any():
            return alpha
        values = colour
    if rule.has_single_values and (values != values[..., :1]).any():
        raise InputError(
            Problem("a coloured mask has no single values", str(path), "a grey or palette mask",
                    f"{values.shape[2]} different channels", "Save it as grey, or use the rule nonzero.")
        )  # fmt: skip
    return values.max(axis=2)


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
