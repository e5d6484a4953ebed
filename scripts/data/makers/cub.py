"""The list of CUB-200-2011."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scripts.core.errors import InputError, Problem
from scripts.data.makers.given import Made, given_folder, indexed
from scripts.data.splits import hold_out
from scripts.images.files.names import image_stem


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
    root = given_folder(folder)
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
    return indexed([{**item, "split": "val"} if item["id"] in val else item for item in items])


def validation_per_class(class_of: Mapping[str, str], per_class: int, seed: int = 0) -> set[str]:
    """Choose ``per_class`` ids of each class for validation; one of each class always stays for training.

    Args:
        class_of: id -> class of the official training images.
        per_class: at least 0.
        seed: of the choice.
    """
    return hold_out(class_of, dict.fromkeys(class_of.values(), per_class), seed, "val")


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
