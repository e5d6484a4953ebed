"""The list of a folder of images: labels from a table or from the folders, masks by their names.

A maker returns ``(items, classes)``, items as in :mod:`scripts.data.datalist`, and raises one InputError with all
that is amiss in the folder. Files are only listed here; they are decoded when the list is read.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from scripts.core.errors import InputError, Problem, listed
from scripts.data.entries import image_ids
from scripts.data.labels import confusable_names
from scripts.data.makers.given import Made, given_file, given_folder, indexed, require_columns
from scripts.data.makers.layout import class_problem, classes_of, splits_of, with_validation
from scripts.data.makers.pairing import Pairing, Pattern, pair_masks
from scripts.data.mask_names import bare_names, masks_among, other_forms
from scripts.data.splits import make_split, make_split_of_patients, split_name
from scripts.data.tables import Row, read_table
from scripts.images.files.names import image_stem, is_image_file
from scripts.images.mask_files.names import SEPARATOR

logger = logging.getLogger(__name__)


def folder_items(
    images: str | Path,
    labels: str | Path | None = None,
    masks: str | Path | None = None,
    seed: int = 0,
    val_fraction: float = 0.2,
    test_fraction: float = 0.2,
    group_by_patient: bool = False,
    mask_pattern: str | None = None,
) -> Made:
    """List a folder of images.

    Args:
        images: searched with all folders below; dot-files and masks are left out.
        labels: CSV with columns ``image,label[,split][,patient_id]``; ``image`` is a file name, with or without
            folder and suffix. None takes the names of the folders: ``benign/a.png``, ``train/benign/a.png``.
        masks: folder of masks, paired by :func:`scripts.data.makers.pairing.pair_masks`; None looks for them among the
            images (:func:`scripts.data.mask_names.masks_among`).
        seed, val_fraction, test_fraction, group_by_patient: of a drawn split, where neither the table nor folders
            (``train``, ``imagesTr``) name one; see :func:`scripts.data.splits.make_split`.
        mask_pattern: how masks are named, where their names say it otherwise.

    Raises:
        InputError: an image without label, a label without image, a name or mask that fits several, a bad split.
    """
    folder = given_folder(images)
    mask_folder = folder if masks is None else given_folder(masks)
    pictures, candidates = _told_apart(folder, mask_folder, mask_pattern)
    problems: list[Problem] = []
    values = _values_by_image(pictures, folder, labels, problems)
    paired = pair_masks(pictures, folder, candidates, mask_folder, mask_pattern)
    problems += paired.problems
    where = folder if labels is None else Path(labels)
    problems += confusable_names([row.get("label", "") for row in values.values()], where)
    if labels is not None:
        problems += [
            Problem("image has no label", str(path), f"a row in {labels}", "none", "Add the row or move the image.")
            for path in pictures
            if path not in values
        ]
    items: list[dict[str, Any]] = [
        {"id": key, "image": str(path), "label": values[path].get("label"),
         "mask": SEPARATOR.join(map(str, paired.masks.get(path, ()))) or None, "split": values[path].get("split", ""),
         "patient_id": values[path].get("patient_id") or None}
        for key, path in zip(image_ids(pictures, folder), pictures, strict=True) if path in values
    ]  # fmt: skip
    if not problems and any(item["split"] for item in items):
        problems += [_no_split(item) for item in items if split_name(item["split"]) is None]
    if problems:
        raise InputError(problems)
    _tell(paired, pictures, candidates)
    class_of = {item["id"]: item["label"] for item in items}
    patient_of = {item["id"]: item["patient_id"] for item in items} if group_by_patient else None
    if any(item["split"] for item in items):
        return indexed([{**item, "split": split_name(item["split"])} for item in items])
    placed = splits_of(pictures, folder)
    if placed is not None:
        split_of = {item["id"]: placed[Path(item["image"])] for item in items}
        drawn = with_validation(split_of, class_of, val_fraction, seed, patient_of)
    elif patient_of is not None:
        drawn = make_split_of_patients(class_of, patient_of, seed, val_fraction, test_fraction)
    else:
        drawn = make_split(class_of, seed, val_fraction, test_fraction)
    return indexed([{**item, "split": drawn[item["id"]]} for item in items])


def _told_apart(folder: Path, mask_folder: Path, mask_pattern: str | None) -> tuple[list[Path], list[Path]]:
    """Return the images of a folder and the files that may be their masks; tell what is neither."""
    apart = mask_folder != folder
    files = [path for path in _files(folder) if not (apart and path.is_relative_to(mask_folder))]
    others = other_forms([*files, *(_files(mask_folder) if apart else ())])
    if others:
        logger.warning("left out, in no form that can be read: %s", others)
    found = [path for path in files if is_image_file(path)]
    if mask_pattern is not None and not apart:
        fit = Pattern(mask_pattern, found)
        among = [path for path in found if fit.find(path, folder)[1] - {path}]
    else:
        among = masks_among(found, folder)
    pictures = [path for path in found if path not in set(among)]
    return pictures, [path for path in _files(mask_folder) if is_image_file(path)] if apart else among


def _values_by_image(
    pictures: Sequence[Path], folder: Path, labels: str | Path | None, problems: list[Problem]
) -> dict[Path, dict[str, str]]:
    """Return image -> its values of a table, or its label as its folders say."""
    if labels is None:
        classes = classes_of(pictures, folder)
        without = [path for path, name in classes.items() if name is None]
        problems += class_problem(without, folder) if without else []
        return {path: {"label": name} for path, name in classes.items() if name is not None}
    table = read_table(given_file(Path(labels).absolute()))
    require_columns(table.columns, ("image", "label"), labels)
    return {path: row.values for path, row in _rows_by_image(table.rows, pictures, folder, problems).items()}


def _tell(paired: Pairing, pictures: Sequence[Path], candidates: Sequence[Path]) -> None:
    """Log how masks were found, and what has no partner."""
    if paired.scheme:
        logger.warning("masks are paired by what is left of the names of %s", paired.scheme)
    several = [f"{path.name} ({len(parts)})" for path, parts in paired.masks.items() if len(parts) > 1]
    if several:
        logger.warning("%d images have several masks, which are joined: %s", len(several), listed(several, 3))
    if paired.unpaired:
        names = listed([path.name for path in paired.unpaired], 3)
        hint = "say how masks are named, such as --mask_pattern '{image}_roi*'"
        logger.warning("%d files of masks fit no image: %s; %s", len(paired.unpaired), names, hint)
    without = [path.name for path in pictures if path not in paired.masks]
    if candidates and without:
        logger.warning("%d images have no mask: %s", len(without), listed(without, 3))


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))


def _names_of(path: Path, folder: Path) -> tuple[str, ...]:
    """Return the names a table may give a file: with folder or not, with suffix or not; bare names come last."""
    within = path.relative_to(folder)
    stem = image_stem(path)
    return within.as_posix(), within.with_name(stem).as_posix(), path.name, stem, *bare_names(stem)


def _rows_by_image(
    rows: Sequence[Row], pictures: Sequence[Path], folder: Path, problems: list[Problem]
) -> dict[Path, Row]:
    paths_of: dict[str, set[Path]] = {}
    for path in pictures:
        for name in _names_of(path, folder):
            paths_of.setdefault(name, set()).add(path)
    found: dict[Path, Row] = {}
    for row in rows:
        name = row.get("image").replace("\\", "/")
        paths = sorted(paths_of.get(name) or paths_of.get(name.removeprefix(f"{folder.name}/"), set()))
        if len(paths) != 1:
            listed = " and ".join(str(path) for path in paths) or "none"
            problems.append(Problem("row fits not exactly one image", row.where, f"one image {name!r}", listed))
        elif not row.get("label"):
            problems.append(Problem("row has no label", row.where, "a class name", "nothing"))
        elif found.setdefault(paths[0], row) is not row:
            problems.append(Problem("image is listed twice", row.where, name, f"also in {found[paths[0]].where}"))
    return found


def _no_split(item: Mapping[str, Any]) -> Problem:
    cure = "Fill column split in every row, or in none."
    return Problem("unknown split", item["image"], "train, val or test", repr(item["split"]), cure)
