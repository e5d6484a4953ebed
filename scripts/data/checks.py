"""Every image and mask of a list is decoded before anything is computed, so that all faults are told at once.

What can be used but is unusual is told too: images left out, small classes, what is in two splits.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from tqdm import tqdm

from scripts.core.errors import InputError, Problem, listed
from scripts.data.splits import patients_in_several_splits
from scripts.data.tables import Table
from scripts.images.files.bit_depth import FULL, depth_of
from scripts.images.mask_files.doubts import FULL_BORDER, border_share
from scripts.images.mask_files.fitting import fitting_rule, spelling
from scripts.images.mask_files.names import mask_paths
from scripts.images.mask_files.pictures import may_be_picture, picture_problem
from scripts.images.mask_files.several import read_whole_mask_and_notes
from scripts.images.masks import MaskRule
from scripts.images.reading import highest_value, read_image
from scripts.images.values import BACKGROUND, FOREGROUND

logger = logging.getLogger(__name__)
Read = TypeVar("Read")
OnRead = Callable[[Mapping[str, Any], np.ndarray, np.ndarray | None], None]


def check_items(
    items: Iterable[Mapping[str, Any]],
    rule: MaskRule,
    progress: bool = True,
    on_read: OnRead | None = None,
    bits: int = FULL,
) -> dict[str, list[Problem]]:
    """Decode every image and mask in full and return id -> what is wrong; nothing is raised.

    Masks that can be used but may surprise (nothing drawn, values that the rule does not name) are logged, by kind.

    Args:
        items: dicts with ``id``, ``image`` and ``mask`` (None where there is none).
        rule: how masks are read.
        progress: show a bar on stderr.
        on_read: called as ``on_read(item, image, mask)`` for each item without a fault, with image uint8 (H, W, 3)
            and mask uint8 (H, W) or None. ``ImageStore.keep`` here makes this the only decoding of a run.
        bits: see :func:`scripts.images.reading.read_image`.
    """
    problems: dict[str, list[Problem]] = {}
    notes: dict[str, list[str]] = {}
    for item in tqdm(items, desc="reading images", unit="image", disable=not progress):
        found: list[Problem] = []
        image = _collect(partial(read_image, item["image"], bits), found)
        mask = None
        if item.get("mask"):
            faults: list[Problem] = []
            read = _collect(partial(read_whole_mask_and_notes, item["mask"], item["image"], rule), faults)
            pictures = [] if image is None else _pictures(item["mask"], image, bool(faults))
            told = pictures or faults  # that it is a picture explains what its values are
            found += [problem for problem in told if problem not in found]  # outlines need the image, too
            mask = None if read is None else read[0]
            for note in [] if read is None else read[1]:
                notes.setdefault(note, []).append(str(item["id"]))
        if image is not None and mask is not None and mask.shape != image.shape[:2]:
            found.append(
                Problem("mask has another size than its image", f"{item['id']} ({Path(item['mask'])})",
                        _size(image), _size(mask), "Replace the mask by one drawn on this image.")
            )  # fmt: skip
        if found:
            problems[item["id"]] = found
        elif on_read is not None and image is not None:
            on_read(item, image, mask)
    for note, ids in sorted(notes.items()):
        logger.warning("%d masks %s: %s", len(ids), note, listed(ids))
    return problems


def seen_bits(items: Iterable[Mapping[str, Any]]) -> int:
    """Return how many bits the unsigned 16-bit images of a data set use, 16 where there are none; tell of fewer.

    Files of other types cost a look at their header, and looking ends at the first image that uses all bits. What
    cannot be read is left to :func:`check_items`.

    Args:
        items: dicts with ``image``.
    """
    highest, count = -1, 0
    for item in items:
        value = _collect(partial(highest_value, item["image"]), [])
        if value is not None:
            highest, count = max(highest, value), count + 1
            if depth_of(highest) == FULL:
                return FULL
    if highest < 0:
        return FULL
    bits = depth_of(highest)
    text = "%d images hold 16-bit numbers up to %d: they are read as images of %d bits, %d is white (data#bits)"
    logger.warning(text, count, highest, bits, 2**bits - 1)
    return bits


def _pictures(cell: str, image: np.ndarray, in_doubt: bool) -> list[Problem]:
    """Return a problem for each file of a mask that is a picture; small files are looked at only where in doubt."""
    paths = [path for path in map(Path, mask_paths(cell)) if path.is_file()]
    tried = (picture_problem(path, image) for path in paths if in_doubt or may_be_picture(path, image.shape[:2]))
    return [problem for problem in tried if problem is not None]


def _collect(read: Callable[[], Read], problems: list[Problem]) -> Read | None:
    """Return what ``read`` gives, or None with its problems added to the list."""
    try:
        return read()
    except InputError as error:
        problems.extend(error.problems)
        return None


def _size(array: np.ndarray) -> str:
    return f"{array.shape[1]} x {array.shape[0]} (width x height)"


Item = Mapping[str, Any]


@dataclass(frozen=True)
class MaskShape:
    """What is looked at of a mask on disk.

    Attributes:
        has_foreground: whether a pixel is foreground.
        has_background: whether a pixel is background.
        border: share of the outermost pixels that are foreground, in [0, 1].
    """

    has_foreground: bool
    has_background: bool
    border: float

    @classmethod
    def of(cls, mask: np.ndarray) -> MaskShape:
        """Look at a mask, uint8 (H, W) with 0, 1, 255."""
        return cls(bool((mask == FOREGROUND).any()), bool((mask == BACKGROUND).any()), border_share(mask))


def refuse_hopeless_masks(mask_of: Mapping[str, str], shapes: Mapping[str, MaskShape], rule: MaskRule) -> None:
    """Raise InputError where all masks are empty, or all full: nothing could be learned; log where they look inverted.

    Args:
        mask_of: id -> mask file, or files, of images of classes that have foreground.
        shapes: id -> what the mask looks like under ``rule``.
        rule: which values are foreground.
    """
    known = [shapes[key] for key in mask_of if key in shapes]
    if not known:
        return
    paths = [mask_paths(path)[0] for key, path in mask_of.items() if key in shapes]
    for what, is_met in (
        ("no mask has foreground", not any(shape.has_foreground for shape in known)),
        ("no mask has background", not any(shape.has_background for shape in known)),
    ):
        if is_met:
            fitting = fitting_rule(paths)
            found = f"{fitting.values} in {len(known)} masks, read by {spelling(rule)}"
            cure = fitting.cure
            if what == "no mask has foreground" and fitting.rule is None:
                cure = "Give masks with something drawn, or name the classes in data#background_classes."
            raise InputError(Problem(what, str(Path(paths[0]).parent), "objects and ground", found, cure))
    full = sum(shape.border > FULL_BORDER for shape in known)
    if 2 * full > len(known):
        fitting = fitting_rule(paths)
        better = f" {fitting.cure}" if fitting.rule not in (None, rule) else ""
        logger.warning(
            "%d of %d masks cover most of their border, as masks do in which objects are 0: they hold %s.%s",
            full, len(known), fitting.values, better,
        )  # fmt: skip


def tell(
    items: Sequence[Item], names: Sequence[str], image_sha256: Mapping[str, str], quarantined: Mapping[str, str]
) -> None:
    """Log all of it as warnings.

    Args:
        items: of the data list.
        names: class names.
        image_sha256: id -> hash of the image file; empty where no file was read.
        quarantined: id -> why the image was left out.
    """
    _warn_of_quarantine(quarantined)
    _tell_of_joined_masks(items)
    _warn_of_patients(items)
    _warn_of_small_classes(items, names)
    if image_sha256:
        _warn_of_copies(items, image_sha256)


def background_labels(
    names: Sequence[str], classes: Sequence[str], items: Sequence[Item], has_foreground: Mapping[str, bool]
) -> tuple[int, ...]:
    """Return the indices of the classes that are declared to have no foreground, ascending.

    Args:
        names: the declared names.
        classes: all class names, in the order of the labels.
        items: of the data list.
        has_foreground: id -> whether the mask has foreground, of images with a mask on disk.

    Raises:
        InputError: a text instead of a list, unknown names, no class left that has foreground, or a declared class of
            which a mask has foreground.
    """
    where = "data#background_classes"
    if isinstance(names, str):
        cure = f"Write --{where} \"['{names}']\"."
        raise InputError(Problem("not a list of classes", where, "a list of class names", repr(names), cure))
    unknown = sorted({str(name) for name in names} - set(classes))
    if unknown:
        raise InputError(Problem("unknown class", where, f"of {listed(classes)}", listed(unknown)))
    labels = tuple(label for label, name in enumerate(classes) if name in names)
    if len(labels) == len(classes):
        cure = "Leave out the classes whose images have something to draw."
        raise InputError(Problem("no class has foreground", where, "fewer than all classes", listed(classes), cure))
    problems = []
    for label in labels:
        known = [item["id"] for item in items if item["label"] == label and item["id"] in has_foreground]
        drawn = [key for key in known if has_foreground[key]]
        if drawn:
            found = f"{len(drawn)} of {len(known)} masks with foreground: {listed(drawn)}"
            cure = f"Mend these masks or labels, or take {classes[label]} out of {where}."
            what = f"masks of class {classes[label]} have foreground, which it is declared not to have"
            problems.append(Problem(what, where, "empty masks", found, cure))
    if problems:
        raise InputError(problems)
    return labels


def tell_of_drawing(table: Table, split_column: str, seed: int) -> None:
    """Log that splits are drawn, and which other columns look like splits."""
    others = [name for name in table.columns if name.startswith("split") and name != split_column]
    hint = f"; it has {', '.join(others)}, which split_column would use" if others else ""
    logger.log(
        logging.WARNING if others else logging.INFO,
        "%s has no values in column %s: splits are drawn with seed %d%s",
        table.path, split_column, seed, hint,
    )  # fmt: skip


def _warn_of_quarantine(quarantined: Mapping[str, str]) -> None:
    if quarantined:
        lines = "\n  - ".join(f"{key}: {reason}" for key, reason in list(quarantined.items())[:20])
        logger.warning("%d images are left out, as on_bad_image says:\n  - %s", len(quarantined), lines)


def _tell_of_joined_masks(items: Sequence[Item]) -> None:
    several = [item["id"] for item in items if item["mask"] and len(mask_paths(item["mask"])) > 1]
    if several:
        logger.info("%d images have several files of masks, which are joined: %s", len(several), listed(several))


def _warn_of_patients(items: Sequence[Item]) -> None:
    shared = patients_in_several_splits(items)
    if shared:
        patients = [f"{patient} ({'/'.join(splits)})" for patient, splits in shared.items()]
        logger.warning("%d patients have images in several splits: %s", len(shared), listed(patients))


def _warn_of_small_classes(items: Sequence[Item], names: Sequence[str]) -> None:
    sizes = Counter(item["label"] for item in items if item["split"] == "train")
    single = [name for label, name in enumerate(names) if sizes[label] == 1]
    if single:
        logger.warning("%d classes have a single training image: %s", len(single), listed(single))
    if len(names) == 1:
        text = "all images are of one class, %s: no classifier can be trained, and its maps and accuracy mean nothing"
        logger.warning(text, names[0])


def _warn_of_copies(items: Sequence[Item], image_sha256: Mapping[str, str]) -> None:
    first: dict[str, Item] = {}
    pairs = [(first.setdefault(image_sha256[item["id"]], item), item) for item in items]
    shared = [f"{a['id']} ({a['split']}) and {b['id']} ({b['split']})" for a, b in pairs if a["split"] != b["split"]]
    if shared:
        logger.warning("the same file content is in two splits: %s", listed(shared))
