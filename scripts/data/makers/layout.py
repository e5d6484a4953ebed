"""What the folders of an image say: ``benign/a.png`` its class, ``train/benign/a.png`` its split too."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from scripts.core.errors import InputError, Problem, listed
from scripts.data.mask_names import place_of
from scripts.data.splits import fraction_per_class, hold_out, split_name

logger = logging.getLogger(__name__)
_NNUNET = {"imagestr": "train", "imagests": "test"}


def classes_of(pictures: Sequence[Path], folder: Path) -> dict[Path, str | None]:
    """Return image -> the first folder below ``folder`` that names neither a split nor images; None without one."""
    found: dict[Path, str | None] = {}
    for path in pictures:
        parts = path.relative_to(folder).parts[:-1]
        meant = [part for part in parts if place_of(Path(part, "x"), Path()) and split_name(part) is None]
        found[path] = meant[0] if meant else None
    counts = Counter(name for name in found.values() if name is not None)
    if counts:
        logger.info("classes are the folders: %s", listed([f"{name} ({n})" for name, n in sorted(counts.items())]))
    return found


def class_problem(without: Sequence[Path], folder: Path) -> list[Problem]:
    """Return what is said of images that lie in no folder of a class."""
    cure = "Give --labels TABLE with the columns image,label, or a folder for each class (benign/a.png)."
    if any(part.lower() in _NNUNET for path in without for part in path.relative_to(folder).parts):
        cure = (
            "Give --labels TABLE with the columns image,label: nnU-Net has masks of objects, and no class of an image."
        )
    return [Problem("image has no class", str(path), "a folder of its class", "none", cure) for path in without]


def splits_of(pictures: Sequence[Path], folder: Path) -> dict[Path, str] | None:
    """Return image -> split, where folders name two or more (``train``, ``imagesTr``); None where they do not.

    Raises:
        InputError: folders of some images do, and of others do not.
    """
    found = {path: _split(path.relative_to(folder).parts[:-1]) for path in pictures}
    without = [path for path, name in found.items() if name is None]
    if len(set(found.values()) - {None}) < 2:
        return None
    cure = "Put all images into folders of splits, or none; or give --labels TABLE with a column split."
    what = "image lies in no folder of a split"
    if without:
        raise InputError([Problem(what, str(path), "train, val or test", cure=cure) for path in without])
    return {path: name for path, name in found.items() if name is not None}


def with_validation(
    split_of: Mapping[str, str],
    class_of: Mapping[str, str],
    val_fraction: float,
    seed: int,
    patient_of: Mapping[str, str | None] | None,
) -> dict[str, str]:
    """Return id -> split as folders name it; where none is for validation, that is drawn from training.

    Args:
        split_of: id -> split.
        class_of: id -> class.
        val_fraction, seed, patient_of: of the draw, see :func:`scripts.data.splits.hold_out`.
    """
    counts = Counter(split_of.values())
    logger.info("splits are the folders: %s", ", ".join(f"{name} ({n})" for name, n in sorted(counts.items())))
    if "val" in counts:
        return dict(split_of)
    train = {key: name for key, name in class_of.items() if split_of[key] == "train"}
    val = hold_out(train, fraction_per_class(train, val_fraction), seed, "val", patient_of)
    logger.warning("no folder is for validation: %d images of train are taken", len(val))
    return {key: "val" if key in val else name for key, name in split_of.items()}


def _split(parts: Sequence[str]) -> str | None:
    names = (split_name(part) or _NNUNET.get(part.lower()) for part in parts)
    return next((name for name in names if name is not None), None)
