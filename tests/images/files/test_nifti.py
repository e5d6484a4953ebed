from __future__ import annotations

import gzip
import struct
from pathlib import Path

import nibabel
import numpy as np
import pytest

from scripts.core.errors import InputError
from scripts.images.reading import image_size, read_image
from tests.support.image_files import GREY, RGB, fault, nifti


def rgb_record(array: np.ndarray) -> np.ndarray:
    record = np.zeros(array.shape[:2], dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    for channel, name in enumerate("RGB"):
        record[name] = array[..., channel]
    return record


def test_sixteen_bit_nifti_follows_the_same_rule(tmp_path: Path) -> None:
    path = nifti(tmp_path / "a.nii", np.array([[0, 255], [256, 65535]], np.uint16))
    assert read_image(path)[..., 0].tolist() == [[0, 1], [0, 255]]


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize(
    "array", [GREY.T, GREY.T[..., None], RGB.swapaxes(0, 1), RGB.swapaxes(0, 1)[:, :, None], rgb_record(RGB).T]
)
def test_nifti_axis_zero_is_x(tmp_path: Path, suffix: str, array: np.ndarray) -> None:
    path = nifti(tmp_path / f"a{suffix}", array)
    expected = RGB if array.dtype.names or 3 in array.shape else np.stack([GREY] * 3, axis=-1)
    assert np.array_equal(read_image(path), expected)
    assert image_size(path) == (5, 7)


def test_nifti_must_be_flat_and_finite(tmp_path: Path) -> None:
    assert fault(nifti(tmp_path / "volume.nii", np.zeros((4, 5, 6), np.uint8))) == "not a 2-D image"
    assert fault(nifti(tmp_path / "nan.nii", np.array([[0.0, np.nan]]))) == "values are not all finite"


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_pixels_far_behind_the_header_of_a_nifti_are_not_unpacked(tmp_path: Path, suffix: str) -> None:
    """A packed file of 900 kB would take a gigabyte."""
    whole = bytearray(nibabel.Nifti1Image(GREY.T.copy(), np.eye(4)).to_bytes())
    whole[108:112] = struct.pack("<f", 5e8)
    (tmp_path / f"a{suffix}").write_bytes(gzip.compress(whole) if suffix == ".nii.gz" else whole)
    with pytest.raises(InputError, match="pixels begin far behind the header"):
        read_image(tmp_path / f"a{suffix}")
