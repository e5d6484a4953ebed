"""Reading masks: raw values of a mask file become background 0, foreground 1 and ignore 255 by a rule of the config.

:mod:`scripts.images.mask_files` knows what files store, and what their values say of how they were made. Of a colour
mask the largest channel decides, unless the rule names colours.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from scripts.core.errors import InputError, Problem
from scripts.images.files.dicom import dicom_values
from scripts.images.files.faults import refuse_non_finite
from scripts.images.files.names import DICOM_SUFFIXES, image_suffix, is_nifti, is_region
from scripts.images.files.nifti import nifti_values
from scripts.images.files.pictures import opened_picture
from scripts.images.mask_files.doubts import frequent_colours, mask_notes, refuse_doubtful_values
from scripts.images.mask_files.stored import StoredMask, stored_in_array, stored_in_picture
from scripts.images.slide_files.region import region_values
from scripts.images.values import IGNORE

Colour = tuple[int, int, int]


@dataclass(frozen=True)
class MaskRule:
    """Which values of a mask file are foreground.

    Attributes:
        foreground: ``"nonzero"`` (instance ids as in GlaS); ``"over:127.5"`` (values above a number, as the grey
            masks of CUB-200-2011) or ``"under:127.5"`` (below it, for masks with dark objects); the list of foreground
            values, or of foreground colours ``[[255, 0, 0], ...]``; every other value is background.
        ignore: value of the pixels that count neither in a loss nor in a metric; it wins over ``foreground``. With
            colours it is a colour.

    Raises:
        InputError: none of these forms.
    """

    foreground: str | Sequence[float] | Sequence[Sequence[int]] = "nonzero"
    ignore: int | Sequence[int] | None = None

    def __post_init__(self) -> None:
        given = self.foreground
        if isinstance(given, str):
            valid = given == "nonzero" or self.limit is not None
        else:  # lists of the config become hashable
            found = tuple(_colour(one) if isinstance(one, list | tuple) else one for one in given)
            object.__setattr__(self, "foreground", found)
            kinds = {_kind_of(one) for one in found}
            valid = kinds in ({"value"}, {"colour"})
        if not valid:
            forms = "nonzero, over:NUMBER, under:NUMBER, a list of values or of colours"
            raise InputError(Problem("unknown mask rule", "mask_rule#foreground", forms, repr(given)))
        self._check_ignore()

    def _check_ignore(self) -> None:
        if isinstance(self.ignore, list | tuple):
            object.__setattr__(self, "ignore", _colour(self.ignore) or self.ignore)
        fits = _colour(self.ignore) is not None if self.names_colours else isinstance(self.ignore, int | float)
        if self.ignore is not None and not fits:
            expected = "a colour, as foreground" if self.names_colours else "a number"
            raise InputError(Problem("unknown mask rule", "mask_rule#ignore", expected, repr(self.ignore)))

    @property
    def limit(self) -> float | None:
        """The number of ``"over:NUMBER"`` or ``"under:NUMBER"``, None for the other forms."""
        if not isinstance(self.foreground, str):
            return None
        form, _, text = self.foreground.partition(":")
        try:
            number = float(text) if form in ("over", "under") else math.nan
        except ValueError:
            return None
        return number if math.isfinite(number) else None

    @property
    def names_colours(self) -> bool:
        """True where the rule is a list of colours."""
        return not isinstance(self.foreground, str) and isinstance(self.foreground[0], tuple)

    @property
    def has_single_values(self) -> bool:
        """True where single values matter, which colour and lossy compression do not have."""
        return not self.names_colours and (not isinstance(self.foreground, str) or self.ignore is not None)

    def apply(self, values: np.ndarray) -> np.ndarray:
        """Map raw values (H, W) of any numeric dtype, or (H, W, 3) for colours, to uint8 (H, W) with 0, 1 and 255."""
        if self.names_colours:
            mask = _is_any(values, self.foreground).astype(np.uint8)
            ignored = _is_any(values, [] if self.ignore is None else [self.ignore])
        else:
            mask = self._of_values(values).astype(np.uint8)
            ignored = np.zeros(values.shape, bool) if self.ignore is None else values == self.ignore
        mask[ignored] = IGNORE
        return mask

    def _of_values(self, values: np.ndarray) -> np.ndarray:
        if self.limit is not None:
            return values < self.limit if str(self.foreground).startswith("under") else values > self.limit
        return values != 0 if isinstance(self.foreground, str) else np.isin(values, self.foreground)


def _kind_of(one: object) -> str:
    return "value" if isinstance(one, int | float) else "colour" if isinstance(one, tuple) else "neither"


def _colour(given: object) -> Colour | None:
    """Return three numbers in [0, 255] as a tuple, None for anything else."""
    if not isinstance(given, list | tuple) or len(given) != 3:
        return None
    fits = all(isinstance(part, int) and not isinstance(part, bool) and 0 <= part <= 255 for part in given)
    return (given[0], given[1], given[2]) if fits else None


def _is_any(values: np.ndarray, colours: Sequence) -> np.ndarray:
    found = np.zeros(values.shape[:2], bool)
    for colour in colours:
        found |= (values == colour).all(axis=2)
    return found


NONZERO = MaskRule()


def read_mask(path: Path | str, rule: MaskRule = NONZERO, content: bytes | None = None) -> np.ndarray:
    """Read one mask.

    Args:
        path: of a format of :mod:`scripts.images.reading`.
        rule: which values are foreground.
        content: bytes of the file, where they have been read.

    Returns:
        uint8 (H, W): 0 background, 1 foreground, 255 ignore.

    Raises:
        InputError: the file cannot be read (as :func:`scripts.images.reading.read_image`), a JPEG is to be read by
            exact values, a coloured mask by a list of values, or the rule ``"nonzero"`` would take soft edges,
            fractions, a photograph or what nobody judged for foreground
            (:func:`scripts.images.mask_files.doubts.refuse_doubtful_values`).
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
    stored = _fit_for(rule, stored_mask(path, content), path)
    values = stored.values
    refuse_doubtful_values(values, path, rule.foreground == "nonzero", rule.ignore is not None)
    mask = rule.apply(values)
    named = None if isinstance(rule.foreground, str) or rule.names_colours else (0, *rule.foreground, rule.ignore)
    return mask, [*stored.notes, *mask_notes(mask, values, named)]


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
    stored = _fit_for(rule, stored_mask(path), path, one_channel=False)
    values = stored.values
    if rule.foreground != "nonzero" or values.ndim != 2 or not np.issubdtype(values.dtype, np.integer):
        return None
    objects = np.where(rule.apply(values) == 1, values.astype(np.int64), 0)
    return objects if len(np.unique(objects[objects != 0])) > 1 else None


def stored_mask(path: Path, content: bytes | None = None) -> StoredMask:
    """Return what a mask file stores, before any rule.

    Args:
        path: see :func:`read_mask`.
        content: its bytes, where they have been read.

    Raises:
        InputError: the file cannot be read (as :func:`scripts.images.reading.read_image`), or a value is not finite.
    """
    if is_region(path) and content is None:  # one that somebody sends is none
        return StoredMask(region_values(path))
    if is_nifti(path):
        return stored_in_array(nifti_values(path, content))
    if image_suffix(path) in DICOM_SUFFIXES:
        values, lossy = dicom_values(path, content)
        return replace(stored_in_array(values), lossy=lossy)
    with opened_picture(path, content) as picture:
        stored = stored_in_picture(picture)
    refuse_non_finite(stored.values, path)
    return stored


def _fit_for(rule: MaskRule, stored: StoredMask, path: Path, one_channel: bool = True) -> StoredMask:
    """Return a stored mask with the values that ``rule`` is about, (H, W), or (H, W, 3) for a rule of colours.

    Raises:
        InputError: the file has no such values.
    """
    if stored.lossy and (rule.limit is None or rule.has_single_values):
        # Compression leaves small non-zero values around each edge: they would all become foreground.
        raise InputError(
            Problem("a JPEG mask has no exact values", str(path), "foreground over:127.5 and no ignore value",
                    f"foreground {rule.foreground}, ignore {rule.ignore}", "Change the rule or use PNG.")
        )  # fmt: skip
    if rule.names_colours:
        return replace(stored, values=stored.by_colour())
    if not rule.has_single_values:  # which are indices, where there is a palette
        stored = stored.grey_by_colour()
    if stored.values.ndim == 2 or not one_channel:
        return stored
    if rule.has_single_values and stored.is_coloured:
        colours = ", ".join(map(str, frequent_colours(stored.values)))
        cure = 'Name its colours as --mask_rule#foreground "[[255, 0, 0]]", use the rule nonzero, or save it as grey.'
        raise InputError(
            Problem("a coloured mask has no single values", str(path), "a grey or palette mask", f"colours {colours}",
                    cure)
        )  # fmt: skip
    return replace(stored, values=stored.values.max(axis=2))
