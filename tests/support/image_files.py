"""Small image files for tests of their readers, and what is told of those that cannot be read."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest

from scripts.core.errors import InputError, Problem
from scripts.images.reading import read_image

RGB = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)  # H 5, W 7: a swap of axes shows
GREY = RGB[..., 0]


def nifti(path: Path, array: np.ndarray) -> Path:
    nibabel.save(nibabel.Nifti1Image(array, np.eye(4)), path)
    return path


def problem_of(path: Path) -> Problem:
    """The one problem that reading a file ends with; it names the file."""
    with pytest.raises(InputError) as caught:
        read_image(path)
    assert len(caught.value.problems) == 1
    assert str(path) in str(caught.value)
    return caught.value.problems[0]


def fault(path: Path) -> str:
    return problem_of(path).what
