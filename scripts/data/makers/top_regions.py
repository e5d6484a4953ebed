"""The regions of positive slides that look most positive to a model: the others leave the training.

One step of multiple-instance learning, where a positive slide is a bag that holds a positive region somewhere, and only
its top regions are trained on as positive (Campanella et al., Nature Medicine 2019).
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable
from pathlib import Path

from scripts.core.errors import InputError, Problem
from scripts.core.files import write_atomic
from scripts.data.makers.given import require_columns
from scripts.data.splits import split_name
from scripts.data.tables import Row, read_table


def keep_top(table: Path, predictions: Path, out: Path, positive: Iterable[str], share: float) -> dict[str, int]:
    """Write a table without the training regions of positive slides that are not among the slide's top.

    Args:
        table: of a pool, with columns ``id,label,split,slide``.
        predictions: ``predictions.csv`` of these regions, with ``id`` and ``probability_<class>``.
        out: CSV to write, in the folder of the pool.
        positive: classes whose slides may have regions of another class.
        share: of a slide's regions that are kept, in (0, 1], by their probability of the slide's class; at least one.

    Returns:
        slide -> regions that were left out.

    Raises:
        InputError: a value out of its range, a column or a class that is missing, a region that was not predicted.
    """
    classes = set(positive)
    content = read_table(table)
    require_columns(content.columns, ("id", "label", "split", "slide"), table)
    unknown = sorted(classes - {row.get("label") for row in content.rows})
    if unknown or not 0 < share <= 1:
        expected = "classes of the table, and a share above 0, up to 1"
        raise InputError(Problem("cannot be used", "--positive, --share", expected, f"{unknown or share}"))
    predicted = read_table(predictions)
    require_columns(predicted.columns, ("id", *(f"probability_{name}" for name in sorted(classes))), predictions)
    rows = {row.get("id"): row for row in predicted.rows}
    scores: dict[str, list[tuple[float, str]]] = {}
    problems = []
    for row in content.rows:
        if row.get("label") in classes and split_name(row.get("split")) == "train":
            value = _probability(rows.get(row.get("id")), row.get("label"))
            if value is None:
                cure = "Predict the table of the pool with a model of its run."
                problems.append(Problem("region was not predicted", row.where, row.get("id"), "no probability", cure))
            else:
                scores.setdefault(row.get("slide"), []).append((-value, row.get("id")))
    if problems:
        raise InputError(problems)
    left = {slide: {key for _, key in sorted(of)[math.ceil(share * len(of)) :]} for slide, of in scores.items()}
    out_of_training = set().union(*left.values())
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(content.columns)
    kept = (row for row in content.rows if row.get("id") not in out_of_training)
    writer.writerows([row.get(name) for name in content.columns] for row in kept)
    write_atomic(out, text.getvalue().encode())
    return {slide: len(keys) for slide, keys in left.items()}


def _probability(row: Row | None, name: str) -> float | None:
    try:
        value = math.nan if row is None else float(row.get(f"probability_{name}"))
    except ValueError:  # an image with an error has none
        return None
    return None if math.isnan(value) else value
