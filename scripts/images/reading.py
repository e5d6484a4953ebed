"""Reading images: every accepted file becomes a uint8 RGB array by one written rule, or is refused with a reason.

Accepted are PNG, BMP, JPEG, TIFF, GIF, WebP and JPEG 2000 (Pillow), 2-D NIfTI (nibabel), DICOM of one frame (pydicom),
and files that name a region of a slide (:mod:`scripts.images.slide_files.region`). The rule, in the order it is
applied:

==============================  ========================================================================
what the file holds             what :func:`read_image` returns
==============================  ========================================================================
EXIF or TIFF orientation        the image turned upright
1 bit                           0 and 255
palette                         the palette's colours
transparency of any kind        the image over a white background (the colour of an empty slide)
16-bit unsigned, grey or RGB    the high byte (``v >> 8``), so 65535 is white whatever the image holds; of a data set
                                with fewer bits the eight highest of these (:mod:`scripts.images.files.bit_depth`)
CMYK, YCbCr                     Pillow's conversion to RGB
other integers, floats          minimum to maximum stretched over 0..255 (a constant image becomes 0)
grey                            three equal channels
TIFF pages that are channels    red, green, blue, grey over all (:mod:`scripts.images.files.tiff`)
DICOM                           rescaled, then by its window, else by its bits (:mod:`scripts.images.files.dicom`)
NIfTI (X, Y[, 1][, 3])          axis 0 is x: transposed to (H, W); the affine is not used; RGB dtypes accepted
==============================  ========================================================================

Refused: other animated or multi-page files, a content that is not what the suffix says, values that are not finite, and
pictures beyond Pillow's limit against decompression bombs, which holds for NIfTI as well. Of a multi-picture JPEG
(MPO, written by some cameras) the first picture is the image.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from scripts.images.files.bit_depth import FULL, is_deep
from scripts.images.files.dicom import deep_dicom, read_dicom, size_of_dicom
from scripts.images.files.names import DICOM_SUFFIXES, NIFTI_SUFFIXES, REGION_SUFFIX, image_suffix
from scripts.images.files.nifti import nifti_values, read_nifti, size_of_nifti
from scripts.images.files.pictures import deep_values, read_picture, size_of_picture, stored_size_of_picture
from scripts.images.slide_files.region import read_region, size_of_region


class _Form(NamedTuple):
    """How files of some suffixes are read.

    Attributes:
        read: path, bits that count, and the file's bytes or None -> uint8 (H, W, 3).
        size: path -> (H, W) of what ``read`` returns, from the header.
        stored_size: path and bytes or None -> (H, W) before it is turned upright, from the header.
        values: path -> the numbers stored, None where they need no look for their highest.
    """

    read: Callable[[Path, int, bytes | None], np.ndarray]
    size: Callable[[Path], tuple[int, int]]
    stored_size: Callable[[Path, bytes | None], tuple[int, int]]
    values: Callable[[Path], np.ndarray | None]


_PICTURE = _Form(read_picture, size_of_picture, stored_size_of_picture, deep_values)
_FORMS = {
    **dict.fromkeys(NIFTI_SUFFIXES, _Form(read_nifti, size_of_nifti, size_of_nifti, nifti_values)),
    **dict.fromkeys(DICOM_SUFFIXES, _Form(read_dicom, size_of_dicom, size_of_dicom, deep_dicom)),
    REGION_SUFFIX: _Form(read_region, size_of_region, size_of_region, lambda path: None),
}
"""Suffix -> how its files are read; those that are not here are pictures."""


def _form_of(path: Path) -> _Form:
    return _FORMS.get(image_suffix(path), _PICTURE)


def read_image(path: Path | str, bits: int = FULL, content: bytes | None = None) -> np.ndarray:
    """Decode one image by the rule of this module.

    Args:
        path: the file.
        bits: how many bits of unsigned 16-bit numbers count, one of :data:`scripts.images.files.bit_depth.DEPTHS`;
            other files do not care.
        content: bytes of the file, where they have been read.

    Returns:
        uint8 (H, W, 3), RGB, upright.

    Raises:
        InputError: the file is missing, empty, damaged, misnamed, animated, too large, holds non-finite values, or
            values that need more bits.
    """
    return _form_of(Path(path)).read(Path(path), bits, content)


def image_size(path: Path | str) -> tuple[int, int]:
    """Return (H, W) as :func:`read_image` would give it, from the file's header alone.

    Raises:
        InputError: as :func:`read_image`, for what the header shows.
    """
    return _form_of(Path(path)).size(Path(path))


def highest_value(path: Path | str) -> int | None:
    """Return the highest value of an image of unsigned 16-bit numbers, None for any other.

    Raises:
        InputError: as :func:`read_image`.
    """
    values = _form_of(Path(path)).values(Path(path))
    return int(values.max()) if values is not None and is_deep(values) else None


def stored_size(path: Path, content: bytes | None = None) -> tuple[int, int]:
    """Return (H, W) as it is stored, from a file's header: nothing is turned upright, and no pixel is decoded.

    Args:
        path: the file.
        content: its bytes, where they have been read.

    Raises:
        InputError: as :func:`read_image`, for what the header shows.
    """
    return _form_of(path).stored_size(path, content)
