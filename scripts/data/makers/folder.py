"""Data lists from folders as they are shipped: images beside a label table, the official GlaS folder, CUB-200-2011.

Each maker returns ``(items, classes)``, items as in :mod:`scripts.data.datalist`, and raises one InputError with all
that is amiss in the folder. Files are only listed here; they are decoded when the list is read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from scripts.core.errors import InputError, Problem
from scripts.data.entries import image_ids
from scripts.data.makers.given import Made, given_file, given_folder, indexed, require_columns
from scripts.data.splits import make_split, split_name
from scripts.data.tables import Row, read_table
from scripts.images.reading import image_stem, is_image_file

MASK_ENDINGS = ("_anno", "_mask", "_seg", "_segmentation", "_gt", "_label")


def folder_items(
    images: str | Path,
    labels: str | Path,
    masks: str | Path | None = None,
    seed: int = 0,
    val_fraction: float = 0.2,
    test_fraction: float = 0.2,
    group_by_patient: bool = False,
) -> Made:
    """List a folder of images with a table of labels.

    Args:
        images: searched with all folders below; dot-files and masks are left out.
        labels: CSV with columns ``image,label[,split][,patient_id]``; ``image`` is a file name, with or without
            folder and suffix.
        masks: folder of masks, each named as its image, alone or with one of MASK_ENDINGS; None looks for files with
            such an ending among the images.
        seed, val_fraction, test_fraction, group_by_patient: of a drawn split, where the table names none; see
            :func:`scripts.data.splits.make_split`.

    Raises:
        InputError: an image without label, a label without image, a name or mask that fits several, a bad split.
    """
    folder = given_folder(images)
    mask_folder = folder if masks is None else given_folder(masks)
    apart = mask_folder != folder
    found = [path for path in _image_files(folder) if not (apart and path.is_relative_to(mask_folder))]
    stems = {(path.parent, image_stem(path)) for path in found}
    pictures = [path for path in found if not _is_mask_of_another(path, stems)]
    candidates = _image_files(mask_folder) if apart else [path for path in found if path not in set(pictures)]
    table = read_table(given_file(Path(labels).absolute()))
    require_columns(table.columns, ("image", "label"), labels)
    problems: list[Problem] = []
    row_of = _rows_by_image(table.rows, pictures, folder, problems)
    mask_of = _masks_by_image(pictures, candidates, folder, mask_folder, problems)
    problems += [
        Problem("image has no label", str(path), f"a row in {labels}", "none", "Add the row or move the image.")
        for path in pictures
        if path not in row_of
    ]
    items: list[dict[str, Any]] = [
        {"id": key, "image": str(path), "label": row_of[path].get("label"),
         "mask": str(mask_of[path]) if path in mask_of else None, "split": row_of[path].get("split"),
         "patient_id": row_of[path].get("patient_id") or None}
        for key, path in zip(image_ids(pictures, folder), pictures, strict=True) if path in row_of
    ]  # fmt: skip
    if not problems and any(item["split"] for item in items):
        problems += [_no_split(item) for item in items if split_name(item["split"]) is None]
    if problems:
        raise InputError(problems)
    if not any(item["split"] for item in items):
        class_of = {item["id"]: item["label"] for item in items}
        patient_of = {item["id"]: item["patient_id"] for item in items} if group_by_patient else None
        drawn = make_split(class_of, seed, val_fraction, test_fraction, patient_of)
        items = [{**item, "split": drawn[item["id"]]} for item in items]
    return indexed([{**item, "split": split_name(item["split"])} for item in items])


def _image_files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if is_image_file(path) and path.is_file())


def _without_ending(stem: str) -> str | None:
    """``"a_mask"`` -> ``"a"``; None where the stem has no ending of a mask."""
    return next((stem.removesuffix(ending) for ending in MASK_ENDINGS if stem.endswith(ending)), None)


def _is_mask_of_another(path: Path, stems: set[tuple[Path, str]]) -> bool:
    """Say whether ``a_mask.png`` lies beside an ``a.*``."""
    return (path.parent, _without_ending(image_stem(path))) in stems


def _names_of(path: Path, folder: Path) -> tuple[str, ...]:
    """Return the names a table may give a file: with folder or not, with suffix or not."""
    within = path.relative_to(folder)
    stem = image_stem(path)
    return within.as_posix(), within.with_name(stem).as_posix(), path.name, stem


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


def _masks_by_image(
    pictures: Sequence[Path], candidates: Sequence[Path], folder: Path, mask_folder: Path, problems: list[Problem]
) -> dict[Path, Path]:
    """Match masks by their path below the mask folder, else by a stem that only one image has."""
    by_place: dict[str, set[Path]] = {}
    by_stem: dict[str, set[Path]] = {}
    for path in pictures:
        by_place.setdefault(_names_of(path, folder)[1], set()).add(path)
        by_stem.setdefault(image_stem(path), set()).add(path)
    found: dict[Path, Path] = {}
    for mask in candidates:
        within, stem = mask.relative_to(mask_folder), image_stem(mask)
        owners: set[Path] = set()
        for name in filter(None, (stem, _without_ending(stem))):
            owners = owners or by_place.get(within.with_name(name).as_posix()) or by_stem.get(name) or set()
        if len(owners) > 1:
            listed = " and ".join(str(path) for path in sorted(owners))
            problems.append(Problem("mask fits several images", str(mask), "one image", listed))
        for owner in owners if len(owners) == 1 else ():
            if found.setdefault(owner, mask) != mask:
                problems.append(Problem("image has two masks", str(owner), "one mask", f"{found[owner]} and {mask}"))
    return found


def _no_split(item: Mapping[str, Any]) -> Problem:
    cure = "Fill column split in every row, or in none."
    return Problem("unknown split", item["image"], "train, val or test", repr(item["split"]), cure)
