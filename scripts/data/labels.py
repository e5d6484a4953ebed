"""What the labels of a table say: names of classes, and where they can be none, or not those that are meant."""

from __future__ import annotations

import logging
import math
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from scripts.core.errors import Problem, listed
from scripts.data.tables import EMPTY_CELLS, Row, Table
from scripts.images.drawn.outline_files import is_outlines
from scripts.images.files.names import is_image_file

logger = logging.getLogger(__name__)
CLASS_COLUMNS = ("class", "class_name", "class_label", "classification", "category", "diagnosis", "grade", "type")
"""Columns that may hold the classes of a list whose labels are masks."""


def with_class_labels(table: Table, problems: list[Problem]) -> Table:
    """Return a table whose labels are names of classes.

    Lists for segmentation (Medical Segmentation Decathlon, Auto3DSeg) have the file of the mask as ``label``. Where
    they also have one of CLASS_COLUMNS, that becomes the label, and the file the mask.

    Args:
        table: as it was read.
        problems: added to where the labels are files and no column has the classes.
    """
    labels = [row.get("label") for row in table.rows if row.get("label")]
    named = {text for text in set(labels) if is_image_file(text) or is_outlines(text)}
    files = [text for text in labels if text in named]
    if not files:
        return table
    column = next((name for name in table.columns if name.lower() in CLASS_COLUMNS), None)
    if column is None or "mask" in table.columns or len(files) < len(labels):
        cure = (
            f"Name the class of each image in label, and these files in mask; or add {CLASS_COLUMNS[0]} to each entry."
        )
        if column is not None:
            cure = "Let label name classes alone, and mask the files."
        found = f"{len(files)} of {len(labels)}, such as {files[0]}"
        problems.append(Problem("labels are files of masks, not classes", str(table.path), "classes", found, cure))
        return table
    logger.warning("%s: label holds files: they are read as masks, and the classes from %s", table.path, column)
    rows = tuple(_with_class(row, column) for row in table.rows)
    return replace(table, columns=(*table.columns, "mask"), rows=rows)


def _with_class(row: Row, column: str) -> Row:
    values = {key: text for key, text in row.values.items() if key != "label"}
    moved = {"label": row.get(column), "mask": row.get("label")}
    return Row(row.where, {**values, **{key: text for key, text in moved.items() if text}})


def unknown_labels(rows: Sequence[Row], names: Sequence[str]) -> list[Problem]:
    """Return what is wrong with the labels of rows that are not among ``names``."""
    problems = []
    for row in rows:
        label = row.get("label")
        if label not in names:
            cure = "Mend the label or classes." if label else "Fill the column label, or remove the row."
            problems.append(Problem("unknown label", row.where, listed(names), repr(label), cure))
    return problems


def unusable_names(names: Sequence[str], path: Path) -> list[Problem]:
    """Return what is wrong with names of classes that no report could show."""
    expected = "printable text of at most 200 bytes"
    return [
        Problem("class name cannot be used", str(path), expected, repr(name)[:80])
        for name in names
        if not name.isprintable() or len(name.encode()) > 200
    ]


def confusable_names(labels: Sequence[str], path: Path) -> list[Problem]:
    """Return a problem for each group of names that seem to mean one class: ``Benign`` and ``benign``, 0 and 0.0.

    Args:
        labels: of all rows.
        path: of the table.
    """
    counts = Counter(label for label in labels if label)
    alike: dict[object, list[str]] = {}
    for name in sorted(counts):
        alike.setdefault(_meant(name), []).append(name)
    problems = []
    for names in alike.values():
        if len(names) > 1:
            difference = "the form of a number" if isinstance(_meant(names[0]), float) else "case or signs"
            found = ", ".join(f"{name!r} ({counts[name]})" for name in names)
            cure = f"Write {max(names, key=lambda name: counts[name])!r} in all these rows."
            what = f"classes differ only in {difference}"
            problems.append(Problem(what, str(path), "one spelling of each class", found, cure))
    return problems


def tell_of_empty_names(names: Sequence[str], path: Path) -> None:
    """Warn of classes whose name may stand for an empty cell."""
    doubtful = [name for name in names if name.lower() in EMPTY_CELLS]
    if doubtful:
        logger.warning("%s: %s is taken for a class; leave cells empty that have none", path, listed(doubtful))


def _meant(name: str) -> object:
    """Return what is equal for spellings of one name: its number, or its letters without case, accents' form, gaps."""
    if re.fullmatch(r"[-+]?[0-9]*\.?[0-9]+\.?", name):
        number = float(name)
        return number if math.isfinite(number) else name
    return re.sub(r"[\s_-]+", " ", unicodedata.normalize("NFKC", name).casefold())
