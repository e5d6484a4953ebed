"""From rows of a table to images: paths that stay inside the data set, and ids that name each image once."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from scripts.core.errors import Problem
from scripts.data.splits import split_name
from scripts.data.tables import Row, Table
from scripts.images.files.names import image_stem
from scripts.images.mask_files.names import SEPARATOR, mask_paths

_LONGEST_ID = 200  # bytes; with a suffix it must be the name of a file


@dataclass(frozen=True, slots=True)
class Entry:
    """A row with its paths resolved: ``image`` and ``mask`` are absolute and inside the data set.

    ``mask`` may hold several paths, see :func:`scripts.images.mask_files.names.mask_paths`.
    """

    id: str
    row: Row
    image: Path
    mask: str | None


def entries_of(
    table: Table,
    root: Path,
    split_column: str,
    id_column: str | None,
    problems: list[Problem],
    cure_outside: str = "Give the folder that holds all files as --dataset_dir, and the table's path as --data#table.",
    with_masks: bool = True,
) -> list[Entry]:
    """Return an entry for each row that names an image once; what is wrong with the others goes to ``problems``.

    Args:
        table: with a column ``image``, and perhaps ``mask``, ``id``.
        root: folder that no path may leave, symbolic links followed.
        split_column: column of the splits, to tell a repeated row from an image in two splits.
        id_column: column of the ids; None takes ``id`` where that column exists, else the file names.
        problems: added to.
        cure_outside: what to do about a path out of ``root``.
        with_masks: false: column ``mask`` is not looked at, and no entry has one.
    """
    table_path = Path(os.path.abspath(table.path))
    base = table_path.parent if table_path.is_relative_to(root) else root
    followed = _Followed()
    place = _Place(base, root, cure_outside, followed)
    paths: list[tuple[Row, Path, str | None]] = []
    for row in table.rows:
        if not row.get("image"):
            problems.append(Problem("no image named", row.where, "a path in column image", "nothing"))
            continue
        faults: list[Problem] = []
        image = place.file(row.where, "image", row.get("image"), faults)
        cells = mask_paths(row.get("mask"), base) if with_masks and row.get("mask") else []
        masks = [place.file(row.where, "mask", cell, faults) for cell in cells]
        problems += faults
        if image is not None and not faults:
            paths.append((row, Path(image), SEPARATOR.join(filter(None, masks)) or None))
    if id_column is None and "id" in table.columns:
        id_column = "id"
    if id_column is None:
        ids = image_ids([image for _, image, _ in paths], root)
    else:
        ids = [row.get(id_column) for row, _, _ in paths]
    entries = [Entry(key, row, image, mask) for key, (row, image, mask) in zip(ids, paths, strict=True)]
    return _unique(entries, split_column, followed, problems)


class _Followed:
    """Where paths lead when links are followed; each folder is followed once, since many files share it."""

    def __init__(self) -> None:
        self._folders: dict[str, str] = {}

    def __call__(self, path: str) -> str:
        """Return the path that an absolute one leads to. Raises OSError or RuntimeError for a loop of links."""
        folder, name = os.path.split(path)
        if not name or os.path.islink(path):
            return str(Path(path).resolve())
        return os.path.join(self.folder(folder), name)

    def folder(self, path: str) -> str:
        """Return the same for a folder."""
        if path not in self._folders:
            self._folders[path] = str(Path(path).resolve())
        return self._folders[path]


@dataclass(frozen=True)
class _Place:
    """Where paths of a table begin, which folder they may not leave, and what to do about one that does."""

    base: Path
    root: Path
    cure: str
    followed: _Followed

    def file(self, where: str, column: str, text: str, problems: list[Problem]) -> str | None:
        """Return the absolute path of a cell's text, or None with a problem when no file of a data set can be there."""
        path = self._inside(where, column, text.replace("\\", "/"), problems)  # tables written on Windows
        name = os.path.basename(path or "")
        if name.startswith("."):
            cure = "Take the row out: systems keep notes of their own in such files (macOS: ._name)."
            expected = "a name without a leading dot"
            problems.append(Problem(f"{column} is a hidden file", where, expected, name, cure))
            return None
        return path

    def _inside(self, where: str, column: str, text: str, problems: list[Problem]) -> str | None:
        path = os.path.abspath(os.path.join(self.base, text))
        try:
            inside = "\0" not in text and _is_within(self.followed(path), self.followed.folder(str(self.root)))
        except (OSError, RuntimeError):  # a loop of symbolic links
            inside = False
        if inside:
            return path
        found, cure = repr(text), self.cure
        link = None if "\0" in text else _link_out(Path(path), self.root)
        if link is not None:
            found = f"{text!r}, where {link} is a link to {os.path.realpath(link)}"
            cure = f"Put the files themselves in the place of the link, or: {cure[0].lower()}{cure[1:]}"
        what = f"{column} lies outside the data set"
        problems.append(Problem(what, where, f"a path in {self.root}", found, cure))
        return None


def _is_within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(os.path.join(folder, ""))


def _link_out(path: Path, root: Path) -> Path | None:
    """Return the first link on the way from ``root`` to ``path``; None where the path is outside by its name."""
    if not path.is_relative_to(root):
        return None
    way = [path, *path.parents]
    return next(
        (step for step in reversed(way) if step != root and step.is_relative_to(root) and step.is_symlink()), None
    )


def image_ids(images: Sequence[Path], root: Path) -> list[str]:
    """Return the stems of the files, or, where two files share one, all paths below ``root`` without suffix."""
    stems = [image_stem(image) for image in images]
    if len(set(stems)) == len(set(images)):
        return stems
    return [_relative(image, root).with_name(stem).as_posix() for image, stem in zip(images, stems, strict=True)]


def _relative(image: Path, root: Path) -> Path:
    # An absolute path may name the data set otherwise than dataset_dir does, through a symbolic link.
    return image.relative_to(root) if image.is_relative_to(root) else image.resolve().relative_to(root.resolve())


def _unique(entries: list[Entry], split_column: str, followed: _Followed, problems: list[Problem]) -> list[Entry]:
    """Leave out, with a problem, entries whose id cannot be used or whose id or image came before."""
    kept: list[Entry] = []
    by_id: dict[str, Entry] = {}
    by_image: dict[str, Entry] = {}
    for entry in entries:
        image = followed(str(entry.image))
        where, cure = entry.row.where, "Keep one of the rows."
        if not _is_usable(entry.id):
            expected = f"printable text of at most {_LONGEST_ID} bytes that is no path out of a folder"
            problems.append(Problem("id cannot be used", where, expected, repr(entry.id)))
        elif image in by_image:
            first = by_image[image]
            splits = [split_name(row.get(split_column)) for row in (first.row, entry.row)]
            several = None not in splits and splits[0] != splits[1]
            what = "image is in two splits" if several else "image is listed twice"
            problems.append(Problem(what, where, "each image once", f"also in {first.row.where}", cure))
        elif entry.id in by_id:
            found = f"{entry.id!r} also in {by_id[entry.id].row.where}"
            problems.append(
                Problem("id is used twice", where, "each id once", found, "Give column id distinct values.")
            )
        else:
            by_id[entry.id] = by_image[image] = entry
            kept.append(entry)
    return kept


def _is_usable(key: str) -> bool:
    """Ids name files of reports: they must not climb out of a folder, hide control characters, or be too long."""
    parts = key.replace("\\", "/").split("/")
    fits = 0 < len(key.encode(errors="replace")) <= _LONGEST_ID
    return fits and key.isprintable() and not any(part in ("", ".", "..") for part in parts)
