"""Masks of another grid than their image: brought over where two NIfTI headers tell how both lie."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest

from scripts.core.errors import InputError
from scripts.images.mask_grid import on_grid_of_image
from scripts.images.masks import read_mask

SIZE = (30, 40)  # height, width


def nifti(path: Path, values: np.ndarray, affine: np.ndarray) -> Path:
    """Write (H, W) values as NIfTI (X, Y)."""
    nibabel.save(nibabel.Nifti1Image(np.ascontiguousarray(values.T), affine), path)  # type: ignore[attr-defined]
    return path


def drawn() -> np.ndarray:
    mask = np.zeros(SIZE, np.uint8)
    mask[4:10, 6:30] = 1
    return mask


def brought_over(folder: Path, values: np.ndarray, mask_affine: np.ndarray, image_affine: np.ndarray) -> np.ndarray:
    image = nifti(folder / "image.nii.gz", np.zeros(SIZE, np.uint8), image_affine)
    path = nifti(folder / "mask.nii.gz", values, mask_affine)
    return on_grid_of_image(read_mask(path), path, image, SIZE)


def test_the_same_grid(tmp_path: Path) -> None:
    affine = np.diag([0.5, 0.5, 1, 1])
    np.testing.assert_array_equal(brought_over(tmp_path, drawn(), affine, affine), drawn())


def test_turned_by_its_header(tmp_path: Path) -> None:
    flipped = np.array([[-1, 0, 0, 39], [0, -1, 0, 29], [0, 0, 1, 0], [0, 0, 0, 1]], float)
    np.testing.assert_array_equal(brought_over(tmp_path, drawn()[::-1, ::-1], flipped, np.eye(4)), drawn())
    swapped = np.array([[0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]], float)
    np.testing.assert_array_equal(brought_over(tmp_path, drawn().T, swapped, np.eye(4)), drawn())


def test_finer_and_smaller_masks(tmp_path: Path) -> None:
    fine = np.diag([0.5, 0.5, 1, 1])
    fine[:2, 3] = -0.25  # the centres of two fine pixels lie around that of a coarse one
    np.testing.assert_array_equal(brought_over(tmp_path, drawn().repeat(2, 0).repeat(2, 1), fine, np.eye(4)), drawn())
    part = np.eye(4)
    part[:2, 3] = 5, 2  # starts at column 5, row 2
    np.testing.assert_array_equal(brought_over(tmp_path, drawn()[2:12, 5:35], part, np.eye(4)), drawn())


def test_nothing_says_how_it_lies(tmp_path: Path) -> None:
    path = nifti(tmp_path / "m.nii", drawn()[1:], np.eye(4))
    with pytest.raises(InputError, match=r"another size.*expected 40 x 30.*found 40 x 29"):
        on_grid_of_image(read_mask(path), path, Path("a.png"), SIZE)
    assert on_grid_of_image(drawn(), Path("m.png"), Path("a.png"), SIZE).sum() == drawn().sum()


def test_a_header_without_geometry(tmp_path: Path) -> None:
    image = nifti(tmp_path / "image.nii", np.zeros(SIZE, np.uint8), np.eye(4))
    path = nifti(tmp_path / "m.nii", drawn(), np.eye(4))
    broken = nibabel.load(path)  # type: ignore[attr-defined]
    broken.header["sform_code"], broken.header["srow_x"] = 1, [0, 0, 0, 0]
    nibabel.save(nibabel.Nifti1Image(broken.get_fdata(), None, broken.header), path)  # type: ignore[attr-defined]
    with pytest.raises(InputError, match="geometry cannot be compared"):
        on_grid_of_image(drawn(), path, image, SIZE)
