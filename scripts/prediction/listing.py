"""Which images a prediction is asked for: those of a folder, of a table, or one file, each with an id of its own.

An id is the path below the folder without suffix (``slides/a``); files that differ by the suffix alone keep it
(``a.png``, ``a.jpg``). Results are named by ids, so no two images share a file. Never listed are masks, dot-files, and
what an earlier prediction wrote.
"""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from scripts.core.errors import InputError, Problem, listed
from scripts.data.entries import entries_of
from scripts.data.mask_names import MASK_ENDINGS, MASK_FOLDERS, SLIDE_SUFFIXES, masks_among, other_forms
from scripts.data.tables import TABLE_NAMES, TABLE_SUFFIXES, Row, read_table
from scripts.images.files.faults import SLIDE_COMMAND
from scripts.images.files.names import SUFFIXES, image_stem, image_suffix, is_image_file

logger = logging.getLogger(__name__)

MARK = ".predicted"
"""File that marks a folder of results: such a folder is never searched for images."""
RESULT_FOLDERS = ("masks", "probabilities", "cams", "overlays", "explanations")


@dataclass(frozen=True)
class ListedImage:
    """An image to predict.

    Attributes:
        id: names its results; may hold ``/``, never leads out of a folder.
        path: absolute.
        name: path below the folder that was asked for, with suffix; for people, so bytes that are no text are ``?``.
    """

    id: str
    path: Path
    name: str


def list_images(dataset_dir: str | Path, output_dir: str | Path | None = None) -> list[ListedImage]:
    """Return the images to predict, sorted by name, those of a table in its order.

    Args:
        dataset_dir: a folder, searched with all folders below (or, where it holds one of
            :data:`scripts.data.tables.TABLE_NAMES`, that table); a table with a column ``image`` and perhaps ``id``; or
            an image file.
        output_dir: where results go; it is not searched.

    Raises:
        InputError: nothing there, no image in it, a table with faults, or a folder of results.
    """
    root = Path(os.path.abspath(Path(dataset_dir).expanduser()))
    output = None if output_dir is None else Path(os.path.abspath(Path(output_dir).expanduser()))
    if root.is_dir():
        _refuse_results(root, output)
        table = next((root / name for name in TABLE_NAMES if (root / name).is_file()), None)
        if table is not None:
            logger.info("images are those of the table %s", table)
            return _of_table(table)
        return _of_folder(root, output)
    if root.suffix.lower() in TABLE_SUFFIXES and root.is_file():
        return _of_table(root)
    if root.is_file() and image_suffix(root):
        return [ListedImage(image_stem(root), root, readable(root.name))]
    found = root.suffix or "a file without suffix" if root.is_file() else "nothing there"
    cure = "Name a folder, a CSV with a column image, or an image file with --dataset_dir."
    if root.suffix.lower() in SLIDE_SUFFIXES:
        cure = f"Predict a whole slide with {SLIDE_COMMAND} {root}."
    raise InputError(Problem("no images there", str(root), _accepted(), found, cure))


def image_names(paths: Sequence[Path], root: Path) -> list[str]:
    """Return an id for each file: see this module."""
    within = [_within(path, root) for path in paths]
    short = [path.with_name(image_stem(path)).as_posix() for path in within]
    # Results of "A.png" and "a.tif" would be one file where the file system does not tell cases apart.
    count = Counter(name.casefold() for name in short)
    mixed = [name if count[name.casefold()] == 1 else path.as_posix() for name, path in zip(short, within, strict=True)]
    if len(set(mixed)) == len(set(paths)):
        return mixed
    return [path.as_posix() for path in within]  # "a.png" beside "a.jpg" and "a.png.tif"


def readable(name: str) -> str:
    """Return a file name as text that can be written; Python keeps bytes that are no UTF-8 as lone surrogates."""
    return name.encode(errors="replace").decode()


def _of_folder(root: Path, output: Path | None) -> list[ListedImage]:
    found: list[Path] = []
    others: list[Path] = []
    masks: list[str] = []
    for parent, folders, names in os.walk(root):
        folder = Path(parent)
        kept = [name for name in sorted(folders) if not _is_closed(folder / name, output)]
        folders[:] = [name for name in kept if name.lower() not in MASK_FOLDERS]
        masks += [f"folder {name}" for name in kept if name not in folders]
        images = [folder / name for name in sorted(names) if is_image_file(name) and (folder / name).is_file()]
        named = {path for path in images if image_stem(path).lower().endswith(MASK_ENDINGS)}
        named |= set(masks_among(images, folder))
        masks += [path.name for path in images if path in named]
        found += [path for path in images if path not in named]
        others += [folder / name for name in sorted(names)]
    if masks:
        logger.info("left out as masks: %d, such as %s", len(masks), listed(masks, 3))
    told = other_forms(others)
    if told:
        logger.warning("left out, in no form that can be read: %s", told)
    if not found:
        cure = "Check the folder; masks and results of earlier predictions do not count as images."
        if any(path.suffix.lower() in SLIDE_SUFFIXES for path in others):
            cure = f"Predict whole slides with {SLIDE_COMMAND} {root}."
        raise InputError(Problem("no image in the folder", str(root), _accepted(), told or "none", cure))
    found.sort(key=lambda path: path.relative_to(root).as_posix())
    return _listed(found, root)


def _of_table(path: Path) -> list[ListedImage]:
    table = read_table(path)
    if "image" not in table.columns:
        raise InputError(Problem("column is missing", str(path), "image", ", ".join(table.columns) or "none"))
    problems: list[Problem] = []
    has_ids = "id" in table.columns
    if not has_ids:  # names of the results are made below; no image is refused for its own
        numbered = (Row(row.where, {**row.values, "id": str(n)}) for n, row in enumerate(table.rows))
        table = replace(table, rows=tuple(numbered))
    cure = "Put the table into the folder that holds all images, or name that folder itself with --dataset_dir."
    entries = entries_of(table, path.parent, "split", "id", problems, cure_outside=cure, with_masks=False)
    if problems:
        raise InputError(problems)
    images = _listed([entry.image for entry in entries], path.parent)
    if not has_ids:
        return images
    return [ListedImage(entry.id, image.path, image.name) for entry, image in zip(entries, images, strict=True)]


def _listed(paths: Sequence[Path], root: Path) -> list[ListedImage]:
    names = image_names(paths, root)
    return [
        ListedImage(name, path, readable(_within(path, root).as_posix()))
        for name, path in zip(names, paths, strict=True)
    ]


def _within(path: Path, root: Path) -> Path:
    # A table may name a file through another link than its own folder.
    return path.relative_to(root) if path.is_relative_to(root) else path.resolve().relative_to(root.resolve())


def _is_closed(folder: Path, output: Path | None) -> bool:
    return folder.name.startswith(".") or folder == output or (folder / MARK).is_file()


def _refuse_results(root: Path, output: Path | None) -> None:
    """Raise InputError where the results would be, or are, mixed with the images."""
    results = [] if output is None else [output / name for name in RESULT_FOLDERS]
    if root == output or any(root.is_relative_to(folder) for folder in results):
        cure = "Give another --output_dir, which may lie inside the folder of images."
        raise InputError(Problem("images and results would be in one folder", str(root), "two folders", cure=cure))
    if (root / MARK).is_file() or (root.name in RESULT_FOLDERS and (root.parent / MARK).is_file()):
        cure = "Name the folder of the images with --dataset_dir."
        raise InputError(Problem("folder holds results of a prediction", str(root), "images", cure=cure))


def _accepted() -> str:
    return ", ".join(SUFFIXES)
