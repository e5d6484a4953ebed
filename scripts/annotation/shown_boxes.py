"""Masks that a model made of somebody's boxes, shown in the folder of a round before they count.

``boxes/<image>.json`` of the folder says which files of boxes were shown, by whom and which proposal is of the last of
them; the proposals that stood there before are kept beside it, for work that was begun with them.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from scripts.core.files import file_stem, make_folder, write_atomic
from scripts.images.png import mask_to_png, png_to_mask
from scripts.images.values import FOREGROUND

_FOLDER = "boxes"


@dataclass(frozen=True)
class Shown:
    """A mask of boxes that people were shown.

    Attributes:
        mask: uint8 (H, W) in {0, 1}.
        boxes: their number.
        seconds: time that all boxes of this image took, by annotator, where it is known.
    """

    mask: np.ndarray
    boxes: int
    seconds: Mapping[str, float]


def show(folder: Path, key: str, mask: np.ndarray, boxes: int, file: Mapping[str, Any]) -> None:
    """Let a mask of boxes be what people begin with, in place of the proposal that was there.

    Args:
        folder: of the round.
        key: id of the image.
        mask: uint8 (H, W).
        boxes: their number.
        file: of the boxes: ``sha256``, ``user`` who drew them, ``seconds`` that they took (0 where that is not known).

    Raises:
        StateError: it cannot be written.
    """
    make_folder(folder / _FOLDER)
    start, before = _start(folder, key), _files(folder, key)
    if start.is_file():
        number = len(earlier_proposals(folder, key))
        write_atomic(folder / _FOLDER / f"{file_stem(key)}.{number}.png", start.read_bytes())
    png = mask_to_png((mask == FOREGROUND) * 255)
    write_atomic(start, png)
    told = {"start": hashlib.sha256(png).hexdigest(), "boxes": boxes, "files": [*before, dict(file)]}
    write_atomic(_note(folder, key), json.dumps(told).encode())  # last: a kill before it shows them again


def is_shown(folder: Path, key: str, digest: str) -> bool:
    """Tell whether the mask of these boxes, or a later one, is the proposal of an image."""
    return any(file["sha256"] == digest for file in _files(folder, key))


def shown(folder: Path, key: str) -> Shown | None:
    """Return the mask of boxes that is the proposal of an image; None where its proposal is none."""
    boxes = _told(folder, key).get("boxes")
    if not isinstance(boxes, int):
        return None
    try:
        mask = png_to_mask(_start(folder, key).read_bytes())
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return None
    seconds: Counter[str] = Counter()
    for file in _files(folder, key):
        seconds[file["user"]] += file["seconds"]
    return Shown((mask > 0).astype(np.uint8), boxes, seconds)


def earlier_proposals(folder: Path, key: str) -> list[Path]:
    """Return the PNG files of the proposals that stood there before boxes took their place, the first one first."""
    found: list[Path] = []
    while (path := folder / _FOLDER / f"{file_stem(key)}.{len(found)}.png").is_file():
        found.append(path)
    return found


def _start(folder: Path, key: str) -> Path:
    return folder / "start" / f"{file_stem(key)}.png"


def _note(folder: Path, key: str) -> Path:
    return folder / _FOLDER / f"{file_stem(key)}.json"


def _files(folder: Path, key: str) -> list[Mapping[str, Any]]:
    found = _told(folder, key).get("files")
    return [each for each in found if _is_file(each)] if isinstance(found, list) else []


def _is_file(found: Any) -> bool:
    seconds = found.get("seconds") if isinstance(found, dict) else None
    is_known = isinstance(seconds, int | float) and math.isfinite(seconds) and seconds >= 0
    return is_known and all(isinstance(found.get(name), str) for name in ("sha256", "user"))


def _told(folder: Path, key: str) -> dict[str, Any]:
    """Return the note of an image; nothing where the proposal is another one by now."""
    try:
        found = json.loads(_note(folder, key).read_bytes())
        start = hashlib.sha256(_start(folder, key).read_bytes()).hexdigest()
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) and found.get("start") == start else {}
