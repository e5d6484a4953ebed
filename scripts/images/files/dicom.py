"""DICOM files of one frame, decoded by pydicom.

How their numbers become 8 bits, in this order:

1. Modality LUT, or rescale slope and intercept.
2. The file's window, the first of several, or its VOI LUT: what a viewer shows first. Its range becomes 0..255.
3. Without one, unsigned numbers that nothing rescales: the file says how many bits count (``BitsStored``), and the
   eight highest stay. Where it says 16, which cameras with fewer bits write too, the bits of the data set count as for
   other files of 16-bit numbers (:mod:`scripts.images.files.bit_depth`).
4. Any other (Hounsfield units without a window): minimum to maximum stretched.

MONOCHROME1 is inverted at the end. As masks the stored numbers are read, and none of this is applied.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from scripts.core.errors import InputError, Problem
from scripts.core.optional import needed
from scripts.images.files.bit_depth import FULL, eight_bits, highest_bits, three_channels
from scripts.images.files.faults import (
    DECODING_ERRORS,
    REPLACE,
    damaged,
    no_memory,
    refuse_non_finite,
    refuse_unreadable,
    too_large,
)  # fmt: skip

_COLOURS = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT", "PALETTE COLOR")  # pydicom makes RGB of YBR
_GREYS = ("MONOCHROME1", "MONOCHROME2")
_DEFLATED = b"1.2.840.10008.1.2.1.99"
_PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
_LUTS = ("ModalityLUTSequence", "VOILUTSequence")


def read_dicom(path: Path, bits: int, content: bytes | None = None) -> np.ndarray:
    """Decode a DICOM file as :func:`scripts.images.reading.read_image`."""
    with _opened(path, content) as (found, pydicom):
        values = pydicom.pixels.pixel_array(found)
        if found.PhotometricInterpretation == "PALETTE COLOR":
            values = pydicom.pixels.apply_color_lut(values, found)
            return values if values.dtype == np.uint8 else (values >> 8).astype(np.uint8)
        if values.ndim == 3:
            return _by_bits(values, found, bits, path)
        grey = _grey(values, found, bits, path, pydicom)
        return three_channels(255 - grey if found.PhotometricInterpretation == "MONOCHROME1" else grey)


def size_of_dicom(path: Path, content: bytes | None = None) -> tuple[int, int]:
    """Return (H, W) from the header; ``content`` is the file's bytes, where they have been read."""
    with _opened(path, content, with_pixels=False) as (found, _):
        return int(found.Rows), int(found.Columns)


def dicom_values(path: Path, content: bytes | None = None) -> tuple[np.ndarray, bool]:
    """Return the numbers that a file stores, (H, W) or (H, W, 3), and whether compression has changed them.

    Raises:
        InputError: as :func:`scripts.images.reading.read_image`.
    """
    with _opened(path, content) as (found, pydicom):
        return pydicom.pixels.pixel_array(found), str(found.get("LossyImageCompression", "")) == "01"


def deep_dicom(path: Path) -> np.ndarray | None:
    """Return the values of a file of 16-bit numbers that does not say how many bits count, None for any other."""
    with _opened(path, None, with_pixels=False) as (header, _):
        says_all = _is_plain(header) and header.BitsStored == FULL
    return dicom_values(path)[0] if says_all else None


def _grey(values: np.ndarray, found: Any, bits: int, path: Path, pydicom: Any) -> np.ndarray:
    """Return uint8 (H, W) of stored numbers, by the rule of this module; MONOCHROME1 is not inverted yet."""
    if _is_plain(found):
        return _by_bits(values, found, bits, path)
    numbers = pydicom.pixels.apply_modality_lut(values, found)
    refuse_non_finite(numbers, path)
    if found.get("WindowCenter") not in (None, ""):
        return _windowed(numbers.astype(np.float64), found, path)
    if "VOILUTSequence" in found:
        white = 2 ** int(found.VOILUTSequence[0].LUTDescriptor[2]) - 1
        return _shown(pydicom.pixels.apply_voi(numbers.astype(np.int64), found) / white)
    return eight_bits(numbers, bits, path)


def _is_plain(found: Any) -> bool:
    """Tell whether numbers are unsigned, and nothing says what they stand for or how they are shown."""
    has_pixels = not any(name in found for name in _PIXELS[1:])
    unchanged = float(found.get("RescaleSlope") or 1) == 1 and float(found.get("RescaleIntercept") or 0) == 0
    shown = found.get("WindowCenter") not in (None, "") or any(name in found for name in _LUTS)
    is_unsigned = found.get("PixelRepresentation") == 0 and found.BitsAllocated <= FULL
    return has_pixels and is_unsigned and unchanged and not shown


def _by_bits(values: np.ndarray, found: Any, bits: int, path: Path) -> np.ndarray:
    """Return uint8 of unsigned numbers, of which the file says how many bits count."""
    stored = int(found.BitsStored)
    if stored == FULL:
        return highest_bits(values, bits if _is_plain(found) else FULL, path)
    values = values & np.array(2**stored - 1, values.dtype)  # above them old files keep overlays
    if stored >= 8:
        return (values >> (stored - 8)).astype(np.uint8)
    return (values.astype(np.uint16) * 255 // (2**stored - 1)).astype(np.uint8)


def _windowed(values: np.ndarray, found: Any, path: Path) -> np.ndarray:
    """Return uint8 of float64 values as the file's first window shows them (DICOM PS3.3 C.11.2.1)."""
    centre, width = (_first(found.get(name)) for name in ("WindowCenter", "WindowWidth"))
    form = found.get("VOILUTFunction") or "LINEAR"
    if not (np.isfinite(centre) and np.isfinite(width)) or width < (1 if form == "LINEAR" else 1e-9):
        cure = "Correct WindowCenter and WindowWidth in the file, or take both out."
        window = f"{centre:g}, {width:g}"
        raise InputError(Problem("window cannot be used", str(path), "a width of 1 or more", window, cure))
    if form == "SIGMOID":
        shares = 1 / (1 + np.exp(np.clip(-4 * (values - centre) / width, -700, 700)))
    elif form == "LINEAR_EXACT":
        shares = (values - centre) / width + 0.5
    else:
        shares = (values - (centre - 0.5)) / max(width - 1, 1e-9) + 0.5
    return _shown(shares)


def _shown(shares: np.ndarray) -> np.ndarray:
    return np.rint(shares.clip(0, 1) * 255).astype(np.uint8)


def _first(value: Any) -> float:
    return float(value[0] if isinstance(value, list | tuple) or hasattr(value, "append") else value)


@contextmanager
def _opened(path: Path, content: bytes | None, with_pixels: bool = True) -> Iterator[tuple[Any, Any]]:
    """Yield the data set of a file that can be read, and pydicom; errors inside the block become InputError."""
    refuse_unreadable(path, content)
    pydicom = needed("pydicom")
    pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE  # it would warn of each odd value
    errors = (pydicom.errors.InvalidDicomError, AttributeError, RuntimeError, *DECODING_ERRORS)
    try:
        _refuse_deflated(path, content, pydicom)
        source = path if content is None else io.BytesIO(content)
        found = pydicom.dcmread(source, stop_before_pixels=not with_pixels)
        _refuse_unfit(found, path, pydicom)
        if with_pixels and not any(name in found for name in _PIXELS):
            raise ValueError("no pixels in the file")
        yield found, pydicom
    except InputError:
        raise
    except (Image.DecompressionBombError, MemoryError) as error:
        raise InputError(no_memory(path)) from error
    except pydicom.errors.InvalidDicomError as error:
        problem = Problem("the content is no image that can be read", str(path), "DICOM", "something else", REPLACE)
        raise InputError(problem) from error
    except errors as error:
        raise InputError(damaged(path, error)) from error


def _refuse_deflated(path: Path, content: bytes | None, pydicom: Any) -> None:
    """Raise InputError for a file that is packed as a whole: nothing would limit what it is unpacked to."""
    if content is None:
        syntax = str(pydicom.filereader.read_file_meta_info(path).get("TransferSyntaxUID", ""))
        packed = syntax == _DEFLATED.decode()
    else:
        packed = _DEFLATED in content
    if packed:
        raise InputError(_compressed(path, "Deflated Explicit VR Little Endian"))


def _refuse_unfit(found: Any, path: Path, pydicom: Any) -> None:
    """Raise InputError for an intact file that is no single image, is too large, or that nothing here unpacks."""
    if "Rows" not in found:
        kind = pydicom.uid.UID(found.get("SOPClassUID") or "").name or "no kind"
        raise InputError(Problem("no image in the DICOM file", str(path), "pixels", kind, REPLACE))
    frames = int(found.get("NumberOfFrames") or 1)
    if frames != 1:
        cure = "Save each frame that is an image of its own as PNG, or as a DICOM file of one frame."
        raise InputError(Problem("multi-frame DICOM file", str(path), "one frame", f"{frames} frames", cure))
    if Image.MAX_IMAGE_PIXELS is not None and found.Rows * found.Columns > 2 * Image.MAX_IMAGE_PIXELS:
        raise InputError(too_large(path, f"{found.Columns} x {found.Rows}"))
    if found.PhotometricInterpretation not in (*_GREYS, *_COLOURS):
        expected, cure = ", ".join((*_GREYS, *_COLOURS)), "Save it as RGB, or as PNG."
        raise InputError(
            Problem("unknown kind of pixels", str(path), expected, str(found.PhotometricInterpretation)[:40], cure)
        )
    syntax = found.file_meta.TransferSyntaxUID
    try:
        readable = pydicom.pixels.get_decoder(syntax).is_available
    except NotImplementedError:
        readable = False
    if not readable:
        raise InputError(_compressed(path, str(syntax.name)[:60]))


def _compressed(path: Path, found: str) -> Problem:
    expected = "DICOM without compression, or RLE, JPEG baseline or JPEG 2000"
    cure = f"Unpack it, such as with gdcmconv --raw {path.name} NEW.dcm (GDCM), or save it as PNG."
    return Problem("compressed in a form that cannot be decoded", str(path), expected, found, cure)
