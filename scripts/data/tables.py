"""Tables of images: CSV files and MONAI datalists in JSON become rows of text; what the rows mean is not known here."""

from __future__ import annotations

import codecs
import csv
import io
import json
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripts.core.errors import InputError, Problem
from scripts.data.splits import split_name
from scripts.images.files.names import is_image_file
from scripts.images.mask_files.names import SEPARATOR

TABLE_NAMES = ("splits.csv", "datalist.json", "data.csv", "datalist.csv")
DECATHLON = "dataset.json"
"""List of the Medical Segmentation Decathlon; that of nnU-Net has the same name and lists no images."""
TABLE_SUFFIXES = (".csv", ".tsv", ".json")
KNOWN_COLUMNS = ("image", "label", "mask", "split", "patient_id", "id")
EMPTY_LABELS = ("", "nan", "<na>", "#n/a", "n/a")
"""Cells that are empty in any column, in lower case."""
EMPTY_CELLS = (*EMPTY_LABELS, "na", "none", "null")
"""Cells that are empty in every column but ``label``, where ``none`` may be a class."""
_SEPARATORS = ",;\t|"
_SEPARATOR_LINE = re.compile(r'"?sep=(.)"?\r?\n', re.IGNORECASE)
_WORKBOOKS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")


@dataclass(frozen=True, slots=True)
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
    """Return the table of a data set.

    That is ``name`` (relative to ``folder``), or the first of TABLE_NAMES, or the only CSV or TSV, or DECATHLON.

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
    others = sorted(path for path in folder.glob("*.[ct]sv") if not path.name.startswith("."))
    if known:
        return known[0]
    if len(others) == 1:
        return others[0]
    if not others and (folder / DECATHLON).is_file():
        return folder / DECATHLON
    raise InputError(
        Problem("no table of images found", str(folder), f"{', '.join(TABLE_NAMES)} or a single CSV file",
                ", ".join(path.name for path in others) or "no CSV file",
                "Name it with table, or make one: python -m scripts.data folder --help.")
    )  # fmt: skip


def read_table(path: Path) -> Table:
    """Read a table with a header line, or a JSON datalist (lists by split, or one flat list).

    Columns may be separated by commas, semicolons, tabs or upright lines: by what gives the header most of
    KNOWN_COLUMNS. These are found in capitals too, and get their usual names. Texts are UTF-8, or UTF-16 as
    spreadsheets write it. Cells such as ``nan`` or ``NA`` are empty; in column ``label`` some of them are the names of
    classes (:data:`EMPTY_LABELS`).

    Raises:
        InputError: the file cannot be read as such; lists every malformed row.
    """
    text = _text_of(path)
    problems: list[Problem] = []
    rows = _csv_rows if path.suffix.lower() != ".json" else _json_rows
    columns, found = rows(path.name, text, problems)
    if not found and not problems:
        cure = "Fill it, or make one from a folder of images: python -m scripts.data folder --help."
        problems = [Problem("table has no rows", str(path), "one row per image", "none", cure)]
    if problems:
        raise InputError(problems)
    return Table(path, columns, tuple(found))


def _text_of(path: Path) -> str:
    try:
        content = path.read_bytes()
        if content.startswith(_WORKBOOKS):
            cure = "Save the sheet as CSV UTF-8, and name that file."
            raise InputError(Problem("table cannot be read", str(path), "a text file", "a workbook", cure))
        return content.decode(_encoding(content))
    except (OSError, UnicodeDecodeError) as error:
        cure = "Save it as CSV UTF-8." if isinstance(error, UnicodeDecodeError) else ""
        raise InputError(Problem("table cannot be read", str(path), "UTF-8 text", str(error), cure)) from error


def _encoding(content: bytes) -> str:
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    # Tables begin with a letter or a bracket, of which UTF-16 makes one byte and a zero.
    return {b"\0": "utf-16-be"}.get(content[:1]) or {b"\0": "utf-16-le"}.get(content[1:2]) or "utf-8-sig"


def _csv_rows(name: str, text: str, problems: list[Problem]) -> tuple[tuple[str, ...], list[Row]]:
    told = _SEPARATOR_LINE.match(text)  # a note of Excel to itself
    body = text[told.end() :] if told else text
    separator = told[1] if told else max(_SEPARATORS, key=lambda tried: _fit(body, tried))
    reader = csv.reader(io.StringIO(body, newline=""), delimiter=separator, skipinitialspace=True)
    columns: list[str] = []
    rows: list[Row] = []
    first = 1 if told else 0
    try:
        columns = _usual_names([column.strip() for column in next(reader, [])])
        twice = sorted(column for column in KNOWN_COLUMNS if columns.count(column) > 1)
        if twice:
            problems.append(Problem("column is there twice", name, "each column once", ", ".join(twice), "Rename one."))
        for cells in reader:
            where = f"{name} line {reader.line_num + first}"
            cells = [cell.strip() for cell in cells]
            if any(cells[len(columns) :]):
                cure = "Put values that hold a comma into double quotes."
                problems.append(
                    Problem("too many values", where, f"{len(columns)} columns", f"{len(cells)} values", cure)
                )
            elif any(cells):
                pairs = zip(columns, cells, strict=False)
                rows.append(Row(where, {key: cell for key, cell in pairs if key and not _is_empty(key, cell)}))
    except csv.Error as error:
        problems.append(Problem("not a CSV table", f"{name} line {reader.line_num + first}", found=str(error)))
    return tuple(filter(None, columns)), rows


def _fit(text: str, separator: str) -> tuple[int, int]:
    """Say how well a header is cut: the number of known columns, and that of all."""
    try:
        header = next(csv.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True), [])
    except csv.Error:
        return 0, 0
    names = _usual_names([column.strip() for column in header])
    return len({*names} & {*KNOWN_COLUMNS}), len(header)


def _usual_names(columns: list[str]) -> list[str]:
    """Return the names with KNOWN_COLUMNS spelled as there, where that spelling is not among them already."""
    usual = {name for name in KNOWN_COLUMNS if name not in columns}
    return [column.lower() if column.lower() in usual else column for column in columns]


def _is_empty(column: str, text: str) -> bool:
    return text.lower() in (EMPTY_LABELS if column == "label" else EMPTY_CELLS)


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
            entry = {"image": entry} if isinstance(entry, str) else entry  # Decathlon names its test images alone
            entry = _with_joined_masks(entry) if isinstance(entry, dict) else entry
            if not isinstance(entry, dict) or any(isinstance(value, dict | list) for value in entry.values()):
                expected = '{"image": "a.png", "label": "name", ...}'
                problems.append(Problem("entry is not an object of plain values", where, expected, str(entry)[:80]))
                continue
            pairs = zip(_usual_names(list(entry)), entry.values(), strict=True)
            values = {key: str(value).strip() for key, value in pairs if value is not None}
            halves = [key for key, value in values.items() if not (_is_whole_text(key) and _is_whole_text(value))]
            if halves:
                found = ascii({key: values[key] for key in halves})[:80]
                problems.append(Problem("text holds half of a character", where, "UTF-8 text", found))
                continue
            columns.update(dict.fromkeys(values))
            if split is not None:
                values.setdefault("split", split)
            rows.append(Row(where, {key: value for key, value in values.items() if not _is_empty(key, value)}))
    return tuple(columns), rows


def _with_joined_masks(entry: dict[str, Any]) -> dict[str, Any]:
    """Return an entry with a list of mask files as one cell; a label may be such a list, or one of anything else."""
    joined = dict(entry)
    for key, value in entry.items():
        if isinstance(value, list) and all(isinstance(path, str) and SEPARATOR not in path for path in value):
            is_files = bool(value) and all(map(is_image_file, value))
            if key.lower() == "mask" or (key.lower() == "label" and is_files):
                joined[key] = SEPARATOR.join(value)
    return joined


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
