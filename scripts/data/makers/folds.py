"""Folds of whole patients: each is the test set once, so that every image is tested on by a model of other patients."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from scripts.core.errors import InputError, Problem
from scripts.core.files import write_atomic
from scripts.core.seeds import derive_seed
from scripts.data.splits import fraction_per_class, hold_out
from scripts.data.tables import read_table

PREFIX = "disjoint_fold"
"""Beginning of the names of the columns that are added to a table."""


def patient_folds(
    class_of: Mapping[str, str], patient_of: Mapping[str, str], folds: int = 5, seed: int = 0
) -> dict[str, int]:
    """Return the fold of each patient; folds are alike in their images of each class, as far as whole patients allow.

    Patients come by their number of images, the largest first; each goes to the fold that leaves the numbers of the
    classes nearest to equal (squared distance from the mean of the folds, in shares of the class).

    Args:
        class_of: id -> class of every image.
        patient_of: id -> patient.
        folds: at least 2, at most as many as patients.
        seed: decides among patients with as many images.

    Raises:
        InputError: fewer patients than folds, or fewer than 2 folds.
    """
    patients = sorted(set(patient_of.values()))
    if not 2 <= folds <= len(patients):
        raise InputError(Problem("no such folds", "folds", f"2 to {len(patients)}, the number of patients", f"{folds}"))
    classes = sorted(set(class_of.values()))
    totals = Counter(class_of.values())
    counts = Counter((patient_of[key], name) for key, name in class_of.items())
    shares = {patient: np.array([counts[patient, name] / totals[name] for name in classes]) for patient in patients}
    sizes = Counter(patient_of.values())
    order = sorted(patients, key=lambda patient: (-sizes[patient], derive_seed(seed, "folds", patient)))
    held, images = np.zeros((folds, len(classes))), [0] * folds
    fold_of: dict[str, int] = {}
    for patient in order:
        spreads = []
        for fold in range(folds):
            tried = held.copy()
            tried[fold] += shares[patient]
            spread = ((tried - tried.mean(axis=0)) ** 2).sum()
            # patients of one class leave exact ties, which rounding must not decide
            spreads.append((round(float(spread), 12), images[fold], fold))
        fold_of[patient] = min(spreads)[2]
        held[fold_of[patient]] += shares[patient]
        images[fold_of[patient]] += sizes[patient]
    return fold_of


def fold_splits(
    class_of: Mapping[str, str], patient_of: Mapping[str, str], folds: int = 5, seed: int = 0, val_fraction: float = 0.2
) -> list[dict[str, str]]:
    """Return id -> ``"train"``, ``"val"`` or ``"test"`` for each fold; no patient is in two of them.

    Args:
        class_of: id -> class of every image.
        patient_of: id -> patient.
        folds: see :func:`patient_folds`.
        seed: of folds and validation patients.
        val_fraction: of the images of each class that are not tested on, as near as whole patients allow.

    Raises:
        InputError: see :func:`patient_folds`; or a fold whose training images lack a class.
    """
    fold_of = patient_folds(class_of, patient_of, folds, seed)
    splits = []
    for fold in range(folds):
        rest = {key: name for key, name in class_of.items() if fold_of[patient_of[key]] != fold}
        val = hold_out(rest, fraction_per_class(rest, val_fraction), seed, f"val {fold}", patient_of)
        splits.append({key: "test" if key not in rest else "val" if key in val else "train" for key in class_of})
    empty = [
        Problem("too few patients for the folds", f"{PREFIX}{fold}", f"an image in {part}", "none",
                "Ask for fewer folds, or a larger val_fraction.")
        for fold, split in enumerate(splits)
        for part in ("val", "test")
        if part not in split.values() and (part == "test" or val_fraction > 0)
    ] + [
        Problem("too few patients for the folds", f"{PREFIX}{fold}", f"class {name!r} in training", "none",
                "Ask for fewer folds, or a smaller val_fraction.")
        for fold, split in enumerate(splits)
        for name in sorted(set(class_of.values()))
        if not any(part == "train" and class_of[key] == name for key, part in split.items())
    ]  # fmt: skip
    if empty:
        raise InputError(empty)
    return splits


def add_folds(table: Path, out: Path, folds: int = 5, seed: int = 0, val_fraction: float = 0.2) -> list[dict[str, int]]:
    """Write a table with a column ``disjoint_fold0``, ``disjoint_fold1``, ... of splits for each fold besides its own.

    Args:
        table: CSV with columns ``image,label,patient_id``.
        out: CSV to write; paths stay as they are in the table.
        folds, seed, val_fraction: see :func:`fold_splits`.

    Returns:
        split -> number of images of each fold.

    Raises:
        InputError: a column is missing, or an image without class or patient; see :func:`fold_splits`.
    """
    content = read_table(table)
    needed = ("image", "label", "patient_id")
    problems = [Problem("column is missing", str(table), name) for name in needed if name not in content.columns]
    problems = problems or [
        Problem("no value", row.where, f"a text in column {name}", "nothing")
        for row in content.rows for name in needed if not row.get(name)
    ]  # fmt: skip
    if problems:
        raise InputError(problems)
    class_of = {row.where: row.get("label") for row in content.rows}
    patient_of = {row.where: row.get("patient_id") for row in content.rows}
    splits = fold_splits(class_of, patient_of, folds, seed, val_fraction)
    text = io.StringIO()
    columns = [name for name in content.columns if not name.startswith(PREFIX)]
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*columns, *(f"{PREFIX}{fold}" for fold in range(folds))])
    for row in content.rows:
        writer.writerow([*(row.get(name) for name in columns), *(split[row.where] for split in splits)])
    write_atomic(out, text.getvalue().encode())
    return [dict(Counter(split.values())) for split in splits]
