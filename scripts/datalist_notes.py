"""What a user should know of a data list that can be used: images left out, small classes, what is in two splits."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from scripts.errors import listed
from scripts.splits import patients_in_several_splits
from scripts.tables import Table

logger = logging.getLogger(__name__)
Item = Mapping[str, Any]


def tell(
    items: Sequence[Item], names: Sequence[str], image_sha256: Mapping[str, str], quarantined: Mapping[str, str]
) -> None:
    """Log all of it as warnings.

    Args:
        items: of the data list.
        names: class names.
        image_sha256: id -> hash of the image file.
        quarantined: id -> why the image was left out.
    """
    _warn_of_quarantine(quarantined)
    _warn_of_patients(items)
    _warn_of_small_classes(items, names)
    _warn_of_copies(items, image_sha256)


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
    for item in items:
        twin = first.setdefault(image_sha256[item["id"]], item)
        if twin["split"] != item["split"]:
            names = (twin["id"], twin["split"], item["id"], item["split"])
            logger.warning("the same file content is in two splits: %s (%s) and %s (%s)", *names)
