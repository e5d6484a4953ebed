"""Reading images: every accepted file becomes a uint8 RGB array by one written rule, or is refused with a reason.

Accepted are PNG, BMP, JPEG, TIFF, GIF, WebP and JPEG 2000 (Pillow) and 2-D NIfTI (nibabel). The rule, in the order it
is applied:

==============================  ========================================================================
what the file holds             what :func:`read_image` returns
==============================  ========================================================================
EXIF or TIFF orientation        the image turned upright
1 bit                           0 and 255
palette                         the palette's colours
transparency of any kind        the image over a white background (the colour of an empty slide)
16-bit unsigned, grey or RGB    the high byte (``v >> 8``), so 65535 is white whatever the image holds; of a data set
                                with fewer bits the eight highest of these (:mod:`scripts.images.bit_depth`)
CMYK, YCbCr                     Pillow's conversion to RGB
other integers, floats          minimum to maximum stretched over 0..255 (a constant image becomes 0)
grey                            three equal channels
NIfTI (X, Y[, 1][, 3])          axis 0 is x: transposed to (H, W); the affine is not used; RGB dtypes accepted
==============================  ========================================================================

Refused: animated or multi-page files, a content that is not what the suffix says, values that are not finite, and
pictures beyond Pillow's limit against decompression bombs, which holds for NIfTI as well. Of a multi-picture JPEG
(MPO, written by some cameras) the first picture is the image.
"""

from __future__ import annotations

import gzip
import io
import math
import os
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError
from nibabel.wrapstruct import WrapStructError
from PIL import Image, ImageOps, UnidentifiedImageError

from scripts.core.errors import InputError, Problem
from scripts.images.bit_depth import FULL, is_deep_colour, with_low_bytes
from scripts.images.slide_files.region import REGION_SUFFIX, is_region, load_region, region_pixels

FORMATS: dict[str, tuple[str, ...]] = {
    ".png": ("PNG",),
    ".bmp": ("BMP",),
    ".jpg": ("JPEG", "MPO"),
    ".jpeg": ("JPEG", "MPO"),
    ".jfif": ("JPEG", "MPO"),
    ".tif": ("TIFF",),
    ".tiff": ("TIFF",),
    ".gif": ("GIF",),
    ".webp": ("WEBP",),
    ".jp2": ("JPEG2000",),
}
NIFTI_SUFFIXES = (".nii.gz", ".nii")
_PILLOW_FORMATS = ("BMP", "GIF", "JPEG", "JPEG2000", "PNG", "TIFF", "WEBP")  # MPO is opened by way of JPEG
# What decoders raise on damaged content; Pillow reports a broken PNG chunk as a SyntaxError.
_DECODING_ERRORS = (
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
_EXIF_ORIENTATION = 0x0112
_TILE_WIDTH = 322
SLIDE_COMMAND = "--config_file bundle/configs/slide.json --slides"
_TURNED = (5, 6, 7, 8)
_NIFTI_BYTES = 4  # per pixel, of the largest file that is read; with 8-byte numbers it has half as many pixels
_NIFTI_HEADER = 2**24  # with extensions
_NIFTI2_BYTES = 540  # of its header; that of the first version has 348
_NIFTI2_HEADER = _NIFTI2_BYTES.to_bytes(4, "little")  # its size is what tells the second version from the first


def image_suffix(path: Path | str) -> str:
    """Return the accepted suffix that ``path`` ends in, in lower case, else ``""``: ``"a.NII.gz"`` -> ``".nii.gz"``."""
    name = Path(path).name.lower()
    return next((suffix for suffix in (REGION_SUFFIX, *NIFTI_SUFFIXES, *FORMATS) if name.endswith(suffix)), "")


def image_stem(path: Path | str) -> str:
    """Return the file name without the suffix of its format: ``"x/a.b.nii.gz"`` -> ``"a.b"``."""
    name = Path(path).name
    return name[: len(name) - len(image_suffix(name))]


def is_image_file(path: Path | str) -> bool:
    """Say whether the name is that of an image: an accepted suffix, and no dot-file (macOS writes ``._a.png``)."""
    return not Path(path).name.startswith(".") and image_suffix(path) != ""


def read_image(path: Path | str, bits: int = FULL) -> np.ndarray:
    """Decode one image by the rule of this module.

    Args:
        path: the file.
        bits: how many bits of unsigned 16-bit numbers count, one of :data:`scripts.images.bit_depth.DEPTHS`; other
            files do not care.

    Returns:
        uint8 (H, W, 3), RGB, upright.

    Raises:
        InputError: the file is missing, empty, damaged, misnamed, animated, too large, holds non-finite values, or
            values that need more bits.
    """
    path = Path(path)
    if is_region(path):
        return region_pixels(path)
    if is_nifti(path):
        values = nifti_values(path)
        if values.shape[2:] != (4,):
            return _three_channels(_eight_bits(values, bits, path))
        return _picture_to_rgb(Image.fromarray(_eight_bits(values, bits, path), "RGBA"), path, bits)
    with opened_picture(path) as picture:
        if bits < FULL and is_deep_colour(picture):
            colours = _deep_colours(path, picture)
            colours[..., :3] = _highest_bits(colours[..., :3], bits, path)
            colours[..., 3:] >>= 8  # alpha uses all bits
            return _picture_to_rgb(Image.fromarray(colours.astype(np.uint8)), path, bits)
        return _picture_to_rgb(ImageOps.exif_transpose(picture), path, bits)


def highest_value(path: Path | str) -> int | None:
    """Return the highest value of an image of unsigned 16-bit numbers, None for any other.

    Raises:
        InputError: as :func:`read_image`.
    """
    path = Path(path)
    if is_nifti(path):
        values = nifti_values(path)
    elif not _may_be_deep(path):
        return None
    else:
        with opened_picture(path) as picture:
            deep = is_deep_colour(picture)
            if not deep and not picture.mode.startswith("I;16"):
                return None
            values = _deep_colours(path, picture)[..., :3] if deep else np.asarray(picture)
    return int(values.max()) if _is_deep(values) else None


def _may_be_deep(path: Path) -> bool:
    """Tell by suffix and first bytes, for nearly nothing, whether a picture may have 16 bits per channel."""
    suffix = image_suffix(path)
    if suffix != ".png":
        return suffix in (".tif", ".tiff")
    _refuse_unreadable(path, None)
    with path.open("rb") as file:
        return file.read(25)[24:] == b"\x10"  # the header of a PNG stands first, with its bits


def _deep_colours(path: Path, picture: Image.Image) -> np.ndarray:
    """Return uint16 (H, W, C) of an opened picture with colours of 16 bits, upright."""
    high = np.asarray(ImageOps.exif_transpose(picture))
    with opened_picture(path) as again:
        low = np.asarray(ImageOps.exif_transpose(with_low_bytes(again)))
    return high.astype(np.uint16) << 8 | low


def stored_size(path: Path, content: bytes | None = None) -> tuple[int, int]:
    """Return (H, W) as it is stored, from a file's header: nothing is turned upright, and no pixel is decoded.

    Args:
        path: the file.
        content: its bytes, where they have been read.

    Raises:
        InputError: as :func:`read_image`, for what the header shows.
    """
    if is_region(path) and content is None:
        return load_region(path).size
    if is_nifti(path):
        with _nifti_errors(path, content), _nifti_source(path, content) as source:
            columns, rows = _nifti_header(path, source.read(_NIFTI2_BYTES)).get_data_shape()[:2]
            return int(rows), int(columns)
    with opened_picture(path, content) as picture:
        return picture.height, picture.width


def image_size(path: Path | str) -> tuple[int, int]:
    """Return (H, W) as :func:`read_image` would give it, from the file's header alone.

    Raises:
        InputError: as :func:`read_image`, for what the header shows.
    """
    path = Path(path)
    if is_nifti(path) or is_region(path):
        return stored_size(path)
    with opened_picture(path) as picture:
        width, height = picture.size
        # Pillow has turned a TIFF's size already, though the tag still stands.
        turned = picture.format != "TIFF" and picture.getexif().get(_EXIF_ORIENTATION) in _TURNED
        return (width, height) if turned else (height, width)


def is_nifti(path: Path) -> bool:
    """Say whether the suffix is that of a NIfTI file."""
    return image_suffix(path) in NIFTI_SUFFIXES


@contextmanager
def opened_picture(path: Path, content: bytes | None = None) -> Iterator[Image.Image]:
    """Open a file of one of Pillow's formats; an error of decoding inside the ``with`` block becomes an InputError too.

    Args:
        path: the file.
        content: its bytes, where they have been read.

    Raises:
        InputError: see :func:`read_image`.
    """
    _refuse_unreadable(path, content)
    source = path if content is None else io.BytesIO(content)
    try:
        # Only the promised formats: each further decoder is one more that hostile files could reach.
        with Image.open(source, formats=_PILLOW_FORMATS) as picture:
            _refuse_unfit(path, picture)
            yield picture
    except InputError:
        raise
    except Image.DecompressionBombError as error:
        raise InputError(_too_large(path, str(error))) from error
    except MemoryError as error:
        raise InputError(_no_memory(path)) from error
    except UnidentifiedImageError as error:
        expected = " or ".join(FORMATS[image_suffix(path)])
        problem = Problem("the content is no image that can be read", str(path), expected, "something else", _REPLACE)
        raise InputError(problem) from error
    except _DECODING_ERRORS as error:
        raise InputError(_damaged(path, error)) from error


def nifti_values(path: Path, content: bytes | None = None) -> np.ndarray:
    """Return the values of a 2-D NIfTI file with the header's scaling applied: (H, W), or (H, W, C) with C 3 or 4.

    Args:
        path: the file.
        content: its bytes, where they have been read.

    Raises:
        InputError: the file is missing, damaged, not 2-D, too large, or holds NaN or infinite values.
    """
    with _opened_nifti(path, content) as image:
        values = np.asanyarray(image.dataobj)
    if values.dtype.names:  # RGB and RGBA are stored as one record per pixel
        values = np.stack([values[name] for name in values.dtype.names], axis=-1)
        values = values.reshape(*values.shape[:2], values.shape[-1])  # (X, Y[, 1], C) -> (X, Y, C)
    else:
        values = values.reshape(_flat_shape(values.shape))
    if values.dtype.kind not in "uif":
        raise InputError(Problem("not an image of real numbers", str(path), "integers or floats", str(values.dtype)))
    refuse_non_finite(values, path)
    return np.ascontiguousarray(values.swapaxes(0, 1))  # (X, Y[, C]) -> (H, W[, C])


def nifti_affine(path: Path, content: bytes | None = None) -> np.ndarray:
    """Return where the pixels of a 2-D NIfTI file lie, (4, 4) float64 of its header; else as :func:`nifti_values`."""
    with _opened_nifti(path, content) as image:
        return np.asarray(image.affine)


def refuse_non_finite(values: np.ndarray, path: Path) -> None:
    """Raise InputError where ``values`` holds NaN or infinity; no grey level could stand for them."""
    finite = np.isfinite(values)
    if not finite.all():
        found = f"{int((~finite).sum())} NaN or infinite values"
        raise InputError(Problem("values are not all finite", str(path), "finite values", found, "Replace them first."))


_REPLACE = "Replace the file, or take it out of the list."


def _refuse_unreadable(path: Path, content: bytes | None) -> None:
    """Raise InputError for what can be said before any decoder sees the file."""
    if not image_suffix(path) or is_region(path):  # no decoder is for a region
        accepted = ", ".join((*FORMATS, *reversed(NIFTI_SUFFIXES)))
        problem = Problem("not a format that can be read", str(path), accepted, path.suffix or "no suffix")
    elif content is None and not os.path.isfile(
        path
    ):  # unlike Path.is_file it says so of names that no file system takes, too
        found = "a folder" if os.path.isdir(path) else "nothing there"
        problem = Problem("file is missing", str(path), "a file", found, "Check the path in the table.")
    elif (path.stat().st_size if content is None else len(content)) == 0:
        problem = Problem("file is empty", str(path), "an image", "0 bytes", _REPLACE)
    else:
        return
    raise InputError(problem)


def _refuse_unfit(path: Path, picture: Image.Image) -> None:
    """Raise InputError for an intact picture that is not what is wanted."""
    expected = FORMATS[image_suffix(path)]
    if picture.format not in expected:
        cure = "Rename the file after its content."
        raise InputError(
            Problem("the content is not what the suffix says", str(path), expected[0], str(picture.format), cure)
        )
    # Not how many there are: of a TIFF all would be read, each compared with all before it.
    if picture.format != "MPO" and getattr(picture, "is_animated", False):
        found, cure = "several pages", "Save one page alone."
        if _TILE_WIDTH in getattr(picture, "tag_v2", ()):
            found = "several pages in tiles, as whole slides have"
            cure = f"Predict a whole slide with {SLIDE_COMMAND} {path}; of other files save one page alone."
        raise InputError(Problem("animated or multi-page file", str(path), "one picture", found, cure))


def _damaged(path: Path, error: Exception) -> Problem:
    return Problem("cannot be decoded", str(path), "an intact file", f"{type(error).__name__}: {error}", _REPLACE)


def _no_memory(path: Path) -> Problem:
    cure = "Replace the file, whose header may be damaged and ask for any size; or free memory."
    return Problem("there is not enough memory to decode it", str(path), cure=cure)


def _too_large(path: Path, found: str) -> Problem:
    limit = f"at most {2 * (Image.MAX_IMAGE_PIXELS or 0)} pixels"
    slide = (
        f" A whole slide is predicted with {SLIDE_COMMAND} {path}." if image_suffix(path) in (".tif", ".tiff") else ""
    )
    cure = f"Tile or downscale the image.{slide}"
    return Problem("too many pixels to be decoded safely", str(path), limit, found, cure)


@contextmanager
def _opened_nifti(path: Path, content: bytes | None = None) -> Iterator[Any]:
    """Yield the nibabel image of a 2-D file; errors inside the block become InputError."""
    with _nifti_errors(path, content), _nifti_source(path, content) as source:
        begin = source.read(_NIFTI2_BYTES)
        header = _nifti_header(path, begin)
        promised = math.prod(header.get_data_shape()) * header.get_data_dtype().itemsize
        offset = max(0, int(header.get_data_offset()))
        if Image.MAX_IMAGE_PIXELS is not None and promised > 2 * Image.MAX_IMAGE_PIXELS * _NIFTI_BYTES:
            raise InputError(_too_large(path, f"{promised} bytes"))
        if offset > _NIFTI_HEADER:  # of few pixels, yet all before them would be unpacked
            expected = f"within {_NIFTI_HEADER} bytes"
            raise InputError(Problem("pixels begin far behind the header", str(path), expected, f"at byte {offset}"))
        most = offset + promised
        # As much as the header promises and no more; all of it in memory, where nibabel looks for no other file.
        unpacked = begin + source.read(max(0, most - len(begin)))
        if promised > len(unpacked):
            raise ValueError(f"{len(unpacked)} bytes, fewer than its header promises")
        yield _nifti_class(begin).from_bytes(unpacked)


@contextmanager
def _nifti_errors(path: Path, content: bytes | None) -> Iterator[None]:
    _refuse_unreadable(path, content)
    try:
        yield
    except InputError:
        raise
    except MemoryError as error:
        raise InputError(_no_memory(path)) from error
    except (ImageFileError, HeaderDataError, WrapStructError, *_DECODING_ERRORS) as error:
        raise InputError(_damaged(path, error)) from error


@contextmanager
def _nifti_source(path: Path, content: bytes | None) -> Iterator[Any]:
    """Yield a stream of the unpacked file."""
    with path.open("rb") if content is None else io.BytesIO(content) as file:
        yield gzip.GzipFile(fileobj=file) if image_suffix(path) == ".nii.gz" else file


def _nifti_class(begin: bytes) -> Any:
    """Return the class for a file that begins so: one of two, where ``nibabel.load`` tries forms that read others."""
    return nibabel.Nifti2Image if _NIFTI2_HEADER in (begin[:4], begin[3::-1]) else nibabel.Nifti1Image


def _nifti_header(path: Path, begin: bytes) -> Any:
    """Return the header of a 2-D file that begins so, or raise InputError."""
    kind = _nifti_class(begin).header_class
    header = kind(begin[: kind.sizeof_hdr])
    shape = header.get_data_shape()
    flat = _flat_shape(shape)
    if len(flat) not in (2, 3) or (len(flat) == 3 and flat[2] not in (3, 4)) or min(flat) < 1:
        raise InputError(Problem("not a 2-D image", str(path), "shape (X, Y), (X, Y, 1) or (X, Y, 3)", str(shape)))
    if Image.MAX_IMAGE_PIXELS is not None and flat[0] * flat[1] > 2 * Image.MAX_IMAGE_PIXELS:
        raise InputError(_too_large(path, f"{flat[0]} x {flat[1]}"))
    return header


def _flat_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Drop the axes of length 1 behind x and y: (X, Y, 1, 3) -> (X, Y, 3)."""
    return (*shape[:2], *(length for length in shape[2:] if length != 1))


def _picture_to_rgb(picture: Image.Image, path: Path, bits: int) -> np.ndarray:
    """Convert an upright Pillow picture of any mode to uint8 (H, W, 3)."""
    if picture.mode.startswith("I") or picture.mode == "F":
        values = np.asarray(picture)
        refuse_non_finite(values, path)
        return _three_channels(_eight_bits(values, bits, path))
    if picture.has_transparency_data:
        rgba = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba)
    return np.array(picture.convert("RGB"))


def _highest_bits(values: np.ndarray, bits: int, path: Path) -> np.ndarray:
    """Return uint8 of unsigned 16-bit values (H, W[, C]) of which ``bits`` count; the highest of these is white."""
    if bits < FULL and values.max() >= 2**bits:
        expected = f"values up to {2**bits - 1}, {bits} bits as in the images of the data set or the model"
        cure = "Give it in the same scale, or start a new run with --data#bits 16."
        raise InputError(Problem("image is brighter than white", str(path), expected, f"up to {values.max()}", cure))
    return (values >> (bits - 8)).astype(np.uint8)


def _is_deep(values: np.ndarray) -> bool:
    return values.dtype.kind == "u" and values.dtype.itemsize == 2


def _eight_bits(values: np.ndarray, bits: int, path: Path) -> np.ndarray:
    """Bring finite values of any numeric dtype to uint8 by the table of this module; the shape stays."""
    if values.dtype == np.uint8:
        return values
    if _is_deep(values):
        return _highest_bits(values, bits, path)
    numbers = values.astype(np.float64)
    low, high = numbers.min(), numbers.max()
    if low == high:
        return np.zeros(values.shape, np.uint8)
    return np.rint((numbers - low) / (high - low) * 255.0).astype(np.uint8)


def _three_channels(values: np.ndarray) -> np.ndarray:
    """Repeat grey: (H, W) -> (H, W, 3); (H, W, 3) is returned as it is."""
    return values if values.ndim == 3 else np.repeat(values[:, :, None], 3, axis=2)
