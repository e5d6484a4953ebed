"""Tables of images: CSV files and MONAI datalists in JSON become rows of text; what the rows mean is not known here."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripts.core.errors import InputError, Problem
from scripts.data.splits import split_name

TABLE_NAMES = ("splits.csv", "datalist.json", "data.csv", "datalist.csv")


@dataclass(frozen=True)
class Row:
    """One row.

    Attributes:
        where: its place for messages, e.g. ``"data.csv line 3"``.
        values: column -> text, stripped; columns without a value are left out.
    """

    where: str
    values: dict[str, str]

    def get(self, column: str | None) -> str:
        """Return the text of a column, ``""`` where there is none."""
        return "" if column is None else self.values.get(column, "")


@dataclass(frozen=True)
class Table:
    """The rows of a file and the names of its columns, with or without values."""

    path: Path
    columns: tuple[str, ...]
    rows: tuple[Row, ...]


def find_table(folder: Path, name: str | Path | None = None) -> Path:
    """Return the table of a data set: ``name`` (relative to ``folder``), or the first of TABLE_NAMES, or the only CSV.

    Raises:
        InputError: there is none, or several and none of the known names.
    """
    if not folder.is_dir():
        raise InputError(
            Problem("folder is missing", str(folder), "the folder of a data set", cure="Check dataset_dir.")
        )
    if name is not None:
        path = folder / name
        if not os.path.isfile(path):
            raise InputError(
                Problem("table is missing", str(path), "a CSV or JSON file", cure="Check the table's name.")
            )
        return path
    known = [folder / name for name in TABLE_NAMES if (folder / name).is_file()]
    others = sorted(path for path in folder.glob("*.csv") if not path.name.startswith("."))
    if known:
        return known[0]
    if len(others) == 1:
        return others[0]
    raise InputError(
        Problem("no table of images found", str(folder), f"{', '.join(TABLE_NAMES)} or a single CSV file",
                ", ".join(path.name for path in others) or "no CSV file",
                "Name it with table, or make one: python -m scripts.data folder --help.")
    )  # fmt: skip


def read_table(path: Path) -> Table:
    """Read a CSV with a header line, or a JSON datalist (lists by split, or one flat list).

    Raises:
        InputError: the file cannot be read as such; lists every malformed row.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(Problem("table cannot be read", str(path), "UTF-8 text", str(error))) from error
    problems: list[Problem] = []
    rows = _csv_rows if path.suffix.lower() != ".json" else _json_rows
    columns, found = rows(path.name, text, problems)
    if not found and not problems:
        problems = [Problem("table has no rows", str(path), "one row per image")]
    if problems:
        raise InputError(problems)
    return Table(path, columns, tuple(found))


def _csv_rows(name: str, text: str, problems: list[Problem]) -> tuple[tuple[str, ...], list[Row]]:
    reader = csv.reader(io.StringIO(text, newline=""), skipinitialspace=True)
    columns: tuple[str, ...] = ()
    rows: list[Row] = []
    try:
        columns = tuple(column.strip() for column in next(reader, []))
        if len(columns) == 1 and ";" in columns[0]:
            problems.append(Problem("table is not separated by commas", name, "commas", "semicolons"))
            return columns, rows
        for cells in reader:
            where = f"{name} line {reader.line_num}"
            if not any(cell.strip() for cell in cells):
                continue
            if len(cells) > len(columns):
                cure = "Put values that hold a comma into double quotes."
                problems.append(
                    Problem("too many values", where, f"{len(columns)} columns", f"{len(cells)} values", cure)
                )
                continue
            values = {column: cell.strip() for column, cell in zip(columns, cells, strict=False) if cell.strip()}
            rows.append(Row(where, values))
    except csv.Error as error:
        problems.append(Problem("not a CSV table", f"{name} line {reader.line_num}", found=str(error)))
    return columns, rows


def _json_rows(name: str, text: str, problems: list[Problem]) -> tuple[tuple[str, ...], list[Row]]:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        problems.append(Problem("not JSON", name, found=str(error)))
        return (), []
    columns: dict[str, None] = {}
    rows: list[Row] = []
    for section, split, entries in _sections(content):
        if split is not None:
            columns["split"] = None
        for position, entry in enumerate(entries):
            where = f"{name} {section}[{position}]"
            if not isinstance(entry, dict) or any(isinstance(value, dict | list) for value in entry.values()):
                expected = '{"image": "a.png", "label": "name", ...}'
                problems.append(Problem("entry is not an object of plain values", where, expected, str(entry)[:80]))
                continue
            values = {key: str(value).strip() for key, value in entry.items() if value is not None}
            halves = [key for key, value in values.items() if not (_is_whole_text(key) and _is_whole_text(value))]
            if halves:
                found = ascii({key: values[key] for key in halves})[:80]
                problems.append(Problem("text holds half of a character", where, "UTF-8 text", found))
                continue
            columns.update(dict.fromkeys(values))
            if split is not None:
                values.setdefault("split", split)
            rows.append(Row(where, {key: value for key, value in values.items() if value}))
    return tuple(columns), rows


def _is_whole_text(text: str) -> bool:
    """JSON can spell halves of UTF-16 pairs, which no file name, log or report can hold."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _sections(content: Any) -> Iterator[tuple[str, str | None, Sequence[Any]]]:
    """Yield (name, split or None, entries); keys that name no split (a datalist's description) are passed over."""
    if isinstance(content, list):
        yield "", None, content
    elif isinstance(content, dict):
        for key, entries in content.items():
            if split_name(key) is not None and isinstance(entries, list):
                yield key, split_name(key), entries
