"""Mask files as people hand them in, and ways to spoil what a gate looks at: texts, positions, pages, bombs."""

from __future__ import annotations

import gzip
import io
import random
import struct
import zlib
from collections.abc import Callable
from functools import cache

import nibabel
import numpy as np
from PIL import Image, PngImagePlugin

from tests.support.fuzz_cases import MOST_PACKED, spoiled_bytes

SIDE = 32
"""Of the images, pixels."""
SUFFIXES = ("png", "bmp", "tif", "nii", "nii.gz")
_TEXTS = (
    "41.5", "-1", "nan", "inf", "1e308", "9" * 400, "1_0", "\u0661", "", "\0", "a\nb", "\u202eann", "Dr. Ä", "x" * 121,
    "\x1b[2J", " ", "\U0001f600", "x" * 100_000,
)  # fmt: skip
_AFFINES = (0.0, -1.0, 0.5, 1e-30, 1e30, 1e300, float("nan"), float("inf"), -0.0, 1e7, 31.0)
_BOMB = 900 * 2**20


def spoiled_mask(suffix: str, rng: random.Random) -> tuple[bytes, str]:
    """Return the bytes of a mask, spoiled, and what was done to it."""
    name, data = rng.choice(whole_masks(suffix))
    own = {"png": (_texts,), "nii": (_position,), "nii.gz": (_position, _position, _offset), "tif": (_pages,)}
    done = []
    for _ in range(rng.choice((0, 1, 1, 1, 2))):
        way = rng.choice((spoiled_bytes, spoiled_bytes, *own.get(suffix, ())))
        data = way(data, rng, suffix)
        done.append(way.__name__.strip("_"))
    return data, f"{name}: {', '.join(done)}"


@cache
def whole_masks(suffix: str) -> tuple[tuple[str, bytes], ...]:
    """Return (name, bytes) of masks that are taken."""
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[5:20, 8:25] = 1
    numbered = mask * 3
    numbered[22:28, 3:30] = 7
    arrays = {"ones": mask, "white": mask * 255, "numbered": numbered}
    return tuple((name, _written(suffix, array)) for name, array in arrays.items())


def _written(suffix: str, array: np.ndarray) -> bytes:
    if suffix.startswith("nii"):
        found = nibabel.Nifti1Image(array.T.copy(), np.eye(4)).to_bytes()
        return gzip.compress(found, mtime=0) if suffix == "nii.gz" else found
    target = io.BytesIO()
    Image.fromarray(array).save(target, {"png": "PNG", "bmp": "BMP", "tif": "TIFF"}[suffix])
    return target.getvalue()


def _texts(data: bytes, rng: random.Random, _: str) -> bytes:
    """Have a PNG say who drew it, and how long that took."""
    try:
        with Image.open(io.BytesIO(data), formats=["PNG"]) as picture:
            info, target = PngImagePlugin.PngInfo(), io.BytesIO()
            for name in ("annotator", "seconds"):
                text = rng.choice(_TEXTS)
                add = info.add_itxt if rng.random() < 0.5 else info.add_text
                add(name, text, zip=rng.random() < 0.3)
            picture.save(target, "PNG", pnginfo=info)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return data
    return target.getvalue()


def _position(data: bytes, rng: random.Random, suffix: str) -> bytes:
    """Write where the pixels lie: the three rows of the matrix, or the six numbers of the turn."""

    def write(header: bytearray) -> None:
        code, at = rng.choice(((254, 280), (252, 256)))
        struct.pack_into("<hh", header, 252, 0, 0)
        struct.pack_into("<h", header, code, 1)
        for _ in range(rng.choice((1, 2, 6))):
            value = min(max(rng.choice(_AFFINES), -3e38), 3e38)
            struct.pack_into("<f", header, at + 4 * rng.randrange(12 if at == 280 else 6), value)

    return _with_header(data, suffix, write)


def _offset(data: bytes, rng: random.Random, suffix: str) -> bytes:
    """Have the pixels begin far behind the header, with as much in between, which packs well."""

    def write(header: bytearray) -> None:
        struct.pack_into("<f", header, 108, rng.choice((352.0, 353.0, 1e6, 5e8)))

    spoiled = _with_header(data, suffix, write)
    return spoiled + (_zeros() if rng.random() < 0.05 else b"")


@cache
def _zeros() -> bytes:
    """Members of gzip that say as much as a bomb: the parts of one file follow each other."""
    return gzip.compress(bytes(2**20), mtime=0) * (_BOMB // 2**20)


def _with_header(data: bytes, suffix: str, write: Callable[[bytearray], None]) -> bytes:
    if len(data) > MOST_PACKED:
        return data
    try:
        inside = bytearray(gzip.decompress(data) if suffix == "nii.gz" else data)
        write(inside)
    except (OSError, EOFError, ValueError, struct.error, zlib.error):
        return data
    return gzip.compress(bytes(inside), mtime=0) if suffix == "nii.gz" else bytes(inside)


def _pages(data: bytes, rng: random.Random, _: str) -> bytes:
    """Have a TIFF go on with directories that hold nothing, or the same again, many of them or in a circle."""
    if data[:4] != b"II*\0" or len(data) < 8:
        return data
    (at,) = struct.unpack_from("<I", data, 4)
    if at + 2 > len(data):
        return data
    (entries,) = struct.unpack_from("<H", data, at)
    link, end, count = at + 2 + 12 * entries, len(data), rng.choice((1, 2, 50, 50_000))
    if link + 4 > len(data):
        return data
    said, last = data[at:link] if rng.random() < 0.7 else bytes(2), rng.choice((0, at, end))
    step = len(said) + 4
    chain = b"".join(said + struct.pack("<I", end + step * (i + 1) if i + 1 < count else last) for i in range(count))
    return data[:link] + struct.pack("<I", end) + data[link + 4 :] + chain
