"""What is told of image files that cannot be read, whatever their format."""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

from scripts.core.errors import InputError, Problem
from scripts.images.files.names import SUFFIXES, image_suffix, is_region

# What decoders raise on damaged content; Pillow reports a broken PNG chunk as a SyntaxError.
DECODING_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    IndexError,
    KeyError,
    TypeError,
    ArithmeticError,
    struct.error,
    zlib.error,
)
SLIDE_COMMAND = "--config_file bundle/configs/slide.json --slides"
IMAGE_COMMAND = "--config_file bundle/configs/inference.json --dataset_dir"
REPLACE = "Replace the file, or take it out of the list."


def refuse_unreadable(path: Path, content: bytes | None) -> None:
    """Raise InputError for what can be said before any decoder sees the file."""
    if not image_suffix(path) or is_region(path):  # no decoder is for a region
        accepted = ", ".join(SUFFIXES)
        problem = Problem("not a format that can be read", str(path), accepted, path.suffix or "no suffix")
    elif content is None and not os.path.isfile(
        path
    ):  # unlike Path.is_file it says so of names that no file system takes, too
        found = "a folder" if os.path.isdir(path) else "nothing there"
        problem = Problem("file is missing", str(path), "a file", found, "Check the path in the table.")
    elif (path.stat().st_size if content is None else len(content)) == 0:
        problem = Problem("file is empty", str(path), "an image", "0 bytes", REPLACE)
    else:
        return
    raise InputError(problem)


def refuse_non_finite(values: np.ndarray, path: Path) -> None:
    """Raise InputError where ``values`` holds NaN or infinity; no grey level could stand for them."""
    finite = np.isfinite(values)
    if not finite.all():
        found = f"{int((~finite).sum())} NaN or infinite values"
        raise InputError(Problem("values are not all finite", str(path), "finite values", found, "Replace them first."))


def damaged(path: Path, error: Exception) -> Problem:
    """Say that a decoder gave up."""
    found = f"{type(error).__name__}: {error}".partition("\n")[0][:200]
    return Problem("cannot be decoded", str(path), "an intact file", found, REPLACE)


def no_memory(path: Path) -> Problem:
    """Say that there is not enough memory."""
    cure = "Replace the file, whose header may be damaged and ask for any size; or free memory."
    return Problem("there is not enough memory to decode it", str(path), cure=cure)


def too_large(path: Path, found: str) -> Problem:
    """Say that a file has more pixels than are decoded, ``found`` in words."""
    limit = f"at most {2 * (Image.MAX_IMAGE_PIXELS or 0)} pixels"
    slide = (
        f" A whole slide is predicted with {SLIDE_COMMAND} {path}." if image_suffix(path) in (".tif", ".tiff") else ""
    )
    cure = f"Tile or downscale the image.{slide}"
    return Problem("too many pixels to be decoded safely", str(path), limit, found, cure)
