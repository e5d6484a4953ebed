"""Names of image files: which are accepted, and what a file is called without the suffix of its format."""

from __future__ import annotations

from pathlib import Path

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
DICOM_SUFFIXES = (".dcm", ".dicom")
SUFFIXES = (*FORMATS, *reversed(NIFTI_SUFFIXES), *DICOM_SUFFIXES)
"""Of all files that hold pixels."""
REGION_SUFFIX = ".region"
"""Of files that name a region of a slide, see :mod:`scripts.images.slide_files.region`."""


def image_suffix(path: Path | str) -> str:
    """Return the accepted suffix that ``path`` ends in, in lower case, else ``""``: ``"a.NII.gz"`` -> ``".nii.gz"``."""
    name = Path(path).name.lower()
    return next((suffix for suffix in (REGION_SUFFIX, *reversed(SUFFIXES)) if name.endswith(suffix)), "")


def image_stem(path: Path | str) -> str:
    """Return the file name without the suffix of its format: ``"x/a.b.nii.gz"`` -> ``"a.b"``."""
    name = Path(path).name
    return name[: len(name) - len(image_suffix(name))]


def is_image_file(path: Path | str) -> bool:
    """Say whether the name is that of an image: an accepted suffix, and no dot-file (macOS writes ``._a.png``)."""
    return not Path(path).name.startswith(".") and image_suffix(path) != ""


def is_nifti(path: Path) -> bool:
    """Say whether the suffix is that of a NIfTI file."""
    return image_suffix(path) in NIFTI_SUFFIXES


def is_region(path: Path | str) -> bool:
    """Say whether the suffix is that of a region of a slide."""
    return image_suffix(path) == REGION_SUFFIX
