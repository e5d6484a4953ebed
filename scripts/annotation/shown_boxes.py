"""Masks that a model made of somebody's boxes, shown in the folder of a round before they count."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from scripts.annotation.gate import Passed
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
        seconds: time that the boxes took, 0 where it is not known.
    """

    mask: np.ndarray
    boxes: int
    seconds: float = 0.0


def show(folder: Path, made: Passed, digest: str, seconds: float) -> None:
    """Let a mask of boxes be what people begin with, in place of the proposal that was there.

    Args:
        folder: of the round.
        made: the mask.
        digest: SHA-256 of the file of boxes.
        seconds: time that they took, 0 where it is not known.

    Raises:
        StateError: it cannot be written.
    """
    stem = file_stem(made.id)
    make_folder(folder / _FOLDER)
    write_atomic(folder / "start" / f"{stem}.png", mask_to_png((made.mask == FOREGROUND) * 255))
    told = {"sha256": digest, "boxes": made.objects, "seconds": seconds}
    write_atomic(_note(folder, made.id), json.dumps(told).encode())  # last: a kill before it shows them again


def is_shown(folder: Path, key: str, digest: str) -> bool:
    """Tell whether the boxes of this file are the last ones that were shown for an image."""
    return _told(folder, key).get("sha256") == digest


def shown(folder: Path, key: str) -> Shown | None:
    """Return the mask of boxes that is shown for an image; None where it shows no such mask."""
    told, path = _told(folder, key), folder / "start" / f"{file_stem(key)}.png"
    boxes, seconds = told.get("boxes"), told.get("seconds")
    if not isinstance(boxes, int) or not isinstance(seconds, int | float) or not path.is_file():
        return None
    try:
        mask = png_to_mask(path.read_bytes())
    except (OSError, SyntaxError, ValueError):  # somebody changed it: no mask is equal to it
        return None
    return Shown((mask > 0).astype(np.uint8), boxes, float(seconds))


def _note(folder: Path, key: str) -> Path:
    return folder / _FOLDER / f"{file_stem(key)}.json"


def _told(folder: Path, key: str) -> dict[str, object]:
    try:
        found = json.loads(_note(folder, key).read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
