"""What every file of results has in common: CSV as bytes, and the versions of the packages that made it."""

from __future__ import annotations

import csv
import importlib.metadata
import io
import platform
from collections.abc import Sequence
from typing import Any

Record = dict[str, Any]
"""One result: column name -> value."""

PACKAGES = ("torch", "monai", "pytorch-ignite", "numpy", "pillow", "nibabel")


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that decide the numbers; a missing package is left out."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def csv_bytes(rows: Sequence[Record], columns: Sequence[str] = ()) -> bytes:
    """Return rows of the same columns as CSV; ``columns`` are those of a table without a row."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0] if rows else columns), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()
