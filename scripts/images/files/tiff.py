"""What Pillow leaves to be told of TIFF: types of numbers, and pages that are channels of one picture.

ImageJ and OME write such pages. Nothing but the word of the file counts: three grey pages may be a volume as well.
"""

from __future__ import annotations

import re
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps, TiffImagePlugin

_DESCRIPTION, _BITS, _SAMPLE_FORMAT = 270, 258, 339
_MOST = 4
_KINDS = {1: "unsigned", 2: "signed", 3: "float", 5: "complex", 6: "complex"}
_IMAGEJ = re.compile(r"^(images|channels|slices|frames)=(\d{1,9})\s*$", re.MULTILINE)
_OME_PIXELS = re.compile(r"<(?:\w+:)?Pixels\b([^>]*)>")
_OME_SIZES = re.compile(r"\bSize([CZT])\s*=\s*[\"'](\d{1,9})[\"']")
_NAMES = {"C": "channels", "Z": "slices", "T": "frames"}


def type_of(picture: Image.Image) -> type | None:
    """Return the type of the numbers of an opened TIFF where Pillow takes them for another; None for all others."""
    tags = getattr(picture, "tag_v2", {})
    found = (picture.mode, tuple(tags.get(_BITS, ())), tuple(tags.get(_SAMPLE_FORMAT, (1,))))
    return {("L", (8,), (2,)): np.int8, ("I", (32,), (1,)): np.uint32}.get(found)


def numbers_of(picture: Image.Image, kind: type | None) -> np.ndarray:
    """Return the numbers of a picture, decoded or not, which are of the type that :func:`type_of` gave."""
    values = np.asarray(picture)
    return values if kind is None else values.view(kind)


def told_of_pages(picture: Image.Image) -> dict[str, int]:
    """Return what a TIFF says of its pages, such as ``{"channels": 3, "slices": 1}``; empty where it says nothing."""
    text = str(getattr(picture, "tag_v2", {}).get(_DESCRIPTION, ""))
    if text.startswith("ImageJ="):
        return {name: int(number) for name, number in _IMAGEJ.findall(text)}
    found = _OME_PIXELS.findall(text)
    if len(found) != 1:
        return {}
    return {_NAMES[name]: int(number) for name, number in _OME_SIZES.findall(found[0])}


def planes_of(picture: Image.Image) -> int:
    """Return how many pages are channels of one picture, 2 to 4; 0 where pages are none, or not only that.

    Args:
        picture: a TIFF at its first page. Pages up to the fifth are looked at, and it is put back.
    """
    told = told_of_pages(picture)
    count = told.get("channels", 0)
    if not 2 <= count <= _MOST or max(told.get("slices", 1), told.get("frames", 1)) > 1:
        return 0
    pages = []
    try:
        for number in range(count + 1):
            picture.seek(number)
            pages.append((picture.mode, picture.size))
    except EOFError:
        picture.seek(0)
    else:
        picture.seek(0)
        return 0
    is_grey = pages[0][0] in ("L", "I", "F") or pages[0][0].startswith("I;16")
    return count if len(pages) == count and len(set(pages)) == 1 and is_grey else 0


def plane_values(picture: Image.Image, count: int) -> np.ndarray:
    """Return the numbers of ``count`` pages, upright, (H, W, count)."""
    planes = []
    for number in range(count):
        picture.seek(number)
        planes.append(numbers_of(ImageOps.exif_transpose(picture), type_of(picture)))
    return np.stack(planes, axis=2)


def described(file: BinaryIO) -> str:
    """Return which numbers a TIFF holds (``"1 x 64 bits, float"``), read from its tags; "" for other files."""
    begin = file.read(16)
    if begin[:4] not in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return ""
    tags = TiffImagePlugin.ImageFileDirectory_v2(begin if b"+" in begin[2:4] else begin[:8])
    file.seek(tags.next)
    tags.load(file)
    bits, kinds = tags.get(_BITS, (1,)), tags.get(_SAMPLE_FORMAT, (1,))
    return f"{len(bits)} x {max(bits)} bits, {_KINDS.get(kinds[0], 'unknown')}"
