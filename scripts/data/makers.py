"""Data lists from folders as they are shipped: images beside a label table, the official GlaS folder, CUB-200-2011.

Each maker returns ``(items, classes)``, items as in :mod:`scripts.data.datalist`, and raises one InputError with all
that is amiss in the folder. Files are only listed here; they are decoded when the list is read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from scripts.core.errors import InputError, Problem
from scripts.data.entries import image_ids
from scripts.data.splits import fraction_per_class, hold_out, make_split, split_name
from scripts.data.tables import Row, read_table
from scripts.images.reading import image_stem, is_image_file

Made = tuple[list[dict[str, Any]], tuple[str, ...]]
MASK_ENDINGS = ("_anno", "_mask", "_seg", "_segmentation", "_gt", "_label")
GLAS_GRADE = "grade (GlaS)"


def folder_items(
    images: str | Path,
    labels: str | Path,
    masks: str | Path | None = None,
    seed: int = 0,
    val_fraction: float = 0.2,
    test_fraction: float = 0.2,
    group_by_patient: bool = False,
) -> Made:
    """List a folder of images with a table of labels.

    Args:
        images: searched with all folders below; dot-files and masks are left out.
        labels: CSV with columns ``image,label[,split][,patient_id]``; ``image`` is a file name, with or without
            folder and suffix.
        masks: folder of masks, each named as its image, alone or with one of MASK_ENDINGS; None looks for files with
            such an ending among the images.
        seed, val_fraction, test_fraction, group_by_patient: of a drawn split, where the table names none; see
            :func:`scripts.data.splits.make_split`.

    Raises:
        InputError: an image without label, a label without image, a name or mask that fits several, a bad split.
    """
    folder = _folder(images)
    mask_folder = folder if masks is None else _folder(masks)
    apart = mask_folder != folder
    found = [path for path in _image_files(folder) if not (apart and path.is_relative_to(mask_folder))]
    stems = {(path.parent, image_stem(path)) for path in found}
    pictures = [path for path in found if not _is_mask_of_another(path, stems)]
    candidates = _image_files(mask_folder) if apart else [path for path in found if path not in set(pictures)]
    table = read_table(_file(Path(labels).absolute()))
    _require_columns(table.columns, ("image", "label"), labels)
    problems: list[Problem] = []
    row_of = _rows_by_image(table.rows, pictures, folder, problems)
    mask_of = _masks_by_image(pictures, candidates, folder, mask_folder, problems)
    problems += [
        Problem("image has no label", str(path), f"a row in {labels}", "none", "Add the row or move the image.")
        for path in pictures
        if path not in row_of
    ]
    items: list[dict[str, Any]] = [
        {"id": key, "image": str(path), "label": row_of[path].get("label"),
         "mask": str(mask_of[path]) if path in mask_of else None, "split": row_of[path].get("split"),
         "patient_id": row_of[path].get("patient_id") or None}
        for key, path in zip(image_ids(pictures, folder), pictures, strict=True) if path in row_of
    ]  # fmt: skip
    if not problems and any(item["split"] for item in items):
        problems += [_no_split(item) for item in items if split_name(item["split"]) is None]
    if problems:
        raise InputError(problems)
    if not any(item["split"] for item in items):
        class_of = {item["id"]: item["label"] for item in items}
        patient_of = {item["id"]: item["patient_id"] for item in items} if group_by_patient else None
        drawn = make_split(class_of, seed, val_fraction, test_fraction, patient_of)
        items = [{**item, "split": drawn[item["id"]]} for item in items]
    return _indexed([{**item, "split": split_name(item["split"])} for item in items])


def glas_items(folder: str | Path, seed: int = 0, val_fraction: float = 0.2, group_by_patient: bool = False) -> Made:
    """List the official GlaS folder: ``train_1.bmp``, ``train_1_anno.bmp``, ``testA_1.bmp``, ..., ``Grade.csv``.

    Test are the official parts A and B; validation is ceil(``val_fraction``) of the official training part per class,
    as in Belharbi et al. 2021, whose own draw another generator made.

    Args:
        folder: of the unpacked archive.
        seed, val_fraction, group_by_patient: of the validation images, see :func:`scripts.data.splits.hold_out`.

    Raises:
        InputError: a file of ``Grade.csv`` is missing, or the table is not the official one.
    """
    root = _folder(folder)
    table = read_table(_file(root / "Grade.csv"))
    _require_columns(table.columns, ("name", "patient ID", GLAS_GRADE), root / "Grade.csv")
    files = {image_stem(path): path for path in sorted(root.iterdir()) if is_image_file(path)}
    if not any(row.get("name") in files for row in table.rows):
        cure = "Give the folder with train_1.bmp in it; other layouts are read from their own table."
        raise InputError(Problem("no image of the official archive", str(root), "train_1.bmp, ...", "none", cure))
    problems: list[Problem] = []
    items: list[dict[str, Any]] = []
    for row in table.rows:
        name = row.get("name")
        missing = [stem for stem in (name, f"{name}_anno") if stem not in files]
        problems += [
            Problem("file is missing", str(root / f"{stem}.bmp"), "a file of the official archive") for stem in missing
        ]
        if not name.startswith(("train_", "testA_", "testB_")):
            problems.append(Problem("unknown part", row.where, "train_N, testA_N or testB_N", repr(name)))
        elif not missing:
            patient = row.get("patient ID") or None
            split = "train" if name.startswith("train_") else "test"
            items.append(
                {"id": name, "image": str(files[name]), "label": row.get(GLAS_GRADE),
                 "mask": str(files[f"{name}_anno"]), "split": split, "patient_id": patient}
            )  # fmt: skip
    if problems:
        raise InputError(problems)
    class_of = {item["id"]: item["label"] for item in items if item["split"] == "train"}
    patient_of = {item["id"]: item["patient_id"] for item in items} if group_by_patient else None
    val = hold_out(class_of, fraction_per_class(class_of, val_fraction), seed, "val", patient_of)
    return _indexed([{**item, "split": "val"} if item["id"] in val else item for item in items])


def cub_items(folder: str | Path, val_per_class: int = 6, seed: int = 0) -> Made:
    """List CUB-200-2011: ``images.txt``, ``image_class_labels.txt``, ``train_test_split.txt``, ``classes.txt``.

    With 6 validation images per class the real data gives 4794 training, 1200 validation and 5794 test images, the
    counts of Belharbi et al. 2021. Masks are grey: read them with the rule ``over:127.5``.

    Args:
        folder: ``CUB_200_2011``, with ``images/`` and, moved into it, ``segmentations/``.
        val_per_class: images of each class's official training part that become validation.
        seed: of that choice.

    Raises:
        InputError: the text files are missing, do not agree, or name files that are not there.
    """
    root = _folder(folder)
    image_of = _numbered(root / "images.txt")
    classes = _numbered(root / "classes.txt")
    class_of = _numbered(root / "image_class_labels.txt")
    in_train = _numbered(root / "train_test_split.txt")
    problems: list[Problem] = []
    items: list[dict[str, Any]] = []
    for number, name in image_of.items():
        image = root / "images" / name
        mask = (root / "segmentations" / name).with_suffix(".png")
        label, train = classes.get(class_of.get(number, "")), in_train.get(number)
        if label is None or train not in ("0", "1"):
            found = f"class {class_of.get(number)}, training {train}"
            problems.append(Problem("image without class or part", f"image {number}", "an entry in each file", found))
            continue
        cure = "Unpack segmentations.tgz here." if image.is_file() else "Unpack the archive again."
        problems += [
            Problem("file is missing", str(path), f"a file of image {number}", cure=cure)
            for path in (image, mask)
            if not path.is_file()
        ]
        items.append(
            {"id": image_stem(name), "image": str(image), "label": label, "mask": str(mask),
             "split": "train" if train == "1" else "test", "patient_id": None}
        )  # fmt: skip
    if problems:
        raise InputError(problems)
    val = validation_per_class({i["id"]: i["label"] for i in items if i["split"] == "train"}, val_per_class, seed)
    return _indexed([{**item, "split": "val"} if item["id"] in val else item for item in items])


def validation_per_class(class_of: Mapping[str, str], per_class: int, seed: int = 0) -> set[str]:
    """Choose ``per_class`` ids of each class for validation; one of each class always stays for training.

    Args:
        class_of: id -> class of the official training images.
        per_class: at least 0.
        seed: of the choice.
    """
    return hold_out(class_of, dict.fromkeys(class_of.values(), per_class), seed, "val")


def _folder(path: str | Path) -> Path:
    folder = Path(path).expanduser().absolute()
    if not folder.is_dir():
        raise InputError(Problem("folder is missing", str(folder), "a folder", cure="Check the path."))
    return folder


def _file(path: Path) -> Path:
    if not path.is_file():
        raise InputError(Problem("file is missing", str(path), "a table", cure="Check the path."))
    return path


def _require_columns(found: Sequence[str], needed: Iterable[str], where: str | Path) -> None:
    missing = [name for name in needed if name not in found]
    if missing:
        raise InputError(Problem("columns are missing", str(where), ", ".join(missing), ", ".join(found)))


def _numbered(path: Path) -> dict[str, str]:
    """Read lines of ``number text`` as CUB has them."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(Problem("file cannot be read", str(path), "a text file of CUB", str(error))) from error
    pairs = [line.split(maxsplit=1) for line in lines if line.strip()]
    if any(len(pair) != 2 for pair in pairs):
        raise InputError(Problem("malformed line", str(path), "number and value on each line"))
    return {number: text.strip() for number, text in pairs}


def _image_files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if is_image_file(path) and path.is_file())


def _without_ending(stem: str) -> str | None:
    """``"a_mask"`` -> ``"a"``; None where the stem has no ending of a mask."""
    return next((stem.removesuffix(ending) for ending in MASK_ENDINGS if stem.endswith(ending)), None)


def _is_mask_of_another(path: Path, stems: set[tuple[Path, str]]) -> bool:
    """Say whether ``a_mask.png`` lies beside an ``a.*``."""
    return (path.parent, _without_ending(image_stem(path))) in stems


def _names_of(path: Path, folder: Path) -> tuple[str, ...]:
    """Return the names a table may give a file: with folder or not, with suffix or not."""
    within = path.relative_to(folder)
    stem = image_stem(path)
    return within.as_posix(), within.with_name(stem).as_posix(), path.name, stem


def _rows_by_image(
    rows: Sequence[Row], pictures: Sequence[Path], folder: Path, problems: list[Problem]
) -> dict[Path, Row]:
    paths_of: dict[str, set[Path]] = {}
    for path in pictures:
        for name in _names_of(path, folder):
            paths_of.setdefault(name, set()).add(path)
    found: dict[Path, Row] = {}
    for row in rows:
        name = row.get("image").replace("\\", "/")
        paths = sorted(paths_of.get(name) or paths_of.get(name.removeprefix(f"{folder.name}/"), set()))
        if len(paths) != 1:
            listed = " and ".join(str(path) for path in paths) or "none"
            problems.append(Problem("row fits not exactly one image", row.where, f"one image {name!r}", listed))
        elif not row.get("label"):
            problems.append(Problem("row has no label", row.where, "a class name", "nothing"))
        elif found.setdefault(paths[0], row) is not row:
            problems.append(Problem("image is listed twice", row.where, name, f"also in {found[paths[0]].where}"))
    return found


def _masks_by_image(
    pictures: Sequence[Path], candidates: Sequence[Path], folder: Path, mask_folder: Path, problems: list[Problem]
) -> dict[Path, Path]:
    """Match masks by their path below the mask folder, else by a stem that only one image has."""
    by_place: dict[str, set[Path]] = {}
    by_stem: dict[str, set[Path]] = {}
    for path in pictures:
        by_place.setdefault(_names_of(path, folder)[1], set()).add(path)
        by_stem.setdefault(image_stem(path), set()).add(path)
    found: dict[Path, Path] = {}
    for mask in candidates:
        within, stem = mask.relative_to(mask_folder), image_stem(mask)
        owners: set[Path] = set()
        for name in filter(None, (stem, _without_ending(stem))):
            owners = owners or by_place.get(within.with_name(name).as_posix()) or by_stem.get(name) or set()
        if len(owners) > 1:
            listed = " and ".join(str(path) for path in sorted(owners))
            problems.append(Problem("mask fits several images", str(mask), "one image", listed))
        for owner in owners if len(owners) == 1 else ():
            if found.setdefault(owner, mask) != mask:
                problems.append(Problem("image has two masks", str(owner), "one mask", f"{found[owner]} and {mask}"))
    return found


def _no_split(item: Mapping[str, Any]) -> Problem:
    cure = "Fill column split in every row, or in none."
    return Problem("unknown split", item["image"], "train, val or test", repr(item["split"]), cure)


def _indexed(items: list[dict[str, Any]]) -> Made:
    """Replace class names by their index among the sorted names."""
    classes = tuple(sorted({item["label"] for item in items}))
    index = {name: label for label, name in enumerate(classes)}
    return [{**item, "label": index[item["label"]]} for item in items], classes
