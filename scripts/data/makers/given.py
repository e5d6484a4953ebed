"""What all makers of tables need: the folder and the files that were given, and the items as they are returned."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from scripts.core.errors import InputError, Problem

Made = tuple[list[dict[str, Any]], tuple[str, ...]]
"""Items as in :mod:`scripts.data.datalist`, and the names of the classes."""


def given_folder(path: str | Path) -> Path:
    """Return the absolute path of a folder, or raise InputError where there is none."""
    folder = Path(path).expanduser().absolute()
    if not folder.is_dir():
        raise InputError(Problem("folder is missing", str(folder), "a folder", cure="Check the path."))
    return folder


def given_file(path: Path) -> Path:
    """Return the path of a table, or raise InputError where there is none."""
    if not path.is_file():
        raise InputError(Problem("file is missing", str(path), "a table", cure="Check the path."))
    return path


def require_columns(found: Sequence[str], needed: Iterable[str], where: str | Path) -> None:
    """Raise InputError where a table lacks one of the columns."""
    missing = [name for name in needed if name not in found]
    if missing:
        raise InputError(Problem("columns are missing", str(where), ", ".join(missing), ", ".join(found)))


def indexed(items: list[dict[str, Any]]) -> Made:
    """Replace class names by their index among the sorted names."""
    classes = tuple(sorted({item["label"] for item in items}))
    index = {name: label for label, name in enumerate(classes)}
    return [{**item, "label": index[item["label"]]} for item in items], classes
