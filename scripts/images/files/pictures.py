"""Pictures that Pillow decodes."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from scripts.core.errors import InputError, Problem
from scripts.images.files.bit_depth import FULL, composite, eight_bits, highest_bits, over_white, three_channels
from scripts.images.files.faults import (
    DECODING_ERRORS,
    REPLACE,
    SLIDE_COMMAND,
    damaged,
    no_memory,
    refuse_non_finite,
    refuse_unreadable,
    too_large,
)
from scripts.images.files.names import FORMATS, image_suffix
from scripts.images.files.tiff import described, numbers_of, plane_values, planes_of, told_of_pages, type_of

_PILLOW_FORMATS = ("BMP", "GIF", "JPEG", "JPEG2000", "PNG", "TIFF", "WEBP")  # MPO is opened by way of JPEG
_EXIF_ORIENTATION = 0x0112
_TILE_WIDTH = 322
_TURNED = (5, 6, 7, 8)
_OTHER_BYTE = {"16B": "16L", "16L": "16B", "16N": "16B"}  # of a channel's two bytes Pillow keeps the first it is told


@contextmanager
def opened_picture(path: Path, content: bytes | None = None, with_planes: bool = False) -> Iterator[Image.Image]:
    """Open a file of one of Pillow's formats; an error of decoding inside the ``with`` block becomes an InputError too.

    Args:
        path: the file.
        content: its bytes, where they have been read.
        with_planes: take a TIFF whose pages are channels, too.

    Raises:
        InputError: see :func:`scripts.images.reading.read_image`.
    """
    refuse_unreadable(path, content)
    source = path if content is None else io.BytesIO(content)
    try:
        # Only the promised formats: each further decoder is one more that hostile files could reach.
        with Image.open(source, formats=_PILLOW_FORMATS) as picture:
            _refuse_unfit(path, picture, with_planes)
            yield picture
    except InputError:
        raise
    except Image.DecompressionBombError as error:
        raise InputError(too_large(path, str(error))) from error
    except MemoryError as error:
        raise InputError(no_memory(path)) from error
    except UnidentifiedImageError as error:
        raise InputError(_unidentified(path, content)) from error
    except DECODING_ERRORS as error:
        raise InputError(damaged(path, error)) from error


def read_picture(path: Path, bits: int, content: bytes | None = None) -> np.ndarray:
    """Decode a picture as :func:`scripts.images.reading.read_image`."""
    with opened_picture(path, content, with_planes=True) as picture:
        if _has_pages(picture):
            values = plane_values(picture, planes_of(picture))
            refuse_non_finite(values, path)
            return composite(values, bits, path)
        if bits < FULL and _is_deep_colour(picture):
            colours = _deep_colours(path, picture, content)
            colours[..., :3] = highest_bits(colours[..., :3], bits, path)
            colours[..., 3:] >>= 8  # alpha uses all bits
            return _to_rgb(Image.fromarray(colours.astype(np.uint8)), path, bits)
        return _to_rgb(ImageOps.exif_transpose(picture), path, bits, type_of(picture))


def size_of_picture(path: Path) -> tuple[int, int]:
    """Return (H, W) of a picture, turned upright, from its header."""
    with opened_picture(path, with_planes=True) as picture:
        width, height = picture.size
        # Pillow has turned a TIFF's size already, though the tag still stands.
        turned = picture.format != "TIFF" and picture.getexif().get(_EXIF_ORIENTATION) in _TURNED
        return (width, height) if turned else (height, width)


def stored_size_of_picture(path: Path, content: bytes | None = None) -> tuple[int, int]:
    """Return (H, W) of a picture as it is stored; ``content`` is the file's bytes, where they have been read."""
    with opened_picture(path, content) as picture:
        return picture.height, picture.width


def deep_values(path: Path) -> np.ndarray | None:
    """Return the values, uint16 (H, W[, C]), of a picture of 16-bit numbers, None for any other."""
    if not _may_be_deep(path):
        return None
    with opened_picture(path, with_planes=True) as picture:
        if _has_pages(picture):
            return plane_values(picture, planes_of(picture)) if picture.mode.startswith("I;16") else None
        if _is_deep_colour(picture):
            return _deep_colours(path, picture)[..., :3]
        return np.asarray(picture) if picture.mode.startswith("I;16") else None


def _to_rgb(picture: Image.Image, path: Path, bits: int, kind: type | None = None) -> np.ndarray:
    """Convert an upright Pillow picture of any mode, with numbers of type ``kind``, to uint8 (H, W, 3)."""
    if picture.mode.startswith("I") or picture.mode == "F" or kind is not None:
        values = numbers_of(picture, kind)
        refuse_non_finite(values, path)
        return three_channels(eight_bits(values, bits, path))
    return np.array(over_white(picture) if picture.has_transparency_data else picture.convert("RGB"))


def _deep_colours(path: Path, picture: Image.Image, content: bytes | None = None) -> np.ndarray:
    """Return uint16 (H, W, C) of an opened picture with colours of 16 bits, upright."""
    high = np.asarray(ImageOps.exif_transpose(picture))
    with opened_picture(path, content) as again:
        low = np.asarray(ImageOps.exif_transpose(_with_low_bytes(again)))
    return high.astype(np.uint16) << 8 | low


def _may_be_deep(path: Path) -> bool:
    """Tell by suffix and first bytes, for nearly nothing, whether a picture may have 16 bits per channel."""
    suffix = image_suffix(path)
    if suffix != ".png":
        return suffix in (".tif", ".tiff")
    refuse_unreadable(path, None)
    with path.open("rb") as file:
        return file.read(25)[24:] == b"\x10"  # the header of a PNG stands first, with its bits


def _refuse_unfit(path: Path, picture: Image.Image, with_planes: bool) -> None:
    """Raise InputError for an intact picture that is not what is wanted."""
    expected = FORMATS[image_suffix(path)]
    if picture.format not in expected:
        cure = "Rename the file after its content."
        raise InputError(
            Problem("the content is not what the suffix says", str(path), expected[0], str(picture.format), cure)
        )
    told = {name: number for name, number in told_of_pages(picture).items() if number > 1}
    # Of a large stack ImageJ writes one page, and the others behind its pixels.
    if (_has_pages(picture) or told.get("images", 1) > 1) and not (with_planes and planes_of(picture)):
        found, cure = "several pages", "Save one page alone."
        if told:
            found += f" ({', '.join(f'{number} {name}' for name, number in told.items())})"
            cure = "Save one page alone, or 2 to 4 channels without slices and frames; of a mask one page."
        if _TILE_WIDTH in getattr(picture, "tag_v2", ()):
            found = "several pages in tiles, as whole slides have"
            cure = f"Predict a whole slide with {SLIDE_COMMAND} {path}; of other files save one page alone."
        raise InputError(Problem("animated or multi-page file", str(path), "one picture", found, cure))


def _has_pages(picture: Image.Image) -> bool:
    """Tell; not how many there are: of a TIFF all would be read, each compared with all before it."""
    return picture.format != "MPO" and bool(getattr(picture, "is_animated", False))


def _unidentified(path: Path, content: bytes | None) -> Problem:
    """Say that Pillow knows no such content; of a TIFF which numbers it holds."""
    with path.open("rb") if content is None else io.BytesIO(content) as file:
        try:
            found = described(file)
        except DECODING_ERRORS:
            found = ""
    if found:
        what, expected = "TIFF of numbers that cannot be read", "1, 3 or 4 x 8 or 16 bits, or 1 x 32 bits"
        return Problem(what, str(path), expected, found, "Save it in one of these.")
    expected = " or ".join(FORMATS[image_suffix(path)])
    return Problem("the content is no image that can be read", str(path), expected, "something else", REPLACE)


def _is_deep_colour(picture: Image.Image) -> bool:
    """Tell whether an opened file, not decoded yet, has colours of 16 bits, of which Pillow would keep 8."""
    return picture.mode in ("RGB", "RGBA") and any(_raw_mode(tile)[-3:] in _OTHER_BYTE for tile in _tiles(picture))


def _with_low_bytes(picture: Image.Image) -> Image.Image:
    """Return the same opened file, not decoded yet, so that it gives the low bytes of its colours."""
    picture.tile = [_swapped(tile) for tile in _tiles(picture)]  # type: ignore[attr-defined]
    return picture


def _tiles(picture: Image.Image) -> list[Any]:
    return list(getattr(picture, "tile", []))


def _raw_mode(tile: Any) -> str:
    args = tile.args
    return str(args[0] if isinstance(args, tuple) else args)


def _swapped(tile: Any) -> Any:
    mode = _raw_mode(tile)
    other = mode[:-3] + _OTHER_BYTE[mode[-3:]]
    return tile._replace(args=(other, *tile.args[1:]) if isinstance(tile.args, tuple) else other)
