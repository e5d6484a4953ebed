"""Checks on the rows of one phase, and their way into the tables. Each function is a part of one transaction."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterable, Iterator, Sequence

from scripts.core.errors import Problem, StateError
from scripts.state.rows import OUTLINE, LabelRow, PseudoRow, QueryRow
from scripts.state.schema import ANSWERS
from scripts.state.settings_checks import shortened


def require_finite(numbers: Iterable[tuple[str, float | None]]) -> None:
    """Refuse NaN and infinity, which SQLite would turn into an absent value without a word.

    Args:
        numbers: pairs of the place a number comes from and the number; ``None`` passes.

    Raises:
        StateError: lists each place.
    """
    problems = [
        Problem("is not a finite number", where=place, found=str(number))
        for place, number in numbers
        if number is not None and not math.isfinite(number)
    ]
    if problems:
        raise StateError(shortened(problems))


def numbers_of(rows: Iterable[QueryRow | LabelRow | PseudoRow]) -> Iterator[tuple[str, float | None]]:
    """Yield the real numbers in ``rows`` with the place they come from, for :func:`require_finite`."""
    for row in rows:
        if isinstance(row, QueryRow):
            yield f"score of {row.id}", row.score
        elif isinstance(row, LabelRow):
            yield f"seconds of {row.id}", row.seconds
        else:
            yield f"distance of {row.id}", row.distance
            yield f"threshold of {row.id}", row.threshold


def require_train(db: sqlite3.Connection, ids: Iterable[str]) -> None:
    """Refuse ids that are no training images of the run.

    Raises:
        StateError: lists each id with its split.
    """
    splits = dict(db.execute("SELECT id, split FROM images").fetchall())
    problems = [
        Problem("only training images can be asked for, labelled or paired", image, "train", found)
        for image, found in ((image, splits.get(image, "no image of the run")) for image in sorted(set(ids)))
        if found != "train"
    ]
    if problems:
        raise StateError(shortened(problems))


def insert_queries(db: sqlite3.Connection, rows: Sequence[QueryRow], table: str = "queries") -> None:
    """Store queries, or, in the table ``"reserves"``, what stands in for skipped ones; scores may be NumPy numbers."""
    values = [(row.round, row.rank, row.id, None if row.score is None else float(row.score)) for row in rows]
    db.executemany(f"INSERT INTO {table} (round, rank, id, score) VALUES (?, ?, ?, ?)", values)


def insert_labels(db: sqlite3.Connection, rows: Sequence[LabelRow]) -> list[int]:
    """Store masks, each as the next version of its image, and return the versions."""
    fixed = "id, round, blob, cost_px, boundary_px, seconds, user, status, at, said, origin, origin_sha256"
    version = "(SELECT COALESCE(MAX(version), 0) + 1 FROM labels WHERE id = ?)"
    query = f"INSERT INTO labels ({fixed}, version) VALUES ({', '.join('?' * 12)}, {version}) RETURNING version"
    versions = []
    if any(row.kind != OUTLINE for row in rows):
        db.execute(ANSWERS)
    # One by one: two masks of one image in the same phase get two versions.
    for row in rows:
        cost = (int(row.cost_px), int(row.boundary_px), float(row.seconds))
        told = (row.user, row.status, row.at, row.said, row.origin, row.origin_sha256)
        found = db.execute(query, (row.id, row.round, row.blob, *cost, *told, row.id)).fetchall()
        versions.append(int(found[0][0]))
        if row.kind != OUTLINE:
            answer = (row.id, versions[-1], row.kind, int(row.objects))
            db.execute("INSERT INTO answers (id, version, kind, objects) VALUES (?, ?, ?, ?)", answer)
    return versions


def claim_labels(db: sqlite3.Connection, round: int) -> None:
    """Give the masks that no round has taken yet to ``round``."""
    db.execute("UPDATE labels SET round = ? WHERE round IS NULL AND status = 'accepted'", (round,))


def insert_pseudo(db: sqlite3.Connection, rows: Sequence[PseudoRow]) -> None:
    """Store pseudo-masks.

    Raises:
        StateError: an image has an accepted mask in the row's round or before; a drawn mask always wins.
    """
    drawn = "SELECT id, MIN(round) FROM labels WHERE status = 'accepted' AND round IS NOT NULL GROUP BY id"
    first = dict(db.execute(drawn).fetchall())
    problems = [
        Problem("pseudo-mask of an image that has a drawn mask", where=f"round {row.round}, {row.id}")
        for row in rows
        if row.id in first and first[row.id] <= row.round
    ]
    if problems:
        raise StateError(shortened(problems))
    columns = "(id, round, stage, donor, distance, threshold, blob)"
    values = [
        (row.id, row.round, row.stage, row.donor, float(row.distance), float(row.threshold), row.blob) for row in rows
    ]
    db.executemany(f"INSERT INTO pseudo {columns} VALUES (?, ?, ?, ?, ?, ?, ?)", values)
