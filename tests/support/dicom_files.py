"""Small DICOM files for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np


def dicom(path: Path, values: np.ndarray, **told: Any) -> Path:
    """Write an image of any integers, (H, W), (H, W, 3) for colour or (N, H, W) with ``NumberOfFrames``.

    Args:
        path: the file.
        values: stored numbers.
        told: further attributes, by keyword; they win over those that follow from the values.
    """
    import pydicom

    meta = pydicom.dataset.FileMetaDataset()
    meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
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
    data.add_new("PixelData", "OB" if values.dtype.itemsize == 1 else "OW", content + b"\0" * (len(content) % 2))
    for name, value in told.items():
        setattr(data, name, value)
    pydicom.dcmwrite(path, data, enforce_file_format=True)
    return path
