"""Lists of images with labels, masks and splits: read, checked and hashed before anything else happens.

An item is a plain dict, as MONAI's data lists have it: ``id`` (str), ``image`` (absolute path), ``label`` (index into
the sorted class names), ``mask`` (absolute path or None; several as in :mod:`scripts.images.mask_files`), ``split``
(``"train"``, ``"val"`` or ``"test"``) and ``patient_id`` (str or None). ``python -m scripts.data`` makes such lists.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import logging
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from scripts.core.errors import InputError, Problem
from scripts.core.files import file_sha256, write_atomic
from scripts.data.checks import OnRead, check_items, seen_bits, tell, tell_of_drawing
from scripts.data.entries import Entry, entries_of
from scripts.data.file_watch import FileWatch, Stamp, stamp_of
from scripts.data.labels import confusable_names, tell_of_empty_names, unknown_labels, unusable_names, with_class_labels
from scripts.data.splits import SPLITS, few_validation_masks, make_split, make_split_of_patients, split_name
from scripts.data.tables import Table, find_table, read_table
from scripts.images.files.bit_depth import DEPTHS, FULL
from scripts.images.mask_files.names import SEPARATOR, mask_paths
from scripts.images.masks import NONZERO, MaskRule

Item = dict[str, Any]
logger = logging.getLogger(__name__)
_COLUMNS = ("id", "image", "label", "mask", "split", "patient_id")


@dataclass(frozen=True)
class DataList:
    """Images of a data set, in the order of the table.

    Attributes:
        items: see this module.
        classes: class names, sorted; an item's label is the position of its class.
        sha256: hash over ids, labels, splits and the content of all files; the order of rows does not matter. Empty, as
            the next and ``mask_sha256``, where no file was read.
        image_sha256: id -> SHA-256 of the image file.
        root: folder of the data set.
        mask_sha256: id -> SHA-256 of the mask file, of images that have one.
        quarantined: id -> what is wrong, of images that were left out because their files cannot be used.
        bits: of unsigned 16-bit images that count, see :mod:`scripts.images.files.bit_depth`.
        is_drawn: whether the splits were drawn, since the table names none.
        watch: tells which of the files changed after they were read.
    """

    items: tuple[Item, ...]
    classes: tuple[str, ...]
    sha256: str
    image_sha256: Mapping[str, str]
    root: Path
    mask_sha256: Mapping[str, str] = field(default_factory=dict)
    quarantined: Mapping[str, str] = field(default_factory=dict)
    bits: int = FULL
    is_drawn: bool = False
    watch: FileWatch = field(default_factory=FileWatch, compare=False)

    def split(self, name: str) -> list[Item]:
        """Return the items of ``"train"``, ``"val"`` or ``"test"``, each a copy."""
        return [dict(item) for item in self.items if item["split"] == name]

    def hashed_items(self) -> list[Item]:
        """Return copies of all items with ``sha256`` of the image and ``mask_sha256`` (None where there is no mask)."""
        return [
            {**item, "sha256": self.image_sha256[item["id"]], "mask_sha256": self.mask_sha256.get(item["id"])}
            for item in self.items
        ]

    def counts(self) -> dict[str, dict[str, int]]:
        """Return split -> class -> number of images, zeros included."""
        found = Counter((item["split"], item["label"]) for item in self.items)
        return {split: {name: found[split, label] for label, name in enumerate(self.classes)} for split in SPLITS}


def read_datalist(
    dataset_dir: str | Path,
    table: str | Path | None = None,
    split_column: str = "split",
    id_column: str | None = None,
    seed: int = 0,
    val_fraction: float = 0.2,
    test_fraction: float = 0.2,
    group_by_patient: bool = False,
    mask_rule: MaskRule = NONZERO,
    check: bool | Literal["hashes"] = True,
    classes: Sequence[str] | None = None,
    progress: bool = True,
    on_read: OnRead | None = None,
    on_bad_image: Literal["stop", "skip"] = "stop",
    val_masks_per_class: int | None = None,
    bits: int | Literal["auto"] = "auto",
) -> DataList:
    """Read a data set, check all of it, and raise once with everything that is wrong.

    Args:
        dataset_dir: folder of the data set; no path may lead out of it. Or directly its CSV or JSON file.
        table: CSV with columns ``image,label[,mask][,split][,patient_id][,id]``, or MONAI datalist in JSON, relative
            to ``dataset_dir`` or absolute; None finds it (:func:`scripts.data.tables.find_table`). Paths in it are
            relative to its own folder, or to ``dataset_dir`` if the table lies elsewhere.
        split_column: column with train/val/test. Without column ``split``, or where it is empty, splits are drawn.
        id_column: column of the ids; else ``id``; else the file names, with their folders where names repeat.
        seed, val_fraction, test_fraction: of a drawn split, see :func:`scripts.data.splits.make_split`.
        group_by_patient: keep each patient within one drawn split.
        mask_rule: how masks are read.
        check: decode and hash every image and mask; ``"hashes"`` only hashes them; False asks only whether they exist.
        classes: the class names to accept; None takes those of the table.
        progress: show a bar while checking.
        on_read: given the pixels of each checked item, see :func:`scripts.data.checks.check_items`.
        on_bad_image: ``"skip"`` leaves out images whose file, or whose mask's file, cannot be used, and goes on with
            the others; splits are drawn before, so that they do not depend on it. Faults of the table always stop.
        val_masks_per_class: so many validation masks of each class are used, drawn by ``seed``; None for all.
        bits: how many bits of unsigned 16-bit images count; ``"auto"`` looks at the highest value of all of them.

    Raises:
        InputError: with every problem found in the table, the images and the masks.
    """
    if on_bad_image not in ("stop", "skip"):
        raise InputError(Problem("unknown choice", "on_bad_image", "stop or skip", repr(on_bad_image)))
    if bits not in ("auto", *DEPTHS):
        raise InputError(Problem("unknown choice", "data#bits", f"auto, {', '.join(map(str, DEPTHS))}", repr(bits)))
    root = Path(os.path.abspath(Path(dataset_dir).expanduser()))
    if root.is_file() and table is None:
        root, table = root.parent, root.name
    content = read_table(find_table(root, table))
    _refuse_missing_columns(content, split_column, id_column)
    problems: list[Problem] = []
    content = with_class_labels(content, problems)
    if problems:
        raise InputError(problems)
    entries = entries_of(content, root, split_column, id_column, problems)
    names = tuple(sorted(set(classes or (entry.row.get("label") for entry in entries)) - {""}))
    unlabelled = unknown_labels([entry.row for entry in entries], names)
    problems += unlabelled + unusable_names(names, content.path)
    if classes is None:
        problems += confusable_names([entry.row.get("label") for entry in entries], content.path)
        tell_of_empty_names(names, content.path)
    splits = _read_splits(entries, split_column, problems)
    is_drawn = splits is None
    in_no_split = splits is not None and "" in splits.values()
    if splits is None:
        tell_of_drawing(content, split_column, seed)
        class_of = {entry.id: entry.row.get("label") for entry in entries}
        if group_by_patient and not problems:  # else its own problem would hide why no image is left to group
            patient_of = {entry.id: entry.row.get("patient_id") or None for entry in entries}
            splits = make_split_of_patients(class_of, patient_of, seed, val_fraction, test_fraction)
        else:
            splits = make_split(class_of, seed, val_fraction, test_fraction)
    items = [_item(entry, names, splits.get(entry.id, "")) for entry in entries]
    items = few_validation_masks(items, val_masks_per_class, seed)
    stamps = {path: stamp_of(path) for item in items for path in _paths(item)}
    if bits == "auto":
        bits = seen_bits(items) if check is True else FULL
    bad = check_items(items, mask_rule, progress, on_read, bits) if check is True else {}
    if on_bad_image == "skip":
        quarantined = {key: "; ".join(map(str, found)) for key, found in bad.items()}
        items = [item for item in items if item["id"] not in bad]
    else:
        quarantined = {}
        problems += [problem for found in bad.values() for problem in found]
    if not unlabelled and not in_no_split:  # else the images with a wrong one may be those that a class lacks
        problems += _classes_without_training(items, names, content.path)
    if problems:
        raise InputError(problems)
    if not check:
        _refuse_missing(stamps)
        tell(items, names, {}, quarantined)
        return DataList(tuple(items), names, "", {}, root, bits=bits, is_drawn=is_drawn)
    of_file = _file_hashes(items)
    image_sha256 = {item["id"]: of_file[item["image"]] for item in items}
    mask_sha256 = {
        item["id"]: _joined([of_file[p] for p in mask_paths(item["mask"])]) for item in items if item["mask"]
    }
    sha256 = _list_hash(items, names, image_sha256, mask_sha256)
    tell(items, names, image_sha256, quarantined)
    watch = _watched(items, of_file, stamps)
    return DataList(tuple(items), names, sha256, image_sha256, root, mask_sha256, quarantined, bits, is_drawn, watch)


def write_table(
    items: Iterable[Mapping[str, Any]], path: str | Path, classes: Sequence[str], further: Sequence[str] = ()
) -> None:
    """Write items as the CSV that :func:`read_datalist` reads, in one step.

    Paths within the folder of ``path`` become relative to it, others stay absolute.

    Args:
        items: with the keys of the columns.
        path: of the CSV.
        classes: names by label index.
        further: columns for people, which are not read again.
    """
    folder = Path(path).absolute().parent

    def cell(item: Mapping[str, Any], column: str) -> str:
        value = item.get(column)
        if value is None:
            return ""
        if column == "label":
            return classes[value]
        if column in ("image", "mask"):
            return SEPARATOR.join(map(within, mask_paths(str(value)) if column == "mask" else [str(value)]))
        return str(value)

    def within(path: str) -> str:
        return Path(path).relative_to(folder).as_posix() if Path(path).is_relative_to(folder) else path

    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    columns = (*_COLUMNS, *further)
    writer.writerow(columns)
    writer.writerows([cell(item, column) for column in columns] for item in items)
    write_atomic(Path(path), text.getvalue().encode())


def _refuse_missing_columns(table: Table, split_column: str, id_column: str | None) -> None:
    # A split column of another name is an explicit wish: drawing splits instead would go unnoticed.
    needed = [
        "image",
        "label",
        *([id_column] if id_column else []),
        *([split_column] if split_column != "split" else []),
    ]
    found = ", ".join(table.columns) or "none"
    problems = [
        Problem("column is missing", str(table.path), name, found) for name in needed if name not in table.columns
    ]
    if problems:
        raise InputError(problems)


def _read_splits(entries: Sequence[Entry], column: str, problems: list[Problem]) -> dict[str, str] | None:
    """Return id -> split, or None where no row names one."""
    texts = {entry.id: entry.row.get(column) for entry in entries}
    if not any(texts.values()):
        return None
    for entry in entries:
        if split_name(entry.row.get(column)) is None:
            found = repr(entry.row.get(column))
            cure = f"Fill column {column} in every row, or in none."
            problems.append(Problem("unknown split", entry.row.where, "train, val or test", found, cure))
    return {key: split_name(text) or "" for key, text in texts.items()}


def _item(entry: Entry, names: Sequence[str], split: str) -> Item:
    label = entry.row.get("label")
    return {
        "id": entry.id,
        "image": str(entry.image),
        "label": names.index(label) if label in names else -1,  # told of, and never returned
        "mask": entry.mask,
        "split": split,
        "patient_id": entry.row.get("patient_id") or None,
    }


def _classes_without_training(items: Sequence[Item], names: Sequence[str], path: Path) -> list[Problem]:
    trained = {item["label"] for item in items if item["split"] == "train"}
    return [
        Problem("class without a training image", str(path), f"at least one train row of class {name!r}", "none")
        for label, name in enumerate(names)
        if label not in trained
    ]


def _paths(item: Item) -> list[str]:
    return [item["image"], *(mask_paths(item["mask"]) if item["mask"] else ())]


def _watched(items: Sequence[Item], sha256: Mapping[str, str], stamps: Mapping[str, Stamp | None]) -> FileWatch:
    """Return a watch over all files.

    Raises:
        InputError: listing files that changed between their decoding and their hashing.
    """
    watch = FileWatch()
    problems = []
    for item in items:
        for position, path in enumerate(_paths(item)):
            watch.add(f"{'mask' if position else 'image'} of {item['id']}", path, sha256[path], stamps[path])
            if stamp_of(path) != stamps[path]:
                cure = "Run the same command again when nothing writes the data any more."
                problems.append(Problem("file changed while it was read", path, cure=cure))
    if problems:
        raise InputError(problems)
    return watch


def _refuse_missing(stamps: Mapping[str, Stamp | None]) -> None:
    missing = [path for path, stamp in stamps.items() if stamp is None]
    if missing:
        raise InputError(
            [Problem("file cannot be read", path, found="no such file, or no way to it") for path in missing]
        )


def _file_hashes(items: Sequence[Item]) -> dict[str, str]:
    """Return path -> SHA-256 of every file.

    Raises:
        InputError: listing every file that cannot be read.
    """
    found: dict[str, str] = {}
    problems: list[Problem] = []
    for path in dict.fromkeys(path for item in items for path in _paths(item)):
        try:
            found[path] = file_sha256(path)
        except InputError as error:
            problems.extend(error.problems)
    if problems:
        raise InputError(problems)
    return found


def _joined(hashes: Sequence[str]) -> str:
    return hashes[0] if len(hashes) == 1 else hashlib.sha256("\n".join(hashes).encode()).hexdigest()


def _list_hash(items: Sequence[Item], names: Sequence[str], images: Mapping[str, str], masks: Mapping[str, str]) -> str:
    """Return the hash of the whole list, whose rows may come in any order."""
    rows = [
        (item["id"], names[item["label"]], item["split"], images[item["id"]], masks.get(item["id"])) for item in items
    ]
    return hashlib.sha256("\n".join(sorted(json.dumps(row) for row in rows)).encode()).hexdigest()
