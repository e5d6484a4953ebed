"""The list of the official GlaS folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from scripts.core.errors import InputError, Problem
from scripts.data.makers.given import Made, given_file, given_folder, indexed, require_columns
from scripts.data.splits import fraction_per_class, hold_out
from scripts.data.tables import read_table
from scripts.images.files.names import image_stem, is_image_file

GLAS_GRADE = "grade (GlaS)"


def glas_items(folder: str | Path, seed: int = 0, val_fraction: float = 0.2, group_by_patient: bool = False) -> Made:
    """List the official GlaS folder: ``train_1.bmp``, ``train_1_anno.bmp``, ``testA_1.bmp``, ..., ``Grade.csv``.

    Test are the official parts A and B; validation is ceil(``val_fraction``) of the official training part per class,
    as in Belharbi et al. 2021, whose own draw another generator made.

    Args:
        folder: of the unpacked archive.
        seed, val_fraction, group_by_patient: of the validation images, see :func:`scripts.data.splits.hold_out`.

    Raises:
        InputError: a file of ``Grade.csv`` is missing, or the table is not the official one.
    """
    root = given_folder(folder)
    table = read_table(given_file(root / "Grade.csv"))
    require_columns(table.columns, ("name", "patient ID", GLAS_GRADE), root / "Grade.csv")
    files = {image_stem(path): path for path in sorted(root.iterdir()) if is_image_file(path)}
    if not any(row.get("name") in files for row in table.rows):
        cure = "Give the folder with train_1.bmp in it; other layouts are read from their own table."
        raise InputError(Problem("no image of the official archive", str(root), "train_1.bmp, ...", "none", cure))
    problems: list[Problem] = []
    items: list[dict[str, Any]] = []
    for row in table.rows:
        name = row.get("name")
        missing = [stem for stem in (name, f"{name}_anno") if stem not in files]
        problems += [
            Problem("file is missing", str(root / f"{stem}.bmp"), "a file of the official archive") for stem in missing
        ]
        if not name.startswith(("train_", "testA_", "testB_")):
            problems.append(Problem("unknown part", row.where, "train_N, testA_N or testB_N", repr(name)))
        elif not missing:
            patient = row.get("patient ID") or None
            split = "train" if name.startswith("train_") else "test"
            items.append(
                {"id": name, "image": str(files[name]), "label": row.get(GLAS_GRADE),
                 "mask": str(files[f"{name}_anno"]), "split": split, "patient_id": patient}
            )  # fmt: skip
    if problems:
        raise InputError(problems)
    class_of = {item["id"]: item["label"] for item in items if item["split"] == "train"}
    patient_of = {item["id"]: item["patient_id"] for item in items} if group_by_patient else None
    val = hold_out(class_of, fraction_per_class(class_of, val_fraction), seed, "val", patient_of)
    return indexed([{**item, "split": "val"} if item["id"] in val else item for item in items])
