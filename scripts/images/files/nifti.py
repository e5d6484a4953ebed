"""Two-dimensional NIfTI files, decoded by nibabel."""

from __future__ import annotations

import gzip
import io
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError
from nibabel.wrapstruct import WrapStructError
from PIL import Image

from scripts.core.errors import InputError, Problem
from scripts.images.files.bit_depth import eight_bits, over_white, three_channels
from scripts.images.files.faults import (
    DECODING_ERRORS,
    damaged,
    no_memory,
    refuse_non_finite,
    refuse_unreadable,
    too_large,
)
from scripts.images.files.names import image_suffix

_NIFTI_BYTES = 4  # per pixel, of the largest file that is read; with 8-byte numbers it has half as many pixels
_NIFTI_HEADER = 2**24  # with extensions
_NIFTI2_BYTES = 540  # of its header; that of the first version has 348
_NIFTI2_HEADER = _NIFTI2_BYTES.to_bytes(4, "little")  # its size is what tells the second version from the first


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


def read_nifti(path: Path, bits: int, content: bytes | None = None) -> np.ndarray:
    """Decode a NIfTI file as :func:`scripts.images.reading.read_image`."""
    values = eight_bits(nifti_values(path, content), bits, path)
    if values.shape[2:] == (4,):
        return np.array(over_white(Image.fromarray(values, "RGBA")))
    return three_channels(values)


def size_of_nifti(path: Path, content: bytes | None = None) -> tuple[int, int]:
    """Return (H, W) from the header; ``content`` is the file's bytes, where they have been read."""
    with _nifti_errors(path, content), _nifti_source(path, content) as source:
        columns, rows = _nifti_header(path, source.read(_NIFTI2_BYTES)).get_data_shape()[:2]
        return int(rows), int(columns)


def nifti_affine(path: Path, content: bytes | None = None) -> np.ndarray:
    """Return where the pixels of a 2-D NIfTI file lie, (4, 4) float64 of its header; else as :func:`nifti_values`."""
    with _opened_nifti(path, content) as image:
        return np.asarray(image.affine)


@contextmanager
def _opened_nifti(path: Path, content: bytes | None = None) -> Iterator[Any]:
    """Yield the nibabel image of a 2-D file; errors inside the block become InputError."""
    with _nifti_errors(path, content), _nifti_source(path, content) as source:
        begin = source.read(_NIFTI2_BYTES)
        header = _nifti_header(path, begin)
        promised = math.prod(header.get_data_shape()) * header.get_data_dtype().itemsize
        offset = max(0, int(header.get_data_offset()))
        if Image.MAX_IMAGE_PIXELS is not None and promised > 2 * Image.MAX_IMAGE_PIXELS * _NIFTI_BYTES:
            raise InputError(too_large(path, f"{promised} bytes"))
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
    refuse_unreadable(path, content)
    try:
        yield
    except InputError:
        raise
    except MemoryError as error:
        raise InputError(no_memory(path)) from error
    except (ImageFileError, HeaderDataError, WrapStructError, *DECODING_ERRORS) as error:
        raise InputError(damaged(path, error)) from error


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
        raise InputError(too_large(path, f"{flat[0]} x {flat[1]}"))
    return header


def _flat_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Drop the axes of length 1 behind x and y: (X, Y, 1, 3) -> (X, Y, 3)."""
    return (*shape[:2], *(length for length in shape[2:] if length != 1))
