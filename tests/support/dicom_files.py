"""Small DICOM files for tests."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

_JPEG = "1.2.840.10008.1.2.4"


def dicom(path: Path, values: np.ndarray, **told: Any) -> Path:
    """Write an image of any integers, (H, W), (H, W, 3) for colour or (N, H, W) with ``NumberOfFrames``."""
    path.write_bytes(dicom_bytes(values, **told))
    return path


def whole_dicoms(rgb: np.ndarray) -> list[tuple[str, bytes]]:
    """Return (name, bytes) of files that can be read, of an image (H, W, 3) uint8."""
    grey = rgb[..., 0]
    table = {f"{name}PaletteColorLookupTableDescriptor": [256, 0, 16] for name in ("Red", "Green", "Blue")}
    table |= {f"{name[:-10]}Data": (np.arange(256, dtype="<u2") * 257).tobytes() for name in list(table)}
    shown = {"WindowCenter": 100, "WindowWidth": 50, "RescaleSlope": 2, "RescaleIntercept": -1000}
    found = [("grey", dicom_bytes(grey)), ("rgb", dicom_bytes(rgb)), ("deep", dicom_bytes(grey.astype(np.uint16) * 16))]
    found += [("ct", dicom_bytes(grey.astype(np.int16), **shown)), ("signed", dicom_bytes(grey.astype(np.int16) - 99))]
    found += [("palette", dicom_bytes(grey, PhotometricInterpretation="PALETTE COLOR", **table))]
    found += [("inverted", dicom_bytes(grey, PhotometricInterpretation="MONOCHROME1"))]
    for name, form, syntax in (
        ("jpeg", "JPEG", "1.2.840.10008.1.2.4.50"),
        ("j2k", "JPEG2000", "1.2.840.10008.1.2.4.90"),
    ):
        buffer = io.BytesIO()
        Image.fromarray(grey).save(buffer, form, **({"no_jp2": True} if form == "JPEG2000" else {}))
        found.append((name, dicom_bytes(grey, syntax, buffer.getvalue())))
    return found


def dicom_bytes(values: np.ndarray, syntax: str = "1.2.840.10008.1.2.1", packed: bytes = b"", **told: Any) -> bytes:
    """Return the bytes of :func:`dicom`.

    Args:
        values: stored numbers.
        syntax: UID of how the pixels are stored.
        packed: the pixels as ``syntax`` packs them; none for those that do not.
        told: further attributes, by keyword; they win over those that follow from the values.
    """
    import pydicom

    meta = pydicom.dataset.FileMetaDataset()
    meta.TransferSyntaxUID = pydicom.uid.UID(syntax)
    meta.MediaStorageSOPClassUID = pydicom.uid.SecondaryCaptureImageStorage
    meta.MediaStorageSOPInstanceUID = "1.2.3"
    data = pydicom.Dataset()
    data.file_meta = meta
    data.SOPClassUID, data.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    is_colour = values.shape[-1] == 3 and values.ndim == 3 and "NumberOfFrames" not in told
    data.SamplesPerPixel = 3 if is_colour else 1
    data.PhotometricInterpretation = "RGB" if is_colour else "MONOCHROME2"
    if is_colour:
        data.PlanarConfiguration = 0
    data.Rows, data.Columns = values.shape[:2] if is_colour or values.ndim == 2 else values.shape[1:]
    data.BitsAllocated = data.BitsStored = 8 * values.dtype.itemsize
    data.HighBit = data.BitsStored - 1
    data.PixelRepresentation = int(values.dtype.kind == "i")
    content = values.astype(values.dtype.newbyteorder("<")).tobytes()
    if packed:
        content = pydicom.encaps.encapsulate([packed])
    data.add_new("PixelData", "OB" if values.dtype.itemsize == 1 else "OW", content + b"\0" * (len(content) % 2))
    for name, value in told.items():
        setattr(data, name, value)
    data["PixelData"].is_undefined_length = bool(packed)
    target = io.BytesIO()
    pydicom.dcmwrite(target, data, enforce_file_format=True)
    return target.getvalue()
