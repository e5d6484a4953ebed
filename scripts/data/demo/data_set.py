"""The embedded demo data set: written once by our own code, so that the first run needs no download.

``make_demo`` writes ``images/*.png``, ``masks/*.png`` (0 stroma, 1.. one number per gland, as GlaS has them) and
``data.csv`` with the columns image, label, mask, split, patient_id. :mod:`scripts.data.demo.tissue` draws the tissue.
Patients have one class, one slide (stain, stroma, scanner) and one or two images, and no patient is in two splits. The
architectures of the glands take turns, so that every split holds the same mixture.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import logging
from pathlib import Path
from typing import Any

from PIL import Image

from scripts.core.errors import InputError, Problem
from scripts.core.files import make_folder, remove_leftovers, write_atomic
from scripts.core.result_files import csv_bytes
from scripts.core.seeds import numpy_generator
from scripts.data.demo.tissue import CLASSES, NORMAL, random_slide, render_tissue
from scripts.images.png import quick_png

logger = logging.getLogger(__name__)

TABLE = "data.csv"
MANIFEST = "manifest.json"
COLUMNS = ("image", "label", "mask", "split", "patient_id")
IMAGES_PER_PATIENT = 2
SMALLEST_SIDE = 48
VERSION = 2
"""Goes up when the same settings would give other pixels, so that data of an older version are made anew."""


def make_demo(
    folder: str | Path,
    seed: int = 0,
    n_train: int = 24,
    n_val: int = 8,
    n_test: int = 16,
    size: tuple[int, int] = (192, 256),
    normal: int = 0,
) -> Path:
    """Write the demo data set and return the path of its table; data that are complete already are left untouched.

    The bytes depend on the arguments alone. Every file is written atomically and the manifest, with the SHA-256 of
    each file, last: an interrupted or altered folder is noticed and written again. Nothing is
    deleted but the temporary files of an interrupted writer.

    Args:
        folder: where to write; made if absent.
        seed: another seed gives other tissue, stains and patients.
        n_train: number of training images; n_val and n_test likewise. The classes take turns.
        size: (H, W) of the images in pixels.
        normal: number of further training images, of a class ``normal`` without glands, whose masks are empty;
            validation and test get as many in proportion, at least one. The other images do not depend on it.

    Raises:
        InputError: a split with fewer images than classes, a negative number, or a side below 48 pixels.
        StateError: the folder cannot be written.
    """
    root = Path(folder)
    counts = {"train": int(n_train), "val": int(n_val), "test": int(n_test)}
    height, width = (int(side) for side in size)
    _check(counts, (height, width), normal)
    settings = {"version": VERSION, "seed": int(seed), **counts, "height": height, "width": width}
    settings |= {"normal": int(normal)} if normal else {}
    remove_leftovers(root)
    if _is_complete(root, settings):
        logger.info("demo data: kept %s", root)
        return root / TABLE
    for name in ("images", "masks"):
        make_folder(root / name)
    files: dict[str, str] = {}
    rows = _rows(counts, normal)
    turns = {(split, kind): itertools.count(2 * i) for i, split in enumerate(counts) for kind in (*CLASSES, NORMAL)}
    for row in rows:
        slide = random_slide(numpy_generator(seed, "demo", "patient", row["patient_id"]))
        rng = numpy_generator(seed, "demo", "image", row["image"])
        image, mask = render_tissue(row["label"], (height, width), slide, rng, next(turns[row["split"], row["label"]]))
        for path, array in ((row["image"], image), (row["mask"], mask)):
            _write(root, path, quick_png(Image.fromarray(array)), files)
    _write(root, TABLE, csv_bytes(rows, COLUMNS), files)
    manifest = {"settings": settings, "files": files}
    write_atomic(root / MANIFEST, json.dumps(manifest, indent=1, sort_keys=True).encode())
    logger.info("demo data: wrote %d images to %s", len(rows), root)
    return root / TABLE


def _check(counts: dict[str, int], size: tuple[int, int], normal: int) -> None:
    problems = [
        Problem("too few images", f"demo n_{split}", f">= {len(CLASSES)}, one per class", str(count))
        for split, count in counts.items()
        if count < len(CLASSES)
    ]
    if normal < 0:
        problems.append(Problem("too few images", "demo normal", ">= 0", str(normal)))
    if min(size) < SMALLEST_SIDE:
        problems.append(Problem("images too small for a gland", "demo size", f">= {SMALLEST_SIDE} pixels", str(size)))
    if problems:
        raise InputError(problems)


def _rows(counts: dict[str, int], normal: int) -> list[dict[str, str]]:
    """One row of the table per image; patients are numbered through and belong to one split and one class."""
    rows, patients = [], 0
    for split, count in counts.items():
        for label, kind in enumerate(CLASSES):
            for place, number in enumerate(range(label, count, len(CLASSES))):
                patients += place % IMAGES_PER_PATIENT == 0
                name = f"{split}_{number + 1:02d}.png"
                values = (f"images/{name}", kind, f"masks/{name}", split, f"P{patients:02d}")
                rows.append(dict(zip(COLUMNS, values, strict=True)))
    for split, count in counts.items() if normal else ():  # last, so that the patients of the others keep their numbers
        for number in range(max(1, round(normal * count / counts["train"]))):
            patients += number % IMAGES_PER_PATIENT == 0
            name = f"{split}_{NORMAL}_{number + 1:02d}.png"
            values = (f"images/{name}", NORMAL, f"masks/{name}", split, f"P{patients:02d}")
            rows.append(dict(zip(COLUMNS, values, strict=True)))
    return sorted(rows, key=lambda row: (list(counts).index(row["split"]), row["image"]))


def _is_complete(root: Path, settings: dict[str, Any]) -> bool:
    """Whether the folder holds exactly what these settings wrote."""
    try:
        manifest = json.loads((root / MANIFEST).read_bytes())
        if manifest["settings"] != settings:
            return False
        return all(_sha256((root / path).read_bytes()) == digest for path, digest in manifest["files"].items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):  # absent, cut short, or not a manifest of ours
        return False


def _write(root: Path, path: str, data: bytes, files: dict[str, str]) -> None:
    files[path] = _sha256(data)
    write_atomic(root / path, data)


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
